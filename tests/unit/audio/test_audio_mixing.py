"""Channels to one: the mean, and what happens where it cancels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from audio_samples import sweep
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diarist.audio.decode import cut, load
from diarist.audio.mixing import Cleaner, MixDown

RNG = np.random.default_rng(0)


def mixed(channels: np.ndarray, rate: int = 16_000) -> np.ndarray:
    return load(channels, sample_rate=rate).samples


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 50), st.integers(1, 5)), elements=st.floats(-1, 1, width=32)))
def test_the_mix_is_a_mean_under_signs(block: np.ndarray) -> None:
    got = MixDown(block.shape[1], 16_000)(block)
    signs = np.array(np.meshgrid(*[[1, -1]] * block.shape[1])).reshape(block.shape[1], -1)
    means = block @ signs / block.shape[1]
    assert np.min(np.max(np.abs(means.T - got), axis=1, initial=0)) < 1e-6


def test_equal_channels_change_nothing() -> None:
    voice = sweep(2.0, 16_000)
    np.testing.assert_array_equal(mixed(np.stack([voice, voice], axis=1)), voice)


@pytest.mark.parametrize("num_channels", [2, 3, 12])
def test_unrelated_channels_are_averaged(num_channels: int) -> None:
    channels = RNG.standard_normal((48_000, num_channels)).astype(np.float32) / 10
    np.testing.assert_allclose(mixed(channels), channels.mean(axis=1), atol=1e-6)


def test_voices_on_channels_of_their_own_keep_their_overlap() -> None:
    one, two = sweep(2.0, 16_000), sweep(2.0, 16_000, 900, 300)
    one[24_000:] = 0
    two[:16_000] = 0
    np.testing.assert_allclose(mixed(np.stack([one, two], axis=1)), (one + two) / 2, atol=1e-6)


@pytest.mark.parametrize("loudness", [1.0, 0.9, 1e-3])
def test_opposite_polarity_does_not_cancel(loudness: float) -> None:
    voice = sweep(3.0, 16_000)
    noise = 1e-4 * RNG.standard_normal((48_000, 2)).astype(np.float32)
    got = mixed(np.stack([voice, -loudness * voice], axis=1) + noise)
    expected = voice * (1 + loudness) / 2 if loudness > 0.5 else voice / 2
    assert abs(np.corrcoef(got, expected)[0, 1]) > 0.99
    assert np.isclose(got.std(), expected.std(), rtol=0.05)


def test_polarity_is_kept_through_silence_and_found_again() -> None:
    voice = sweep(2.0, 16_000)
    silence = np.zeros_like(voice)
    left = np.concatenate([voice, silence, voice, voice])
    right = np.concatenate([-voice, silence, -voice, voice])
    got = mixed(np.stack([left, right], axis=1))
    np.testing.assert_allclose(np.abs(got[: len(left)]), np.abs(left), atol=0.05)
    assert np.abs(np.diff(got)).max() < 2.5 * np.abs(np.diff(left)).max()  # no click where it turns


def test_one_of_three_is_turned() -> None:
    voice = sweep(1.0, 16_000)
    three = np.stack([voice, -voice, -voice * 0.1], axis=1)
    assert np.isclose(np.abs(mixed(three)).max(), np.abs(voice).max() * 2.1 / 3, rtol=0.01)


def test_silence_stays_silent() -> None:
    assert np.all(mixed(np.zeros((48_000, 2))) == 0)


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 30), elements=st.floats(width=32)))
def test_cleaned_blocks_are_finite(block: np.ndarray) -> None:
    cleaner = Cleaner()
    got = cleaner(block)
    good = np.abs(np.nan_to_num(block, nan=np.inf, posinf=np.inf, neginf=np.inf)) <= 1e10
    assert np.isfinite(got).all()
    np.testing.assert_array_equal(got[good], block[good])
    assert cleaner.num_bad == (~good).sum()
    assert cleaner.peak == np.abs(got).max(initial=0)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 12))
def test_cut_keeps_samples_and_order(sizes: list[int], size: int) -> None:
    samples = np.arange(sum(sizes), dtype=np.float32)
    edges = np.cumsum([0, *sizes])
    blocks = list(cut((samples[a:b] for a, b in itertools.pairwise(edges)), size))
    np.testing.assert_array_equal(np.concatenate([np.zeros(0), *blocks]), samples)
    assert all(len(block) == size for block in blocks[:-1])
    assert all(0 < len(block) <= size for block in blocks[-1:])
