from __future__ import annotations

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.errors import ConfigError
from diarist.stages import speech

PLAIN = {
    "onset": 0.6,
    "offset": 0.4,
    "pad_onset": 0.0,
    "pad_offset": 0.0,
    "min_duration_on": 0.0,
    "min_duration_off": 0.0,
    "filter_speech_first": True,
}


def found(text, frame=0.1, **changes):
    """Stretches of a row of digits, tenths of a probability."""
    values = np.array([int(digit) / 10 for digit in text], np.float32)
    spans = speech.stretches(values, frame, **{**PLAIN, **changes})
    return [(round(start, 3), round(end - speech.UNIT, 3)) for start, end in spans.tolist()]


def test_speech_begins_above_one_threshold_and_ends_below_the_other():
    assert found("0579554300") == [(0.2, 0.7)]
    assert found("00000") == []
    assert found("") == []
    assert found("9999") == [(0.0, 0.3)]


def test_pads_do_not_leave_the_recording_and_join_neighbours():
    assert found("0990990", pad_onset=0.2, pad_offset=0.05) == [(0.0, 0.65)]
    assert found("0099000", pad_onset=-0.05) == [(0.25, 0.4)]


def test_short_speech_and_short_gaps_go_in_the_order_asked():
    assert found("90990", min_duration_on=0.2) == [(0.2, 0.4)]
    assert found("990990", min_duration_off=0.2) == [(0.0, 0.5)]
    both = {"min_duration_on": 0.2, "min_duration_off": 0.2}
    assert found("909000", **both) == []
    assert found("909000", **both, filter_speech_first=False) == [(0.0, 0.3)]


def test_a_gap_of_just_the_least_length_stays():
    assert found("9900099000", min_duration_off=0.3) == [(0.0, 0.2), (0.5, 0.7)]


def test_probabilities_are_read_at_the_nearest_frame():
    frames = Axis(1600, 1600)
    values = np.arange(10, dtype=np.float32)
    np.testing.assert_array_equal(speech.read_each(values, frames, 0.2, 1.0), [0, 2, 4, 6, 8])
    assert len(speech.read_each(values, frames, 0.01, 1.0)) == 100
    assert speech.read_each(values[:0], frames, 0.01, 1.0).shape == (0,)


def test_a_click_is_smoothed_away():
    values = np.zeros(200, np.float32)
    values[100:] = 1
    values[40] = 1
    smoothed = speech.smooth(values, window=0.15, shift=0.01, overlap=0.875, method="median")
    assert smoothed[:90].max() == 0
    assert smoothed[115:].min() == 1


def test_windows_that_cannot_overlap_so_much():
    with pytest.raises(ConfigError, match=r"windows of 0\.15 s each 0\.1 s cannot overlap by 0\.5"):
        speech.smooth(np.zeros(10, np.float32), window=0.15, shift=0.1, overlap=0.5, method="median")


@pytest.mark.parametrize("shift", [0.29, 0.07, 0.01, 0.58])  # 0.29 / 0.01 is a little less than 29
def test_smoothing_keeps_the_time(shift):
    assert len(speech.smooth(np.zeros(100, np.float32), window=5.0, shift=shift, overlap=0.5, method="mean")) == round(
        100 * shift / speech.UNIT
    )


@pytest.mark.parametrize("shift", [0.015, 0.0125, 0.004])
def test_smoothing_of_what_has_another_rhythm(shift):
    with pytest.raises(ConfigError, match=r"each 10, 20, 30, \.\.\. ms, not each"):
        speech.smooth(np.zeros(10, np.float32), window=0.5, shift=shift, overlap=0.5, method="median")


def test_stretches_that_meet_are_one():
    np.testing.assert_array_equal(speech.merged([(3, 4), (0, 2), (1, 1.5), (2, 2.5)]), [[0, 2.5], [3, 4]])
    assert speech.merged([]).shape == (0, 2)


def test_what_lies_within():
    spans = np.array([[0.0, 2.0], [3.0, 5.0]])
    np.testing.assert_array_equal(speech.within(spans, np.array([[1.0, 4.0]])), [[1, 2], [3, 4]])
    assert speech.within(spans, np.zeros((0, 2))).shape == (0, 2)
