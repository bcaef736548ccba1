"""What a library of arrays has to offer so that our graphs run on it: `models/interpreter.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from diarist.core.types import Float32

Array = Any
"""An array of float32 of the library's own: `+`, `-`, `*` and `/` are as in numpy."""

States = tuple[Array, ...]


@dataclass(frozen=True)
class Space:
    """Where a convolution looks: of each axis its stride, dilation, and zeros before and after. With `last`, arrays
    are `(batch, *space, channels)`, else `(batch, channels, *space)`; weights are `(out, in, *kernel)` in both."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    last: bool = False


class Library(Protocol):
    """Functions of float32 arrays; what has an equal in numpy computes the same."""

    def constant(self, value: Float32) -> Array:
        """An array of numpy's as one of the library's."""
        ...

    def numpy(self, a: Array) -> Float32:
        """An array of the library's as one of numpy's."""
        ...

    def maximum(self, a: Array, b: Array) -> Array:
        """The larger of each pair."""
        ...

    def minimum(self, a: Array, b: Array) -> Array:
        """The smaller of each pair."""
        ...

    def absolute(self, a: Array) -> Array:
        """Without the sign."""
        ...

    def sqrt(self, a: Array) -> Array:
        """The square root."""
        ...

    def round(self, a: Array) -> Array:
        """To the nearest integer, halves to the even one."""
        ...

    def scaled(self, a: Array, factor: Array, shift: Array) -> Array:
        """`a` times `factor`, and `shift`."""
        ...

    def requantized(self, a: Array, factor: Array | None, low: float, high: float) -> Array:
        """`a` times `factor`, within `low` and `high`, rounded; `a` may be overwritten."""
        ...

    def sigmoid(self, a: Array) -> Array:
        """The logistic function."""
        ...

    def tanh(self, a: Array) -> Array:
        """The hyperbolic tangent."""
        ...

    def log_softmax(self, a: Array) -> Array:
        """Logarithms of a softmax over the last axis."""
        ...

    def matmul(self, a: Array, b: Array) -> Array:
        """Products of the matrices in the last two axes."""
        ...

    def mean(self, a: Array, axis: int, keepdims: bool) -> Array:
        """Over an axis."""
        ...

    def extremes(self, a: Array, num_axes: int) -> tuple[Array, Array]:
        """The lowest and the highest value over the last `num_axes` axes, which stay, with a length of 1."""
        ...

    def reshape(self, a: Array, shape: Sequence[int]) -> Array:
        """Another shape: 0 leaves an axis as it was, -1 is what is left."""
        ...

    def transpose(self, a: Array, axes: Sequence[int]) -> Array:
        """Axes in another order."""
        ...

    def concatenate(self, arrays: Sequence[Array], axis: int) -> Array:
        """Along an axis."""
        ...

    def stack(self, arrays: Sequence[Array], axis: int) -> Array:
        """Along a new axis."""
        ...

    def slice(self, a: Array, start: int, stop: int | None, axis: int) -> Array:
        """Part of an axis, to its end where there is no stop; negative numbers count from its end."""
        ...

    def reverse(self, a: Array, axis: int) -> Array:
        """An axis from its end."""
        ...

    def max_pool(self, a: Array, size: int) -> Array:
        """The largest of each `size` in a row of the last axis; a rest is left out."""
        ...

    def conv(self, weight: Float32, bias: Float32 | None, space: Space) -> Callable[[Array], Array]:
        """A convolution by fixed weights. Of integers, sums below 2**24 are exact."""
        ...

    def loop(self, step: Callable[[Array, States], States], given: Array, first: States) -> Array:
        """`step` for each entry of the first axis of `given` in turn, with the states that the one before gave; the
        first state after each, along a new first axis."""
        ...
