"""The router: one network up to its limit, clustering beyond."""

from __future__ import annotations

import io

import numpy as np
import pytest

from diarist.core.types import SpeakerBounds
from diarist.errors import ExtraError, UsageError
from diarist.models.toy import ToyEmbedding, ToyEndToEnd
from diarist.pipelines import endtoend
from diarist.pipelines.auto import AutoDiarizer, pieces
from diarist.pipelines.auto_presets import PRESETS, resolve
from diarist.pipelines.endtoend import EndToEndDiarizer
from toy_house import RATE, diarizer, recording, write_wav


def auto(config=None, **options):
    end_to_end = EndToEndDiarizer(model=ToyEndToEnd(4), embedding=ToyEmbedding())
    parts = {"clustering": diarizer(), "counting": diarizer(), "end_to_end": end_to_end}
    return AutoDiarizer(config=config or {}, **{**parts, **options})


@pytest.fixture(scope="module")
def few():
    return recording(30, 3, seed=3)[0]


@pytest.fixture(scope="module")
def many():
    return recording(60, 6, seed=3)[0]


def test_few_speakers_go_to_the_network(few):
    result = auto()(few, sample_rate=RATE)
    assert result.num_speakers == 3
    assert result.extra["engine"] == "nemotron" and "counting" in result.extra["timings"]
    assert result.extra["router"] == {
        "engine": "nemotron",
        "reason": "3 speakers counted, within nemotron's limit of 4",
        "limit": 4,
        "count": 3,
    }


def test_many_speakers_are_clustered(many):
    result = auto()(many, sample_rate=RATE)
    assert result.num_speakers == 6 and result.extra["engine"] == "clustering" and result.warnings == ()
    assert result.extra["router"]["reason"] == "6 speakers counted, beyond nemotron's limit of 4"


def test_the_limit_can_be_lower(few):
    assert auto({"router.limit": 2})(few, sample_rate=RATE).extra["router"]["engine"] == "clustering"
    assert auto({"router.limit": 99})(few, sample_rate=RATE).extra["router"]["limit"] == 4


@pytest.mark.parametrize(
    ("bounds", "engine"),
    [
        ((None, None, 4), "nemotron"),
        ((2, None, None), "nemotron"),
        ((5, None, None), "clustering"),
        ((None, 5, None), "clustering"),
    ],
)
def test_bounds_come_before_any_count(few, bounds, engine):
    counting = diarizer()
    counting._run = None  # would fail
    one = auto(counting=counting)
    assert one.route(few, SpeakerBounds.of(*bounds), sample_rate=RATE).engine == engine


def test_a_model_that_is_missing_is_told(few, monkeypatch):
    asked = []

    def missing(*_, **__):
        asked.append(1)
        raise ExtraError("transformers>=5.18", "transformers", "Nemotron 3 Diarization")

    monkeypatch.setattr(endtoend, "load_endtoend", missing)
    one = auto(end_to_end=EndToEndDiarizer())
    for _ in range(2):
        result = one(few, sample_rate=RATE)
        assert result.extra["engine"] == "clustering"
        assert "pip install 'diarist[transformers]'; clustering was used" in result.warnings[0]
    assert len(asked) == 1


def test_streams_are_heard_twice(few, tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self, data):
            self.data = io.BytesIO(data)

        def read(self, size=-1):
            return self.data.read(size)

        def readable(self):
            return True

    path = write_wav(tmp_path / "few.wav", few)
    for source in (Pipe(path.read_bytes()), io.BytesIO(path.read_bytes()), path.read_bytes(), path):
        result = auto()(source)
        assert result.num_speakers == 3 and result.extra["router"]["count"] == 3


@pytest.mark.parametrize(("duration", "starts"), [(1000.0, [0, 200, 400, 600, 800]), (None, [0, 60, 120, 180, 240])])
def test_pieces_are_spread_over_the_recording(duration, starts):
    seconds = np.repeat(np.arange(1000, dtype=np.float32), RATE)
    for size in (RATE, 160_000, 7_777_777):
        cut = (seconds[first : first + size] for first in range(0, len(seconds), size))
        found = np.concatenate(list(pieces(cut, duration, 300.0)))[::RATE]
        assert found.tolist() == [start + second for start in starts for second in range(60)]


def test_long_recordings_are_counted_in_pieces(many):
    result = auto({"router.sample": 60.0})(many, sample_rate=RATE)
    assert 1 <= result.extra["router"]["count"] <= 6


def test_presets():
    for name, preset in PRESETS.items():
        assert resolve(name) == preset.config
    assert AutoDiarizer("sortformer").end_to_end.config.network.model == "sortformer"
    assert AutoDiarizer(config={"router.model": "nemotron:x.onnx"}).end_to_end.config.network.model == "nemotron:x.onnx"
    with pytest.raises(UsageError, match="unknown preset"):
        resolve("nemotronn")
