from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diarist.models.pooling import weighted_statistics


@given(st.integers(0, 1000), st.floats(-100, 100))
def test_ones_and_zeros_choose_maps(seed, offset):
    rng = np.random.default_rng(seed)
    maps = (offset + rng.normal(size=(2, 30, 5))).astype(np.float32)
    weights = (rng.random((2, 3, 30)) < rng.random()).astype(np.float32)
    found = weighted_statistics(maps, weights, min_frames=2)
    for row, local in np.ndindex(2, 3):
        chosen = maps[row, weights[row, local] > 0].astype(np.float64)
        if len(chosen) < 2:
            assert np.isnan(found[row, local]).all()
        else:
            expected = np.concatenate([chosen.mean(axis=0), chosen.std(axis=0, ddof=1)])
            np.testing.assert_allclose(found[row, local], expected, rtol=1e-3, atol=2e-3)


def test_weights_between_follow_the_formula():
    rng = np.random.default_rng(0)
    maps, weights = rng.normal(size=(1, 40, 3)), rng.random((1, 1, 40))
    found = weighted_statistics(maps.astype(np.float32), weights.astype(np.float32), min_frames=2)[0, 0]
    w = weights[0, 0][:, None]
    mean = (w * maps[0]).sum(axis=0) / w.sum()
    variance = (w * (maps[0] - mean) ** 2).sum(axis=0) / (w.sum() - (w**2).sum() / w.sum())
    np.testing.assert_allclose(found, np.concatenate([mean, np.sqrt(variance)]), rtol=1e-4, atol=1e-4)


def test_one_map_has_no_deviation():
    maps = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    found = weighted_statistics(maps, np.eye(4, dtype=np.float32)[None], min_frames=1)
    np.testing.assert_allclose(found[0], np.hstack([maps[0], np.zeros((4, 2))]), atol=1e-6)
