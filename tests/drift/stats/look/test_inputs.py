"""The input of a look: JSON round trip, and bad input refused by the name of its field."""

import json
from dataclasses import replace

import numpy as np
import pytest

from drift.stats.canonical import canonical_json, fingerprint
from drift.stats.look import HardLimit, LookInput, LookInputError, MetricInput, ShapeInput
from tests.drift.stats.look.fleets import cohorts, make_look, values


def small() -> LookInput:
    given = cohorts({"orin": (6, 6)})
    shape = ShapeInput("class_mix", ["cat", "dog"], np.full((12, 2), 300), np.full((12, 2), 300))
    limit = HardLimit("crash_rate", 0.05, [0.0] * 11 + [None])
    return make_look(given, [values(given, "latency_p95", seed=1)], shapes=[shape], hard_limits=[limit])


def test_the_input_survives_json_and_gives_the_same_fingerprint() -> None:
    first = small().to_dict()
    again = LookInput.from_dict(json.loads(canonical_json(first))).to_dict()
    assert fingerprint(first) == fingerprint(again)
    assert first["shapes"][0]["pre"][0] == [300, 300]


def test_canonical_json_is_one_byte_sequence_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": [0.1, "é"]}) == '{"a":[0.1,"é"],"b":1}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"x": float("nan")})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"devices": []}, "devices"),
        ({"devices": ["same"] * 12}, "devices"),
        ({"treated": [1, 0]}, "treated"),
        ({"treated": [2] * 12}, "treated"),
        ({"lanes": ["orin"] * 6 + ["hailo"] * 6}, "strata"),
        ({"lanes": ["all"] * 12}, "lanes"),
        ({"look": 0}, "look"),
        ({"alpha": 1.0}, "alpha"),
        ({"stages": 0}, "stages"),
        ({"permutations": 5}, "permutations"),
        ({"hours": float("nan")}, "hours"),
        ({"reporting": [1]}, "reporting"),
        ({"inferences": [1]}, "inferences"),
        ({"metrics": [MetricInput("nonsense", [None] * 12, [None] * 12)]}, "nonsense"),
        ({"metrics": [MetricInput("latency_p95", [None] * 3, [None] * 12)]}, "latency_p95.pre"),
        ({"metrics": [MetricInput("latency_p95", [None] * 12, [None] * 12)] * 2}, "metrics"),
        ({"metrics": [MetricInput("latency_p95", [None] * 12, [None] * 12, margins={"*": -1.0})]}, "margins"),
        ({"shapes": [ShapeInput("nonsense", [], [None] * 12, [None] * 12)]}, "nonsense"),
        ({"hard_limits": [HardLimit("crash_rate", 1.0, [None])]}, "crash_rate"),
        ({"hard_limits": [HardLimit("crash_rate", 1.0, [None] * 12, harm=0)]}, "harm"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_its_field(change: dict, field: str) -> None:
    with pytest.raises(LookInputError, match=field):
        replace(small(), **change)


def test_unknown_and_missing_fields_are_named() -> None:
    data = small().to_dict()
    with pytest.raises(LookInputError, match="weather"):
        LookInput.from_dict(data | {"weather": "fine"})
    with pytest.raises(LookInputError, match="seed"):
        LookInput.from_dict({key: value for key, value in data.items() if key != "seed"})
    with pytest.raises(LookInputError, match="schema"):
        LookInput.from_dict(data | {"schema": "other/9"})
    with pytest.raises(LookInputError, match="metrics.*wind"):
        LookInput.from_dict(data | {"metrics": [data["metrics"][0] | {"wind": 1}]})


def test_margins_and_limits_are_the_lanes_own_then_everybodys_then_the_default() -> None:
    metric = MetricInput("latency_p95", [], [], margins={"orin": 0.02, "*": 0.08}, limits={"orin": 50.0})
    assert (metric.margin("orin"), metric.margin("hailo")) == (0.02, 0.08)
    assert MetricInput("latency_p95", [], []).margin("orin") == 0.05
    assert (metric.limit("orin"), metric.limit("hailo")) == (50.0, None)
