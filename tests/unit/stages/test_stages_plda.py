"""PLDA: fitting finds the directions that made the data; projecting whitens."""

import numpy as np
import pytest

from diarist.errors import UsageError, WeightsError
from diarist.stages.plda import Plda, XvectorPlda, unit_length


def voices(num_classes=300, per_class=10, dimension=20, seed=0):
    """Unit vectors near a common mean, with speakers spread over the first five directions more than noise is."""
    rng = np.random.default_rng(seed)
    spread = np.r_[np.full(5, 0.2), np.full(dimension - 5, 0.02)]
    means = rng.normal(size=(num_classes, dimension)) * spread + np.eye(dimension)[-1]
    classes = np.repeat(np.arange(num_classes), per_class)
    return means[classes] + 0.1 * rng.normal(size=(len(classes), dimension)), classes


def test_fit_follows_its_definition():
    x, classes = voices()
    plda = Plda.fit(x, classes, rank=4, shrink=0.1)
    unit = unit_length(x)
    means = np.array([unit[classes == c].mean(0) for c in range(300)])
    within = sum((unit[classes == c] - means[c]).T @ (unit[classes == c] - means[c]) for c in range(300)) / (3000 - 300)
    shrunk = 0.9 * within + 0.1 * np.trace(within) / 20 * np.eye(20)
    between = np.cov(means.T) - within / 6
    np.testing.assert_allclose(plda.mu, means.mean(0))
    np.testing.assert_allclose(plda.projection.T @ shrunk @ plda.projection, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(plda.projection.T @ between @ plda.projection, np.diag(plda.psi), atol=1e-9)
    assert (np.diff(plda.psi) <= 0).all()
    assert (
        np.abs(np.linalg.qr(plda.projection)[0][:5]) ** 2
    ).sum() > 3.5  # of 4: they lie in the first five directions


def test_classes_of_few_windows_count_for_the_mean_only():
    x, classes = voices()
    odd = np.vstack([x, x[:3]])
    extended = Plda.fit(odd, np.r_[classes, [900, 901, 902]], rank=4, shrink=0.1)
    np.testing.assert_allclose(extended.psi, Plda.fit(x, classes, rank=4, shrink=0.1).psi, rtol=0.01)
    assert np.abs(extended.mu - Plda.fit(x, classes, rank=4, shrink=0.1).mu).max() > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_project_has_the_length_that_the_model_expects(dtype):
    x, classes = voices()
    plda = Plda.fit(x, classes, rank=5, shrink=0.1)
    offset = 0.01 * np.arange(20)
    y = plda.project(plda.center(x.astype(dtype)), offset)
    assert y.dtype == dtype
    np.testing.assert_allclose((y.astype(float) ** 2).sum(1), np.sum(1 + plda.psi), rtol=1e-5)
    raw = (x / np.linalg.norm(x, axis=1, keepdims=True) - plda.mu - offset) @ plda.projection
    np.testing.assert_allclose(y / np.linalg.norm(y, axis=1)[:, None], unit_length(raw), atol=1e-4)


def test_saved_and_loaded_is_the_same(tmp_path):
    plda = Plda.fit(*voices(), rank=3, shrink=0.1)
    plda.save(tmp_path / "plda.npz")
    again = Plda.load(tmp_path / "plda.npz")
    assert all(np.array_equal(getattr(plda, k), getattr(again, k)) for k in ("mu", "projection", "psi"))


def test_xvector_plda_diagonalises_both_covariances(tmp_path):
    rng = np.random.default_rng(0)
    tr, psi = rng.normal(size=(4, 4)), np.array([0.5, 3.0, 1.0, 2.0])
    np.savez(tmp_path / "x.npz", mean1=rng.normal(size=6), mean2=rng.normal(size=4), lda=rng.normal(size=(6, 4)))
    np.savez(tmp_path / "p.npz", mu=rng.normal(size=4), tr=tr, psi=psi)
    plda = XvectorPlda.load(tmp_path / "x.npz", tmp_path / "p.npz")
    within = np.linalg.inv(tr.T @ tr)
    np.testing.assert_allclose(plda.psi, np.sort(psi)[::-1], rtol=1e-9)
    np.testing.assert_allclose(plda.directions @ within @ plda.directions.T, np.eye(4), atol=1e-9)
    normalized = plda.normalize(rng.normal(size=(5, 6)))
    np.testing.assert_allclose(np.linalg.norm(normalized, axis=1), 2.0)
    np.testing.assert_allclose(plda.project(normalized), (normalized - plda.mu) @ plda.directions.T)


def test_bad_input_is_told_in_a_line(tmp_path):
    x, classes = voices(num_classes=5)
    with pytest.raises(UsageError, match="row 2 of the vectors is zero or not finite"):
        unit_length(np.array([[1.0, 0], [0, 1], [0, 0]]))
    with pytest.raises(UsageError, match="row 0 of the vectors"):
        unit_length(np.array([[np.nan, 0]]))
    with pytest.raises(UsageError, match="vectors must come as"):
        unit_length(np.ones(3))
    with pytest.raises(UsageError, match="needs 2 or more classes"):
        Plda.fit(x, np.arange(len(x)), rank=3, shrink=0.1)
    with pytest.raises(UsageError, match="lower the rank"):
        Plda.fit(x, classes, rank=20, shrink=0.1)
    with pytest.raises(UsageError, match="a PLDA needs mu"):
        Plda(np.zeros(3), np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(WeightsError, match="not an npz file with mu, L, psi"):
        Plda.load(tmp_path / "nothing.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "other.npz", mu=np.zeros(3))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not a zip")
    for name in ("bad.npz", "array.npy", "other.npz"):
        with pytest.raises(WeightsError, match="not an npz file with mu, L, psi"):
            Plda.load(tmp_path / name)
