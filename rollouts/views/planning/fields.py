"""The fields of the wizard: what they are called, what helps to fill them in, and the units that people type."""

from dataclasses import dataclass

from rollouts.plans import DAY_S, HOUR_S

CHANGE_RECORD_HELP: dict[str, str] = {
    "what_changed": "The part that differs, as you would tell it to the person on call.",
    "why": "What gets better, and how you know.",
    "budgets_touched": "Limits that come closer or move, and on which hardware. “None” is an answer.",
    "tests_run": "One per line: bench runs, calibration sets, road or lab tests, with where their results are.",
    "rollback_path": "How a device gets back, and what is lost on the way.",
    "telemetry_to_watch": "One per line: the fields in which harm would show first.",
    "hardware_caveats": "Boards, revisions or sites that need care. “None known” is an answer.",
}
LISTS = ("tests_run", "telemetry_to_watch")


@dataclass(frozen=True)
class Setting:
    """A number of the policy or of a stage: `factor` turns what is typed into what is kept."""

    name: str
    label: str
    unit: str
    help: str
    factor: float = 1.0

    def shown(self, value: float | None) -> str:
        """A kept value as it stands in the field."""
        return "" if value is None else f"{value / self.factor:.10g}"

    def kept(self, text: str) -> float | int:
        """A typed value as it is kept; raises ValueError where it is no number."""
        value = round(float(text.replace(",", ".")) * self.factor, 9)
        return int(value) if value == int(value) else value


JUDGING = (
    Setting("alpha", "False alarms", "%", "The chance of one over the whole rollout, all looks and metrics.", 0.01),
    Setting("look_interval_s", "Look every", "minutes", "How often the evidence is looked at.", 60),
    Setting("looks_max", "Looks per stage", "", "Planned at most; after them nothing more can be shown."),
    Setting("minimum_hours", "Observe at least", "hours", "No lane passes before."),
    Setting("pre_s", "Compare with the last", "hours", "Each device is held against its own past.", HOUR_S),
    Setting("raw_sample_rate", "Raw records", "%", "Devices of both arms are asked for so many; 0 asks nothing.", 0.01),
    Setting("window_s", "Window of the scan", "minutes", "How finely a harm that starts late is searched for.", 60),
)
INSTALLING = (
    Setting("confirmed_inferences", "Confirmed after", "inferences", "Made with the new release, by telemetry."),
    Setting("confirmed_share", "Soak begins with", "% confirmed", "Of the devices that the stage treats.", 0.01),
    Setting("install_timeout_s", "Installation times out after", "minutes", "Then it counts as failed.", 60),
    Setting("silent_intervals", "Silent after", "intervals", "Expected reports that did not come after the update."),
    Setting("failure_devices", "Failures that halt", "devices", "Together with the share below."),
    Setting("failure_share", "and at least", "% of those offered", "Failed or silent devices.", 0.01),
    Setting("max_attempts", "Attempts before a rest", "", "Failures until the penalty box."),
    Setting("retry_after_s", "Try again after", "minutes", "The pause after a failure.", 60),
    Setting("penalty_s", "Penalty box", "hours", "The rest of a device that failed too often.", HOUR_S),
)
WAITING = (
    Setting("hold_back_share", "Hold back", "%", "Devices that stay behind until the watch is over.", 0.01),
    Setting("watch_s", "Watch after completion", "days", "Harm is looked for, and the hold-back compared.", DAY_S),
    Setting("approval_ttl_s", "Signatures are good for", "days", "Then they are asked for again.", DAY_S),
    Setting("recommendation_ttl_s", "A recommendation waits", "days", "Then the lane is held.", DAY_S),
    Setting("rollback_timeout_s", "A rollback waits", "days", "Then it ends and lists who was not reached.", DAY_S),
)
SETTINGS = (*JUDGING, *INSTALLING, *WAITING)

STAGE = (
    Setting("share", "Share", "%", "Of the devices that the stage selects.", 0.01),
    Setting("minimum_soak_s", "Soak", "hours", "Least time on the release.", HOUR_S),
    Setting("minimum_devices", "Devices", "at least", "Confirmed before the soak begins."),
    Setting("minimum_inferences", "Inferences", "at least", "Seen before anything is recommended."),
    Setting("concurrency", "At once", "devices", "Installing at the same time per lane; empty: no limit."),
)
