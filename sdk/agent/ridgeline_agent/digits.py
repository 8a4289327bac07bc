"""The digits workload: a camera that sees held-out digits in changing light, and the model that reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnxruntime

from .build import INPUT, OUTPUT, PROVIDER, split_digits

# Contrast of a clean digit: the spread between its 5th and 95th percentile of brightness.
FULL_CONTRAST = 0.9


@dataclass(frozen=True)
class Frame:
    """A raw camera frame: 8 x 8 bytes, and which held-out digit it shows."""

    pixels: np.ndarray
    sample_ref: str


class Camera:
    """Held-out digits under noise and dimming that follow the hour of the day."""

    def __init__(self, rng: np.random.Generator) -> None:
        _, _, self._images, _ = split_digits()
        self._rng = rng

    def frame(self, day_fraction: float) -> Frame:
        """A frame at a time of day between 0 and 1 (midnight to midnight)."""
        daylight = 0.5 - 0.5 * math.cos(2.0 * math.pi * day_fraction)
        index = int(self._rng.integers(len(self._images)))
        noise = self._rng.normal(0.0, 0.05 + 0.10 * (1.0 - daylight), self._images.shape[1])
        brightness = 0.7 + 0.3 * daylight
        pixels = np.clip((self._images[index] * brightness + noise) * 255.0, 0, 255).astype(np.uint8)
        return Frame(pixels, f"digits-held-out-{index}")


class Reader:
    """A model file and the steps around it."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        # One thread: CPU time is then the inference's own, and a small model gains nothing from more.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=[PROVIDER])

    @staticmethod
    def preprocess(frame: Frame) -> np.ndarray:
        """A frame as the model's input, (1, 64) float32, stretched to full brightness."""
        pixels = frame.pixels.astype(np.float32) / 255.0
        return (pixels / max(float(pixels.max()), 1e-3)).reshape(1, -1)

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        """Class probabilities, (10,)."""
        (probabilities,) = self._session.run([OUTPUT], {INPUT: pixels})
        return probabilities[0]

    @staticmethod
    def postprocess(probabilities: np.ndarray) -> tuple[str, float]:
        """Class name and confidence."""
        best = int(probabilities.argmax())
        return f"digit-{best}", min(1.0, float(probabilities[best]))

    @staticmethod
    def input_quality(frame: Frame) -> float:
        """Contrast of the frame between 0 and 1: what a device can know of its input without labels."""
        low, high = np.percentile(frame.pixels, (5, 95)) / 255.0
        return float(min(1.0, max(0.0, (high - low) / FULL_CONTRAST)))
