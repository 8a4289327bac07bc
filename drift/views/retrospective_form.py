"""The form that asks for a retrospective: two groups of devices, a release, and when to look."""

import re
from datetime import timedelta
from typing import Any

from django import forms

from fleet.exceptions import InvalidInput

EVERY = {
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
}
# A page waits for its answer: what would take longer is asked over the API by a script that can wait.
MAXIMUM_LOOKS = 200
MAXIMUM_DEVICES = 2_000
# Fields of a request whose errors stand at a field of the form under another name; all other unknown ones at its top.
FIELD_OF = {"looks.until": "until", "looks.every": "every", "pre": "started_at"}


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


class RetrospectiveForm(forms.Form):
    """What a retrospective needs; times are UTC."""

    workload = forms.CharField(max_length=100)
    release = forms.CharField(max_length=100, help_text="The version that the treated devices were given.")
    started_at = forms.DateTimeField(
        label="Started at (UTC)", widget=Moment, help_text="When the treated devices were given the release."
    )
    until = forms.DateTimeField(label="Until (UTC)", widget=Moment, help_text="The last look is not later than this.")
    every = forms.ChoiceField(
        label="Look every",
        initial="1h",
        choices=[("30m", "30 minutes"), ("1h", "hour"), ("6h", "6 hours"), ("1d", "day")],
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="The seed that the groups were drawn with. Without one they count as picked by hand: there are "
        "numbers and intervals, and only hard limits can fail the release.",
    )
    treated = Serials(label="Treated devices", help_text="Serial numbers of the devices that were given the release.")
    control = Serials(label="Control devices", help_text="Serial numbers of the devices that kept the old release.")

    def clean(self) -> dict[str, Any]:
        """Refuse what no page could wait for."""
        given = super().clean()
        if {"started_at", "until", "every"} <= given.keys():
            looks = (given["until"] - given["started_at"]) // EVERY[given["every"]]
            if looks > MAXIMUM_LOOKS:
                self.add_error("every", f"{looks} looks; a page takes at most {MAXIMUM_LOOKS}. Look less often.")
        return given

    def to_request(self) -> dict[str, Any]:
        """The validated form as drift.services.retrospectives.execute takes it."""
        given = self.cleaned_data
        return {
            **{name: given[name] for name in ("workload", "release", "treated", "control", "started_at")},
            "looks": {"every": EVERY[given["every"]], "until": given["until"]},
            "assignment": {"seed": given["seed"]},
        }

    def refuse(self, refusal: InvalidInput) -> None:
        """Put what the service refused at the fields that it is about."""
        for name, message in refusal.errors.items():
            field = FIELD_OF.get(name, name)
            self.add_error(field if field in self.fields else None, message)
