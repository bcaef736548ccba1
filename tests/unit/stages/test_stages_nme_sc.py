from __future__ import annotations

import numpy as np
import pytest

from diarist.core.types import SpeakerBounds
from diarist.stages import nme_sc
from diarist.stages.nme_sc import NmeSc
from diarist.stages.torch_random import TorchRandom


def blobs(num_speakers, num, seed, noise=0.6):
    rng = np.random.default_rng(seed)
    owners = np.sort(np.arange(num) % num_speakers)
    voices = np.linalg.qr(rng.normal(size=(64, num_speakers)))[0].T
    rows = voices[owners] + noise / 8 * rng.normal(size=(num, 64))
    return rows.astype(np.float32), owners


def same_partition(labels, owners):
    return len(set(zip(labels.tolist(), owners.tolist(), strict=True))) == len(set(owners)) == len(set(labels))


def cluster(rows, bounds=None, **options):
    return NmeSc(**options)(nme_sc.similarity(rows), rows, bounds or SpeakerBounds())


@pytest.mark.parametrize("num_speakers", [2, 3, 5])
@pytest.mark.parametrize("seed", range(20))
def test_counts_and_finds_speakers(num_speakers, seed):
    rows, owners = blobs(num_speakers, 120, seed)
    assert same_partition(cluster(rows), owners)


@pytest.mark.parametrize("num_speakers", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_counts_few_rows_with_anchors(num_speakers, seed):
    rows, owners = blobs(num_speakers, 40, seed, noise=0.3)
    assert same_partition(cluster(rows * 0.3), owners)  # anchors are noisier the wider the rows are


@pytest.mark.parametrize("num", range(9))
def test_hardly_any_rows(num):
    rows, _ = blobs(1, num, 0) if num else (np.zeros((0, 64), np.float32), None)
    labels = cluster(rows)
    assert labels.shape == (num,)
    assert labels.dtype == np.int64
    if num:
        assert labels.min() >= 0


@pytest.mark.parametrize("num", [5, 30, 200])
@pytest.mark.parametrize("bounds", [(1, 1), (2, 2), (4, 4), (3, None), (1, 2), (12, None)])
def test_bounds_are_met(num, bounds):
    rows, _ = blobs(3, num, 1)
    labels = cluster(rows, SpeakerBounds(*bounds))
    count = len(np.unique(labels))
    assert min(bounds[0], num) <= count <= (bounds[1] or num)


def test_rows_that_are_all_the_same():
    rows = np.ones((50, 64), np.float32)
    assert len(cluster(rows)) == 50
    assert len(np.unique(cluster(rows, SpeakerBounds(3, 3)))) == 3


def test_a_fixed_share_and_a_vote():
    rows, owners = blobs(3, 150, 0)
    assert same_partition(cluster(rows, fixed_thres=0.2), owners)
    assert same_partition(cluster(rows, maj_vote_spk_count=True), owners)


def test_long_recordings_in_chunks():
    rows, owners = blobs(4, 1500, 2)
    order = np.random.default_rng(0).permutation(1500)
    labels = NmeSc(embeddings_per_chunk=400).long(rows[order], SpeakerBounds())
    assert same_partition(labels, owners[order])
    assert len(np.unique(NmeSc(embeddings_per_chunk=400).long(rows, SpeakerBounds(2, 2)))) == 2


def test_iteration_finds_the_same_eigenvectors():
    rows, _ = blobs(4, 300, 3, noise=1.5)
    graph = nme_sc.tied(nme_sc.similarity(rows), 40)
    dense, found = nme_sc.low_eigenvectors(graph, 5), nme_sc._iterated(graph.copy(), 5)
    np.testing.assert_allclose(np.abs((dense * found).sum(axis=0)), 1, atol=1e-2)


def test_similarity_reaches_from_zero_to_one():
    rows, _ = blobs(3, 30, 0)
    found = nme_sc.similarity(rows)
    assert (found.min(), found.max()) == (0, 1)
    np.testing.assert_array_equal(np.diag(found), 1)
    np.testing.assert_allclose(nme_sc.similarity(rows * 100), found, atol=1e-3)


def test_ties_one_way_count_half():
    similarity = np.array([[1, 0.9, 0.1], [0.9, 1, 0.8], [0.1, 0.8, 1]], np.float32)
    np.testing.assert_array_equal(nme_sc.tied(similarity, 1), np.eye(3))
    np.testing.assert_array_equal(nme_sc.tied(similarity, 2), [[1, 1, 0], [1, 1, 0.5], [0, 0.5, 1]])
    laplacian = nme_sc.laplacian(nme_sc.tied(similarity, 2))
    np.testing.assert_array_equal(laplacian, [[1, -1, 0], [-1, 1.5, -0.5], [0, -0.5, 0.5]])


def test_a_graph_in_two_parts_is_not_connected():
    rows, _ = blobs(2, 20, 0)
    similarity = nme_sc.similarity(rows)
    assert not nme_sc.connected(nme_sc.tied(similarity, 3))
    assert nme_sc.connected(nme_sc.tied(similarity, 20))


def test_every_run_is_the_same():
    rows, _ = blobs(3, 60, 5, noise=2.0)
    np.testing.assert_array_equal(cluster(rows), cluster(rows))


def test_chance_is_normal_and_uniform():
    random = TorchRandom(3)
    values = random.normal(100, 100)
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02
    uniform = random.uniform(10_000)
    assert 0 <= uniform.min() < uniform.max() < 1
    assert {random.integer(3) for _ in range(50)} == {0, 1, 2}
    assert TorchRandom(0).normal(1, 5).shape == (1, 5)
    # torch.manual_seed(0); torch.rand(3); torch.randint(0, 77, (1,))
    fixed = TorchRandom(0)
    np.testing.assert_allclose(fixed.uniform(3), [0.4962566, 0.7682218, 0.0884774], atol=1e-6)
