"""Compressed sound and the sound track of videos (mp3, m4a, ogg, flac, mp4, webm, mkv ...) through PyAV (FFmpeg)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from diarist.audio.opening import GuardedFile
from diarist.audio.pcm import Stretch, to_float
from diarist.core.types import Float32
from diarist.errors import AudioError

FORMATS = (
    "aac,ac3,adx,aea,aiff,amr,amrnb,amrwb,ape,asf,ast,au,avi,brstm,caf,codec2,dsf,dss,dts,dtshd,dv,eac3,flac,flv,gxf,"
    "iamf,ircam,ivf,kux,loas,matroska,mlp,mmf,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nsv,nut,ogg,oma,osq,paf,pvf,"
    "qcp,qoa,rm,shn,sox,swf,tak,truehd,tta,voc,vqf,w64,wav,webm,wsd,wtv,wv,xwma"
)
"""What may be opened: containers of sound. Play lists, which would open further files and sockets, are not among them,
nor are pictures and subtitles."""

_LENIENT = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}  # always so since 19
_TELL_LENGTH = ("mov", "matroska", "flac", "asf")  # the header says how long; in others it may be guessed
_JITTER = 0.1  # seconds that time stamps may be off before they are believed
_LONGEST_GAP = 600.0  # seconds of missing sound that are believed where the recording's length is unknown
_PADDING = 0.25  # seconds beyond the stated end that are an encoder's padding; more means that the end is wrong


class ContainerDecoder:
    """Reads the best sound track of a container.

    Time follows the container's clock: a track that begins late, or has holes of more than 0.1 s (lost packets, a
    muted call), is filled with silence, so that turns lie where a player shows them. What an encoder padded beyond the
    stated end is dropped. Packets that do not decode are skipped with a warning.

    Raises `av.error.FFmpegError` where FFmpeg does not know the file and `AudioError` where it has no sound in it.
    """

    def __init__(self, file: GuardedFile, name: str, warnings: list[str]) -> None:
        self._warnings = warnings
        self._counted = _has_frame_count(file)
        self._container = av.open(file, mode="r", container_options={"format_whitelist": FORMATS}, **_LENIENT)
        self._stream = self._container.streams.best("audio")
        self._num_damaged = 0
        try:
            shape, self._pending = self._begin(name)
        except BaseException:
            self._container.close()
            raise
        self.duration = self._stated_length()
        self.sample_rate, self.num_channels = shape

    def stretches(self) -> Iterator[Stretch]:
        """The samples, in the codec's own portions; the rate or the number of channels may change on the way."""
        done = 0.0
        for rate, samples in self._without_padding(self._on_the_clock()):
            done += len(samples) / rate
            yield rate, samples
        if self._num_damaged:
            self._warnings.append(f"damaged: {self._num_damaged} packets cannot be decoded and were skipped")
        length = self.duration
        if length is not None and self._tells_length() and done < length - _PADDING:
            self._warnings.append(f"cut off: its header promises {length:.1f} s, {done:.1f} s are there")

    def close(self) -> None:
        """Let go of FFmpeg's handles."""
        self._container.close()

    def _begin(self, name: str) -> tuple[tuple[int, int], Iterator[Any]]:
        """Sample rate and number of channels of the first frame, and all frames.

        A track without a single packet has no frame, but may be a valid, empty recording.
        """
        if self._stream is None:
            raise AudioError(f"{name} has no sound track")
        context = self._stream.codec_context
        frames = iter(()) if context is None else self._frames()
        first = next(frames, None)
        if first is not None:
            return (first.sample_rate, first.layout.nb_channels), itertools.chain([first], frames)
        if context is None or self._num_damaged or not context.sample_rate:
            codec = "unknown" if context is None else context.name
            raise AudioError(f"{name} holds sound that cannot be decoded (codec: {codec})")
        return (context.sample_rate, context.layout.nb_channels), frames

    def _frames(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self._num_damaged += 1
                packet = None  # the end as far as it can be read: flush the decoder
            try:
                yield from self._stream.codec_context.decode(packet)
            except av.error.EOFError:  # it was flushed already
                return
            except (av.error.InvalidDataError, av.error.PatchWelcomeError):
                self._num_damaged += 1
            if packet is None:
                return

    def _on_the_clock(self) -> Iterator[Stretch]:
        """Frames as samples, holes filled with silence."""
        position = 0.0  # seconds given out so far
        origin = self._origin()
        for frame in self._pending:
            rate = frame.sample_rate
            samples = _frame_samples(frame)
            if frame.time is not None:
                origin = float(frame.time) if origin is None else origin
                gap = float(frame.time) - origin - position
                if _JITTER < gap <= self._believable(position):
                    for silence in _silence(round(gap * rate), rate, samples.shape[1]):
                        position += len(silence) / rate
                        yield rate, silence
                elif abs(gap) > _JITTER:  # the clock jumped: go on from here
                    origin += gap
            position += len(samples) / rate
            yield rate, samples

    def _without_padding(self, stretches: Iterator[Stretch]) -> Iterator[Stretch]:
        """Hold back what lies beyond the stated end; let it go if it is too much for padding."""
        end = self._stated_end()
        position, held, beyond = 0.0, list[Stretch](), 0.0
        for rate, samples in stretches:
            room = len(samples) if math.isinf(end) else max(0, round((end - position) * rate))
            position += len(samples) / rate
            if held or room < len(samples):
                if not held and room:
                    yield rate, samples[:room]
                    samples = samples[room:]
                held.append((rate, samples))
                beyond += len(samples) / rate
                if beyond > _PADDING:
                    yield from held
                    end, held = math.inf, []
            else:
                yield rate, samples

    def _origin(self) -> float | None:
        """The time stamp of the container's beginning, in seconds; None where it has none."""
        start = self._container.start_time
        return None if start is None else start / av.time_base

    def _stated_end(self) -> float:
        """Where the sound track ends by its edit list, in seconds from the container's beginning; only mp4 has one."""
        stream = self._stream
        if not self._container.format.name.startswith("mov") or not stream.duration:
            return math.inf
        start = float((stream.start_time or 0) * stream.time_base) - (self._origin() or 0.0)
        return start + float(stream.duration * stream.time_base)

    def _stated_length(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def _tells_length(self) -> bool:
        if self._counted:
            return True
        own = bool(self._stream.duration) or len(self._container.streams) == 1
        return own and self._container.format.name.startswith(_TELL_LENGTH)

    def _believable(self, position: float) -> float:
        """The longest gap to fill at a position, in seconds."""
        whole = self._container.duration
        return _LONGEST_GAP if not whole else whole / av.time_base + 1.0 - position


def _has_frame_count(file: GuardedFile) -> bool:
    """Whether an mp3 begins with a count of its frames (a Xing, Info or VBRI header), behind its ID3 tag if any.

    Leaves `file` at its beginning.
    """
    head = file.read(10)
    if head.startswith(b"ID3") and len(head) == 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        file.seek(10 + size)
        head = b""
    head += file.read(200)
    file.seek(0)
    return head[:1] == b"\xff" and any(sign in head for sign in (b"Xing", b"Info", b"VBRI"))


def _frame_samples(frame: Any) -> Float32:
    """`(num_samples, num_channels)` of a decoded frame, planar or packed."""
    array = frame.to_ndarray()
    if frame.format.is_planar:
        return to_float(np.ascontiguousarray(array.T))
    return to_float(array.reshape(frame.samples, -1))


def _silence(num_samples: int, rate: int, num_channels: int) -> Iterator[Float32]:
    """Zeros, a second at a time."""
    for start in range(0, num_samples, rate):
        yield np.zeros((min(rate, num_samples - start), num_channels), np.float32)
