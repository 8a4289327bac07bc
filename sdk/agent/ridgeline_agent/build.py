"""Builds the two releases of the sample model: digits in float32, and the same network quantized to INT8."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import sklearn
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

SEED = 20260101
WORKLOAD = "digits"
MODEL_NAME = "digits-mlp"
HIDDEN_UNITS = (512, 256)
TRAINING_EPOCHS = 40
FLOAT32, INT8 = "1.0.0", "2.0.0"
CALIBRATION_SAMPLES = 200
OPSET, IR_VERSION = 17, 9
INPUT, OUTPUT = "pixels", "probabilities"
# What stands for the accelerator's driver on a plain CPU.
PROVIDER = "CPUExecutionProvider"


def split_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits scaled to [0, 1]: training images (n, 64) and labels, held-out images and labels."""
    digits = load_digits()
    images = (digits.data / 16.0).astype(np.float32)
    order = np.random.default_rng(SEED).permutation(len(images))
    train, held_out = order[: len(order) * 2 // 3], order[len(order) * 2 // 3 :]
    return images[train], digits.target[train], images[held_out], digits.target[held_out]


def train(images: np.ndarray, labels: np.ndarray) -> MLPClassifier:
    """A two-layer perceptron; one thread, so that the same versions give the same weights."""
    network = MLPClassifier(HIDDEN_UNITS, random_state=SEED, max_iter=TRAINING_EPOCHS)
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # A fixed number of epochs is meant, not convergence.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(images, labels)


def to_onnx(network: MLPClassifier) -> onnx.ModelProto:
    """The network as an ONNX graph: MatMul, Add and Relu per layer, Softmax at the end; batch size is free."""
    nodes, initializers, flow = [], [], INPUT
    last = len(network.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_)):
        initializers += [
            numpy_helper.from_array(weights.astype(np.float32), f"weights_{layer}"),
            numpy_helper.from_array(bias.astype(np.float32), f"bias_{layer}"),
        ]
        nodes += [
            helper.make_node("MatMul", [flow, f"weights_{layer}"], [f"product_{layer}"]),
            helper.make_node("Add", [f"product_{layer}", f"bias_{layer}"], [f"sum_{layer}"]),
        ]
        flow = f"sum_{layer}"
        if layer < last:
            nodes.append(helper.make_node("Relu", [flow], [f"active_{layer}"]))
            flow = f"active_{layer}"
    nodes.append(helper.make_node("Softmax", [flow], [OUTPUT], axis=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", network.coefs_[0].shape[0]])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(network.classes_)])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="ridgeline_agent")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


class _CalibrationImages(CalibrationDataReader):
    """Feeds training images one by one to the quantizer."""

    def __init__(self, images: np.ndarray) -> None:
        self._images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image.reshape(1, -1)}


def quantize(float_path: str, int8_path: str, images: np.ndarray) -> None:
    """INT8 weights and activations, ranges measured on the calibration images."""
    quantize_static(
        float_path,
        int8_path,
        _CalibrationImages(images[:CALIBRATION_SAMPLES]),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )


def accuracy(path: str, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that the model at `path` gets right."""
    session = onnxruntime.InferenceSession(path, providers=[PROVIDER])
    (probabilities,) = session.run([OUTPUT], {INPUT: images})
    return float((probabilities.argmax(axis=1) == labels).mean())


def sha256(path: str) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def bill_of_materials(version: str, path: str, quantization: str, calibration_dataset: str) -> dict[str, Any]:
    """A release as the server registers it, with the model file's real hash; it asks for no particular firmware."""
    runtime = f"onnxruntime {onnxruntime.__version__}"
    return {
        "workload": WORKLOAD,
        "version": version,
        "bill_of_materials": {
            "model_version": f"{MODEL_NAME}-{version}",
            "model_hash": f"sha256:{sha256(path)}",
            "quantization": quantization,
            "runtime_version": runtime,
            "compiler_version": f"onnx {onnx.__version__}",
            "driver_version": PROVIDER,
            "calibration_dataset": calibration_dataset,
        },
    }


def build(directory: str) -> list[dict[str, Any]]:
    """Train, export and quantize into `directory`/VERSION/model.onnx; returns and writes (bom.json) both releases."""
    images, labels, held_out_images, held_out_labels = split_digits()
    network = train(images, labels)
    float_path, int8_path = (model_path(directory, version) for version in (FLOAT32, INT8))
    for path in (float_path, int8_path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    onnx.save(to_onnx(network), float_path)
    with tempfile.TemporaryDirectory() as scratch:
        prepared = os.path.join(scratch, "prepared.onnx")
        # Without the optimizer, which would fuse the operators that are to be quantized.
        quant_pre_process(float_path, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize(prepared, int8_path, images)
    calibration = f"digits-train-{CALIBRATION_SAMPLES} seed {SEED}, scikit-learn {sklearn.__version__}"
    releases = []
    for version, path, recipe, data in (
        (FLOAT32, float_path, "none (float32)", ""),
        (INT8, int8_path, "static INT8, QDQ, per tensor, min-max", calibration),
    ):
        release = bill_of_materials(version, path, recipe, data)
        release["hardware_targets"] = ["cpu-x86"]
        release["metadata"] = {
            "file": os.path.relpath(path, directory),
            "size_bytes": os.path.getsize(path),
            "held_out_accuracy": round(accuracy(path, held_out_images, held_out_labels), 4),
        }
        releases.append(release)
    with open(os.path.join(directory, "bom.json"), "w", encoding="utf-8") as file:
        json.dump(releases, file, indent=2)
    return releases


def model_path(directory: str, version: str) -> str:
    """Where the model of a release lies."""
    return os.path.join(directory, version, "model.onnx")


def main() -> int:
    """Build both models and print their bills of materials as JSON."""
    parser = argparse.ArgumentParser(prog="python -m ridgeline_agent.build", description=__doc__)
    parser.add_argument("--out", required=True, help="directory for the models and bom.json")
    arguments = parser.parse_args()
    print(json.dumps(build(arguments.out), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
