"""Streaming reconstruction equals the dense arrays that it never makes."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from diarist.errors import UsageError
from diarist.stages import reconstruct as module
from diarist.stages.assign import NOBODY
from diarist.stages.reconstruct import assign, frames_alone, soft_clusters, top_speakers

NUM_FRAMES, NUM_LOCAL, STEP = 23, 3, 7


def talk(num_chunks, seed=0):
    return np.random.default_rng(seed).random((num_chunks, NUM_FRAMES, NUM_LOCAL)) > 0.6


def placed(active, whom, step=STEP):
    return ((chunk * step, a, w) for chunk, (a, w) in enumerate(zip(active, whom, strict=True)))


@pytest.fixture(params=[1, 10, 4096], autouse=True)
def block(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", request.param)
    monkeypatch.setattr(module, "BLOCK_ROWS", request.param)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 99), st.booleans(), st.integers(-9, 9))
def test_the_most_heard_talk(num_chunks, num_speakers, seed, fill, longer):
    rng = np.random.default_rng(seed)
    active = talk(num_chunks, seed)
    whom = np.array([rng.permutation(np.r_[np.arange(num_speakers), [-2] * 3])[:3] for _ in range(num_chunks)])
    num_frames = STEP * (num_chunks - 1) + NUM_FRAMES + longer  # chunks may stick out, or end before
    count = rng.integers(0, min(3, num_speakers) + 1, num_frames).astype(np.uint8)
    chosen, share = top_speakers(placed(active, whom), count, num_speakers, fill=fill)
    heard = np.zeros((num_frames + NUM_FRAMES, num_speakers))
    for chunk, local in itertools.product(range(num_chunks), range(NUM_LOCAL)):
        if whom[chunk, local] >= 0:
            heard[chunk * STEP : chunk * STEP + NUM_FRAMES, whom[chunk, local]] += active[chunk, :, local]
    assert chosen.shape == (num_frames, count.max(initial=0)) and chosen.dtype == np.int32
    for frame, talking in enumerate(count.tolist()):
        ranked = sorted(range(num_speakers), key=lambda k: (-heard[frame, k], k))[:talking]
        expected = ranked if fill else [k for k in ranked if heard[frame, k] > 0]
        assert chosen[frame].tolist() == expected + [NOBODY] * (chosen.shape[1] - len(expected))
        total = heard[frame].sum()
        assert share[frame] == pytest.approx(heard[frame, ranked].sum() / total if total else 0)


def test_two_local_speakers_of_one_cluster_count_once():
    chunks = [(0, np.ones((4, 3)), np.array([0, 0, 1])), (0, np.ones((4, 3)), np.array([1, NOBODY, NOBODY]))]
    chosen, share = top_speakers(chunks, np.full(6, 1, np.uint8), 2, fill=False)
    assert chosen[:, 0].tolist() == [1] * 4 + [NOBODY] * 2
    assert share.tolist() == pytest.approx([2 / 3] * 4 + [0] * 2)


def test_nothing_gives_nothing():
    chosen, share = top_speakers(iter(()), np.zeros(0, np.uint8), 3, fill=True)
    assert chosen.shape == (0, 0) and share.shape == (0,)
    chosen, share = top_speakers(iter(()), np.zeros(5, np.uint8), 0, fill=True)
    assert chosen.shape == (5, 0) and not share.any()
    chosen, _ = top_speakers(iter(()), np.full(5, 2, np.uint8), 2, fill=True)  # silent ones, as many as asked for
    assert chosen.tolist() == [[0, 1]] * 5


def test_chunks_out_of_order_are_told():
    chunk = (np.ones((3, 1)), np.array([0]))
    with pytest.raises(UsageError, match="in order of time"):
        top_speakers([(9000, *chunk), (0, *chunk)], np.ones(9003, np.uint8), 1, fill=False)


def test_memory_is_that_of_the_answer():
    chunk, whom, num_chunks = np.ones((589, 3)), np.arange(3), 3600
    count = np.full(num_chunks * 59, 1, np.uint8)
    tracemalloc.start()
    chosen, _ = top_speakers(((i * 59, chunk, whom) for i in range(num_chunks)), count, 50, fill=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (chosen == 0).all()
    assert peak < 12e6  # the answer is 1.7 MB; chunks x frames x speakers would be 106 million values


def test_frames_alone():
    active = talk(4)
    talking, alone = frames_alone(iter(active))
    assert talking.tolist() == active.sum(axis=1).tolist()
    assert alone.tolist() == (active & (active.sum(axis=2, keepdims=True) == 1)).sum(axis=1).tolist()


def test_likeness_is_one_plus_the_cosine():
    rng = np.random.default_rng(0)
    embeddings, centroids = rng.normal(size=(15, 8)), rng.normal(size=(4, 8))
    np.testing.assert_allclose(soft_clusters(embeddings, centroids), 2 - cdist(embeddings, centroids, "cosine"))
    embeddings[1, 2], embeddings[0] = np.nan, 0
    assert np.isnan(soft_clusters(embeddings, centroids)).all(axis=1).tolist() == [True] * 2 + [False] * 13


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_assignment_is_the_best_of_all(num_local, num_clusters, seed):
    likeness = np.random.default_rng(seed).random((3, num_local, num_clusters))
    whom = assign(likeness, apart=True)
    for chunk in range(3):
        taken = whom[chunk][whom[chunk] != NOBODY].tolist()
        assert len(taken) == len(set(taken)) == min(num_local, num_clusters)
        value = sum(likeness[chunk, i, k] for i, k in enumerate(whom[chunk].tolist()) if k != NOBODY)
        small, large = sorted((num_local, num_clusters))
        table = likeness[chunk] if num_local <= num_clusters else likeness[chunk].T
        best = max(sum(table[i, p[i]] for i in range(small)) for p in itertools.permutations(range(large), small))
        assert value == pytest.approx(best)
    assert assign(likeness, apart=False).tolist() == likeness.argmax(axis=2).tolist()


def test_assignment_of_nobody_known():
    assert assign(np.full((2, 3, 2), np.nan), apart=True).shape == (2, 3)
    assert (assign(np.zeros((2, 3, 0)), apart=False) == NOBODY).all()
    likeness = np.array([[[0.1, 0.9], [np.nan, np.nan], [0.2, 0.3]]])
    assert assign(likeness, apart=True).tolist() == [[1, NOBODY, 0]]
