"""CAM++ in eight bits: the same function as `campplus.frames_graph`, three times cheaper.

Everything between the features and the maps is uint8 and channels last, `(batch, time, mel, channels)` in the head and
`(batch, time, channels)` after it, except for the gates. What makes it close (cosine .99 to float32 on windows of
1.5 s, the same equal error rate): the channels of a block each have their own range, made equal by factors that move
into the weights before and the normalisations after them; a block's maps share one grid, so joining them is a copy.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64
from diarist.models import quantize
from diarist.models.graph import Graph
from diarist.models.nets.campplus import BLOCKS, CHANNELS, SEGMENT, Tensors, folded, normalisation
from diarist.models.quantize import Grid, Quantized

Ranges = Mapping[str, NDArray[np.float64]]  # tensor to its lowest and highest value, (2,) or for each channel (2, C)

_GROUP = 4  # mels that the first convolution works on together
_INPUT = Grid(36 / 255, 128)  # log mel energies around their mean
_EQUAL = Grid(1 / 127, 128)  # channels divided by their range


def frames_graph(tensors: Tensors, ranges: Ranges, segment: int = SEGMENT) -> Graph:
    """fbank `(1, num_fbank, 80)`, `num_fbank` a multiple of `2 * segment`, to maps `(1, num_maps, 512)`."""
    graph = Graph("campplus-frames-int8")
    fbank = graph.input("fbank", (1, "num_fbank", 80))
    graph.output(maps(graph, tensors, ranges, fbank, segment), "maps", (1, "num_maps", CHANNELS))
    return graph


def maps(graph: Graph, tensors: Tensors, ranges: Ranges, fbank: str, segment: int = SEGMENT) -> str:
    """The maps, as part of a graph."""
    return _Builder(graph, tensors, ranges, segment).build(fbank)


def ranges() -> Ranges:
    """The ranges that `tools/calibrate.py` measured on real speech."""
    text = resources.files(__package__).joinpath("campplus_ranges.json").read_text(encoding="utf-8")
    return {name: np.asarray(bounds, dtype=np.float64) for name, bounds in json.loads(text).items()}


class _Block:
    """The maps of a densely connected block: `x * factor + shift` is what the uint8 tensor stands for."""

    def __init__(self, x: Quantized, factor: Float64, shift: Float64) -> None:
        self.x = x
        self.factor = factor
        self.shift = shift


class _Builder:
    def __init__(self, graph: Graph, tensors: Tensors, ranges: Ranges, segment: int) -> None:
        self.graph = graph
        self.segment = segment
        self.tensors = tensors
        self.ranges = ranges

    def build(self, fbank: str) -> str:
        graph = self.graph
        x = self._head(
            quantize.quantize(graph, graph.node("Reshape", fbank, self._shape(1, -1, 80 // _GROUP, _GROUP)), _INPUT)
        )
        block = self._entry(Quantized(graph.node("Reshape", x.name, self._shape(0, 0, 320)), x.grid))
        for number, (num_layers, dilation) in enumerate(BLOCKS, start=1):
            for layer in range(1, num_layers + 1):
                self._dense_layer(block, f"xvector.block{number}.tdnnd{layer}", dilation)
            x = self._normalised(block, f"xvector.transit{number}.nonlinear.batchnorm", f"transit{number}.pre")
            if number < len(BLOCKS):
                block = self._transit(x, number)
        weight, bias = folded(self.tensors, f"xvector.transit{len(BLOCKS)}.linear", "xvector.out_nonlinear.batchnorm")
        return graph.node("Relu", quantize.matmul(graph, x, weight[:, :, 0], bias))

    def _head(self, x: Quantized) -> Quantized:
        """`(1, time, 80 / group, group)` to `(1, time, 10, 32)`."""
        x = self._first(x)
        for name, stride in (("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)):
            name = f"head.{name}"
            y = self._conv2d(x, f"{name}.conv1", f"{name}.bn1", f"{name}.conv1", strides=[1, stride], pads=[1] * 4)
            y = self._conv2d(y, f"{name}.conv2", f"{name}.bn2", f"{name}.conv2", pads=[1] * 4)
            if stride != 1:
                shortcut = f"{name}.shortcut"
                x = self._conv2d(x, f"{shortcut}.0", f"{shortcut}.1", shortcut, strides=[1, stride])
            x = quantize.add(self.graph, y, x, self._grid(f"{name}.out"))
        return self._conv2d(x, "head.conv2", "head.bn2", "head.conv2", strides=[1, 2], pads=[1] * 4)

    def _first(self, x: Quantized) -> Quantized:
        """The first convolution, `(1, time, 80 / group, group)` to `(1, time, 80, 32)`.

        One input channel leaves most of the processor's multipliers idle. So four neighbouring mels are read as
        channels, and their outputs computed at once: more products, most of them with zero, in less time.
        """
        weight, bias = folded(self.tensors, "head.conv1", "head.bn1")  # (32, 1, mel, time)
        grouped = np.zeros((_GROUP, 32, _GROUP, 3, 3))  # (output mel, channel, input mel, time, group)
        for output, tap in np.ndindex(_GROUP, 3):
            group, mel = divmod(output + tap - 1, _GROUP)
            grouped[output, :, mel, :, group + 1] = weight[:, 0, tap]
        flat = grouped.reshape(_GROUP * 32, _GROUP, 3, 3)
        x = quantize.conv(self.graph, x, flat, np.tile(bias, _GROUP), self._grid("head.conv1"), pads=[1] * 4)
        return Quantized(self.graph.node("Reshape", x.name, self._shape(1, -1, 80, 32)), x.grid)

    def _entry(self, x: Quantized) -> _Block:
        """The first layer over time, `(batch, num_fbank, 320)` to `(batch, num_maps, 128)`, and the block it opens."""
        weight, bias = folded(self.tensors, "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        weight = weight.reshape(128, 32, 10, 5).transpose(0, 2, 1, 3).reshape(128, 320, 5)  # mel before channel
        reach = np.maximum(self.ranges["x0"][1] / 2, 1e-3)
        positive = Grid(_EQUAL.scale)  # no zero point, so that it ends in a ReLU; then read on the common grid
        x = quantize.conv(
            self.graph, x, weight / reach[:, None, None], bias / reach, positive, strides=[2], pads=[2, 2]
        )
        return _Block(Quantized(x.name, _EQUAL), reach, reach * (_EQUAL.zero * _EQUAL.scale))

    def _transit(self, x: Quantized, number: int) -> _Block:
        """The layer that ends block `number`, and the block that it opens."""
        low, high = self.ranges[f"x{number}"]
        reach, middle = np.maximum((high - low) / 2, 1e-3), (high + low) / 2
        weight, _ = folded(self.tensors, f"xvector.transit{number}.linear", None)
        return _Block(
            quantize.conv(self.graph, x, weight / reach[:, None, None], -middle / reach, _EQUAL), reach, middle
        )

    def _dense_layer(self, block: _Block, name: str, dilation: int) -> None:
        """32 more channels for `block`."""
        graph = self.graph
        x = self._normalised(block, f"{name}.nonlinear1.batchnorm", f"{name}.pre")
        weight, bias = folded(self.tensors, f"{name}.linear1", f"{name}.nonlinear2.batchnorm")
        hidden = quantize.conv(graph, x, weight, bias, self._grid(f"{name}.h"))
        local_reach, reach = (
            np.maximum(np.abs(self.ranges[f"{name}.{k}"]).max(axis=0), 1e-3) for k in ("local", "new")
        )
        weight, _ = folded(self.tensors, f"{name}.cam_layer.linear_local", None)
        local = quantize.conv(
            graph, hidden, weight / local_reach[:, None, None], 0.0, _EQUAL, pads=[dilation] * 2, dilations=[dilation]
        )
        gate = graph.node("Mul", self._gate(hidden, name), graph.constant(local_reach / reach))
        segments = graph.node("Reshape", quantize.dequantize(graph, local), self._shape(-1, self.segment, 32))
        gated = graph.node("Mul", segments, graph.node("Reshape", gate, self._shape(-1, 1, 32)))
        new = quantize.quantize(graph, graph.node("Reshape", gated, self._shape(1, -1, 32)), _EQUAL)
        block.x = Quantized(graph.node("Concat", block.x.name, new.name, axis=2), _EQUAL)
        block.factor = np.concatenate([block.factor, reach])
        block.shift = np.concatenate([block.shift, np.zeros(len(reach))])

    def _gate(self, hidden: Quantized, name: str) -> str:
        """One gate for each segment, from its mean and the mean of all: `(num_segments, 32)` float32."""
        graph = self.graph
        segments = graph.node("Reshape", quantize.dequantize(graph, hidden), self._shape(-1, self.segment, 128))
        means = graph.node("ReduceMean", segments, axes=[1], keepdims=0)
        context = graph.node("Add", means, graph.node("ReduceMean", means, axes=[0], keepdims=1))
        return graph.node("Sigmoid", self._gemm(graph.node("Relu", self._gemm(context, name, 1)), name, 2))

    def _gemm(self, x: str, name: str, number: int) -> str:
        weight, bias = folded(self.tensors, f"{name}.cam_layer.linear{number}", None)
        return self.graph.node("Gemm", x, self.graph.constant(weight[:, :, 0].T), self.graph.constant(bias))

    def _normalised(self, block: _Block, norm: str, point: str) -> Quantized:
        """Batch normalisation and ReLU."""
        factor, shift = normalisation(self.tensors, norm)
        return quantize.scale_channels(
            self.graph, block.x, factor * block.factor, shift + factor * block.shift, self._grid(point)
        )

    def _conv2d(self, x: Quantized, name: str, norm: str, point: str, **attributes: Any) -> Quantized:
        weight, bias = folded(self.tensors, name, norm)
        return quantize.conv(self.graph, x, weight.transpose(0, 1, 3, 2), bias, self._grid(point), **attributes)

    def _grid(self, point: str) -> Grid:
        low, high = self.ranges[point]
        return Grid.covering(float(low.min()), float(high.max()))

    def _shape(self, *dims: int) -> str:
        return self.graph.constant(dims, np.int64)
