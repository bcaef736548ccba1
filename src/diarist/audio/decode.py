"""Any recording to float32 mono at 16 kHz, block by block, in bounded memory.

    with open_audio("meeting.m4a") as reader:
        for block in reader.blocks():
            ...

Content decides which decoder reads a file, never its extension: libsndfile for plain samples, PyAV for what is
compressed (libmpg123 inside libsndfile writes to stderr even for healthy mp3s, and libsndfile gives up at the first
damaged FLAC frame), the other one where the first refuses. soxr resamples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from diarist.audio.containers import ContainerDecoder
from diarist.audio.mixing import FULL_SCALE_LIMIT, Cleaner, MixDown
from diarist.audio.opening import Opened, open_bytes
from diarist.audio.pcm import ArrayDecoder, PcmDecoder, Stretch
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Waveform
from diarist.errors import AudioError, UsageError

AudioSource: TypeAlias = str | Path | bytes | BinaryIO | NDArray[Any] | Waveform

LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000
"""Sample rates that a recording can have; anything else is a damaged header."""

_SAYS_NOTHING = ("Format not recognised", "Invalid data found when processing input", "End of file")
_LOOKS_LIKE = (
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
    (b"#EXTM3U", "a play list"),
)


class _Decoder(Protocol):
    sample_rate: int
    num_channels: int
    duration: float | None

    def stretches(self) -> Iterator[Stretch]: ...

    def close(self) -> None: ...


class AudioReader:
    """A recording that is open for reading, once, from its beginning to its end.

    - `uri`: the recording's name (a file's stem).
    - `num_channels`, `source_rate`: as it is stored.
    - `duration`: seconds by its header, a hint only; None where unknown.
    - `warnings`: what was odd, in words; complete once `blocks()` is exhausted.
    """

    def __init__(
        self,
        decoder: _Decoder,
        *,
        uri: str,
        name: str,
        channel: int | None,
        warnings: list[str],
        opened: Opened | None = None,
    ) -> None:
        self.uri = uri
        self.num_channels = decoder.num_channels
        self.source_rate = decoder.sample_rate
        self.duration = decoder.duration
        self.warnings = warnings
        self._decoder = decoder
        self._opened = opened
        self._name = name
        self._channel = channel
        self._used = False
        self._check_header()

    def _check_header(self) -> None:
        if not LOWEST_RATE <= self.source_rate <= HIGHEST_RATE:
            raise AudioError(
                f"{self._name} has a sample rate of {self.source_rate} Hz: it must lie between {LOWEST_RATE} and "
                f"{HIGHEST_RATE}, its header is damaged or not that of a recording"
            )
        if self._channel is not None and not 0 <= self._channel < self.num_channels:
            raise UsageError(f"{self._name} has no channel {self._channel}: it has {self.num_channels}, counted from 0")

    def blocks(self, num_samples: int = 160_000) -> Iterator[Float32]:
        """Mono blocks `(num_samples,)` at 16 kHz; only the last may be shorter. The samples do not depend on
        `num_samples`. Raises `AudioError` where the file is lost while it is read, `UsageError` at a second call."""
        if num_samples < 1:
            raise UsageError(f"blocks need at least 1 sample, not {num_samples}")
        if self._used:
            raise UsageError(f"{self._name} was read already: open it again")
        self._used = True
        return cut(self._mono(), num_samples)

    def close(self) -> None:
        """Let go of the file."""
        self._decoder.close()
        if self._opened is not None:
            self._opened.file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _mono(self) -> Iterator[Float32]:
        cleaner = Cleaner()
        for (rate, num_channels), group in itertools.groupby(self._decoder.stretches(), key=_shape):
            seconds = cut((samples for _, samples in group), rate)
            mono = self._mixed(map(cleaner, seconds), num_channels, rate)
            yield from resampled(mono, rate)
        self._check_lost()
        if cleaner.num_bad:
            self.warnings.append(f"{cleaner.num_bad} samples are NaN, infinite or absurd, and were read as 0")
        if cleaner.peak > FULL_SCALE_LIMIT:
            self.warnings.append(f"samples reach {cleaner.peak:.6g} where full scale is 1: divide them by full scale")

    def _mixed(self, blocks: Iterator[Float32], num_channels: int, rate: int) -> Iterator[Float32]:
        if self._channel is None:
            yield from map(MixDown(num_channels, rate), blocks)
        elif self._channel < num_channels:
            yield from (np.ascontiguousarray(block[:, self._channel]) for block in blocks)
        else:
            raise AudioError(
                f"{self._name} changes to {num_channels} channels on the way: channel {self._channel} ends"
            )

    def _check_lost(self) -> None:
        error = None if self._opened is None else self._opened.file.error
        if error is not None:
            raise AudioError(f"{self._name} was lost while it was read: {error}")


def open_audio(
    source: AudioSource, *, channel: int | None = None, uri: str | None = None, sample_rate: int | None = None
) -> AudioReader:
    """Open a recording.

    `source` is a path, `"-"` (standard input), the bytes of a file, a binary file (read from its beginning), a
    `Waveform`, or a numpy array `(num_samples,)` or `(num_samples, num_channels)` with its `sample_rate`. All channels
    are mixed to their mean, or `channel` is taken alone, counted from 0. `uri` names the recording.

    Raises `AudioError` where it cannot be read as sound and `UsageError` where the call cannot be meant.
    """
    if isinstance(source, Waveform):
        return open_audio(source.samples, channel=channel, uri=uri or source.uri, sample_rate=source.sample_rate)
    if isinstance(source, np.ndarray):
        array = ArrayDecoder(source, _checked_rate(sample_rate))
        return AudioReader(array, uri=uri or "audio", name="the array", channel=channel, warnings=[])
    if sample_rate is not None:
        raise UsageError("sample_rate belongs to an array of samples: a file says its own")
    opened = open_bytes(source)
    warnings: list[str] = []
    try:
        decoder = _decoder(opened, warnings)
        return AudioReader(
            decoder, uri=uri or opened.uri, name=opened.name, channel=channel, warnings=warnings, opened=opened
        )
    except BaseException:
        opened.file.close()
        raise


def load(
    source: AudioSource, *, channel: int | None = None, uri: str | None = None, sample_rate: int | None = None
) -> Waveform:
    """A whole recording in memory. Arguments and errors as in `open_audio`."""
    with open_audio(source, channel=channel, uri=uri, sample_rate=sample_rate) as reader:
        blocks = list(reader.blocks())
        return Waveform(np.concatenate([np.zeros(0, np.float32), *blocks]), SAMPLE_RATE, reader.uri)


def cut(blocks: Iterator[Float32], size: int) -> Iterator[Float32]:
    """The same samples in blocks of `size` along the first axis; only the last may be shorter."""
    held: list[Float32] = []
    num_held = 0
    for block in blocks:
        while num_held + len(block) >= size:
            room = size - num_held
            yield np.concatenate([*held, block[:room]]) if held else block[:room]
            held, num_held, block = [], 0, block[room:]
        if len(block):
            held.append(block)
            num_held += len(block)
    if held:
        yield np.concatenate(held)


def resampled(blocks: Iterator[Float32], rate: int) -> Iterator[Float32]:
    """Mono blocks at `rate` to blocks at 16 kHz, without delay."""
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _shape(stretch: Stretch) -> tuple[int, int]:
    """Sample rate and number of channels."""
    return stretch[0], stretch[1].shape[1]


def _checked_rate(sample_rate: int | None) -> int:
    if sample_rate is None:
        raise UsageError("an array of samples needs its sample_rate")
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE or sample_rate != int(sample_rate):
        raise UsageError(
            f"a sample rate is a whole number of Hz from {LOWEST_RATE} to {HIGHEST_RATE}, not {sample_rate}"
        )
    return int(sample_rate)


def _decoder(opened: Opened, warnings: list[str]) -> _Decoder:
    """The first decoder that takes the file."""
    head = opened.file.read(4096)
    reasons: list[str] = []
    for attempt in _attempts(head):
        opened.file.seek(0)
        try:
            return attempt(opened, warnings)
        except soundfile.LibsndfileError as error:
            reasons.append(error.error_string.rstrip("."))
        except av.error.FFmpegError as error:
            reasons.append(str(error.strerror))
        except AudioError as error:
            if not _telling(reasons):
                raise
            reasons.append(str(error))
    if opened.file.error is not None:
        raise AudioError(f"{opened.name} cannot be read: {opened.file.error}")
    why = _what(head) or (_telling(reasons) or ["its format is unknown, or it is damaged"])[0]
    raise AudioError(f"{opened.name} is not a recording that can be decoded: {why}")


def _telling(reasons: list[str]) -> list[str]:
    """The reasons of decoders that say more than that they do not know the file."""
    return [reason for reason in reasons if reason not in _SAYS_NOTHING]


def _attempts(head: bytes) -> tuple[Callable[[Opened, list[str]], _Decoder], ...]:
    """Decoders to try, by the first bytes. libsndfile is kept from MPEG sound for good."""
    if head.startswith(b"ID3") or (head[0] == 0xFF and head[1:2] >= b"\xe0"):
        return (_container,)
    return (_container, _pcm) if head.startswith((b"fLaC", b"OggS")) else (_pcm, _container)


def _container(opened: Opened, warnings: list[str]) -> _Decoder:
    return ContainerDecoder(opened.file, opened.name, warnings)


def _pcm(opened: Opened, warnings: list[str]) -> _Decoder:
    return PcmDecoder(opened.file, opened.name, warnings)


def _what(head: bytes) -> str:
    """What the first bytes look like, in words; empty where they say nothing."""
    if head[4:8] == b"ftyp":
        return "an mp4 or m4a without its index (moov): it was cut off, or its recording never ended"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, what in _LOOKS_LIKE:
        if start.startswith(magic):
            return f"it looks like {what}"
    text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)
    return "it looks like text" if text and head.decode("utf-8", "ignore") else ""
