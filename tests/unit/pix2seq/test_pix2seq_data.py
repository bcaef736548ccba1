from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from diarist.core.config import from_dict
from diarist.core.types import Diarization, Turn
from diarist.errors import ConfigError, ExtraError, InputError, UsageError, WeightsError
from diarist.pix2seq.config import ModelConfig, PromptConfig
from diarist.pix2seq.data import Examples, cropped, drawn, find_recordings, read_parts, with_known
from diarist.pix2seq.frontends import codec, front_end
from diarist.pix2seq.frontends.disturbance import Disturbance
from diarist.pix2seq.frontends.mel import MelFrontEnd
from diarist.pix2seq.train_config import AugmentConfig, DataConfig

RATE = 16_000
MODEL = ModelConfig(frontend="mel", max_seconds=8.0)


@pytest.fixture
def config(speech: Path) -> DataConfig:
    still = AugmentConfig(speed=0.0, levels=0.0)
    return DataConfig(speech=(str(speech),), speakers=(2, 2), conversation=(20.0, 20.0), first=2, most=3, augment=still)


def examples(config: DataConfig, cache: Path, seed: int = 1) -> Examples:
    return Examples(config, MODEL, MelFrontEnd(), cache, seed)


def test_an_example_is_its_number(config: DataConfig, tmp_path: Path) -> None:
    one, two = examples(config, tmp_path / "one"), examples(config, tmp_path / "two")
    for number in (0, 5, 3):
        left, right = one[number], two[number]
        assert np.array_equal(left.features, right.features) and left.turns == right.turns
    assert not np.array_equal(one[0].features[:50], one[1].features[:50])
    other = examples(config, tmp_path / "one", seed=2)[0]
    assert other.turns != one[0].turns


def test_what_is_kept_is_what_was_made(config: DataConfig, tmp_path: Path) -> None:
    first = examples(config, tmp_path)[0]
    again = examples(config, tmp_path)
    again.speakers = []  # nothing can be made any more
    assert np.array_equal(again[0].features, first.features)
    for path in tmp_path.rglob("*.npz"):
        path.write_bytes(b"nonsense")
        assert read_parts(path) is None
    assert np.array_equal(examples(config, tmp_path)[0].features, first.features)


def test_what_is_heard_fits_the_turns(config: DataConfig, tmp_path: Path) -> None:
    made = examples(replace(config, tempo=(0.8, 1.25), noisy=0.0), tmp_path)
    for number in range(12):
        example = made[number]
        loud = example.features.max(axis=1)
        middles = (np.arange(len(loud)) + 0.5) * example.seconds / len(loud)
        talks = np.array([any(t.start + 0.1 < m < t.end - 0.1 for t in example.turns) for m in middles])
        quiet = np.array([all(m < t.start - 0.3 or m > t.end + 0.6 for t in example.turns) for m in middles])
        if talks.sum() > 10 and quiet.sum() > 5:
            assert np.median(loud[talks]) > np.median(loud[quiet])
        assert all(0 <= t.start < t.end <= example.seconds + 1e-6 for t in example.turns)


def test_what_is_heard_once_serves_any_way_of_cutting_it(config: DataConfig, tmp_path: Path) -> None:
    examples(config, tmp_path).prepare(0)
    cut = replace(config, tempo=(1.0, 1.0), spliced=0.9, voice_noise=1.0, recast=0.5, shorter=0.5, first=1, most=1)
    other = examples(cut, tmp_path)
    other.speakers = []  # nothing can be made any more
    assert other[0].turns
    with pytest.raises((IndexError, ValueError, UsageError)):
        again = examples(replace(cut, noisy=0.1), tmp_path)
        again.speakers = []
        again[0]


def test_the_last_examples_are_plain(config: DataConfig, tmp_path: Path) -> None:
    never = examples(replace(config, spliced=0.0), tmp_path)
    mixed = examples(replace(config, spliced=1.0, plain=5), tmp_path)
    for number in range(8):
        assert (mixed[number].turns == never[number].turns) is (number >= 5)


def test_more_conversations_as_it_goes_on(config: DataConfig, tmp_path: Path) -> None:
    made = examples(replace(config, first=4, reuse=10, most=6), tmp_path)
    assert [made.num_made(n) for n in (0, 9, 10, 25, 1000)] == [4, 4, 5, 6, 6]


def test_knobs_are_turned(config: DataConfig) -> None:
    rng = np.random.default_rng(0)
    easy = replace(config, interruptions=(0.0,), silence=(2.0, 2.0), backchannels=(0.0,), loudness=(0.0,), noisy=0.0)
    kind = drawn(replace(easy, alone=0.0), rng)
    assert kind.turns.overlap_changes == (0.0,) and kind.turns.gap_median == pytest.approx(2.0)
    assert (kind.turns.backchannels, kind.acoustics.level_spread, kind.acoustics.noise) == (0.0, 0.0, 0.0)
    assert kind.speakers == (2, 2)
    assert drawn(replace(easy, alone=1.0), rng).speakers == (1,)


def test_windows_cut_turns() -> None:
    turns = (Turn(0.0, 2.0, "a"), Turn(1.5, 4.0, "b"), Turn(3.95, 9.0, "a"), Turn(9.5, 10.0, "c"))
    assert cropped(turns, 1.0, 3.0) == (Turn(0.0, 1.0, "a"), Turn(0.5, 3.0, "b"))


def test_known_speakers_come_first() -> None:
    tones = {"a": 300.0, "b": 700.0}
    turns = [Turn(2.0 * k, 2.0 * k + 1.8, "ab"[k % 2]) for k in range(15)]
    samples = np.zeros(30 * RATE, np.float32)
    for turn in turns:
        first, last = round(turn.start * RATE), round(turn.end * RATE)
        samples[first:last] = np.sin(2 * np.pi * tones[turn.speaker] * np.arange(last - first) / RATE)
    made, said = with_known(samples, turns, 12 * RATE, PromptConfig(seconds=3.0), np.random.default_rng(3))
    assert len(made) == 12 * RATE
    assert [t.speaker for t in said[:2]] == ["a", "b"] and said[0].start == 0.0
    assert said[1].start == pytest.approx(said[0].end + 0.2)
    for turn in said:
        piece = made[round((turn.start + 0.05) * RATE) : round((turn.end - 0.05) * RATE)]
        if len(piece) > RATE // 4:
            spectrum = np.abs(np.fft.rfft(piece))
            assert np.argmax(spectrum) * RATE / len(piece) == pytest.approx(tones[turn.speaker], abs=8.0)


def test_recordings_with_their_rttm(speech: Path, config: DataConfig, tmp_path: Path) -> None:
    sound, rate = soundfile.read(speech / "tone0" / "0.wav")
    soundfile.write(tmp_path / "one.wav", sound, rate)
    turns = (Turn(1.0, 3.0, "Zoe"), Turn(2.0, 5.0, "Adam"))
    (tmp_path / "one.rttm").write_text(Diarization(turns, uri="one").to_rttm())
    (tmp_path / "lost.rttm").write_text(Diarization(turns, uri="lost").to_rttm())
    assert [(path.name, said) for path, said in find_recordings([tmp_path])] == [("one.wav", turns)]
    only = replace(config, rttm=(str(tmp_path),), real=1.0)
    seen = [t.speaker for n in range(6) for t in examples(only, tmp_path / "cache")[n].turns]
    assert set(seen) <= {"Zoe", "Adam"} and seen
    with pytest.raises(InputError, match="RTTM of the same name"):
        find_recordings([speech])


def test_too_few_speakers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.speech"):
        examples(DataConfig(), tmp_path)
    with pytest.raises(ConfigError, match="K/N"):
        from_dict(DataConfig, {"fold": "4/4"})


def test_mel_is_where_the_sound_is() -> None:
    samples = np.zeros(4 * RATE, np.float32)
    samples[2 * RATE : 3 * RATE] = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    front = MelFrontEnd()
    features = front(samples)
    assert features.shape == (250, 80) == (front.num_tokens(len(samples)), front.spec.channels)
    loud = np.flatnonzero(features.max(axis=1) > -3)
    assert loud[0] / front.rate == pytest.approx(2.0, abs=0.05) and loud[-1] / front.rate == pytest.approx(
        3.0, abs=0.05
    )
    assert len(set(features[130:180].argmax(axis=1))) == 1
    assert front(samples[:100]).shape == (1, 80)


def test_a_tempo_takes_fewer_features() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 4 * RATE).astype("f4")
    front = MelFrontEnd()
    heard = front.hear(samples)
    plain = front.window(heard, 0, 4 * RATE)
    fast = front.window(heard, 0, 2 * RATE, Disturbance(np.random.default_rng(0), speed=2.0))
    assert np.array_equal(fast, plain[::2])


class _Standin:
    """A codec whose latent vector is the loudness of its frame, and whose code is its number."""

    sample_rate, rate, channels = 16_000, 50.0, 3

    def encode(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = samples[: len(samples) // 320 * 320].reshape(-1, 320)
        codes = np.tile(np.arange(len(frames))[:, None] % 1024, (1, codec.NUM_BOOKS))
        return np.repeat(np.abs(frames).mean(axis=1, keepdims=True), 3, axis=1).astype("f4"), codes


@pytest.mark.parametrize(("name", "channels"), [("dac", 3), ("dac-codes", 8)])
def test_a_codec_that_is_there(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_Dac", _Standin)
    front = front_end(name)
    samples = np.concatenate([np.zeros(RATE), np.full(RATE, 0.5)]).astype("f4")
    features = front.window(front.hear(samples), 0, len(samples))
    assert features.shape == (100, channels) and front.spec.channels == channels
    if name == "dac":
        assert features.dtype == np.float32 and not features[:50].any() and np.allclose(features[50:], 0.5)
    else:
        assert features.dtype == np.int64 and features[:, 0].tolist() == list(range(100)) and front.spec.codes == 1024
    assert front(samples[:10]).shape == (1, channels)


@pytest.mark.parametrize("name", ["dac", "dac-codes"])
def test_no_codec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("dac", "encodec"):
        monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[codec\]'"):
        front_end(name)


def test_a_codec_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("Could not load this library:\nlibtorchaudio.so")

    monkeypatch.setattr(codec, "_Dac", broken)
    monkeypatch.setitem(__import__("sys").modules, "encodec", None)
    with pytest.raises(WeightsError, match=r"cannot be loaded: Could not load this library: libtorchaudio\.so"):
        front_end("dac")


def test_a_codec_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(model_type: str) -> None:
        raise OSError("no network")

    module = SimpleNamespace(utils=SimpleNamespace(download=download), DAC=SimpleNamespace(load=None))
    monkeypatch.setitem(__import__("sys").modules, "dac", module)
    with pytest.raises(WeightsError, match="no network"):
        front_end("dac")


def test_a_front_end_that_is_none() -> None:
    with pytest.raises(ConfigError, match="did you mean 'mel'"):
        front_end("mels")


@pytest.mark.weights
def test_frames_say_who_talks_and_with_which_voice() -> None:
    front = front_end("frames")
    samples = np.random.default_rng(0).normal(0, 0.01, 30 * RATE).astype("f4")
    for length, num in ((30 * RATE, 89), (5 * RATE, 15), (400, 1)):
        features = front.window(front.hear(samples[:length]), 0, length)
        assert features.shape == (num, front.spec.channels) and np.isfinite(features).all()
    heard = front.hear(samples)
    still, again = (front.window(heard, 0, 30 * RATE) for _ in range(2))
    assert np.array_equal(still, again)
    shapes = {front.window(heard, 0, n, Disturbance(np.random.default_rng(n), 0.3, 1.2)).shape for n in (RATE * 20,)}
    assert shapes == {(60, front.spec.channels)}
    assert all(a < b for a, b in itertools.pairwise(heard["starts"].tolist()))
