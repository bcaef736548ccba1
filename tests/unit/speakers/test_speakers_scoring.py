"""The scorer: what it says is what the Gaussian model says, and it can be fitted."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from diarist.errors import UsageError, WeightsError
from diarist.speakers.scoring import Evidence, Scorer, evidence_of, scorer_for
from diarist.speakers.voices import Voice


def scorer(rank=3, noise=2.0, **calibration):
    rng = np.random.default_rng(0)
    between = np.array([4.0, 2.0, 0.5])[:rank]
    mu, projection = rng.standard_normal(5) * 0.1, rng.standard_normal((5, rank))
    return Scorer(mu, projection, between, np.ones(rank), noise, **calibration)


def by_hand(model, groups):
    """Log density of all features of each group under a common mean, by full covariances; summed over groups."""
    total = 0.0
    for embeddings, seconds in groups:
        features = model.project(embeddings)
        for k in range(features.shape[1]):
            covariance = np.full((len(seconds), len(seconds)), model.between[k])
            covariance += np.diag(model.within[k] * (1 + model.noise / np.array(seconds)))
            total += multivariate_normal.logpdf(features[:, k], np.zeros(len(seconds)), covariance)
    return total


def test_the_ratio_is_that_of_the_densities():
    model, rng = scorer(), np.random.default_rng(1)
    one, other = rng.standard_normal((1, 5)), rng.standard_normal((3, 5))
    seconds, others = [4.0], [1.0, 7.0, 30.0]
    people = model.evidence(other, np.array(others)).sums(np.zeros(3, int), 1)
    found = model.log_ratios(model.evidence(one, np.array(seconds)), people)
    together = by_hand(model, [(np.vstack([one, other]), seconds + others)])
    assert found[0, 0] == pytest.approx(together - by_hand(model, [(one, seconds), (other, others)]))


def test_the_calibration_is_a_factor():
    plain, changed = scorer(), scorer(scale=0.5)
    rows = np.random.default_rng(2).standard_normal((4, 5))
    ratios = [m.log_ratios(*(m.evidence(rows, np.full(4, 9.0)),) * 2) for m in (plain, changed)]
    np.testing.assert_allclose(ratios[1], 0.5 * ratios[0])
    assert ratios[0].shape == (4, 4) and np.allclose(ratios[0], ratios[0].T)


def test_little_speech_says_little():
    model = scorer(noise=5.0)
    row = np.random.default_rng(3).standard_normal((1, 5))
    ratios = [
        model.log_ratios(*(model.evidence(row, np.array([seconds])),) * 2)[0, 0] for seconds in (0.1, 1.0, 10.0, 1000.0)
    ]
    assert ratios == sorted(ratios) and abs(ratios[0]) < 0.5


def synthetic(num_people=150, dimension=12, recordings=4, seed=0, noise=6.0):
    """Voices by the model itself, in a space of which half the dimensions tell people apart."""
    rng = np.random.default_rng(seed)
    spread = np.where(np.arange(dimension) < dimension // 2, 2.0, 0.1)
    people = np.repeat(np.arange(num_people), recordings)
    seconds = rng.uniform(2, 60, len(people))
    within = rng.standard_normal((len(people), dimension)) * np.sqrt(1 + noise / seconds)[:, None]
    mixing = np.random.default_rng(99).standard_normal((dimension, dimension))
    return (rng.standard_normal((num_people, dimension)) * spread)[people] @ mixing + within @ mixing, seconds, people


def test_a_fit_finds_what_tells_people_apart():
    rows, seconds, people = synthetic()
    model = Scorer.fit(rows, seconds, people, rank=6, noise=6.0, shrink=0.0)
    assert model.between == pytest.approx(np.full(6, 4.0), rel=0.4) and np.all(np.diff(model.between) <= 0)
    unseen, heard, owners = synthetic(80, seed=1)
    ratios = model.log_ratios(*(model.evidence(unseen, heard),) * 2)
    same = owners[:, None] == owners
    others = ~np.eye(len(owners), dtype=bool)
    assert np.median(ratios[same & others]) > 2 > -2 > np.median(ratios[~same])
    chance = 1 / (1 + np.exp(-np.clip(ratios, -50, 50)))
    weight = np.where(same, 1 / (same & others).sum(), 1 / (~same).sum())  # as many of one kind as of the other
    sure = others & (chance > 0.8) & (chance < 0.9)
    assert np.average(same[sure], weights=weight[sure]) == pytest.approx(0.85, abs=0.08)  # it means what it says


@pytest.mark.parametrize("changes", [{"rank": 0}, {"rank": 13}, {"people": np.arange(600)}])
def test_what_cannot_be_fitted(changes):
    rows, seconds, people = synthetic()
    values = {"people": people, "rank": 6, **changes}
    with pytest.raises(UsageError):
        Scorer.fit(rows, seconds, noise=6.0, shrink=0.0, **values)


def test_files(tmp_path):
    model = scorer(scale=0.3)
    model.save(tmp_path / "s.npz")
    again = Scorer.load(tmp_path / "s.npz")
    for name, value in vars(model).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    (tmp_path / "bad.npz").write_bytes(b"no")
    np.savez(tmp_path / "other.npz", mu=np.zeros(3))
    for bad in ("bad.npz", "other.npz", "none.npz"):
        with pytest.raises(WeightsError, match="fit_naming"):
            Scorer.load(tmp_path / bad)


def test_voices_that_do_not_fit():
    model = scorer()
    with pytest.raises(UsageError, match="5 numbers"):
        evidence_of(model, [[Voice(np.ones(4, np.float32), 3.0, "m")]])
    with pytest.raises(UsageError, match="different lengths"):
        evidence_of(model, [[Voice(np.ones(n, np.float32), 3.0, "m")] for n in (4, 5)])
    with pytest.raises(UsageError, match=r"not of 'mine\.onnx 0123 int8'.*--scorer"):
        scorer_for("mine.onnx 0123 int8")
    assert len(evidence_of(model, [])) == 0


def test_what_ships_loads():
    model = scorer_for("campplus-zh-en int8")
    assert model.mu.shape == (192,) and model.noise > 0 and 0 < model.scale < 2
    assert scorer_for("campplus-zh-en float32") is not None and isinstance(
        model.evidence(np.eye(192)[:2], np.ones(2)), Evidence
    )
