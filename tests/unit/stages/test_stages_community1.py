"""The clustering of community-1 on made-up voices; that it equals pyannote's is in tests/parity."""

import numpy as np
import pytest

from diarist.core.types import SpeakerBounds
from diarist.stages.assign import NOBODY
from diarist.stages.community1 import Community1
from diarist.stages.plda import XvectorPlda

NUM_FRAMES = 100


def recording(num_chunks, num_speakers, seed=0, dimension=16, rank=8):
    """Embeddings of two local speakers a chunk and one who never talks; a PLDA that fits them; who they are."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=dimension)
    voices = mean + 5 * np.linalg.qr(rng.normal(size=(dimension, num_speakers)))[0].T
    who = np.array([rng.permutation(num_speakers)[[0, -1]] for _ in range(num_chunks)])
    embeddings = np.full((num_chunks, 3, dimension), np.nan, np.float32)
    embeddings[:, :2] = voices[who] + 0.1 * rng.normal(size=(num_chunks, 2, dimension))
    plda = XvectorPlda(
        mean, rng.normal(size=(dimension, rank)), np.zeros(rank), np.zeros(rank), 10 * np.eye(rank), np.full(rank, 50.0)
    )
    talking = np.tile([60, 50, 0], (num_chunks, 1))
    return Community1(plda, threshold=0.6, fa=0.07, fb=0.8), embeddings, talking, who


def run(clustering, embeddings, talking, alone, bounds):
    owners = np.argwhere(~np.isnan(embeddings).any(axis=2))
    return clustering(embeddings[tuple(owners.T)], owners, talking, alone, NUM_FRAMES, bounds)


@pytest.mark.parametrize("num_speakers", [2, 3, 5])
def test_finds_who_they_are(num_speakers):
    clustering, embeddings, talking, who = recording(30, num_speakers)
    clusters, centroids = run(clustering, embeddings, talking, talking, SpeakerBounds())
    assert centroids.shape == (num_speakers, 16)
    assert (clusters[:, 2] == NOBODY).all()
    assert len(set(zip(clusters[:, :2].ravel().tolist(), who.ravel().tolist(), strict=True))) == num_speakers


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_bounds_are_met(count):
    clustering, embeddings, talking, _ = recording(30, 3)
    clusters, centroids = run(clustering, embeddings, talking, talking, SpeakerBounds(count, count))
    assert len(centroids) == count
    assert set(clusters[:, :2].ravel().tolist()) == set(range(count))


def test_a_voice_that_hardly_talks_alone_is_given_to_a_known_one():
    clustering, embeddings, talking, who = recording(30, 3)
    alone = talking.copy()
    alone[:10] = 19  # of 100 frames
    clusters, _ = run(clustering, embeddings, talking, alone, SpeakerBounds())
    assert len(set(zip(clusters[:, :2].ravel().tolist(), who.ravel().tolist(), strict=True))) == 3


def test_too_few_voices_are_one_speaker():
    clustering, embeddings, talking, _ = recording(5, 3)
    nobody_alone = np.zeros_like(talking)
    for alone in (nobody_alone, np.outer(np.arange(5) == 0, [50, 0, 0])):
        clusters, centroids = run(clustering, embeddings, talking, alone, SpeakerBounds())
        assert centroids.shape == (1, 16) and np.isfinite(centroids).all()
        assert clusters.tolist() == [[0, 0, NOBODY]] * 5
    unknown, _ = run(clustering, np.full_like(embeddings, np.nan), talking, talking, SpeakerBounds())
    assert unknown.tolist() == [[0, 0, NOBODY]] * 5
