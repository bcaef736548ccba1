"""Who talks in each frame: hand-made cases, and brute force where it is possible."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.stages.assign import (
    NOBODY,
    centroids,
    match_chunk,
    match_local,
    nearest_index,
    speakers_by_frame,
    unit,
    votes,
)


def test_unit_rows_and_a_zero_row():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)), [[0.6, 0.8], [0, 0]])


def test_centroids_are_unit_means_and_none_for_no_rows():
    rows = np.array([[1, 0], [0, 1], [0, 2]], np.float32)
    np.testing.assert_allclose(centroids(rows, np.array([1, 0, 1])), [[0, 1], np.array([1, 2]) / 5**0.5])
    assert centroids(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)).shape == (0, 4)


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=12, unique=True),
    st.lists(st.floats(-5, 60), max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_nearest_window_is_the_nearest(times, frame_times, random):
    random.shuffle(times)  # windows of several stretches need not come in order
    times, frame_times = np.array(times, float), np.array(frame_times, float)
    found = nearest_index(times, frame_times)
    for frame, index in zip(frame_times, found, strict=True):
        assert abs(times[index] - frame) == pytest.approx(np.abs(times - frame).min())


@settings(max_examples=80)
@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 999))
def test_local_speakers_are_matched_one_to_one_for_the_best_sum(num_local, num_speakers, seed):
    rng = np.random.default_rng(seed)
    similarity = rng.random((num_local, num_speakers)).round(3)
    silent = rng.random(num_local) < 0.3
    similarity[silent] = np.nan
    matched = match_local(similarity)
    assert (matched[silent] == NOBODY).all()
    pairs = [(local, speaker) for local, speaker in enumerate(matched) if speaker != NOBODY]
    assert len({speaker for _, speaker in pairs}) == len(pairs) == (min((~silent).sum(), num_speakers))
    present = np.flatnonzero(~silent)
    small, large = sorted((len(present), num_speakers))
    best = max(
        sum(
            similarity[present[i], j] if len(present) <= num_speakers else similarity[present[j], i]
            for i, j in enumerate(order)
        )
        for order in itertools.permutations(range(large), small)
    )
    assert sum(similarity[pair] for pair in pairs) == pytest.approx(best)


def test_votes_count_only_frames_where_one_talks_alone():
    active = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]], bool)
    share = votes(active, np.array([2, 2, 0, 1, 0]), 3)
    np.testing.assert_allclose(share[:2], [[1 / 3, 0, 2 / 3], [0, 1, 0]])
    assert np.isnan(share[2]).all()
    never_alone = votes(np.ones((3, 2), bool), np.zeros(3, int), 2)
    assert (never_alone == 0).all()


def test_a_chunk_is_matched_by_votes_and_by_voice():
    voices = np.eye(3)
    active = np.array([[1, 0, 0]] * 4 + [[1, 1, 0]] * 2 + [[0, 1, 0]] * 4, bool)
    labels = np.array([0] * 5 + [1] * 5)
    nothing = np.full((3, 3), np.nan, np.float32)
    assert match_chunk(active, nothing, labels, voices).tolist() == [0, 1, NOBODY]  # votes alone
    # both carry the label 0 (the second was too short for windows of its own): voices tell them apart
    local = np.array([[1, 0.1, 0], [0.2, 0, 1], [np.nan] * 3], np.float32)
    assert match_chunk(active, local, np.zeros(10, int), voices).tolist() == [0, 2, NOBODY]


def test_two_of_a_chunk_are_never_the_same_speaker_even_where_all_says_so():
    active = np.array([[1, 0]] * 5 + [[0, 1]] * 5, bool)
    local = np.array([[1, 0], [1, 0]], np.float32)
    assert sorted(match_chunk(active, local, np.zeros(10, int), np.eye(2)).tolist()) == [0, 1]
    assert sorted(match_chunk(active, local, np.zeros(10, int), np.eye(2)[:1]).tolist()) == [NOBODY, 0]


def test_speakers_of_a_frame():
    count = np.array([0, 1, 2, 2, 2, 3, 1], np.uint8)
    labels = np.array([1, 1, 0, 1, 2, 0, 2])
    pairs = np.full((7, 2), NOBODY, np.int32)
    pairs[[2, 3, 5]] = [[1, 2], [0, NOBODY], [0, 1]]
    assert speakers_by_frame(count, labels, pairs).tolist() == [
        [NOBODY, NOBODY],
        [1, NOBODY],
        [1, 2],  # the two most heard
        [1, NOBODY],  # one heard: only the nearest label
        [2, NOBODY],
        [0, 1],  # as many as two
        [2, NOBODY],
    ]


def test_where_nobody_overlaps_labels_are_all():
    count = np.array([1, 0], np.uint8)
    nothing = np.zeros((2, 0), np.int32)
    assert speakers_by_frame(count, np.zeros(2, int), nothing).tolist() == [[0, NOBODY], [NOBODY, NOBODY]]
