"""The sample agent: two real models, measured inferences, and a release that it follows or refuses."""

import gzip
import json
import pathlib
import time

import numpy as np
import pytest
from ridgeline_agent import build
from ridgeline_agent.agent import Agent, ModelMissing, context
from ridgeline_agent.digits import Camera, Reader
from ridgeline_agent.energy import ESTIMATE, RAPL, EnergyMeter
from ridgeline_sdk import Device, ReleaseClient, Spool, Transport
from ridgeline_sdk.envelope import as_rows


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("models"))
    return directory, build.build(directory)


@pytest.fixture
def agent(models, clock, tmp_path):
    device = Device(Spool(), context("digits", build.FLOAT32, "cpu-x86"), clock=clock, strict=True)
    meter = EnergyMeter(time.perf_counter())
    return Agent(device, Camera(np.random.default_rng(1)), meter, models[0], str(tmp_path / "release"), build.FLOAT32)


@pytest.fixture
def releases(server):
    """A server with a wish: `releases.wish` is what it answers; `releases.told` the statuses that it heard."""
    client = ReleaseClient(Transport(server.url), "good", server.url)
    client.wish, client.told = {"release": None}, []

    def status(handler, body):
        client.told.append(json.loads(body)["status"])
        server.answer(handler, 200, {})

    server.routes["/api/v1/device/desired"] = lambda handler, body: server.answer(handler, 200, client.wish)
    server.routes["/api/v1/device/status"] = status
    yield client
    client.transport.close()


def spooled(device):
    batch = device.spool.form(device.header, device.boot_id)
    device.spool.acknowledge(batch)
    envelope = json.loads(gzip.decompress(batch.body))
    if isinstance(envelope.get("inferences"), dict):
        envelope["inferences"] = as_rows(envelope["inferences"])
    return envelope


def test_int8_is_less_than_a_third_of_float32_and_reads_as_well(models):
    float32, int8 = (release["metadata"] for release in models[1])
    assert int8["size_bytes"] < float32["size_bytes"] / 3
    assert float32["held_out_accuracy"] > 0.97
    assert int8["held_out_accuracy"] > float32["held_out_accuracy"] - 0.01


def test_a_bill_of_materials_has_the_hash_of_the_file_and_names_the_recipe(models):
    directory, releases = models
    for release in releases:
        path = build.model_path(directory, release["version"])
        assert release["bill_of_materials"]["model_hash"] == f"sha256:{build.sha256(path)}"
    float32, int8 = (release["bill_of_materials"] for release in releases)
    assert float32["model_hash"] != int8["model_hash"]
    assert "INT8" in int8["quantization"]
    assert int8["calibration_dataset"]
    assert not float32["calibration_dataset"]


def test_building_again_gives_the_same_bytes(models, tmp_path):
    again = build.build(str(tmp_path))
    assert [r["bill_of_materials"]["model_hash"] for r in again] == [
        r["bill_of_materials"]["model_hash"] for r in models[1]
    ]


def test_the_two_models_give_different_confidence_to_the_same_frame(models):
    directory, _ = models
    frame = Camera(np.random.default_rng(2)).frame(0.5)
    confidences = set()
    for version in (build.FLOAT32, build.INT8):
        reader = Reader(build.model_path(directory, version))
        confidences.add(reader.postprocess(reader.infer(reader.preprocess(frame)))[1])
    assert len(confidences) == 2


def test_twenty_inferences_make_a_valid_envelope_with_what_was_measured(agent):
    for _ in range(20):
        agent.infer_once()
    envelope = spooled(agent.device)
    assert envelope["context"]["release"] == "1.0.0"
    assert len(envelope["inferences"]) == 20
    for row in envelope["inferences"]:
        parts = row["preprocess_ms"] + row["inference_ms"] + row["postprocess_ms"]
        assert 0 < parts <= row["latency_ms"]
        assert 0 < row["confidence"] <= 1
        assert 0 <= row["input_quality"] <= 1
        assert row["predicted_class"].startswith("digit-")
        assert row["sample_ref"].startswith("digits-held-out-")
        if agent._meter.source == ESTIMATE:
            assert row["energy_mj"] > 0
    (boot,) = [event for event in envelope["events"] if event["type"] == "boot"]
    assert boot["detail"]["energy_source"] in (RAPL, ESTIMATE)


def test_night_frames_are_of_lower_quality_than_noon_frames():
    camera = Camera(np.random.default_rng(3))
    noon, night = ([Reader.input_quality(camera.frame(t)) for _ in range(100)] for t in (0.5, 0.0))
    assert np.mean(night) < np.mean(noon)


def test_the_agent_follows_its_desired_release_and_remembers_it(agent, releases, models):
    agent.infer_once()
    releases.wish = {"version": "2.0.0", "action_id": 5, **_bom(models, "2.0.0")}
    assert agent.follow(releases)
    assert not agent.follow(releases)
    agent.infer_once()
    assert releases.told == ["installing", "installed", "booted"]
    before, after = spooled(agent.device), spooled(agent.device)
    assert (before["context"]["release"], after["context"]["release"]) == ("1.0.0", "2.0.0")
    assert after["context"]["model_version"] == "digits-mlp-2.0.0"
    restarted = Agent(agent.device, agent._camera, agent._meter, agent._model_dir, agent._current_file, build.FLOAT32)
    assert restarted.release == "2.0.0"


def test_a_model_is_downloaded_when_the_release_has_one(agent, releases, models, server, tmp_path):
    content = pathlib.Path(build.model_path(models[0], "2.0.0")).read_bytes()
    sha256 = build.sha256(build.model_path(models[0], "2.0.0"))

    def file(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    server.routes["/files/model.onnx"] = file
    artifact = {"filename": "model.onnx", "part": "model", "sha256": sha256, "url": "/files/model.onnx"}
    agent._model_dir = str(tmp_path / "elsewhere")
    releases.wish = {"version": "2.0.0", "artifacts": [artifact], **_bom(models, "2.0.0")}
    assert agent.follow(releases)
    assert releases.told == ["downloading", "installing", "installed", "booted"]
    assert build.sha256(build.model_path(agent._model_dir, "2.0.0")) == sha256


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"version": "3.0.0"}, "does not exist"),
        ({"version": "2.0.0", "bill_of_materials": {"model_hash": "sha256:0000"}}, "bill of materials"),
    ],
)
def test_a_model_that_is_missing_or_not_the_promised_one_changes_nothing(agent, releases, wish, reason):
    releases.wish = wish
    assert not agent.follow(releases)
    assert agent.release == "1.0.0"
    assert releases.told[-1] == "failed"
    agent.infer_once()
    events = spooled(agent.device)["events"]
    assert reason in events[-1]["detail"]["reason"]


def test_a_file_that_is_no_model_is_not_installed(agent, releases, models, tmp_path):
    directory = tmp_path / "models" / "9.9.9"
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(b"not a model")
    agent._model_dir = str(tmp_path / "models")
    releases.wish = {"version": "9.9.9"}
    assert not agent.follow(releases)
    assert agent.release == "1.0.0"


def test_without_an_answer_the_running_release_stays(agent):
    away = ReleaseClient(Transport("http://127.0.0.1:1"), "good", "http://127.0.0.1:1")
    assert not agent.follow(away)
    agent.infer_once()


def test_an_agent_without_models_says_how_to_get_them(clock, tmp_path):
    device = Device(Spool(), context("digits", "1.0.0", "cpu-x86"), clock=clock)
    with pytest.raises(ModelMissing, match="ridgeline_agent.build"):
        Agent(device, Camera(np.random.default_rng(1)), EnergyMeter(0.0), str(tmp_path), str(tmp_path / "r"), "1.0.0")


def test_energy_without_counters_is_cpu_time_times_nominal_watts(tmp_path):
    meter = EnergyMeter(0.0, nominal_core_w=10.0, pattern=str(tmp_path / "none*"))
    assert meter.source == ESTIMATE
    reading = meter.measure(now_s=1.0, wall_s=0.004, cpu_s=0.002)
    assert (reading.energy_mj, reading.power_w) == (pytest.approx(20.0), pytest.approx(5.0))


def test_energy_with_counters_is_package_power_times_wall_time_over_a_wrap(tmp_path):
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "energy_uj").write_text("900000")
    (package / "max_energy_range_uj").write_text("1000000")
    meter = EnergyMeter(0.0, pattern=str(tmp_path / "intel-rapl:[0-9]*" / "energy_uj"))
    assert meter.source == RAPL
    assert meter.measure(now_s=0.01, wall_s=0.01, cpu_s=0.01) is None
    # From 0.9 J over the wrap at 1 J to 0.4 J: half a joule in 0.2 s.
    (package / "energy_uj").write_text("400000")
    reading = meter.measure(now_s=0.2, wall_s=0.01, cpu_s=0.01)
    assert reading.power_w == pytest.approx(0.5 / 0.2)
    assert reading.energy_mj == pytest.approx(25.0)


def _bom(models, version):
    (release,) = [release for release in models[1] if release["version"] == version]
    return {"bill_of_materials": release["bill_of_materials"]}
