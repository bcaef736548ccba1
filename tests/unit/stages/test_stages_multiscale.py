from __future__ import annotations

import numpy as np
import pytest

from diarist.stages import multiscale
from diarist.stages.nme_sc import similarity


def test_a_stretch_is_cut_up_to_its_end():
    found = multiscale.subsegments(np.array([[12.05, 14.45]]), 1.5, 0.75)
    np.testing.assert_allclose(found, [[12.05, 13.55], [12.8, 14.3], [13.55, 14.45]])
    np.testing.assert_allclose(multiscale.subsegments(np.array([[1.0, 1.9]]), 1.9, 0.95), [[1.0, 1.9]])
    assert multiscale.subsegments(np.array([[1.0, 1.05]]), 0.5, 0.25).shape == (0, 2)
    assert multiscale.subsegments(np.zeros((0, 2)), 0.5, 0.25).shape == (0, 2)


def test_windows_map_to_the_nearest_middle():
    base = np.array([[0.0, 0.5], [0.5, 1.0], [1.0, 1.5], [3.0, 3.5]])
    np.testing.assert_array_equal(multiscale.mapped(base, np.array([[0.0, 1.0], [0.8, 1.8], [2.5, 3.5]])), [0, 0, 1, 2])
    np.testing.assert_array_equal(multiscale.mapped(base, np.array([[0.0, 9.0]])), [0, 0, 0, 0])


@pytest.mark.parametrize("seed", range(10))
def test_the_mapping_is_brute_force(seed):
    rng = np.random.default_rng(seed)
    speech = np.cumsum(rng.uniform(0.1, 3, (8, 2)), axis=None).reshape(8, 2)
    base, longer = (multiscale.subsegments(speech, window, window / 2) for window in (0.5, 1.3))
    distance = np.abs(base.mean(axis=1)[:, None] - longer.mean(axis=1))
    found = multiscale.mapped(base, longer)
    np.testing.assert_allclose(distance[np.arange(len(base)), found], distance.min(axis=1), atol=1e-5)


def test_scales_are_summed_by_weight():
    rng = np.random.default_rng(0)
    speech = np.array([[0.0, 4.0], [5.0, 7.0]])
    times = [multiscale.subsegments(speech, window, window / 2) for window in (1.5, 0.5)]
    rows = [rng.normal(size=(len(part), 32)).astype(np.float16).astype(np.float32) for part in times]
    fused = multiscale.fused_similarity(rows, times, (2.0, 1.0))
    index = multiscale.mapped(times[1], times[0])
    np.testing.assert_allclose(fused, 2 * similarity(rows[0])[np.ix_(index, index)] + similarity(rows[1]), atol=1e-5)
    summed = multiscale.fused_rows(rows, times, (2.0, 1.0))
    np.testing.assert_allclose(summed, 2 * rows[0][index] + rows[1], atol=1e-5)


def test_windows_part_in_the_middle_of_what_they_share():
    times = np.array([[0.0, 0.5], [0.25, 0.75], [0.5, 1.0], [2.0, 2.5]])
    assert multiscale.joined(times, np.array([0, 0, 1, 1])) == [(0.0, 0.625, 0), (0.625, 1.0, 1), (2.0, 2.5, 1)]
    assert multiscale.joined(times[:0], np.zeros(0, np.int64)) == []
