"""What somebody typed into the wizard, read into a plan; nothing typed is lost, and every error stands at its field."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.http import QueryDict

from drift.stats.metrics import GUARDRAILS, METRICS
from fleet.exceptions import InvalidInput
from fleet.models import Release
from fleet.models.people import BOARD_ROLES, Role
from rollouts.models import Rollout
from rollouts.plans import CHANGE_RECORD, SELECTOR_FIELDS, WEEKDAYS, Policy, StagePlan
from rollouts.views.planning.fields import LISTS, SETTINGS, STAGE, Setting

MAX_STAGES = 12
MAX_TARGETS = 100
_FLAGS = ("auto_rollback", "shadow")
_STEP_OF = (
    ("release", "release"),
    ("record", "change"),
    ("stage", "stages"),
    ("selector", "lanes"),
    ("policy", "policy"),
    ("margin", "policy"),
)
STEPS = ("release", "change", "stages", "lanes", "policy", "preview")


@dataclass
class PlanForm:
    """The fields of the wizard as texts, by name, and what is wrong with them.

    Names: `release`; `record.<field>`; `stages` lists the numbers of the stages, whose fields are `stage.<n>.<field>`;
    `selector.<field>`; `policy.<field>`; `margin.<metric>`; `margin_targets` lists the hardware targets with margins of
    their own, `margin.<target>.<metric>`. Ticks are lists of values.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    # --- filling in ------------------------------------------------------------------------------------------------

    @classmethod
    def of_post(cls, data: QueryDict) -> "PlanForm":
        """As it was sent."""
        return cls({name: [text.replace("\r\n", "\n") for text in texts] for name, texts in data.lists()})

    @classmethod
    def new(cls, release: Release | None, stages: Sequence[StagePlan]) -> "PlanForm":
        """An empty plan with the defaults of the policy and the stages of a preset."""
        form = cls({"release": [str(release.pk)] if release else [""]})
        form._fill_policy(asdict(Policy()))
        form.fill_stages([asdict(plan) for plan in stages])
        return form

    @classmethod
    def of_draft(cls, rollout: Rollout, stages: Sequence[Mapping[str, Any]]) -> "PlanForm":
        """What a draft says."""
        form = cls({"release": [str(rollout.release_id)]})
        for name, value in rollout.change_record.items():
            form.values[f"record.{name}"] = ["\n".join(value) if isinstance(value, list) else str(value)]
        for name in SELECTOR_FIELDS:
            chosen = rollout.selector.get(name, [])
            form.values[f"selector.{name}"] = [" ".join(chosen)] if name == "devices" else list(chosen)
        form._fill_policy(asdict(rollout.rules))
        form.fill_stages(stages)
        return form

    def _fill_policy(self, policy: Mapping[str, Any]) -> None:
        for setting in SETTINGS:
            self.values[f"policy.{setting.name}"] = [setting.shown(policy[setting.name])]
        for flag in _FLAGS:
            self.values[f"policy.{flag}"] = ["on"] if policy[flag] else []
        self.values["margin_targets"] = []
        for name, margin in policy["margins"].items():
            if isinstance(margin, Mapping):
                self.values["margin_targets"].append(name)
                for metric, own in margin.items():
                    self.values[f"margin.{name}.{metric}"] = [margin_setting(metric).shown(own)]
            else:
                self.values[f"margin.{name}"] = [margin_setting(name).shown(margin)]

    def fill_stages(self, stages: Sequence[Mapping[str, Any]]) -> None:
        """Put these stages in place of those that stand there."""
        for name in [name for name in self.values if name.startswith("stage.")]:
            del self.values[name]
        self.values["stages"] = [str(number) for number in range(len(stages))]
        for number, plan in enumerate(stages):
            place = f"stage.{number}"
            self.values[f"{place}.name"] = [plan["name"]]
            self.values[f"{place}.hand_picked"] = ["on"] if plan["hand_picked"] else []
            self.values[f"{place}.roles"] = list(plan["required_roles"])
            for setting in STAGE:
                self.values[f"{place}.{setting.name}"] = [setting.shown(plan[setting.name])]
            for name in SELECTOR_FIELDS:
                chosen = plan["selector"].get(name, [])
                self.values[f"{place}.{name}"] = [" ".join(chosen)] if name == "devices" else list(chosen)
            window = plan["maintenance_window"] or {}
            for name in ("from", "to", "timezone"):
                self.values[f"{place}.{name}"] = [window.get(name, "")]
            self.values[f"{place}.days"] = list(window.get("days", []))

    # --- reading ---------------------------------------------------------------------------------------------------

    def text(self, name: str) -> str:
        """The text of a field, without blanks around it."""
        return self.values.get(name, [""])[-1].strip() if self.values.get(name) else ""

    def listed(self, name: str) -> list[str]:
        """The ticked values of a field."""
        return [value for value in self.values.get(name, []) if value]

    @property
    def numbers(self) -> list[str]:
        """The numbers of the stages in their order."""
        given = [number for number in self.values.get("stages", []) if number.isdecimal()]
        return list(dict.fromkeys(given))[:MAX_STAGES]

    @property
    def margin_targets(self) -> list[str]:
        """The hardware targets that have margins of their own."""
        return list(dict.fromkeys(self.listed("margin_targets")))[:MAX_TARGETS]

    def margin_metrics(self, target: str = "") -> list[str]:
        """The metrics whose margin can be typed: the guardrails, and what the API gave one beside them."""
        start = f"margin.{target}." if target else "margin."
        given = (name.removeprefix(start) for name in self.values if name.startswith(start))
        return list(dict.fromkeys([*GUARDRAILS, *(name for name in given if name in METRICS)]))

    def read(self) -> dict[str, Any]:
        """Change record, stages, policy and selector, as drafting takes them; what is no number is an error."""
        return {
            "change_record": self._change_record(),
            "stages": [self._stage(number) for number in self.numbers],
            "policy": self._policy(),
            "selector": self._selector("selector"),
        }

    def _number(self, setting: Setting, name: str) -> float | int | None:
        text = self.text(name)
        if not text:
            return None
        try:
            return setting.kept(text)
        except (ValueError, OverflowError):
            self.errors.setdefault(name, f"“{text[:40]}” is no number.")
            return None

    def _change_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for name in CHANGE_RECORD:
            text = self.text(f"record.{name}")
            lines = [line.strip() for line in text.split("\n") if line.strip()]
            record[name] = lines if name in LISTS and len(lines) > 1 else text
        return record

    def _selector(self, place: str) -> dict[str, list[str]]:
        chosen = {name: self.listed(f"{place}.{name}") for name in SELECTOR_FIELDS if name != "devices"}
        chosen["devices"] = [word for word in re.split(r"[\s,;]+", self.text(f"{place}.devices")) if word]
        return {name: names for name, names in chosen.items() if names}

    def _stage(self, number: str) -> dict[str, Any]:
        place = f"stage.{number}"
        plan: dict[str, Any] = {
            "name": self.text(f"{place}.name"),
            "hand_picked": bool(self.listed(f"{place}.hand_picked")),
            "required_roles": self.listed(f"{place}.roles"),
            "selector": self._selector(place),
        }
        for setting in STAGE:
            value = self._number(setting, f"{place}.{setting.name}")
            if value is not None:
                plan[setting.name] = value
        window = {name: self.text(f"{place}.{name}") for name in ("from", "to", "timezone")}
        if window["from"] or window["to"]:
            days = self.listed(f"{place}.days")
            plan["maintenance_window"] = {name: value for name, value in window.items() if value}
            plan["maintenance_window"] |= {"days": days} if days else {}
        return plan

    def _policy(self) -> dict[str, Any]:
        policy: dict[str, Any] = {flag: bool(self.listed(f"policy.{flag}")) for flag in _FLAGS}
        for setting in SETTINGS:
            value = self._number(setting, f"policy.{setting.name}")
            policy[setting.name] = getattr(Policy(), setting.name) if value is None else value
        margins: dict[str, Any] = self._margins()
        for target in self.margin_targets:
            if own := self._margins(target):
                margins[target] = own
        return {**policy, "margins": margins}

    def _margins(self, target: str = "") -> dict[str, float]:
        place = f"margin.{target}" if target else "margin"
        typed = {name: self._number(margin_setting(name), f"{place}.{name}") for name in self.margin_metrics(target)}
        return {name: value for name, value in typed.items() if value is not None}

    # --- errors ----------------------------------------------------------------------------------------------------

    def refuse(self, refusal: InvalidInput) -> None:
        """Put what the services refused at the fields that it is about."""
        for place, message in refusal.errors.items():
            self.errors.setdefault(self._field_of(place), message)

    def _field_of(self, place: str) -> str:
        """`stages[1].share` is the share of the second stage, whatever number it has in the form."""
        if place.startswith("change_record."):
            return place.replace("change_record.", "record.", 1)
        if place.startswith("policy.margins"):
            return place.replace("policy.margins", "margin", 1)
        found = re.fullmatch(r"stages\[(\d+)\]\.?(.*)", place)
        if found is None:
            return place
        index, rest = int(found[1]), found[2].removeprefix("selector.")
        number = self.numbers[index] if index < len(self.numbers) else "0"
        renamed = {"required_roles": "roles", "maintenance_window": "from", "selector": "groups", "": "name"}
        return f"stage.{number}.{renamed.get(rest, rest)}"

    @property
    def error_step(self) -> str:
        """The first step in which something is wrong, "" where nothing is."""
        wrong = {self._step_of(name) for name in self.errors}
        return next((step for step in STEPS if step in wrong), "")

    @staticmethod
    def _step_of(name: str) -> str:
        return next((step for start, step in _STEP_OF if name.startswith(start)), "preview")

    def errors_of(self, step: str) -> int:
        """How many fields of a step are wrong."""
        return sum(self._step_of(name) == step for name in self.errors)


def margin_setting(metric: str) -> Setting:
    """A margin as people type it: per cent of change, points of a share, or the metric's own unit."""
    found = METRICS[metric]
    if found.relative:
        return Setting(metric, found.title, "%", "relative", 0.01)
    if found.unit == "share":
        return Setting(metric, found.title, "points", "of a hundred", 0.01)
    return Setting(metric, found.title, found.unit, "absolute")


def role_choices() -> list[tuple[str, str]]:
    """The board's roles."""
    return [(role, Role(role).label) for role in BOARD_ROLES]


DAYS = WEEKDAYS
