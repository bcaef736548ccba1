"""The front end `mel`: logarithmic mel spectra, 62.5 a second, which the transformer halves by two convolutions.

As nanodrz's: 80 bands from 0 to 8000 Hz, Hann windows of 1024 samples every 256, magnitudes, the sound reflected at
its ends, natural logarithm of at least 1e-5.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.pix2seq.config import AudioSpec
from diarist.pix2seq.frontends.sound import SoundFrontEnd

WINDOW, STEP, NUM_MELS = 1024, 256, 80
FLOOR = 1e-5
BLOCK = 1024  # spectra worked on at a time


class MelFrontEnd(SoundFrontEnd):
    """Sound at 16 kHz to `(num_features, 80)`; needs no weights."""

    name = "mel"
    rate = SAMPLE_RATE / STEP
    channels = NUM_MELS

    @property
    def spec(self) -> AudioSpec:
        """What the transformer is given."""
        return AudioSpec(NUM_MELS, STEP / SAMPLE_RATE, 0.5 * STEP / SAMPLE_RATE)

    def features(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` to log mel spectra `(max(1, num_samples // 256), 80)`."""
        padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
        padded = np.pad(padded, (WINDOW - STEP) // 2, mode="reflect")
        frames = sliding_window_view(padded, WINDOW)[::STEP][: max(1, len(samples) // STEP)]
        mels = np.empty((len(frames), NUM_MELS), dtype=np.float32)
        taper = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
        for first in range(0, len(frames), BLOCK):
            spectra = np.abs(rfft(frames[first : first + BLOCK] * taper, axis=1)).astype(np.float32)
            mels[first : first + BLOCK] = np.log(np.maximum(spectra @ _bank(), FLOOR))
        return mels


@lru_cache(maxsize=1)
def _bank() -> Float32:
    """Triangular filters of equal area `(513, 80)`, equally wide on the mel scale."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), NUM_MELS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[:, None]
    rising, falling = (hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return np.asarray(bank, dtype=np.float32)
