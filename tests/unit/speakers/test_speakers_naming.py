"""Names: as probable as said, one to one, and none in doubt."""

from dataclasses import replace

import numpy as np
import pytest

from diarist.core.types import Diarization, Match, Speaker, Turn
from diarist.errors import InputError
from diarist.speakers.config import NamingConfig
from diarist.speakers.gallery import Person
from diarist.speakers.naming import name_speakers, one_to_one, probabilities
from diarist.speakers.scoring import Scorer
from diarist.speakers.voices import Voice

MODEL = "toy int8"
SCORER = Scorer(np.zeros(4), np.eye(4), np.full(4, 1.0), np.full(4, 0.02), 1.0)


def vector(*values):
    x = np.array(values, np.float32)
    return x / np.linalg.norm(x)


ANNA, BO, CY = vector(1, 0.1, 0, 0), vector(0, 1, 0.1, 0), vector(0, 0, 1, 0.1)
PEOPLE = [Person(name, (Voice(v, 60.0, MODEL),)) for name, v in (("Anna", ANNA), ("Bo", BO), ("Cy", CY))]


def result(*voices, seconds=30.0):
    labels = [f"SPEAKER_{i:02d}" for i in range(len(voices))]
    turns = tuple(Turn(i * seconds, (i + 1) * seconds, label) for i, label in enumerate(labels))
    speakers = {label: Speaker(label, v) for label, v in zip(labels, voices, strict=True)}
    return Diarization(turns, "meeting", speakers, extra={"voices": MODEL})


def test_known_voices_get_names_and_strangers_none():
    named = name_speakers(result(BO, vector(0, 0, 0, 1), ANNA), PEOPLE, SCORER)
    assert named.labels == ["Bo", "SPEAKER_01", "Anna"] == list(named.speakers)
    bo = named.speakers["Bo"]
    assert bo.match.probability > 0.98 and bo.matches[0] == bo.match and bo.margin > 0.95
    assert named.speakers["SPEAKER_01"].match is None and named.speakers["SPEAKER_01"].margin is None
    assert named.speakers["Bo"].embedding is not None and named.turns[0].speaker == "Bo"


def test_a_doubtful_voice_keeps_its_label_and_tells_whom_it_may_be():
    between = vector(1, 1.1, 0.1, 0)  # half Anna, half Bo
    named = name_speakers(result(between), PEOPLE, SCORER, NamingConfig(probability=0.9))
    assert named.labels == ["SPEAKER_00"]
    brief = name_speakers(result(ANNA, seconds=0.01), PEOPLE, SCORER)
    assert brief.labels == ["SPEAKER_00"]
    (first, *_) = brief.speakers["SPEAKER_00"].matches
    assert first.name == "Anna" and 0.1 < first.probability < 0.9


def test_a_name_needs_its_margin():
    twins = [PEOPLE[0], replace(PEOPLE[0], name="Ann"), PEOPLE[1]]
    sure = name_speakers(result(ANNA), twins, SCORER, NamingConfig(probability=0.4, margin=0.3))
    assert sure.labels == ["SPEAKER_00"]
    assert [m.probability for m in sure.speakers["SPEAKER_00"].matches[:2]] == pytest.approx([0.5, 0.5], abs=0.01)
    assert name_speakers(result(ANNA), twins, SCORER, NamingConfig(0.4, margin=0.0)).labels[0] in ("Ann", "Anna")


def test_one_name_is_never_given_twice():
    named = name_speakers(result(ANNA, vector(1, 0.12, 0, 0.02), BO), PEOPLE, SCORER)
    assert sorted(named.labels) == ["Anna", "Bo", "SPEAKER_01"] or sorted(named.labels) == ["Anna", "Bo", "SPEAKER_00"]
    (warning,) = named.warnings
    assert "sounds like Anna too" in warning
    assert len(named) == 3 and named.num_speakers == 3


def test_the_better_of_two_wins_and_the_other_gets_its_second_best():
    chances = np.array([[0.9, 0.03, 0.07], [0.95, 0.04, 0.01]])
    assert one_to_one(chances) == [None, 0]
    assert one_to_one(np.array([[0.6, 0.39, 0.01], [0.98, 0.01, 0.01]])) == [1, 0]
    assert one_to_one(np.array([[0.1, 0.2, 0.7]])) == [None]
    assert one_to_one(np.zeros((0, 3))) == [] and one_to_one(np.ones((2, 1))) == [None, None]


def test_probabilities_follow_bayes():
    chances = probabilities(np.log(np.array([[9.0, 3.0]])), 0.4)
    np.testing.assert_allclose(chances, [[0.2 * 9 / 3.0, 0.2 * 3 / 3.0, 0.6 / 3.0]])
    assert probabilities(np.array([[1e5, -1e5]]), 0.5).tolist() == [[1.0, 0.0, 0.0]]
    many = probabilities(np.zeros((1, 1000)), 0.5)  # a gallery that says nothing changes nothing
    assert many[0, -1] == pytest.approx(0.5) and many.sum() == pytest.approx(1)
    assert probabilities(np.zeros((2, 0)), 0.5).shape == (2, 1)


def test_a_larger_gallery_makes_a_name_less_sure():
    crowd = [Person(f"P{i}", (Voice(vector(0, 0, i + 1, 1), 60.0, MODEL),)) for i in range(300)]
    alone = name_speakers(result(ANNA, seconds=0.2), PEOPLE[:1], SCORER).speakers
    among = name_speakers(result(ANNA, seconds=0.2), PEOPLE[:1] + crowd, SCORER).speakers
    first = [next(iter(speakers.values())).matches[0] for speakers in (alone, among)]
    assert first[0].name == first[1].name == "Anna" and first[0].probability > first[1].probability


def test_nothing_to_name():
    silent = Diarization((), "silent", extra={"voices": MODEL})
    assert name_speakers(silent, PEOPLE, SCORER) is silent
    voiceless = Diarization((Turn(0, 1, "SPEAKER_00"),), extra={"voices": MODEL})
    assert name_speakers(voiceless, PEOPLE, SCORER) is voiceless
    assert name_speakers(result(ANNA), [], SCORER).labels == ["SPEAKER_00"]
    with pytest.raises(InputError, match="which model"):
        name_speakers(replace(result(ANNA), extra={}), PEOPLE, SCORER)


def test_names_survive_json():
    from diarist import formats

    named = name_speakers(result(BO, vector(0, 0, 0, 1), ANNA), PEOPLE, SCORER)
    text = formats.dumps(named, "json")
    (again,) = formats.loads(text, "json")
    for label, speaker in named.speakers.items():
        assert again.speakers[label].matches == speaker.matches and again.speakers[label].match == speaker.match
    assert formats.dumps(again, "json") == text and '"probability"' in text and '"margin"' in text
    assert again.speakers["Bo"].matches[0] == Match("Bo", named.speakers["Bo"].match.probability)
    assert "matches" not in formats.dumps(result(ANNA), "json")
    assert " Bo <NA> <NA>" in named.to_rttm()
