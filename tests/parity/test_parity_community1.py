"""Everything after the networks equals pyannote's community-1, number by number, on six real recordings: each stage,
and the preset's own way from what the networks said to the turns.

The arrays were computed by pyannote.audio itself; they lie outside the repository, and without them this is skipped.
"""

from pathlib import Path

import numpy as np
import pytest

from diarist.core.config import replace_from
from diarist.core.time import Axis
from diarist.core.types import Diarization, SpeakerBounds
from diarist.pipelines.cluster import clustering_of
from diarist.pipelines.decode import decode
from diarist.pipelines.frontend import Evidence, count_speakers
from diarist.pipelines.presets import preset
from diarist.stages.activity import MovingMean
from diarist.stages.agglomerative import cluster
from diarist.stages.assign import NOBODY
from diarist.stages.community1 import Community1
from diarist.stages.plda import XvectorPlda
from diarist.stages.powerset import pack, unpack
from diarist.stages.reconstruct import assign, frames_alone, soft_clusters, top_speakers
from diarist.stages.vbx import vbx

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "reference" / "community1"
RECORDINGS = sorted(p.name for p in REFERENCE.glob("[0-9]*"))
CHUNKS, FRAMES = Axis(160_000, 16_000), Axis(991, 270)
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

    @property
    def owners(self):
        """Local speakers that have an embedding: chunk and number."""
        return np.argwhere(~np.isnan(self.embeddings).any(axis=2))

    def count(self, turns):
        """How many talk in each frame, as the pipeline counts them."""
        mean = MovingMean(3)
        for chunk, active in enumerate(self.chunks()):
            number = active.sum(axis=1)
            mean.add(FRAMES.index_at(CHUNKS.first(chunk)), np.stack([number > 0, number > 1, number], axis=1))
        return count_speakers(mean.take(len(self.arrays["reconstruction"]["count"])), turns, before=False)

    def evidence(self, config):
        """What the pipeline would have heard, had its networks said this."""
        count = self.count(config.turns)
        return Evidence(
            num_samples=FRAMES.span(len(count))[1],
            local=pack(self.segmentation),
            num_local=self.segmentation.shape[2],
            chunks=CHUNKS,
            frames=FRAMES,
            speech=np.minimum(count, 1).astype(np.float32),
            count=count,
            embeddings=self.embeddings[tuple(self.owners.T)],
            times=np.full(len(self.owners), np.nan),
            owners=self.owners,
            voices={},
        )


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
    flat = recording.embeddings.reshape(-1, recording.embeddings.shape[2])
    likeness = soft_clusters(flat, expected["centroids"]).reshape(*recording.embeddings.shape[:2], -1)
    silent = recording.segmentation.sum(axis=1) == 0
    likeness[silent] = np.nanmin(likeness) - 1
    np.testing.assert_allclose(likeness, expected["soft_clusters"], atol=1e-4)
    clusters = assign(likeness, apart=True)
    hard = expected["hard_clusters"].astype(np.int64)
    np.testing.assert_array_equal(clusters, np.where(hard < 0, NOBODY, hard))


@pytest.mark.parametrize("count", [None, 1, 2, 5])
def test_the_whole_clustering(recording, plda, count):
    talking, alone = frames_alone(recording.chunks())
    whole = Community1(plda, threshold=0.6, fa=0.07, fb=0.8)
    voices = recording.embeddings[tuple(recording.owners.T)]
    bounds = SpeakerBounds.of(count)
    clusters, centroids = whole(voices, recording.owners, talking, alone, NUM_FRAMES, bounds)
    if count is None:
        np.testing.assert_allclose(centroids, recording.arrays["clustering"]["centroids"], atol=1e-4)
        np.testing.assert_array_equal(clusters, recording.clusters)
    else:
        assert len(centroids) == count
        assert {k for k in clusters[talking > 0].tolist() if k != NOBODY} == set(range(count))


def test_reconstruction(recording):
    expected = recording.arrays["reconstruction"]
    count = recording.count(preset("community-1").config.turns)
    np.testing.assert_array_equal(count, expected["count"][:, 0])
    num_speakers = expected["discrete_diarization"].shape[1]
    first = (FRAMES.index_at(CHUNKS.first(chunk)) for chunk in range(len(recording.segmentation)))
    chunks = zip(first, recording.chunks(), recording.clusters, strict=True)
    chosen, _ = top_speakers(chunks, count, num_speakers, fill=True)
    talking = (chosen[:, :, None] == np.arange(num_speakers)).any(axis=1)
    np.testing.assert_array_equal(talking, expected["discrete_diarization"])


def by_appearance(rttm):
    """Lines of an RTTM, whose speakers are renamed in order of appearance."""
    fields = [line.split() for line in rttm.splitlines()]
    names = {name: f"SPEAKER_{i:02d}" for i, name in enumerate(dict.fromkeys(field[7] for field in fields))}
    return sorted(" ".join([*field[:7], names[field[7]], *field[8:]]) for field in fields)


def pipeline(recording, bounds=None):
    config = replace_from(preset("community-1").config, {"clustering.plda": str(REFERENCE / "plda")})
    evidence = recording.evidence(config)
    clusters = clustering_of(config, recording.embeddings.shape[2])(evidence, bounds or SpeakerBounds())
    return clusters, *decode(evidence, clusters, config)


def test_the_preset_gives_the_same_clusters_and_the_same_text(recording):
    clusters, turns, order = pipeline(recording)
    np.testing.assert_array_equal(clusters.local, recording.clusters)
    uri = recording.rttm.split()[1]
    assert by_appearance(Diarization(tuple(turns), uri=uri).to_rttm()) == by_appearance(recording.rttm)
    assert all(0 <= turn.confidence <= 1 for turn in turns)  # 0 where nobody is heard, but count says somebody
    voices = recording.arrays["clustering"]["centroids"]
    np.testing.assert_allclose(clusters.voices, voices / np.linalg.norm(voices, axis=1, keepdims=True), atol=1e-4)
    assert set(order.values()) <= set(range(len(voices)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_preset_gives_as_many_speakers_as_asked_for(recording, count):
    _, turns, _ = pipeline(recording, SpeakerBounds.of(count))
    assert len({turn.speaker for turn in turns}) == count
