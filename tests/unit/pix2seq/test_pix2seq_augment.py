from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Turn
from diarist.errors import ConfigError
from diarist.pix2seq import augment as augmenting
from diarist.pix2seq.train_config import AugmentConfig

TURNS = (Turn(0.5, 1.5, "a"), Turn(1.0, 3.0, "b"))


def tone(hertz: float = 440.0, seconds: float = 4.0, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)).astype("f4")


def pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_length_pitch_and_turns(factor: float) -> None:
    samples, turns = augmenting.change_speed(tone(), TURNS, factor)
    assert len(samples) == pytest.approx(4 * SAMPLE_RATE / factor, abs=2)
    assert pitch(samples) == pytest.approx(440 * factor, rel=0.01)
    assert [(t.start * factor, t.end * factor, t.speaker) for t in turns] == [(0.5, 1.5, "a"), (1.0, 3.0, "b")]


def test_a_click_is_where_its_turn_says_after_a_change_of_speed() -> None:
    samples = np.zeros(4 * SAMPLE_RATE, np.float32)
    samples[2 * SAMPLE_RATE] = 1.0
    faster, turns = augmenting.change_speed(samples, (Turn(2.0, 2.5, "a"),), 1.1)
    assert np.argmax(np.abs(faster)) / SAMPLE_RATE == pytest.approx(turns[0].start, abs=1e-3)


def test_levels_swing_by_the_depth() -> None:
    swung = augmenting.swing_level(tone(level=0.1, seconds=20.0), 0.5, rng())
    power = np.sqrt(np.mean(swung.reshape(-1, SAMPLE_RATE // 10) ** 2, axis=1)) / (0.1 / np.sqrt(2))
    assert power.min() == pytest.approx(0.5, abs=0.02) and power.max() == pytest.approx(1.5, abs=0.02)


def test_a_room_rings_after_a_click_and_does_not_delay_it() -> None:
    samples = np.zeros(2 * SAMPLE_RATE, np.float32)
    samples[8000] = 0.5
    heard = augmenting.put_in_room(samples, 0.5, rng())
    assert len(heard) == len(samples)
    first = int(np.flatnonzero(np.abs(heard) > 0.2 * np.abs(heard).max())[0])
    assert 8000 - 40 <= first <= 8000 + 320
    assert np.sum(heard[8000 + 1600 : 8000 + 6400] ** 2) > 1e-3 * np.sum(heard**2)
    assert np.abs(heard[: 8000 - 200]).max() < 1e-6


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_is_as_loud_as_asked(snr: float) -> None:
    samples = tone(level=0.1, seconds=10.0)
    added = augmenting.add_noise(samples, snr, rng()) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(added**2)) == pytest.approx(snr, abs=0.3)


def test_a_telephone_keeps_its_band_only() -> None:
    noise = rng().normal(0, 0.1, 4 * SAMPLE_RATE).astype("f4")
    heard = augmenting.telephone(noise)
    assert len(heard) == len(noise)
    frequencies, power = signal.welch(heard, SAMPLE_RATE, nperseg=1024)
    inside = power[(frequencies > 500) & (frequencies < 3000)].mean()
    assert power[frequencies > 4200].mean() < 1e-3 * inside
    assert power[frequencies < 150].mean() < 2e-2 * inside


def test_nothing_happens_without_a_chance() -> None:
    none = AugmentConfig(speed=0, levels=0, noise=0, room=0, phone=0)
    samples, turns = augmenting.augment(tone(), TURNS, none, rng())
    assert np.array_equal(samples, tone()) and turns == TURNS


def test_all_happen_with_certainty_and_from_a_seed() -> None:
    every = AugmentConfig(speed=1, levels=1, noise=1, room=1, phone=1)
    one, two, other = (augmenting.augment(tone(), TURNS, every, rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one[0], two[0]) and one[1] == two[1]
    assert len(one[0]) != len(other[0]) and one[1] != TURNS
    assert np.abs(one[0]).max() <= 1.0


def test_a_range_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match="speeds"):
        AugmentConfig(speeds=(1.2, 0.8))
