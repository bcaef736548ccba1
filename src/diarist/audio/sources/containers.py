"""Containers that never end, or cannot be sought in: decoded frame by frame as they come, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from diarist.audio.pcm import Stretch, to_float
from diarist.core.types import Float32
from diarist.errors import AudioError

_JITTER = 0.1  # seconds that time stamps may be off before they are believed
_LONGEST_GAP = 600.0  # seconds of lost sound that are believed
_MOST_DAMAGED = 1000  # packets in a row that do not decode: this is no sound


def from_file(file: Any, name: str, warnings: list[str]) -> Iterator[Stretch]:
    """The sound track of a container in a binary file that can only be read onwards.

    Raises `AudioError` where it cannot be decoded; one that breaks off ends with a warning.
    """
    try:
        container = av.open(file, mode="r")
    except av.error.FFmpegError as error:
        raise AudioError(f"{name} cannot be decoded as it comes: {error.strerror}") from error
    with container:
        yield from frames(container, name, warnings)


def frames(container: Any, name: str, warnings: list[str]) -> Iterator[Stretch]:
    """Samples `(num_samples, num_channels)` of the best sound track of an open container, holes filled with silence.

    Raises `AudioError` where there is no sound track, and the network's own `av.error.FFmpegError`.
    """
    stream = container.streams.best("audio")
    if stream is None or stream.codec_context is None:
        raise AudioError(f"{name} has no sound track that can be decoded")
    heard: float | None = None  # seconds by the container's clock up to which sound was given out
    damaged = _Damage(name)
    for frame in _decoded(container, stream, damaged):
        samples = _samples(frame)
        rate = frame.sample_rate
        if frame.time is not None:
            now = float(frame.time)
            gap = 0.0 if heard is None else now - heard
            if _JITTER < gap <= _LONGEST_GAP:
                warnings.append(f"{gap:.1f} s of sound are missing at {heard:.1f} s: taken for silence")
                yield rate, np.zeros((round(gap * rate), samples.shape[1]), np.float32)
            if heard is None or abs(gap) > _JITTER:  # the beginning, a hole, or a clock that was set
                heard = now
        yield rate, samples
        heard = None if heard is None else heard + len(samples) / rate
    if damaged.total:
        warnings.append(f"damaged: {damaged.total} packets cannot be decoded and were skipped")


class _Damage:
    """Counts packets that do not decode."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self._in_a_row = name, 0, 0

    def add(self) -> None:
        self.total += 1
        self._in_a_row += 1
        if self._in_a_row > _MOST_DAMAGED:
            raise AudioError(f"{self.name} holds sound that cannot be decoded")

    def none(self) -> None:
        self._in_a_row = 0


def _decoded(container: Any, stream: Any, damaged: _Damage) -> Iterator[Any]:
    for packet in container.demux(stream):
        try:
            found = stream.codec_context.decode(packet if packet.size else None)
        except av.error.EOFError:
            return
        except (av.error.InvalidDataError, av.error.PatchWelcomeError):
            damaged.add()
            continue
        damaged.none()
        yield from found


def _samples(frame: Any) -> Float32:
    """`(num_samples, num_channels)` of a decoded frame, planar or packed."""
    array = frame.to_ndarray()
    if frame.format.is_planar:
        return to_float(np.ascontiguousarray(array.T))
    return to_float(array.reshape(frame.samples, -1))
