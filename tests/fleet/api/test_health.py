"""Without a log-in it is said which part is away, with 503 while it is the database, and nobody learns a secret."""

import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from benchmarks.product import free_port
from fleet import task_runs
from fleet.selectors import health as selector
from fleet.selectors.health import health

PART_NAMES = ["database", "redis", "worker", "scheduler"]


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No answer is left from another test, and no worker."""
    monkeypatch.setattr(selector, "_last", None)
    cache.delete_many([task_runs._key("workers", "all"), task_runs._key("beat", "seen")])


@pytest.fixture
def no_database(monkeypatch):
    """The database's address is one at which nothing listens."""
    monkeypatch.setitem(connection.settings_dict, "HOST", "127.0.0.1")
    monkeypatch.setitem(connection.settings_dict, "PORT", str(free_port()))


@pytest.fixture
def no_redis(monkeypatch, settings):
    url = urlsplit(settings.REDIS_URL)
    settings.REDIS_URL = url._replace(netloc=f":secret@127.0.0.1:{free_port()}").geturl()


def statuses(document: dict) -> list[str]:
    return [document["parts"][name]["status"] for name in PART_NAMES]


@pytest.mark.django_db
def test_with_everything_there_it_is_200_and_says_so_to_nobody_in_particular():
    now = timezone.now()
    task_runs.note_worker("w@here", 2, now)
    task_runs.note_beat(now)
    answer = Client().get("/healthz")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json()["status"] == "ok" and statuses(answer.json()) == ["ok"] * 4
    assert "w@here" not in answer.content.decode() and "no-store" in answer["Cache-Control"]


@pytest.mark.django_db
def test_a_worker_that_went_quiet_is_away_and_the_product_degraded():
    now = timezone.now()
    task_runs.note_worker("w@here", 2, now - timedelta(minutes=2))
    task_runs.note_beat(now - timedelta(minutes=5))
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert statuses(answer.json()) == ["ok", "ok", "away", "away"]


def test_without_redis_the_worker_is_unknown_and_not_well(django_db_blocker, no_redis):
    with django_db_blocker.unblock():
        found = health(timezone.now()).to_dict()
    assert found["status"] == "degraded" and statuses(found) == ["ok", "away", "unknown", "unknown"]
    assert "secret" not in json.dumps(found)


def test_without_the_database_it_is_503_as_json_and_as_a_page(no_database):
    answer = Client().get("/healthz")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer.json()["status"] == "away" and statuses(answer.json())[:2] == ["away", "ok"]
    page = Client().get("/healthz", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.status_code == 503 and "The database is away" in page.content.decode()
    secrets = [str(connection.settings_dict[name]) for name in ("USER", "PASSWORD", "PORT", "NAME")]
    assert not any(secret in answer.content.decode() + page.content.decode() for secret in secrets if secret)


def test_system_status_is_that_page_also_for_whoever_cannot_log_in_because_of_it(no_database):
    answer = Client().get("/status/")
    assert answer.status_code == 503 and "The database is away" in answer.content.decode()


@pytest.mark.parametrize("path", ["/status/", "/", "/rollouts/"])
@pytest.mark.django_db
def test_a_page_that_the_database_does_not_answer_for_says_so_with_503(path, cast, browser_client, monkeypatch):
    browser = browser_client(cast.manager)
    browser.raise_request_exception = False

    def away(*_, **__):
        raise OperationalError("connection to server at 10.1.2.3, user ridgeline, failed")

    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", away)
    answer = browser.get(path)
    text = answer.content.decode()
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert "not available at present" in text and "Try again" in text and "10.1.2.3" not in text


@pytest.mark.django_db
def test_a_defect_stays_a_500(cast, browser_client, monkeypatch):
    browser = browser_client(cast.manager)
    browser.raise_request_exception = False
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", lambda *_: 1 / 0)
    answer = browser.get("/status/")
    assert answer.status_code == 500 and "The server made a mistake" in answer.content.decode()


def test_who_asks_again_at_once_costs_no_second_connection(no_database, monkeypatch):
    now, asked = timezone.now(), []
    monkeypatch.setattr(selector, "_database_answers", lambda: bool(asked.append(1)))
    first = health(now)
    assert health(now + timedelta(seconds=1)) is first and asked == [1]
    assert health(now + timedelta(seconds=2)) is not first and asked == [1, 1]
    assert health(now - timedelta(hours=1)).as_of == now - timedelta(hours=1)
