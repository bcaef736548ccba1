"""MLX as a `Library` that our graphs run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from diarist.core.types import Float32
from diarist.models.nets.library import Space, States


class MlxLibrary:
    """float32 arrays on MLX's own device."""

    maximum = staticmethod(mx.maximum)
    minimum = staticmethod(mx.minimum)
    absolute = staticmethod(mx.abs)
    sqrt = staticmethod(mx.sqrt)
    round = staticmethod(mx.round)
    sigmoid = staticmethod(mx.sigmoid)
    tanh = staticmethod(mx.tanh)
    matmul = staticmethod(mx.matmul)

    def constant(self, value: Float32) -> mx.array:
        """A copy, which is there at once: what is still to be computed is so in the thread that asked for it alone."""
        return mx.array(np.asarray(value, np.float32))

    def numpy(self, a: mx.array) -> Float32:
        """What it is, once it is computed."""
        return np.array(a)

    def scaled(self, a: mx.array, factor: mx.array, shift: mx.array) -> mx.array:
        """a factor + shift."""
        return a * factor + shift

    def requantized(self, a: mx.array, factor: mx.array | None, low: float, high: float) -> mx.array:
        """Clipped, then rounded."""
        return mx.round(mx.clip(a if factor is None else a * factor, low, high))

    def log_softmax(self, a: mx.array) -> mx.array:
        """Over the last axis."""
        return nn.log_softmax(a, axis=-1)

    def mean(self, a: mx.array, axis: int, keepdims: bool) -> mx.array:
        """Over an axis."""
        return mx.mean(a, axis=axis, keepdims=keepdims)

    def extremes(self, a: mx.array, num_axes: int) -> tuple[mx.array, mx.array]:
        """Over the last axes."""
        axes = list(range(-num_axes, 0))
        return mx.min(a, axis=axes, keepdims=True), mx.max(a, axis=axes, keepdims=True)

    def reshape(self, a: mx.array, shape: Sequence[int]) -> mx.array:
        """0 leaves an axis as it was."""
        return mx.reshape(a, [size or a.shape[axis] for axis, size in enumerate(shape)])

    def transpose(self, a: mx.array, axes: Sequence[int]) -> mx.array:
        """Axes in another order."""
        return mx.transpose(a, list(axes))

    def concatenate(self, arrays: Sequence[mx.array], axis: int) -> mx.array:
        """Along an axis."""
        return mx.concatenate(list(arrays), axis=axis)

    def stack(self, arrays: Sequence[mx.array], axis: int) -> mx.array:
        """Along a new axis."""
        return mx.stack(list(arrays), axis=axis)

    def slice(self, a: mx.array, start: int, stop: int | None, axis: int) -> mx.array:
        """Part of an axis."""
        return a[(slice(None),) * axis + (slice(start, stop),)]

    def reverse(self, a: mx.array, axis: int) -> mx.array:
        """An axis from its end."""
        return a[(slice(None),) * axis + (slice(None, None, -1),)]

    def max_pool(self, a: mx.array, size: int) -> mx.array:
        """Of the last axis; a rest is left out."""
        num = a.shape[-1] // size
        return mx.max(mx.reshape(a[..., : num * size], [*a.shape[:-1], num, size]), axis=-1)

    def conv(self, weight: Float32, bias: Float32 | None, space: Space) -> Callable[[mx.array], mx.array]:
        """Channels last, by a product for each tap: sums of integers are exact on any device, and it is sooner done."""
        added = np.zeros(len(weight), np.float32) if bias is None else bias
        if not space.last:
            return _conv_first(self.constant(np.moveaxis(weight, 1, -1)), self.constant(added[:, None]), space)
        shift = self.constant(added)
        taps = np.ndindex(weight.shape[2:])
        matrices = [(at, self.constant(np.moveaxis(weight, (0, 1), (-1, -2))[at])) for at in taps]
        axes = list(zip(weight.shape[2:], space.strides, space.dilations, strict=True))
        pads = [(0, 0), *space.pads, (0, 0)]

        def run(x: mx.array) -> mx.array:
            x = mx.pad(x, pads) if any(map(any, pads)) else x
            sizes = [(n - (k - 1) * d - 1) // s + 1 for n, (k, s, d) in zip(x.shape[1:-1], axes, strict=True)]
            total = shift
            for at, matrix in matrices:
                spans = [slice(None)]
                for i, n, (_, s, d) in zip(at, sizes, axes, strict=True):
                    spans.append(slice(i * d, i * d + (n - 1) * s + 1, s))
                total = total + x[tuple(spans)] @ matrix
            return total

        return run

    def loop(self, step: Callable[[mx.array, States], States], given: mx.array, first: States) -> mx.array:
        """One after the other, evaluated at the end: a graph of all loops would hold all of their steps at once."""
        states, found = first, []
        for number in range(given.shape[0]):
            states = step(given[number], states)
            found.append(states[0])
        stacked = mx.stack(found)
        mx.eval(stacked)
        return stacked


def _conv_first(weight: mx.array, shift: mx.array, space: Space) -> Callable[[mx.array], mx.array]:
    """Channels first, in one axis."""
    ((before, after),), (stride,), (dilation,) = space.pads, space.strides, space.dilations

    def run(x: mx.array) -> mx.array:
        sums = mx.conv_general(mx.moveaxis(x, 1, -1), weight, stride, ([before], [after]), dilation)
        return mx.moveaxis(sums, -1, 1) + shift

    return run
