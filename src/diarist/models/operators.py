"""What the float32 operators of our graphs compute, said in the words of a `Library`.

Each function takes an operator of a graph apart once, when a network is loaded, and gives what runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.models.graph import Graph, Operator
from diarist.models.nets.library import Array, Library, Space

Step = Callable[..., Any]
"""Takes arrays, gives one, or a list of them."""

Made = tuple[list[str], Step]
"""The names of the arrays that a step takes, and the step."""


class Maker:
    """What is known while steps are made of operators: the graph's constants, and `arrays`, those of them that the
    library holds."""

    def __init__(self, graph: Graph, library: Library) -> None:
        self.library, self.group = library, graph.group
        self.arrays: dict[str, Array] = {}
        self._constants = graph.constants

    def value(self, operator: Operator, index: int) -> NDArray[Any]:
        """The constant that an operator takes as its input of that number."""
        return self._constants[operator.inputs[index]]

    def number(self, operator: Operator, index: int) -> float:
        """A constant that is one number."""
        return float(self.value(operator, index))

    def held(self, name: str) -> str:
        """The name, once the library has its constant where it is one."""
        if name in self._constants and name not in self.arrays:
            self.arrays[name] = self.library.constant(self._constants[name].astype(np.float32))
        return name


def each(maker: Maker, operator: Operator, step: Step) -> Made:
    """A step that takes all inputs, constants too."""
    return [maker.held(name) for name in operator.inputs], step


def _conv(maker: Maker, operator: Operator) -> Made:
    said = operator.attributes
    weight, bias = maker.value(operator, 1), maker.value(operator, 2) if len(operator.inputs) > 2 else None
    return [operator.inputs[0]], maker.library.conv(weight, bias, space_of(said, weight.ndim - 2))


def space_of(said: Mapping[str, Any], num_axes: int, *, last: bool = False) -> Space:
    """Where a convolution with such attributes looks."""
    pads = said.get("pads", [0] * 2 * num_axes)
    return Space(
        tuple(said.get("strides", [1] * num_axes)),
        tuple(said.get("dilations", [1] * num_axes)),
        tuple(zip(pads[:num_axes], pads[num_axes:], strict=True)),
        last,
    )


def _instance_normalization(maker: Maker, operator: Operator) -> Made:
    """`(batch, channels, time)`: each channel of each row over time."""
    library = maker.library
    weight, bias = (library.constant(maker.value(operator, index).reshape(1, -1, 1)) for index in (1, 2))
    epsilon = library.constant(np.float32(operator.attributes.get("epsilon", 1e-5)))

    def step(x: Array) -> Array:
        centred = x - library.mean(x, 2, True)
        variance = library.mean(centred * centred, 2, True)
        return centred * (weight / library.sqrt(variance + epsilon)) + bias

    return [operator.inputs[0]], step


def _neg(maker: Maker, operator: Operator) -> Made:
    other = maker.library.constant(np.float32(-1))
    return each(maker, operator, lambda x: x * other)


def _leaky_relu(maker: Maker, operator: Operator) -> Made:
    slope = maker.library.constant(np.float32(operator.attributes["alpha"]))
    return each(maker, operator, lambda x: maker.library.maximum(x, x * slope))


def _relu(maker: Maker, operator: Operator) -> Made:
    none = maker.library.constant(np.float32(0))
    return each(maker, operator, lambda x: maker.library.maximum(x, none))


def _max_pool(maker: Maker, operator: Operator) -> Made:
    (size,) = operator.attributes["kernel_shape"]
    return each(maker, operator, lambda x: maker.library.max_pool(x, size))


def _split(maker: Maker, operator: Operator) -> Made:
    edges = np.cumsum([0, *maker.value(operator, 1)]).tolist()
    axis, parts = operator.attributes["axis"], list(pairwise(edges))
    return [operator.inputs[0]], lambda x: [maker.library.slice(x, low, high, axis) for low, high in parts]


def _gemm(maker: Maker, operator: Operator) -> Made:
    return each(maker, operator, lambda a, b, c: maker.library.matmul(a, b) + c)


def _reduce_mean(maker: Maker, operator: Operator) -> Made:
    (axis,), keepdims = operator.attributes["axes"], bool(operator.attributes.get("keepdims", 1))
    return each(maker, operator, lambda x: maker.library.mean(x, axis, keepdims))


def _of(step: Callable[[Library], Step]) -> Callable[[Maker, Operator], Made]:
    return lambda maker, operator: each(maker, operator, step(maker.library))


OPERATORS: Mapping[str, Callable[[Maker, Operator], Made]] = {
    "Abs": _of(lambda library: library.absolute),
    "Add": _of(lambda _: lambda a, b: a + b),
    "Conv": _conv,
    "Gemm": _gemm,
    "Identity": _of(lambda _: lambda x: x),
    "InstanceNormalization": _instance_normalization,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _of(lambda library: library.log_softmax),
    "MatMul": _of(lambda library: library.matmul),
    "Max": _of(lambda library: lambda *arrays: reduce(library.maximum, arrays)),
    "MaxPool": _max_pool,
    "Mul": _of(lambda _: lambda a, b: a * b),
    "Neg": _neg,
    "ReduceMean": _reduce_mean,
    "Relu": _relu,
    "Sigmoid": _of(lambda library: library.sigmoid),
    "Split": _split,
    "Sub": _of(lambda _: lambda a, b: a - b),
}
