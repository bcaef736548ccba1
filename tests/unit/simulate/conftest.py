import pytest
import soundfile
from toy_speech import RATE, bursts

from diarist.simulate.config import Acoustics


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
