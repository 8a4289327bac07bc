"""What to recommend for a lane: a pure decision on numbers already collected, in which missing data is never a pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from drift.stats.proportions import reporting_rate
from drift.stats.verdict import Verdict, worst

# Level of the one-sided test that devices which ran the new release went quiet more often than the control.
QUIET_LEVEL = 0.01


class Recommendation(StrEnum):
    """What a lane should do next; `wait` while the stage has not had its time and exposure yet."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"
    WAIT = "wait"


@dataclass(frozen=True)
class Rules:
    """The part of a rollout's policy and of a stage that decides; durations in seconds, shares in [0, 1].

    A lane fails at once when `failure_devices` or more devices failed to install, and they are at least `failure_share`
    of those that were offered the release; the same for devices that were never heard of again after installing it.
    `minimum_devices`, and `confirmed_share` of all treated devices, must be confirmed before the soak begins.
    """

    minimum_soak_s: float
    minimum_devices: int
    minimum_inferences: int
    confirmed_share: float = 0.5
    failure_devices: int = 2
    failure_share: float = 0.10
    stale_after_s: float = 3 * 3600.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Exposure:
    """How far a lane's stage has come, in devices and inferences.

    `offered` were told of the release (queued ones were not), `in_flight` of them are still at it; `failed` counts
    failures and time-outs, `silent` devices that installed it and were not heard of again. `quiet` devices ran the
    release and are not heard from now; `control_quiet` are those of the control that are not.
    """

    treated: int
    offered: int
    confirmed: int
    failed: int
    silent: int
    inferences: int
    control: int = 0
    in_flight: int = 0
    queued: int = 0
    quiet: int = 0
    control_quiet: int = 0

    def needed(self, rules: Rules) -> int:
        """Devices that must be confirmed: the minimum, and the share of all treated; never none."""
        share = math.ceil(rules.confirmed_share * self.treated - 1e-9)
        return max(min(rules.minimum_devices, self.treated), share, 1)


@dataclass(frozen=True)
class LaneFacts:
    """Everything that decides about one lane at one moment; plain numbers, so that evidence can freeze them.

    `look` is the lane's entry in the look's outcome, None where no look could be taken; `look_error` says why.
    `hours_soaked` is None before the soak began. `limits` are the budget's absolute bounds by metric, waived ones left
    out: they judge a hand-picked stage, which has no test.
    """

    hardware_target: str
    stage: str
    randomised: bool
    rules: Rules
    exposure: Exposure
    hours_soaked: float | None
    look: Mapping[str, Any] | None = None
    look_error: str = ""
    look_age_s: float | None = None
    limits: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: the inverse of `from_dict`."""
        return {
            "hardware_target": self.hardware_target,
            "stage": self.stage,
            "randomised": self.randomised,
            "rules": asdict(self.rules),
            "exposure": asdict(self.exposure),
            "hours_soaked": self.hours_soaked,
            "look": dict(self.look) if self.look is not None else None,
            "look_error": self.look_error,
            "look_age_s": self.look_age_s,
            "limits": dict(self.limits),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LaneFacts:
        """Facts as evidence froze them; raises ValueError naming an unknown or missing field."""
        names = {item.name for item in fields(cls)}
        if set(data) != names:
            raise ValueError(f"lane facts: {', '.join(sorted(set(data) ^ names))} missing or unknown")
        values = dict(data)
        values["rules"] = Rules(**values["rules"])
        values["exposure"] = Exposure(**values["exposure"])
        return cls(**values)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, with its verdict and the sentence that says why."""

    name: str
    verdict: Verdict
    reason: str
    # Only time or devices are missing: the lane waits instead of being held.
    waits: bool = False


@dataclass(frozen=True)
class Decision:
    """The recommendation, the worst verdict, the reason in words, and every check that led to it."""

    recommendation: Recommendation
    verdict: Verdict
    reason: str
    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def missing(self) -> list[str]:
        """What is still wanted before the lane may go on."""
        return [check.reason for check in self.checks if check.verdict is Verdict.INCONCLUSIVE]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "recommendation": str(self.recommendation),
            "verdict": str(self.verdict),
            "reason": self.reason,
            "checks": [
                {"name": c.name, "verdict": str(c.verdict), "reason": c.reason, "waits": c.waits} for c in self.checks
            ],
        }


def decide(facts: LaneFacts) -> Decision:
    """Recommend for one lane.

    Any failed check: roll back, whatever else is missing. Time or exposure missing: wait. All passed: promote. Anything
    else: hold, with what is missing.
    """
    checks = (
        _deliveries(facts),
        _silence(facts),
        _devices(facts),
        _inferences(facts),
        _soak(facts),
        _comparison(facts),
    )
    verdict = worst(check.verdict for check in checks)
    if verdict is Verdict.FAIL:
        return Decision(Recommendation.ROLLBACK, verdict, _reasons(checks, verdict), checks)
    waiting = [check for check in checks if check.waits]
    if waiting:
        return Decision(Recommendation.WAIT, verdict, "; ".join(check.reason for check in waiting), checks)
    if verdict is Verdict.PASS:
        return Decision(Recommendation.PROMOTE, verdict, _promotion(facts, checks), checks)
    return Decision(Recommendation.HOLD, verdict, _reasons(checks, verdict), checks)


def failed_evaluation(facts: LaneFacts) -> Decision:
    """The decision when nothing could be evaluated: hold, with the error as the reason."""
    check = _comparison(facts)
    assert check.verdict is Verdict.INCONCLUSIVE, "an error never says more than that nothing is known"
    return Decision(Recommendation.HOLD, check.verdict, check.reason, (check,))


def _reasons(checks: Sequence[Check], verdict: Verdict) -> str:
    return "; ".join(check.reason for check in checks if check.verdict is verdict)


def _promotion(facts: LaneFacts, checks: Sequence[Check]) -> str:
    comparison = next(check.reason for check in checks if check.name == "comparison")
    return (
        f"{facts.exposure.confirmed} of {facts.exposure.offered} devices confirmed on {facts.hardware_target} after "
        f"{_hours(facts.hours_soaked or 0.0)}, {facts.exposure.inferences:,} inferences; {comparison}"
    )


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 2 else f"{60 * hours:.0f} min"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} devices ({100 * part / whole:.0f} %)" if whole else f"{part} of 0 devices"


def _too_many(part: int, exposure: Exposure, rules: Rules) -> bool:
    return part >= rules.failure_devices and part >= rules.failure_share * exposure.offered


def _deliveries(facts: LaneFacts) -> Check:
    """Failed and timed-out installations against devices that were offered the release, not against the group."""
    exposure, rules = facts.exposure, facts.rules
    if _too_many(exposure.failed, exposure, rules):
        return Check(
            "deliveries",
            Verdict.FAIL,
            f"the installation failed on {_share(exposure.failed, exposure.offered)} that were offered the release, "
            f"the limit is {rules.failure_devices} and {100 * rules.failure_share:.0f} %",
        )
    return Check("deliveries", Verdict.PASS, f"the installation failed on {_share(exposure.failed, exposure.offered)}")


def _silence(facts: LaneFacts) -> Check:
    exposure, rules = facts.exposure, facts.rules
    if _too_many(exposure.silent, exposure, rules):
        return Check(
            "silence",
            Verdict.FAIL,
            f"{_share(exposure.silent, exposure.offered)} went silent after the update, the limit is "
            f"{rules.failure_devices} and {100 * rules.failure_share:.0f} %",
        )
    if exposure.silent:
        return Check(
            "silence", Verdict.INCONCLUSIVE, f"{_share(exposure.silent, exposure.offered)} silent after the update"
        )
    return _quiet(exposure)


def _quiet(exposure: Exposure) -> Check:
    """Devices that ran the release and went quiet since, against the control: bad links make both arms quiet."""
    treated, control = exposure.confirmed, exposure.control
    if not exposure.quiet:
        return Check("silence", Verdict.PASS, "no device went silent after the update")
    rate = reporting_rate(treated, treated - exposure.quiet, control, control - exposure.control_quiet)
    words = (
        f"{_share(exposure.quiet, treated)} on the new release are not heard from now, "
        f"{exposure.control_quiet} of {control} in the control"
    )
    # One device alone is not shown to be harmed, however many others there are to hold it against.
    if exposure.quiet > 1 and rate.p_value < QUIET_LEVEL:
        return Check("silence", Verdict.FAIL, f"{words}: more than chance explains (p = {rate.p_value:.2g})")
    if not rate.in_order:
        return Check("silence", Verdict.INCONCLUSIVE, words)
    return Check("silence", Verdict.PASS, words)


def _devices(facts: LaneFacts) -> Check:
    exposure = facts.exposure
    needed = exposure.needed(facts.rules)
    text = f"{exposure.confirmed} devices confirmed, {needed} needed"
    if exposure.confirmed < needed:
        on_the_way = exposure.queued + exposure.in_flight > 0
        return Check("devices", Verdict.INCONCLUSIVE, text, waits=on_the_way)
    return Check("devices", Verdict.PASS, text)


def _inferences(facts: LaneFacts) -> Check:
    seen, needed = facts.exposure.inferences, max(facts.rules.minimum_inferences, 1)
    text = f"{seen:,} inferences seen, {needed:,} needed"
    if seen < needed:
        return Check("inferences", Verdict.INCONCLUSIVE, text, waits=facts.exposure.confirmed > 0)
    return Check("inferences", Verdict.PASS, text)


def _soak(facts: LaneFacts) -> Check:
    needed = facts.rules.minimum_soak_s / 3600
    if facts.hours_soaked is None:
        return Check("soak", Verdict.INCONCLUSIVE, f"the soak of {_hours(needed)} has not begun", waits=True)
    text = f"soaked {_hours(facts.hours_soaked)} of {_hours(needed)}"
    if facts.hours_soaked < needed:
        return Check("soak", Verdict.INCONCLUSIVE, text, waits=True)
    return Check("soak", Verdict.PASS, text)


def _comparison(facts: LaneFacts) -> Check:
    """The verdict of the look; an observational stage fails by hard limits alone and makes no statistical claim."""
    if facts.look_error:
        return Check("comparison", Verdict.INCONCLUSIVE, f"the evaluation failed: {facts.look_error}")
    if facts.look is None:
        return Check("comparison", Verdict.INCONCLUSIVE, "no look has been taken at this stage")
    if facts.look_age_s is None or facts.look_age_s > facts.rules.stale_after_s:
        age = "unknown" if facts.look_age_s is None else f"{facts.look_age_s / 3600:.1f} h"
        return Check("comparison", Verdict.INCONCLUSIVE, f"the newest look is too old ({age})")
    broken = hard_limits_broken(facts.look)
    if broken:
        return Check("comparison", Verdict.FAIL, "; ".join(broken))
    if not facts.randomised:
        return _observed(facts)
    verdict = Verdict(facts.look["verdict"])
    return Check("comparison", verdict, facts.look["reason"])


def _observed(facts: LaneFacts) -> Check:
    """A hand-picked stage: whoever reports within the absolute limits passes; nobody reporting never does."""
    assert facts.look is not None
    if facts.exposure.inferences == 0:
        return Check("comparison", Verdict.INCONCLUSIVE, "no telemetry from the devices of this hand-picked stage")
    levels = {row["metric"]: row["treated_level"] for row in facts.look.get("metrics", ())}
    unknown = sorted(metric for metric in facts.limits if levels.get(metric) is None)
    over = [
        f"{metric} {levels[metric]:.4g} is over the limit {limit:.4g}"
        for metric, limit in sorted(facts.limits.items())
        if metric not in unknown and levels[metric] > limit
    ]
    if over:
        return Check("comparison", Verdict.HOLD, "; ".join(over))
    if unknown:
        return Check(
            "comparison", Verdict.INCONCLUSIVE, f"the budget limits {', '.join(unknown)}, which nobody measured"
        )
    return Check(
        "comparison",
        Verdict.PASS,
        "hand-picked stage: within every absolute limit; no statistical claim, because the devices were not drawn",
    )


def hard_limits_broken(look: Mapping[str, Any]) -> list[str]:
    """The reasons of the absolute limits that two or more devices of the lane broke."""
    return [row["reason"] for row in look.get("hard_limits", ()) if row["breached"]]


def is_stale(as_of: datetime | None, now: datetime, rules: Rules) -> bool:
    """Whether a look is too old to decide on; none at all is."""
    return as_of is None or now - as_of > timedelta(seconds=rules.stale_after_s)
