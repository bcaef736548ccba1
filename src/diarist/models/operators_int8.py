"""What the eight-bit operators of our graphs compute, said in float32, in the words of a `Library`.

A uint8 is the float32 of its distance from the zero of its grid, so that a zero is a zero; int8 weights are float32.
Products of those are integers, and so are their sums, exactly as long as they stay below 2**24: a sum of 1,024 products
of the largest weight and the largest distance does. (Should one go further, it loses the bit that ONNX Runtime loses
when it takes the same sum to float32.) Then, as in ONNX Runtime, one factor in float32 takes the sum to the next grid,
where it is clipped and rounded, halves to even. That gives the same integers.

`DynamicQuantizeLSTM` lays its input, and at each step its states, on a grid from their lowest to their highest value,
over all rows of its batch: `Maker.group` says how many those are, where several such batches run at once. Its gates are
float32: of two libraries they differ in the last bit, and so, now and then, does a state by a step of its grid. Those
differences do not grow: on speech the probabilities of classes stay within a few hundredths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from diarist.models.graph import Operator
from diarist.models.nets.library import Array, Library, States
from diarist.models.operators import Made, Maker, each, space_of

_MOST = 255.0  # of uint8
_TO_THE_END = 2**31  # of an axis
_LEAST = np.finfo(np.float32).tiny


class Integers:
    """A tensor of uint8: `values` are distances from `zero`, which is an integer from 0 to 255."""

    def __init__(self, values: Array, zero: float) -> None:
        self.values, self.zero = values, zero

    def around(self, zero: float, library: Library) -> Array:
        """The distances from another zero."""
        return self.values if zero == self.zero else self.values + library.constant(np.float32(self.zero - zero))


def _quantize_linear(maker: Maker, operator: Operator) -> Made:
    library, zero = maker.library, maker.number(operator, 2)
    scale = library.constant(np.float32(maker.number(operator, 1)))

    def step(x: Array) -> Integers:
        return Integers(library.requantized(x / scale, None, -zero, _MOST - zero), zero)

    return [operator.inputs[0]], step


def _dequantize_linear(maker: Maker, operator: Operator) -> Made:
    library, zero = maker.library, maker.number(operator, 2)
    scale = library.constant(np.float32(maker.number(operator, 1)))
    return [operator.inputs[0]], lambda x: x.around(zero, library) * scale


def _qlinear_conv(maker: Maker, operator: Operator) -> Made:
    """Arrays are `(batch, *space, channels)`."""
    library, said = maker.library, operator.attributes
    x_zero, y_zero = maker.number(operator, 2), maker.number(operator, 7)
    weight, bias = (maker.value(operator, index).astype(np.float32) for index in (3, 8))
    x_scale, scales, y_scale = (maker.value(operator, index).astype(np.float32) for index in (1, 4, 6))
    factor = library.constant(x_scale * scales / y_scale)
    space = space_of(said, weight.ndim - 2, last=True)
    if said.get("group", 1) == 1:
        sums = library.conv(weight, bias, space)
    else:  # a factor for each channel
        each_weight, each_bias = library.constant(weight.reshape(-1)), library.constant(bias)

        def sums(x: Array) -> Array:
            return x * each_weight + each_bias

    def step(x: Integers) -> Integers:
        found = sums(x.around(x_zero, library))
        return Integers(library.requantized(found, factor, -y_zero, _MOST - y_zero), y_zero)

    return [operator.inputs[0]], step


def _qlinear_add(maker: Maker, operator: Operator) -> Made:
    """Around 0, and in ONNX Runtime's order: sums are often next to the edge between two integers."""
    library = maker.library
    scales = [maker.value(operator, index).astype(np.float32) for index in (1, 4, 6)]
    zeros = [np.float32(maker.number(operator, index)) for index in (2, 5, 7)]
    ours, theirs = (scale / scales[2] for scale in scales[:2])
    shift = library.constant(zeros[2] - (ours * zeros[0] + theirs * zeros[1]))
    factors = library.constant(ours), library.constant(theirs)

    def step(a: Integers, b: Integers) -> Integers:
        found = library.scaled(a.around(0, library), factors[0], shift)
        found = library.scaled(b.around(0, library), factors[1], found)
        return Integers(library.requantized(found, None, 0, _MOST), 0)

    return [operator.inputs[0], operator.inputs[3]], step


def _matmul_integer_to_float(maker: Maker, operator: Operator) -> Made:
    library, zero = maker.library, maker.number(operator, 4)
    weight, x_scale, scales, bias = (maker.value(operator, index).astype(np.float32) for index in (1, 2, 3, 6))
    held, factor, shift = (library.constant(value) for value in (weight, x_scale * scales, bias))
    return [operator.inputs[0]], lambda x: library.scaled(library.matmul(x.around(zero, library), held), factor, shift)


def _moved(maker: Maker, operator: Operator, moved: Callable[[Array], Array]) -> Made:
    """A step that only moves numbers, be they integers or not."""

    def step(x: Array | Integers) -> Array | Integers:
        return Integers(moved(x.values), x.zero) if isinstance(x, Integers) else moved(x)

    return [maker.held(operator.inputs[0])], step


def _reshape(maker: Maker, operator: Operator) -> Made:
    shape = maker.value(operator, 1).tolist()
    return _moved(maker, operator, lambda x: maker.library.reshape(x, shape))


def _transpose(maker: Maker, operator: Operator) -> Made:
    axes = operator.attributes["perm"]
    return _moved(maker, operator, lambda x: maker.library.transpose(x, axes))


def _slice(maker: Maker, operator: Operator) -> Made:
    (start,), (stop,), (axis,) = (maker.value(operator, index).tolist() for index in (1, 2, 3))
    end = None if stop >= _TO_THE_END else stop
    return _moved(maker, operator, lambda x: maker.library.slice(x, start, end, axis))


def _concat(maker: Maker, operator: Operator) -> Made:
    library, axis = maker.library, operator.attributes["axis"]

    def step(*given: Array | Integers) -> Array | Integers:
        if not isinstance(given[-1], Integers):
            return library.concatenate(given, axis)
        zero = given[-1].zero
        return Integers(library.concatenate([x.around(zero, library) for x in given], axis), zero)

    return each(maker, operator, step)


def _lstm(maker: Maker, operator: Operator) -> Made:
    """`(time, batch, features)` to `(time, directions, batch, hidden)`; in the comments, `n` groups of rows."""
    library, group, hidden = maker.library, maker.group, int(operator.attributes["hidden_size"])
    grid, gates = _Grid(library), 4 * hidden
    given_weight, weight = (maker.value(operator, index).astype(np.float32) for index in (1, 2))
    given_factor, factor = (maker.value(operator, index).astype(np.float32)[:, None, None] for index in (8, 10))
    bias = maker.value(operator, 3).astype(np.float32)
    shift = bias[:, :gates] + bias[:, gates:]
    inputs = [tuple(map(library.constant, one)) for one in zip(given_weight, given_factor, shift, strict=True)]
    cell_of = _cell(library, hidden, group, grid, (library.constant(weight), library.constant(factor)))
    none = library.constant(np.float32(0))

    def run(x: Array) -> Array:
        grouped = library.reshape(x, (0, -1, group, given_weight.shape[1]))  # (time, n, group, features)
        low, high = library.extremes(library.transpose(grouped, (1, 0, 2, 3)), 3)
        low, high = (library.reshape(edge, (1, -1, 1, 1)) for edge in (low, high))
        integers, scale = grid(grouped, low, high)
        flat, given = library.reshape(integers, (0, -1, given_weight.shape[1])), []
        for number, (matrix, each_factor, each_shift) in enumerate(inputs):
            sums = library.reshape(library.matmul(flat, matrix), (0, -1, group, gates))
            total = library.scaled(sums, scale * each_factor, each_shift)
            given.append(library.reverse(total, 0) if number else total)
        both = library.stack(given, 1)  # (time, directions, n, group, 4 hidden)
        start = library.slice(library.slice(both, 0, 1, 0), 0, hidden, 4)
        start = library.reshape(start, (len(inputs), -1, group, hidden)) * none
        states = library.reshape(library.loop(cell_of, both, (start, start)), (0, 0, -1, hidden))
        if len(inputs) == 1:
            return states
        forward, backward = library.slice(states, 0, 1, 1), library.slice(states, 1, 2, 1)
        return library.concatenate([forward, library.reverse(backward, 0)], 1)

    return [operator.inputs[0]], run


def _cell(
    library: Library, hidden: int, group: int, grid: _Grid, recurrent: tuple[Array, Array]
) -> Callable[[Array, States], States]:
    """One step of all directions: `given` `(directions, n, group, 4 hidden)`, states `(directions, n, group,
    hidden)`; gates are in the order of ONNX: input, output, forget, cell."""
    weight, factor = recurrent

    def step(given: Array, states: States) -> States:
        state, cell = states
        integers, scale = grid(state, *library.extremes(state, 2))
        sums = library.matmul(library.reshape(integers, (0, -1, hidden)), weight)
        total = library.scaled(library.reshape(sums, (0, -1, group, 4 * hidden)), scale * factor, given)
        opened = library.sigmoid(library.slice(total, 0, 3 * hidden, 3))
        i, o, f = (library.slice(opened, at * hidden, (at + 1) * hidden, 3) for at in range(3))
        cell = library.scaled(cell, f, i * library.tanh(library.slice(total, 3 * hidden, None, 3)))
        return o * library.tanh(cell), cell

    return step


class _Grid:
    """The grid that ONNX Runtime chooses for an array: from its lowest to its highest value, 0 among them."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._none, self._steps, self._least = (library.constant(np.float32(v)) for v in (0, _MOST, _LEAST))

    def __call__(self, a: Array, low: Array, high: Array) -> tuple[Array, Array]:
        """Distances from the zero of the grid, and its scale."""
        library = self._library
        low, high = library.minimum(low, self._none), library.maximum(high, self._none)
        scale = library.maximum((high - low) / self._steps, self._least)
        lowest = library.round(low / scale)
        return library.minimum(library.round(a / scale), lowest + self._steps), scale


OPERATORS: Mapping[str, Callable[[Maker, Operator], Made]] = {
    "Concat": _concat,
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeLSTM": _lstm,
    "MatMulIntegerToFloat": _matmul_integer_to_float,
    "QLinearAdd": _qlinear_add,
    "QLinearConv": _qlinear_conv,
    "QuantizeLinear": _quantize_linear,
    "Reshape": _reshape,
    "Slice": _slice,
    "Transpose": _transpose,
}
"""What works on integers, and what moves numbers of either kind."""
