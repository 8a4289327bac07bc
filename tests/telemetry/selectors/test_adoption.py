"""Adoption counts each device under the release that it ran, at every moment of the grid."""

from datetime import timedelta

import numpy as np
import pytest

from fleet.models import Workload
from fleet.services.releases import register_unknown_release
from telemetry.models import ReleaseSpan
from telemetry.selectors.adoption import adoption
from telemetry.selectors.selection import Selection

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
STEP = 7 * MINUTE


@pytest.fixture
def spans(cast, make_device, now):
    """Eight devices with some spans each, beginning on and off the grid; a second workload on two of them."""
    rng = np.random.default_rng(8)
    other = register_unknown_release("parking", "4.1.0", now=now)
    made = []
    for k in range(8):
        device = make_device(f"cam-{k}", "orin-nx-16" if k % 2 else "hailo-8")
        for releases in [(cast.release, cast.candidate, cast.release)] + [(other,)] * (k < 2):
            edges = np.sort(rng.integers(-30, 130, 2 * len(releases)))
            for release, first, last in zip(releases, edges[::2], edges[1::2], strict=True):
                made.append(
                    ReleaseSpan.objects.create(
                        device=device,
                        workload=release.workload,
                        release=release,
                        first_time=now + int(first) * MINUTE,
                        last_time=now + int(last) * MINUTE,
                    )
                )
    return made


def counted(spans, times, start, end):
    """By the definition, span by span and moment by moment."""
    near = [span for span in spans if span.first_time < end and span.last_time >= start - STEP]
    found = {}
    for span in near:
        later = [
            other.first_time
            for other in near
            if (other.device_id, other.workload_id) == (span.device_id, span.workload_id)
            and other.first_time > span.first_time
        ]
        until = min([span.last_time + STEP, *later])
        counts = found.setdefault(span.release.version, np.zeros(len(times), dtype=int))
        counts += [span.first_time <= time < until for time in times]
    return found


@pytest.mark.parametrize("narrowed", [{}, {"workload": 1}, {"target": 1}, {"devices": 1}, {"release": 1}])
def test_a_device_counts_from_its_first_record_until_another_release_or_a_step_after_its_last(
    spans, cast, now, narrowed
):
    start, end = now, now + 100 * MINUTE
    devices = sorted({span.device_id for span in spans})[:3]
    selection = Selection(
        workload_id=Workload.objects.get(slug="parking").pk if "workload" in narrowed else None,
        hardware_target_ids=(cast.orin.pk,) if "target" in narrowed else None,
        device_ids=tuple(devices) if "devices" in narrowed else None,
        release_ids=(cast.candidate.pk,) if "release" in narrowed else None,
    )
    kept = [
        span
        for span in spans
        if (selection.workload_id in (None, span.workload_id))
        and ("target" not in narrowed or span.device.hardware_target_id == cast.orin.pk)
        and ("devices" not in narrowed or span.device_id in devices)
        and ("release" not in narrowed or span.release_id == cast.candidate.pk)
    ]
    found = adoption(selection, start=start, end=end, step=STEP)
    assert found.times == [start + k * STEP for k in range(15)]
    wanted = counted(kept, found.times, start, end)
    assert {version: counts.tolist() for version, counts in found.devices.items()} == {
        version: counts.tolist() for version, counts in wanted.items()
    }
    assert any(counts.any() for counts in wanted.values())


def test_without_a_device_nobody_runs_anything(cast, now):
    assert adoption(Selection(), start=now, end=now + STEP, step=STEP).devices == {}
