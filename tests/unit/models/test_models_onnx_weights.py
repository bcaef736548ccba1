"""Embedding files that take weights beside the features, and what features a file wants."""

import numpy as np
import pytest

from diarist.errors import WeightsError
from diarist.models.graph import Graph
from diarist.models.onnx import MOST_FBANK, OnnxEmbedding

RNG = np.random.default_rng(0)


def write(path, *, name="feats", fbank="time", weights=None, metadata=None):
    """A file whose embedding is the mean of the features; with weights, the sum under them or, where they are of a
    length of their own, the mean and the weights."""
    graph = Graph("own")
    features = graph.input(name, ("batch", fbank, 80))
    if weights is None:
        out = graph.node("ReduceMean", features, axes=[1], keepdims=0)
    elif weights == fbank:
        out = graph.node("Einsum", graph.input("weights", ("batch", weights)), features, equation="bt,btc->bc")
    else:
        mean = graph.node("ReduceMean", features, axes=[1], keepdims=0)
        out = graph.node("Concat", mean, graph.input("weights", ("batch", weights)), axis=1)
    graph.output(out, "embs", ("batch", "dimension"))
    path.write_bytes(graph.serialize())
    if metadata:
        onnx = pytest.importorskip("onnx")
        model = onnx.load(path)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, path)
    return OnnxEmbedding(path)


@pytest.mark.parametrize("num", [300, MOST_FBANK])
def test_weights_go_into_the_pooling_of_all_features(tmp_path, num):
    model = write(tmp_path / "a.onnx", weights="time")
    maps, weights = RNG.normal(size=(2, num, 80)).astype("f4"), RNG.random((2, 3, num)).astype("f4")
    weights[1, 2] = 0
    found = model.pool(maps, weights)
    np.testing.assert_allclose(found[:, :2], weights[:, :2] @ maps, atol=1e-3)
    assert np.isnan(found[1, 2]).all()  # silent


def test_of_more_than_a_chunk_only_the_stretch_with_weights_is_heard(tmp_path):
    model = write(tmp_path / "a.onnx", weights=4)
    maps, weights = RNG.normal(size=(1, 3000, 80)).astype("f4"), np.zeros((1, 1, 3000), "f4")
    weights[0, 0, 1200:1400] = 1
    weights[0, 0, 1250:1300] = 0
    found = model.pool(maps, weights)[0, 0]
    np.testing.assert_allclose(found[:80], maps[0, 1200:1400].mean(axis=0), atol=1e-5)
    assert found[80:].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("num", [40, 98, 120])
def test_lengths_that_a_file_demands_are_kept(tmp_path, num):
    model = write(tmp_path / "a.onnx", fbank=98, weights=98)
    maps, weights = RNG.normal(size=(1, num, 80)).astype("f4"), np.ones((1, 1, num), "f4")
    np.testing.assert_allclose(model.pool(maps, weights)[0, 0], maps[0, :98].sum(axis=0), atol=1e-4)


def test_a_file_without_weights_runs_on_the_frames_of_the_speaker(tmp_path):
    model = write(tmp_path / "a.onnx")
    maps, weights = RNG.normal(size=(1, 50, 80)).astype("f4"), np.zeros((1, 2, 50), "f4")
    weights[0, 0, 10:30], weights[0, 1, 0:5] = 1, 1
    found = model.pool(maps, weights)[0]
    np.testing.assert_allclose(found[0], maps[0, 10:30].mean(axis=0), atol=1e-5)
    assert np.isnan(found[1]).all() and model.spec.whole  # five frames are too few


@pytest.mark.parametrize(
    "name, metadata, window, scale",
    [
        ("feats", None, "hamming", 32768.0),
        ("x", None, "povey", 1.0),
        ("x", {"framework": "wespeaker", "normalize_samples": "0"}, "hamming", 32768.0),
        ("feats", {"framework": "3d-speaker", "normalize_samples": "1"}, "povey", 1.0),
        ("x", {"window_type": "hamming"}, "hamming", 1.0),
    ],
)
def test_what_features_a_file_wants(tmp_path, name, metadata, window, scale):
    spec = write(tmp_path / "a.onnx", name=name, metadata=metadata).spec
    assert (spec.window, spec.scale, spec.dimension) == (window, scale, 80)


def test_a_window_that_is_not_offered_is_told(tmp_path):
    with pytest.raises(WeightsError, match="window_type 'hann': only povey and hamming"):
        write(tmp_path / "a.onnx", metadata={"window_type": "hann"})
