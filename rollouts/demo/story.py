"""What the example consists of: releases, budgets, device-CI results and the rollout, as plain data."""

from datetime import timedelta

from telemetry.simulator import demo as fleet_story

WORKLOAD = fleet_story.WORKLOAD
TARGETS = {
    "orin-nx-16": ("Orin NX 16 GB", "Carrier board C2", "Ampere GPU", "A1"),
    "hailo-8": ("Hailo-8 M.2", "Gateway G4", "Hailo-8", "B0"),
    "coral-tpu": ("Coral Dev Board", "Camera K1", "Edge TPU", "rev 2"),
    "cpu-x86": ("x86 CPU", "Any", "CPU", ""),
}
REGIONS = {
    "eu-north": ("EU north", "Europe/Helsinki"),
    "us-west": ("US west", "America/Los_Angeles"),
    "lab": ("Lab", "UTC"),
}

# The release before the running one, so that history has a change to look at: a little slower, otherwise the same.
OLDER = "4.0.3"
OLDER_PARTS = {
    **fleet_story.BILLS_OF_MATERIALS[fleet_story.RUNNING],
    "model_version": "lane-net-4.0.3",
    "model_hash": "sha256:1c2b3a495867f6e5d4c3b2a1908f7e6d5c4b3a291807f6e5d4c3b2a1908f7e6d",
    "runtime_version": "onnxruntime 1.30.2",
}
# A silent fallback in the first night: nothing fails, no event says so, and it lies before what verdicts compare with.
FALLING_BACK = "lane-coral-tpu-0009"
# Long enough for steps of an hour, which is what the history's windows are.
FALLBACK_SHOWN = timedelta(days=5)
HISTORY_FAULTS = (
    f"latency:+6%@release={OLDER}",
    f"cpu_fallback:0.4@serial={FALLING_BACK},from=+6h,until=+18h",
)
HISTORY = timedelta(days=9)
OLDER_UNTIL = timedelta(days=7, hours=18)
# The newest half day comes as single records, so that attribution and labels have something to work on.
RAW_HISTORY = timedelta(hours=12)
RAW_PER_HOUR = 90
WINDOW_PER_HOUR = 300

# Hard limits with room for what the fleet does today: +8 % energy stays under them, which is why a canary is needed.
BUDGETS: dict[str, dict[str, float]] = {
    "orin-nx-16": {"latency_p95_ms": 30, "energy_mj": 155, "fallback_rate": 0.05, "error_rate": 0.05},
    "hailo-8": {"latency_p95_ms": 22, "energy_mj": 42, "fallback_rate": 0.05, "error_rate": 0.05},
    "coral-tpu": {"latency_p95_ms": 60, "energy_mj": 85, "fallback_rate": 0.05, "error_rate": 0.05},
}
MARGINS = {"energy_mean": 0.05, "latency_p95": 0.05, "confidence_mean": 0.02, "fallback_rate": 0.005}
ESCALATION = ("hardware", "qa", "operations")

# What the lab measured: the bench is cool and its inputs are few, so the extra energy hides within the gate's margin.
QUALIFICATIONS: dict[str, dict[str, dict[str, float]]] = {
    "orin-nx-16": {
        OLDER: {"latency_p95_ms": 20.4, "latency_p99_ms": 23.1, "energy_mj": 128.0, "memory_mb": 905, "boot_s": 21.0},
        "4.1.0": {"latency_p95_ms": 19.6, "latency_p99_ms": 22.3, "energy_mj": 128.4, "memory_mb": 908, "boot_s": 21.2},
        "4.2.0": {"latency_p95_ms": 19.5, "latency_p99_ms": 22.2, "energy_mj": 132.9, "memory_mb": 884, "boot_s": 21.1},
    },
    "hailo-8": {
        OLDER: {"latency_p95_ms": 14.3, "latency_p99_ms": 15.5, "energy_mj": 33.0, "memory_mb": 310, "boot_s": 14.0},
        "4.1.0": {"latency_p95_ms": 13.6, "latency_p99_ms": 14.8, "energy_mj": 33.1, "memory_mb": 312, "boot_s": 14.1},
        "4.2.0": {"latency_p95_ms": 13.6, "latency_p99_ms": 14.7, "energy_mj": 33.2, "memory_mb": 301, "boot_s": 14.0},
    },
    "coral-tpu": {
        OLDER: {"latency_p95_ms": 42.9, "latency_p99_ms": 46.0, "energy_mj": 69.0, "memory_mb": 190, "boot_s": 17.5},
        "4.1.0": {"latency_p95_ms": 41.0, "latency_p99_ms": 44.6, "energy_mj": 69.2, "memory_mb": 191, "boot_s": 17.4},
        "4.2.0": {"latency_p95_ms": 40.9, "latency_p99_ms": 44.4, "energy_mj": 69.3, "memory_mb": 183, "boot_s": 17.5},
    },
}

# What the modes make of the nominal figures on the newest release: factors on latency and energy.
HARDER_MODES: dict[str, tuple[float, float]] = {"stress": (1.18, 1.07), "thermal_soak": (1.27, 1.11)}
# A board that is being tried on the same model: not supported yet, and one operator short.
CANDIDATE_BOARD = "cpu-x86"
CANDIDATE_MEASURED = {
    "latency_p95_ms": 88.4,
    "latency_p99_ms": 97.0,
    "energy_mj": 410.0,
    "memory_mb": 640,
    "boot_s": 9.0,
}
CANDIDATE_UNSUPPORTED = ("QLinearSoftmax",)
# (set, kind) -> precision -> (samples, accuracy, mean confidence): rare inputs suffer most from eight bits.
CALIBRATION: dict[tuple[str, str], dict[str, tuple[int, float, float]]] = {
    ("lanes-2026-01", "nominal"): {"fp32": (12_000, 0.9714, 0.934), "int8": (12_000, 0.9702, 0.931)},
    ("rain-and-night-2026-02", "stress"): {"fp32": (5_400, 0.9431, 0.902), "int8": (5_400, 0.9388, 0.893)},
    ("roadworks-2026-02", "edge_case"): {"fp32": (1_850, 0.9022, 0.861), "int8": (1_850, 0.8871, 0.838)},
}

CHANGE_RECORD = {
    "what_changed": "lane-net 4.2.0: per-tensor INT8 with entropy calibration, compiled with edge-compiler 3.9.",
    "why": "Smaller activation scratch, so that a second model fits beside it on every board.",
    "budgets_touched": "Memory of all three boards; latency and energy are expected to stay.",
    "tests_run": "Device CI in nominal mode on all boards; calibration sets lanes-2026-01 and lanes-2026-02.",
    "rollback_path": "Slot A keeps 4.1.0; rolling back is one reboot.",
    "telemetry_to_watch": "Energy per inference, fallback rate and confidence, per board.",
    "hardware_caveats": "orin-nx-16: edge-compiler 3.9 fuses one layer less there.",
}
STAGES = [
    {
        "name": "canary",
        "share": 0.34,
        "minimum_soak_s": 240,
        "minimum_devices": 6,
        "minimum_inferences": 500,
        "required_roles": ["ml", "embedded", "qa"],
    },
    {"name": "fleet", "share": 1.0, "minimum_soak_s": 240, "minimum_inferences": 500, "required_roles": ["qa"]},
]
# A trial in minutes instead of days: the same statistics, with windows of a minute and a look every twenty seconds.
POLICY = {
    "look_interval_s": 20,
    "window_s": 60,
    "looks_max": 100,
    "minimum_hours": 0.05,
    "confirmed_inferences": 20,
    "install_timeout_s": 600,
    # five minutes: on a busy machine the simulated devices lag, and silence is not what the example is about
    "silent_intervals": 20,
    "watch_s": 3600,
}
SIGNERS = {"mel": "Calibration looks fine.", "emil": "Boots, rolls back.", "quinn": "Device CI is green on all boards."}

# Where the visitor's tour leads, and what to look at there; {…} is filled in by the loader.
TOUR = (
    (
        "A healthy release",
        "/releases/{release}/",
        "from=-9d&against={older}",
        "4.1.0 took over from 4.0.3 device by device: p95 fell on every board, energy stayed, all within budget.",
    ),
    (
        "A silent fallback",
        "/devices/{device}/",
        "from={fallback_start}&to={fallback_end}",
        "In its first night 40 % of its inferences ran on the CPU, unreported: p95 rose fourfold, joules by a quarter.",
    ),
    (
        "A canary caught",
        "/rollouts/{rollout}/",
        "",
        "4.2.0 draws 8 % more energy on orin-nx-16 alone: that lane halts and a rollback is advised, the others go on.",
    ),
)
