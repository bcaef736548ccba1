"""Of two stored runs the network is named where what follows it only repeats what it says."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.evaluation.blame import compare_stored
from diarist.pipelines.record import Run, record
from diarist.stages import powerset
from toy_house import RATE, diarizer, recording


@pytest.fixture(scope="module")
def run():
    samples, _ = recording(5, 2, seed=1)
    return record(diarizer(), samples, sample_rate=RATE)


def changed(run, **arrays):
    return Run({**run.arrays, **arrays}, run.facts)


def test_the_same_run_differs_nowhere(run):
    report = compare_stored(run, run)
    assert report.ok and report.first is None and report.der == 0


def test_a_frame_that_flips_is_the_networks(run):
    scores = run.arrays["segmentation"].copy()
    best, second = np.argsort(scores[0, 100])[:-3:-1]
    scores[0, 100, [best, second]] = np.log(0.5)  # both runs are in doubt there
    active = powerset.decode(np.eye(scores.shape[-1], dtype=np.float32), 3, 2)
    one, other = scores.copy(), scores.copy()
    one[0, 100, best] += 1e-5
    other[0, 100, second] += 1e-5
    ours, theirs = run.arrays["binarized"].copy(), run.arrays["binarized"].copy()
    ours[0, 100], theirs[0, 100] = active[best], active[second]
    assert (ours != theirs).any()
    own, against = changed(run, segmentation=one, binarized=ours), changed(run, segmentation=other, binarized=theirs)
    report = compare_stored(own, against)
    assert report.first == "segmentation"
    assert next(s for s in report.stages if s.name == "segmentation").note.startswith("within its tolerance")


def test_a_frame_that_flips_by_itself_is_not(run):
    theirs = run.arrays["binarized"].copy()
    theirs[0, 100] = 1 - theirs[0, 100]
    assert compare_stored(changed(run, binarized=theirs), run).first == "binarized"


@pytest.mark.parametrize(("scale", "first"), [(1e-4, "embeddings"), (0.0, "distances")])
def test_voices_that_moved_have_the_distances_on_them(run, scale, first):
    noise = np.random.default_rng(0).normal(0, 1, run.arrays["embeddings"].shape)
    voices = (run.arrays["embeddings"] * (1 + scale * noise)).astype(np.float32)
    distances = run.arrays["distances"] + 1e-5
    assert compare_stored(changed(run, embeddings=voices, distances=distances), run).first == first


def test_a_network_in_fewer_bits_is_named(run):
    coarse = np.log(np.clip(np.exp(run.arrays["segmentation"]) + 0.05, 1e-3, 1))
    own = Run({**run.arrays, "segmentation": coarse.astype(np.float32)}, {**run.facts, "arithmetic": ["int8", "int8"]})
    other = Run(dict(run.arrays), {**run.facts, "arithmetic": ["float32", "float32"]})
    assert compare_stored(own, other).first == "segmentation"
