"""Runs on disk: what is written is read back, and what is damaged is told in a line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diarist.errors import DiaristError, InputError, UsageError
from diarist.evaluation import runs
from diarist.evaluation.stagewise import compare
from diarist.pipelines.record import Run


@pytest.fixture
def run():
    turns = np.array([[0.5, 2.0, 0], [1.5, 3.25, 1]])
    arrays = {"count": np.array([0, 1, 2, 1], np.uint8), "fbank": np.full((3, 80), np.nan, np.float32), "turns": turns}
    return Run(arrays, {"uri": "talk", "sound": "abc", "duration": 4.0, "config": {"decoding": "neutral"}})


def test_what_is_written_is_read_back(run, tmp_path):
    runs.save(run, tmp_path / "new" / "run")
    again = runs.load(tmp_path / "new" / "run")
    assert set(again.arrays) == set(run.arrays)
    for name, array in run.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
        assert again.arrays[name].dtype == array.dtype
    assert {key: again.facts[key] for key in run.facts} == run.facts
    assert again.answer == run.answer and len(again.answer) == 2
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["run"]


def test_an_earlier_run_is_replaced_whole(run, tmp_path):
    runs.save(Run({**run.arrays, "masks": np.zeros(3)}, run.facts), tmp_path / "run")
    runs.save(run, tmp_path / "run")
    assert not (tmp_path / "run" / "masks.npy").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_something_else_is_not_overwritten(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(UsageError, match="holds something that is no run"):
        runs.save(run, tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        runs.save(run, tmp_path / "thesis.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_nothing_is_left_where_writing_fails(run, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.np, "save", full)
    with pytest.raises(DiaristError, match="No space left"):
        runs.save(run, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def _edit(folder, **changes):
    facts = json.loads((folder / runs.FACTS).read_text())
    (folder / runs.FACTS).write_text(json.dumps({**facts, **changes}))


DAMAGES = {
    "facts": (lambda f: (f / runs.FACTS).write_text("{"), "cannot be read"),
    "list": (lambda f: (f / runs.FACTS).write_text("[]"), "does not say that it is"),
    "form": (lambda f: _edit(f, form="novel"), "does not say that it is"),
    "version": (lambda f: _edit(f, version=9), "version 9"),
    "names": (lambda f: _edit(f, arrays=["../count"]), "names no arrays"),
    "gone": (lambda f: (f / "count.npy").unlink(), "lacks"),
    "cut": (lambda f: (f / "fbank.npy").write_bytes((f / "fbank.npy").read_bytes()[:200]), "holds no array"),
    "noise": (lambda f: (f / "count.npy").write_bytes(b"\x93NUMPY junk"), "holds no array"),
    "objects": (lambda f: np.save(f / "count.npy", np.array([{}], object), allow_pickle=True), "holds no array"),
    "words": (lambda f: np.save(f / "count.npy", np.array(["a"])), "holds no array"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_runs(damage, run, tmp_path):
    runs.save(run, tmp_path / "run")
    spoil, message = DAMAGES[damage]
    spoil(tmp_path / "run")
    with pytest.raises(InputError, match=message):
        runs.load(tmp_path / "run")


def test_a_header_that_promises_too_much(run, tmp_path):
    runs.save(run, tmp_path / "run")
    path = tmp_path / "run" / "turns.npy"
    path.write_bytes(path.read_bytes().replace(b"(2, 3)", b"(9999999, 3)").replace(b" " * 6 + b"\n", b"\n"))
    with pytest.raises(InputError):
        runs.load(tmp_path / "run")


def test_no_run_at_all(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        runs.load(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        runs.load(tmp_path / "nowhere")


@pytest.fixture
def pyannote(tmp_path):
    """A folder as pyannote's arrays of community-1 come: two chunks, two speakers."""
    rng = np.random.default_rng(0)
    segmentation = (rng.random((2, 589, 3)) < 0.3).astype(np.float32)
    segmentation[1, :, 2] = 0
    voices = rng.normal(size=(2, 3, 8)).astype(np.float32)
    voices[1, 2] = np.nan
    np.savez(tmp_path / "segmentations.npz", segmentations=segmentation)
    np.savez(tmp_path / "raw_embeddings.npz", embeddings=voices)
    hard = np.array([[0, 1, 0], [1, 0, -2]], np.int8)
    centroids = 3 * rng.normal(size=(2, 8))
    np.savez(tmp_path / "clustering.npz", hard_clusters=hard, soft_clusters=rng.random((2, 3, 2)), centroids=centroids)
    np.savez(tmp_path / "vbx_state.npz", q_final=np.eye(2), fa=0.07, fb=0.8)
    np.savez(
        tmp_path / "reconstruction.npz",
        count=np.ones((600, 1), np.uint8),
        discrete_diarization=np.ones((600, 2), np.float32),
        chunk_duration=10.0,
        chunk_step=1.0,
        min_duration_off=0.0,
    )
    (tmp_path / "reference.rttm").write_text(
        "SPEAKER a 1 0.500 1.000 <NA> <NA> B <NA> <NA>\nSPEAKER a 1 1.000 2.000 <NA> <NA> A <NA> <NA>\n"
    )
    return tmp_path


def test_the_form_of_community_1(pyannote):
    run = runs.load(pyannote)
    assert run.facts["preset"] == "community-1" and run.facts["chunks"] == [160_000, 16_000]
    assert run.facts["changes"] == {"clustering.Fa": 0.07, "clustering.Fb": 0.8, "turns.min_duration_off": 0.0}
    assert run.arrays["owners"].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]
    assert run.arrays["embeddings"].shape == (5, 8) and run.arrays["count"].shape == (600,)
    assert run.arrays["clusters"].tolist() == [[0, 1, 0], [1, 0, -1]]
    np.testing.assert_allclose(np.linalg.norm(run.arrays["voices"], axis=1), 1)
    assert run.arrays["turns"].tolist() == [[0.5, 1.5, 0], [1.0, 3.0, 1]]
    assert "seeds" not in run.arrays


def test_the_plda_beside_it(pyannote, tmp_path_factory):
    (pyannote / "plda").mkdir()
    np.savez(pyannote / "plda" / "plda.npz", mu=np.zeros(2))
    assert runs.load(pyannote).facts["changes"]["clustering.plda"] == str(pyannote / "plda")


def test_a_damaged_archive(pyannote):
    (pyannote / "clustering.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match=r"clustering\.npz"):
        runs.load(pyannote)


@pytest.fixture
def dumps(tmp_path):
    """What the C++ port and its original dump, side by side."""
    for side in runs.SIDES:
        (tmp_path / f"{side}_segmentations0.txt").write_text("0.1,0.2,\n0.3,nan,\n")
        (tmp_path / f"{side}_segmentations1.txt").write_text("0.5,0.6,\n")
        (tmp_path / f"{side}_count.txt").write_text("0,1,1,2\n")
        (tmp_path / f"{side}_on.txt").write_text("true,false\n")
        (tmp_path / f"{side}_discrete_diarization.txt").write_text("1,0,0,1\n")
    return tmp_path


def test_the_form_of_the_cpp_port(dumps):
    ours, theirs = (runs.load(dumps, side) for side in runs.SIDES)
    assert ours.arrays["segmentations"].tolist()[-2:] == [0.5, 0.6] and ours.arrays["on"].tolist() == [1, 0]
    report = compare(ours, theirs, None, runs.DUMPS)
    assert report.ok
    assert [stage.name for stage in report.stages] == ["segmentations", "on", "count", "discrete_diarization"]


@pytest.mark.parametrize(
    "name,text,ok",
    [
        ("segmentations1", "0.50005,0.6", True),
        ("segmentations1", "0.52,0.6", False),
        ("segmentations1", "0.5", False),
        ("count", "0,1,1,2.0000001", False),
        ("on", "true,true", False),
        ("discrete_diarization", "1,0,0,0", False),
    ],
)
def test_a_dump_that_differs_is_named(dumps, name, text, ok):
    (dumps / f"cpp_{name}.txt").write_text(text)
    report = compare(runs.load(dumps, "cpp"), runs.load(dumps, "py"), None, runs.DUMPS)
    assert report.first == (None if ok else name.rstrip("1"))


def test_a_dump_of_words(dumps):
    (dumps / "cpp_count.txt").write_text("one,two")
    with pytest.raises(InputError, match=r"cpp_count\.txt"):
        runs.load(dumps)
