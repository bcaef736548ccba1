"""Whose voice a recording gives: one person's, or whoever is said."""

import numpy as np
import pytest

from diarist.core.types import Diarization, Speaker, Turn
from diarist.errors import InputError, UsageError
from diarist.speakers.enrol import doubts, voice_to_enrol
from diarist.speakers.gallery import Person
from diarist.speakers.scoring import Scorer
from diarist.speakers.voices import Voice

MODEL = "toy int8"
SCORER = Scorer(np.zeros(3), np.eye(3), np.full(3, 1 / 3), np.full(3, 0.01), 1.0)


def recording(*seconds, confidence=0.8):
    turns, speakers, start = [], {}, 0.0
    for index, length in enumerate(seconds):
        label = f"SPEAKER_{index:02d}"
        turns.append(Turn(start, start + length, label, confidence))
        speakers[label] = Speaker(label, np.eye(3, dtype=np.float32)[index])
        start += length
    return Diarization(tuple(turns), "talk", speakers, extra={"voices": MODEL})


def test_a_monologue():
    found = voice_to_enrol(recording(30.0))
    assert (found.label, found.voice.seconds, found.voice.model, found.voice.source) == (
        "SPEAKER_00",
        30.0,
        MODEL,
        "talk",
    )
    assert found.voice.quality == pytest.approx(0.8) and found.warnings == ()


def test_a_word_of_somebody_else_is_told():
    found = voice_to_enrol(recording(1.0, 30.0))
    assert found.label == "SPEAKER_01" and "2 people speak" in found.warnings[0]


def test_two_people_are_refused_unless_one_is_chosen():
    with pytest.raises(InputError, match=r"SPEAKER_00 20 s, SPEAKER_01 30 s\).*--speaker.*--start"):
        voice_to_enrol(recording(20.0, 30.0))
    assert voice_to_enrol(recording(20.0, 30.0), "SPEAKER_00").voice.embedding.tolist() == [1, 0, 0]
    with pytest.raises(UsageError, match="did you mean 'SPEAKER_01'"):
        voice_to_enrol(recording(20.0, 30.0), "SPEAKER_1")


def test_no_speech_and_little_speech():
    with pytest.raises(InputError, match="nobody speaks in 'talk'"):
        voice_to_enrol(Diarization((), "talk", extra={"voices": MODEL}))
    with pytest.raises(InputError, match="alone long enough"):
        voice_to_enrol(Diarization((Turn(0, 1, "SPEAKER_00"),), "talk", extra={"voices": MODEL}))
    with pytest.raises(InputError, match=r"only 1\.5 s"):
        voice_to_enrol(recording(1.5))
    assert "only 5 s" in voice_to_enrol(recording(5.0)).warnings[0]


def test_what_a_gallery_knows_already():
    anna, bo = (Voice(np.eye(3, dtype=np.float32)[i], 60.0, MODEL, source="x") for i in (0, 1))
    people = [Person("Anna", (anna,)), Person("Bo", (bo,))]
    objection, warnings = doubts("anna", bo, people, SCORER)
    assert "does not sound like Anna" in objection and "sounds like Bo" in warnings[0]
    assert doubts("Anna", anna, people, SCORER) == (None, ())
    assert doubts("Cy", Voice(np.array([0, 0, 1], np.float32), 60.0, MODEL), people, SCORER) == (None, ())
    assert doubts("Cy", anna, [], SCORER) == (None, ())
