"""Held-out windows: made, decoded without being told anything, and scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")

import torch

from diarist.core.types import Diarization, Float32, Turn
from diarist.evaluation import free_running
from diarist.evaluation.free_running import HeldOut, Judge, decoded, recorded, simulated
from diarist.pix2seq import generate as generating
from diarist.pix2seq.config import ModelConfig
from diarist.pix2seq.frontends.mel import MelFrontEnd
from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import Written
from diarist.simulate.sources import find_speakers

RATE = 16_000
FRONT = MelFrontEnd()


def tone(hertz: float, seconds: float) -> Float32:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype("f4")


def network() -> Pix2Seq:
    torch.manual_seed(0)
    config = ModelConfig(frontend="mel", max_seconds=8.0, layers=1, d_model=16, heads=2, frequencies=4)
    return Pix2Seq(config, FRONT.spec).eval()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four voices, each a tone in bursts."""
    root = tmp_path_factory.mktemp("speech")
    for k in range(4):
        (root / f"tone{k}").mkdir()
        burst = np.concatenate([tone(300.0 * (k + 1), 1.5), np.zeros(RATE // 2, "f4")])
        soundfile.write(root / f"tone{k}" / "0.wav", np.tile(burst, 6), RATE)
    return root


def test_simulated_windows_are_the_same_each_time(speech: Path) -> None:
    speakers = find_speakers([speech])
    numbers = {"one": (1, 1), "two-three": (2, 3)}
    made, again = (simulated(FRONT, speakers, 2, 8.0, numbers=numbers) for _ in range(2))
    assert made.keys() == numbers.keys()
    for name, held in made.items():
        assert len(held.features) == len(held.references) == 2
        low, high = numbers[name]
        for reference in held.references:
            assert low <= len({t.speaker for t in reference.turns}) <= high and reference.duration == pytest.approx(8.0)
            assert all(0 <= t.start < t.end <= 8.0 + 1e-6 for t in reference.turns)
        assert all(np.array_equal(a, b) for a, b in zip(held.features, again[name].features, strict=True))
        assert held.references == again[name].references


def test_recordings_are_cut_into_windows(tmp_path: Path) -> None:
    turns = (Turn(0.5, 6.0, "ann"), Turn(6.5, 17.0, "bob"))
    soundfile.write(tmp_path / "one.wav", tone(440.0, 18.5), RATE)
    (tmp_path / "one.rttm").write_text(Diarization(turns, uri="one").to_rttm())
    soundfile.write(tmp_path / "short.wav", tone(440.0, 1.0), RATE)
    (tmp_path / "short.rttm").write_text(Diarization((Turn(0.0, 1.0, "cy"),), uri="short").to_rttm())
    (held,) = recorded(FRONT, [tmp_path], 8.0).values()
    assert [r.duration for r in held.references] == pytest.approx([8.0, 8.0, 2.5, 1.0])
    assert [[(t.start, t.end, t.speaker) for t in r.turns] for r in held.references] == [
        [(0.5, 6.0, "ann"), (6.5, 8.0, "bob")],
        [(0.0, 8.0, "bob")],
        [(0.0, 1.0, "bob")],
        [(0.0, 1.0, "cy")],
    ]


@pytest.mark.parametrize("seconds", [1.0, 3.0, 8.0])
def test_nobody_talks_after_the_end_of_a_window(seconds: float) -> None:
    sounds = [tone(300.0, 8.0), tone(300.0, seconds)]
    features = [FRONT(sound) for sound in sounds]
    whole, part = decoded(network(), features, [8.0, seconds])
    assert whole.turns and part.turns  # a network that has learned nothing says something anywhere
    assert max(t.end for t in part.turns) <= seconds + 1e-6
    assert max(t.end for t in whole.turns) > 3.0


def test_errors_are_pooled_over_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    held = HeldOut()
    for number in range(free_running.BATCH + 3):  # more than a batch
        turns = (Turn(0.0, 2.0 + number % 3, "a"), Turn(5.0, 6.0, "b"))
        held.add(FRONT, tone(300.0, 8.0 - number % 2), turns)
    said: list[tuple[Turn, ...]] = []

    def generate(model: Any, features: Any, lengths: Any, given: Any) -> list[Written]:
        assert len(features) == len(lengths) == len(given) <= free_running.BATCH
        empty = np.zeros(0)
        return [Written(empty.astype("i8"), empty, said.pop(0), ended=True) for _ in features]

    monkeypatch.setattr(generating, "generate", generate)
    judge = Judge({"set": held})
    said += [reference.turns for reference in held.references]
    assert judge(network())["set/der"] == pytest.approx(0.0, abs=1e-9)
    said += [() for _ in held.references]
    figures = judge(network())
    assert (figures["set/der"], figures["set/miss"], figures["set/count-error"]) == pytest.approx((1.0, 1.0, 2.0))
    said += [(reference.turns[0],) for reference in held.references]  # b's second is missed
    total = sum(t.duration for reference in held.references for t in reference.turns)
    assert judge(network())["set/der"] == pytest.approx(len(held.references) / total)
