"""OpenVINO as a `Library` that our graphs run on: arrays are nodes of a model, which is compiled once all are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openvino as ov
from openvino import Node
from openvino import opset13 as ops

from diarist.core.types import Float32
from diarist.models.graph import Graph
from diarist.models.interpreter import Interpreter
from diarist.models.nets.library import Space, States

_END = np.iinfo(np.int32).max


class OpenVinoLibrary:
    """Nodes of float32."""

    maximum = staticmethod(ops.maximum)
    minimum = staticmethod(ops.minimum)
    absolute = staticmethod(ops.abs)
    sqrt = staticmethod(ops.sqrt)
    sigmoid = staticmethod(ops.sigmoid)
    tanh = staticmethod(ops.tanh)

    def constant(self, value: Float32) -> Node:
        """A node of its own."""
        return ops.constant(np.array(value, np.float32))

    def numpy(self, a: Node) -> Float32:
        """There is nothing to see before the model has run."""
        raise NotImplementedError

    def round(self, a: Node) -> Node:
        """Halves to even."""
        return ops.round(a, "half_to_even")

    def matmul(self, a: Node, b: Node) -> Node:
        """Of the last two axes."""
        return ops.matmul(a, b, False, False)

    def scaled(self, a: Node, factor: Node, shift: Node) -> Node:
        """a factor + shift."""
        return a * factor + shift

    def requantized(self, a: Node, factor: Node | None, low: float, high: float) -> Node:
        """Clipped, then rounded."""
        return self.round(ops.clamp(a if factor is None else a * factor, low, high))

    def log_softmax(self, a: Node) -> Node:
        """Over the last axis."""
        return ops.log_softmax(a, -1)

    def mean(self, a: Node, axis: int, keepdims: bool) -> Node:
        """Over an axis."""
        return ops.reduce_mean(a, _integers([axis]), keepdims)

    def extremes(self, a: Node, num_axes: int) -> tuple[Node, Node]:
        """Over the last axes."""
        axes = _integers(list(range(-num_axes, 0)))
        return ops.reduce_min(a, axes, True), ops.reduce_max(a, axes, True)

    def reshape(self, a: Node, shape: Sequence[int]) -> Node:
        """0 leaves an axis as it was."""
        return ops.reshape(a, _integers(shape), True)

    def transpose(self, a: Node, axes: Sequence[int]) -> Node:
        """Axes in another order."""
        return ops.transpose(a, _integers(axes))

    def concatenate(self, arrays: Sequence[Node], axis: int) -> Node:
        """Along an axis."""
        return ops.concat(list(arrays), axis)

    def stack(self, arrays: Sequence[Node], axis: int) -> Node:
        """Along a new axis."""
        return ops.concat([ops.unsqueeze(a, _integers([axis])) for a in arrays], axis)

    def slice(self, a: Node, start: int, stop: int | None, axis: int) -> Node:
        """Part of an axis."""
        end = _END if stop is None else stop
        return ops.slice(a, *(_integers([value]) for value in (start, end, 1, axis)))

    def reverse(self, a: Node, axis: int) -> Node:
        """An axis from its end."""
        return ops.slice(a, *(_integers([value]) for value in (-1, -_END, -1, axis)))

    def max_pool(self, a: Node, size: int) -> Node:
        """Of the last axis of three."""
        pooled = ops.max_pool(a, [size], [1], [0], [0], [size])
        return pooled.output(0).get_node() if pooled.get_output_size() == 1 else _first(pooled)

    def conv(self, weight: Float32, bias: Float32 | None, space: Space) -> Callable[[Node], Node]:
        """By a matrix where nothing but channels is looked at."""
        num_axes, shift = len(space.strides), np.zeros(len(weight), np.float32) if bias is None else bias
        if space.last and weight[0, 0].size == 1 and set(space.strides) == {1}:
            matrix, row = self.constant(weight.reshape(weight.shape[:2]).T), self.constant(shift)
            return lambda x: self.matmul(x, matrix) + row
        held, column = self.constant(weight), self.constant(shift.reshape(1, -1, *[1] * num_axes))
        before, after = ([pad[side] for pad in space.pads] for side in (0, 1))
        order, back = [0, num_axes + 1, *range(1, num_axes + 1)], [0, *range(2, num_axes + 2), 1]

        def run(x: Node) -> Node:
            x = self.transpose(x, order) if space.last else x
            sums = ops.convolution(x, held, list(space.strides), before, after, list(space.dilations)) + column
            return self.transpose(sums, back) if space.last else sums

        return run

    def loop(self, step: Callable[[Node, States], States], given: Node, first: States) -> Any:
        """A loop of the model's own."""
        entry = ops.parameter([1, *list(given.get_output_partial_shape(0))[1:]], np.float32)
        states = tuple(ops.parameter(state.get_output_partial_shape(0), np.float32) for state in first)
        after = step(ops.squeeze(entry, _integers([0])), states)
        results = [ops.result(state) for state in after]
        kept = ops.result(ops.unsqueeze(after[0], _integers([0])))
        iterated = ops.tensor_iterator()
        iterated.set_body(ov.Model([*results, kept], [entry, *states], "step"))
        iterated.set_sliced_input(entry, given.output(0), 0, 1, 1, -1, 0)
        for state, start, result in zip(states, first, results, strict=True):
            iterated.set_merged_input(state, start.output(0), result.output(0))
        return iterated.get_concatenated_slices(kept.output(0), 0, 1, 1, -1, 0)


def model_of(graph: Graph) -> ov.Model:
    """A graph as a model. Raises `KeyError` for an operator that is not known."""
    given = {}
    for name, shape in graph.inputs.items():
        given[name] = ops.parameter([size if isinstance(size, int) else -1 for size in shape], np.float32)
        given[name].output(0).set_names({name})
    found = Interpreter(graph, OpenVinoLibrary()).outputs(given)
    results = []
    for name, node in found.items():
        results.append(ops.result(node))
        results[-1].output(0).set_names({name})
    return ov.Model(results, list(given.values()), graph.name)


def _integers(values: Sequence[int]) -> Node:
    return ops.constant(np.asarray(values, np.int64))


def _first(node: Node) -> Node:
    """A node whose only output is the first of `node`'s."""
    return ops.squeeze(ops.unsqueeze(node.output(0), _integers([0])), _integers([0]))
