"""Agglomerative clustering: scipy is the oracle where a matrix fits, the data's own labels where it does not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy

from diarist.core.types import SpeakerBounds
from diarist.errors import UsageError
from diarist.stages import agglomerative as module
from diarist.stages.agglomerative import cluster, cluster_within


def voices(num, num_speakers, seed=0, noise=0.05, dimension=16):
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(num_speakers, dimension))
    speakers = rng.integers(num_speakers, size=num)
    speakers[:num_speakers] = np.arange(num_speakers)
    return means[speakers] + noise * rng.normal(size=(num, dimension)) * np.sqrt(dimension), speakers


def partition(labels):
    """The same numbers for the same clusters, whatever they are called."""
    return np.unique(labels, return_index=True, return_inverse=True)[1][np.unique(labels, return_inverse=True)[1]]


def same(a, b):
    return np.array_equal(partition(np.asarray(a)), partition(np.asarray(b)))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 40),
    st.integers(0, 999),
    st.sampled_from(["average", "centroid", "complete"]),
    st.sampled_from(["cosine", "euclidean"]),
    st.floats(0.1, 1.5),
)
def test_the_cut_is_scipys(num, seed, linkage, metric, threshold):
    x = np.random.default_rng(seed).normal(size=(num, 4))
    if metric == "cosine" and linkage == "centroid":
        tree = hierarchy.linkage(x / np.linalg.norm(x, axis=1, keepdims=True), "centroid")
    else:
        tree = hierarchy.linkage(x, linkage, metric)
    labels = cluster(x, linkage=linkage, threshold=threshold, metric=metric)
    assert same(labels, hierarchy.fcluster(tree, threshold, "distance"))
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(0, 99),
    st.sampled_from(["average", "centroid", "complete"]),
    st.booleans(),
)
def test_an_exact_count_is_reached_whenever_there_are_as_many_rows(num, count, seed, linkage, alike):
    rng = np.random.default_rng(seed)
    x = np.ones((num, 3)) if alike else rng.normal(size=(num, 3))
    groups = rng.integers(-1, 4, size=num)
    for options in ({}, {"groups": groups}, {"min_size": 5}, {"groups": groups, "min_size": 3}):
        labels = cluster(x, linkage=linkage, num_clusters=count, **options)
        assert len(set(labels.tolist())) == min(count, num)
        labels = cluster_within(x, SpeakerBounds(count, count), linkage=linkage, threshold=0.5, **options)
        assert len(set(labels.tolist())) == min(count, num)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 40),
    st.integers(0, 99),
    st.sampled_from(["average", "centroid", "complete"]),
    st.floats(0.0, 2.0),
    st.integers(1, 4),
    st.integers(2, 12),
)
def test_rows_of_one_group_never_meet(num, seed, linkage, threshold, min_size, num_groups):
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, num_groups, size=num)
    labels = cluster(rng.normal(size=(num, 3)), linkage=linkage, threshold=threshold, groups=groups)
    pairs = [(g, c) for g, c in zip(groups.tolist(), labels.tolist(), strict=True) if g >= 0]
    assert len(pairs) == len(set(pairs))


def test_bounds_move_the_cut_no_further_than_needed():
    x, speakers = voices(60, 4)
    at = dict(linkage="average", threshold=0.4)
    assert same(cluster(x, **at), speakers)
    assert same(cluster_within(x, SpeakerBounds(), **at), speakers)
    assert same(cluster_within(x, SpeakerBounds(2, 6), **at), speakers)
    assert len(set(cluster_within(x, SpeakerBounds(6), **at).tolist())) == 6
    assert len(set(cluster_within(x, SpeakerBounds(1, 3), **at).tolist())) == 3
    # a cut below refines, a cut above joins
    fine, coarse = cluster_within(x, SpeakerBounds(6), **at), cluster_within(x, SpeakerBounds(1, 2), **at)
    assert len(set(zip(fine.tolist(), speakers.tolist(), strict=True))) == 6
    assert len(set(zip(coarse.tolist(), speakers.tolist(), strict=True))) == 4


def test_small_clusters_join_the_nearest_large_one():
    x = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5 + [[0.6, 0.8]])
    assert len(set(cluster(x, linkage="average", threshold=0.1).tolist())) == 3
    labels = cluster(x, linkage="average", threshold=0.1, min_size=2)
    assert labels[-1] == labels[5] != labels[0]
    groups = np.full(11, -1)
    groups[[5, 10]] = 7  # it cannot join the nearest
    labels = cluster(x, linkage="average", threshold=0.1, min_size=2, groups=groups)
    assert labels[-1] == labels[0] != labels[5]
    assert set(cluster(x, linkage="average", threshold=0.1, min_size=99).tolist()) == {0}


def test_small_clusters_do_not_count():
    x = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5 + [[-1.0, -0.1]] * 2)
    assert same(cluster(x, linkage="average", num_clusters=2, min_size=3), [0] * 5 + [1] * 5 + [1] * 2)
    assert len(set(cluster(x, linkage="average", num_clusters=3, min_size=3).tolist())) == 3  # a third one all the same


@pytest.mark.parametrize("linkage", ["average", "centroid", "complete"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_two_stages_find_what_is_there(monkeypatch, linkage, metric):
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    monkeypatch.setattr(module, "BLOCK_ROWS", 32)
    monkeypatch.setattr(module, "BLOCK_CLUSTERS", 16)  # several passes in between
    x, speakers = voices(2000, 6, noise=0.02)
    assert same(cluster(x, linkage=linkage, threshold=1.5 if metric == "euclidean" else 0.2, metric=metric), speakers)
    assert same(cluster(x, linkage=linkage, num_clusters=6, metric=metric), speakers)
    threshold = 0.5 if linkage != "complete" else 0.3
    within = dict(linkage=linkage, threshold=threshold, metric="cosine")
    for count in (1, 2, 9, 50, 1999, 2000):
        assert len(set(cluster_within(x, SpeakerBounds(count, count), **within).tolist())) == count


def test_two_stages_keep_groups_apart_and_meet_counts(monkeypatch):
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    monkeypatch.setattr(module, "BLOCK_ROWS", 32)
    x, _ = voices(900, 3, noise=0.5)
    groups = np.arange(900) // 3
    groups[groups % 5 == 0] = -1
    labels = cluster(x, linkage="average", threshold=0.9, groups=groups)
    held = groups >= 0
    assert len(set(zip(groups[held].tolist(), labels[held].tolist(), strict=True))) == held.sum()
    for count in (1, 2, 3, 40):
        labels = cluster_within(x, SpeakerBounds(count, count), linkage="average", threshold=0.9, groups=groups)
        assert len(set(labels.tolist())) == count


def test_order_of_rows_does_not_matter():
    x, _ = voices(120, 5, noise=0.3)
    order = np.random.default_rng(1).permutation(120)
    labels = cluster(x, linkage="average", threshold=0.6)
    assert same(cluster(x[order], linkage="average", threshold=0.6), labels[order])


def test_nothing_one_two_and_duplicates():
    empty = cluster(np.zeros((0, 3)), linkage="average", threshold=0.5)
    assert empty.shape == (0,) and empty.dtype == np.int64
    assert cluster(np.ones((1, 3)), linkage="centroid", threshold=0.5, min_size=4).tolist() == [0]
    assert cluster(np.eye(2), linkage="complete", threshold=0.5).tolist() in ([0, 1], [1, 0])
    assert set(cluster(np.ones((300, 3)), linkage="average", threshold=0.0).tolist()) == {0}


def test_many_duplicates_in_two_stages(monkeypatch):
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    monkeypatch.setattr(module, "BLOCK_ROWS", 8)
    x = np.repeat(np.eye(4)[:3], 400, axis=0)
    assert same(cluster(x, linkage="average", threshold=0.2), np.repeat([0, 1, 2], 400))
    assert len(set(cluster(x, linkage="average", num_clusters=17).tolist())) == 17


def test_bad_input_is_told_in_a_line():
    x = np.ones((4, 2))
    x[2] = np.nan
    with pytest.raises(UsageError, match="row 2"):
        cluster(x, linkage="average", threshold=0.5)
    with pytest.raises(UsageError, match="row 2 of the embeddings is not finite"):
        cluster(x, linkage="average", threshold=0.5, metric="euclidean")
    with pytest.raises(UsageError, match="row 0 of the vectors is zero"):
        cluster(np.zeros((4, 2)), linkage="average", threshold=0.5)
    with pytest.raises(UsageError, match="as many groups"):
        cluster(np.ones((4, 2)), linkage="average", threshold=0.5, groups=np.zeros(3, int))
    with pytest.raises(UsageError, match="either a threshold or a number"):
        cluster(np.ones((4, 2)), linkage="average")
    with pytest.raises(UsageError, match="must be 1 or more"):
        cluster(np.ones((4, 2)), linkage="average", num_clusters=0)
    with pytest.raises(UsageError, match="n, dimension"):
        cluster(np.ones(4), linkage="average", threshold=0.5)


def test_a_long_recording_of_the_same_sound_over_and_over():
    """Rows that come again are at distance 0, or a rounding below: scipy refuses trees with negative heights."""
    rng = np.random.default_rng(0)
    once = rng.normal(size=(700, 192)).astype(np.float32)
    rows = np.tile(once, (8, 1))
    labels = cluster(rows, linkage="average", threshold=0.1)
    assert len(np.unique(labels)) == 700
    assert all(len(np.unique(labels[i::700])) == 1 for i in range(0, 700, 50))
