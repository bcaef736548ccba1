"""Speakers planted by the PLDA's own model are found and counted; bounds are kept on any data."""

import time
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from diarist.core.types import SpeakerBounds
from diarist.pipelines.config import ClusteringConfig
from diarist.stages.plda import Plda
from diarist.stages.window_vbx import WindowVbx, merge, nearest_voice, offset

with resources.as_file(resources.files("diarist.models") / "plda" / "campplus-zh-en-windows.npz") as path:
    PLDA = Plda.load(path)
DEFAULTS = ClusteringConfig()


def clusterer(**changes):
    names = ("threshold", "Fa", "Fb", "loop", "centring", "min_cluster_size")
    return WindowVbx(PLDA, **{**{name: getattr(DEFAULTS, name) for name in names}, **changes})


def conversation(num_windows, num_speakers, seed, stay=0.9):
    """Unit embeddings that the PLDA takes for `num_speakers` people taking turns, and who says each."""
    rng = np.random.default_rng(seed)
    speakers = np.zeros(num_windows, int)
    speakers[:num_speakers] = np.arange(num_speakers)
    for row in range(num_speakers, num_windows):
        speakers[row] = speakers[row - 1] if rng.random() < stay else rng.integers(num_speakers)
    means = rng.normal(size=(num_speakers, len(PLDA.psi))) * np.sqrt(PLDA.psi)
    features = means[speakers] + rng.normal(size=(num_windows, len(PLDA.psi)))
    return unit(PLDA.mu + features @ np.linalg.pinv(PLDA.projection)), speakers


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cluster(embeddings, least=1, most=None, **changes):
    labels = clusterer(**changes)(embeddings, np.full(len(embeddings), -1), SpeakerBounds(least, most))
    assert labels.shape == (len(embeddings),) and labels.dtype == np.int64
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1 if len(labels) else 0))
    return labels


def agreement(labels, speakers):
    """Share of windows that are right under the best names."""
    table = np.zeros((labels.max() + 1, speakers.max() + 1))
    np.add.at(table, (labels, speakers), 1)
    rows, columns = linear_sum_assignment(-table)
    return table[rows, columns].sum() / len(labels)


@pytest.mark.parametrize("num_speakers, num_windows", [(1, 20), (1, 400), (2, 60), (2, 400), (3, 100), (8, 600)])
def test_planted_speakers_are_found_and_counted(num_speakers, num_windows):
    for seed in range(3):
        embeddings, speakers = conversation(num_windows, num_speakers, seed)
        labels = cluster(embeddings)
        counts = np.bincount(speakers)
        assert abs(labels.max() + 1 - (counts >= DEFAULTS.min_cluster_size).sum()) <= (num_speakers == 8)
        assert agreement(labels, speakers) > 0.97


def test_a_microphone_that_moves_all_voices_does_not_change_the_count():
    for seed in range(3):
        embeddings, speakers = conversation(300, 3, seed)
        direction = np.random.default_rng(100 + seed).normal(size=(1, len(PLDA.psi))) * np.sqrt(PLDA.psi)
        moved = embeddings + 0.4 * unit(direction @ np.linalg.pinv(PLDA.projection))
        labels = cluster(unit(moved))
        assert labels.max() + 1 == 3 and agreement(labels, speakers) > 0.97


def test_nobody_and_one_window():
    assert cluster(np.zeros((0, 192), np.float32)).tolist() == []
    assert cluster(conversation(1, 1, 0)[0], least=4).tolist() == [0]


def test_two_windows_can_be_one_or_two():
    embeddings, _ = conversation(2, 2, 0)
    assert cluster(embeddings, 2, 2).tolist() in ([0, 1], [1, 0])
    assert cluster(embeddings, 1, 1).tolist() == [0, 0]
    assert cluster(np.repeat(embeddings[:1], 2, axis=0)).tolist() == [0, 0]


def data_of(kind, num, seed):
    rng = np.random.default_rng(seed)
    if kind == "identical":
        return np.repeat(conversation(1, 1, seed)[0], num, axis=0)
    if kind == "two values":
        return conversation(2, 2, seed)[0][rng.integers(2, size=num)]
    if kind == "opposite":
        return unit(rng.normal(size=(1, 192)) * rng.choice([-1, 1], size=(num, 1)))
    if kind == "noise":
        return unit(rng.normal(size=(num, 192)))
    return conversation(num, min(num, 3), seed)[0]


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(["identical", "two values", "opposite", "noise", "voices"]),
    st.integers(1, 40),
    st.integers(1, 6),
    st.one_of(st.none(), st.integers(0, 3)),
    st.integers(0, 99),
)
def test_bounds_are_kept_whatever_the_windows_are(kind, num_windows, least, room, seed):
    most = None if room is None else least + room
    labels = cluster(data_of(kind, num_windows, seed), least, most)
    assert min(least, num_windows) <= labels.max() + 1 <= (most or num_windows)


@pytest.mark.parametrize("asked", range(1, 7))
def test_an_exact_count_is_given_exactly(asked):
    embeddings, speakers = conversation(200, 3, 5)
    labels = cluster(embeddings, asked, asked)
    assert labels.max() + 1 == asked
    if asked == 3:
        assert agreement(labels, speakers) > 0.97
    if asked > 3:  # more than there are: people are split, never mixed
        assert all(len(set(speakers[labels == label])) == 1 for label in range(asked))


def test_the_answer_does_not_depend_on_how_often_it_is_asked_for():
    embeddings, _ = conversation(300, 4, 7)
    assert (cluster(embeddings) == cluster(embeddings)).all()


def test_merging_absorbs_stray_windows_before_it_makes_two_people_one():
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0.0], [4.0, 0.0], [30.0, 0.0], [2.0, 9.0]])  # the last: far from all, but three windows
    labels = np.repeat([0, 1, 2, 3], [200, 200, 200, 3])
    features = means[labels] + rng.normal(size=(603, 2))
    merged = merge(labels, features, 3)
    assert merged[:600].tolist() == np.repeat([0, 1, 2], 200).tolist()
    assert len(set(merged[600:])) == 1
    assert merge(labels, features, 2)[:600].tolist() == np.repeat([0, 0, 1], 200).tolist()


@given(st.integers(1, 8), st.integers(1, 10), st.integers(0, 99))
def test_merging_reaches_the_number_and_only_joins(num_labels, most, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.r_[np.arange(num_labels), rng.integers(num_labels, size=20)]) * 3  # not dense
    merged = merge(labels, rng.normal(size=(len(labels), 4)), most)
    assert merged.max() + 1 == min(num_labels, most)
    assert all(len(set(merged[labels == label])) == 1 for label in set(labels.tolist()))


def test_the_offset_is_the_shrunken_mean_of_the_speakers_means():
    rows = np.array([[2.0, 0.0]] * 3 + [[0.0, 4.0]] * 5 + [[99.0, 99.0]] * 2)  # the last are too few to speak
    labels = np.array([0] * 3 + [1] * 5 + [2] * 2)
    np.testing.assert_allclose(offset(labels, rows, 3.0), np.array([1, 2]) * 2 / 5)
    np.testing.assert_allclose(offset(labels, rows, 0.0), [1, 2])
    assert offset(np.array([0, 1]), rows[:2], 3.0).tolist() == [0, 0]


def test_small_speakers_go_and_the_largest_always_stays():
    rows = unit(np.array([[1, 0]] * 4 + [[0, 1]] * 4 + [[1, 0.2]]))
    labels = np.array([0] * 4 + [5] * 4 + [9])
    assert nearest_voice(labels, rows, 3).tolist() == [0] * 4 + [1] * 4 + [0]
    assert nearest_voice(labels, rows, 100).max() == 0


def test_thousands_of_windows_take_seconds():
    embeddings, speakers = conversation(5000, 6, 1, stay=0.97)
    begun = time.process_time()
    labels = cluster(embeddings)
    assert time.process_time() - begun < 20  # about 1 s; a matrix of all distances alone would be 200 MB
    assert labels.max() + 1 == 6 and agreement(labels, speakers) > 0.99
