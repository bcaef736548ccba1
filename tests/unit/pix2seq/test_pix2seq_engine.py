from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from diarist.core.types import Diarization
from diarist.errors import AudioError, Cancelled, ConfigError, ExtraError, UsageError, WeightsError
from diarist.evaluation.score import Errors, score
from diarist.pix2seq import checkpoint
from diarist.pix2seq.engine import Pix2SeqDiarizer
from diarist.pix2seq.model import Pix2Seq
from pix2seq_house import conversations, hear, learned
from toy_house import write_wav

RATE = 16_000
HEARD = conversations(6)


@pytest.fixture(scope="module")
def model() -> Pix2Seq:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return learned(HEARD, 90)
    finally:
        torch.set_num_threads(threads)


def diarizer(model: Pix2Seq, preset: str = "greedy", **options: object) -> Pix2SeqDiarizer:
    return Pix2SeqDiarizer(preset, model=model, hears=hear, **options)


@pytest.mark.parametrize("preset", ["greedy", "beam"])
def test_one_batch_is_learned_by_heart(model: Pix2Seq, preset: str) -> None:
    """Free-running, with nothing told of the number of turns or speakers: less than 5 % of errors."""
    ask = diarizer(model, preset)
    total = Errors()
    for samples, reference in HEARD:
        found = ask(samples, sample_rate=RATE)
        total += score(reference, found)
        assert found.num_speakers == reference.num_speakers and found.warnings == ()
        assert found.labels == [f"SPEAKER_0{i}" for i in range(found.num_speakers)]
        assert all(0 < turn.confidence <= 1 for turn in found)
    assert total.total > 60 and total.der < 0.05


def test_what_it_says_of_itself(model: Pix2Seq) -> None:
    found = diarizer(model)(HEARD[0][0], sample_rate=RATE, uri="toys")
    assert found.uri == "toys" and found.duration == 20.0
    assert found.extra["engine"] == "pix2seq" and found.extra["preset"] == "greedy" and found.extra["windows"] == 1
    assert found.extra["timings"].keys() == {"models", "writing"}
    assert found.extra["fingerprint"] != diarizer(model, "beam").fingerprint


def test_torch_has_its_threads_back(model: Pix2Seq) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []
        diarizer(model)(HEARD[0][0], sample_rate=RATE, hooks=[lambda event: seen.append(torch.get_num_threads())])
        assert torch.get_num_threads() == 2 and 1 in seen
        with pytest.raises(Cancelled):
            diarizer(model)(HEARD[0][0], sample_rate=RATE, hooks=[lambda event: event.kind != "progress"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_same_again(model: Pix2Seq) -> None:
    for preset, config in (("greedy", None), ("greedy", {"decode.method": "sample", "decode.seed": 3})):
        one, other = (diarizer(model, preset, config=config)(HEARD[1][0], sample_rate=RATE) for _ in range(2))
        assert one.turns == other.turns


def test_bounds_are_kept(model: Pix2Seq) -> None:
    samples = next(s for s, r in HEARD if r.num_speakers == 3)
    ask = diarizer(model)
    for most in (1, 2, 3):
        assert ask(samples, sample_rate=RATE, max_speakers=most).num_speakers == min(most, 3)
    two = next(s for s, r in HEARD if r.num_speakers == 2)
    assert ask(two, sample_rate=RATE, min_speakers=2).turns == ask(two, sample_rate=RATE).turns
    assert ask(two, sample_rate=RATE, num_speakers=3).num_speakers == 3
    assert ask(two, sample_rate=RATE, min_speakers=3).num_speakers == 3
    many = ask(two, sample_rate=RATE, num_speakers=5)
    assert f"{many.num_speakers} found, 5 asked for: the network hears no others" in many.warnings
    with pytest.raises(UsageError, match="at most 1"):
        ask(samples, sample_rate=RATE, min_speakers=2, max_speakers=1)


def test_longer_than_a_window(model: Pix2Seq) -> None:
    samples = np.concatenate([s for s, _ in HEARD[:3]])
    done: list[float] = []
    found = diarizer(model)(
        samples, sample_rate=RATE, hooks=[lambda e: done.append(e.done) if e.kind == "progress" else None]
    )
    assert found.extra["windows"] >= 4 and found.duration == 60.0
    assert done == sorted(done) and done[-1] == 60.0 and len(done) == found.extra["windows"]
    assert all(0 <= t.start < t.end <= 60.0 for t in found)
    for name in found.labels:
        own = [t for t in found if t.speaker == name]
        assert all(a.end <= b.start + 1e-6 for a, b in itertools.pairwise(own))


def test_sound_that_says_nothing(model: Pix2Seq) -> None:
    ask = diarizer(model)
    for samples in (np.zeros(0, np.float32), np.zeros(1, np.float32), np.zeros(RATE * 5, np.float32)):
        found = ask(samples, sample_rate=RATE)
        assert isinstance(found, Diarization) and found.duration == len(samples) / RATE
        assert all(t.end <= found.duration for t in found)
    samples = HEARD[0][0].copy()
    samples[1000:2000] = np.nan
    assert any("1000 samples are NaN" in w for w in ask(samples, sample_rate=RATE).warnings)


def test_files_of_any_kind(model: Pix2Seq, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "talk.wav", HEARD[0][0])
    ask = diarizer(model)
    assert ask(path).uri == "talk" and score(HEARD[0][1], ask(path)).der < 0.1
    (tmp_path / "no.wav").write_text("no sound")
    with pytest.raises(AudioError):
        ask(tmp_path / "no.wav")


def test_from_a_file(model: Pix2Seq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "toys.safetensors"
    checkpoint.save(path, model, licence="MIT", hours_seen=0.1)
    ask = Pix2SeqDiarizer(config={"checkpoint": str(path)}, hears=hear, device="cpu")
    found = ask(HEARD[2][0], sample_rate=RATE)
    assert found.turns == diarizer(model)(HEARD[2][0], sample_rate=RATE).turns
    assert found.extra["checkpoint"].startswith("toys.safetensors ")
    assert checkpoint.weights_of(path) == ["segmentation-3.0", "campplus-zh-en"]
    with pytest.raises(WeightsError, match=r"toys\.safetensors' was trained with another front end 'frames'"):
        Pix2SeqDiarizer(config={"checkpoint": str(path)})(HEARD[2][0], sample_rate=RATE)
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="is not a Pix2Seq checkpoint"):
        Pix2SeqDiarizer(config={"checkpoint": str(path)})(HEARD[2][0], sample_rate=RATE)
    checkpoint.save(path, model, licence="MIT", hours_seen=0.1)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[pix2seq\]'"):
        Pix2SeqDiarizer(config={"checkpoint": str(path)})(HEARD[2][0], sample_rate=RATE)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="unknown preset 'greddy'; did you mean 'greedy'"):
        Pix2SeqDiarizer("greddy")
    with pytest.raises(ConfigError, match=r"unknown key 'decode\.beam'; did you mean 'beams'|'decode\.beam'"):
        Pix2SeqDiarizer(config={"decode.beam": 3})
