"""Frames to turns against a slow painter of frames."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.time import Axis
from diarist.stages.subsegments import runs
from diarist.stages.turns import filled, label, padded, to_turns

FRAMES = Axis(size=400, step=160)  # 10 ms, the first middle at 12.5 ms


def turns_of(speakers, confidence=None, duration=None, on=0.0, off=0.0, frames=FRAMES):
    speakers = np.asarray(speakers, np.int32)
    speakers = speakers[:, None] if speakers.ndim == 1 else speakers
    confidence = np.ones(len(speakers), np.float32) if confidence is None else np.asarray(confidence, np.float32)
    duration = len(speakers) * frames.step / frames.sample_rate + 0.02 if duration is None else duration
    return to_turns(speakers, confidence, frames, duration=duration, min_duration_on=on, min_duration_off=off)


spans = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=8).map(
    lambda pairs: np.cumsum(np.array(pairs, np.int64).reshape(-1)).reshape(-1, 2)
)


@given(spans, st.integers(0, 6), st.integers(1, 8))
def test_filled_closes_gaps_then_drops_what_is_short(spans, gap, least):
    joined = []
    for first, last in spans.tolist():
        if joined and first - joined[-1][1] <= gap:
            joined[-1][1] = last
        else:
            joined.append([first, last])
    assert filled(spans, gap=gap, least=least).tolist() == [s for s in joined if s[1] - s[0] >= least]


@given(st.lists(st.booleans(), max_size=40), st.integers(-5, 5), st.integers(-5, 5))
def test_padded_spans_are_wider_or_narrower_and_stay_inside(mask, before, after):
    expected = []
    for first, last in runs(np.array(mask, bool)).tolist():
        frames = [i for i in range(first - before, last + after) if 0 <= i < len(mask)]
        expected += [[frames[0], frames[-1] + 1]] if frames else []
    assert padded(runs(np.array(mask, bool)), len(mask), before, after).tolist() == expected


def test_turns_are_padded_before_pauses_are_closed():
    speakers = np.array([-1] * 5 + [0] * 5 + [-1] * 5 + [0] * 5 + [-1] * 10, np.int32)[:, None]
    confidence = np.ones(len(speakers), np.float32)

    def padded_turns(pad_onset, pad_offset, off):
        found, _ = to_turns(
            speakers,
            confidence,
            FRAMES,
            duration=0.32,
            min_duration_on=0,
            min_duration_off=off,
            pad_onset=pad_onset,
            pad_offset=pad_offset,
        )
        return [(turn.start, turn.end) for turn in found]

    assert padded_turns(0, 0, 0.03) == [(0.0575, 0.1075), (0.1575, 0.2075)]
    assert padded_turns(0.01, 0.02, 0.01) == [(0.0475, 0.1275), (0.1475, 0.2275)]
    assert padded_turns(0.01, 0.02, 0.02) == [(0.0475, 0.2275)]
    assert padded_turns(-0.02, -0.02, 0) == [(0.0775, 0.0875), (0.1775, 0.1875)]
    assert padded_turns(-0.03, -0.02, 0) == []


def test_edges_lie_half_a_step_around_the_middles():
    turns, order = turns_of([-1, -1, 4, 4, 4, -1, 1, -1])
    assert [(t.start, t.end, t.speaker) for t in turns] == [
        (0.0275, 0.0575, "SPEAKER_00"),  # middles 32.5 to 52.5 ms
        (0.0675, 0.0775, "SPEAKER_01"),
    ]
    assert order == {"SPEAKER_00": 4, "SPEAKER_01": 1}


def test_the_first_and_the_last_frame_reach_the_edges_of_the_recording():
    turns, _ = turns_of([0] * 10, duration=0.123)
    assert [(t.start, t.end) for t in turns] == [(0.0, 0.123)]


def test_edges_in_the_middle_of_frames_as_pyannote_puts_them():
    frames, ones = Axis(991, 270), np.ones(8, np.float32)
    speakers = np.array([0, 0, -1, 1, -1, 0, -1, 1], np.int32)[:, None]
    turns, _ = to_turns(speakers, ones, frames, duration=9.0, min_duration_on=0, min_duration_off=0, edges="middle")
    middle = [(495.5 + 270 * i) / 16_000 for i in range(8)]
    expected = [(middle[0], middle[2]), (middle[3], middle[4]), (middle[5], middle[6])]  # none of the last frame
    np.testing.assert_allclose([(t.start, t.end) for t in turns], expected)
    assert [t.speaker for t in turns] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]


def test_two_at_once_are_two_turns_numbered_by_appearance():
    turns, order = turns_of([(-1, -1), (7, -1), (7, 2), (2, 7), (2, -1), (-1, -1)])
    assert [(t.speaker, round(t.duration * 100)) for t in turns] == [("SPEAKER_00", 3), ("SPEAKER_01", 3)]
    assert order == {"SPEAKER_00": 7, "SPEAKER_01": 2}


def test_who_only_has_dropped_turns_gets_no_number():
    speakers = [-1, 3, -1, *[5] * 20, -1]
    turns, order = turns_of(speakers, on=0.05)
    assert order == {"SPEAKER_00": 5} and [t.speaker for t in turns] == ["SPEAKER_00"]


@pytest.mark.parametrize("on, kept", [(0.0, True), (0.03, True), (0.031, False)])
def test_a_turn_as_long_as_the_least_stays(on, kept):
    turns, _ = turns_of([-1, 0, 0, 0, -1, -1], on=on)
    assert bool(turns) is kept


def test_pauses_of_a_speaker_are_closed_also_over_somebody_else():
    turns, _ = turns_of([-1, 0, 0, 1, 0, 0, -1, -1, -1, 0, -1], off=0.02)
    spoken = [(t.speaker, round(t.start, 4), round(t.end, 4)) for t in turns]
    assert spoken == [
        ("SPEAKER_00", 0.0175, 0.0675),
        ("SPEAKER_01", 0.0375, 0.0475),
        ("SPEAKER_00", 0.0975, 0.1075),
    ]


def test_confidence_is_the_mean_over_the_turn_and_stays_within_bounds():
    turns, _ = turns_of([-1, 0, 0, 0, -1, 1], confidence=[1, 0.2, 0.4, 0.9, 0, 1.0000004])
    assert [t.confidence for t in turns] == [0.5, 1.0]


@settings(max_examples=150)
@given(
    st.integers(0, 60),
    st.integers(0, 999),
    st.sampled_from([0.0, 0.02, 0.055]),
    st.sampled_from([0.0, 0.02, 0.07]),
    st.sampled_from([FRAMES, Axis(991, 270), Axis(270, 270)]),
    st.floats(-0.2, 0.3),
)
def test_turns_lie_in_the_recording_sorted_and_never_touch_themselves(num_frames, seed, on, off, frames, spare):
    rng = np.random.default_rng(seed)
    speakers = np.repeat(rng.integers(-1, 4, size=(num_frames, 2)), rng.integers(1, 6), axis=0)[:num_frames]
    duration = max(0.0, num_frames * frames.step / frames.sample_rate + spare)
    turns, order = turns_of(speakers, rng.random(len(speakers)), duration, on, off, frames)
    assert turns == sorted(turns)
    assert all(0 <= t.start < t.end <= duration + 1e-6 and 0 <= t.confidence <= 1 for t in turns)
    names = list(dict.fromkeys(t.speaker for t in turns))
    for name in names:
        own = [t for t in turns if t.speaker == name]
        assert all(b.start - a.end > off for a, b in itertools.pairwise(own))
    assert names == [label(i) for i in range(len(names))] == list(order)


def test_labels_count_on():
    assert [label(i) for i in (0, 9, 10, 123)] == ["SPEAKER_00", "SPEAKER_09", "SPEAKER_10", "SPEAKER_123"]
