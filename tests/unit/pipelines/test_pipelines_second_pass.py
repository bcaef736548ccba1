"""The second pass on evidence made by hand: three people drawn from the PLDA, heard by chunks that know the borders."""

from dataclasses import replace
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
from diarist.pipelines.second_pass import Signs
from diarist.pipelines.short_voices import LENGTHS, ShortVoices, in_bytes
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
    back = np.linalg.pinv(known.projection)
    truth = np.repeat([who for who, _ in turns], [round(seconds * SECOND) for _, seconds in turns])
    num = len(truth)
    means = rng.normal(size=(truth.max() + 1, len(known.psi))) * np.sqrt(known.psi)
    middles = FRAMES.middles(num)

    def heard(time, length, noise):
        """Shares of all people in what is heard around a time, and their voices in one."""
        inside = truth[np.abs(middles - time) <= length / 2]
        shares = np.bincount(inside, minlength=len(means)) / max(1, len(inside))
        return shares, known.mu + (shares @ means + noise * rng.normal(size=len(known.psi))) @ back

    times = np.arange(0.75, middles[-1] - 0.75, 0.5)
    windows = [heard(time, 1.5, 0.5) for time in times]
    rows = np.asarray([voice for _, voice in windows])
    labels = [int(shares.argmax()) for shares, _ in windows]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    places = Axis(3200, 3200)
    moments = places.middles(int(middles[-1] / 0.2))
    voices = [heard(time, length, 0.8)[1] for time in moments for length in LENGTHS]
    short = ShortVoices(in_bytes(np.array(voices)).reshape(len(moments), len(LENGTHS), -1), places)
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
        short=short,
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


def test_without_short_voices_the_first_pass_stands():
    evidence, clusters, _ = conversation(TURNS)
    without = replace(evidence, short=None)
    np.testing.assert_array_equal(stitch(without, clusters, CONFIG)[0], stitch(without, clusters, FIRST)[0])


def test_silence_has_no_short_voice_and_is_no_obstacle():
    evidence, clusters, _ = conversation(TURNS)
    silent = ShortVoices(np.zeros_like(evidence.short.directions), evidence.short.places)
    none = ShortVoices(silent.directions[:0], silent.places)
    first, _ = stitch(evidence, clusters, FIRST)
    told = [Signs(replace(evidence, short=short), clusters, first, plda())[:] for short in (silent, none)]
    np.testing.assert_array_equal(told[0], told[1])
    assert np.isfinite(told[0]).all()


def test_short_voices_say_who_talks_at_that_moment():
    evidence, clusters, truth = conversation(TURNS)
    first, _ = stitch(evidence, clusters, FIRST)
    signs = Signs(evidence, clusters, first, plda())[:]
    windows, short = signs[..., 6], signs[..., 12]  # as embedded, to each voice: of the nearest window, of a second
    names = [int(np.bincount(clusters.labels[np.abs(evidence.times - at) < 0.3]).argmax()) for at in (1.5, 4.2, 6.2)]
    assert names == [0, 1, 0]
    whose = truth[::STRIDE][: len(signs)]
    near = np.abs(np.arange(len(signs)) * STRIDE / SECOND - 3.1) < 0.4  # the first border
    assert (short[near].argmax(axis=1) == whose[near]).mean() > (windows[near].argmax(axis=1) == whose[near]).mean()


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
    signs = Signs(evidence, clusters, stitch(evidence, clusters, FIRST)[0], plda())
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
