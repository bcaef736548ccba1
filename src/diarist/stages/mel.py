"""Log mel energies as NVIDIA's models take them, which are not Kaldi's (`stages.fbank`).

Pre-emphasis 0.97, a symmetric Hann window of 25 ms in the middle of a 512-point transform, power, triangular filters
on Slaney's mel scale that are of equal area, logarithm above 2^-24; no mean is removed. Same numbers as
`NemotronAsrStreamingFeatureExtractor` of transformers to 1e-3 in the logarithm.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32

FFT = 512
HOP = 160
WINDOW = 400
_PREEMPHASIS = np.float32(0.97)
_FLOOR = np.float32(2**-24)
_LINEAR_HZ, _LINEAR_MELS = 1000.0, 15.0  # Slaney's scale is linear below 1 kHz
_LOG_STEP = np.log(6.4) / 27.0
_BLOCK = 1024  # frames worked on at a time


def log_mel(samples: Float32, num_mels: int, *, before: int, after: int) -> Float32:
    """Sound `(num_samples,)` at 16 kHz, with so many zeros `before` and `after` it, to `(num_frames, num_mels)`.

    Frame `i` is of the `FFT` samples from `i * HOP` on, zeros counted.
    """
    sound = np.asarray(samples, np.float32)
    bright = sound.copy()
    bright[1:] -= _PREEMPHASIS * sound[:-1]
    padded = np.pad(bright, (before, after))
    if len(padded) < FFT:
        return np.zeros((0, num_mels), np.float32)
    frames = sliding_window_view(padded, FFT)[::HOP]
    taper, bank = _taper(), filters(num_mels)
    found = np.empty((len(frames), num_mels), np.float32)
    for first in range(0, len(frames), _BLOCK):
        spectra = rfft(frames[first : first + _BLOCK] * taper, axis=1)
        power = np.square(spectra.real) + np.square(spectra.imag)
        found[first : first + _BLOCK] = np.log(power @ bank + _FLOOR)
    return found


@lru_cache
def filters(num_mels: int) -> Float32:
    """Triangles on Slaney's mel scale from 0 Hz to 8 kHz, each of area 1 Hz: `(FFT // 2 + 1, num_mels)`."""
    mels = np.linspace(0.0, _mel(SAMPLE_RATE / 2), num_mels + 2)
    edges = np.where(
        mels < _LINEAR_MELS,
        mels * _LINEAR_HZ / _LINEAR_MELS,
        _LINEAR_HZ * np.exp(_LOG_STEP * (mels - _LINEAR_MELS)),
    )
    hertz = np.linspace(0.0, SAMPLE_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (hertz - edges[None, :-2]) / np.diff(edges)[None, :-1]
    falling = (edges[None, 2:] - hertz) / np.diff(edges)[None, 1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[None]
    return np.asarray(triangles, np.float32)


def _mel(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz * _LINEAR_MELS / _LINEAR_HZ
    return float(_LINEAR_MELS + np.log(hertz / _LINEAR_HZ) / _LOG_STEP)


@lru_cache
def _taper() -> Float32:
    margin = (FFT - WINDOW) // 2
    return np.asarray(np.pad(np.hanning(WINDOW), (margin, FFT - WINDOW - margin)), np.float32)
