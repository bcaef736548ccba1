"""Operators in eight bits on every library against ONNX Runtime: the same integers; and networks made of them."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import WeightsError
from diarist.models import mlx, openvino, quantize, torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.graph import MICROSOFT, Graph
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.onnx import session
from diarist.models.pyannet import PyanNet
from diarist.models.quantize import Grid
from diarist.models.verify import compare

OPENERS = {"torch": torch.opener, "mlx": mlx.opener, "openvino": openvino.int8_opener}
FINE = Grid(1 / 16, 128)


@pytest.fixture(params=OPENERS)
def backend(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture
def run(backend):
    """`build(graph, input)` on that library and on ONNX Runtime."""

    def both(build, x, shape=None, group=1):
        graph = Graph("eight bits", group=group)
        graph.output(build(graph, graph.input("x", shape or x.shape)), "y", None)
        return [made.run(["y"], {"x": x})[0] for made in (OPENERS[backend]("cpu")(graph), session(graph))]

    return both


def same(found):
    assert found[0].shape == found[1].shape and found[0].dtype == np.float32
    np.testing.assert_array_equal(*found)


def numbers(*shape, seed=0, scale=3.0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def test_rounding_and_clipping(run):
    x = np.array([-1e3, -8.1, -0.09375, -0.03125, 0, 0.03125, 0.09375, 7.9, 7.97, 1e9], np.float32)
    same(run(lambda g, x: quantize.dequantize(g, quantize.quantize(g, x, FINE)), x))


@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize(
    "shape,kernel,said",
    [
        ((1, 20, 32), (1,), {}),
        ((1, 20, 8), (3,), {"pads": [2, 2], "dilations": [2]}),
        ((1, 21, 40), (5,), {"pads": [2, 2], "strides": [2]}),
        ((1, 9, 20, 8), (3, 3), {"pads": [1] * 4, "strides": [1, 2]}),
        ((1, 9, 20, 8), (1, 1), {"strides": [1, 2]}),
    ],
)
def test_convolutions(run, shape, kernel, said, zero):
    weight, bias = numbers(16, shape[-1], *kernel, seed=1, scale=0.1), numbers(16, seed=2, scale=1)

    def build(graph, x):
        y = quantize.conv(graph, quantize.quantize(graph, x, FINE), weight, bias, Grid(1 / 20, zero), **said)
        return quantize.dequantize(graph, y)

    same(run(build, numbers(*shape)))


def test_a_factor_for_each_channel(run):
    factor, shift = numbers(16, seed=1, scale=1), numbers(16, seed=2, scale=1)
    factor[:3] = 0, 1e-12, -1e-3

    def build(graph, x):
        y = quantize.scale_channels(graph, quantize.quantize(graph, x, FINE), factor, shift, Grid(1 / 32, 128))
        return quantize.dequantize(graph, y)

    same(run(build, numbers(1, 50, 16)))


@pytest.mark.parametrize("zero", [0, 77])
def test_sums(run, zero):
    def build(graph, x):
        a, b = quantize.quantize(graph, x, FINE), quantize.quantize(graph, x, Grid(1 / 9, 30))
        return quantize.dequantize(graph, quantize.add(graph, a, b, Grid(step, zero)))

    step = 1 / 11
    ours, theirs = run(build, numbers(1, 40, 30))
    assert np.abs(ours - theirs).max() < 1.01 * step  # two products are next to an edge more often than one
    assert (np.abs(ours - theirs) > 0.5 * step).mean() < 0.01


def test_integers_on_another_grid_and_joined(run):
    """As the maps of a block: the first were rounded with another zero, and are read on that of the others."""

    def build(graph, x):
        positive, other = quantize.quantize(graph, x, Grid(1 / 16)), quantize.quantize(graph, x, FINE)
        joined = graph.node("Concat", positive.name, other.name, axis=2)
        turned = graph.node("Transpose", graph.node("Slice", joined, *_span(graph, 1, 7, 1)), perm=[0, 2, 1])
        return quantize.dequantize(graph, quantize.Quantized(turned, FINE))

    same(run(build, numbers(1, 9, 4)))


def _span(graph, start, stop, axis):
    return (graph.constant([at], np.int64) for at in (start, stop, axis))


def test_products_are_float32(run):
    weight, bias = numbers(6, 32, seed=1, scale=0.1), numbers(6, seed=2)
    found = run(lambda g, x: quantize.matmul(g, quantize.quantize(g, x, FINE), weight, bias), numbers(2, 20, 32))
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-6)


def _lstm(graph, x, hidden, features, seed=0):
    rng = np.random.default_rng(seed)
    given, recurrent = (rng.integers(-63, 64, (2, n, 4 * hidden)) for n in (features, hidden))
    scales = [graph.constant(rng.uniform(2e-3, 1e-2, (2, 4 * hidden))) for _ in range(2)]
    zero = graph.constant(np.zeros((2, 4 * hidden)), np.int8)
    weights = (graph.constant(value, np.int8) for value in (given, recurrent))
    bias = graph.constant(rng.normal(0, 0.3, (2, 8 * hidden)))
    inputs = (x, *weights, bias, "", "", "", "", scales[0], zero, scales[1], zero)
    said = {"hidden_size": hidden, "direction": "bidirectional"}
    return graph.nodes("DynamicQuantizeLSTM", *inputs, outputs=3, domain=MICROSOFT, **said)[0]


def test_lstm_of_groups(run, backend):
    """Each four rows are a batch of ONNX Runtime's: rows of the others do not matter."""
    x = numbers(30, 8, 12)
    x[:, 4:] *= 5
    graph = Graph("groups", group=4)
    graph.output(_lstm(graph, graph.input("x", ("time", "batch", 12)), 16, 12), "y", None)
    ours = OPENERS[backend]("cpu")(graph).run(["y"], {"x": x})[0]
    alone = session(graph)
    theirs = np.concatenate([alone.run(["y"], {"x": x[:, at : at + 4]})[0] for at in (0, 4)], axis=2)
    assert ours.shape == (30, 2, 8, 16)
    assert np.abs(ours - theirs).mean() < 1e-3 and np.abs(ours - theirs).max() < 0.05


def test_lstm_of_silence(run):
    found = run(lambda g, x: _lstm(g, x, 4, 3), np.zeros((5, 1, 3), np.float32))
    np.testing.assert_allclose(*found, atol=2e-3)


def test_unknown_operators_are_named(backend):
    graph = Graph("unknown")
    graph.output(graph.node("Erf", graph.input("x", (1,))), "y", None)
    with pytest.raises((KeyError, WeightsError), match="Erf"):
        OPENERS[backend]("cpu")(graph)


def test_segmentation_in_eight_bits(backend, pyannet_tensors):
    """Whole groups and a rest; and chunks of streams, each on grids of its own."""
    sound = np.random.default_rng(1).normal(0.02, 0.1, (5, 32_000)).astype(np.float32)
    opened = OPENERS[backend]("cpu")
    theirs, ours = PyanNet(pyannet_tensors, int8=True), PyanNet(pyannet_tensors, int8=True, at_once=2, open=opened)
    streams = [net.resized(32_000)(sound) for net in (ours, theirs)]
    assert compare(np.exp(streams[0]), np.exp(streams[1])).largest < 0.02
    one = ours.resized(32_000)(sound[:1])
    np.testing.assert_allclose(one, streams[0][:1], atol=1e-4)


def test_embedding_in_eight_bits(backend, campplus_tensors):
    features = np.random.default_rng(1).normal(0, 3, (1, 233, 80)).astype(np.float32)  # random weights: far from grids
    ours = CamPlusPlus(campplus_tensors, int8=True, open=OPENERS[backend]("cpu")).frames(features)
    assert compare(ours, CamPlusPlus(campplus_tensors, int8=True).frames(features)).cosine > 0.99


@pytest.mark.weights
@pytest.mark.parametrize("step", [20_000])
def test_networks_on_speech(backend, step):
    """About as close as `verify` asks for (`evaluation.stagewise.EIGHT_BITS`)."""
    if backend == "mlx":
        pytest.skip("MLX takes minutes for it on a processor")
    from numpy.lib.stride_tricks import sliding_window_view

    from diarist.audio.decode import load
    from diarist.models.fetch import fetch
    from diarist.stages.fbank import fbank, remove_mean

    samples = load(fetch("sample-wav")).samples
    chunks = sliding_window_view(samples, 160_000)[::step][:6]
    ours, theirs = (load_segmentation(backend=name)(chunks) for name in (backend, "onnx"))
    assert np.abs(np.exp(ours) - np.exp(theirs)).mean() < 0.01
    assert (ours.argmax(-1) == theirs.argmax(-1)).mean() > 0.99
    features = remove_mean(fbank(samples[:160_240])[:1000])[None]
    weights = np.kron(np.eye(6), np.ones(75)).astype(np.float32)[None]
    models = [load_embedding(backend=name) for name in (backend, "onnx")]
    pooled = [model.pool(model.frames(features), np.pad(weights, ((0, 0), (0, 0), (0, 50))))[0] for model in models]
    cosine = [compare(a, b).cosine for a, b in zip(*pooled, strict=True)]
    assert min(cosine) > 0.98
