"""Nemotron: our streaming is the class's own, our ONNX file says the same, our cache keeps the same frames."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from diarist.errors import ExtraError, UsageError, WeightsError
from diarist.models import transformers as adapter
from diarist.models.endtoend import load_endtoend
from diarist.models.nemotron import MODES, load
from diarist.models.toy import conversation

transformers = pytest.importorskip("transformers.models.nemotron3_diarization")
torch = pytest.importorskip("torch")

SAMPLES = conversation([(0.2, 3, "a"), (2.5, 6, "b"), (6.3, 9, "c"), (9.2, 11, "a")], 11.507)
MODES_OF_THE_CLASS = {0.32: "ultra_low_latency", 0.64: "very_low_latency", 1.04: "low_latency"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import nemotron_house

    return nemotron_house.saved(tmp_path_factory.mktemp("nemotron") / "tiny")


@pytest.fixture(scope="module")
def onnx_file(folder):
    pytest.importorskip("onnx")
    from diarist.models.nemotron_export import export_onnx

    return export_onnx(folder, folder.parent / "tiny.onnx")


@pytest.fixture(scope="module")
def original(folder):
    """The class and its processor, from the same folder."""
    network = transformers.Nemotron3DiarizationForAudioFrameClassification.from_pretrained(folder)
    return network.eval(), transformers.Nemotron3DiarizationProcessor.from_pretrained(folder)


def heard(model, samples=SAMPLES, cut=5_000):
    state, found = model.start(), []
    for first in range(0, len(samples), cut):
        state, scores = model(state, samples[first : first + cut])
        found.append(scores)
    return np.concatenate([*found, model.finish(state)])


def streamed(original, mode, samples=SAMPLES):
    """What a user of the class does, as its documentation has it."""
    network, processor = original
    processor.set_streaming_mode(mode)
    cache, frame, found, last = None, 0, [], False
    with torch.inference_mode():
        while not last:
            start = processor.audio_chunk_start(frame) if frame else 0
            size = processor.num_samples_per_audio_chunk if frame else processor.num_samples_first_audio_chunk
            last = start + size > len(samples)
            given = processor(
                samples[start : start + size],
                sampling_rate=16_000,
                is_streaming=True,
                is_first_audio_chunk=frame == 0,
                is_last_audio_chunk=last,
                return_tensors="pt",
            )
            said = network(**given, speaker_cache=cache)
            cache, frame = said.speaker_cache, frame + processor.num_mel_frames_per_step
            found.append(said.logits[0].sigmoid().numpy())
    return np.concatenate(found), cache


@pytest.mark.parametrize("latency", MODES_OF_THE_CLASS)
def test_streaming_is_that_of_the_class(folder, original, latency):
    wanted, cache = streamed(original, MODES_OF_THE_CLASS[latency])
    assert cache.is_compressed  # speakers were crowded out on the way
    np.testing.assert_allclose(heard(load(folder, latency=latency, device="cpu")), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_samples", [len(SAMPLES), 112_000, 64_000, 25_600, 3_000])
def test_offline_is_the_forward_over_a_whole_recording(folder, original, num_samples):
    network, processor = original
    samples = SAMPLES[:num_samples]
    with torch.inference_mode():
        wanted = network(**processor(samples, sampling_rate=16_000, return_tensors="pt")).logits[0].sigmoid().numpy()
    found = heard(load(folder, latency=2.0, device="cpu"), samples)
    assert len(found) == num_samples // 160
    np.testing.assert_allclose(found, wanted[: len(found)], atol=1e-6, rtol=0)


@pytest.mark.parametrize("latency", [1.04, 2.0])
def test_onnx_file_says_the_same(folder, onnx_file, latency):
    one, other = load(folder, latency=latency, device="cpu"), load(onnx_file, latency=latency)
    wanted, found = heard(one), heard(other)
    assert wanted.std() > 0.1
    # which of two frames that say the same is kept may hang on the last bit: what comes after it may differ
    assert (np.abs(found - wanted) < 1e-3).all(axis=1).mean() > 0.95
    state, _ = one(one.start(), SAMPLES)
    features = other.network.features(state.waiting, first=False, last=True)
    np.testing.assert_allclose(features, one.network.features(state.waiting, first=False, last=True), atol=1e-3)
    (kept, scores), (same, again) = (each.network.step(state.cache, features, 0) for each in (one, other))
    np.testing.assert_allclose(again, scores, atol=1e-4)
    np.testing.assert_allclose(same.fifo, kept.fifo, atol=1e-4)


def test_onnx_file_needs_neither_torch_nor_transformers(onnx_file, tmp_path):
    import subprocess
    import sys

    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "import numpy as np; from diarist.models.nemotron import load\n"
        f"model = load({str(onnx_file)!r}, latency=1.04)\n"
        "state, _ = model(model.start(), np.zeros(40_000, np.float32)); print(len(model.finish(state)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_export_that_says_something_else_is_not_kept(folder, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    from diarist.models import nemotron_export

    monkeypatch.setattr(nemotron_export, "CLOSE", -1.0)
    with pytest.raises(WeightsError, match="says something else"):
        nemotron_export.export_onnx(folder, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_latencies_are_those_of_the_card():
    assert [round(mode.latency, 2) for mode in MODES] == [0.32, 0.64, 1.04, 30.4]


def test_another_latency_names_those_that_there_are(folder):
    with pytest.raises(UsageError, match=r"no latency of 5 s: it has 0\.32, 0\.64, 1\.04, 2"):
        load(folder, latency=5.0)


def test_family_and_folder(folder):
    assert load_endtoend(f"nemotron:{folder}", latency=1.04, device="cpu").spec.num_speakers == 4


def test_hub_offline_is_told_in_a_line():
    with pytest.raises(WeightsError, match=r"nvidia/Nemotron-3-Diarization.*not in the hub's cache") as error:
        load_endtoend("nemotron", latency=30.4, offline=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["no such name", "./nowhere", "org/name:file.bin", "nowhere.onnx"])
def test_what_is_no_model(name):
    with pytest.raises((UsageError, WeightsError)) as error:
        load(name, latency=1.04, offline=True)
    assert "\n" not in str(error.value)


def test_folder_of_another_model(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "wav2vec2"}))
    with pytest.raises(WeightsError, match="of the type 'wav2vec2'"):
        load(other, latency=1.04)


def test_pickles_are_not_read(folder, tmp_path):
    """A checkpoint that would run a program is refused, and the program does not run."""

    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    other = shutil.copytree(folder, tmp_path / "other")
    (other / "model.safetensors").unlink()
    (other / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WeightsError, match="cannot load Nemotron"):
        load(other, latency=1.04)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "lacks"])
def test_damaged_weights(folder, tmp_path, damage):
    from safetensors.numpy import load_file, save_file

    other = shutil.copytree(folder, tmp_path / "other")
    path = other / "model.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        tensors = load_file(path)
        del tensors["classifier.dense.weight"]
        save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError) as error:
        load(other, latency=1.04)
    assert "\n" not in str(error.value)


def test_without_the_package(monkeypatch, folder):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ExtraError, match=r"diarist\[transformers\]"):
        adapter.read_checkpoint(folder)


def test_onnx_file_of_something_else(tmp_path):
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, save

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "x.onnx")
    with pytest.raises(WeightsError, match="is not Nemotron 3 Diarization: it takes x and gives y"):
        load(tmp_path / "x.onnx", latency=1.04)
