"""Each format to the letter, tolerant of what others write, and one line for what does not parse."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from diarist import formats
from diarist.core.types import Diarization, Speaker, Turn
from diarist.errors import FormatError, UsageError
from diarist.formats import uem

MEETING = Diarization(
    (Turn(5.222, 17.744, "SPEAKER_03", 0.75), Turn(16.0, 3725.5, "Ann & <Bob>", 0.5)),
    uri="meeting",
    duration=4000.0,
    speakers={"SPEAKER_03": Speaker("SPEAKER_03", np.array([0.1, np.nan], np.float32))},
    warnings=("fewer speakers than asked for",),
    extra={"fingerprint": "0123456789abcdef", "numpy": np.float32(0.5), "odd": {1: (float("inf"), {2})}},
)
WRITTEN = {
    "rttm": "SPEAKER meeting 1 5.222 12.522 <NA> <NA> SPEAKER_03 <NA> <NA>\n"
    "SPEAKER meeting 1 16.000 3709.500 <NA> <NA> Ann_&_<Bob> <NA> <NA>\n",
    "lab": "5.222 17.744 SPEAKER_03\n16.000 3725.500 Ann & <Bob>\n",
    "text": "[5.222 -- 17.744] --> SPEAKER_03\n[16.000 -- 3725.500] --> Ann & <Bob>\n",
    "audacity": "5.222000\t17.744000\tSPEAKER_03\n16.000000\t3725.500000\tAnn & <Bob>\n",
    "csv": "uri,start,end,speaker,confidence\nmeeting,5.222,17.744,SPEAKER_03,0.7500\n"
    "meeting,16.000,3725.500,Ann & <Bob>,0.5000\n",
    "srt": "1\n00:00:05,222 --> 00:00:17,744\nSPEAKER_03\n\n2\n00:00:16,000 --> 01:02:05,500\nAnn & <Bob>\n",
    "vtt": "WEBVTT\n\n00:00:05.222 --> 00:00:17.744\n<v SPEAKER_03>SPEAKER_03\n\n"
    "00:00:16.000 --> 01:02:05.500\n<v Ann &amp; &lt;Bob&gt;>Ann &amp; &lt;Bob&gt;\n",
}


@pytest.mark.parametrize("format", WRITTEN)
def test_written(format: str) -> None:
    assert formats.dumps(MEETING, format) == WRITTEN[format]


def test_every_format_is_written_and_tried_here() -> None:
    assert set(formats.FORMATS) == set(WRITTEN) | {"json", "textgrid"}
    assert set(formats.READABLE) <= set(formats.FORMATS)


def test_json_says_all() -> None:
    text = formats.dumps(MEETING, "json")
    document = json.loads(text)
    assert document["schema"] == "diarist/1"
    assert (document["uri"], document["duration"], document["num_speakers"]) == ("meeting", 4000.0, 2)
    assert document["turns"][0] == {"start": 5.222, "end": 17.744, "speaker": "SPEAKER_03", "confidence": 0.75}
    assert document["overlaps"] == [{"start": 16.0, "end": 17.744}]
    assert document["warnings"] == ["fewer speakers than asked for"]
    first, second = document["speakers"]
    assert first["embedding"] == [0.1, None]
    assert (first["talk_time"], first["num_turns"]) == (12.522, 1)
    assert first["share"] + second["share"] == pytest.approx(1)
    assert second["embedding"] is None
    assert document["provenance"] == {"fingerprint": "0123456789abcdef", "numpy": 0.5, "odd": {"1": [None, "{2}"]}}
    assert sum("confidence" in line for line in text.splitlines()) == 2  # a turn a line


def test_textgrid_is_as_praat_writes_it() -> None:
    turns = (Turn(0.5, 2, 'the "A"'), Turn(1, 3, "B"), Turn(1.5, 2.5, "B"))
    text = formats.dumps(Diarization(turns, duration=4.0), "textgrid")
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 4 \n')
    assert 'name = "the ""A""" ' in text
    assert text.count('name = "B"') == 2  # overlapping herself
    assert "intervals: size = 3" in text
    (again,) = formats.loads(text, "textgrid")
    assert again.turns == turns
    assert again.duration == 4.0


def test_textgrid_short_form_points_comments_and_utf16() -> None:
    text = (
        'File type = "ooTextFile"\n"TextGrid"\n\n0\n2.5 ! the end\n<exists>\n2\n"IntervalTier"\n"A"\n0\n2.5\n2\n'
        '0\n1\n""\n1\n2.5\n"x"\n"TextTier"\n"clicks"\n0\n2.5\n1\n1.5\n"click"\n'
    )
    (found,) = formats.loads(text, "textgrid")
    assert found.turns == (Turn(1, 2.5, "A"),)


def test_vtt_of_others() -> None:
    text = (
        "\ufeffWEBVTT - talk\r\n\r\nNOTE nothing\r\n\r\n1\r\n01:02.500 --> 01:04.000 align:start\r\n"
        "<v.loud Ann O'Neil>Hello</v> <v Bob>Hi\r\n\r\n00:01:05.000 --> 00:01:06.000\r\nno voice\r\n"
    )
    (found,) = formats.loads(text, "vtt")
    assert [(t.start, t.end, t.speaker) for t in found] == [(62.5, 64.0, "Ann O'Neil"), (62.5, 64.0, "Bob")]


def test_rttm_of_others() -> None:
    text = (
        "\ufeff;; a comment\r\n\r\nSPKR-INFO a 1 <NA> <NA> <NA> unknown x <NA> <NA>\r\n"
        "SPEAKER  a\t1   0.50 1.0 <NA> <NA> x <NA> <NA>\r\n  speaker a 1 3 2 <NA> <NA> y\r\n"
        "SPEAKER b 1 1 0.000 <NA> <NA> z <NA> <NA>\r\nSPEAKER a 1 9 .5 <NA> <NA> x 0.25\r\n"
        "LEXEME a 1 0 1 hi lex x 1\r\n"
    )
    one, two = formats.loads(text, "rttm")
    assert (one.uri, two.uri, two.turns) == ("a", "b", ())
    assert [(t.start, t.end, t.speaker, t.confidence) for t in one] == [
        (0.5, 1.5, "x", 1.0),
        (3.0, 5.0, "y", 1.0),
        (9.0, 9.5, "x", 0.25),
    ]


def test_csv_of_others() -> None:
    for text in (
        "\ufeffSpeaker;Start;End;text\r\nA;0,5;1\r\n".replace("0,5", "0.5").replace(";1\r\n", ';1;"a;b"\r\n'),
        "start\tend\tspeaker\n0.5\t1\tA\n\n",
        'speaker,end,start,confidence\n"A",1,0.5,\n',
    ):
        (found,) = formats.loads(text, "csv", name="x/talk.csv")
        assert (found.uri, found.turns) == ("talk", (Turn(0.5, 1, "A"),))


def test_audacity_of_others() -> None:
    text = "0.5\t1.0\tA\n\\\t100\t200\n2\t2\tpoint\n3\t4\n"
    assert formats.loads(text, "audacity")[0].turns == (Turn(0.5, 1, "A"), Turn(3, 4, ""))


def test_json_lines_and_arrays() -> None:
    one = formats.dumps(MEETING, "json")
    flat = json.dumps(json.loads(one))
    for text in (one + one, f"{flat}\n{flat}\n", f"[{flat}, {flat}]", "\ufeff" + one + "\n\n" + one):
        assert [d.turns for d in formats.loads(text, "json")] == [MEETING.turns] * 2


BROKEN = [
    ("rttm", "SPEAKER a 1 0 1 <NA> <NA>", "x.rttm:1: a SPEAKER line has at least 8 fields"),
    ("rttm", "\nSPEAKER a 1 0 -1 <NA> <NA> A", "x.rttm:2: the duration must not be negative, but is -1"),
    ("rttm", "SPEAKER a 1 0 nan <NA> <NA> A", "x.rttm:1: the duration must be a number, not 'nan'"),
    ("rttm", "SPEAKER a 1 inf 1 <NA> <NA> A", "the start must be a number, not 'inf'"),
    ("rttm", "SPEAKER my file 1 0 1 <NA> <NA> A", "the speaker's name, is <NA>"),
    ("rttm", "SPEAKER a 1 0 1 <NA> <NA> Ann Lee <NA> <NA>", "at most 10 fields, not 11 (names must not hold blanks)"),
    ("rttm", "hello world", "x.rttm:1: an RTTM line begins with SPEAKER, not 'hello'"),
    ("lab", "0 1", "x.lab:1: a label line has a start, an end and a speaker"),
    ("lab", "2 1 A", "x.lab:1: the turn ends at 1 s, before its start at 2 s"),
    ("audacity", "0 1 A", "x.audacity:1: an Audacity label has"),
    ("text", "0 -- 1 A", "x.text:1: expected '[start -- end] --> speaker', not '0 -- 1 A'"),
    ("text", "[a -- 1] --> A", "the start must be a number, not 'a'"),
    ("csv", "a,b\n1,2\n", "x.csv:1: the header lacks the column 'start'"),
    ("csv", "start,end,speaker\n1,2\n", "x.csv:2: the row has 2 fields, the header 3"),
    ("csv", 'start,end,speaker\n1,2,"A\n', "x.csv:2: unexpected end of data"),
    ("csv", "start,end,speaker\n1,x,A\n", "x.csv:2: the end must be a number, not 'x'"),
    ("vtt", "hello", "x.vtt:1: a WebVTT file begins with WEBVTT"),
    ("vtt", "", "x.vtt:1: a WebVTT file begins with WEBVTT"),
    ("vtt", "WEBVTT\n\n00:00 --> x\n<v A>A", "x.vtt:3: the start of a cue must be a time"),
    ("vtt", "WEBVTT\n\n00:02.000 --> 00:01.000\n<v A>A", "x.vtt:3: the turn ends at 1 s"),
    ("textgrid", "hello", "x.textgrid:1: the file ends where the text should be"),
    ("textgrid", '"a" "b"', "x.textgrid:1: a TextGrid begins with"),
    (
        "textgrid",
        '"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n"IntervalTier"\n"A"\n0 1 1\n0 x "y"\n',
        ":10: expected the xmax",
    ),
    ("textgrid", '"ooTextFile" "TextGrid" 0 1 <exists> 1.5', "must be a whole number, not 1.5"),
    ("textgrid", '"ooTextFile" "TextGrid" 0 1 <exists> 2 ', "the file ends where the class of a tier should be"),
    ("json", "{", "x.json:1: not valid JSON"),
    ("json", '{"a": NaN}', "NaN is no number"),
    ("json", "[" * 100_000, "not valid JSON"),
    ("json", "7", "a document cannot be int 7"),
    ("json", "{}", "x.json: lacks 'schema'"),
    ("json", '{"schema": "diarist/9"}', "its schema is 'diarist/9'"),
    ("json", '{"schema": "diarist/1", "uri": "a", "turns": [{"start": 1}]}', "x.json: turns[0] lacks 'end'"),
    ("json", '{"schema": "diarist/1", "uri": "a", "turns": [{"start": 1, "end": true}]}', "'end' cannot be bool True"),
    ("json", '{"schema": "diarist/1", "uri": "a", "turns": [{"start": 1, "end": 0}]}', "turns[0] ends at 0 s"),
    ("json", '{"schema": "diarist/1", "uri": "a", "turns": [{"start": 1, "end": 1e999}]}', "'end' must be a number"),
    ("json", '{"schema": "diarist/1", "uri": "a", "turns": [3]}', "turns[0] a turn cannot be int 3"),
    ("json", '{"schema": "diarist/1", "uri": 3, "turns": []}', "'uri' cannot be int 3"),
    (
        "json",
        '{"schema": "diarist/1", "uri": "a", "turns": [], "speakers": [{"label": "A", "embedding": ["x"]}]}',
        "speakers[0] each number of an embedding cannot be str 'x'",
    ),
]


@pytest.mark.parametrize(("format", "text", "says"), BROKEN)
def test_broken(format: str, text: str, says: str) -> None:
    with pytest.raises(FormatError) as caught:
        formats.loads(text, format, name=f"x.{format}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", formats.READABLE)
@pytest.mark.parametrize(
    "text", ["\0\0\0", "]]]]", "1 2 3", '"', "-->", "\t\t", "SPEAKER", "{}[]", "a,b,c\n1", "[1 -- 2", "\ufeff"]
)
def test_no_text_makes_a_traceback(format: str, text: str) -> None:
    try:
        found: Any = formats.loads(text, format)
    except FormatError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(one, Diarization) for one in found)


class TestUem:
    def test_of_others(self) -> None:
        text = "\ufeff;; c\r\na 1 0 10.5\r\n\r\nb\t1\t3 3\r\na NA 20 30 extra\r\n"
        assert uem.loads(text) == [("a", 0, 10.5), ("a", 20, 30)]

    def test_written(self) -> None:
        assert uem.dumps([("my file", 0, 1.5)]) == "my_file 1 0.000 1.500\n"

    @pytest.mark.parametrize(
        ("text", "says"),
        [("a 1 0", "x.uem:1: a UEM line has 4 fields"), ("a 1 3 2", "before its start"), ("a 1 x 2", "not 'x'")],
    )
    def test_broken(self, text: str, says: str) -> None:
        with pytest.raises(FormatError) as caught:
            uem.loads(text, name="x.uem")
        assert says in str(caught.value)


def test_subtitles_of_odd_names() -> None:
    odd = Diarization((Turn(0, 1, "a\n\n-->b"), Turn(1, 2, ""), Turn(100 * 3600, 100 * 3600 + 0.9996, "x")))
    cues = formats.dumps(odd, "srt").split("\n\n")
    assert cues[0] == "1\n00:00:00,000 --> 00:00:01,000\na ->b"
    assert cues[1].endswith("\n_")
    assert "100:00:00,000 --> 100:00:01,000" in cues[2]
    assert formats.dumps(odd, "vtt").count("-->") == 3


def test_unknown_and_unreadable_formats() -> None:
    with pytest.raises(UsageError, match=r"unknown format 'jsn'; did you mean 'json'\?"):
        formats.dumps(MEETING, "jsn")
    with pytest.raises(UsageError, match="srt cannot be read back"):
        formats.loads("1", "srt")
