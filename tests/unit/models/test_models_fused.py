"""Two opinions on speech: their log-odds are added, and who talks stays the segmentation network's."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from diarist.core.protocols import SegmentationModel, SegmentationSpec
from diarist.core.time import Axis
from diarist.models.fused import LEAST, FusedSegmentation
from diarist.models.toy import ToySegmentation
from diarist.stages import powerset

SIZE = ToySegmentation.spec.chunk


class Loudness:
    """Speech where samples are above 0; counts what it hears."""

    frames = Axis(160, 160)

    def __init__(self):
        self.heard = []

    def __call__(self, samples):
        self.heard.append(len(samples))
        return np.clip(samples.reshape(-1, 160).mean(axis=1), 0, 1)


class Scores:
    """A model that says the same of every chunk."""

    def __init__(self, scores, most):
        self.scores = scores
        self.spec = SegmentationSpec(1600, len(scores), Axis(160, 160), 3, most)

    def __call__(self, batch):
        return np.repeat(self.scores[None], len(batch), axis=0)


def odds(p):
    return np.log(p / (1 - p))


def powerset_scores(seed, num_frames=10):
    raw = np.random.default_rng(seed).normal(0, 2, (num_frames, 7))
    return (raw - np.log(np.exp(raw).sum(axis=1, keepdims=True))).astype(np.float32)


@pytest.mark.parametrize("weight, bias", [(0.3, 0.5), (0.0, 0.0), (1.0, 0.0), (0.5, -1.0)])
def test_log_odds_are_added_with_weights(weight, bias):
    scores, sound = powerset_scores(1), np.repeat(np.linspace(0.05, 0.95, 10), 160).astype(np.float32)
    fused = FusedSegmentation(Scores(scores, 2), Loudness(), weight=weight, bias=bias)
    assert isinstance(fused, SegmentationModel) and fused.spec == fused.model.spec
    told = fused(sound[None])[0]
    assert told.shape == scores.shape and told.dtype == np.float32
    np.testing.assert_allclose(np.exp(told).sum(axis=1), 1, atol=1e-5)
    own, heard = 1 - np.exp(scores[:, 0].astype(float)), np.linspace(0.05, 0.95, 10)
    expected = (1 - weight) * odds(own) + weight * odds(heard) + bias
    np.testing.assert_allclose(odds(1 - np.exp(told[:, 0].astype(float))), expected, atol=1e-3)
    ratios = told[:, 1:] - scores[:, 1:]  # who talks, given that somebody does
    np.testing.assert_allclose(ratios, ratios[:, :1].repeat(6, axis=1), atol=1e-5)
    overlap = powerset.overlap(told, 3, 2)
    assert (overlap <= 1 - np.exp(told[:, 0]) + 1e-6).all()


def test_what_chunks_share_is_heard_once_and_with_the_same_answer():
    rng = np.random.default_rng(2)
    sound = np.repeat(rng.uniform(0, 1, 40), 160).astype(np.float32)
    fused = FusedSegmentation(Scores(powerset_scores(3), 2), Loudness(), weight=0.5, bias=0.0)
    view = sliding_window_view(sound, 1600)[::480]
    together = fused(view)
    assert fused.vad.heard == [(len(view) - 1) * 480 + 1600]
    np.testing.assert_allclose(together, fused(view.copy()), atol=1e-4)
    assert fused.vad.heard[1:] == [1600] * len(view)


def test_certainty_stays_finite():
    scores = np.full((10, 7), -np.inf, np.float32)
    scores[:5, 0] = scores[5:, 3] = 0.0  # no doubt at all
    told = FusedSegmentation(Scores(scores, 2), Loudness(), weight=0.3, bias=0.0)(np.zeros((1, 1600), np.float32))[0]
    assert not np.isnan(told).any() and (told[:5].argmax(axis=1) == 0).all() and (told[5:].argmax(axis=1) == 3).all()
    assert np.exp(told[0, 0]) == pytest.approx(1 - LEAST, abs=LEAST)


def test_independent_probabilities_are_scaled():
    scores = np.tile(np.array([0.5, 0.25, 0.0], np.float32), (10, 1))
    fused = FusedSegmentation(Scores(scores, None), Loudness(), weight=0.5, bias=0.0)
    told = fused(np.full((1, 1600), 0.9, np.float32))[0]
    most = 1 / (1 + np.exp(-0.5 * odds(0.9)))
    np.testing.assert_allclose(told, np.tile([most, most / 2, 0], (10, 1)), atol=1e-5)
    silent = FusedSegmentation(Scores(0 * scores, None), Loudness(), weight=0.5, bias=0.0)
    assert (silent(np.full((1, 1600), 0.9, np.float32)) == 0).all()
