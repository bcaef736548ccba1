"""Incremental clustering as published, and its corners: too many at once, nobody, somebody twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.stages.aggregate import Heard, aggregate
from diarist.stages.assign import NOBODY
from diarist.stages.online import FLOOR, Known, Thresholds, assign, cluster_names, overlap_weights, revise

AXES = np.eye(8, dtype=np.float32)
USUAL = Thresholds(tau_active=0.5, rho_update=0.3, delta_new=0.5, max_speakers=20)


def talk(*levels, num_frames=10):
    """Activity in which speaker `k` talks for a share `levels[k]` of the window."""
    activity = np.zeros((num_frames, len(levels)), np.float32)
    for k, level in enumerate(levels):
        activity[: round(level * num_frames), k] = 1
    return activity


def know(*voices, **changes):
    """Speakers whose centres are these unit vectors."""
    known = Known.nobody(8)
    given = Thresholds(0.5, 0.0, 0.0, 20)
    for voice in voices:
        known, _ = assign(known, talk(1.0), AXES[[voice]], given)
    return known


def test_weights_are_those_of_the_paper():
    activity = np.array([[0.9, 0.1], [0.8, 0.8], [0.0, 0.0]], np.float32)
    softmax = np.exp(10 * activity) / np.exp(10 * activity).sum(axis=1, keepdims=True)
    expected = np.maximum((activity * softmax) ** 3, FLOOR)
    np.testing.assert_allclose(overlap_weights(activity, 3, 10), expected, rtol=1e-5)
    weights = overlap_weights(activity, 3, 10)
    assert weights[0, 0] > 5 * weights[1, 0]  # a frame in which two talk says little of either
    assert weights[2, 0] == np.float32(FLOOR)


def test_weights_as_a_mask_reach_from_0_to_1():
    activity = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    weights = overlap_weights(activity, 3, 10, normalize=True)
    np.testing.assert_allclose(weights.max(axis=0), 1)
    np.testing.assert_allclose(weights.min(axis=0), FLOOR)
    assert np.isfinite(overlap_weights(np.zeros((5, 2), np.float32), 3, 10, normalize=True)).all()


def test_the_first_window_names_everybody_who_is_active_however_short():
    known, names = assign(Known.nobody(8), talk(0.1, 0.0, 0.9), AXES[:3], USUAL)
    assert names.tolist() == [0, NOBODY, 1] and known.names.tolist() == [0, 1]
    np.testing.assert_array_equal(known.centres, AXES[[0, 2]])


def test_a_first_window_with_more_speakers_than_may_be_keeps_the_longest():
    most = Thresholds(0.5, 0.3, 0.5, max_speakers=2)
    known, names = assign(Known.nobody(8), talk(0.2, 0.9, 0.5), AXES[:3], most)
    assert names.tolist() == [NOBODY, 0, 1]
    np.testing.assert_array_equal(known.centres, AXES[[1, 2]])  # each centre is one voice, not the last one's


def test_a_known_voice_is_found_and_its_centre_moves_by_the_unit_voice():
    known = know(0, 1)
    voice = np.array([[0.0, 3.0, 1.0, 0, 0, 0, 0, 0]], np.float32)
    after, names = assign(known, talk(1.0), voice, USUAL)
    assert names.tolist() == [1]
    np.testing.assert_allclose(after.centres[1], AXES[1] + voice[0] / np.sqrt(10), rtol=1e-6)
    np.testing.assert_array_equal(known.centres, AXES[:2])  # the state before is a value: nothing was written to it


def test_who_talks_little_does_not_move_a_centre():
    known = know(0, 1)
    after, names = assign(known, talk(0.2), AXES[[0]], USUAL)
    assert names.tolist() == [0]
    np.testing.assert_array_equal(after.centres, known.centres)


def test_a_far_voice_is_new_if_it_talks_long_and_the_nearest_free_one_if_not():
    known = know(0, 1)
    near_1 = np.array([[0.0, 0.3, 1.0, 0, 0, 0, 0, 0]], np.float32)
    after, names = assign(known, talk(0.5), near_1, USUAL)
    assert names.tolist() == [2] and len(after) == 3
    after, names = assign(known, talk(0.2), near_1, USUAL)
    assert names.tolist() == [1] and len(after) == 2
    np.testing.assert_array_equal(after.centres, known.centres)


def test_two_local_speakers_are_never_one():
    known = know(0)
    both = np.stack([AXES[0], 0.95 * AXES[0] + 0.3 * AXES[1]])
    after, names = assign(known, talk(1.0, 1.0), both, USUAL)
    assert names.tolist() == [0, 1]
    full = Thresholds(0.5, 0.3, 0.5, max_speakers=1)
    after, names = assign(known, talk(1.0, 1.0), both, full)
    assert names.tolist() == [0, NOBODY] and len(after) == 1  # nobody is left for the second to be


def test_no_room_means_the_nearest_free_speaker():
    full = Thresholds(0.5, 0.3, 0.5, max_speakers=2)
    after, names = assign(know(0, 1), talk(1.0, 1.0), AXES[[1, 5]], full)
    assert names.tolist() == [1, 0] and len(after) == 2


def test_silence_and_missing_embeddings_are_nobody():
    known = know(0)
    after, names = assign(known, talk(0.0, 1.0), np.stack([AXES[0], np.full(8, np.nan, np.float32)]), USUAL)
    assert names.tolist() == [NOBODY, NOBODY] and after is known
    after, names = assign(Known.nobody(8), talk(0.0), AXES[:1], USUAL)
    assert len(after) == 0 and names.tolist() == [NOBODY]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 6))
def test_names_of_a_window_differ_and_room_is_kept(seed, num_local, most):
    rng = np.random.default_rng(seed)
    given = Thresholds(0.5, float(rng.random()), float(2 * rng.random()), most)
    known = Known.nobody(8)
    for _ in range(8):
        activity = (rng.random((20, num_local)) * rng.random(num_local)).astype(np.float32)
        voices = rng.standard_normal((num_local, 8)).astype(np.float32)
        known, names = assign(known, activity, voices, given)
        named = names[names != NOBODY]
        assert len(set(named.tolist())) == len(named)
        assert set(named.tolist()) <= set(known.names.tolist())
        assert len(known) <= most and np.isfinite(known.centres).all()


def test_a_revision_merges_what_was_one_and_parts_what_were_two():
    known = know(0, 1, 2)
    said = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2])  # 1 was 0 all along, and 2 was two people
    sums = 5.0 * AXES[[0, 2, 3]].astype(float)
    after, gone = revise(known, said, labels, sums, 20)
    assert gone == {1: 0}
    assert after.names.tolist() == [0, 2, 3] and after.born == 4  # 1 is never given again
    np.testing.assert_array_equal(after.centres, sums)
    assert cluster_names(known, said, labels, 3) == [0, 2, 3]


def test_a_revision_leaves_alone_whom_it_has_not_heard():
    known = know(0, 1)
    after, gone = revise(known, np.array([0, 0, NOBODY]), np.array([0, 0, 1]), 2.0 * AXES[[4, 5]].astype(float), 2)
    assert gone == {} and after.names.tolist() == [0, 1]  # no room for the second cluster
    np.testing.assert_array_equal(after.centres, [2 * AXES[4], AXES[1]])


def test_a_revision_does_not_rename_whose_windows_are_spread():
    known = know(0, 1, 2)
    said = np.array([0] * 6 + [1] * 6 + [2] * 4)
    labels = np.array([0] * 6 + [1] * 6 + [0, 0, 1, 1])
    after, gone = revise(known, said, labels, AXES[:2].astype(float), 20)
    assert gone == {} and after.names.tolist() == [0, 1, 2]


def windows():
    rng = np.random.default_rng(3)
    names = np.array([4, NOBODY, 7])
    return [Heard(5 * k, rng.random((20, 3)).astype(np.float32), names) for k in range(4)]


@pytest.mark.parametrize("strategy", ["mean", "hamming", "first"])
def test_aggregation_of_a_region(strategy):
    heard = windows()
    scores, names = aggregate(heard, 15, 20, strategy)
    assert names.tolist() == [4, 7] and scores.shape == (5, 2)
    parts = np.stack([window.scores[15 - window.first :][:5][:, [0, 2]] for window in heard])
    weights = np.stack([np.hamming(20)[15 - window.first :][:5] for window in heard])[..., None]
    expected = {"mean": parts.mean(0), "first": parts[0], "hamming": (parts * weights).sum(0) / weights.sum(0)}
    np.testing.assert_allclose(scores, expected[strategy], rtol=1e-5)


def test_aggregation_where_few_or_none_have_heard():
    heard = windows()[:1]
    scores, names = aggregate(heard, 18, 23, "mean")
    np.testing.assert_array_equal(scores[:2], heard[0].scores[18:, [0, 2]])
    assert not scores[2:].any()
    scores, names = aggregate([], 0, 3, "hamming")
    assert scores.shape == (3, 0) and len(names) == 0


def test_two_local_speakers_who_turned_out_to_be_one_count_once():
    heard = [Heard(0, np.array([[0.9, 0.8]], np.float32), np.array([2, 2]))]
    scores, names = aggregate(heard, 0, 1, "mean")
    assert names.tolist() == [2]
    np.testing.assert_allclose(scores, [[0.9]])


def test_who_is_nobody_known_takes_nobodys_place():
    """As diart has it: first all are assigned, then those who are near once more, without those who are not."""
    known = Known(np.eye(2), np.arange(2), 2)
    near_both = np.array([[0.74, 0.67], [0.31, -0.08]])  # distances .26 .33 and .69 1.08: together 1 and 0 cost least
    given = Thresholds(0.5, 0.3, 0.35, 20)
    voices = np.concatenate([near_both, np.sqrt(1 - (near_both**2).sum(axis=1, keepdims=True))], axis=1)
    known = Known(np.eye(3)[:2], known.names, 2)
    _, names = assign(known, talk(1.0, 1.0), voices.astype(np.float32), given)
    assert names.tolist() == [0, 2]
