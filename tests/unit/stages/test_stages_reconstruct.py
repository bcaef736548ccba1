"""Streaming overlap-add equals the dense arrays that it never makes."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from diarist.core.time import Axis
from diarist.errors import UsageError
from diarist.stages import reconstruct as module
from diarist.stages.reconstruct import (
    NOBODY,
    Grid,
    aggregate,
    assign,
    frames_alone,
    overlap_add,
    soft_clusters,
    speaker_count,
    to_track,
    top_speakers,
)

GRID = Grid(Axis(1000, 300), Axis(90, 40))  # a chunk is 23 frames, of 25 that its samples would fill
NUM_FRAMES, NUM_LOCAL = 23, 3


def talk(num_chunks, seed=0):
    return np.random.default_rng(seed).random((num_chunks, NUM_FRAMES, NUM_LOCAL)) > 0.6


def dense(values, num_frames):
    """Every chunk in its place: `(num_chunks, num_frames, columns)`, NaN outside."""
    out = np.full((len(values), num_frames, values.shape[2]), np.nan)
    for chunk, value in enumerate(values):
        first = round(chunk * 300 / 40)
        out[chunk, first : first + NUM_FRAMES] = value
    return out


@pytest.fixture(params=[1, 10, 4096], autouse=True)
def block(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_FRAMES", request.param)


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 40])
def test_means_and_counts_are_those_of_the_dense_array(num_chunks):
    active = talk(num_chunks)
    num_frames = GRID.num_frames(num_chunks)
    assert num_frames == round(((num_chunks - 1) * 300 + 1000) / 40) + 1
    everything = dense(active.astype(float), num_frames)
    covered = ~np.isnan(everything[:, :, 0]).all(axis=0)
    means = np.concatenate(list(aggregate(iter(active), GRID)))
    np.testing.assert_allclose(means, np.nanmean(everything[:, covered], axis=0), rtol=1e-6)
    numbers = everything.sum(axis=2)
    expected = np.zeros(num_frames, int)
    expected[covered] = np.rint(np.nanmean(numbers[:, covered], axis=0))
    count = speaker_count(iter(active), GRID)
    assert count.dtype == np.uint8 and count.tolist() == expected.tolist()


def test_a_warm_up_counts_only_where_there_is_nothing_else():
    active = np.zeros((3, NUM_FRAMES, 1))
    active[:, :4] = active[:, -4:] = 1  # all that is said, is said in the warm-up
    count = speaker_count(iter(active), GRID, warm_up=4)
    assert count[:4].tolist() == [1] * 4  # the start of the recording, which only the first chunk hears
    last = round(600 / 40) + NUM_FRAMES
    assert count[last - 4 : last].tolist() == [1] * 4
    assert count[4 : last - 4].sum() == 0
    heard = [np.concatenate(list(aggregate(iter(active), GRID, warm_up=w)))[8, 0] for w in (0, 4)]
    assert heard == pytest.approx([0.5, 0], abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_the_most_heard_talk(num_chunks, num_clusters, seed, fill):
    rng = np.random.default_rng(seed)
    active = talk(num_chunks, seed)
    clusters = np.array([rng.permutation(np.r_[np.arange(num_clusters), [-2] * 3])[:3] for _ in range(num_chunks)])
    count = speaker_count(iter(active), GRID)
    chosen = top_speakers(iter(active), clusters, count, GRID, fill=fill)
    columns = max(clusters.max() + 1, int(count.max()))
    heard = np.zeros((len(count), columns))
    for chunk, local in itertools.product(range(num_chunks), range(NUM_LOCAL)):
        if clusters[chunk, local] >= 0:
            first = GRID.first(chunk)
            heard[first : first + NUM_FRAMES, clusters[chunk, local]] += active[chunk, :, local]
    for frame, talking in enumerate(count.tolist()):
        ranked = sorted(range(columns), key=lambda k: (-heard[frame, k], k))[:talking]
        expected = ranked if fill else [k for k in ranked if heard[frame, k] > 0]
        assert [k for k in chosen[frame].tolist() if k != NOBODY] == expected
    track = to_track(chosen, columns, GRID.frames)
    assert track.scores.shape == (len(count), columns)
    assert (track.scores.sum(axis=1) == (chosen != NOBODY).sum(axis=1)).all()


def test_two_local_speakers_of_one_cluster_count_once():
    active = np.ones((1, NUM_FRAMES, 3))
    clusters = np.array([[0, 0, 1]])
    chosen = top_speakers(iter(active), clusters, np.full(26, 2, np.uint8), GRID, fill=False)
    assert chosen[:NUM_FRAMES].tolist() == [[0, 1]] * NUM_FRAMES
    assert (chosen[NUM_FRAMES:] == NOBODY).all()


def test_nothing_gives_nothing():
    empty = iter(np.zeros((0, NUM_FRAMES, 3)))
    count = speaker_count(empty, GRID)
    assert count.shape == (0,)
    assert top_speakers(iter(()), np.zeros((0, 3), int), count, GRID, fill=True).shape == (0, 0)
    silent = np.zeros((2, NUM_FRAMES, 3))
    count = speaker_count(iter(silent), GRID)
    assert top_speakers(iter(silent), np.full((2, 3), -1), count, GRID, fill=True).shape == (len(count), 0)


def test_chunks_far_apart_leave_silence_between():
    pieces = [(0, np.ones((3, 2))), (20, np.ones((3, 2))), (21, np.ones((3, 2)))]
    blocks = list(overlap_add(iter(pieces)))
    sums = np.concatenate([s for s, _ in blocks])
    weights = np.concatenate([w for _, w in blocks])
    assert weights.tolist() == [1] * 3 + [0] * 17 + [1, 2, 2, 1]
    np.testing.assert_array_equal(sums, np.repeat(weights[:, None], 2, axis=1))


def test_chunks_out_of_order_are_told():
    with pytest.raises(UsageError, match="in order of time"):
        list(overlap_add(iter([(9000, np.ones((3, 1))), (0, np.ones((3, 1)))])))


def test_memory_is_that_of_the_window():
    grid = Grid(Axis(160_000, 16_000), Axis(991, 270))
    chunk = np.ones((589, 3))

    def hours():
        for _ in range(3600 * 2):
            yield chunk

    tracemalloc.start()
    for mean in aggregate(hours(), grid):
        assert mean.shape[1] == 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6  # the means alone are 5.1 MB, the dense array 51 GB


def test_frames_alone():
    active = talk(4)
    talking, alone = frames_alone(iter(active))
    assert talking.tolist() == active.sum(axis=1).tolist()
    assert alone.tolist() == (active & (active.sum(axis=2, keepdims=True) == 1)).sum(axis=1).tolist()


def test_likeness_is_one_plus_the_cosine():
    rng = np.random.default_rng(0)
    embeddings, centroids = rng.normal(size=(5, 3, 8)), rng.normal(size=(4, 8))
    likeness = soft_clusters(embeddings, centroids)
    expected = 2 - cdist(embeddings.reshape(-1, 8), centroids, "cosine").reshape(5, 3, 4)
    np.testing.assert_allclose(likeness, expected)
    embeddings[1, 2], embeddings[0, 0] = np.nan, 0
    assert np.isnan(soft_clusters(embeddings, centroids)).all(axis=2).sum() == 2


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
