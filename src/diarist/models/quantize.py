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
_UNIT = 64  # the one weight of a channel in `scale_channels`; its size only sets how finely the shift is rounded


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
    integers, scales = rounded(weight)
    return _conv(graph, x, integers, scales, bias, grid, **attributes)


def scale_channels(graph: Graph, x: Quantized, factor: Float64, shift: ArrayLike, grid: Grid) -> Quantized:
    """`factor * x + shift` with a factor and a shift for each channel; a ReLU too, onto a grid with zero 0.

    A depthwise convolution of one tap: the cheapest way through eight bits for a batch normalisation that comes
    before a convolution and so cannot be folded into one.
    """
    scales = np.maximum(np.abs(factor), 1e-9) / _UNIT
    integers = np.where(factor < 0, -_UNIT, _UNIT).astype(np.int8).reshape(-1, 1, 1)
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


def rounded(weight: Float64, most: int = MOST) -> tuple[NDArray[np.int8], Float64]:
    """int8 weights in `[-most, most]` and the scale of each output (the first axis)."""
    flat = np.abs(weight).reshape(len(weight), -1)
    scales = np.maximum(flat.max(axis=1), 1e-8) / most
    integers = np.rint(weight / scales.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
    return integers, scales


def _conv(
    graph: Graph,
    x: Quantized,
    integers: NDArray[np.int8],
    scales: Float64,
    bias: ArrayLike,
    grid: Grid,
    **attributes: Any,
) -> Quantized:
    limit = float(np.iinfo(np.int32).max // 2)
    shift = np.clip(np.rint(np.broadcast_to(bias, scales.shape) / (x.grid.scale * scales)), -limit, limit)
    constants = (
        graph.constant(integers, np.int8),
        graph.constant(scales),
        graph.constant(np.zeros(len(scales)), np.int8),
        *_constants(graph, grid),
        graph.constant(shift, np.int32),
    )
    inputs = (x.name, *_constants(graph, x.grid), *constants)
    return Quantized(graph.node("QLinearConv", *inputs, domain=MICROSOFT, channels_last=1, **attributes), grid)


def _constants(graph: Graph, grid: Grid) -> tuple[str, str]:
    return graph.constant(grid.scale), graph.constant(grid.zero, np.uint8)
