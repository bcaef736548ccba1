"""Spectra, noise and telephones: what colours a conversation. Everything that runs along it works in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import signal

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Float64
from diarist.errors import AudioError
from diarist.simulate.reading import duration_of, num_sections, read_section

NUM_FFT = 512

CROSS_FADE = 800
"""Samples over which one clip of noise becomes the next."""

DELAY = 128
"""Samples by which an equaliser delays."""


def long_term_spectrum(samples: Float32) -> Float64:
    """Long-term average power spectrum, smoothed over a third of an octave. Shape `(257,)`."""
    frames = np.resize(samples, (max(len(samples) // NUM_FFT, 1), NUM_FFT)) * np.hanning(NUM_FFT)
    power = np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)
    bins = np.arange(len(power))
    low, high = np.floor(bins * 2 ** (-1 / 6)).astype(int), np.ceil(bins * 2 ** (1 / 6)).astype(int) + 1
    total = np.concatenate(([0.0], np.cumsum(power)))
    high = np.minimum(high, len(power))
    return np.asarray((total[high] - total[low]) / (high - low))


def equaliser(spectrum: Float64, target: Float64, most: float = 15.0) -> Float32:
    """A linear-phase filter that gives `spectrum` the shape of `target`, by at most `most` dB each way.

    Shape `(257,)`; delays by `DELAY`.
    """
    gain = 10 * np.log10(np.maximum(target, 1e-14) / np.maximum(spectrum, 1e-14))
    speech = slice(int(100 / SAMPLE_RATE * NUM_FFT), int(7000 / SAMPLE_RATE * NUM_FFT))
    gain = np.clip(gain - np.mean(gain[speech]), -most, most)
    frequencies = np.linspace(0, 1, len(gain))
    return np.asarray(signal.firwin2(257, frequencies, 10 ** (gain / 20)), dtype=np.float32)


class ColouredNoise:
    """Endless noise of power 1 whose spectrum falls by `slope` dB an octave (0 white, 3 pink, 6 brown)."""

    def __init__(self, slope: float, rng: np.random.Generator) -> None:
        self._rng = rng
        frequencies = np.linspace(0, 1, 513)
        gain = np.maximum(frequencies, 100 / 8000) ** (-slope / 6.02)
        gain[0] = 0
        taps = signal.firwin2(1025, frequencies, gain)
        self._taps = taps / np.sqrt(np.sum(taps**2))
        self._state = rng.standard_normal(1024)

    def read(self, num: int) -> Float32:
        """The next `num` samples."""
        fresh = np.concatenate((self._state, self._rng.standard_normal(num)))
        self._state = fresh[len(fresh) - 1024 :]
        return np.asarray(signal.oaconvolve(fresh, self._taps, mode="valid"), dtype=np.float32)


class FileNoise:
    """Endless noise from files, each at a power of 1, one after another in a random order, cross-faded over 50 ms.

    `warnings` names the files that could not be used; where none can, it is silent.
    """

    def __init__(self, files: Sequence[Path], rng: np.random.Generator) -> None:
        self.files = list(files)
        self.warnings: list[str] = []
        self._rng = rng
        self._ahead = np.zeros(0, np.float32)

    def read(self, num: int) -> Float32:
        """The next `num` samples."""
        while len(self._ahead) < num + CROSS_FADE and self.files:
            self._ahead = _cross_faded(self._ahead, self._clip())
        if len(self._ahead) < num:
            self._ahead = np.concatenate((self._ahead, np.zeros(num, np.float32)))
        block, self._ahead = self._ahead[:num], self._ahead[num:]
        return block

    def _clip(self) -> Float32:
        path = self.files[int(self._rng.integers(len(self.files)))]
        try:
            clip = read_section(path, int(self._rng.integers(num_sections(duration_of(path)))))
            problem = f"'{path}' is silent or too short to be noise"
        except AudioError as error:
            clip, problem = np.zeros(0, np.float32), str(error)
        clip = clip - np.mean(clip) if len(clip) else clip
        power = float(np.mean(clip.astype(np.float64) ** 2)) if len(clip) > 2 * CROSS_FADE else 0.0
        if power < 1e-10:
            self.files.remove(path)
            self.warnings.append(problem)
            return np.zeros(0, np.float32)
        return np.asarray(clip / np.sqrt(power), dtype=np.float32)


def _cross_faded(left: Float32, right: Float32) -> Float32:
    num = min(CROSS_FADE, len(left), len(right))
    if not num:
        return np.concatenate((left, right))
    phase = (np.arange(num) + 0.5) / num * np.pi / 2
    middle = left[-num:] * np.cos(phase) + right[:num] * np.sin(phase)
    return np.concatenate((left[:-num], middle, right[num:])).astype(np.float32)


class Telephone:
    """A narrow-band telephone, block by block: 300 to 3400 Hz, 8 kHz, 8-bit mu-law (ITU-T G.711's curve), 16 kHz again.

    What comes out is as long as what went in and not delayed; `finish()` gives the last samples.
    """

    delay = 2 * 128

    def __init__(self) -> None:
        self._band = signal.firwin(257, [300, 3400], pass_zero=False, fs=SAMPLE_RATE)
        self._up = 2 * signal.firwin(257, 3800, fs=SAMPLE_RATE)
        self._states = [np.zeros(256), np.zeros(256)]
        self._skip = self.delay

    def __call__(self, block: Float32) -> Float32:
        """The next block; its length must be even."""
        narrow, self._states[0] = signal.lfilter(self._band, 1.0, block, zi=self._states[0])
        wide = np.zeros(len(narrow))
        wide[::2] = mu_law(narrow[::2])
        wide, self._states[1] = signal.lfilter(self._up, 1.0, wide, zi=self._states[1])
        skip = min(self._skip, len(wide))
        self._skip -= skip
        return np.asarray(wide[skip:], dtype=np.float32)

    def finish(self) -> Float32:
        """What the filters still hold."""
        return self(np.zeros(self.delay, np.float32))


def mu_law(samples: Float64, mu: float = 255.0) -> Float64:
    """Through 8-bit mu-law and back."""
    packed = np.sign(samples) * np.log1p(mu * np.minimum(np.abs(samples), 1.0)) / np.log1p(mu)
    packed = np.rint((packed + 1) / 2 * mu) / mu * 2 - 1
    return np.asarray(np.sign(packed) * np.expm1(np.abs(packed) * np.log1p(mu)) / mu)
