"""Where trouble is concentrated: which label the affected devices share more often than chance explains."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import F
from scipy import stats

from telemetry.models import DeviceLatest

# Label -> where a device's newest context has it; of several workloads on a device any one speaks.
LABELS = {
    "Firmware": "context__firmware_version",
    "Driver": "context__driver_version",
    "Runtime": "context__runtime_version",
    "Accelerator": "context__accelerator",
    "Power mode": "context__power_mode",
    "Release": "release__version",
    "Region": "device__region__slug",
}
LEVEL = 0.01
SHOWN = 3
CAVEAT = "Devices with a label are affected more often; that does not say that the label is the cause."


def concentration(affected: Collection[int], workload_id: int | None, known: Iterable[int]) -> dict[str, Any]:
    """Labels that set the affected devices apart from the other known ones, as alarms keep attributions.

    Fisher's exact test, one-sided, per label value over devices, with Bonferroni's correction for all values looked at;
    at most three are named, the clearest first. Labels that all known devices share say nothing and are left out.
    """
    rows = DeviceLatest.objects.filter(device__in=list(known))
    if workload_id is not None:
        rows = rows.filter(workload_id=workload_id)
    values = list(rows.values("device_id", **{f"of_{index}": F(path) for index, path in enumerate(LABELS.values())}))
    found = []
    tested = 0
    for index, label in enumerate(LABELS):
        devices: dict[str, set[int]] = defaultdict(set)
        for row in values:
            devices[row[f"of_{index}"] or ""].add(row["device_id"])
        everyone = set().union(*devices.values())
        if len(devices) < 2:
            continue
        for value, inside in devices.items():
            tested += 1
            others = everyone - inside
            hit, hit_others = len(inside & set(affected)), len(others & set(affected))
            table = [[hit, len(inside) - hit], [hit_others, len(others) - hit_others]]
            found.append(
                {
                    "label": label,
                    "value": value or "not reported",
                    "affected": hit,
                    "of": len(inside),
                    "others": hit_others,
                    "of_others": len(others),
                    "p_value": float(stats.fisher_exact(table, alternative="greater").pvalue),
                }
            )
    clear = [place | {"p_value": min(place["p_value"] * tested, 1.0)} for place in found]
    clear = sorted((place for place in clear if place["p_value"] < LEVEL), key=lambda place: place["p_value"])[:SHOWN]
    readings = [
        {
            "cause": "concentration",
            "words": f"concentrated on {place['label'].lower()} {place['value']}",
            "share": place["affected"] / len(affected),
        }
        for place in clear
    ]
    if not clear:
        words = "on no firmware, driver, runtime, accelerator, power mode, release or region in particular"
        readings = [{"cause": "spread", "words": words, "share": None}]
    return {"readings": readings, "concentration": clear, "caveat": CAVEAT if clear else ""}
