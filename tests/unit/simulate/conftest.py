import numpy as np
import pytest
import soundfile

from diarist.simulate.config import Acoustics

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


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Five voices, each a tone at a multiple of 500 Hz, of three files each."""
    root = tmp_path_factory.mktemp("speech")
    for k in range(5):
        (root / f"tone{k}").mkdir()
        for j in range(3):
            soundfile.write(root / f"tone{k}" / f"{j}.flac", bursts(500 * (k + 1), 25.0, 10 * k + j), RATE)
    return root


@pytest.fixture
def dry():
    """No room, no noise to speak of, nothing."""
    return Acoustics(level_spread=0.0, equalise=0.0, reverb=0.0, noise=0.0, quiet=(110.0,), phone=0.0)
