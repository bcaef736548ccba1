"""Voices whose every frame is known."""

import numpy as np

RATE = 16_000


def bursts(frequency, seconds, seed, rate=RATE):
    """A 'voice': tone bursts of 0.2 to 2.5 s with digital silence of 0.02 to 1 s between, off the 10 ms grid."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(int(seconds * rate), np.float32)
    at = int(rng.uniform(0.05, 0.4) * rate)
    while at < len(samples):
        length = int(rng.uniform(0.2, 2.5) * rate)
        time = np.arange(at, min(at + length, len(samples))) / rate
        samples[at : at + length] = 0.3 * np.sin(2 * np.pi * frequency * time)
        at += length + int(rng.uniform(0.02, 1.0) * rate)
    samples[-int(0.1 * rate) :] = 0
    return samples
