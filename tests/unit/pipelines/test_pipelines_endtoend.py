"""The end-to-end engine on a model of tones: turns, voices, memories that are joined, bounds on speakers."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from diarist.core.types import Diarization, SpeakerBounds, Turn
from diarist.errors import Cancelled, ConfigError, UsageError, WeightsError
from diarist.evaluation.report import Convention, compare_by
from diarist.models.toy import ToyEmbedding, ToyEndToEnd, conversation
from diarist.pipelines.endtoend import EndToEndDiarizer, answer
from diarist.pipelines.endtoend_decode import turns_of
from diarist.pipelines.endtoend_join import join
from diarist.pipelines.endtoend_listen import Heard, Memory
from diarist.pipelines.endtoend_presets import NEMOTRON, SORTFORMER, DecodingConfig, EndToEndConfig, presets_of
from toy_house import RATE, recording, write_wav

SHORT = {"network.overlap": 10.0}


def diarizer(config=None, *, longest=None, num_speakers=4, **options):
    model = options.pop("model", ToyEndToEnd(num_speakers, longest=longest))
    return EndToEndDiarizer(config=config or {}, model=model, **{"embedding": ToyEmbedding(), **options})


def der(reference, found):
    return compare_by(Convention(), reference, found, None).errors.der


@pytest.fixture(scope="module")
def meeting():
    return recording(90, 3, seed=1)


@pytest.fixture(scope="module")
def found(meeting):
    return diarizer()(meeting[0], sample_rate=RATE)


def test_who_spoke_when(meeting, found):
    assert found.labels == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    assert der(meeting[1], found) < 0.03
    assert found.duration == pytest.approx(len(meeting[0]) / RATE)
    assert found.overlaps()
    assert all(turn.confidence > 0.9 for turn in found)
    assert found.extra["engine"] == "nemotron" and found.extra["memories"] == 1
    assert set(found.extra["timings"]) == {"models", "listening", "decoding"}


def test_every_speaker_has_a_voice(meeting, found):
    """That of the same person in another recording is nearer than anybody else's."""
    other, reference = recording(60, 3, seed=2)
    again = diarizer()(other, sample_rate=RATE)
    assert der(reference, again) < 0.03
    voices = np.stack([speaker.embedding for speaker in found.speakers.values()])
    others = np.stack([speaker.embedding for speaker in again.speakers.values()])
    np.testing.assert_allclose(np.linalg.norm(voices, axis=1), 1, atol=1e-5)
    assert sorted((voices @ others.T).argmax(axis=1)) == [0, 1, 2]


def test_no_voices_where_none_are_asked_for(meeting):
    result = EndToEndDiarizer(model=ToyEndToEnd(), config={"embedding.model": "none"})(meeting[0], sample_rate=RATE)
    assert result.num_speakers == 3
    assert "voices" not in result.extra
    assert all(speaker.embedding is None for speaker in result.speakers.values())


@pytest.mark.parametrize(
    ("config", "longest"), [({**SHORT, "network.window": 45.0}, None), (SHORT, 60.0), (SHORT, 33.3)]
)
def test_memories_are_joined(meeting, found, config, longest):
    result = diarizer(config, longest=longest)(meeting[0], sample_rate=RATE)
    assert result.extra["memories"] > 3
    assert result.num_speakers == 3
    assert der(found, result) < 0.005


def test_joined_by_voice_where_nobody_talks_in_the_overlap():
    """Each memory hears two of four people, who are silent where one takes over; there are more people than slots."""
    turns = [
        (t + s, t + s + 3.5, name)
        for t, pair in ((0, "ab"), (40, "cd"), (80, "ba"), (120, "dc"))
        for name, s in ((pair[0], 1), (pair[1], 5), (pair[0], 9), (pair[1], 13))
    ]
    samples = conversation(turns, 160.0)
    reference = Diarization(tuple(Turn(*turn) for turn in turns))
    config = {"network.overlap": 10.0, "network.window": 40.0}
    one = diarizer(num_speakers=2)(samples, sample_rate=RATE)
    assert one.num_speakers == 2 and "all 2 speakers that the model tells apart were found" in one.warnings[0]
    several = diarizer(config, num_speakers=2)(samples, sample_rate=RATE)
    assert several.num_speakers == 4
    assert der(reference, several) < 0.03
    deaf = diarizer({**config, "embedding.model": "none"}, num_speakers=2, embedding=None)(samples, sample_rate=RATE)
    assert deaf.num_speakers == 8


@pytest.mark.parametrize("window", [0.0, 45.0])
def test_bounds_are_kept(meeting, window):
    one = diarizer({**SHORT, "network.window": window})
    for num in (1, 2, 3):
        result = one(meeting[0], sample_rate=RATE, num_speakers=num)
        assert result.num_speakers == num and result.warnings == ()
    assert one(meeting[0], sample_rate=RATE, max_speakers=2).num_speakers == 2
    many = one(meeting[0], sample_rate=RATE, min_speakers=4)
    assert many.num_speakers == 3 and many.warnings == ("3 found, 4 asked for: the model hears no others",)
    beyond = one(meeting[0], sample_rate=RATE, num_speakers=9)
    assert "--engine clustering has no such limit" in beyond.warnings[0]


def test_who_hardly_talks_is_nobody_unless_asked_for():
    samples = conversation([(0.5, 10, "a"), (11, 20, "b"), (21, 22, "c")], 23.0)
    one = diarizer({"turns.least_talk": 2.0})
    assert one(samples, sample_rate=RATE).num_speakers == 2
    assert one(samples, sample_rate=RATE, num_speakers=3).num_speakers == 3
    assert diarizer()(samples, sample_rate=RATE).num_speakers == 3


def test_nothing_to_hear():
    for samples in (np.zeros(5 * RATE, np.float32), np.zeros(1, np.float32), np.zeros(0, np.float32)):
        result = diarizer()(samples, sample_rate=RATE)
        assert len(result) == 0 and result.num_speakers == 0
    assert len(diarizer(SHORT, longest=60.0)(np.zeros(200 * RATE, np.float32), sample_rate=RATE)) == 0


@pytest.mark.parametrize("seconds", [44.9, 45.0, 45.01, 90.0, 91.0])
def test_windows_that_end_with_the_recording(meeting, seconds):
    samples = meeting[0][: round(seconds * RATE)]
    result = diarizer({**SHORT, "network.window": 45.0})(samples, sample_rate=RATE)
    assert result.duration == pytest.approx(seconds)
    assert der(meeting[1].crop(0, seconds), result) < 0.04


def test_sources_say_the_same(meeting, found, tmp_path):
    path = write_wav(tmp_path / "meeting.wav", meeting[0])
    one = diarizer()
    from_file, from_bytes = one(path), one(path.read_bytes(), uri="x")
    assert [dataclasses.astuple(t) for t in from_file] == [dataclasses.astuple(t) for t in from_bytes]
    assert from_file.uri == "meeting" and from_bytes.uri == "x"
    assert one(io.BytesIO(path.read_bytes())).turns == from_file.turns
    assert der(found, from_file) < 0.001


def test_progress_and_cancelling(meeting):
    seen = []
    diarizer(hooks=[seen.append])(meeting[0], sample_rate=RATE)
    done = [event.done for event in seen if event.kind == "progress"]
    assert done == sorted(done) and done[-1] == pytest.approx(len(meeting[0]) / RATE)
    assert any("scores" in event.arrays for event in seen)
    with pytest.raises(Cancelled):
        diarizer(hooks=[lambda event: event.kind != "progress"])(meeting[0], sample_rate=RATE)


def test_a_model_that_is_broken_is_told():
    class Broken(ToyEndToEnd):
        def finish(self, state):
            return super().finish(state) * np.float32(np.nan)

    with pytest.raises(WeightsError, match="it is broken"):
        diarizer(model=Broken())(np.zeros(RATE, np.float32), sample_rate=RATE)


def test_overlaps_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"at least twice 'network\.overlap'"):
        diarizer({"network.window": 50.0})
    with pytest.raises(UsageError, match="hears 50 s at once, too little for an overlap of 30 s"):
        diarizer(longest=50.0)(np.zeros(RATE, np.float32), sample_rate=RATE)


def heard(scores, step=160):
    scores = np.asarray(scores, np.float16)
    frames = ToyEndToEnd().spec.frames
    frames = dataclasses.replace(frames, size=step, step=step, start=0)
    none = scores[:0]
    return Heard(
        (Memory(0, scores, none, np.zeros((scores.shape[1], 0)), np.zeros(scores.shape[1])),),
        frames,
        len(scores) * step,
    )


def decoded(column, **config):
    column = np.asarray(column, np.float32)
    return [turn[:2] for turn in turns_of(column, heard(column[:, None]), DecodingConfig(**config))]


def test_a_turn_is_its_frames():
    assert decoded([0, 1, 1, 0, 1]) == [(0.01, 0.03), (0.04, 0.05)]
    assert decoded([1, 1]) == [(0.0, 0.02)]
    assert decoded([0, 0]) == []


def test_hysteresis():
    column = [0.2, 0.55, 0.45, 0.35, 0.25, 0.45, 0.55, 0.2]
    assert decoded(column, onset=0.5, offset=0.3) == [(0.01, 0.04), (0.06, 0.07)]
    assert decoded(column, onset=0.6, offset=0.3) == []
    assert decoded(column, onset=0.5, offset=1.0) == decoded(column)


def test_pauses_pads_and_short_turns():
    column = np.zeros(100)
    column[10:30] = column[35:37] = column[60:80] = 1
    assert decoded(column, min_duration_off=0.06) == [(0.1, 0.37), (0.6, 0.8)]
    assert decoded(column, min_duration_on=0.05) == [(0.1, 0.3), (0.6, 0.8)]
    assert decoded(column, min_duration_on=0.05, min_duration_off=0.06) == [(0.1, 0.37), (0.6, 0.8)]
    first = {"min_duration_on": 0.05, "min_duration_off": 0.06, "filter_speech_first": True}
    assert decoded(column, **first) == [(0.1, 0.3), (0.6, 0.8)]
    assert decoded(column, pad_onset=0.02, pad_offset=0.04)[0] == (0.08, 0.41)
    assert decoded(column, pad_onset=0.9)[0][0] == 0.0


def test_confidence_is_the_mean_probability():
    scores = np.array([0, 0.6, 0.8, 0], np.float32)
    (turn,) = turns_of(scores, heard(scores[:, None]), DecodingConfig())
    assert turn[2] == pytest.approx(0.7)


def test_speakers_are_numbered_by_first_turn():
    scores = np.zeros((10, 3))
    scores[6:, 0] = scores[1:3, 2] = 0.9
    found = answer(heard(scores), EndToEndConfig(), SpeakerBounds(), "x")
    assert [(turn.start, turn.speaker) for turn in found] == [(0.01, "SPEAKER_00"), (0.06, "SPEAKER_01")]


def test_without_voices_those_who_talk_least_go():
    scores = np.zeros((100, 3))
    scores[:50, 0] = scores[50:60, 1] = scores[60:90, 2] = 0.9
    joined = join(heard(scores), EndToEndConfig(), SpeakerBounds.of(2))
    assert joined.labels.tolist() == [[0, -1, 1]]
    assert joined.warnings == ("1 who never talk alone were left out, to have no more than 2 speakers",)


@pytest.mark.parametrize("presets", [NEMOTRON, SORTFORMER])
def test_presets(presets, tmp_path):
    for name, preset in presets.presets.items():
        assert presets.resolve(name) == preset.config
        assert presets_of(preset.config.network.model) is presets
    with pytest.raises(UsageError, match="unknown preset 'ofline'; did you mean 'offline'"):
        presets.resolve("ofline")
    path = tmp_path / "mine.toml"
    path.write_text('preset = "low-latency"\n[turns]\nonset = 0.7\n')
    config = presets.resolve(None, path, {"turns.offset": 0.4})
    assert (config.network.latency, config.turns.onset, config.turns.offset) == (1.04, 0.7, 0.4)


def test_fingerprint_changes_with_the_answer():
    assert diarizer().fingerprint == diarizer().fingerprint
    assert diarizer().fingerprint != diarizer({"turns.onset": 0.6}).fingerprint
