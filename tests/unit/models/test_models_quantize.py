from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.models import quantize
from diarist.models.graph import Graph
from diarist.models.onnx import session
from diarist.models.quantize import MOST, Grid

FINE = Grid(1 / 16, 128)  # [-8, 7.9375]


def run(build, *arrays):
    """`build(graph, *inputs)` on arrays that lie on the grid."""
    graph = Graph("eight bits")
    names = [graph.input(f"x{i}", array.shape) for i, array in enumerate(arrays)]
    result = build(graph, *(quantize.quantize(graph, name, FINE) for name in names))
    graph.output(result if isinstance(result, str) else quantize.dequantize(graph, result), "y", None)
    return session(graph.serialize()).run(["y"], {f"x{i}": array for i, array in enumerate(arrays)})[0]


def on_grid(rng, *shape, largest=64):
    return (rng.integers(-largest, largest, shape) / 16).astype(np.float32)


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_grid_covers_its_range_and_zero(low, extent):
    grid = Grid.covering(low, low + extent)
    assert 0 <= grid.zero <= 255
    slack = grid.scale * 0.51 + 1e-9
    assert grid.scale * (0 - grid.zero) <= min(low, 0) + slack
    assert grid.scale * (255 - grid.zero) >= max(low + extent, 0) - slack


def test_round_trip_and_clipping():
    x = np.array([-100, -8, -0.0625, 0, 0.03, 0.04, 7.9375, 100], np.float32)
    y = run(lambda graph, q: q, x)
    np.testing.assert_array_equal(y, [-8, -8, -0.0625, 0, 0, 0.0625, 7.9375, 7.9375])


def test_weights_are_rounded_for_each_output():
    weight = np.random.default_rng(0).normal(size=(5, 3, 2)) * np.array([1e-3, 1, 10, 0, 1])[:, None, None]
    integers, scales = quantize.rounded(weight)
    assert integers.dtype == np.int8
    assert np.abs(integers).max() == MOST
    assert (np.abs(integers * scales[:, None, None] - weight) <= scales[:, None, None] / 2 + 1e-12).all()


def test_seven_bits_never_overflow_sixteen():
    assert 255 * MOST * 2 <= np.iinfo(np.int16).max


@pytest.mark.parametrize("dilation", [1, 2])
def test_conv(dilation):
    rng = np.random.default_rng(0)
    x, weight, bias = on_grid(rng, 1, 20, 8), rng.normal(0, 0.1, (16, 8, 3)), rng.normal(0, 1, 16)
    space = {"pads": [dilation] * 2, "dilations": [dilation]}
    y = run(lambda graph, q: quantize.conv(graph, q, weight, bias, Grid(1 / 32, 128), **space), x)
    padded = np.pad(x[0], ((dilation, dilation), (0, 0)))
    exact = sum(padded[k * dilation : k * dilation + 20] @ weight[:, :, k].T for k in range(3)) + bias
    np.testing.assert_allclose(y[0], np.clip(exact, -4, 127 / 32), atol=0.1)


def test_a_grid_without_negatives_is_a_relu():
    rng = np.random.default_rng(0)
    x, weight = on_grid(rng, 1, 20, 8), rng.normal(0, 0.1, (16, 8, 1))
    y = run(lambda graph, q: quantize.conv(graph, q, weight, 0.0, Grid(1 / 32)), x)
    np.testing.assert_allclose(y[0], np.maximum(x[0] @ weight[:, :, 0].T, 0), atol=0.1)


def test_scale_channels():
    rng = np.random.default_rng(0)
    x, factor, shift = on_grid(rng, 1, 20, 16), rng.normal(size=16), rng.normal(size=16)
    factor[:3] = 0, 1e-12, -1e-3  # a channel may be all shift
    y = run(lambda graph, q: quantize.scale_channels(graph, q, factor, shift, Grid(1 / 32, 128)), x)
    np.testing.assert_allclose(y, np.clip(x * factor + shift, -4, 127 / 32), atol=0.02)


def test_add():
    rng = np.random.default_rng(0)
    a, b = on_grid(rng, 1, 6, 5, 8), on_grid(rng, 1, 6, 5, 8)
    y = run(lambda graph, p, q: quantize.add(graph, p, q, Grid(1 / 16)), a, b)
    np.testing.assert_array_equal(y, np.maximum(a + b, 0))


def test_matmul_gives_float32():
    rng = np.random.default_rng(0)
    x, bias = on_grid(rng, 2, 20, 32), rng.normal(size=6)
    weight = rng.integers(-MOST, MOST + 1, (6, 32)) / 100
    weight[:, 0] = MOST / 100  # so that the weights lie on their own grid
    y = run(lambda graph, q: quantize.matmul(graph, q, weight, bias), x)
    np.testing.assert_allclose(y, x @ weight.T + bias, rtol=1e-5, atol=1e-5)
