"""What every `VoiceActivityModel` owes its callers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist.core.protocols import VoiceActivityModel
from diarist.models.toy import conversation

RATE = 16_000


@pytest.fixture(scope="module")
def samples():
    return conversation([(1, 6, "a"), (9, 13, "b")], 15.0, noise=1e-4)


@pytest.fixture(scope="module")
def speech(vad, samples):
    return vad(samples)


def test_is_a_voice_activity_model(vad):
    assert isinstance(vad, VoiceActivityModel)
    assert vad.frames.sample_rate == RATE and 80 <= vad.frames.step <= RATE


def test_probabilities_cover_the_recording(vad, samples, speech):
    assert speech.dtype == np.float32 and speech.ndim == 1
    assert np.isfinite(speech).all() and 0 <= speech.min() and speech.max() <= 1
    assert abs(len(speech) * vad.frames.step - len(samples)) <= vad.frames.size + vad.frames.step


def test_deterministic(vad, samples, speech):
    np.testing.assert_array_equal(vad(samples), speech)


def test_one_recording_does_not_change_the_next(vad, samples, speech):
    vad(samples[::-1].copy())
    np.testing.assert_array_equal(vad(samples), speech)


def test_same_bytes_from_threads_at_once(vad, samples, speech):
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(vad, [samples] * 4):
            np.testing.assert_array_equal(again, speech)


def test_silence_gives_numbers(vad):
    assert np.isfinite(vad(np.zeros(3 * RATE, np.float32))).all()


@pytest.mark.parametrize("num_samples", [0, 1, 159, 400, 511, 1500])
def test_too_short_is_no_error(vad, num_samples):
    found = vad(np.full(num_samples, 0.05, np.float32))
    assert found.ndim == 1 and found.dtype == np.float32 and np.isfinite(found).all()


def test_other_types_are_taken_as_numbers(vad, samples):
    for other in (samples.astype(np.float64), np.rint(samples).astype(np.int16)):
        np.testing.assert_allclose(vad(other), vad(other.astype(np.float32)), rtol=0, atol=1e-6)


def test_what_is_no_number_is_no_error(vad, samples):
    spoilt = samples[: 2 * RATE].copy()
    spoilt[10_000] = np.nan
    assert len(vad(spoilt)) == len(vad(samples[: 2 * RATE]))


def test_input_is_left_alone(vad, samples):
    mine = samples.copy()
    mine.setflags(write=False)
    vad(mine)
    np.testing.assert_array_equal(mine, samples)
