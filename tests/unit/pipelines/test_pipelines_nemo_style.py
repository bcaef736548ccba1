from __future__ import annotations

import itertools

import numpy as np
import pytest

from diarist.core.events import Emitter
from diarist.core.time import Axis
from diarist.core.types import Diarization, Turn
from diarist.errors import Cancelled, UsageError
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.models.vad import FrameClassifier, SegmentationVad
from diarist.pipelines import nemo_style
from diarist.pipelines.nemo_embed import Voices
from diarist.pipelines.nemo_style import NemoStyleDiarizer
from toy_house import RATE, recording

# Toy voices of one speaker are all but equal, and those of two at right angles: much further apart than people's.
COUNT = {"clustering.enhanced_count_thres": 0}


def loud(samples):
    if len(samples) < 160:
        return np.zeros(0, np.float32)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    level = np.abs(frames).mean(axis=1)
    return (np.convolve(level, np.ones(21) / 21, "same") > 0.015).astype(np.float32)


def diarizer(preset="general", changes=None, **options):
    options.setdefault("vad", FrameClassifier(loud, Axis(160, 160)))
    return NemoStyleDiarizer(
        preset, config={**COUNT, **(changes or {})}, segmentation=ToySegmentation(), embedding=ToyEmbedding(), **options
    )


@pytest.fixture(scope="module")
def talk():
    turns = [Turn(1.0, 5.0, "a"), Turn(6.0, 9.5, "b"), Turn(10.5, 14.0, "a"), Turn(15.0, 21.0, "c"), Turn(22, 26, "b")]
    return conversation(turns, 27.0), Diarization(tuple(turns))


@pytest.mark.parametrize("preset", ["general", "meeting", "telephonic"])
def test_every_preset_finds_who_spoke_when(talk, preset):
    samples, reference = talk
    result = diarizer(preset)(samples, sample_rate=RATE, uri="talk")
    assert result.num_speakers == 3
    assert result.labels == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    for expected, speaker in zip(reference, (0, 1, 0, 2, 1), strict=True):
        (turn,) = (turn for turn in result if turn.start < (expected.start + expected.end) / 2 < turn.end)
        assert turn.speaker == f"SPEAKER_0{speaker}"
        assert turn.start == pytest.approx(expected.start, abs=1.0)  # pads of neighbours may meet half-way
        assert turn.end == pytest.approx(expected.end, abs=1.0)
        assert 0 < turn.confidence <= 1
    assert result.extra["engine"] == "nemo-style"
    assert result.extra["preset"] == preset
    assert set(result.extra["timings"]) >= {"models", "reading", "speech", "listening", "clustering"}
    voices = [speaker.embedding for speaker in result.speakers.values()]
    assert all(voice is not None and abs(np.linalg.norm(voice) - 1) < 1e-5 for voice in voices)


def test_the_segmentation_network_as_voice_activity(talk):
    samples, _ = talk
    own = NemoStyleDiarizer(
        config={**COUNT, "vad.model": "segmentation"}, segmentation=ToySegmentation(), embedding=ToyEmbedding()
    )(samples, sample_rate=RATE)
    wrapped = diarizer(vad=SegmentationVad(ToySegmentation()))(samples, sample_rate=RATE)
    assert own.turns == wrapped.turns
    assert own.num_speakers == 3


def test_given_speech_is_taken_as_it_is(talk):
    samples, reference = talk
    spans = [(turn.start, turn.end) for turn in reference]

    def never(_):
        raise AssertionError("the model was asked")

    result = diarizer(vad=FrameClassifier(never, Axis(160, 160)))(samples, sample_rate=RATE, speech=spans)
    assert [(t.start, t.end) for t in result] == spans
    backwards = [(start, end) for start, end in reversed(spans)]
    assert (
        diarizer()(samples, sample_rate=RATE, speech=[*backwards, (2.0, 3.0), (26.5, 99.0)]).turns[:-1] == result.turns
    )
    for wrong in ([(3.0, 2.0)], [(0.0, float("nan"))], [1.0, 2.0], [("a", "b")], "speech", [(0.0, 1.0, 2.0)], [3], 3):
        with pytest.raises(UsageError, match="the end not before the start"):
            diarizer()(samples, sample_rate=RATE, speech=wrong)
    assert len(diarizer()(samples, sample_rate=RATE, speech=[])) == 0


def test_parts_and_regions(talk):
    samples, reference = talk
    spans = [(turn.start, turn.end) for turn in reference]
    result = diarizer()(samples, sample_rate=RATE, speech=spans, offset=7.0, duration=13.0, num_speakers=3)
    assert [(round(t.start, 6), round(t.end, 6)) for t in result] == [(7.0, 9.5), (10.5, 14.0), (15.0, 20.0)]
    assert result.duration == 27.0
    result = diarizer()(samples, sample_rate=RATE, regions=[(0.0, 8.0), (16.0, 18.0)], offset=5.5)
    assert all(5.5 <= t.start < t.end <= 8.01 or 16.0 <= t.start < t.end <= 18.0 for t in result)
    assert sum(t.duration for t in result) == pytest.approx(2.2 + 2.0, abs=0.3)
    beyond = diarizer()(samples, sample_rate=RATE, offset=60.0)
    assert len(beyond) == 0
    assert "begins at 60 s" in beyond.warnings[0]


@pytest.mark.parametrize("preset", ["general", "telephonic"])
def test_a_model_that_knows_nothing(preset):
    blind = FrameClassifier(lambda samples: np.full(len(samples) // 160, np.nan), Axis(160, 160))
    assert len(diarizer(preset, vad=blind)(np.ones(3 * RATE, np.float32), sample_rate=RATE)) == 0


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "1"])
def test_what_is_no_part(value):
    for name in ("offset", "duration"):
        with pytest.raises(UsageError, match=f"{name} must be seconds, 0 or more"):
            diarizer()(np.zeros(RATE, np.float32), sample_rate=RATE, **{name: value})


@pytest.mark.parametrize(
    ("bounds", "count"),
    [({"num_speakers": 2}, 2), ({"num_speakers": 5}, 5), ({"min_speakers": 4}, 4), ({"max_speakers": 2}, 2)],
)
def test_bounds_are_met(talk, bounds, count):
    assert diarizer()(talk[0], sample_rate=RATE, **bounds).num_speakers == count


def test_a_known_count_must_be_given(talk):
    known = diarizer("telephonic", {"clustering.oracle_num_speakers": True})
    with pytest.raises(UsageError, match="oracle_num_speakers asks for a count that is known: give num_speakers"):
        known(talk[0], sample_rate=RATE, min_speakers=2)
    assert known(talk[0], sample_rate=RATE, num_speakers=2).num_speakers == 2


def test_more_speakers_than_the_recording_gives():
    samples = conversation([Turn(0.2, 0.7, "a")], 1.0)
    result = diarizer(changes={"vad.min_duration_on": 0.0})(samples, sample_rate=RATE, num_speakers=9)
    assert 0 < result.num_speakers < 9
    assert "not as many as asked for" in result.warnings[0]


@pytest.mark.parametrize("num_samples", [0, 1, 399, 16_000])
def test_silence_and_next_to_nothing(num_samples):
    result = diarizer(changes={"segmentation.overlap": True})(np.zeros(num_samples, np.float32), sample_rate=RATE)
    assert len(result) == 0
    spans = [(0.0, 99.0)]
    spoken = diarizer()(np.zeros(num_samples, np.float32), sample_rate=RATE, speech=spans)
    assert spoken.num_speakers <= 1


def test_speech_too_short_for_a_voice_is_one_speakers():
    result = diarizer()(np.zeros(1600, np.float32), sample_rate=RATE, speech=[(0.0, 0.1)])
    assert [(t.start, t.end, t.speaker) for t in result] == [(0.0, 0.1, "SPEAKER_00")]


def test_a_second_speaker_where_two_talk():
    turns = [Turn(0.5, 6.0, "a"), Turn(7.0, 13.0, "b"), Turn(14.0, 20.0, "a"), Turn(17.0, 23.0, "b"), Turn(24, 29, "a")]
    samples = conversation(turns, 30.0)
    plain = diarizer("telephonic")(samples, sample_rate=RATE)
    both = diarizer("telephonic", {"segmentation.overlap": True})(samples, sample_rate=RATE)
    assert plain.overlaps() == []
    assert plain.num_speakers == both.num_speakers
    heard = sum(end - start for start, end in both.overlaps())
    assert heard == pytest.approx(3.0, abs=0.4)
    assert all(16.5 < start < end < 20.5 for start, end in both.overlaps() if end - start > 0.1)
    for label in both.labels:
        own = sorted(turn for turn in both if turn.speaker == label)
        assert all(first.end <= second.start for first, second in itertools.pairwise(own))
    alone = diarizer("telephonic", {"segmentation.overlap": True})(samples, sample_rate=RATE, max_speakers=1)
    assert alone.overlaps() == []


def test_long_recordings_go_chunk_by_chunk():
    samples, reference = recording(60, 3, seed=1)
    spans = [(turn.start, turn.end) for turn in reference]
    whole = diarizer()(samples, sample_rate=RATE, speech=spans)
    pieces = diarizer(changes={"clustering.embeddings_per_chunk": 200})(samples, sample_rate=RATE, speech=spans)
    assert whole.num_speakers == pieces.num_speakers == 3
    agree = sum(
        min(a.end, b.end) - max(a.start, b.start)
        for a in whole
        for b in pieces
        if a.speaker == b.speaker and min(a.end, b.end) > max(a.start, b.start)
    )
    assert agree > 0.9 * sum(turn.duration for turn in whole)


def test_the_answer_does_not_depend_on_threads(talk):
    one, four = (diarizer(num_threads=n)(talk[0], sample_rate=RATE) for n in (1, 4))
    assert (one.turns, one.speakers) == (four.turns, four.speakers)


def test_hooks_see_and_cancel(talk):
    events = []
    diarizer(hooks=[events.append])(talk[0], sample_rate=RATE)
    kinds = {(event.stage, event.kind) for event in events}
    assert {("speech", "array"), ("clustering", "array"), ("listening", "progress")} <= kinds
    done = [event.done for event in events if event.kind == "progress"]
    assert max(done) <= 27.0
    with pytest.raises(Cancelled):
        diarizer(hooks=[lambda event: event.stage != "clustering"])(talk[0], sample_rate=RATE)


def test_voices_do_not_depend_on_blocks(talk):
    """Windows asked for together, over block edges, have the voices that they have alone."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        voices = Voices(talk[0], ToyEmbedding(), pool, Emitter())
        assert voices.num_maps == 500 + 500 + 349
        times = np.array([[1.0, 3.0], [9.0, 11.5], [19.5, 20.5], [26.99, 27.0], [0.0, 0.01]])
        together = np.concatenate(voices.answers(voices.of_windows(times)))
        alone = np.concatenate([np.concatenate(voices.answers(voices.of_windows(row[None]))) for row in times])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert not np.isnan(together).any()


def test_models_are_loaded_once_and_where_needed(monkeypatch, talk):
    asked = []
    monkeypatch.setattr(nemo_style, "load_embedding", lambda *_, **__: asked.append("embedding") or ToyEmbedding())
    monkeypatch.setattr(
        nemo_style, "load_segmentation", lambda *_, **__: asked.append("segmentation") or ToySegmentation()
    )
    monkeypatch.setattr(
        nemo_style, "load_vad", lambda *_, **__: asked.append("vad") or FrameClassifier(loud, Axis(160, 160))
    )
    engine = NemoStyleDiarizer(config=COUNT)
    assert asked == []
    engine(talk[0], sample_rate=RATE, speech=[(1.0, 2.0)])
    assert asked == ["embedding"]
    engine(talk[0], sample_rate=RATE)
    engine(talk[0], sample_rate=RATE)
    assert asked == ["embedding", "vad"]
    assert engine.fingerprint != NemoStyleDiarizer("meeting").fingerprint
