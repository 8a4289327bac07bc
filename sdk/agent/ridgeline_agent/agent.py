"""The agent's two duties: run and measure inferences, and follow the release that the server wants."""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable

import onnxruntime

from ridgeline_sdk import Desired, Device, ReleaseClient
from ridgeline_sdk.desired import DesiredUnknown, DownloadFailed

from . import sensors
from .build import MODEL_NAME, PROVIDER, model_path, sha256
from .digits import Camera, Reader
from .energy import EnergyMeter

log = logging.getLogger("ridgeline.agent")

DAY_S = 86_400.0
STATE_EVERY_S = 30.0


class ModelMissing(RuntimeError):
    """There is no usable model file for a release."""


def context(workload: str, release: str, hardware_target: str) -> dict[str, str]:
    """The labels of every record, as this machine has them."""
    return {
        "workload": workload,
        "release": release,
        "model_version": _model_version(release),
        "firmware_version": f"{platform.system().lower()} {platform.release()}",
        "driver_version": PROVIDER,
        "runtime_version": f"onnxruntime {onnxruntime.__version__}",
        "accelerator": hardware_target,
        "power_mode": "default",
    }


class Agent:
    """Runs one release's model at a time; `current_file` remembers which across restarts."""

    def __init__(
        self,
        device: Device,
        camera: Camera,
        meter: EnergyMeter,
        model_dir: str,
        current_file: str,
        first_release: str,
        *,
        perf_s: Callable[[], float] = time.perf_counter,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self.device, self._camera, self._meter = device, camera, meter
        self._model_dir, self._current_file = model_dir, current_file
        self._perf_s, self._cpu_s = perf_s, cpu_s
        self._state_at = -STATE_EVERY_S
        self.release = _remembered(current_file) or first_release
        self._reader = self._load(self.release)
        # An inference is measured and labelled by one release, also while another thread switches.
        self._switching = threading.Lock()
        self.device.set_context(release=self.release, model_version=_model_version(self.release))
        self._announce("boot")

    def infer_once(self) -> None:
        """One camera frame through the model, measured and recorded."""
        with self._switching:
            self._infer_once()

    def _infer_once(self) -> None:
        wall_s = self.device.clock.wall_us() / 1e6
        frame = self._camera.frame(wall_s % DAY_S / DAY_S)
        began_s, began_cpu_s = self._perf_s(), self._cpu_s()
        with self.device.inference() as inference:
            with inference.stage("preprocess"):
                pixels = self._reader.preprocess(frame)
            with inference.stage("inference"):
                probabilities = self._reader.infer(pixels)
            with inference.stage("postprocess"):
                predicted_class, confidence = self._reader.postprocess(probabilities)
            now_s = self._perf_s()
            reading = self._meter.measure(now_s, now_s - began_s, self._cpu_s() - began_cpu_s)
            inference.latency_ms = (now_s - began_s) * 1000.0
            inference.predicted_class, inference.confidence = predicted_class, confidence
            inference.input_quality = self._reader.input_quality(frame)
            inference.sample_ref = frame.sample_ref
            inference.temperature_c = sensors.temperature_c()
            inference.memory_mb = sensors.memory_mb()
            if reading is not None:
                inference.energy_mj, inference.power_w = reading.energy_mj, reading.power_w
        self.device.count("inferences_total")
        if now_s - self._state_at >= STATE_EVERY_S:
            self._state_at = now_s
            self.device.state(
                temperature_c=sensors.temperature_c(),
                power_w=reading.power_w if reading else None,
                memory_mb=sensors.memory_mb(),
                battery_pct=sensors.battery_pct(),
            )

    def follow(self, releases: ReleaseClient) -> bool:
        """Ask what should run and switch to it; True when the release changed. What runs stays if anything fails."""
        try:
            desired = releases.desired(self.device.context["workload"])
        except DesiredUnknown as error:
            log.warning("the desired release is unknown: %s", error)
            return False
        if desired.release is None or desired.release == self.release:
            return False
        try:
            self._install(desired, releases)
        except (ModelMissing, DownloadFailed) as error:
            log.error("release %s is not installed: %s", desired.release, error)
            self.device.event("install_failed", "error", {"release": desired.release, "reason": str(error)})
            releases.report(desired.action_id, "failed", detail=str(error))
            return False
        releases.report(desired.action_id, "booted", 100)
        return True

    def _install(self, desired: Desired, releases: ReleaseClient) -> None:
        directory = os.path.join(self._model_dir, desired.release)
        model = next((artifact for artifact in desired.artifacts if artifact.part == "model"), None)
        if model is not None:
            releases.report(desired.action_id, "downloading")
            os.makedirs(directory, exist_ok=True)
            path = releases.download(model, directory)
        else:
            # A release without files of its own: the model was delivered with the device's image.
            path = model_path(self._model_dir, desired.release)
        releases.report(desired.action_id, "installing", 50)
        reader = self._load(desired.release, path, desired.bill_of_materials.get("model_hash"))
        model_version = desired.bill_of_materials.get("model_version") or _model_version(desired.release)
        with self._switching:
            _remember(self._current_file, desired.release)
            self._reader, before, self.release = reader, self.release, desired.release
            self.device.set_context(release=desired.release, model_version=model_version)
        releases.report(desired.action_id, "installed", 90)
        self._announce("release_changed", before=before, rollback=desired.rollback)

    def _load(self, release: str, path: str | None = None, promised: str | None = None) -> Reader:
        path = path or model_path(self._model_dir, release)
        if not os.path.exists(path):
            raise ModelMissing(f"{path} does not exist; `python -m ridgeline_agent.build` makes the sample models")
        if promised and promised.split(":")[-1] != sha256(path):
            raise ModelMissing(f"{path} is not the model of the bill of materials ({promised})")
        try:
            reader = Reader(path)
            # A model that cannot read one frame must not replace one that can.
            reader.infer(reader.preprocess(self._camera.frame(0.5)))
        except Exception as error:
            # onnxruntime raises its own unrelated types for a broken file and for unsupported operators.
            raise ModelMissing(f"{path} cannot be run: {error}") from error
        return reader

    def _announce(self, event: str, **detail: object) -> None:
        self.device.event(event, "info", {"release": self.release, "energy_source": self._meter.source, **detail})


def _model_version(release: str) -> str:
    return f"{MODEL_NAME}-{release}"


def _remembered(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip() or None
    except FileNotFoundError:
        return None


def _remember(path: str, release: str) -> None:
    scratch = f"{path}.new"
    with open(scratch, "w", encoding="utf-8") as file:
        file.write(release)
    os.replace(scratch, path)
