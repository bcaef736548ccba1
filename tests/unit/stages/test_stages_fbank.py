from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.stages.fbank import FRAMES, fbank, remove_mean


def slowly(samples, *, hamming=False, scale=1.0):
    """The same features sample by sample and filter by filter, in float64."""
    samples = samples.astype(np.float64) * scale
    place = np.arange(400) / 399
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * place) if hamming else (0.5 - 0.5 * np.cos(2 * np.pi * place)) ** 0.85
    rows = []
    for first in range(0, len(samples) - 399, 160):
        frame = samples[first : first + 400] - samples[first : first + 400].mean()
        sharp = np.array([frame[n] - 0.97 * frame[max(n - 1, 0)] for n in range(400)]) * taper
        power = np.abs(np.fft.fft(sharp, 512)[:256]) ** 2
        mels = 1127 * np.log(1 + np.arange(256) * 16_000 / 512 / 700)
        low, high = 1127 * np.log(1 + 20 / 700), 1127 * np.log(1 + 8000 / 700)
        width = (high - low) / 81
        row = []
        for number in range(80):
            left = low + number * width
            slope = np.minimum((mels - left) / width, (left + 2 * width - mels) / width)
            row.append(np.log(max(power @ np.maximum(slope, 0), np.finfo(np.float32).eps)))
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def sound():
    rng = np.random.default_rng(0)
    times = np.arange(8000) / 16_000
    return (0.1 * np.sin(2 * np.pi * 440 * times**1.5) + 0.01 * rng.normal(size=8000) + 0.2).astype(np.float32)


@pytest.mark.parametrize(("window", "scale"), [("povey", 1.0), ("hamming", 32_768.0)])
def test_equals_the_formulas(sound, window, scale):
    ours = fbank(sound, window=window, scale=scale)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, slowly(sound, hamming=window == "hamming", scale=scale), atol=2e-3)


@pytest.mark.parametrize(("window", "scale"), [("povey", 1.0), ("hamming", 32_768.0)])
def test_equals_kaldi(sound, window, scale):
    kaldi = pytest.importorskip("kaldi_native_fbank")
    options = kaldi.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.window_type = window
    options.frame_opts.samp_freq = 16_000
    options.mel_opts.num_bins = 80
    extractor = kaldi.OnlineFbank(options)
    extractor.accept_waveform(16_000, (sound * scale).tolist())
    extractor.input_finished()
    theirs = np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])
    np.testing.assert_allclose(fbank(sound, window=window, scale=scale), theirs, atol=1e-3)


@given(st.integers(0, 2000))
def test_frames_lie_inside_the_sound(num_samples):
    features = fbank(np.zeros(num_samples, np.float32))
    assert features.shape == (0 if num_samples < 400 else 1 + (num_samples - 400) // 160, 80)
    assert len(features) == FRAMES.count_inside(num_samples)


def test_silence_is_the_floor():
    np.testing.assert_allclose(fbank(np.zeros(800, np.float32)), np.log(np.finfo(np.float32).eps), rtol=1e-6)


def test_a_constant_is_silence():
    np.testing.assert_allclose(fbank(np.full(800, 0.5, np.float32)), fbank(np.zeros(800, np.float32)))


def test_blocks_leave_no_seam(sound):
    long = np.tile(sound, 42)  # more than two blocks of 1,024 frames
    whole = fbank(long)
    for first in (0, 1023, 1024, 2047, len(whole) - 2):
        alone = fbank(long[FRAMES.first(first) : FRAMES.span(first + 1)[1]])
        np.testing.assert_allclose(whole[first : first + 2], alone, atol=1e-4)


def test_other_number_of_mels(sound):
    assert fbank(sound, num_mels=40).shape == (48, 40)


def test_input_may_be_strided_or_float64(sound):
    np.testing.assert_array_equal(fbank(np.repeat(sound, 2)[::2]), fbank(sound))
    np.testing.assert_array_equal(fbank(sound.astype(np.float64)), fbank(sound))


def test_remove_mean(sound):
    features = np.stack([fbank(sound), fbank(sound[::-1])])
    centred = remove_mean(features)
    assert centred.dtype == np.float32
    np.testing.assert_allclose(centred.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.diff(centred, axis=1), np.diff(features, axis=1), atol=1e-5)
    assert remove_mean(features[:, :0]).shape == (2, 0, 80)


def test_raw_rows_are_the_sound_itself():
    samples = np.random.default_rng(1).normal(size=4000).astype(np.float32)
    rows = fbank(samples, num_mels=160, window="raw", scale=2.0)
    assert rows.shape == (FRAMES.count_inside(4000), 160) and rows.dtype == np.float32
    np.testing.assert_array_equal(remove_mean(rows).ravel(), 2 * samples[: rows.size])
    assert fbank(samples[:100], window="raw").shape == (0, 160)
