"""What a rollout is planned as: the policy with its defaults, the stages, and the presets; validated plain data."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any
from zoneinfo import ZoneInfo

from drift.stats.metrics import METRICS
from fleet.exceptions import InvalidInput
from fleet.models.budgets import Limit
from fleet.models.people import BOARD_ROLES

HOUR_S = 3600
DAY_S = 24 * HOUR_S

# Every field of a change record, each required before submission and shown to whoever signs.
CHANGE_RECORD: dict[str, str] = {
    "what_changed": "What changed",
    "why": "Why",
    "budgets_touched": "Budgets touched",
    "tests_run": "Tests run",
    "rollback_path": "Rollback path",
    "telemetry_to_watch": "Telemetry fields to watch",
    "hardware_caveats": "Hardware caveats",
}

SELECTOR_FIELDS = ("groups", "regions", "hardware_targets", "devices")


@dataclass(frozen=True)
class Policy:
    """The rules of one rollout; durations in seconds, shares in [0, 1].

    alpha: chance of a false alarm over the whole rollout. looks_max: looks planned per stage. look_interval_s: time
    between looks. window_s: step of the scan for late onset. pre_s: how long before its start a stage looks back.
    minimum_hours: least time under observation before any pass. permutations: assignments drawn.
    hold_back_share: devices that stay behind until watch_s after completion. auto_rollback: roll a failing lane back
    without asking. shadow: log what would have been recommended, recommend nothing. silent_intervals: expected
    telemetry intervals after which an updated device is silent. raw_sample_rate: share of their records that devices
    of both arms are asked to send whole while a stage runs, 0 to leave it to the operators. confirmed_inferences:
    inferences on the new release that confirm an installation. install_timeout_s: after which a stuck installation
    has failed. max_attempts, retry_after_s, penalty_s: a failed device is offered again after retry_after_s; after
    max_attempts failures it rests for penalty_s. confirmed_share: of the treated devices, before a soak begins.
    failure_devices, failure_share: both reached, installation failures or silence fail a lane.
    approval_ttl_s, recommendation_ttl_s: how long a signature and a recommendation are good for. rollback_timeout_s:
    after which a rollback ends without the devices that it did not reach. watch_s: how long a completed lane is
    watched. margins: {metric: effect} or {hardware target: {metric: effect}}, over the budget's.
    limits: {limit: bound} or {hardware target: {limit: bound}}, beside the budget's.
    """

    alpha: float = 0.05
    looks_max: int = 100
    look_interval_s: int = HOUR_S
    window_s: int = HOUR_S
    pre_s: int = 7 * DAY_S
    minimum_hours: float = 24.0
    permutations: int = 10_000
    hold_back_share: float = 0.05
    auto_rollback: bool = False
    shadow: bool = False
    silent_intervals: int = 5
    raw_sample_rate: float = 0.0
    confirmed_inferences: int = 20
    install_timeout_s: int = 2 * HOUR_S
    max_attempts: int = 3
    retry_after_s: int = 600
    penalty_s: int = DAY_S
    confirmed_share: float = 0.5
    failure_devices: int = 2
    failure_share: float = 0.10
    approval_ttl_s: int = 7 * DAY_S
    recommendation_ttl_s: int = 3 * DAY_S
    rollback_timeout_s: int = 14 * DAY_S
    watch_s: int = 14 * DAY_S
    margins: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @property
    def stale_after_s(self) -> float:
        """Age at which a look is too old to decide on: three looks missed, and five minutes for a busy worker."""
        return 3 * self.look_interval_s + 300


@dataclass(frozen=True)
class StagePlan:
    """One stage: whom it treats and what it must have seen. `hand_picked` treats everyone that the selector names."""

    name: str
    share: float = 1.0
    hand_picked: bool = False
    minimum_soak_s: int = DAY_S
    minimum_devices: int = 6
    minimum_inferences: int = 1_000
    required_roles: tuple[str, ...] = ()
    selector: dict[str, list[str]] = field(default_factory=dict)
    maintenance_window: dict[str, Any] | None = None
    concurrency: int | None = None


def tested_stages(stages: Iterable[Any]) -> int:
    """Among how many stages alpha is divided: those that are drawn, because a hand-picked one has no test to spend on.

    `stages` are plans or written stages; at least one.
    """
    return sum(not stage.hand_picked for stage in stages) or 1


STAGE_FIELDS = tuple(item.name for item in fields(StagePlan))


@dataclass(frozen=True)
class Range:
    """A number within bounds; `above` excludes the lower one."""

    least: float
    most: float = math.inf
    whole: bool = False
    above: bool = False

    def problem(self, value: Any) -> str:
        """What is wrong with the value, or ""."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return "This must be a number."
        if self.whole and value != int(value):
            return "This must be a whole number."
        if value < self.least or (self.above and value == self.least) or value > self.most:
            lower = f"above {self.least:g}" if self.above else f"at least {self.least:g}"
            return (
                f"This must be {lower}." if self.most == math.inf else f"This must be {lower}, at most {self.most:g}."
            )
        return ""


_DURATION = Range(1, 365 * DAY_S, whole=True)
_POLICY_RANGES: dict[str, Range] = {
    "alpha": Range(0, 0.5, above=True),
    "looks_max": Range(1, 10_000, whole=True),
    "look_interval_s": _DURATION,
    "window_s": _DURATION,
    "pre_s": _DURATION,
    "minimum_hours": Range(0, 24 * 365),
    "permutations": Range(1_000, 100_000, whole=True),
    "hold_back_share": Range(0, 0.5),
    "silent_intervals": Range(1, 10_000, whole=True),
    "raw_sample_rate": Range(0, 1),
    "confirmed_inferences": Range(1, 1e9, whole=True),
    "install_timeout_s": _DURATION,
    "max_attempts": Range(1, 100, whole=True),
    "retry_after_s": Range(0, 365 * DAY_S, whole=True),
    "penalty_s": _DURATION,
    "confirmed_share": Range(0, 1),
    "failure_devices": Range(1, 1e6, whole=True),
    "failure_share": Range(0, 1),
    "approval_ttl_s": _DURATION,
    "recommendation_ttl_s": _DURATION,
    "rollback_timeout_s": _DURATION,
    "watch_s": Range(0, 365 * DAY_S, whole=True),
}
_STAGE_RANGES: dict[str, Range] = {
    "share": Range(0, 1, above=True),
    "minimum_soak_s": Range(0, 365 * DAY_S, whole=True),
    "minimum_devices": Range(1, 1e6, whole=True),
    "minimum_inferences": Range(1, 1e12, whole=True),
    "concurrency": Range(1, 1e6, whole=True),
}
_FLAGS = frozenset({"auto_rollback", "shadow", "hand_picked"})


class _Problems(dict[str, str]):
    """Bad fields with the first thing that is wrong with each."""

    def note(self, place: str, message: str) -> None:
        if message:
            self.setdefault(place, message)

    def check(self) -> None:
        if self:
            raise InvalidInput(self)


def _known(problems: _Problems, place: str, data: Any, names: Sequence[str]) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        problems.note(place, "This must be an object.")
        return {}
    for name in data:
        if name not in names:
            problems.note(f"{place}.{name}", f"There is no such field; known: {', '.join(names)}.")
    return {name: data[name] for name in names if name in data}


def policy_from(data: Any, place: str = "policy") -> Policy:
    """A policy as given, defaults filled in; `InvalidInput` names each field that is unknown or out of range."""
    problems = _Problems()
    values = _known(problems, place, data or {}, [item.name for item in fields(Policy)])
    for name, value in values.items():
        if name in _POLICY_RANGES:
            problems.note(f"{place}.{name}", _POLICY_RANGES[name].problem(value))
        elif name in _FLAGS and not isinstance(value, bool):
            problems.note(f"{place}.{name}", "This must be true or false.")
    _by_target(problems, f"{place}.margins", values.get("margins", {}), list(METRICS), Range(0))
    _by_target(problems, f"{place}.limits", values.get("limits", {}), list(Limit.values), Range(0))
    problems.check()
    return Policy(**values)


def _by_target(problems: _Problems, place: str, data: Any, names: Sequence[str], allowed: Range) -> None:
    """`{name: number}` or `{hardware target: {name: number}}`."""
    if not isinstance(data, Mapping):
        problems.note(place, "This must be an object.")
        return
    for key, value in data.items():
        if isinstance(value, Mapping):
            for name, number in _known(problems, f"{place}.{key}", value, names).items():
                problems.note(f"{place}.{key}.{name}", allowed.problem(number))
        elif key not in names:
            problems.note(f"{place}.{key}", f"There is no such field; known: {', '.join(names)}.")
        else:
            problems.note(f"{place}.{key}", allowed.problem(value))


def for_target(values: Mapping[str, Any], target: str) -> dict[str, float]:
    """What `{name: number}` or `{target: {name: number}}` says for one hardware target; the target's own wins."""
    general = {name: number for name, number in values.items() if not isinstance(number, Mapping)}
    return {**general, **values.get(target, {})}


def targets_of(values: Mapping[str, Any]) -> list[str]:
    """The hardware targets that `{name: number}` or `{target: {name: number}}` says something of its own about."""
    return [key for key, value in values.items() if isinstance(value, Mapping)]


def selector_from(data: Any, place: str = "selector") -> dict[str, list[str]]:
    """A selector with lists of slugs (devices: serials); a single name may stand for a list of one."""
    problems = _Problems()
    values = _known(problems, place, data or {}, SELECTOR_FIELDS)
    chosen: dict[str, list[str]] = {}
    for name, value in values.items():
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) and item for item in listed):
            problems.note(f"{place}.{name}", "This must be a list of names.")
        elif listed:
            chosen[name] = sorted(set(listed))
    problems.check()
    return chosen


def stages_from(data: Any, place: str = "stages") -> list[StagePlan]:
    """Stages as given, in order; `InvalidInput` names each bad field. Randomised shares must not shrink."""
    if not isinstance(data, (list, tuple)):
        raise InvalidInput({place: "This must be a list of stages."})
    if not data:
        raise InvalidInput({place: "Give at least one stage."})
    problems = _Problems()
    plans = [_stage_from(problems, f"{place}[{index}]", item, index) for index, item in enumerate(data)]
    names = [plan.name for plan in plans]
    for index, name in enumerate(names):
        if name in names[:index]:
            problems.note(f"{place}[{index}].name", f"Two stages are called “{name}”.")
    for index in range(1, len(plans)):
        before, after = plans[index - 1], plans[index]
        same_devices = before.selector == after.selector and not (before.hand_picked or after.hand_picked)
        if same_devices and after.share < before.share:
            problems.note(f"{place}[{index}].share", f"This is less than the stage before ({before.share:g}).")
    problems.check()
    return plans


def _stage_from(problems: _Problems, place: str, data: Any, index: int) -> StagePlan:
    values = _known(problems, place, data, STAGE_FIELDS)
    values.setdefault("name", f"stage {index + 1}")
    if not isinstance(values["name"], str) or not 0 < len(values["name"]) <= 64:
        problems.note(f"{place}.name", "This must be a text of 1 to 64 characters.")
        values["name"] = f"stage {index + 1}"
    for name, allowed in _STAGE_RANGES.items():
        if values.get(name) is not None:
            problems.note(f"{place}.{name}", allowed.problem(values[name]))
        elif name in values and name != "concurrency":
            problems.note(f"{place}.{name}", "This must be a number.")
    if not isinstance(values.get("hand_picked", False), bool):
        problems.note(f"{place}.hand_picked", "This must be true or false.")
    roles = values.get("required_roles") or ()
    if not isinstance(roles, (list, tuple)):
        problems.note(f"{place}.required_roles", f"This must be a list of roles; known: {', '.join(BOARD_ROLES)}.")
        roles = ()
    if unknown := [role for role in roles if role not in BOARD_ROLES]:
        problems.note(f"{place}.required_roles", f"{unknown[0]} is no board role; known: {', '.join(BOARD_ROLES)}.")
        roles = ()
    values["required_roles"] = tuple(dict.fromkeys(roles))
    try:
        values["selector"] = selector_from(values.get("selector"), f"{place}.selector")
    except InvalidInput as error:
        problems.update(error.errors)
        values["selector"] = {}
    if values.get("maintenance_window") is not None:
        problems.note(f"{place}.maintenance_window", window_problem(values["maintenance_window"]))
    bad = any(key.startswith(place) for key in problems)
    return StagePlan(name=values["name"]) if bad else StagePlan(**values)


# The time zone of a maintenance window that is each device's own.
SITE = "site"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def window_problem(window: Any) -> str:
    """What is wrong with `{"from": "22:00", "to": "04:30", "days": ["sat"], "timezone": "site"}`, or ""."""
    if not isinstance(window, Mapping) or not {"from", "to"} <= set(window) <= {"from", "to", "days", "timezone"}:
        return 'This must be {"from": "22:00", "to": "04:30"}, optionally with "days" and "timezone".'
    for end in ("from", "to"):
        hours, _, minutes = str(window[end]).partition(":")
        if not (hours.isdigit() and minutes.isdigit() and len(minutes) == 2 and int(hours) < 24 and int(minutes) < 60):
            return f"“{window[end]}” is no time of day such as 22:00."
    zone = window.get("timezone", SITE)
    if zone != SITE and not _is_zone(zone):
        return f"“{zone}” is no time zone such as Europe/Oslo, and not “{SITE}”."
    if window["from"] == window["to"]:
        return "The window begins and ends at the same time."
    days = window.get("days", [])
    if not isinstance(days, (list, tuple)) or any(day not in WEEKDAYS for day in days):
        return f"The days are {', '.join(WEEKDAYS)}."
    return ""


def _is_zone(name: Any) -> bool:
    try:
        return isinstance(name, str) and ZoneInfo(name) is not None
    except (KeyError, ValueError, OSError):  # unknown; no name at all; the folder of a continent
        return False


def missing_from_change_record(record: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a change record that are still empty, each with what to do."""
    return {
        f"change_record.{name}": f"“{title}” is required before submission."
        for name, title in CHANGE_RECORD.items()
        if not str(record.get(name) or "").strip()
    }


def change_record_from(data: Any) -> dict[str, Any]:
    """A change record as given: known fields as text or lists of text; `InvalidInput` for unknown ones."""
    problems = _Problems()
    values = _known(problems, "change_record", data or {}, list(CHANGE_RECORD))
    for name, value in values.items():
        texts = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(text, str) for text in texts):
            problems.note(f"change_record.{name}", "This must be a text or a list of texts.")
    problems.check()
    return values


@dataclass(frozen=True)
class Preset:
    """A ready-made ladder; `region` and `group` fill the stages that need one."""

    name: str
    title: str
    stages: Callable[[str, str], list[StagePlan]]


def _standard(group: str, region: str) -> list[StagePlan]:
    stages = []
    if group:
        stages.append(
            StagePlan(
                "internal",
                1.0,
                hand_picked=True,
                minimum_devices=1,
                required_roles=("qa",),
                selector={"groups": [group]},
            )
        )
    stages.append(StagePlan("canary", 0.05, required_roles=("ml", "embedded", "qa")))
    if region:
        stages.append(StagePlan("region", 0.5, required_roles=("qa",), selector={"regions": [region]}))
    stages.append(StagePlan("fleet", 1.0, required_roles=("qa", "operations")))
    return stages


def _ladder(group: str, region: str) -> list[StagePlan]:
    roles: dict[float, tuple[str, ...]] = {0.05: ("ml", "embedded", "qa"), 1.0: ("qa", "operations")}
    return [
        StagePlan(f"{100 * share:g} %", share, minimum_soak_s=2 * DAY_S, required_roles=roles.get(share, ("qa",)))
        for share in (0.05, 0.25, 0.5, 1.0)
    ]


def _canary_and_fleet(group: str, region: str) -> list[StagePlan]:
    return [
        StagePlan("canary", 0.2, required_roles=("qa",)),
        StagePlan("fleet", 1.0, required_roles=("qa",)),
    ]


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("standard", "Internal devices, 5 % canary, one region, whole fleet", _standard),
        Preset("ladder", "5 %, 25 %, 50 %, 100 %, two days each", _ladder),
        Preset("canary", "20 % canary, then the whole fleet", _canary_and_fleet),
    )
}
DEFAULT_PRESET = "standard"
INTERNAL_GROUP = "internal"
