"""The form that asks for a retrospective: two groups of devices, a release, and when to look."""

import re
from datetime import timedelta
from typing import Any

from django import forms

from drift.services.retrospectives import SEEDS_AT_MOST
from drift.stats.metrics import METRICS
from fleet.exceptions import InvalidInput
from fleet.models.budgets import Limit

EVERY = {
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
}
MAXIMUM_LOOKS = 1_000
MAXIMUM_DEVICES = 2_000
# Fields of a request whose errors stand at a field of the form under another name; all other unknown ones at its top.
FIELD_OF = {
    "looks.until": "until",
    "looks.every": "every",
    "pre": "started_at",
    "devices": "device_list",
    "assignment.rollout": "rollout",
}


class Moment(forms.DateTimeInput):
    """A date and time in UTC, as browsers let people choose it."""

    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format="%Y-%m-%dT%H:%M")


class Serials(forms.CharField):
    """Serial numbers, separated by blanks, commas or line breaks; one that is named twice counts once."""

    widget = forms.Textarea

    def clean(self, value: str | None) -> list[str]:
        """The serials in the order given."""
        serials = list(dict.fromkeys(re.split(r"[\s,;]+", super().clean(value).strip())))
        if len(serials) > MAXIMUM_DEVICES:
            raise forms.ValidationError(f"{len(serials)} devices; a page takes at most {MAXIMUM_DEVICES}.")
        return serials


class Bounds(forms.CharField):
    """Lines of `name value` or `hardware target name value`; a name is a metric (its margin) or a limit of budgets."""

    widget = forms.Textarea

    def clean(self, value: str | None) -> dict[str, Any]:
        """A budget as drift.services.retrospectives.budget_of takes it."""
        found: dict[str, Any] = {}
        for line in super().clean(value).splitlines():
            parts = re.split(r"[\s:=]+", line.strip())
            if parts == [""]:
                continue
            *where, name, number = parts if len(parts) > 1 else ("", "")
            try:
                bound = float(number)
            except ValueError:
                raise forms.ValidationError(f"“{line.strip()}”: write a name and a number.") from None
            if name not in METRICS and name not in Limit.values:
                raise forms.ValidationError(f"“{name}” is neither a metric nor a limit of budgets.")
            inner = found.setdefault(where[0], {}) if where else found
            inner[name] = bound
        return found


class _Asked(forms.Form):
    """What both kinds of retrospective need; times are UTC."""

    workload = forms.CharField(max_length=100)
    release = forms.CharField(max_length=100, help_text="The version that the devices were given.")
    started_at = forms.DateTimeField(
        label="Started at (UTC)",
        widget=Moment,
        help_text="When the treated devices were given the release, or when the looks shall begin.",
    )
    until = forms.DateTimeField(label="Until (UTC)", widget=Moment, help_text="The last look is not later than this.")
    every = forms.ChoiceField(
        label="Look every",
        initial="1h",
        choices=[("30m", "30 minutes"), ("1h", "hour"), ("6h", "6 hours"), ("1d", "day")],
    )
    budget = Bounds(
        label="Margins and hard limits",
        required=False,
        help_text="One per line, such as “energy_mean 0.05” or “hailo-8 latency_p95_ms 25”; else the metrics' own "
        "margins.",
    )
    minimum_hours = forms.FloatField(
        label="Hours before a pass", required=False, min_value=0, initial=24, help_text="A pass needs so many hours."
    )
    alpha = forms.FloatField(
        label="False alarms allowed", required=False, min_value=0.0001, max_value=0.5, initial=0.05,
        help_text="As a share, over all looks together.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """Refuse more looks than a run may have."""
        given = super().clean()
        if {"started_at", "until", "every"} <= given.keys():
            looks = (given["until"] - given["started_at"]) // EVERY[given["every"]]
            if looks > MAXIMUM_LOOKS:
                self.add_error("every", f"{looks} looks; at most {MAXIMUM_LOOKS:,}. Look less often.")
        return given

    def shared(self) -> dict[str, Any]:
        """What both kinds of request have in common."""
        given = self.cleaned_data
        optional = {name: given[name] for name in ("minimum_hours", "alpha") if given.get(name) is not None}
        return {
            **{name: given[name] for name in ("workload", "release", "started_at")},
            "looks": {"every": EVERY[given["every"]], "until": given["until"]},
            "budget": given.get("budget") or {},
            **optional,
        }

    def refuse(self, refusal: InvalidInput) -> None:
        """Put what the service refused at the fields that it is about."""
        for name, message in refusal.errors.items():
            field = "budget" if name.startswith("budget") else FIELD_OF.get(name, name)
            self.add_error(field if field in self.fields else None, message)


class RetrospectiveForm(_Asked):
    """A release against the one before: two groups of devices, one of which was given the release."""

    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="The seed that the groups were drawn with. Without one they count as picked by hand: there are "
        "numbers and intervals, and only hard limits can fail the release.",
    )
    rollout = forms.IntegerField(
        required=False,
        min_value=1,
        help_text="The number of the rollout that drew the groups: its seed and strata are used.",
    )
    treated = Serials(label="Treated devices", help_text="Serial numbers of the devices that were given the release.")
    control = Serials(label="Control devices", help_text="Serial numbers of the devices that kept the old release.")
    field_order = (
        "workload", "release", "started_at", "until", "every", "seed", "rollout", "treated", "control",
    )  # fmt: skip

    @property
    def devices(self) -> int:
        """How many devices are compared."""
        return len(self.cleaned_data["treated"]) + len(self.cleaned_data["control"])

    def to_request(self) -> dict[str, Any]:
        """The validated form as drift.services.retrospectives takes it."""
        given = self.cleaned_data
        return {
            **self.shared(),
            "treated": given["treated"],
            "control": given["control"],
            "assignment": {"seed": given["seed"], "rollout": given["rollout"]},
        }


class HistoryForm(_Asked):
    """History against itself: one group of devices that ran one release throughout, drawn into arms again and again."""

    draws = forms.IntegerField(
        initial=20, min_value=1, max_value=SEEDS_AT_MOST, help_text="So often the arms are drawn anew."
    )
    device_list = Serials(label="Devices", help_text="Serial numbers of devices that ran the release all the time.")
    field_order = ("workload", "release", "started_at", "until", "every", "draws", "device_list")

    @property
    def devices(self) -> int:
        """How many devices are drawn from."""
        return len(self.cleaned_data["device_list"])

    def to_request(self) -> dict[str, Any]:
        """The validated form as drift.services.retrospectives takes it."""
        given = self.cleaned_data
        return {**self.shared(), "devices": given["device_list"], "draws": given["draws"], "permutations": 2_000}
