"""The wizard as its template shows it: every field with label, unit, help, value and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from drift.stats.metrics import METRICS
from fleet.models import DeviceGroup, HardwareTarget, Region, Release
from rollouts.models import Rollout
from rollouts.plans import CHANGE_RECORD, PRESETS
from rollouts.views.planning.fields import CHANGE_RECORD_HELP, INSTALLING, JUDGING, STAGE, WAITING, Setting
from rollouts.views.planning.form import DAYS, STEPS, PlanForm, margin_setting, role_choices

TITLES = {
    "release": "Release and baseline",
    "change": "Change record",
    "stages": "Stages",
    "lanes": "Lanes and population",
    "policy": "Policy",
    "preview": "Preview",
}


@dataclass(frozen=True)
class Shown:
    """A field."""

    name: str
    label: str
    value: str = ""
    unit: str = ""
    help: str = ""
    error: str = ""
    placeholder: str = ""

    @property
    def id(self) -> str:
        """Its id on the page."""
        return self.name.replace(".", "-")


@dataclass(frozen=True)
class Ticks:
    """A field with several values to tick: (value, label, ticked)."""

    name: str
    label: str
    choices: Sequence[tuple[str, str, bool]]
    help: str = ""
    error: str = ""

    @property
    def id(self) -> str:
        """Its id on the page."""
        return self.name.replace(".", "-")

    @property
    def any(self) -> bool:
        """Whether something is ticked."""
        return any(ticked for _, _, ticked in self.choices)


@dataclass(frozen=True)
class ShownStage:
    """A stage's fields."""

    number: str
    position: int
    name: Shown
    numbers: Sequence[Shown]
    hand_picked: bool
    roles: Ticks
    places: Sequence[Ticks]
    devices: Shown
    window: Sequence[Shown]
    days: Ticks
    narrowed: bool


@dataclass(frozen=True)
class TargetMargins:
    """The margins of one hardware target."""

    slug: str
    fields: Sequence[Shown]


def layout(form: PlanForm, rollout: Rollout | None = None) -> dict[str, Any]:
    """Everything that the template of the wizard needs."""
    labels = {
        "groups": list(DeviceGroup.objects.order_by("slug").values_list("slug", "name")),
        "regions": list(Region.objects.order_by("slug").values_list("slug", "name")),
        "hardware_targets": list(HardwareTarget.objects.order_by("slug").values_list("slug", "name")),
    }
    releases = Release.objects.filter(status=Release.Status.PUBLISHED).select_related("workload")
    current = form.error_step
    return {
        "form": form,
        "draft": rollout,
        "steps": [
            {"name": name, "title": TITLES[name], "errors": form.errors_of(name), "current": name == current}
            for name in STEPS
        ],
        "opens": current or STEPS[0],
        "releases": releases.order_by("workload__slug", "-created_at"),
        "chosen": form.text("release"),
        "release_error": form.errors.get("release", ""),
        "record": [
            _field(form, f"record.{name}", label, help=CHANGE_RECORD_HELP[name])
            for name, label in CHANGE_RECORD.items()
        ],
        "presets": [(preset.name, preset.title) for preset in PRESETS.values()],
        "stages": [_stage(form, number, at, labels) for at, number in enumerate(form.numbers, start=1)],
        "stages_error": form.errors.get("stages", ""),
        "population": [
            _ticks(form, "selector.hardware_targets", "Hardware targets", labels["hardware_targets"]),
            _ticks(form, "selector.regions", "Regions", labels["regions"]),
            _ticks(form, "selector.groups", "Groups", labels["groups"]),
        ],
        "devices": _field(form, "selector.devices", "Only these devices", help="Serial numbers; empty: all of them."),
        "judging": _settings(form, "policy", JUDGING),
        "installing": _settings(form, "policy", INSTALLING),
        "waiting": _settings(form, "policy", WAITING),
        "margins": [_margin(form, name) for name in form.margin_metrics()],
        "target_margins": [_target_margins(form, slug) for slug in form.margin_targets],
        "margin_choices": [slug for slug, _ in labels["hardware_targets"] if slug not in form.margin_targets],
        "auto_rollback": bool(form.listed("policy.auto_rollback")),
        "shadow": bool(form.listed("policy.shadow")),
        "other_errors": [text for name, text in form.errors.items() if not _has_field(form, name)],
        "crumbs": [("Rollouts", reverse("rollouts:rollouts")), *_crumbs(rollout)],
    }


def _crumbs(rollout: Rollout | None) -> list[tuple[str, str | None]]:
    if rollout is None:
        return [("New", None)]
    return [(str(rollout.release), reverse("rollouts:rollout", args=[rollout.pk])), ("Plan", None)]


def _has_field(form: PlanForm, name: str) -> bool:
    """Whether the error stands at a field; `policy.limits` and the like have none here."""
    if name in ("release", "stages"):
        return True
    start, _, rest = name.partition(".")
    known = {
        "record": CHANGE_RECORD,
        "policy": {setting.name for setting in (*JUDGING, *INSTALLING, *WAITING)},
        "margin": [
            *form.margin_metrics(),
            *(f"{target}.{metric}" for target in form.margin_targets for metric in form.margin_metrics(target)),
        ],
        "selector": ("groups", "regions", "hardware_targets", "devices"),
    }
    if start == "stage":
        fields = {setting.name for setting in STAGE}
        return rest.partition(".")[2] in fields | {
            "name", "roles", "groups", "regions", "hardware_targets", "devices", "from",
        }  # fmt: skip
    return rest in known.get(start, ())


def _field(form: PlanForm, name: str, label: str, **more: str) -> Shown:
    return Shown(name, label, "\n".join(form.values.get(name, [])[-1:]), error=form.errors.get(name, ""), **more)


def _settings(form: PlanForm, place: str, settings: Sequence[Setting]) -> list[Shown]:
    return [_field(form, f"{place}.{row.name}", row.label, unit=row.unit, help=row.help) for row in settings]


def _margin(form: PlanForm, name: str) -> Shown:
    setting = margin_setting(name)
    default = f"{setting.shown(METRICS[name].margin)}, or the budget’s"
    return _field(form, f"margin.{name}", setting.label, unit=setting.unit, placeholder=default)


def _target_margins(form: PlanForm, target: str) -> TargetMargins:
    """What stands in an empty field is what holds without it: the margin for all, the budget's, or the metric's own."""
    rows = []
    for name in form.margin_metrics(target):
        setting = margin_setting(name)
        general = form.text(f"margin.{name}")
        otherwise = f"{general}, as for all" if general else f"{setting.shown(METRICS[name].margin)}, or the budget’s"
        rows.append(_field(form, f"margin.{target}.{name}", setting.label, unit=setting.unit, placeholder=otherwise))
    return TargetMargins(target, rows)


def _ticks(form: PlanForm, name: str, label: str, choices: Sequence[tuple[str, str]], help: str = "") -> Ticks:
    chosen = form.listed(name)
    known = [value for value, _ in choices]
    rows = [(value, text, value in chosen) for value, text in choices]
    # A name that is gone since a draft was written stays visible, so that it can be taken out.
    rows += [(value, f"{value} (unknown)", True) for value in chosen if value not in known]
    return Ticks(name, label, rows, help, form.errors.get(name, ""))


def _stage(form: PlanForm, number: str, position: int, labels: dict[str, list[tuple[str, str]]]) -> ShownStage:
    place = f"stage.{number}"
    places = [
        _ticks(form, f"{place}.groups", "Groups", labels["groups"]),
        _ticks(form, f"{place}.regions", "Regions", labels["regions"]),
        _ticks(form, f"{place}.hardware_targets", "Hardware targets", labels["hardware_targets"]),
    ]
    devices = _field(form, f"{place}.devices", "Only these devices", help="Serial numbers.")
    window = [
        _field(form, f"{place}.from", "From", placeholder="22:00"),
        _field(form, f"{place}.to", "To", placeholder="04:30"),
        _field(form, f"{place}.timezone", "Time zone", placeholder="site", help="site, or a name such as Europe/Oslo."),
    ]
    return ShownStage(
        number,
        position,
        _field(form, f"{place}.name", "Name"),
        _settings(form, place, STAGE),
        bool(form.listed(f"{place}.hand_picked")),
        _ticks(form, f"{place}.roles", "Signed by", role_choices(), "Before the stage begins."),
        places,
        devices,
        window,
        _ticks(form, f"{place}.days", "Days", [(day, day.capitalize()) for day in DAYS]),
        any(row.any or row.error for row in places)
        or bool(devices.value or devices.error or window[0].value or window[0].error),
    )
