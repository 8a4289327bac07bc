"""What an attribution may mean: rules that turn its figures into likely causes, in words, never as proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.stats.attribution import WITHIN, Attribution, Component, device_bootstrap
from drift.stats.scan import MINIMUM_PER_ARM

# A component below this share of the whole difference is not worth a sentence.
_NOTABLE = 0.10
# "Few devices": at most this share of the treated carries most of the change.
_FEW = 0.25
_MOST = 0.5


@dataclass(frozen=True)
class Reading:
    """A likely cause: a code, the sentence, and the share of the change that speaks for it (None: not measurable)."""

    cause: str
    words: str
    share: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"cause": self.cause, "words": self.words, "share": self.share}


@dataclass(frozen=True)
class GroupChange:
    """The change of the treated devices of one hardware revision or firmware against the control's."""

    group: str
    n_treated: int
    value: float
    lower: float
    upper: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.lower > 0.0 or self.upper < 0.0


@dataclass(frozen=True)
class Circumstances:
    """What else is known. `before_update_share`: treated devices whose change began before their own update."""

    before_update_share: float | None = None
    groups: Sequence[GroupChange] = ()
    device_changes: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Change of each treated device, toward harm."""
    confidence_shape_changed: bool = False
    input_quality_changed: bool = False


_IN_CANARY = {
    "throttled": ("throttling", "throttling rose only where the new release runs: it heats the device"),
    "temperature_band": ("heat", "devices ran hotter only where the new release runs: it heats the device"),
    "fallback": ("fallback", "the new release falls back more often"),
    "quality_band": ("input_quality", "input quality changed in the canary and not in the control: sensor or scene"),
    "power_mode": ("power_mode", "the canary ran in other power modes than before, the control did not"),
}
_ENVIRONMENT = {
    "throttled": "throttling",
    "temperature_band": "temperature",
    "fallback": "fallback",
    "quality_band": "input quality",
    "power_mode": "power mode",
}


def read_attribution(attribution: Attribution, circumstances: Circumstances) -> list[Reading]:
    """The readings that the figures support, strongest first; always at least one.

    Within part in the canary only: model or runtime. A condition that changed in canary and control alike: environment.
    Throttling, heat or fallback up in the canary only: still the release's doing. A change older than the update is not
    the release's. A change in few devices, with input quality or the shape of confidence: sensor or scene. A change in
    one hardware revision or firmware alone: an interaction with it.
    """
    readings = _component_readings(attribution)
    early = circumstances.before_update_share
    if early is not None and early > _MOST:
        words = f"in {early:.0%} of treated devices the change is older than their own update: not the release"
        readings.insert(0, Reading("before_update", words))
    if _carried_by_few(circumstances.device_changes) and (
        circumstances.input_quality_changed or circumstances.confidence_shape_changed
    ):
        words = "a few devices carry most of the change, and their inputs look different: sensor or scene"
        readings.append(Reading("sensor_or_scene", words))
    if group := concentrated_in(circumstances.groups):
        words = f"shown only on {group.group} ({group.n_treated} treated devices): an interaction with it"
        readings.append(Reading("interaction", words))
    if not readings:
        readings.append(Reading("unexplained", "no recorded condition accounts for the change"))
    return readings


def _component_readings(attribution: Attribution) -> list[Reading]:
    readings = []
    for component in attribution.components:
        if component.name == WITHIN:
            if component.difference.shown and _notable(component):
                words = "under like conditions the new release itself behaves differently: model or runtime"
                readings.append(Reading("model_or_runtime", words, component.share))
            continue
        if component.difference.shown and _notable(component):
            cause, words = _IN_CANARY.get(component.name, (component.name, f"{component.name} changed in the canary"))
            readings.append(Reading(cause, words, component.share))
        elif _in_both(component):
            what = _ENVIRONMENT.get(component.name, component.name)
            words = f"{what} changed in canary and control alike: environment, not the release"
            readings.append(Reading("environment", words))
    return sorted(readings, key=lambda reading: -abs(reading.share or 0.0))


def _notable(component: Component) -> bool:
    return component.share is None or abs(component.share) >= _NOTABLE


def _in_both(component: Component) -> bool:
    """Whether treated and control devices are both shown to have changed, and in the same direction."""
    control = component.control
    if control is None or not (component.treated.shown and control.shown):
        return False
    return component.treated.value * control.value > 0.0


def _carried_by_few(changes: NDArray[np.float64]) -> bool:
    """Whether at most a quarter of the treated devices carries more than half of the harmful change."""
    harmful = np.sort(np.maximum(changes[np.isfinite(changes)], 0.0))[::-1]
    if len(harmful) < MINIMUM_PER_ARM or harmful.sum() <= 0.0:
        return False
    few = max(int(_FEW * len(harmful)), 1)
    return float(harmful[:few].sum()) > _MOST * float(harmful.sum())


def concentrated_in(groups: Sequence[GroupChange]) -> GroupChange | None:
    """The one group in which a change is shown while every other one, judged by enough devices, stays clear of it.

    Clear means that the other's interval does not reach the estimate of the group shown: not merely that it is noisy.
    """
    judged = [group for group in groups if group.n_treated >= MINIMUM_PER_ARM]
    shown = [group for group in judged if group.shown]
    if len(judged) < 2 or len(shown) != 1:
        return None
    (only,) = shown
    others = [group for group in judged if group is not only]
    apart = all((g.upper < only.value) if only.value > 0.0 else (g.lower > only.value) for g in others)
    return only if apart else None


def group_changes(
    changes: NDArray[np.float64],
    treated: NDArray[np.bool_],
    group: Sequence[str],
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> list[GroupChange]:
    """The change of each group's treated devices against its own control, by bootstrap over devices; arrays (n,).

    Groups with fewer than two treated or two control devices that have values are left out.
    """
    rng = np.random.default_rng(seed)
    labels = np.array(group)
    tails = ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0)
    found = []
    for name in sorted(set(labels.tolist())):
        inside = (labels == name) & np.isfinite(changes)
        canary, control = changes[inside & treated], changes[inside & ~treated]
        if min(len(canary), len(control)) < 2:
            continue
        draws = [device_bootstrap(arm, resamples, rng, confidence=confidence) for arm in (canary, control)]
        lower, upper = np.quantile(draws[0] - draws[1], tails)
        value = float(canary.mean() - control.mean())
        found.append(GroupChange(name, len(canary), value, float(lower), float(upper)))
    return found
