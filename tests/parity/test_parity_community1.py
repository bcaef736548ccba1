"""Every stage after the networks equals pyannote's community-1, number by number, on six real recordings.

The arrays were computed by pyannote.audio itself; they lie outside the repository, and without them this is skipped.
"""

from pathlib import Path

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.core.types import Diarization, SpeakerBounds
from diarist.stages.agglomerative import cluster
from diarist.stages.binarize import binarize
from diarist.stages.community1 import Community1
from diarist.stages.plda import XvectorPlda
from diarist.stages.powerset import pack, unpack
from diarist.stages.reconstruct import (
    NOBODY,
    Grid,
    assign,
    frames_alone,
    soft_clusters,
    speaker_count,
    to_track,
    top_speakers,
)
from diarist.stages.vbx import vbx

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "reference" / "community1"
RECORDINGS = sorted(p.name for p in REFERENCE.glob("[0-9]*"))
GRID = Grid(Axis(160_000, 16_000), Axis(991, 270))
NUM_FRAMES = 589

pytestmark = pytest.mark.skipif(not RECORDINGS, reason=f"no reference arrays in {REFERENCE}")


@pytest.fixture(scope="module")
def plda():
    return XvectorPlda.load(REFERENCE / "plda" / "xvec_transform.npz", REFERENCE / "plda" / "plda.npz")


class Recording:
    def __init__(self, name):
        self.name = name
        self.arrays = {p.stem: dict(np.load(p)) for p in (REFERENCE / name).glob("*.npz")}
        self.embeddings = self.arrays["raw_embeddings"]["embeddings"]
        self.segmentation = self.arrays["segmentations"]["segmentations"]
        self.rttm = (REFERENCE / name / "reference.rttm").read_text()

    @property
    def voices(self):
        plda = self.arrays["plda_embeddings"]
        return self.embeddings[plda["train_chunk_idx"], plda["train_speaker_idx"]]

    @property
    def clusters(self):
        """Whom each local speaker is, nobody where it is silent."""
        hard = self.arrays["clustering"]["hard_clusters"].astype(np.int64)
        return np.where((hard < 0) | (self.segmentation.sum(axis=1) == 0), NOBODY, hard)

    def chunks(self):
        """One chunk after the other, from a byte a frame."""
        return (unpack(bits, self.segmentation.shape[2]) for bits in pack(self.segmentation))


@pytest.fixture(scope="module", params=RECORDINGS)
def recording(request):
    return Recording(request.param)


def test_voices_that_take_part(recording):
    _, alone = frames_alone(recording.chunks())
    known = ~np.isnan(recording.embeddings).any(axis=2)
    chunk, local = np.nonzero((alone >= 0.2 * NUM_FRAMES) & known)
    expected = recording.arrays["plda_embeddings"]
    np.testing.assert_array_equal(chunk, expected["train_chunk_idx"])
    np.testing.assert_array_equal(local, expected["train_speaker_idx"])


def test_plda(recording, plda):
    expected = recording.arrays["plda_embeddings"]
    normalized = plda.normalize(recording.voices)
    np.testing.assert_allclose(normalized, expected["post_xvec"], atol=1e-4)
    np.testing.assert_allclose(plda.project(normalized), expected["post_plda"], atol=1e-4)
    np.testing.assert_allclose(plda.psi, expected["phi"], atol=1e-4)


def test_first_clusters(recording):
    labels = cluster(recording.voices, linkage="centroid", threshold=float(recording.arrays["ahc_state"]["threshold"]))
    np.testing.assert_array_equal(labels, np.load(REFERENCE / recording.name / "ahc_init_labels.npy"))


def test_vbx(recording):
    features, state = recording.arrays["plda_embeddings"], recording.arrays["vbx_state"]
    result = vbx(
        features["post_plda"],
        features["phi"],
        np.load(REFERENCE / recording.name / "ahc_init_labels.npy"),
        fa=float(state["fa"]),
        fb=float(state["fb"]),
        loop=0.0,
        smoothing=7.0,
        max_iterations=int(state["max_iters"]),
        prior_floor=1e-8,
        keep_responsibilities=True,
    )
    np.testing.assert_allclose(result.responsibilities, state["q_final"], atol=1e-4)
    np.testing.assert_allclose(result.priors, state["sp_final"], atol=1e-4)
    np.testing.assert_allclose(result.elbo, state["elbo_trajectory"], atol=1e-4)
    np.testing.assert_array_equal(result.labels, state["q_final"].argmax(axis=1))


def test_likeness_and_assignment(recording):
    expected = recording.arrays["clustering"]
    likeness = soft_clusters(recording.embeddings, expected["centroids"])
    silent = recording.segmentation.sum(axis=1) == 0
    likeness[silent] = np.nanmin(likeness) - 1
    np.testing.assert_allclose(likeness, expected["soft_clusters"], atol=1e-4)
    clusters = assign(likeness, apart=True)
    hard = expected["hard_clusters"].astype(np.int64)
    np.testing.assert_array_equal(clusters, np.where(hard < 0, NOBODY, hard))


def test_the_whole_clustering(recording, plda):
    talking, alone = frames_alone(recording.chunks())
    whole = Community1(plda, threshold=0.6, fa=0.07, fb=0.8)
    clusters, centroids = whole(recording.embeddings, talking, alone, NUM_FRAMES, SpeakerBounds())
    np.testing.assert_allclose(centroids, recording.arrays["clustering"]["centroids"], atol=1e-4)
    np.testing.assert_array_equal(clusters, recording.clusters)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_number_of_speakers_is_met(recording, plda, count):
    talking, alone = frames_alone(recording.chunks())
    whole = Community1(plda, threshold=0.6, fa=0.07, fb=0.8)
    clusters, centroids = whole(recording.embeddings, talking, alone, NUM_FRAMES, SpeakerBounds(count, count))
    assert len(centroids) == count
    assert {k for k in clusters[talking > 0].tolist() if k != NOBODY} == set(range(count))


def test_reconstruction(recording):
    expected = recording.arrays["reconstruction"]
    count = speaker_count(recording.chunks(), GRID)
    np.testing.assert_array_equal(count, expected["count"][:, 0])
    chosen = top_speakers(recording.chunks(), recording.clusters, count, GRID, fill=True)
    track = to_track(chosen, expected["discrete_diarization"].shape[1], GRID.frames)
    np.testing.assert_array_equal(track.scores, expected["discrete_diarization"])


def test_from_embeddings_to_the_same_text(recording, plda):
    talking, alone = frames_alone(recording.chunks())
    whole = Community1(plda, threshold=0.6, fa=0.07, fb=0.8)
    clusters, _ = whole(recording.embeddings, talking, alone, NUM_FRAMES, SpeakerBounds())
    count = speaker_count(recording.chunks(), GRID)
    chosen = top_speakers(recording.chunks(), clusters, count, GRID, fill=True)
    turns = binarize(to_track(chosen, int(chosen.max()) + 1, GRID.frames), onset=0.5, offset=0.5)
    names = {old: f"SPEAKER_{i:02d}" for i, old in enumerate(sorted({t.speaker for t in turns}))}
    uri = recording.rttm.split()[1]
    assert Diarization(tuple(turns), uri=uri).rename(names).to_rttm() == recording.rttm
