"""Every adapter of each port, built once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.models import custom, mlx, openvino, torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.fused import FusedSegmentation
from diarist.models.graph import Graph
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.marblenet import OnnxVad
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation
from diarist.models.pyannet import PyanNet
from diarist.models.resnet import ResNet34
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.models.vad import FrameClassifier, SegmentationVad, load_vad

# One line an adapter: its name, and what builds it from the fixtures it asks for by name. `needs` is a module without
# which it is skipped; what needs weights from the package index is marked.
Build = Callable[[pytest.FixtureRequest], Any]


def _adapter(name: str, build: Build, *, needs: str | None = None, weights: bool = False) -> Any:
    return pytest.param((build, needs), id=name, marks=[pytest.mark.weights] if weights else [])


def _built(request: pytest.FixtureRequest) -> Any:
    build, needs = request.param
    if needs is not None:
        pytest.importorskip(needs)
    return build(request)


def _of(fixture: str, make: Callable[[Any], Any]) -> Build:
    return lambda request: make(request.getfixturevalue(fixture))


def _bfloat16(make: Callable[..., Any], tensors: Any) -> Any:
    if not openvino.has_bfloat16():
        pytest.skip("this processor computes no bfloat16")
    return make(tensors, open=openvino.opener("cpu", "bfloat16"))


def _on_openvino(make: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda given: make(given, open=openvino.opener("cpu"))


def _of_nemo(load: Callable[..., Any], name: str, request: pytest.FixtureRequest) -> Any:
    import nemo_house

    file = request.getfixturevalue("tmp_path_factory").mktemp("nemo") / f"{name}.nemo"
    return load(nemo_house.build(name, file), device="cpu")


SEGMENTATION = [
    _adapter("toy", lambda _: ToySegmentation()),
    _adapter("pyannet-float32", _of("pyannet_tensors", PyanNet)),
    _adapter("pyannet-int8", _of("pyannet_tensors", lambda tensors: PyanNet(tensors, int8=True))),
    _adapter("pyannet-torch", _of("pyannet_tensors", lambda t: torch.segmentation(t, "cpu")), needs="torch"),
    _adapter("pyannet-mlx", _of("pyannet_tensors", lambda t: mlx.segmentation(t).resized(16_000)), needs="mlx"),
    _adapter("pyannet-openvino", _of("pyannet_tensors", _on_openvino(PyanNet)), needs="openvino"),
    _adapter("pyannet-bfloat16", _of("pyannet_tensors", lambda t: _bfloat16(PyanNet, t)), needs="openvino"),
    _adapter("onnx-file", _of("segmentation_file", OnnxSegmentation)),
    _adapter("openvino-file", _of("segmentation_file", _on_openvino(OnnxSegmentation)), needs="openvino"),
    _adapter("custom", lambda _: custom.segmentation(_loud, 10.0)),
    _adapter("weights-int8", lambda _: load_segmentation(), weights=True),
    _adapter(
        "weights-fused",
        lambda _: FusedSegmentation(load_segmentation(), load_vad(), weight=0.3, bias=0.5),
        weights=True,
    ),
]

EMBEDDING = [
    _adapter("toy", lambda _: ToyEmbedding()),
    _adapter("campplus-float32", _of("campplus_tensors", CamPlusPlus)),
    _adapter("campplus-int8", _of("campplus_tensors", lambda tensors: CamPlusPlus(tensors, int8=True))),
    _adapter("campplus-torch", _of("campplus_tensors", lambda t: torch.embedding(t, "cpu")), needs="torch"),
    _adapter("campplus-mlx", _of("campplus_tensors", mlx.embedding), needs="mlx"),
    _adapter("campplus-openvino", _of("campplus_tensors", _on_openvino(CamPlusPlus)), needs="openvino"),
    _adapter("campplus-bfloat16", _of("campplus_tensors", lambda t: _bfloat16(CamPlusPlus, t)), needs="openvino"),
    _adapter("resnet34-float32", _of("resnet_tensors", ResNet34)),
    _adapter("resnet34-torch", _of("resnet_tensors", lambda t: torch.resnet34(t, "cpu")), needs="torch"),
    _adapter("resnet34-openvino", _of("resnet_tensors", _on_openvino(ResNet34)), needs="openvino"),
    _adapter("onnx-file", _of("embedding_file", OnnxEmbedding)),
    _adapter("openvino-file", _of("embedding_file", _on_openvino(OnnxEmbedding)), needs="openvino"),
    _adapter(
        "nemo-titanet", lambda request: _of_nemo(load_embedding, "titanet", request), needs="nemo.collections.asr"
    ),
    _adapter("custom", lambda _: custom.embedding(_mean, takes="features", min_duration=0.05)),
    _adapter("weights-int8", lambda _: load_embedding(), weights=True),
]

VAD = [
    _adapter("function", lambda _: FrameClassifier(_energy, Axis(160, 160))),
    _adapter("segmentation", lambda _: SegmentationVad(ToySegmentation())),
    _adapter("onnx-file", _of("vad_file", OnnxVad)),
    _adapter("nemo-windows", lambda request: _of_nemo(load_vad, "marblenet", request), needs="nemo.collections.asr"),
    _adapter(
        "nemo-frames", lambda request: _of_nemo(load_vad, "frame-marblenet", request), needs="nemo.collections.asr"
    ),
    _adapter("silero", lambda _: load_vad("silero"), weights=True),
    _adapter("marblenet", lambda _: load_vad("marblenet", accept_licence=True), weights=True),
]


@pytest.fixture(scope="session", params=SEGMENTATION)
def segmentation(request):
    return _built(request)


@pytest.fixture(scope="session", params=EMBEDDING)
def embedding(request):
    return _built(request)


@pytest.fixture(scope="session", params=VAD)
def vad(request):
    return _built(request)


@pytest.fixture(scope="session")
def segmentation_file(tmp_path_factory):
    return _segmentation_file(tmp_path_factory.mktemp("onnx") / "segmentation.onnx")


@pytest.fixture(scope="session")
def embedding_file(tmp_path_factory):
    return _embedding_file(tmp_path_factory.mktemp("onnx") / "embedding.onnx")


@pytest.fixture(scope="session")
def vad_file(tmp_path_factory):
    return _vad_file(tmp_path_factory.mktemp("onnx") / "vad.onnx")


def _loud(batch):
    """A function of somebody's own: how loud each of 500 frames is, of two speakers."""
    level = np.sqrt((batch.reshape(len(batch), 500, batch.shape[1] // 500) ** 2).mean(axis=2))
    return np.stack([np.clip(level, 0, 1), np.clip(level / 2, 0, 1)], axis=2)


def _mean(features):
    """A function of somebody's own: the mean over time."""
    return features.mean(axis=1)


def _energy(samples):
    """A function of somebody's own: how loud each 10 ms are."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return np.clip(10 * np.sqrt((frames**2).mean(axis=1)), 0, 1)


def _vad_file(path):
    """A file of somebody's own: the mean of the squares of 20 ms, through a logistic function."""
    graph = Graph("own")
    samples = graph.input("audio", (1, "num_samples"))
    squares = graph.node("Unsqueeze", graph.node("Mul", samples, samples), graph.constant([1], np.int64))
    frames = graph.node("Conv", squares, graph.constant(np.full((1, 1, 320), 300 / 320)), strides=[320])
    score = graph.node("Sigmoid", graph.node("Sub", frames, graph.constant(1.0)))
    graph.output(graph.node("Squeeze", score, graph.constant([1], np.int64)), "speech", (1, "num_frames"))
    path.write_bytes(graph.serialize())
    return path


def _segmentation_file(path):
    """A file of somebody's own: one convolution with the geometry of pyannote's networks."""
    graph = Graph("own")
    samples = graph.input("x", ("batch", 1, "num_samples"))
    weight = np.random.default_rng(0).normal(0, 0.1, (7, 1, 991))
    frames = graph.node("Conv", samples, graph.constant(weight), strides=[270])
    scores = graph.node("LogSoftmax", graph.node("Transpose", frames, perm=[0, 2, 1]), axis=-1)
    graph.output(scores, "y", ("batch", "num_frames", 7))
    path.write_bytes(graph.serialize())
    return path


def _embedding_file(path):
    """A file of somebody's own: mean over time, then a product."""
    graph = Graph("own")
    features = graph.input("feats", ("batch", "time", 80))
    mean = graph.node("ReduceMean", features, axes=[1], keepdims=0)
    weight = np.random.default_rng(0).normal(0, 1, (80, 16))
    graph.output(graph.node("MatMul", mean, graph.constant(weight)), "embs", ("batch", 16))
    path.write_bytes(graph.serialize())
    return path
