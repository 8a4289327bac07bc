"""REST /budgets: versions, limits by name, and two writers at once."""

import json
from threading import Barrier, Thread

import pytest
from django.db import connection

from drift.stats.metrics import METRICS, SHAPES
from fleet.actors import Actor
from fleet.exceptions import StateConflict
from fleet.models import AuditEntry, Budget
from fleet.models.budgets import MARGIN_METRICS, SHARES, Limit
from fleet.selectors.budgets import current_budget, room_left
from fleet.services.budgets import write_budget

pytestmark = pytest.mark.django_db
URL = "/api/v1/budgets"


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


def budget(**more):
    return {
        "workload": "lane-assist",
        "hardware_target": "orin-nx-16",
        "hard_limits": {"latency_p95_ms": 50, "energy_mj": 60.5},
    } | more


def errors(answer) -> list[tuple[str, str]]:
    assert answer.status_code == 422
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


def test_every_write_is_a_new_version_and_the_list_shows_the_current_one(api):
    for limit in (50, 45, 40):
        answer = api.post(URL, budget(hard_limits={"latency_p95_ms": limit}), format="json")
        assert answer.status_code == 201
    api.post(URL, budget(hardware_target="hailo-8"), format="json")
    rows = api.get(URL).json()["results"]
    assert sorted((row["hardware_target"], row["version"]) for row in rows) == [("hailo-8", 1), ("orin-nx-16", 3)]
    everything = api.get(f"{URL}?versions=all&hardware_target=orin-nx-16").json()["results"]
    assert [row["hard_limits"]["latency_p95_ms"] for row in everything] == [40, 45, 50]
    assert [row["version"] for row in api.get(f"{URL}?version=2").json()["results"]] == [2]
    first = everything[-1]["id"]
    assert api.get(f"{URL}/{first}").json()["version"] == 1


def test_everything_that_a_budget_says_is_kept(api, cast):
    content = {
        "hard_limits": {limit.value: 0.5 for limit in Limit},
        "soft_limits": {"latency_p95_ms": 0.4},
        "margins": {"latency_p95": 0.03, "class_mix": 0.1},
        "rollback_criteria": "two boards over the ceiling",
        "escalation_path": ["hardware", "qa"],
    }
    row = api.post(URL, budget(**content), format="json").json()
    assert {name: row[name] for name in content} == content
    assert row["created_by"] == cast.manager.username
    audit = AuditEntry.objects.get(action="budget.written")
    assert (audit.old, audit.new["hard_limits"]) == (None, content["hard_limits"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hard_limits": {"latency_p96_ms": 1}}, [("hard_limits.latency_p96_ms", "unknown")]),
        ({"soft_limits": {"speed": 1, "zest": 2}}, [("soft_limits.speed", "unknown"), ("soft_limits.zest", "unknown")]),
        ({"margins": {"latency": 1}}, [("margins.latency", "unknown")]),
        ({"hard_limits": {"energy_mj": -1}}, [("hard_limits.energy_mj", "min_value")]),
        ({"hard_limits": {"energy_mj": "much"}}, [("hard_limits.energy_mj", "invalid")]),
        ({"hard_limits": {"energy_mj": True}}, [("hard_limits.energy_mj", "invalid")]),
        ({"hard_limits": {"energy_mj": 1e999}}, [("hard_limits.energy_mj", "invalid")]),
        ({"hard_limits": {"energy_mj": None}}, [("hard_limits.energy_mj", "null")]),
        ({"hard_limits": {"fallback_rate": 5}}, [("hard_limits.fallback_rate", "max_value")]),
        ({"hard_limits": []}, [("hard_limits", "invalid")]),
        ({"soft_limits": {"energy_mj": 61}}, [("soft_limits.energy_mj", "invalid")]),
        ({"escalation_path": ["boss"]}, [("escalation_path[0]", "invalid_choice")]),
        ({"workload": "none"}, [("workload", "does_not_exist")]),
    ],
)
def test_bad_input_names_the_field(api, change, expected):
    answer = api.post(URL, json.dumps(budget(**change)).replace("Infinity", "1e999"), content_type="application/json")
    assert errors(answer) == expected
    assert not Budget.objects.exists()


def test_a_change_from_a_version_keeps_what_it_does_not_name(api):
    first = api.post(URL, budget(escalation_path=["qa"]), format="json").json()
    second = api.patch(f"{URL}/{first['id']}", {"soft_limits": {"energy_mj": 55}}, format="json").json()
    assert second["version"] == 2
    assert (second["hard_limits"], second["escalation_path"]) == (first["hard_limits"], ["qa"])


def test_a_change_from_a_version_that_is_no_longer_current_is_a_conflict(api):
    first = api.post(URL, budget(), format="json").json()
    api.post(URL, budget(), format="json")
    answer = api.patch(f"{URL}/{first['id']}", {"rollback_criteria": "x"}, format="json")
    assert (answer.status_code, answer.json()["state"]) == (409, "version 2")
    assert api.post(URL, budget(based_on=1), format="json").status_code == 409
    assert api.post(URL, budget(based_on=2), format="json").status_code == 201


def test_a_budget_stays_with_its_workload_and_hardware_target(api):
    first = api.post(URL, budget(), format="json").json()
    answer = api.patch(f"{URL}/{first['id']}", {"hardware_target": "hailo-8"}, format="json")
    assert errors(answer) == [("hardware_target", "invalid")]


def test_every_version_comes_as_csv(api):
    api.post(URL, budget(), format="json")
    api.post(URL, budget(), format="json")
    text = b"".join(api.get(f"{URL}.csv?versions=all")).decode()
    assert len(text.splitlines()) == 3


def test_the_room_left_is_a_share_of_the_limit_and_a_missing_measurement_is_unknown(cast, now):
    row = write_budget(
        workload=cast.workload,
        hardware_target=cast.orin,
        hard_limits={"latency_p95_ms": 50, "energy_mj": 60, "power_w": 10},
        soft_limits={"latency_p95_ms": 40, "memory_mb": 512},
        actor=Actor.system("tests"),
        now=now,
    )
    rooms = {
        room.limit: (room.state, room.left)
        for room in room_left(row, {"latency_p95_ms": 45.0, "energy_mj": 75.0, "memory_mb": 256.0})
    }
    assert rooms == {
        "latency_p95_ms": ("over_preference", pytest.approx(0.1)),
        "energy_mj": ("exceeded", pytest.approx(-0.25)),
        "power_w": ("unknown", None),
        "memory_mb": ("within", pytest.approx(0.5)),
    }


def test_margins_can_be_set_for_every_metric_that_drift_measures_and_no_other():
    assert set(MARGIN_METRICS) == set(METRICS) | set(SHAPES)


def test_every_share_is_a_limit():
    assert set(SHARES) <= set(Limit.values)


@pytest.mark.django_db(transaction=True)
def test_two_writers_at_once_from_the_same_version_one_wins(cast, now):
    start = Barrier(2)
    results: list[str] = []

    def write() -> None:
        try:
            start.wait()
            write_budget(
                workload=cast.workload,
                hardware_target=cast.orin,
                hard_limits={"energy_mj": 1},
                based_on=0,
                actor=Actor.system("tests"),
                now=now,
            )
            results.append("written")
        except StateConflict:
            results.append("conflict")
        finally:
            connection.close()

    threads = [Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["conflict", "written"]
    assert current_budget(cast.workload, cast.orin).version == 1
