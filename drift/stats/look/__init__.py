"""The one entry that the rest of the system calls: `evaluate_look(LookInput) -> LookResult`, pure and deterministic.

The JSON of a look, `LookInput.to_dict()` (arrays are aligned with `devices`; null stands for "no value"):

    {"schema": "ridgeline.look/2",
     "devices": [str], "treated": [0|1], "strata": [str], "lanes": [str],     lane = hardware target of the stratum
     "look": int >= 1, "planned_looks": int >= 1, "hours": float, "minimum_hours": float,
     "alpha": float, "stages": int, "seed": int, "permutations": int >= 100, "randomised": bool,
     "stopped_lanes": [str], "reporting": [0|1] | null, "inferences": [int] | null,
     "metrics": [{"name", "pre": [y|null], "post": [y|null], "recent": [y|null] | null,
                  "margins": {lane|"*": float}, "limits": {lane|"*": float}, "required": bool}],
     "shapes": [{"name", "labels": [str], "pre": [[int]|null], "post": …, "recent": … | null, "margin": float | null}],
     "hard_limits": [{"name", "limit": float, "values": [x|null], "harm": 1|-1, "unit": str, "lane": lane|"*"}],
     "described": [{"name", "pre": [y|null], "post": [y|null]}],              reported, never judged
     "state": null | the "state" of the previous result}

"ridgeline.look/1" is the same without `described`, and is read as well.

The JSON of a result, `LookResult.to_dict()`:

    {"schema": "ridgeline.look_result/1", "look", "verdict": "fail"|"hold"|"inconclusive"|"pass", "reason",
     "randomised", "alpha", "alpha_spent", "critical_value", "permutations", "distinct_assignments",
     "lanes": [{"hardware_target", "verdict", "reason", "n_treated", "n_control", "would_settle",
                "metrics": [{"metric", "unit", "verdict", "effect", "lower", "upper", "standard_error", "n_treated",
                             "n_control", "alpha_spent", "minimum_detectable_effect", "margin", "rejected", "reason",
                             "would_settle", "treated_level", "control_level"}],
                "shape": [{"metric", "verdict", "statistic", "ks", "wasserstein", "total_variation", "n_treated",
                           "n_control", "margin", "rejected", "reason", "labels", "difference"}],
                "reporting": {…}, "hard_limits": [{…}], "exclusions": [{"metric", "reason"}],
                "described": [{"metric", "unit", "effect", "lower", "upper", "n_treated", "n_control"}]}],
                                                                               left out where none was given
     "pooled": the same as a lane, "hardware_target": "all",
     "state": {"schema": "ridgeline.look_state/1", …}}

How false alarms are held. All statistics of a look (metric x {since the start, latest windows} x {all devices, each
hardware target, each stratum with six and six}, and shapes) are put on one scale by their permutation distributions;
their maximum is the one statistic of the sequential randomisation test, so a lane's own crossing is paid for by the
same alpha as everything else. Bounds that clear a lane are its own, each valid by itself over all looks.
"""

from drift.stats.look.evaluate import LookResult, evaluate_look
from drift.stats.look.inputs import DescribedInput, HardLimit, LookInput, LookInputError, MetricInput, ShapeInput

__all__ = [
    "DescribedInput",
    "HardLimit",
    "LookInput",
    "LookInputError",
    "LookResult",
    "MetricInput",
    "ShapeInput",
    "evaluate_look",
]
