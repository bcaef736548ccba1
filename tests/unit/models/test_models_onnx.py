from __future__ import annotations

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.errors import WeightsError
from diarist.models.graph import Graph
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation, powerset_of, session

SHERPA = {
    "num_speakers": "3",
    "powerset_max_classes": "2",
    "window_size": "80000",
    "receptive_field_size": "991",
    "receptive_field_shift": "270",
    "sample_rate": "16000",
}


@pytest.fixture
def save(tmp_path):
    def save(graph, metadata=None):
        path = tmp_path / "own.onnx"
        path.write_bytes(graph.serialize(metadata))
        return path

    return save


def segmentation(num_classes=7, *, activation="LogSoftmax", size=991, step=270, length="num_samples"):
    """One convolution, as a network of somebody's own."""
    graph = Graph("own")
    samples = graph.input("x", ("batch", 1, length))
    weight = np.random.default_rng(0).normal(0, 0.1, (num_classes, 1, size))
    x = graph.node("Conv", samples, graph.constant(weight), strides=[step])
    x = graph.node(activation, graph.node("Transpose", x, perm=[0, 2, 1]))
    graph.output(x, "y", ("batch", "num_frames", num_classes))
    return graph


def embedding(dimension=16, num_mels=80):
    graph = Graph("own")
    features = graph.input("feats", ("batch", "time", num_mels))
    mean = graph.node("ReduceMean", features, axes=[1], keepdims=0)
    weight = np.random.default_rng(0).normal(0, 1, (80 if num_mels == "mels" else num_mels, dimension))
    graph.output(graph.node("MatMul", mean, graph.constant(weight)), "embs", ("batch", dimension))
    return graph


def test_facts_are_tried_out(save):
    spec = OnnxSegmentation(save(segmentation())).spec
    assert (spec.chunk, spec.num_frames, spec.frames) == (160_000, 589, Axis(991, 270))
    assert (spec.num_local, spec.max_simultaneous) == (3, 2)


def test_facts_are_read(save):
    spec = OnnxSegmentation(save(segmentation(), SHERPA)).spec
    assert (spec.chunk, spec.num_frames, spec.frames) == (80_000, 293, Axis(991, 270))
    assert (spec.num_local, spec.max_simultaneous) == (3, 2)


def test_independent_classes(save):
    spec = OnnxSegmentation(save(segmentation(4, activation="Sigmoid"))).spec
    assert (spec.num_local, spec.max_simultaneous) == (4, None)
    spec = OnnxSegmentation(save(segmentation(2), {"num_speakers": "2", "powerset_max_classes": "0"})).spec
    assert (spec.num_local, spec.max_simultaneous) == (2, None)


def test_other_geometry(save):
    spec = OnnxSegmentation(save(segmentation(size=320, step=320))).spec
    assert (spec.num_frames, spec.frames) == (500, Axis(320, 320))


def test_fixed_length(save):
    model = OnnxSegmentation(save(segmentation(length=32_000)))
    assert model.spec.chunk == 32_000
    assert model(np.zeros((3, 32_000), np.float32)).shape == (3, 115, 7)


@pytest.mark.parametrize(
    ("graph", "metadata", "message"),
    [
        (segmentation(5), None, r"does not say what its 5 classes are: set num_speakers"),
        (segmentation(7, activation="Relu"), None, None),
        (segmentation(), SHERPA | {"num_speakers": "4"}, "says 4 speakers, 2 at once, for 7 classes"),
        (segmentation(), SHERPA | {"sample_rate": "8000"}, "takes sound at 8000 Hz: only 16000 Hz"),
        (segmentation(), SHERPA | {"window_size": "500"}, r"does not take an input of \(500,\)"),
        (segmentation(9, activation="Sigmoid"), None, "9 speakers in a chunk, more than the 8"),
        (embedding(), None, "is not a segmentation network"),
    ],
)
def test_what_is_no_segmentation_network(save, graph, metadata, message):
    path = save(graph, metadata)
    if message is None:  # zeros are probabilities too
        assert OnnxSegmentation(path).spec.max_simultaneous is None
        return
    with pytest.raises(WeightsError, match=message) as caught:
        OnnxSegmentation(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_embedding_file(save):
    model = OnnxEmbedding(save(embedding()))
    assert (model.spec.dimension, model.spec.num_mels, model.spec.map_stride) == (16, 80, 1)
    features = np.random.default_rng(0).normal(size=(2, 50, 80)).astype(np.float32)
    weights = np.zeros((2, 1, 50), np.float32)
    weights[:, :, 10:30] = 1
    found = model.pool(model.frames(features), weights)
    cut = model.pool(features[:, 10:30], np.ones((2, 1, 20), np.float32))
    np.testing.assert_array_equal(found, cut)


def test_embedding_of_other_mels(save):
    assert OnnxEmbedding(save(embedding(num_mels=64))).spec.num_mels == 64
    assert OnnxEmbedding(save(embedding(num_mels="mels"))).spec.num_mels == 80


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (segmentation(), "does not take an input of"),
        (embedding(num_mels=200), "its input must be"),
    ],
)
def test_what_is_no_embedding_network(save, graph, message):
    with pytest.raises(WeightsError, match=message) as caught:
        OnnxEmbedding(save(graph))
    assert "\n" not in str(caught.value)


def test_maps_are_no_embedding(save):
    graph = Graph("own")
    graph.output(graph.node("Relu", graph.input("x", ("batch", "time", 80))), "y", None)
    with pytest.raises(WeightsError, match=r"its output must be \(batch, dimension\)"):
        OnnxEmbedding(save(graph))


def test_two_inputs_are_refused(save):
    graph = Graph("own")
    graph.output(graph.node("Add", graph.input("x", (1, 1, 8)), graph.input("length", (1, 1, 8))), "y", None)
    for adapter in (OnnxSegmentation, OnnxEmbedding):
        with pytest.raises(WeightsError, match=r"takes: x tensor\(float\), length tensor\(float\)"):
            adapter(save(graph))


@pytest.mark.parametrize("content", [b"", b"not a model", None], ids=["empty", "text", "truncated"])
@pytest.mark.parametrize("adapter", [OnnxSegmentation, OnnxEmbedding])
def test_what_is_no_onnx(tmp_path, adapter, content):
    path = tmp_path / "own.onnx"
    path.write_bytes(segmentation().serialize()[:2000] if content is None else content)
    with pytest.raises(WeightsError, match="is not an ONNX model that can be run") as caught:
        adapter(path)
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be():
    graph = Graph("own")
    graph.output(graph.node("NoSuchOperator", graph.input("x", (1,))), "y", None)
    with pytest.raises(WeightsError, match="the checkpoint does not make a network"):
        session(graph.serialize())


def test_powersets():
    assert [powerset_of(n) for n in (4, 7, 11, 16, 37)] == [None, (3, 2), (4, 2), (5, 2), (8, 2)]
