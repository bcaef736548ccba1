"""Log mel filter bank energies as Kaldi computes them, without dither.

Frames of 25 ms every 10 ms that lie whole in the sound (`snip_edges`), mean of each frame removed, pre-emphasis 0.97,
window, 512-point power spectrum, triangular filters that are equally wide on the mel scale, logarithm. Same numbers as
kaldi-native-fbank to 1e-3 (Povey et al., "The Kaldi speech recognition toolkit", 2011; `feat/feature-fbank.cc`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft

from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32

FRAMES = Axis(size=400, step=160)  # frame i of the features lies at FRAMES.span(i)
FFT_SIZE = 512
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
_FLOOR = float(np.finfo(np.float32).eps)
_BLOCK = 1024  # frames worked on at a time: keeps the spectra in the cache of the processor


def fbank(
    samples: Float32, *, num_mels: int = 80, window: Literal["povey", "hamming", "raw"] = "povey", scale: float = 1.0
) -> Float32:
    """Sound `(num_samples,)` at 16 kHz to log mel energies `(num_fbank, num_mels)`, `num_fbank` 0 below 25 ms.

    CAM++ wants a Povey window and sound in [-1, 1]; WeSpeaker wants a Hamming window and `scale=32768`. Neither has
    its mean removed here: see `remove_mean`. The window `raw` is for networks that take sound: row `i` is the samples
    of the 10 ms that frame `i` begins with, `(num_fbank, 160)`, whatever `num_mels` says.
    """
    num_frames = FRAMES.count_inside(len(samples))
    if window == "raw":
        sound = np.asarray(samples[: num_frames * FRAMES.step], dtype=np.float32) * np.float32(scale)
        return np.asarray(sound.reshape(num_frames, FRAMES.step), dtype=np.float32)
    features = np.empty((num_frames, num_mels), dtype=np.float32)
    if num_frames == 0:
        return features
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    frames = sliding_window_view(samples, FRAMES.size)[:: FRAMES.step]
    taper = _window(window) * np.float32(scale)
    bank = _mel_bank(num_mels)
    for first in range(0, num_frames, _BLOCK):
        energies = _power(frames[first : first + _BLOCK], taper) @ bank
        np.log(np.maximum(energies, _FLOOR, out=energies), out=features[first : first + _BLOCK])
    return features


def remove_mean(features: Float32) -> Float32:
    """Features `(..., num_fbank, num_mels)` with their mean over time removed, as the embedding networks expect.

    Raw sound, which has as many columns as a hop has samples, stays as it is.
    """
    if features.shape[-2] == 0 or features.shape[-1] == FRAMES.step:
        return features
    return np.asarray(np.subtract(features, features.mean(axis=-2, keepdims=True), dtype=np.float32))


def _power(frames: Float32, taper: Float32) -> Float32:
    """Power spectra `(num_frames, 256)` of frames `(num_frames, 400)`; the Nyquist bin carries no filter."""
    padded = np.zeros((len(frames), FFT_SIZE), dtype=np.float32)
    body = padded[:, : FRAMES.size]
    centred = frames - frames.mean(axis=1, keepdims=True)
    np.multiply(centred[:, :-1], np.float32(-PREEMPHASIS), out=body[:, 1:])
    body[:, 0] = np.float32(-PREEMPHASIS) * centred[:, 0]
    body += centred
    body *= taper
    spectra: NDArray[np.complex64] = rfft(padded, axis=1, overwrite_x=True)[:, : FFT_SIZE // 2]
    power: Float32 = spectra.real**2 + spectra.imag**2
    return power


@lru_cache(maxsize=8)
def _window(name: str) -> Float32:
    """The analysis window `(400,)`: `povey` is a Hann window to the power 0.85."""
    phase = 2 * np.pi * np.arange(FRAMES.size) / (FRAMES.size - 1)
    taper = 0.54 - 0.46 * np.cos(phase) if name == "hamming" else (0.5 - 0.5 * np.cos(phase)) ** 0.85
    return np.asarray(taper, dtype=np.float32)


@lru_cache(maxsize=8)
def _mel_bank(num_mels: int) -> Float32:
    """Triangular filters `(256, num_mels)` between 20 Hz and half the sample rate."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(SAMPLE_RATE / 2), num_mels + 2)
    mels = _mel(np.arange(FFT_SIZE // 2) * SAMPLE_RATE / FFT_SIZE)[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)
