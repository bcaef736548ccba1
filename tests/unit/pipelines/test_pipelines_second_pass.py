"""The second pass on evidence made by hand: three people drawn from the PLDA, heard by chunks that know the borders."""

from importlib import resources

import numpy as np
import pytest

from diarist.core.config import replace_from
from diarist.core.time import Axis
from diarist.pipelines import second_pass
from diarist.pipelines.cluster import Clusters, certainty
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import stitch
from diarist.pipelines.frontend import Evidence
from diarist.stages.assign import centroids
from diarist.stages.plda import Plda
from diarist.stages.powerset import pack
from diarist.stages.second_pass import STRIDE

FRAMES = Axis(991, 270)
SECOND = 16_000 / 270  # frames
CHUNK, STEP = 589, 148
CONFIG = PipelineConfig()
FIRST = replace_from(CONFIG, {"turns.second_pass": False})


def plda():
    with resources.as_file(resources.files("diarist.models") / "plda" / "campplus-zh-en-windows.npz") as path:
        return Plda.load(path)


def conversation(turns, seed=0):
    """`turns` `(person, seconds)` one after another: evidence, the clusters of its windows, who talks in each frame.

    A window over a border is a mixture, and bears the label of whom it has more of.
    """
    rng, known = np.random.default_rng(seed), plda()
    truth = np.repeat([who for who, _ in turns], [round(seconds * SECOND) for _, seconds in turns])
    num = len(truth)
    means = rng.normal(size=(truth.max() + 1, len(known.psi))) * np.sqrt(known.psi)
    middles = FRAMES.middles(num)
    times = np.arange(0.75, middles[-1] - 0.75, 0.5)
    rows, labels = [], []
    for time in times:
        inside = truth[np.abs(middles - time) <= 0.75]
        shares = np.bincount(inside, minlength=len(means)) / len(inside)
        rows.append(
            known.mu + (shares @ means + 0.5 * rng.normal(size=len(known.psi))) @ np.linalg.pinv(known.projection)
        )
        labels.append(int(shares.argmax()))
    rows = np.asarray(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    local = np.zeros((max(1, -(-(num - CHUNK) // STEP) + 1), CHUNK, 3), bool)
    for chunk, heard in enumerate(local):
        piece = truth[chunk * STEP : chunk * STEP + CHUNK]
        heard[np.arange(len(piece)), piece] = True
    evidence = Evidence(
        num_samples=num * 270,
        local=pack(local),
        num_local=3,
        chunks=Axis(CHUNK * 270 + 721, STEP * 270),
        frames=FRAMES,
        speech=np.ones(num, np.float32),
        count=np.ones(num, np.uint8),
        embeddings=rows.astype(np.float32),
        times=times,
        owners=np.full((len(times), 2), -1),
        voices={},
    )
    names = np.asarray(labels)
    voices = centroids(evidence.embeddings, names)
    return evidence, Clusters(names, voices, certainty(evidence.embeddings, names, voices)), truth


TURNS = [(0, 3.1), (1, 2.3), (0, 1.7), (2, 4.2), (1, 1.1), (2, 2.6), (0, 3.3), (1, 0.9), (0, 2.4), (2, 1.9), (1, 2.8)]


def num_wrong(evidence, clusters, truth, config):
    return int((stitch(evidence, clusters, config)[0][:, 0] != truth).sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_borders_come_nearer_to_where_the_segmentation_hears_them(seed):
    heard = conversation(TURNS, seed)
    assert num_wrong(*heard, CONFIG) < 0.7 * num_wrong(*heard, FIRST)


def test_certainty_and_the_number_who_talk_stay():
    evidence, clusters, _ = conversation(TURNS)
    first, sure = stitch(evidence, clusters, FIRST)
    second, still = stitch(evidence, clusters, CONFIG)
    np.testing.assert_array_equal(still, sure)
    np.testing.assert_array_equal(second >= 0, first >= 0)
    assert (second != first).any()


def test_the_size_of_blocks_changes_nothing(monkeypatch):
    evidence, clusters, _ = conversation(TURNS)
    whole, _ = stitch(evidence, clusters, CONFIG)
    monkeypatch.setattr(second_pass, "BLOCK", 50)
    np.testing.assert_array_equal(stitch(evidence, clusters, CONFIG)[0], whole)


def test_one_speaker_needs_no_second_pass():
    evidence, clusters, truth = conversation([(0, 12.0)])
    assert num_wrong(evidence, clusters, truth, CONFIG) == 0


def test_a_recording_shorter_than_a_chunk_is_judged_too():
    evidence, clusters, _ = conversation([(0, 2.1), (1, 2.0)])
    speakers, _ = stitch(evidence, clusters, CONFIG)
    assert len(speakers) == len(evidence.count) and set(speakers[:, 0].tolist()) == {0, 1}


def test_every_third_frame_is_judged():
    evidence, clusters, _ = conversation(TURNS)
    signs = second_pass.Signs(evidence, clusters, stitch(evidence, clusters, FIRST)[0], plda())
    assert len(signs) == -(-len(evidence.count) // STRIDE) == len(signs[:])


@pytest.mark.parametrize(
    "changes",
    [
        {"turns.second_pass": False},
        {"clustering.method": "agglomerative"},
        {"clustering.calibration": "permissive"},
        {"embedding.model": "somebody-elses"},
    ],
)
def test_only_what_the_network_was_made_for_has_a_second_pass(changes):
    assert second_pass.second_pass_of(CONFIG) is not None
    assert second_pass.second_pass_of(replace_from(CONFIG, changes)) is None
