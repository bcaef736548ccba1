"""Bytes of a client's sound to mono at 16 kHz, message by message."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import soxr

from diarist.audio.mixing import FULL_SCALE_LIMIT, Cleaner, MixDown
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.server.messages import ENCODINGS, Hello, Refusal

_MIXED = 0.1  # seconds that the mixing of channels looks at
_INT16 = np.float32(1 / 32768)


class PcmDecoder:
    """Whole samples as `hello` declares them to `(num_samples,)` float32 at 16 kHz; block sizes do not matter.

    Called from one thread at a time. Raises `Refusal` for what is no sound.
    """

    def __init__(self, hello: Hello) -> None:
        self._dtype = np.dtype(ENCODINGS["s16le" if hello.encoding == "s16le" else "f32le"])
        self._num_channels = hello.channels
        self._cleaner = Cleaner()
        self._mix = MixDown(hello.channels, hello.sample_rate)
        self._block = max(1, round(_MIXED * hello.sample_rate))
        self._held = np.zeros((0, hello.channels), np.float32)  # too little to mix yet
        self._resampler = None
        if hello.sample_rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(hello.sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def __call__(self, data: bytes, *, last: bool = False) -> Float32:
        """What can be said of the sound so far; with `last`, the rest too."""
        parts = list(self._mono(self._samples(data), last))
        mono = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.float32), *parts])
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=last)
        return mono

    @property
    def too_loud(self) -> str:
        """What is odd about the level, in words; empty where nothing is."""
        peak = self._cleaner.peak
        return f"samples reach {peak:.6g} where full scale is 1" if peak > FULL_SCALE_LIMIT else ""

    def _samples(self, data: bytes) -> Float32:
        """`(num_samples, num_channels)`."""
        values = np.frombuffer(data, self._dtype)
        samples = values * _INT16 if self._dtype.kind == "i" else np.ascontiguousarray(values, np.float32)
        samples = self._cleaner(samples)
        if self._cleaner.num_bad:
            raise Refusal("bad_audio", "samples are NaN, infinite or absurd: is it float32, little-endian?")
        return samples.reshape(-1, self._num_channels)

    def _mono(self, samples: Float32, last: bool) -> Iterator[Float32]:
        if self._num_channels == 1:
            yield samples[:, 0]
            return
        samples = np.concatenate([self._held, samples])
        while len(samples) >= self._block or (last and len(samples)):
            yield self._mix(samples[: self._block])
            samples = samples[self._block :]
        self._held = samples
