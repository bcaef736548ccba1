from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16_000


def voice(hertz: float, seed: int, seconds: float = 12.0) -> np.ndarray:
    """Bursts of a tone, with pauses."""
    rng = np.random.default_rng(seed)
    samples, at = np.zeros(round(seconds * RATE), np.float32), round(0.1 * RATE)
    while at < len(samples):
        length = round(rng.uniform(0.4, 2.0) * RATE)
        time = np.arange(at, min(at + length, len(samples))) / RATE
        samples[at : at + length] = 0.3 * np.sin(2 * np.pi * hertz * time)
        at += length + round(rng.uniform(0.1, 0.6) * RATE)
    return samples


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five voices, each a tone."""
    root = tmp_path_factory.mktemp("speech")
    for k in range(5):
        (root / f"tone{k}").mkdir()
        for j in range(2):
            soundfile.write(root / f"tone{k}" / f"{j}.wav", voice(400 * (k + 1), 10 * k + j), RATE)
    return root
