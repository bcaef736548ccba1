"""Rounds of reciprocal nearest neighbours grow scipy's tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy

from diarist.stages import reciprocal as module
from diarist.stages.reciprocal import Clusters, Forest, join


def singletons(rows, groups=None):
    owners = np.zeros(0, np.int64) if groups is None else np.flatnonzero(groups >= 0)
    return Clusters(
        rows.astype(np.float32),
        np.ones(len(rows), np.int64),
        np.arange(len(rows)),
        owners,
        owners if groups is None else groups[owners],
    )


def unit(num, seed, dimension=5):
    x = np.random.default_rng(seed).normal(size=(num, dimension))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(0, 999), st.integers(1, 50))
def test_average_linkage_on_cosine_is_exact(num, seed, strip):
    x, forest = unit(num, seed), Forest(num)
    module.STRIP_BYTES, kept = strip * 4 * num, module.STRIP_BYTES
    left = join(singletons(x), forest, np.inf, squared=False)
    module.STRIP_BYTES = kept
    assert len(left.nodes) == 1 and left.sizes[0] == num
    expected = hierarchy.linkage(x, "average", "cosine")
    np.testing.assert_allclose(np.sort(forest.tree[:, 2]), expected[:, 2], atol=1e-5)
    apart = np.flatnonzero(np.diff(expected[:, 2]) > 1e-4)[::5]  # a cut between two heights that rounding cannot swap
    for cut in (expected[apart, 2] + expected[apart + 1, 2]) / 2:
        ours, theirs = hierarchy.fcluster(forest.tree, cut, "distance"), hierarchy.fcluster(expected, cut, "distance")
        assert len(set(zip(ours.tolist(), theirs.tolist(), strict=True))) == len(set(theirs.tolist()))
        assert len(set(ours.tolist())) == len(set(theirs.tolist()))


@pytest.mark.parametrize("limit", [0.1, 0.3, 0.6])
def test_a_limit_stops_where_the_cut_would(limit):
    x, forest = unit(200, 3), Forest(200)
    left = join(singletons(x), forest, limit, squared=False)
    cut = hierarchy.fcluster(hierarchy.linkage(x, "average", "cosine"), limit, "distance")
    assert len(left.nodes) == cut.max()
    assert sorted(left.sizes.tolist()) == sorted(np.bincount(cut)[1:].tolist())
    tree = forest.close(left)
    assert hierarchy.is_valid_linkage(tree, throw=True)
    assert np.isinf(tree[:, 2]).sum() == len(left.nodes) - 1


def test_centroids_of_far_clusters():
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(5, 3)) * 10, 20, axis=0) + 0.1 * rng.normal(size=(100, 3))
    left = join(singletons(x), Forest(100), 3.0, squared=True)
    assert left.sizes.tolist() == [20] * 5
    np.testing.assert_allclose(left.means, x.reshape(5, 20, 3).mean(1), atol=1e-4)


def test_groups_stay_apart_and_follow_their_clusters():
    x = np.repeat(np.eye(3), 4, axis=0)  # twelve rows, three directions
    groups = np.array([0, 1, 2, 0] * 3)
    left = join(singletons(x, groups), Forest(12), 0.5, squared=False)
    assert sorted(left.sizes.tolist()) == [1, 1, 1, 3, 3, 3]  # the second row of group 0 stays alone
    for index in range(len(left.nodes)):
        own = left.groups[left.owners == index].tolist()
        assert len(own) == len(set(own))


def test_a_star_of_satellites_merges_into_its_hub():
    rng = np.random.default_rng(0)
    hub = np.zeros((1, 400))
    hub[0, 0] = 1
    satellites = np.sqrt(0.5) * (hub + np.eye(400)[1:301])  # near the hub, further from each other
    x = np.vstack([hub, satellites]) + 1e-4 * rng.normal(size=(301, 400))
    forest = Forest(301)
    join(singletons(x / np.linalg.norm(x, axis=1, keepdims=True)), forest, np.inf, squared=False)
    expected = hierarchy.linkage(x, "average", "cosine")
    np.testing.assert_allclose(np.sort(forest.tree[:, 2]), expected[:, 2], atol=1e-4)


def test_alike_rows_and_rings_end():
    forest = Forest(50)
    assert len(join(singletons(np.ones((50, 2)) / np.sqrt(2)), forest, np.inf, squared=False).nodes) == 1
    corners = np.array([[np.cos(a), np.sin(a)] for a in np.arange(7) * 2 * np.pi / 7])  # each as far as the next
    assert len(join(singletons(corners), Forest(7), np.inf, squared=False).nodes) == 1


def test_parts_and_concatenation_give_everything_back():
    groups = np.array([0, -1, 0, 1, 1, -1])
    whole = singletons(unit(6, 0), groups)
    again = Clusters.concatenate([whole.part(0, 2), whole.part(2, 6)])
    for name in ("means", "sizes", "nodes", "owners", "groups"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
