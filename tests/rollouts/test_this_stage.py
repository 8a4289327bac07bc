"""“This stage” in a time range: from the start of the newest stage, to its end once it has one."""

from datetime import timedelta

import pytest

from rollouts.models import CohortMember, StageRun

pytestmark = pytest.mark.django_db


def go(client, **query) -> str:
    """Where the address leads."""
    return client.get("/this-stage/", query)["Location"]


@pytest.fixture
def run(draft, start, make_fleet, now) -> StageRun:
    """The first stage of a rollout that has begun."""
    make_fleet(per_target=6)
    start(draft(), now)
    return StageRun.objects.get()


def test_the_range_begins_with_the_stage_and_ends_with_it(browser_client, cast, run):
    client = browser_client(cast.engineer)
    back = "/devices/?release=4.2.0&from=-6h&page=3"
    begun = run.started_at.strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ")
    assert go(client, release="4.2.0", workload="lane-assist", back=back) == f"/devices/?release=4.2.0&from={begun}"
    StageRun.objects.update(ended_at=run.started_at + timedelta(hours=2))
    assert go(client, release="4.2.0", back="/").startswith(f"/?from={begun}&to=")


def test_the_stage_of_a_device_is_the_one_that_it_takes_part_in(browser_client, cast, run):
    serial = CohortMember.objects.filter(run=run).first().device.serial
    assert "from=2026" in go(browser_client(cast.engineer), device=serial, back=f"/devices/{serial}/")


@pytest.mark.parametrize("query", [{}, {"release": "9.9.9"}, {"device": "nobody"}])
def test_without_a_stage_the_range_stays_and_the_page_says_why(browser_client, cast, query):
    answer = browser_client(cast.engineer).get("/this-stage/", {**query, "back": "/devices/?from=-6h"}, follow=True)
    assert answer.redirect_chain == [("/devices/?from=-6h", 302)]
    assert "No rollout stage has begun here" in answer.content.decode()


def test_it_never_leads_to_another_site(browser_client, cast):
    assert go(browser_client(cast.engineer), back="//elsewhere.example/") == "/"
