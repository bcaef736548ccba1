"""NME-SC: finds what is there, honours bounds, keeps groups apart, and stands odd input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import SpeakerBounds
from diarist.errors import UsageError
from diarist.stages import spectral as module
from diarist.stages.spectral import cluster_within, kmeans

OPTIONS = dict(max_ties=0.3, max_speakers=8)


def voices(num, num_speakers, seed=0, noise=0.3, dimension=32):
    rng = np.random.default_rng(seed)
    means = np.linalg.qr(rng.normal(size=(dimension, num_speakers)))[0].T
    speakers = np.arange(num) % num_speakers
    return means[speakers] + noise * rng.normal(size=(num, dimension)) / np.sqrt(dimension), speakers


def same(a, b):
    pairs = set(zip(np.asarray(a).tolist(), np.asarray(b).tolist(), strict=True))
    return len(pairs) == len(set(np.asarray(a).tolist())) == len(set(np.asarray(b).tolist()))


@pytest.mark.parametrize("num_speakers", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_finds_the_number_and_the_members(num_speakers, noise):
    x, speakers = voices(140, num_speakers, noise=noise)
    assert same(cluster_within(x, SpeakerBounds(), **OPTIONS), speakers)


def test_a_large_recording_is_sampled(monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 200)
    monkeypatch.setattr(module, "SEARCH_ROWS", 100)
    x, speakers = voices(3000, 4, noise=0.8)
    assert same(cluster_within(x, SpeakerBounds(), **OPTIONS), speakers)
    assert len(set(cluster_within(x, SpeakerBounds(9, 9), **OPTIONS).tolist())) == 9


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 25), st.integers(1, 12), st.integers(0, 6), st.integers(0, 99), st.booleans(), st.booleans())
def test_bounds_are_met_whenever_rows_allow(num, least, more, seed, alike, grouped):
    rng = np.random.default_rng(seed)
    x = np.ones((num, 4)) if alike else rng.normal(size=(num, 4))
    groups = rng.integers(-1, 5, size=num) if grouped else None
    labels = cluster_within(x, SpeakerBounds(least, least + more), groups=groups, **OPTIONS)
    assert labels.shape == (num,)
    found = len(set(labels.tolist()))
    assert min(least, num) <= found <= max(1, min(least + more, num)) or num == 0
    assert sorted(set(labels.tolist())) == list(range(found))


def test_groups_stay_apart_while_there_are_labels():
    x, _ = voices(60, 3, noise=1.5)
    groups = np.arange(60) // 2
    labels = cluster_within(x, SpeakerBounds(3, 3), groups=groups, **OPTIONS)
    assert all(len(set(labels[groups == g].tolist())) == 2 for g in range(30))
    crowd = cluster_within(x, SpeakerBounds(3, 3), groups=np.zeros(60, int), **OPTIONS)
    assert len(set(crowd.tolist())) == 3


def test_the_same_each_time():
    x, _ = voices(90, 4, noise=3.0)
    first = cluster_within(x, SpeakerBounds(4, 4), **OPTIONS)
    assert np.array_equal(first, cluster_within(x, SpeakerBounds(4, 4), **OPTIONS))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(1, 35), st.integers(0, 99), st.booleans())
def test_kmeans_leaves_no_cluster_empty(num, num_clusters, seed, alike):
    points = np.zeros((num, 2)) if alike else np.random.default_rng(seed).normal(size=(num, 2))
    labels = kmeans(points, num_clusters, seed=seed)
    assert sorted(set(labels.tolist())) == list(range(min(num, num_clusters)))


def test_kmeans_finds_heaps():
    heaps = np.repeat(np.eye(5) * 10, 20, axis=0) + np.random.default_rng(0).normal(size=(100, 5))
    assert same(kmeans(heaps, 5), np.repeat(np.arange(5), 20))


def test_bad_input_is_told_in_a_line():
    with pytest.raises(UsageError, match="row 1 of the vectors"):
        cluster_within(np.array([[1.0, 0], [np.nan, 0]]), SpeakerBounds(), **OPTIONS)
    with pytest.raises(UsageError, match="as many groups"):
        cluster_within(np.ones((3, 2)), SpeakerBounds(), groups=np.zeros(2, int), **OPTIONS)
