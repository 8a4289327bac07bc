"""The playbooks that Ridgeline ships with: known causes, what to check and what to do for each kind of alarm."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DefaultPlaybook:
    """One shipped playbook; people edit it, which makes version 2."""

    alarm_kind: str
    title: str
    causes: tuple[str, ...]
    checks: tuple[str, ...]
    actions: tuple[str, ...]


DEFAULTS: tuple[DefaultPlaybook, ...] = (
    DefaultPlaybook(
        "cpu_fallback",
        "Silent CPU fallback",
        (
            "The accelerator rejected part of the graph: an operator that the compiler or driver does not support.",
            "Driver and runtime do not fit each other after an update.",
            "The accelerator was reset or is held by another process.",
            "Memory on the accelerator ran out and the runtime moved layers to the CPU.",
        ),
        (
            "Does the fallback rate rise only on the new release, or on the control devices too?",
            "Is it concentrated on one accelerator revision or driver version (attribution, 'concentrated in')?",
            "Look for driver_reset and out_of_memory events just before the first fallback.",
            "Compare driver and runtime of the device's context with the release's bill of materials.",
        ),
        (
            "On the new release only: halt the lane and roll it back; send the graph to the compiler team with the "
            "qualification matrix of that board.",
            "On one driver version: hold the rollout for those devices and qualify the release on that driver.",
            "On single devices: restart the accelerator service, then reseat or replace the module.",
        ),
    ),
    DefaultPlaybook(
        "occupancy_drop",
        "Accelerator occupancy drop",
        (
            "Work moved to the CPU without a fallback being reported.",
            "Pre- or post-processing became the bottleneck, so that the accelerator waits.",
            "Fewer inputs arrive: a sensor or camera stopped.",
        ),
        (
            "Did the inference count per minute fall with it? Then fewer inputs arrive.",
            "Did the preprocessing share of latency rise?",
            "Did energy per inference rise? Then work moved to the CPU.",
        ),
        (
            "Work moved: treat as silent CPU fallback.",
            "Pre-processing: profile the pipeline on the bench with the same input resolution.",
            "Inputs: check sensor links on the devices listed.",
        ),
    ),
    DefaultPlaybook(
        "energy_drift",
        "Energy drift",
        (
            "A new graph runs partly on the CPU or makes more host-device copies.",
            "The power mode was changed by firmware.",
            "Warmer surroundings: leakage and fan power rise with temperature.",
            "A change of the input mix: harder classes take the larger branch of a cascade.",
        ),
        (
            "Is the change within cells of power mode and temperature, or a change of the mix of cells (attribution)?",
            "Does the control group show it as well? Then the surroundings changed, not the release.",
            "Compare watts under load and idle share: a longer idle phase changes joules per inference as well.",
        ),
        (
            "Within cells, canary only: roll back the lane and compare kernels and precisions of the two releases.",
            "Mix of power modes: correct the firmware setting that changed it.",
            "Surroundings: note it on the alarm and keep watching; do not blame the release.",
        ),
    ),
    DefaultPlaybook(
        "latency_drift",
        "Latency drift",
        (
            "Thermal throttling after a soak.",
            "A slower model, runtime or kernel in the new release.",
            "Queueing: more inputs per second than the device can serve.",
            "CPU contention from another process on the device.",
        ),
        (
            "Which stage of the latency split moved: preprocessing, inference, postprocessing or queue?",
            "Do throttled records explain it (attribution, 'throttling')?",
            "Is p50 unchanged and only p99 worse? Then look for contention or garbage collection.",
        ),
        (
            "Throttling on the new release only: the release heats the device; roll back.",
            "Throttling everywhere: check fans, vents and ambient temperature; lower the power mode.",
            "Queue: lower the input rate or raise the budget after review.",
        ),
    ),
    DefaultPlaybook(
        "confidence_drop",
        "Confidence drop",
        (
            "The scene changed: light, weather, season, a new product on the line.",
            "A sensor ages, is dirty, out of focus or misaligned.",
            "Quantization changed the logits of the new release.",
        ),
        (
            "Is it few devices with low input quality (sensor), or many with normal quality (scene or model)?",
            "Did it begin at the devices' own upgrade time? Then it is the release.",
            "Did the class mix change with it?",
        ),
        (
            "Sensor: clean or replace it on the devices listed.",
            "Scene: draw random samples for labelling and measure accuracy before retraining.",
            "Release: compare calibration results of the two precisions on the edge-case set; roll back where the "
            "budget says so.",
        ),
    ),
    DefaultPlaybook(
        "telemetry_gap",
        "Telemetry gap",
        (
            "The link is down or slow and the device stores its data.",
            "The device's spool was full and it dropped records.",
            "Batches were refused: wrong schema, too large, or a suspended token.",
        ),
        (
            "Ingest health of the device: refused, quarantined, duplicates, dropped.",
            "Are other devices of the same site silent as well?",
            "Is the gap in the batch sequence (lost) or at its end (not sent yet)?",
        ),
        (
            "Not sent yet: wait; the data arrive when the link is back and land in their own time.",
            "Refused: fix the sender by the reason shown with the rejected records.",
            "Lost: note the span; verdicts over it show their completeness.",
        ),
    ),
    DefaultPlaybook(
        "silent_after_update",
        "Silent after update",
        (
            "The device does not boot the new release.",
            "The telemetry service of the new release does not start or cannot reach the server.",
            "Certificates or tokens were lost in the update.",
        ),
        (
            "Did the device report 'installed' or 'booted' before it fell silent?",
            "Is the share of silent devices larger in the canary than in the control group?",
            "Does the last temperature or battery reading explain it?",
        ),
        (
            "More than one device: halt the lane at once.",
            "Let the boot loader's fallback slot start the old release; if it does not, send a technician.",
        ),
    ),
    DefaultPlaybook(
        "thermal_soak",
        "Throttling after thermal soak",
        (
            "The release draws more power and heats the enclosure over hours.",
            "Ambient temperature is higher than in qualification.",
            "Dust, a failed fan, or a blocked vent.",
        ),
        (
            "Do control devices at the same sites throttle as well?",
            "How long after boot does throttling begin?",
            "Was the release qualified in the thermal-soak mode on this board?",
        ),
        (
            "Release only: roll back the lane and require a thermal-soak qualification.",
            "Sites only: clean, repair, or lower the power mode there.",
        ),
    ),
    DefaultPlaybook(
        "bom_mismatch",
        "Bill-of-materials mismatch",
        (
            "An update replaced only a part: new model on an old driver.",
            "A package manager on the device updated the driver by itself.",
            "The release was registered with a wrong part.",
        ),
        (
            "Which part differs, and on how many devices?",
            "Since when: at an update, or on its own?",
        ),
        (
            "Reinstall the release on those devices, or pin the part.",
            "If the registration is wrong, publish a corrected release; published ones do not change.",
        ),
    ),
    DefaultPlaybook(
        "accuracy_drop",
        "Accuracy drop",
        (
            "Domain shift: the inputs no longer look like the training data.",
            "The new release is worse on some classes.",
            "Labels of poor quality.",
        ),
        (
            "Is the random sample large enough, and does its interval exclude the old accuracy?",
            "Which classes lose? Is it few devices?",
            "Have a second person label part of the sample.",
        ),
        (
            "Export the labelled set and retrain; keep random and uncertain samples apart.",
            "If it began with a release, compare and roll back.",
        ),
    ),
    DefaultPlaybook(
        "slow_drift",
        "Slow drift",
        (
            "The surroundings changed: season, light, temperature, traffic. Without a hold-back this looks the same.",
            "Wear: a lens that clouds, a fan that clogs, thermal paste that dries, flash that slows down.",
            "The inputs moved away from what the model was trained on.",
            "A cache, log or memory leak that grows with uptime.",
        ),
        (
            "Was it compared with held-back devices? If not, no release is to blame yet.",
            "Does it follow the outside temperature or the input quality of the same days?",
            "Does a reboot of one device set it back? Then something grows with uptime.",
            "Is it concentrated on the oldest devices, one revision or one region?",
        ),
        (
            "Against a hold-back: treat as a fault of the release; plan the way back or a fixed release.",
            "Without one: hold back 5 % at the next rollout, and note what the weather did on the alarm.",
            "Inputs moved: draw labels at random and look at the accuracy; retrain where it fell.",
            "Wear: list the devices for maintenance.",
        ),
    ),
    DefaultPlaybook(
        "release_creep",
        "Creep across releases",
        (
            "Every release took a little, each within its margin; nobody looked at the sum.",
            "A feature grew release by release: larger inputs, more classes, more post-processing.",
            "A toolchain update costs a little on this hardware target each time.",
        ),
        (
            "Which step is the largest, and on which hardware target?",
            "Which part of the bill of materials changed at each step: model, compiler, runtime, driver?",
            "Were the steps measured on the same devices, in the same season?",
        ),
        (
            "Give the sum an owner: win it back within the next releases, or accept it.",
            "Accepted: set the newest release as the anchor, with the reason; the sum begins anew.",
            "Lower the margin of the metric in the budget, so that single steps become visible.",
        ),
    ),
)
