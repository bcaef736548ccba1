"""VBx against a plain log-space implementation of the paper's equations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from diarist.errors import UsageError
from diarist.stages import vbx as module
from diarist.stages.vbx import vbx

OPTIONS = dict(fa=0.3, fb=5.0, smoothing=5.0, max_iterations=40, prune=1e-5)


def plain(features, psi, start, *, fa, fb, loop, smoothing, max_iterations, prune, tolerance=1e-4):
    """The recursions as they stand in the paper, a transition matrix and all."""
    num_rows, dimension = features.shape
    gamma = softmax(np.eye(start.max() + 1)[start] * smoothing, axis=1)
    priors = np.full(gamma.shape[1], 1 / gamma.shape[1])
    constant = -0.5 * ((features**2).sum(1, keepdims=True) + dimension * np.log(2 * np.pi))
    rho, elbo, states = features * np.sqrt(psi), [], np.arange(len(priors))
    for iteration in range(max_iterations):
        variance = 1 / (1 + fa / fb * gamma.sum(0)[:, None] * psi)
        mean = fa / fb * variance * (gamma.T @ rho)
        score = fa * (rho @ mean.T - 0.5 * (variance + mean**2) @ psi + constant)
        with np.errstate(divide="ignore"):
            transition, prior = np.log(np.eye(len(priors)) * loop + (1 - loop) * priors), np.log(priors)
        forward, backward = np.empty_like(score), np.zeros_like(score)
        forward[0] = score[0] + prior
        for row in range(1, num_rows):
            forward[row] = score[row] + logsumexp(forward[row - 1][:, None] + transition, axis=0)
        for row in range(num_rows - 2, -1, -1):
            backward[row] = logsumexp(transition + score[row + 1] + backward[row + 1], axis=1)
        total = logsumexp(forward[-1])
        gamma = np.exp(forward + backward - total)
        elbo.append(total + fb * 0.5 * np.sum(np.log(variance) - variance - mean**2 + 1))
        entering = np.exp(logsumexp(forward[:-1], axis=1, keepdims=True) + score[1:] + backward[1:] - total)
        priors = gamma[0] + (1 - loop) * priors * entering.sum(axis=0)
        priors /= priors.sum()
        if (iteration and elbo[-1] - elbo[-2] < tolerance) or iteration == max_iterations - 1:
            break
        alive = priors >= prune
        states, gamma, priors = states[alive], gamma[:, alive], priors[alive] / priors[alive].sum()
    return gamma, priors, elbo, states


def conversation(num_rows, num_speakers, seed, stay=0.9, dimension=12):
    rng = np.random.default_rng(seed)
    psi = np.sort(rng.uniform(0.5, 8, dimension))[::-1].copy()
    means = rng.normal(size=(num_speakers, dimension)) * np.sqrt(psi)
    speakers = np.zeros(num_rows, int)
    for row in range(1, num_rows):
        speakers[row] = speakers[row - 1] if rng.random() < stay else rng.integers(num_speakers)
    features = means[speakers] + rng.normal(size=(num_rows, dimension))
    start = speakers * 3 + rng.integers(3, size=num_rows)
    return features, psi, np.unique(start, return_inverse=True)[1], speakers


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 99), st.sampled_from([0.0, 0.5, 0.9]))
def test_equals_the_plain_recursions(num_rows, num_speakers, seed, loop):
    features, psi, start, _ = conversation(num_rows, num_speakers, seed)
    gamma, priors, elbo, states = plain(features, psi, start, loop=loop, **OPTIONS)
    result = vbx(features, psi, start, loop=loop, keep_responsibilities=True, **OPTIONS)
    assert result.states.tolist() == states.tolist()
    np.testing.assert_allclose(result.responsibilities, gamma, atol=1e-8)
    np.testing.assert_allclose(result.priors, priors, atol=1e-8)
    np.testing.assert_allclose(result.elbo, elbo, rtol=1e-9)
    assert (result.labels == gamma.argmax(1)).mean() > 0.99
    np.testing.assert_allclose(result.confidence, gamma.max(1), atol=1e-8)


@pytest.mark.parametrize("loop", [0.0, 0.9])
def test_finds_the_speakers_from_too_many_seeds(loop):
    features, psi, start, speakers = conversation(400, 4, seed=1)
    result = vbx(features, psi, start, loop=loop, **OPTIONS)
    assert len(result.states) == 4
    table = np.zeros((4, 4), int)
    np.add.at(table, (result.labels, speakers), 1)
    assert table.max(axis=1).sum() >= 0.97 * 400
    assert result.elbo[-1] >= result.elbo[0]


@pytest.mark.parametrize("noise", [1.0, 30.0])  # voices that differ, and voices that hardly do
def test_stretches_side_by_side_equal_one_chain(monkeypatch, noise):
    features, psi, start, _ = conversation(1500, 5, seed=2)
    features = features / noise
    whole = vbx(features, psi, start, loop=0.8, **{**OPTIONS, "prune": 0.0}, keep_responsibilities=True)
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    monkeypatch.setattr(module, "BLOCK_BYTES", 100_000)  # several blocks of several stretches
    cut = vbx(features, psi, start, loop=0.8, **{**OPTIONS, "prune": 0.0}, keep_responsibilities=True)
    np.testing.assert_allclose(cut.responsibilities, whole.responsibilities, atol=1e-5)
    np.testing.assert_allclose(cut.priors, whole.priors, atol=1e-5)
    np.testing.assert_allclose(cut.elbo, whole.elbo, rtol=1e-6)


def test_float32_gives_the_same_labels():
    features, psi, start, _ = conversation(1500, 5, seed=3)
    full = vbx(features, psi, start, loop=0.9, **OPTIONS)
    half = vbx(features.astype(np.float32), psi, start, loop=0.9, **OPTIONS)
    assert (full.states[full.labels] == half.states[half.labels]).mean() > 0.999


def test_nothing_one_row_and_rows_all_alike():
    psi = np.array([3.0, 1.0])
    assert vbx(np.zeros((0, 2)), psi, np.zeros(0, int), loop=0.9, **OPTIONS).labels.shape == (0,)
    assert vbx(np.ones((1, 2)), psi, np.zeros(1, int), loop=0.9, **OPTIONS).labels.tolist() == [0]
    alike = vbx(np.ones((50, 2)), psi, np.arange(50) % 7, loop=0.9, **OPTIONS)
    assert len(set(alike.labels.tolist())) == 1
    far = vbx(np.array([[1e4, 0.0], [-1e4, 0.0]]), psi, np.array([0, 1]), loop=0.9, **OPTIONS)
    assert far.labels.tolist() == [0, 1]
    assert np.isfinite(far.elbo).all()


def test_bad_input_is_told_in_a_line():
    psi, good = np.ones(2), np.ones((3, 2))
    bad = good.copy()
    bad[1, 0] = np.nan
    with pytest.raises(UsageError, match="row 1 of the features is not finite"):
        vbx(bad, psi, np.zeros(3, int), loop=0.9, **OPTIONS)
    with pytest.raises(UsageError, match="VBx needs features"):
        vbx(good, np.ones(3), np.zeros(3, int), loop=0.9, **OPTIONS)
    with pytest.raises(UsageError, match="start labels"):
        vbx(good, psi, np.array([0, -1, 0]), loop=0.9, **OPTIONS)
    with pytest.raises(UsageError, match="loop probability"):
        vbx(good, psi, np.zeros(3, int), loop=1.0, **OPTIONS)
