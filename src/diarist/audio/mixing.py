"""Many channels to one, and samples that are no numbers to silence."""

from __future__ import annotations

import numpy as np

from diarist.core.types import Float32

FULL_SCALE_LIMIT = 10.0
"""Peaks above this (20 dB over full scale) are no clipping any more: the sound was scaled as integers."""

ABSURD = 1e10
"""Samples beyond this are no sound, but noise read as floats."""
_CANCELLED = 0.1  # of the energy that unrelated channels would have in the mean, -10 dB
_FADE = 0.01  # seconds


class Cleaner:
    """Replaces samples that are NaN, infinite or beyond 1e10 by 0, counts them in `num_bad`, and keeps the `peak`."""

    def __init__(self) -> None:
        self.num_bad = 0
        self.peak = 0.0

    def __call__(self, block: Float32) -> Float32:
        """A block of any shape, itself where nothing is wrong with it."""
        if block.size == 0:
            return block
        peak = max(float(block.max()), -float(block.min()))  # NaN where there is one
        if not peak <= ABSURD:
            with np.errstate(invalid="ignore"):
                bad = ~(np.abs(block) <= ABSURD)
            self.num_bad += int(bad.sum())
            block = np.where(bad, np.float32(0), block)
            peak = float(np.abs(block).max())
        self.peak = max(self.peak, peak)
        return block


class MixDown:
    """The mean of all channels, minding polarity.

    Where channels are wired in opposite polarity their mean is nearly silent. A channel is therefore turned over once
    the mean of a block has less than a tenth of the energy that even unrelated channels would leave, and stays so
    until the opposite is heard; the change is faded over 10 ms. Nothing else alters the mean, so that a voice that is
    on one channel only, or two voices on two, keep their place.

    Call it with blocks `(num_samples, num_channels)` of equal length, in order: the answer depends on where blocks
    begin, and on nothing after the block.
    """

    def __init__(self, num_channels: int, sample_rate: int) -> None:
        self._signs = [1.0] * num_channels
        self._fade = max(1, round(_FADE * sample_rate))
        self._begun = False

    def __call__(self, block: Float32) -> Float32:
        """`(num_samples, num_channels)` to `(num_samples,)`."""
        if block.shape[1] == 1:
            return block[:, 0]
        channels = np.ascontiguousarray(block.T)
        before, after = self._signs, self._next_signs(channels)
        mixed = _weighted(channels, after)
        if self._begun and before != after:
            head = channels[:, : self._fade]
            ramp = np.linspace(0.0, 1.0, head.shape[1], endpoint=False, dtype=np.float32)
            mixed[: len(ramp)] = (1 - ramp) * _weighted(head, before) + ramp * mixed[: len(ramp)]
        self._signs, self._begun = after, True
        return mixed

    def _next_signs(self, channels: Float32) -> list[float]:
        energies = [_dot(channel, channel) for channel in channels]
        unrelated = sum(energies) / len(channels) ** 2
        kept = _weighted(channels, self._signs)
        energy = _dot(kept, kept)
        if energy >= _CANCELLED * unrelated:
            return self._signs
        loudest = channels[int(np.argmax(energies))]
        signs = [-1.0 if _dot(channel, loudest) < 0 else 1.0 for channel in channels]
        turned = _weighted(channels, signs)
        return signs if _dot(turned, turned) > energy else self._signs


def _weighted(channels: Float32, signs: list[float]) -> Float32:
    """The mean of the channels `(num_channels, num_samples)` under their signs, added in order, so that it is the
    same on every machine."""
    total: Float32 = channels[0] * np.float32(signs[0])
    for channel, sign in zip(channels[1:], signs[1:], strict=True):
        total += channel if sign > 0 else -channel
    total /= np.float32(len(signs))
    return total


def _dot(a: Float32, b: Float32) -> float:
    return float(np.sum(a * b))  # not a BLAS product, whose value depends on the number of threads
