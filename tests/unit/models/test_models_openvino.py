"""OpenVINO, and ONNX Runtime's other devices: what runs, and what is said where it cannot."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime
import pytest

from diarist.errors import ExtraError, MissingError, UsageError, WeightsError
from diarist.models import openvino
from diarist.models.campplus import CamPlusPlus, OnnxCamPlusPlus, onnx_embedding
from diarist.models.graph import Graph
from diarist.models.load import load_segmentation
from diarist.models.nets import pyannet, whole
from diarist.models.onnx import OnnxSegmentation, opener, session
from diarist.models.pyannet import PyanNet
from diarist.models.verify import compare


@pytest.fixture
def here():
    pytest.importorskip("openvino")


def test_segmentation_is_that_of_onnx_runtime(here, pyannet_tensors):
    sound = np.random.default_rng(1).normal(0.02, 0.1, (2, 160_000)).astype(np.float32)
    ours, theirs = PyanNet(pyannet_tensors, open=openvino.opener("cpu")), PyanNet(pyannet_tensors)
    assert ours.spec == theirs.spec
    assert compare(ours(sound), theirs(sound)).largest < 1e-3
    assert compare(ours.resized(32_000)(sound[:, :32_000]), theirs.resized(32_000)(sound[:, :32_000])).largest < 1e-3


@pytest.mark.parametrize("precision,cosine", [("float32", 0.99999), ("bfloat16", 0.99)])
def test_embedding_is_that_of_onnx_runtime(here, campplus_tensors, precision, cosine):
    if precision == "bfloat16" and not openvino.has_bfloat16():
        pytest.skip("this processor computes no bfloat16")
    features = np.random.default_rng(1).normal(0, 3, (1, 400, 80)).astype(np.float32)
    ours = CamPlusPlus(campplus_tensors, open=openvino.opener("cpu", precision)).frames(features)
    assert compare(ours, CamPlusPlus(campplus_tensors).frames(features)).cosine > cosine


def test_a_files_outputs_are_known_by_the_names_it_gives_them(here, tmp_path, campplus_tensors):
    """CAM++ as a file is heard by its maps here too."""
    path = tmp_path / "campplus.onnx"
    path.write_bytes(whole.campplus_graph(campplus_tensors, int8=False).serialize())
    ours, theirs = onnx_embedding(path, openvino.opener("cpu")), onnx_embedding(path)
    assert isinstance(ours, OnnxCamPlusPlus) and ours.spec == theirs.spec
    features = np.random.default_rng(1).normal(0, 3, (1, 203, 80)).astype(np.float32)
    assert compare(ours.frames(features), theirs.frames(features)).cosine > 0.99999


def _file(path, **said):
    graph = Graph("own")
    samples = graph.input("x", ("batch", 1, "num_samples"))
    frames = graph.node("Conv", samples, graph.constant(np.ones((7, 1, 991)) / 991), strides=[270])
    scores = graph.node("LogSoftmax", graph.node("Transpose", frames, perm=[0, 2, 1]), axis=-1)
    graph.output(scores, "y", ("batch", "num_frames", 7))
    path.write_bytes(graph.serialize(said or None))
    return path


def test_files_run_and_what_they_say_is_read(here, tmp_path):
    said = {"num_speakers": "3", "powerset_max_classes": "2", "window_size": "80000"}
    path = _file(tmp_path / "own.onnx", **said)
    ours, theirs = OnnxSegmentation(path, openvino.opener("cpu")), OnnxSegmentation(path)
    assert ours.spec == theirs.spec and ours.spec.chunk == 80_000
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 80_000)).astype(np.float32)
    np.testing.assert_allclose(ours(sound), theirs(sound), atol=1e-5)
    assert isinstance(load_segmentation(path, backend="openvino"), OnnxSegmentation)


def test_our_files_in_eight_bits(here, tmp_path, pyannet_tensors, campplus_tensors):
    """They are read with their operators, not widened; int8 weights alone are widened alike."""
    path = tmp_path / "own.onnx"
    sound = np.random.default_rng(1).normal(0.02, 0.1, (1, 32_000)).astype(np.float32)
    for said, largest in (({"int8": True}, 0.02), ({"int8": False, "store": "int8"}, 1e-4)):
        path.write_bytes(pyannet.whole_graph(pyannet_tensors, powerset=True, **said).serialize())
        ours, theirs = (
            found.run(None, {"samples": sound[None]})[0] for found in (openvino.opener("cpu")(path), session(path))
        )
        assert np.abs(np.exp(ours) - np.exp(theirs)).max() < largest
    path.write_bytes(whole.campplus_graph(campplus_tensors, int8=True).serialize())
    feed = {"feats": np.random.default_rng(1).normal(0, 3, (1, 200, 80)).astype(np.float32)}
    feed["weights"] = np.ones((1, 1, 200), np.float32)
    ours, theirs = (found.run(None, feed)[0] for found in (openvino.opener("cpu")(path), session(path)))
    assert compare(ours, theirs).cosine > 0.99


def test_files_that_are_none(here, tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="not an ONNX model that OpenVINO can run"):
        load_segmentation(path, backend="openvino")


def test_devices(here):
    assert "cpu" in openvino.devices()
    assert openvino.device_of("cpu") == "CPU"
    with pytest.raises(UsageError, match="OpenVINO finds no device 'tpu' here; it offers: auto, cpu"):
        openvino.opener("tpu")


def test_a_processor_without_bfloat16(here, monkeypatch):
    monkeypatch.setattr(openvino, "has_bfloat16", lambda *_: False)
    with pytest.raises(UsageError, match="computes no bfloat16: choose the precision float32"):
        openvino.opener("cpu", "bfloat16")


def test_without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    openvino._core.cache_clear()
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[openvino\]'"):
        openvino.opener()
    openvino._core.cache_clear()


def test_onnx_runtime_has_no_bfloat16(tmp_path):
    with pytest.raises(UsageError, match="no bfloat16: add --backend openvino"):
        load_segmentation(_file(tmp_path / "own.onnx"), precision="bfloat16")


@pytest.mark.parametrize(
    "device,package", [("cuda", "onnxruntime-gpu"), ("cuda:1", "onnxruntime-gpu"), ("dml", "onnxruntime-directml")]
)
def test_a_provider_that_is_not_there(device, package, tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingError, match=f"pip install {package}$"):
        load_segmentation(_file(tmp_path / "own.onnx"), device=device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "tpu:1"])
def test_devices_that_onnx_runtime_does_not_have(device):
    with pytest.raises(UsageError, match=f"no device '{device}'"):
        opener(device)


BOTH = ("CUDAExecutionProvider", "CPUExecutionProvider")


class _Pretended:
    """What ONNX Runtime would be asked for, had it CUDA; `starts` says whether that comes up."""

    def __init__(self, monkeypatch, starts):
        self.asked = []
        real = onnxruntime.InferenceSession

        def made(source, options, providers):
            self.asked.append(providers)
            running = real(source, options, providers=["CPUExecutionProvider"])
            if starts:
                monkeypatch.setattr(running, "get_providers", lambda: list(BOTH), raising=False)
            return running

        monkeypatch.setattr(onnxruntime, "InferenceSession", made)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(BOTH))


def test_cuda_is_asked_for(monkeypatch, tmp_path):
    pretended = _Pretended(monkeypatch, starts=True)
    opener("cuda:1")(_file(tmp_path / "own.onnx"))
    assert pretended.asked == [[("CUDAExecutionProvider", {"device_id": 1}), "CPUExecutionProvider"]]


def test_networks_on_cuda_are_not_in_eight_bits(monkeypatch, tmp_path, pyannet_tensors):
    """Their operators are those of processors; the float32 graph must be the one that is opened."""
    _Pretended(monkeypatch, starts=True)
    np.savez(tmp_path / "own.npz", **pyannet_tensors)
    sound = np.random.default_rng(1).normal(0.02, 0.1, (1, 160_000)).astype(np.float32)
    with pytest.warns(UserWarning, match="no eight bits on 'cuda' and takes float32, 2 % DER from int8"):
        found = load_segmentation(tmp_path / "own.npz", device="cuda", precision="int8")
    np.testing.assert_array_equal(found(sound), PyanNet(pyannet_tensors)(sound))


def test_cuda_that_does_not_start(monkeypatch, tmp_path):
    _Pretended(monkeypatch, starts=False)
    with pytest.raises(MissingError, match="could not start CUDAExecutionProvider"):
        opener("cuda")(_file(tmp_path / "own.onnx"))


def test_auto_is_the_processor(tmp_path):
    running = opener("auto")(_file(tmp_path / "own.onnx"))
    assert running.get_providers() == session(_file(tmp_path / "own.onnx")).get_providers() == ["CPUExecutionProvider"]
