"""What is replayed from one listening is what listening again would hear."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist.audio.decode import open_audio
from diarist.core.config import replace_from
from diarist.core.events import Emitter
from diarist.errors import InputError
from diarist.evaluation.tune_evidence import evidence, evidence_key, file_digest, hear, heard_key
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Listener
from toy_house import CONFIG, recording, write_wav

BASE = replace_from(PipelineConfig(), CONFIG)


class SoftSegmentation(ToySegmentation):
    """One that is not sure, so that thresholds matter."""

    def __call__(self, batch):
        scores = super().__call__(batch)
        doubt = np.abs(np.sin(np.arange(scores.shape[1])[:, None] / 40 + np.arange(scores.shape[2])))
        return np.log(np.exp(scores) * 0.3 + 0.7 * doubt / doubt.sum(axis=1, keepdims=True)).astype(np.float32)


MODELS = (SoftSegmentation(), ToyEmbedding())


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def replayed(path, cache, base, config, pool, models=MODELS):
    heard = hear(path, file_digest(path), cache, base, models, pool, "talk")
    return evidence(heard, config, models, pool)


def listened(path, config, pool, models=MODELS):
    with open_audio(path) as reader:
        return Listener(*models, config, pool, Emitter())(reader.blocks(), reader.duration)


def assert_same(one, other):
    for field in dataclasses.fields(one):
        if field.name == "voices":
            assert one.voices.keys() == other.voices.keys()
            for chunk, voices in one.voices.items():
                np.testing.assert_array_equal(voices, other.voices[chunk])
        elif field.name == "short" and one.short is not None:
            assert one.short.places == other.short.places
            np.testing.assert_array_equal(one.short.directions, other.short.directions)
        else:
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"turns.onset": 0.7, "turns.offset": 0.55},
        {"turns.onset": 0.8, "turns.overlap_onset": 0.2},
        {"turns.overlap_onset": 0.45},
        {"turns.count": "mean"},
        {"embedding.rows": "chunks", "embedding.least": 1.0},
        {"embedding.window": 0.8, "embedding.hop": 0.25},
        {"clustering.method": "vbx-windows"},
        {"clustering.method": "vbx-windows", "turns.onset": 0.7, "turns.overlap_onset": 0.45},
    ],
)
def test_replayed_evidence_is_what_a_run_would_hear(changes, tmp_path, pool):
    samples, _ = recording(40, 3, seed=1)  # more than a section
    path = write_wav(tmp_path / "talk.wav", samples)
    config = replace_from(BASE, changes)
    fresh = listened(path, config, pool)
    assert fresh.num_samples > 60 * 16_000 and fresh.count.any()
    assert_same(fresh, replayed(path, tmp_path, BASE, config, pool))


@pytest.mark.parametrize("seconds", [0.001, 0.3, 59.99, 60.0, 125.0])
def test_any_length_and_silence(seconds, tmp_path, pool):
    path = write_wav(tmp_path / "talk.wav", conversation([(0.0, 0.2, "a")], seconds))
    models = (ToySegmentation(), ToyEmbedding())
    assert_same(listened(path, BASE, pool, models), replayed(path, tmp_path, BASE, BASE, pool, models))


def test_networks_run_once_for_each_file_and_model(tmp_path, pool):
    class Counting(ToySegmentation):
        runs = 0

        def __call__(self, batch):
            Counting.runs += 1
            return super().__call__(batch)

    path = write_wav(tmp_path / "talk.wav", recording(6)[0])
    models = (Counting(), ToyEmbedding())
    replayed(path, tmp_path, BASE, BASE, pool, models)
    runs = Counting.runs
    replayed(path, tmp_path, BASE, replace_from(BASE, {"turns.onset": 0.3}), pool, models)
    assert Counting.runs == runs > 0
    replayed(path, tmp_path, replace_from(BASE, {"segmentation.step": 5.0}), BASE, pool, models)
    assert Counting.runs > runs


def test_keys_tell_what_needs_hearing_from_what_needs_counting():
    def keys(changes):
        config = replace_from(BASE, changes)
        return heard_key(config), evidence_key(config)

    heard, counted = keys({})
    for changes in ({"clustering.threshold": 0.1}, {"turns.min_duration_on": 0.2}):
        assert keys(changes) == (heard, counted)
    for changes in ({"turns.onset": 0.1}, {"turns.count": "mean"}, {"embedding.hop": 0.3}):
        assert keys(changes)[0] == heard and keys(changes)[1] != counted
    with_second = {"clustering.method": "vbx-windows"}
    assert keys(with_second)[0] == heard and keys(with_second)[1] != counted
    assert keys({**with_second, "turns.second_pass": False}) == (heard, counted)
    for changes in ({"segmentation.step": 1.0}, {"embedding.precision": "float32"}, {"segmentation.model": "x"}):
        assert keys(changes)[0] != heard and keys(changes)[1] != counted


def test_another_recording_of_the_same_name_is_heard_again(tmp_path, pool):
    path = write_wav(tmp_path / "talk.wav", recording(6, seed=1)[0])
    first = replayed(path, tmp_path, BASE, BASE, pool)
    write_wav(path, recording(6, seed=2)[0])
    assert replayed(path, tmp_path, BASE, BASE, pool).num_samples != first.num_samples


@pytest.mark.parametrize("suffix", [".maps", ".npz"])
def test_damaged_file_is_named(suffix, tmp_path, pool):
    path = write_wav(tmp_path / "talk.wav", recording(6)[0])
    replayed(path, tmp_path, BASE, BASE, pool)
    for kept in tmp_path.glob(f"*{suffix}"):
        kept.write_bytes(b"short")
    with pytest.raises(InputError, match=r"damaged: delete both"):
        replayed(path, tmp_path, BASE, BASE, pool)


def test_nothing_is_left_of_a_listening_that_fails(tmp_path, pool):
    class Failing(ToySegmentation):
        def __call__(self, batch):
            raise RuntimeError("no")

    path = write_wav(tmp_path / "talk.wav", recording(6)[0])
    cache = tmp_path / "cache"
    cache.mkdir()
    with pytest.raises(RuntimeError):
        replayed(path, cache, BASE, BASE, pool, (Failing(), ToyEmbedding()))
    assert not list(cache.iterdir())


def test_unreadable_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        file_digest(tmp_path / "none.wav")
