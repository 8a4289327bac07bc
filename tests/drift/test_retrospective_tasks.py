"""Retrospectives that a worker computes: claimed by one, seen moving, cancelled, taken up again; and A/A runs."""

from datetime import timedelta

import pytest

from drift.models import Retrospective
from drift.models.evaluations import Progress
from drift.services import retrospectives as service
from drift.tasks import resume_retrospectives, run_retrospective
from fleet.exceptions import StateConflict
from rollouts.models import Rollout
from tests.drift.test_retrospectives import request_of

pytestmark = pytest.mark.django_db

URL = "/api/v1/retrospectives"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def story(make_story):
    """Twelve devices on one target and twelve on another, two hours of looks."""
    return make_story(per_arm=6, hours=2, before=14)


@pytest.fixture
def kept(story, cast, api_client, now, monkeypatch):
    """A run that was ordered and that no worker has taken yet."""
    ordered = []
    monkeypatch.setattr(run_retrospective, "delay", ordered.append)
    answer = api_client(cast.manager).post(URL, request_of(story, wait=False), format="json")
    assert answer.status_code == 202, answer.content
    assert ordered == [answer.json()["id"]]
    return Retrospective.objects.get(pk=ordered[0])


def test_what_is_not_waited_for_is_answered_with_its_address_and_computed_by_a_worker(
    story, run_tasks_here, cast, api_client
) -> None:
    client = api_client(cast.manager)
    answer = client.post(URL, request_of(story), format="json", headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["Location"].rstrip("/").endswith(f"{URL}/{answer.json()['id']}")
    found = client.get(answer.headers["Location"]).json()
    assert (found["status"], found["looks_done"], found["looks_total"]) == ("done", 2, 2)
    at_once = client.post(URL, request_of(story), format="json")
    assert at_once.status_code == 200
    assert at_once.json()["looks"] == found["looks"]


def test_what_would_take_longer_than_a_request_may_is_left_to_a_worker_and_says_so(
    story, run_tasks_here, cast, api_client, monkeypatch
) -> None:
    monkeypatch.setattr(service, "SYNCHRONOUS_SECONDS", 0.01)
    answer = api_client(cast.manager).post(URL, request_of(story), format="json")
    assert answer.status_code == 202
    assert "more than" in answer.json()["reason"]


def test_a_run_waits_is_computed_once_and_is_not_computed_again(kept, now) -> None:
    assert (kept.status, kept.looks_total) == (Progress.QUEUED, 2)
    assert service.compute(kept.pk, clock=lambda: now)
    kept.refresh_from_db()
    assert (kept.status, kept.looks_done) == (Progress.DONE, 2)
    assert not service.compute(kept.pk, clock=lambda: now)


def test_a_run_that_another_process_is_at_is_left_alone_until_that_one_falls_silent(kept, now) -> None:
    Retrospective.objects.filter(pk=kept.pk).update(status=Progress.RUNNING, claim="other", heard_at=now)
    assert not service.compute(kept.pk, clock=lambda: now + MINUTE)
    assert service.resume(now=now + MINUTE) == []
    later = now + 10 * MINUTE
    assert service.resume(now=later) == [kept.pk]
    assert service.compute(kept.pk, clock=lambda: later)


def test_the_process_that_was_taken_for_dead_keeps_nothing_once_another_has_the_run(kept, now) -> None:
    moments = iter(now + index * MINUTE for index in range(100))

    def clock():
        # somebody else claims the run between two looks
        Retrospective.objects.filter(pk=kept.pk, status=Progress.RUNNING).update(claim="other")
        return next(moments)

    assert not service.compute(kept.pk, clock=clock)
    kept.refresh_from_db()
    assert (kept.status, kept.claim, kept.result) == (Progress.RUNNING, "other", None)


def test_a_cancelled_run_stops_at_its_next_look_and_cannot_be_cancelled_twice(kept, now) -> None:
    moments = iter(now + index * MINUTE for index in range(100))

    def clock():
        moment = next(moments)
        if moment > now:
            service.cancel(Retrospective.objects.get(pk=kept.pk), now=moment)
        return moment

    assert not service.compute(kept.pk, clock=clock)
    kept.refresh_from_db()
    assert (kept.status, kept.result) == (Progress.STOPPED, None)
    with pytest.raises(StateConflict):
        service.cancel(kept, now=now)


def test_lost_orders_are_ordered_again(kept, now, monkeypatch) -> None:
    Retrospective.objects.filter(pk=kept.pk).update(created_at=now)
    ordered = []
    monkeypatch.setattr(run_retrospective, "delay", ordered.append)
    assert resume_retrospectives() == 1
    assert ordered == [kept.pk]


def test_its_page_polls_and_offers_to_cancel_to_who_asked(kept, cast, browser_client) -> None:
    client = browser_client(cast.manager)
    text = client.get(f"/retrospectives/{kept.pk}/").content.decode()
    assert f"/panels/retrospectives/{kept.pk}/" in text and "Cancel the run" in text
    panel = client.get(f"/panels/retrospectives/{kept.pk}/")
    assert "Looks taken: 0 of 2" in panel.content.decode() and "HX-Refresh" not in panel.headers
    visitor = browser_client(cast.visitor)
    assert "Cancel the run" not in visitor.get(f"/retrospectives/{kept.pk}/").content.decode()
    assert visitor.post(f"/retrospectives/{kept.pk}/cancel/").status_code == 403
    assert "Cancelled" in client.post(f"/retrospectives/{kept.pk}/cancel/", follow=True).content.decode()
    assert client.get(f"/panels/retrospectives/{kept.pk}/").headers["HX-Refresh"] == "true"


def test_cancelling_over_the_api_answers_409_once_it_is_over(kept, cast, api_client) -> None:
    client = api_client(cast.manager)
    assert client.post(f"{URL}/{kept.pk}/cancel").json()["status"] == "stopped"
    assert client.post(f"{URL}/{kept.pk}/cancel").status_code == 409


class TestTheRolloutThatDrewTheGroups:
    """`assignment.rollout`: its seed and strata, or a refusal that names the field."""

    def test_an_unknown_rollout_is_refused_by_field_and_not_echoed(self, story, cast, api_client) -> None:
        body = request_of(story, assignment={"seed": 11, "rollout": 4711})
        answer = api_client(cast.manager).post(URL, body, format="json")
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["assignment.rollout"]

    def test_what_the_request_leaves_out_is_that_of_the_draw(self, story, cast, api_client, now) -> None:
        client = api_client(cast.manager)
        made = client.post(
            "/api/v1/rollouts",
            {"release": "4.2.0", "workload": "lane-assist", "stages": [{"name": "canary", "share": 0.5}]},
            format="json",
        )
        assert made.status_code == 201, made.content
        drawn = client.get(f"/api/v1/rollouts/{made.json()['id']}/cohorts").json()
        given = drawn["assignment"]
        told = request_of(story, treated=drawn["treated"], control=drawn["control"], assignment=given)
        asked = told | {"assignment": {"rollout": Rollout.objects.get().pk}}
        answers = [client.post(URL, body, format="json") for body in (told, asked)]
        assert [answer.status_code for answer in answers] == [200, 200], [answer.content for answer in answers]
        assert answers[0].json()["looks"] == answers[1].json()["looks"]
        assert answers[1].json()["randomised"] is True


class TestHistoryAgainstItself:
    """The same devices on the same release, drawn anew each time: whatever is raised is a false alarm."""

    def body(self, story, **changes) -> dict:
        asked = request_of(story, **changes)
        devices = [device.serial for device in story.control]
        kept = {name: value for name, value in asked.items() if name not in ("treated", "control", "assignment")}
        return kept | {"devices": devices, "release": "4.1.0", "draws": 3, "permutations": 1000} | changes

    def test_the_share_of_draws_that_cried_wolf_comes_with_its_interval(self, story, cast, api_client) -> None:
        answer = api_client(cast.manager).post(f"{URL}/history", self.body(story), format="json")
        assert answer.status_code == 200, answer.content
        found = answer.json()
        assert found["kind"] == "history"
        assert [draw["seed"] for draw in found["draws"]] == [1, 2, 3]
        assert all(draw["treated"] == 6 for draw in found["draws"])
        failures = found["failures"]
        assert (failures["of"], failures["draws"]) == (3, sum(bool(draw["first_failure"]) for draw in found["draws"]))
        assert failures["lower"] <= failures["share"] <= failures["upper"] <= 1.0

    def test_its_page_shows_the_share_and_every_draw(self, story, cast, browser_client, run_tasks_here) -> None:
        form = {
            "workload": "lane-assist",
            "release": "4.1.0",
            "started_at": f"{story.started_at:%Y-%m-%dT%H:%M}",
            "until": f"{story.until:%Y-%m-%dT%H:%M}",
            "every": "1h",
            "draws": "2",
            "device_list": " ".join(device.serial for device in story.control),
        }
        client = browser_client(cast.visitor)
        text = client.post("/retrospectives/history/", form, follow=True).content.decode()
        assert "of 2 draws without any change would have failed" in text
        assert "against itself" in client.get("/retrospectives/").content.decode()
        refused = client.post("/retrospectives/history/", form | {"device_list": "ghost other"})
        assert list(refused.context["form"].errors) == ["device_list"]

    @pytest.mark.parametrize(
        ("changes", "field"), [({"draws": 0}, "draws"), ({"devices": ["ghost", "other"]}, "devices")]
    )
    def test_bad_input_is_refused_by_field(self, story, cast, api_client, changes, field) -> None:
        answer = api_client(cast.manager).post(f"{URL}/history", self.body(story, **changes), format="json")
        assert answer.status_code == 422
        assert field in [error["field"] for error in answer.json()["errors"]]
