"""Averages of overlapping chunks against a dense mean; thresholds against a loop over frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.stages.activity import MovingMean, count_by_mean, count_by_probability, hysteresis


def dense_mean(chunks, num_frames, num_values):
    """Every chunk in one big array, averaged where it reached; 0 where none did."""
    stack = np.full((len(chunks), num_frames, num_values), np.nan)
    for row, (first, values) in zip(stack, chunks, strict=True):
        row[first : first + len(values)] = values[: num_frames - first]
    known = ~np.isnan(stack)
    return np.where(known, stack, 0).sum(0) / np.maximum(known.sum(0), 1)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_moving_mean_is_the_dense_mean_however_it_is_taken(data):
    size = data.draw(st.integers(1, 12))
    firsts = np.cumsum([0, *data.draw(st.lists(st.integers(0, 15), max_size=8))]).tolist()
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    chunks = [(first, rng.random((size, 2))) for first in firsts]
    num_frames = firsts[-1] + size + data.draw(st.integers(0, 5))
    mean, taken = MovingMean(2), []
    for index, (first, values) in enumerate(chunks):
        mean.add(first, values)
        if data.draw(st.booleans()):  # nothing that begins later can change the frames before its beginning
            until = firsts[index + 1] if index + 1 < len(firsts) else num_frames
            taken.append(mean.take(until))
            assert mean.first == sum(map(len, taken)) == max(until, mean.first)
    taken.append(mean.take(num_frames))
    np.testing.assert_allclose(np.concatenate(taken), dense_mean(chunks, num_frames, 2), atol=1e-6)


def test_moving_mean_holds_open_frames_only():
    mean = MovingMean(3)
    widest = 0
    for chunk in range(400):
        mean.add(chunk * 10, np.ones((60, 3)))
        assert (mean.take(chunk * 10) == 1).all()
        widest = max(widest, mean.last - mean.first)
    assert widest <= 70


def test_sums_come_with_the_number_of_chunks():
    mean = MovingMean(2)
    mean.add(1, np.ones((3, 2)))
    mean.add(2, np.ones((3, 2), bool))
    sums, number = mean.sums(4)
    assert sums.tolist() == [[0, 0], [1, 1], [2, 2], [2, 2]] and number.tolist() == [0, 1, 2, 2]
    mean.add(9, np.ones((1, 2)))  # far beyond
    assert mean.sums(10)[1].tolist() == [1, 0, 0, 0, 0, 1] and mean.first == mean.last == 10


def test_frames_handed_out_already_stay_as_they_are():
    mean = MovingMean(1)
    mean.add(0, np.ones((4, 1)))
    assert mean.take(3).tolist() == [[1], [1], [1]]
    mean.add(1, np.zeros((4, 1)))  # frames 1 and 2 are gone, 3 becomes a mean of two, 4 is new
    assert mean.take(6).tolist() == [[0.5], [0], [0]]
    assert mean.take(2).shape == (0, 1)


def slow_hysteresis(scores, onset, offset, before):
    state, states = before, []
    for score in scores:
        if state and score < offset:
            state = False
        elif not state and score > onset:
            state = True
        states.append(state)
    return states


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0]), max_size=40),
    st.sampled_from([(0.6, 0.3), (0.5, 0.5), (0.7, 0.2), (0.3, 0.3)]),
    st.booleans(),
    st.integers(0, 40),
)
def test_hysteresis_is_the_state_machine_also_when_cut_in_two(scores, thresholds, before, cut):
    onset, offset = thresholds
    scores = np.array(scores)
    whole = hysteresis(scores, onset, offset, before=before)
    if onset > offset:
        assert whole.tolist() == slow_hysteresis(scores, onset, offset, before)
    else:
        assert whole.tolist() == (scores > onset).tolist()
    left = hysteresis(scores[:cut], onset, offset, before=before)
    right = hysteresis(scores[cut:], onset, offset, before=bool(left[-1]) if len(left) else before)
    assert np.concatenate([left, right]).tolist() == whole.tolist()


def test_two_talk_only_where_somebody_talks():
    speech = np.array([0.9, 0.9, 0.1, 0.4, 0.6], np.float32)
    overlap = np.array([0.6, 0.1, 0.6, 0.6, 0.6], np.float32)
    counted = count_by_probability(speech, overlap, onset=0.5, offset=0.5, overlap_onset=0.5)
    assert counted.tolist() == [2, 1, 0, 0, 2]
    kept = count_by_probability(speech, overlap, onset=0.7, offset=0.3, overlap_onset=0.5)
    assert kept.tolist() == [2, 1, 0, 0, 0]
    assert counted.dtype == np.uint8


@pytest.mark.parametrize("mean, count", [(0.0, 0), (0.49, 0), (0.5, 0), (0.51, 1), (1.5, 2), (2.5, 2), (3.0, 3)])
def test_the_mean_is_rounded_half_to_even(mean, count):
    assert count_by_mean(np.array([mean], np.float32)).tolist() == [count]
