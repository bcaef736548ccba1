"""A stage that works differently is the one that is named, whatever follows it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diarist.core.protocols import EmbeddingSpec
from diarist.core.types import Turn
from diarist.evaluation.differences import COMPARISONS
from diarist.evaluation.stagewise import FLOAT32, REDUCED, Difference, Tolerance, compare, passes, verify
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines import cluster, decode, frontend, record_clusters
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.record import STAGES, Run, record
from diarist.stages import activity, agglomerative, powerset
from toy_house import CONFIG, RATE, diarizer, recording


class WideEmbedding(ToyEmbedding):
    """Toy voices of as many dimensions as the PLDA that ships takes."""

    spec = EmbeddingSpec(dimension=192, min_frames=5, map_stride=2)

    def pool(self, maps, weights):
        return np.pad(super().pool(maps, weights), ((0, 0), (0, 0), (0, 112))) + np.float32(1e-3)


@pytest.fixture(scope="module")
def plda(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plda")
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(80, 80)))[0][:, :40]
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(80), mean2=np.zeros(40), lda=rotation)
    np.savez(folder / "plda.npz", mu=np.zeros(40), tr=3 * np.eye(40), psi=np.linspace(9, 2, 40))
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    from toy_house import write_wav

    samples, _ = recording(TURNS, 3, seed=1)  # more than a section
    return write_wav(tmp_path_factory.mktemp("sound") / "talk.wav", samples)


@pytest.fixture(scope="module")
def makers(plda):
    return {
        "agglomerative": lambda: diarizer(),
        "vbx-windows": lambda: diarizer(
            embedding=WideEmbedding(), config={**CONFIG, "clustering.method": "vbx-windows"}
        ),
        "chunks": lambda: diarizer(config={**CONFIG, "embedding.rows": "chunks"}),
        "vbx": lambda: Diarizer(
            "community-1",
            segmentation=ToySegmentation(),
            embedding=ToyEmbedding(),
            config={"clustering.plda": str(plda)},
        ),
        "nme-sc": lambda: diarizer(config={**CONFIG, "clustering.method": "nme-sc"}),
    }


TURNS = 26
METHODS = ("agglomerative", "vbx-windows", "chunks", "vbx", "nme-sc")
BOTH = ("segmentation", "binarized", "count", "fbank", "masks", "local_embeddings", "embeddings")
ENDS = ("voices", "clusters", "stitched", "turns")
TREE = ("distances", "dendrogram")
MADE = {
    "agglomerative": {*BOTH, *ENDS, *TREE, "windows", "local_masks"},
    "vbx-windows": {*BOTH, *ENDS, *TREE, "windows", "local_masks", "seeds"},
    "chunks": {*BOTH, *ENDS, *TREE},
    "vbx": {*BOTH, *ENDS, *TREE, "seeds", "plda", "responsibilities", "likeness"},
    "nme-sc": {*BOTH, *ENDS, "windows", "local_masks"},
}


@pytest.fixture(scope="module")
def runs(makers, sound):
    return {name: record(make(), sound) for name, make in makers.items()}


@pytest.mark.parametrize("method", METHODS)
def test_a_recorded_run_is_the_run_itself(method, makers, runs, sound):
    result = makers[method]()(sound)
    run = runs[method]
    assert {name for name in run.arrays if name in STAGES} == MADE[method]
    assert len(result.turns) > 15 and result.duration > 62
    assert [(t.start, t.end, t.speaker) for t in result] == [(t.start, t.end, t.speaker) for t in run.answer]
    assert run.facts["duration"] == result.duration


@pytest.mark.parametrize("method", METHODS)
def test_the_same_differs_nowhere(method, makers, runs, sound):
    report, own = verify(sound, makers[method](), runs[method])
    assert report.ok and report.first is None and report.drifted is None and report.der == 0
    named = [stage.name for stage in report.stages if stage.ok]
    assert named[0] == "sound" and set(named[1:]) == MADE[method] and named[-1] == "turns"
    for stage in report.stages:
        assert stage.isolated.largest in (0, None) and stage.isolated.agreement == pytest.approx(1)
    assert own.facts == runs[method].facts


def perturbed(array, name):
    """An array with one thing changed, as small as a person would want to know of."""
    array = np.array(array)
    if name == "segmentation":
        return np.roll(array, 1, axis=-1)
    if name == "windows":
        array[3] += 1
    elif name == "turns":
        array[2, 1] += 0.05
    elif name == "clusters":
        row = np.flatnonzero(array.reshape(-1) >= 0)[5]
        array.reshape(-1)[row] = (array.reshape(-1)[row] + 1) % (array.max() + 1)
    elif name == "seeds":
        array[4] = (array[4] + 1) % (array.max() + 1)
    elif array.dtype.kind == "u":
        array.reshape(-1)[len(array.reshape(-1)) // 2] ^= 1
    elif name in ("embeddings", "local_embeddings", "voices"):
        row = np.flatnonzero(~np.isnan(array.reshape(-1, array.shape[-1])).any(axis=1))[1]
        array.reshape(-1, array.shape[-1])[row, :5] += 0.2 * np.nanmax(np.abs(array))
    else:
        row = np.flatnonzero(~np.isnan(array.reshape(-1)))[20]
        array.reshape(-1)[row] += 0.02
    return array


@pytest.mark.parametrize(
    "method,name", [(method, name) for method in METHODS for name in STAGES if name in MADE[method]]
)
def test_a_perturbed_array_is_named(method, name, makers, runs, sound):
    own = runs[method]
    other = Run({**own.arrays, name: perturbed(own.arrays[name], name)}, own.facts)
    report = compare(own, other, record(makers[method](), sound, given=other, heard=own))
    assert report.first == name and not report.ok


def shifted(values, *arguments, **options):
    return frontend_at_maps(np.roll(values, 3), *arguments, **options)


frontend_at_maps, powerset_decode = frontend.at_maps, powerset.decode
cluster_within, speakers_by_frame = agglomerative.cluster_within, decode.speakers_by_frame
to_turns, count, windows, fbank = decode.to_turns, activity.count_by_probability, frontend.windows, frontend.fbank
distances, dendrogram, centroids = agglomerative.distances, agglomerative.dendrogram, cluster.centroids
BROKEN = {
    "binarized": (powerset, "decode", lambda *a: np.roll(powerset_decode(*a), 1, axis=-2)),
    "count": (activity, "count_by_probability", lambda *a, **k: count(*a, **{**k, "overlap_onset": 1.0})),
    "fbank": (frontend, "fbank", lambda *a, **k: 1.01 * fbank(*a, **k)),
    "masks": (frontend, "at_maps", shifted),
    "windows": (frontend, "windows", lambda *a, **k: windows(*a, **{**k, "hop": k["hop"] * 1.3})),
    "distances": (record_clusters.agglomerative, "distances", lambda *a, **k: 0.9 * distances(*a, **k)),
    "dendrogram": (record_clusters.agglomerative, "dendrogram", lambda d, linkage: dendrogram(d, "single")),
    "clusters": (cluster.agglomerative, "cluster_within", lambda *a, **k: cluster_within(*a, **{**k, "threshold": 0})),
    "voices": (cluster, "centroids", lambda rows, labels: centroids(rows[::-1], labels)),
    "stitched": (decode, "speakers_by_frame", lambda c, labels, pairs: speakers_by_frame(c, labels, pairs[:, :1])),
    "turns": (decode, "to_turns", lambda *a, **k: to_turns(*a, **{**k, "min_duration_off": 0.4})),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_code_is_named_and_what_follows_is_not(name, makers, runs, sound, monkeypatch):
    owner, attribute, broken = BROKEN[name]
    monkeypatch.setattr(owner, attribute, broken)
    report, _ = verify(sound, makers["agglomerative"](), runs["agglomerative"])
    assert report.first == name
    differ = {stage.name for stage in report.stages if stage.ok is False}
    shared = {"masks": {"local_masks"}, "dendrogram": {"clusters"}, "distances": {"clusters"}}  # the same code
    assert differ <= {name, *shared.get(name, ())}


class BrokenSegmentation(ToySegmentation):
    def __call__(self, batch):
        scores = super().__call__(batch)
        return np.roll(scores, 2, axis=-1)


class BrokenEmbedding(ToyEmbedding):
    def pool(self, maps, weights):
        return super().pool(maps, weights)[..., ::-1]


@pytest.mark.parametrize(
    "name,model",
    [("segmentation", {"segmentation": BrokenSegmentation()}), ("embeddings", {"embedding": BrokenEmbedding()})],
)
def test_a_broken_network_is_named(name, model, runs, sound):
    report, _ = verify(sound, diarizer(**model), runs["agglomerative"])
    differ = [stage.name for stage in report.stages if stage.ok is False]
    assert differ == ([name] if name == "segmentation" else ["local_embeddings", "embeddings"])
    assert report.drifted == differ[0]


def test_other_sound_is_named(makers, runs, sound):
    samples, _ = recording(TURNS, 3, seed=1)
    other = samples.copy()
    other[1000] += 0.2
    own = record(makers["agglomerative"](), other, sample_rate=RATE)
    fed = record(makers["agglomerative"](), other, sample_rate=RATE, given=runs["agglomerative"])
    assert compare(own, runs["agglomerative"], fed).first == "sound"


def test_small_differences_that_add_up_are_no_broken_stage(runs):
    own = runs["agglomerative"]
    turns = own.arrays["turns"].copy()
    turns[:, 1] += 0.2
    drifting = Run({**own.arrays, "turns": turns}, own.facts)
    report = compare(drifting, own, own)
    assert report.first is None and report.drifted == "turns"
    assert not report.ok and report.der > 0.005


def test_only_the_beginning_of_a_long_recording(makers, sound):
    run = record(makers["agglomerative"](), sound, longest=20.0)
    assert run.facts["duration"] == 20.0 and run.arrays["turns"][:, 1].max() <= 20.0
    whole = record(makers["agglomerative"](), sound)
    assert run.facts["sound"] != whole.facts["sound"]


@pytest.mark.parametrize(
    "samples", [np.zeros(16_000 * 12, np.float32), np.zeros(10, np.float32)], ids=["silence", "10"]
)
def test_nobody_speaks(samples, makers):
    one = record(makers["agglomerative"](), samples, sample_rate=RATE)
    fed = record(makers["agglomerative"](), samples, sample_rate=RATE, given=one, heard=one)
    assert compare(one, one, fed).ok and not len(one.arrays["turns"])


def test_fewer_bits_are_allowed_more():
    difference = Difference(0.3, 0.97)
    assert not passes(difference, FLOAT32["embeddings"]) and passes(difference, REDUCED["embeddings"])
    assert REDUCED["clusters"] == FLOAT32["clusters"]
    assert not passes(Difference(float("nan"), 1.0), Tolerance("values", 1.0))


def test_every_stage_has_a_tolerance():
    assert set(FLOAT32) == set(STAGES) == set(REDUCED)
    assert {t.how for t in FLOAT32.values()} <= set(COMPARISONS)


def test_turns_of_a_run(runs):
    answer = runs["agglomerative"].answer
    assert all(isinstance(turn, Turn) for turn in answer) and dataclasses.is_dataclass(answer)
