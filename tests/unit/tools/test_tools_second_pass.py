"""The script that remakes the second pass: what it learns from; the network trained is the one that is used."""

import sys
from pathlib import Path

import numpy as np
import pytest

from diarist.stages.second_pass import FIRST, NUM_SIGNS, STRIDE, SecondPass

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(TOOLS))
    try:
        import fit_second_pass

        yield fit_second_pass
    finally:
        sys.path.remove(str(TOOLS))


def people(pattern):
    """A character a judged frame: `.` nobody, `a` the first, `b` the second, `c` the third, `x` the first two."""
    rows = [["a" in c or c == "x", "b" in c or c == "x", "c" in c] for c in pattern]
    return np.repeat(np.array(rows), STRIDE, axis=0)


def first_pass(pattern):
    names = {".": (-1, -1), "a": (0, -1), "b": (1, -1), "c": (2, -1), "x": (0, 1)}
    return np.repeat(np.array([names[c] for c in pattern], np.int32), STRIDE, axis=0)


def only(examples):
    (one,) = examples
    return one


def test_people_are_named_so_that_most_is_right(tool):
    told = np.zeros((100, 2, NUM_SIGNS), np.float32)
    one = only(tool.examples(told, first_pass("a" * 60 + "b" * 40), people("b" * 55 + "a" * 45)))
    assert one.talks[:55].tolist() == [[True, False]] * 55 and one.talks[55:].tolist() == [[False, True]] * 45
    assert one.counts.all()


def test_what_is_speech_is_not_asked(tool):
    told = np.zeros((100, 2, NUM_SIGNS), np.float32)
    one = only(tool.examples(told, first_pass("." * 10 + "a" * 50 + "b" * 40), people("a" * 60 + "b" * 30 + "." * 10)))
    assert not one.counts[:10].any() and one.counts[10:90].all() and not one.counts[90:].any()


def test_people_who_were_not_found_or_found_twice_are_left_out(tool):
    told = np.zeros((100, 2, NUM_SIGNS), np.float32)
    missing = only(tool.examples(told, first_pass("a" * 50 + "b" * 50), people("a" * 50 + "b" * 40 + "c" * 10)))
    assert missing.counts[:90].all() and not missing.counts[90:].any()
    told = np.zeros((100, 3, NUM_SIGNS), np.float32)
    twice = only(tool.examples(told, first_pass("a" * 50 + "b" * 40 + "c" * 10), people("a" * 50 + "b" * 50)))
    assert twice.counts[:90].all() and not twice.counts[90:].any()


def test_what_is_learned_of_a_recording_lies_beside_it(tool, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    made = [
        tool.Sample(
            rng.normal(size=(n, 2, NUM_SIGNS)).astype(np.float16), rng.random((n, 2)) < 0.5, rng.random(n) < 0.5
        )
        for n in (7, 5)
    ]
    asked = []
    monkeypatch.setattr(tool, "heard", lambda path, known: asked.append(path) or made)
    for _ in range(2):
        found = tool.learned(tmp_path / "talk.flac", [])
        assert len(found) == 2
        for one, other in zip(found, made, strict=True):
            for name in tool.FIELDS:
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    monkeypatch.setattr(tool, "heard", lambda path, known: asked.append(path) or [])
    assert tool.learned(tmp_path / "silent.flac", []) == tool.learned(tmp_path / "silent.flac", []) == []
    assert [path.stem for path in asked] == ["talk", "silent"]


def test_it_learns_what_the_signs_say_and_says_the_same_without_torch(tool, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    monkeypatch.setattr(tool, "RATE", 2e-2)
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(16):
        talks = rng.random((40, 2)) < 0.5
        signs = rng.normal(size=(40, 2, NUM_SIGNS)).astype(np.float16)
        signs[..., FIRST] = rng.random((40, 2)) < 0.5  # a first pass that knows nothing
        signs[..., -1] = talks * 2 - 1 + 0.1 * signs[..., -1]
        samples.append(tool.Sample(signs, talks, np.ones(40, bool)))
    weights = tool.fitted(samples, epochs=10)
    again = tool.fitted(samples, epochs=10)
    torch.set_num_threads(threads)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    np.savez(tmp_path / "net.npz", **weights)
    net = SecondPass.load(tmp_path / "net.npz")
    said = np.concatenate([net(one.signs.astype(np.float32)) > 0 for one in samples])
    assert (said == np.concatenate([one.talks for one in samples])).mean() > 0.95
