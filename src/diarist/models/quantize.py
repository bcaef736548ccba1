"""Eight-bit operators on a `Graph`: activations uint8 on a fixed grid, weights int8 with a scale for each output.

Grids come from ranges measured once (`tools/calibrate.py`); weights are rounded here, when a model is loaded. They
keep to 7 bits: processors without VNNI add pairs of products in 16 bits, and 255 * 63 * 2 is the most that never
overflows there, so the answer is the same on every machine. Sums are exact integers: no batch or thread changes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diarist.core.types import Float64
from diarist.models.graph import MICROSOFT, Graph

MOST = 63  # largest weight
_LARGEST_SHIFT = 2**24  # of a sum, so that a channel that is all shift neither overflows nor loses digits


@dataclass(frozen=True)
class Grid:
    """The numbers that uint8 stands for: `scale * (q - zero)`."""

    scale: float
    zero: int = 0

    @classmethod
    def covering(cls, low: float, high: float) -> Grid:
        """The finest grid that holds `[low, high]` and 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-6) / 255
        return cls(scale, round(-low / scale))


@dataclass(frozen=True)
class Quantized:
    """A uint8 tensor of a graph, channels last."""

    name: str
    grid: Grid


def quantize(graph: Graph, x: str, grid: Grid) -> Quantized:
    """float32 to uint8; what lies outside the grid is clipped to it."""
    return Quantized(graph.node("QuantizeLinear", x, *_constants(graph, grid)), grid)


def dequantize(graph: Graph, x: Quantized) -> str:
    """uint8 to float32."""
    return graph.node("DequantizeLinear", x.name, *_constants(graph, x.grid))


def conv(graph: Graph, x: Quantized, weight: Float64, bias: ArrayLike, grid: Grid, **attributes: Any) -> Quantized:
    """A convolution of `(batch, *space, in)` by `weight` `(out, in, *kernel)`.

    Onto a grid with zero 0, what is negative becomes 0: a ReLU for nothing.
    """
    shift = np.broadcast_to(np.asarray(bias, dtype=np.float64), len(weight))
    integers, scales = rounded(weight, least=np.abs(shift) / (x.grid.scale * _LARGEST_SHIFT))
    return _conv(graph, x, integers, scales, shift, grid, **attributes)


def scale_channels(graph: Graph, x: Quantized, factor: Float64, shift: Float64, grid: Grid) -> Quantized:
    """`factor * x + shift` with a factor and a shift for each channel; a ReLU too, onto a grid with zero 0.

    A depthwise convolution of one tap: the cheapest way through eight bits for a batch normalisation that comes
    before a convolution and so cannot be folded into one.
    """
    weight, least = factor[:, None, None], np.abs(shift) / (x.grid.scale * _LARGEST_SHIFT)
    integers, scales = rounded(weight, least=least)
    return _conv(graph, x, integers, scales, shift, grid, group=len(factor))


def add(graph: Graph, a: Quantized, b: Quantized, grid: Grid) -> Quantized:
    """`a + b`; a ReLU too, onto a grid with zero 0."""
    inputs = (a.name, *_constants(graph, a.grid), b.name, *_constants(graph, b.grid), *_constants(graph, grid))
    return Quantized(graph.node("QLinearAdd", *inputs, domain=MICROSOFT), grid)


def matmul(graph: Graph, x: Quantized, weight: Float64, bias: ArrayLike) -> str:
    """`(..., in)` by `weight` `(out, in)` to float32 `(..., out)`."""
    integers, scales = rounded(weight)
    scale, zero = _constants(graph, x.grid)
    constants = (graph.constant(integers.T, np.int8), scale, graph.constant(scales), zero)
    return graph.node("MatMulIntegerToFloat", x.name, *constants, "", graph.constant(bias), domain=MICROSOFT)


def rounded(weight: Float64, *, least: ArrayLike = 0.0) -> tuple[NDArray[np.int8], Float64]:
    """int8 weights and the scale, at `least` so large, of each output (the first axis)."""
    reach = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    scales = np.maximum(np.maximum(reach / MOST, least), np.finfo(np.float32).tiny)
    integers = np.rint(weight / scales.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
    return integers, scales


def _conv(
    graph: Graph,
    x: Quantized,
    integers: NDArray[np.int8],
    scales: Float64,
    shift: Float64,
    grid: Grid,
    **attributes: Any,
) -> Quantized:
    constants = (
        graph.constant(integers, np.int8),
        graph.constant(scales),
        graph.constant(np.zeros(len(scales)), np.int8),
        *_constants(graph, grid),
        graph.constant(np.rint(shift / (x.grid.scale * scales)), np.int32),
    )
    inputs = (x.name, *_constants(graph, x.grid), *constants)
    return Quantized(graph.node("QLinearConv", *inputs, domain=MICROSOFT, channels_last=1, **attributes), grid)


def _constants(graph: Graph, grid: Grid) -> tuple[str, str]:
    return graph.constant(grid.scale), graph.constant(grid.zero, np.uint8)
