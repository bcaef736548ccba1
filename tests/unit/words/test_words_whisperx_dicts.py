"""`assign_word_speakers`: dictionaries in, dictionaries out, nothing touched."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Diarization, Turn
from diarist.errors import UsageError
from diarist.words.whisperx_dicts import CONFIDENCE, assign_word_speakers

TURNS = [Turn(0.0, 5.0, "SPEAKER_00"), Turn(5.0, 10.0, "SPEAKER_01")]


def transcript(*words, **segment):
    return {"segments": [{"start": 0.0, "end": 10.0, "text": "t", **segment, "words": list(words)}], "language": "en"}


def word(start=None, end=None, text="w"):
    times = {"start": start, "end": end}
    return {"word": text, **{key: time for key, time in times.items() if time is not None}}


def speakers(result):
    return [w.get("speaker") for segment in result["segments"] for w in segment.get("words", [])]


def test_nothing_that_is_given_is_touched():
    given_ = transcript(word(1, 2), word(6, 7))
    given_["segments"][0]["chars"] = [{"char": "w"}]
    before = copy.deepcopy(given_)
    result = assign_word_speakers(TURNS, given_, {"SPEAKER_00": [1.0]}, fill_nearest=True)
    assert given_ == before
    assert speakers(result) == ["SPEAKER_00", "SPEAKER_01"]
    assert result["speaker_embeddings"] == {"SPEAKER_00": [1.0]}
    assert result["language"] == "en"
    result["segments"][0]["chars"][0]["char"] = "changed"
    assert given_ == before


def test_words_without_end_without_start_without_any_and_without_length():
    given_ = transcript(word(1), word(None, 6), word(), word(7, 7), word(9, 8))
    assert speakers(assign_word_speakers(TURNS, given_)) == ["SPEAKER_00", *["SPEAKER_01"] * 4]


def test_a_gap_is_nobodys_unless_filled():
    turns = [Turn(0, 1, "A"), Turn(10, 11, "B"), Turn(12, 13, "B"), Turn(100, 101, "B")]
    given_ = transcript(word(9.0, 9.5))
    assert speakers(assign_word_speakers(turns, given_)) == [None]
    filled = assign_word_speakers(turns, given_, fill_nearest=True)
    assert speakers(filled) == ["B"]
    assert 0 < filled["segments"][0]["words"][0][CONFIDENCE] < 0.5
    nearer = transcript(word(100.5, 100.8))
    assert speakers(assign_word_speakers([Turn(0, 100, "A"), Turn(103, 104, "B")], nearer, fill_nearest=True)) == ["A"]


def test_segments_without_words_and_without_times():
    segments = {
        "segments": [{"start": 6.0, "end": 7.0, "text": "a"}, {"text": "b", "words": [word(1, 2)]}, {"text": "c"}]
    }
    result = assign_word_speakers(TURNS, segments)
    assert [segment.get("speaker") for segment in result["segments"]] == ["SPEAKER_01", "SPEAKER_00", None]


@pytest.mark.parametrize("empty", [None, [], Diarization()])
def test_no_turns(empty):
    given_ = transcript(word(1, 2))
    result = assign_word_speakers(empty, given_, {"A": [0.0]})
    assert result == {**given_, "speaker_embeddings": {"A": [0.0]}}


def test_old_speakers_do_not_stay():
    given_ = transcript({**word(20, 21), "speaker": "OLD"})
    assert speakers(assign_word_speakers(TURNS, given_)) == [None]


def test_word_segments_that_are_the_words_stay_so_and_others_are_named_too():
    given_ = transcript(word(1, 2))
    given_["word_segments"] = given_["segments"][0]["words"]
    result = assign_word_speakers(TURNS, given_)
    assert result["word_segments"][0] is result["segments"][0]["words"][0]
    given_["word_segments"] = [word(6, 7)]
    assert assign_word_speakers(TURNS, given_)["word_segments"][0]["speaker"] == "SPEAKER_01"


def test_sentences():
    given_ = transcript(word(4.0, 4.4, "Where"), word(4.4, 4.8, "is"), word(4.8, 5.3, "it?"), word(5.4, 6, "Here."))
    assert speakers(assign_word_speakers(TURNS, given_)) == ["SPEAKER_00", "SPEAKER_00", "SPEAKER_01", "SPEAKER_01"]
    kept = assign_word_speakers(TURNS, given_, sentences=True)
    assert speakers(kept) == ["SPEAKER_00", "SPEAKER_00", "SPEAKER_00", "SPEAKER_01"]


def test_turns_of_any_kind():
    pandas = pytest.importorskip("pandas")
    rows = [(0.0, 5.0, "SPEAKER_00"), (5.0, 10.0, "SPEAKER_01")]
    frame = pandas.DataFrame(rows, columns=["start", "end", "speaker"])
    before = frame.copy()
    mappings = [dict(zip(("start", "end", "speaker"), row, strict=True)) for row in rows]
    given_ = transcript(word(1, 2), word(6, 7))
    expected = assign_word_speakers(TURNS, given_)
    for turns in (frame, Diarization(tuple(TURNS)), mappings, rows, Diarization(tuple(TURNS)).to_dataframe()):
        assert assign_word_speakers(turns, given_) == expected
    pandas.testing.assert_frame_equal(frame, before)
    empty = frame.iloc[:0]
    assert assign_word_speakers(empty, given_) == given_
    assert assign_word_speakers(pandas.DataFrame(), given_) == given_


def test_annotations_and_exclusive_turns():
    core = pytest.importorskip("pyannote.core")

    class Output:  # pyannote 4's
        speaker_diarization = core.Annotation()
        exclusive_speaker_diarization = core.Annotation()

    Output.speaker_diarization[core.Segment(0, 5), 0] = "A"
    Output.speaker_diarization[core.Segment(3, 4), 1] = "B"
    Output.exclusive_speaker_diarization[core.Segment(0, 3), 0] = "A"
    Output.exclusive_speaker_diarization[core.Segment(3, 4), 1] = "B"
    given_ = transcript(word(3.2, 3.8))
    assert speakers(assign_word_speakers(Output, given_)) == ["B"]
    assert speakers(assign_word_speakers(Output, given_, exclusive=True)) == ["B"]
    assert speakers(assign_word_speakers(Output, given_, exclusive=False)) == ["A"]  # a tie, and A began first
    assert speakers(assign_word_speakers(Output, given_, strict=True)) == ["A"]
    surer = [Turn(0, 5, "A", 0.5), Turn(3, 4, "B", 0.9)]
    assert speakers(assign_word_speakers(surer, given_)) == ["A"]
    assert speakers(assign_word_speakers(surer, given_, exclusive=True)) == ["B"]


@pytest.mark.parametrize("rules", [True, "3.8", "3.7"])
def test_strict_adds_speakers_and_nothing_else(rules):
    given_ = transcript(word(1, 2), word(6, 7))
    result = assign_word_speakers(TURNS, given_, {"SPEAKER_00": [1.0]}, strict=rules)
    assert result["segments"][0]["words"][1] == {"word": "w", "start": 6, "end": 7, "speaker": "SPEAKER_01"}
    assert result["speaker_embeddings"] == {"SPEAKER_00": [1.0]}


def test_strict_has_the_faults():
    turns = [Turn(0, 1, "A"), Turn(10, 11, "B"), Turn(12, 13, "B"), Turn(100, 101, "B")]
    far = transcript(word(9.0, 9.5))
    assert speakers(assign_word_speakers(turns, far, fill_nearest=True, strict="3.7")) == ["A"]
    assert speakers(assign_word_speakers(turns, far, fill_nearest=True, strict="3.8")) == ["B"]
    middle = [Turn(0, 100, "A"), Turn(103, 104, "B")]
    assert speakers(assign_word_speakers(middle, transcript(word(100.5, 100.8)), None, True, strict=True)) == ["B"]
    assert speakers(assign_word_speakers(TURNS, transcript(word(1, 1), word(2)), strict=True)) == [None, None]
    assert "speaker_embeddings" not in assign_word_speakers([], far, {"A": [1.0]}, strict="3.8")
    assert "speaker_embeddings" in assign_word_speakers([], far, {"A": [1.0]}, strict="3.7")
    with pytest.raises(UsageError, match="'w' goes from 1 to None"):
        assign_word_speakers(TURNS, transcript(word(1)), strict="3.7")
    with pytest.raises(UsageError, match=r"3\.8, 3\.7"):
        assign_word_speakers(TURNS, far, strict="2.0")


@pytest.mark.parametrize(
    ("turns", "given_", "message"),
    [
        (TURNS, None, "a transcript is a dictionary"),
        (TURNS, [], "a transcript is a dictionary"),
        (TURNS, {"segments": 3}, "'segments' must be a list"),
        (TURNS, {"segments": ["a"]}, "'segments' must be a list of dictionaries"),
        (TURNS, {"segments": [{"words": ["a"]}]}, "'words' must be a list of dictionaries"),
        ([{"start": 0, "speaker": "A"}], {"segments": []}, "lacks 'end'"),
        ([("a", "b", "c")], {"segments": []}, "must be numbers"),
        ([3], {"segments": []}, "a turn has a start, an end and a speaker"),
        ([(math.nan, 1, "A")], {"segments": []}, "not a number"),
        ({"start": [0.0], "end": [1.0]}, {"segments": []}, "lack the column 'speaker'"),
        ("talk.rttm", {"segments": []}, "not a path: diarist.formats.read"),
        (Path("talk.rttm"), {"segments": []}, "not a path"),
        (3, {"segments": []}, "a frame, a diarization or a list of turns, not int"),
        ([(10**400, 1, "A")], {"segments": []}, "must be numbers"),
    ],
)
def test_what_cannot_be(turns, given_, message):
    with pytest.raises(UsageError, match=message) as caught:
        assign_word_speakers(turns, given_)
    assert len(str(caught.value)) < 200


def test_what_does_not_go_together():
    with pytest.raises(UsageError, match="leave one out"):
        assign_word_speakers(TURNS, {"segments": []}, strict=True, sentences=True)
    with pytest.raises(UsageError, match="voices by speaker, and is no list"):
        assign_word_speakers(TURNS, {"segments": []}, [1.0])
    with pytest.raises(UsageError, match=r"'w' goes from 1000.* to 2: WhisperX's rules need numbers"):
        assign_word_speakers(TURNS, transcript(word(10**400, 2)), strict=True)


@pytest.mark.parametrize("nobody", [None, math.nan, np.float32("nan")])
def test_turns_of_nobody_are_passed_over(nobody):
    result = assign_word_speakers([(0, 2, nobody), (0, 1, "A")], transcript(word(0, 2), word(1.5, 1.6)))
    assert [w.get("speaker") for w in result["segments"][0]["words"]] == ["A", None]
    frame = {"start": [0, 0], "end": [2, 1], "speaker": [nobody, "A"]}
    assert assign_word_speakers(frame, transcript(word(0, 2), word(1.5, 1.6))) == result
    pandas = pytest.importorskip("pandas")
    for kind in ("object", "string", "category"):
        table = pandas.DataFrame({**frame, "speaker": pandas.Series([None, "A"], dtype=kind)})
        assert assign_word_speakers(table, transcript(word(0, 2), word(1.5, 1.6))) == result


def test_a_transcript_that_holds_itself():
    given_ = transcript(word(0, 1))
    given_["self"] = given_
    result = assign_word_speakers([(0, 2, "A")], given_)
    assert result["self"] is result
    assert "speaker" not in given_["segments"][0]


NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-5, 30), st.text(max_size=3), st.just(math.nan))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6), st.booleans(), st.booleans())
def test_any_times_are_an_answer(times, fill, sentences):
    words = [{"word": "a.", "start": start, "end": end} for start, end in times]
    given_ = {"segments": [{"words": words}]}
    before = copy.deepcopy(given_)
    result = assign_word_speakers(TURNS, given_, fill_nearest=fill, sentences=sentences)
    assert repr(given_) == repr(before)
    assert set(speakers(result)) <= {None, "SPEAKER_00", "SPEAKER_01"}
