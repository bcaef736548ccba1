"""torch as a `Library` that our graphs run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from diarist.core.types import Float32
from diarist.models.nets.library import Space, States


class TorchLibrary:
    """float32 tensors on a device."""

    maximum = staticmethod(torch.maximum)
    minimum = staticmethod(torch.minimum)
    absolute = staticmethod(torch.abs)
    sqrt = staticmethod(torch.sqrt)
    round = staticmethod(torch.round)
    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)
    matmul = staticmethod(torch.matmul)

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # elsewhere a convolution may be computed by way of transforms, which leave sums of integers next to them
        self._mend = device.type != "cpu" or not torch.backends.mkldnn.is_available()

    def constant(self, value: Float32) -> Tensor:
        """A copy on the device."""
        return torch.from_numpy(np.array(value, np.float32)).to(self._device)

    def numpy(self, a: Tensor) -> Float32:
        """On the processor."""
        return np.asarray(a.cpu().numpy())

    def scaled(self, a: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
        """a factor + shift."""
        return torch.addcmul(shift, a, factor)

    def requantized(self, a: Tensor, factor: Tensor | None, low: float, high: float) -> Tensor:
        """In place."""
        if factor is not None:
            a.mul_(factor)
        return a.clamp_(low, high).round_()

    def log_softmax(self, a: Tensor) -> Tensor:
        """Over the last axis."""
        return functional.log_softmax(a, dim=-1)

    def mean(self, a: Tensor, axis: int, keepdims: bool) -> Tensor:
        """Over an axis."""
        return a.mean(dim=axis, keepdim=keepdims)

    def extremes(self, a: Tensor, num_axes: int) -> tuple[Tensor, Tensor]:
        """Over the last axes."""
        shape = (*a.shape[:-num_axes], *[1] * num_axes)
        low, high = a.flatten(-num_axes).aminmax(dim=-1)
        return low.view(shape), high.view(shape)

    def reshape(self, a: Tensor, shape: Sequence[int]) -> Tensor:
        """0 leaves an axis as it was."""
        return a.reshape([size or a.shape[axis] for axis, size in enumerate(shape)])

    def transpose(self, a: Tensor, axes: Sequence[int]) -> Tensor:
        """A view."""
        return a.permute(tuple(axes))

    def concatenate(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """Along an axis."""
        return torch.cat(list(arrays), dim=axis)

    def stack(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """Along a new axis."""
        return torch.stack(list(arrays), dim=axis)

    def slice(self, a: Tensor, start: int, stop: int | None, axis: int) -> Tensor:
        """A view."""
        size = a.shape[axis]
        first, past, _ = slice(start, stop).indices(size)
        return a.narrow(axis, first, past - first)

    def reverse(self, a: Tensor, axis: int) -> Tensor:
        """A copy."""
        return a.flip(axis)

    def max_pool(self, a: Tensor, size: int) -> Tensor:
        """Of the last axis of three."""
        return functional.max_pool1d(a, size)

    def conv(self, weight: Float32, bias: Float32 | None, space: Space) -> Callable[[Tensor], Tensor]:
        """By a matrix where nothing but channels is looked at."""
        num_axes, shift = len(space.strides), None if bias is None else self.constant(bias)
        if space.last and weight[0, 0].size == 1 and set(space.strides) == {1}:
            matrix = self.constant(weight.reshape(weight.shape[:2]))
            return lambda x: functional.linear(x, matrix, shift)
        held = self.constant(weight)
        if num_axes == 1 and not space.last:
            return lambda x: self._mended(
                functional.conv1d(_padded(x, space), held, shift, space.strides, 0, space.dilations), False
            )
        return self._conv_last(held, shift, space)

    def _conv_last(self, weight: Tensor, bias: Tensor | None, space: Space) -> Callable[[Tensor], Tensor]:
        """Channels last, in one or two axes: as images, whose channels torch keeps last."""
        one = len(space.strides) == 1
        images = weight.unsqueeze(2) if one else weight
        images = images.contiguous(memory_format=torch.channels_last)
        strides, dilations = ((1, *space.strides), (1, *space.dilations)) if one else (space.strides, space.dilations)
        pads = [before for before, _ in ([(0, 0)] if one else []) + list(space.pads)]

        def run(x: Tensor) -> Tensor:
            image = x.unsqueeze(1) if one else x
            found = functional.conv2d(image.permute(0, 3, 1, 2), images, bias, strides, pads, dilations)
            found = self._mended(found, True).permute(0, 2, 3, 1)
            return found.squeeze(1) if one else found

        return run

    def _mended(self, sums: Tensor, integers: bool) -> Tensor:
        return sums.round_() if integers and self._mend else sums

    def loop(self, step: Callable[[Tensor, States], States], given: Tensor, first: States) -> Tensor:
        """One after the other."""
        states, found = first, []
        for entry in given:
            states = step(entry, states)
            found.append(states[0])
        return torch.stack(found)


def _padded(x: Tensor, space: Space) -> Tensor:
    ((before, after),) = space.pads
    return functional.pad(x, (before, after)) if before or after else x
