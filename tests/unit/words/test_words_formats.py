"""Transcripts as text: there and back, recognised by content, and what is odd about other people's files."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Transcript, Utterance, Word
from diarist.errors import DiaristError, FormatError, InputError, UsageError
from diarist.words import formats

TIMED = sorted(set(formats.FORMATS) - {"txt"})


def sample():
    """Two speakers in one utterance, a word without times, a second utterance without words."""
    words = (
        Word("Hello,", 0.1, 0.5, "Ann", 0.9, 0.99),
        Word("you", speaker="Ann", confidence=0.8),
        Word("there!", 0.9, 1.5, "Ann", 1.0),
        Word("Über", 2.0, 2.25, "Bob", 0.7, 0.5),
        Word("alles?", 2.5, 3.0, "Bob", 0.7),
    )
    first = Utterance("Hello, you there! Über alles?", 0.1, 3.0, "Ann", 0.85, words)
    return Transcript((first, Utterance("你好 & <so> *on* [x]", 4.0, 5.5, "Ann", 1.0)), "talk", "en")


def spoken(transcript):
    return [(u.speaker, u.text) for u in transcript.utterances]


PIECES = [("Ann", "Hello, you there!"), ("Bob", "Über alles?"), ("Ann", "你好 & <so> *on* [x]")]


@pytest.mark.parametrize("format", sorted(formats.FORMATS))
def test_there_and_back(format, tmp_path):
    path = formats.output_path(tmp_path, "talk", format)
    formats.write(sample(), path, format)
    (back,) = formats.read(path)
    assert back.uri.removesuffix(".seglst") == "talk"
    if format == "json":
        assert back == sample()
    elif format in ("csv", "ctm"):
        assert [(w.text, w.speaker) for w in back.words][:5] == [(w.text, w.speaker) for w in sample().words]
        assert [w.score for w in back.words][:4] == [0.99, None, None, 0.5]
        assert [u.speaker for u in back.utterances] == ["Ann", "Bob", "Ann"]
    else:
        assert spoken(back) == PIECES
    if format != "txt":
        assert [u.start for u in back.utterances][-1] == 4.0
        assert back.utterances[-1].end == pytest.approx(5.5)
    again = formats.dumps(back, format)
    assert formats.dumps(formats.loads(again, format, name="talk")[0], format) == again


@pytest.mark.parametrize("format", sorted(formats.FORMATS))
def test_recognised_by_content(format):
    text = formats.dumps(sample(), format)
    assert formats.sniffed(text) == format
    assert formats.sniffed("\ufeff\r\n" + text.replace("\n", "\r\n")) == format


@pytest.mark.parametrize(
    ("line", "format"),
    [
        ("r 1 0.5 0.2 seven", "ctm"),
        ("r 1 0.5 0.2 7", "ctm"),
        ("r 1 0.5 0.2 7 0.9", "ctm"),
        ("r 1 0.5 0.2 7 NA lex Ann", "ctm"),
        ("r 1 Ann 0.5 0.7 seven", "stm"),
        ("r 1 Ann 0.5 0.7", "stm"),
        ("r 1 3 0.5 0.7 it is seven", "stm"),
        ("r 1 Ann 0.5 0.7 7", "stm"),
        ("r 1 Ann", None),
    ],
)
def test_ctm_and_stm_look_alike(line, format):
    assert formats.sniffed(f";; from NIST\n\n{line}\n") == format


NAMES = st.sampled_from(["A", "SPEAKER_00", "Zoë", "a.b-c"])
WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N")), min_size=1, max_size=8).filter(
    lambda text: text.strip() == text and len(text.split()) == 1
)


@st.composite
def transcripts(draw):
    """Utterances one after the other, a speaker and some words each."""
    at, utterances = 0.0, []
    for _ in range(draw(st.integers(0, 6))):
        speaker, texts = draw(NAMES), draw(st.lists(WORDS, min_size=1, max_size=4))
        words = tuple(Word(text, at + place, at + place + 0.5, speaker) for place, text in enumerate(texts))
        utterances.append(Utterance(" ".join(texts), at, words[-1].end, speaker, words=words))
        at += len(texts) + 2
    return Transcript(tuple(utterances), "talk")


@settings(max_examples=60, deadline=None)
@given(transcripts(), st.sampled_from(sorted(formats.FORMATS)))
def test_any_transcript_there_and_back(transcript, format):
    (back,) = formats.loads(formats.dumps(transcript, format), format, name="talk")
    if format == "md":  # which joins what one speaker says
        assert "".join(u.text.replace(" ", "") for u in back.utterances) == "".join(
            u.text.replace(" ", "") for u in transcript.utterances
        )
        assert set(back.speakers) == set(transcript.speakers)
    else:
        assert spoken(back) == spoken(transcript)
        if format != "txt":
            assert [(u.start, u.end) for u in back.utterances] == [(u.start, u.end) for u in transcript.utterances]


def test_several_recordings():
    stm = "a 1 Ann 0 1 hello\nb 1 Bob 0 1 <o,f0,male> good day\na 1 Bob 1 2 ignore_time_segment_in_scoring\n"
    first, second = formats.loads(stm)
    assert (first.uri, spoken(first), second.uri, spoken(second)) == (
        "a",
        [("Ann", "hello")],
        "b",
        [("Bob", "good day")],
    )
    seglst = json.dumps([{"session_id": s, "words": "x", "start_time": "1.5", "end_time": 2} for s in "ab"])
    assert [(t.uri, t.utterances[0].start) for t in formats.loads(seglst)] == [("a", 1.5), ("b", 1.5)]
    ctm = ";; a comment\nt 1 0.5 0.2 hi 0.9\nt 2 0.1 0.2 ho\n"
    assert [(t.uri, t.words[0].text) for t in formats.loads(ctm)] == [("t_1", "hi"), ("t_2", "ho")]
    assert formats.loads("x 1 2.0 0.2 b\nx 1 1.0 0.2 a\n")[0].words[0].text == "a"  # in order of start


def test_openai_verbose_json():
    document = {
        "task": "transcribe",
        "language": "english",
        "duration": 3.0,
        "text": "Hello, you. Fine!",
        "segments": [
            {"id": 0, "start": 0.0, "end": 1.5, "text": " Hello, you.", "tokens": [1], "avg_logprob": -0.1},
            {"id": 1, "start": 1.5, "end": 3.0, "text": " Fine!"},
        ],
        "words": [
            {"word": "Hello", "start": 0.1, "end": 0.5},
            {"word": "you", "start": 0.6, "end": 0.9},
            {"word": "Fine", "start": 2.0, "end": 2.4},
        ],
    }
    (found,) = formats.loads(json.dumps(document))
    assert [[w.text for w in u.words] for u in found.utterances] == [["Hello,", "you."], ["Fine!"]]
    assert (found.language, found.words[2].start) == ("english", 2.0)
    del document["segments"]
    assert [u.text for u in formats.loads(json.dumps(document))[0].utterances] == ["Hello you", "Fine"]
    del document["words"]
    assert formats.loads(json.dumps(document))[0].utterances == (Utterance("Hello, you. Fine!", 0.0, 3.0),)


def test_openai_diarized_json():
    document = {
        "task": "transcribe",
        "duration": 4.2,
        "text": "Agent: Hi. A: Yes.",
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": "s1",
                "start": 0.0,
                "end": 2.0,
                "text": " Hi.",
                "speaker": "agent",
            },
            {"type": "transcript.text.segment", "id": "s2", "start": 2.0, "end": 4.2, "text": " Yes.", "speaker": "A"},
        ],
        "usage": {"type": "duration", "seconds": 5},
    }
    (found,) = formats.loads(json.dumps(document))
    assert spoken(found) == [("agent", "Hi."), ("A", "Yes.")]


def test_whisper_json_and_voice_tags_and_other_subtitles():
    words = [{"word": " a", "start": 0, "end": 1, "probability": 0.5}]
    whisper = {"segments": [{"start": 0, "end": 1, "text": " a", "words": words}]}
    assert formats.loads(json.dumps(whisper))[0].words == (Word("a", 0.0, 1.0, score=0.5),)
    cue = "1\n00:01.000 --> 00:02.500 align:start\n<v Ann Lee>Hi &amp; <b>bye</b>\nyou</v>\n"
    vtt = f"WEBVTT\nKind: captions\n\nNOTE a note\n\n{cue}"
    assert formats.loads(vtt)[0].utterances == (Utterance("Hi & bye you", 1.0, 2.5, "Ann Lee"),)
    cues = ("1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Hi</i> <unk>", "2\r\n00:00:03,000 --> 00:00:04,000\r\n[Bob]: Yo")
    srt = "\r\n\r\n".join(cues) + "\r\n"
    assert spoken(formats.loads(srt)[0]) == [(None, "Hi <unk>"), ("Bob", "Yo")]


def test_words_as_csv_of_others():
    semicolons = "\ufeffToken;Begin;End;Speaker_ID\nhi;0,5;0,75;S1\n\nyou;;;\n"
    (found,) = formats.loads(semicolons, "csv")
    assert found.words == (Word("hi", 0.5, 0.75, "S1"), Word("you"))
    assert formats.sniffed(semicolons.lower()) == "csv"


def segments(**changes):
    return json.dumps({"segments": [{"start": 0.0, "end": 1.0, "text": "a", **changes}]})


@pytest.mark.parametrize(
    ("text", "utterance"),
    [
        (segments(start="0.25", end="1.5"), Utterance("a", 0.25, 1.5)),
        (segments(start="00:01:00.5", end=None), Utterance("a", 60.5, None)),
        (segments(start=-0.5), Utterance("a", -0.5, 1.0)),
        (segments(start=3.0), Utterance("a", 3.0, None)),  # an end before its start is no end
        (segments().replace("0.0", "NaN"), Utterance("a", None, 1.0)),
        (segments(text=None), Utterance("", 0.0, 1.0)),
        (segments(speaker=3), Utterance("a", 0.0, 1.0, "3")),
        (segments(speaker=" A\nB "), Utterance("a", 0.0, 1.0, "A B")),
        ('\ufeff[{"start": 1, "end": 2, "text": "a"}]', Utterance("a", 1.0, 2.0)),
    ],
)
def test_odd_but_clear(text, utterance):
    assert formats.loads(text)[0].utterances == (utterance,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (segments(start="soon"), r"segments\[0\] the start must be a time in seconds, not 'soon'"),
        (segments(end=True), "the end must be a time in seconds, not 'True'"),
        (segments(end=10**400), "must be a time"),
        (segments(end=1e300), "must be a time"),
        (segments().replace("0.0", "Infinity"), "must be a time"),
        (segments(text=3), "'text' must be a text, not int"),
        (segments(words=3), r"segments\[0\] 'words' must be a list"),
        (segments(words=[3]), r"words\[0\] must be an object"),
        (segments(words=[{"start": 1}]), r"segments\[0\] words\[0\] lacks 'word'"),
        ('{"segments": [', "<text>:1: not valid JSON"),
        ('{"segments": 3}', "'segments' must be a list"),
        ('{"a": 1}', "neither 'segments' nor 'words'"),
        ('{"schema": "diarist/1", "turns": []}', "give it as --turns"),
        ("[" * 100_000, "not valid JSON"),
        ('[{"session_id": "a", "words": 3}]', "segment 0 must have its 'words' as a text"),
        ('[{"session_id": "a", "words": ""}, 3]', "segment 1 must be an object"),
        ("SPEAKER a 1 0.0 1.0 <NA> <NA> A <NA> <NA>\n", "give them as --turns"),
        ("WEBVTT\n\n00:00 --> soon\nx\n", "<text>:3: the end of the cue must be a time"),
        ("1\n00:00:01,000 --> \nx\n", "<text>:2: a cue has a start and an end"),
        ("x 1 a 0.5 word", "no transcript known here"),
        ("x 1 0.5 -0.5 word", "<text>:1: the duration must not be negative"),
        ("start\tend\ttext\n1\tx\ty\n", "<text>:2: the end must be a number, not 'x'"),
        ("0.1\t0.5\t[[A]]a\nb\n", "<text>:2: an Audacity label"),
        ("start,end,word\n1,x,a\n", "<text>:2: the end must be a time in seconds, not 'x'"),
        ("**A** [x]\n", "no transcript known here"),
        ("once upon a time", "no transcript known here"),
    ],
)
def test_what_is_wrong_is_said_on_one_line(text, message):
    with pytest.raises(FormatError, match=message) as caught:
        formats.loads(text, "srt" if text.startswith("1\n") else None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("ctm", "x 1 nan 0.1 a"),
        ("stm", "x 1 A nan 1 a"),
        ("ctm", "x 1"),
        ("ctm", "x 1 1e300 0.1 a"),
        ("stm", "x"),
        ("md", "text\n"),
        ("tsv", "a\tb\n"),
        ("csv", "start,end\n1,2\n"),
        ("vtt", "x"),
        ("seglst", "{}"),
        ("srt", '{"segments": []}'),
        ("srt", "once upon a time"),
        ("csv", 'start,end,word\n0.1,0.2,"a\n0.3,0.4,b\n'),  # a quote that nothing ends would swallow the rest
    ],
)
def test_not_what_it_is_said_to_be(format, text):
    with pytest.raises(FormatError):
        formats.loads(text, format)


@pytest.mark.parametrize("text", ["", "\ufeff", "\n \r\n"])
@pytest.mark.parametrize("format", [None, *sorted(formats.FORMATS)])
def test_nothing_is_an_empty_transcript(text, format):
    assert formats.loads(text, format, name="x.json") == [Transcript(uri="x")]


@pytest.mark.parametrize("format", sorted(formats.FORMATS))
def test_an_empty_transcript_there_and_back(format):
    (back,) = formats.loads(formats.dumps(Transcript(uri="talk"), format), format, name="talk")
    assert back.utterances == ()


@pytest.mark.parametrize("format", sorted(formats.FORMATS))
def test_what_has_no_times_or_strange_ones(format):
    untimed = Transcript((Utterance("a b", speaker="A"),), "talk")
    if format in ("json", "txt", "md", "seglst", "csv"):
        assert formats.loads(formats.dumps(untimed, format), format, name="talk")[0].speakers == ["A"]
    else:
        with pytest.raises(UsageError, match=f"{format} needs times"):
            formats.dumps(untimed, format)
    strange = Transcript((Utterance("a --> b\n\nc\td", -1.0, 0.5, "A]: B"), Utterance("e", 1e6, 1e6 + 1)), "talk")
    back = formats.loads(formats.dumps(strange, format), format, name="talk")[0]
    assert len({u.speaker for u in back.utterances}) == 2


def test_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        formats.read(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match="not a text in UTF-8"):
        formats.read(tmp_path / "binary.json")
    with pytest.raises(UsageError, match=r"unknown format 'jsn'"):
        formats.dumps(Transcript(), "jsn")
    with pytest.raises(UsageError, match="names no format"):
        formats.write(Transcript(), tmp_path / "x.docx")
    with pytest.raises(DiaristError, match="cannot write"):
        formats.write(Transcript(), tmp_path / "none" / "x.srt")
    (tmp_path / "talk.txt").write_text("WEBVTT\n")  # a name says more than a look
    assert formats.read(tmp_path / "talk.txt")[0].utterances[0].text == "WEBVTT"


@pytest.mark.parametrize("name", ["talk.srt", "talk.vtt", "talk.txt", "talk.tsv", "talk.csv"])
@pytest.mark.parametrize("format", ["json", "seglst", "srt", "vtt"])
def test_files_that_are_plainly_something_else_than_they_are_called(tmp_path, name, format):
    (tmp_path / name).write_text(formats.dumps(sample(), format))
    assert spoken(formats.read(tmp_path / name)[0]) == spoken(formats.loads(formats.dumps(sample(), format), format)[0])


@pytest.mark.parametrize("said", ["{laughs} well", "[noise] well", "SPEAKER one and then there were two more", "1"])
def test_plain_text_that_looks_a_little_like_something_else(tmp_path, said):
    (tmp_path / "talk.txt").write_text(said)
    assert formats.read(tmp_path / "talk.txt")[0].utterances[0].text == said


def test_json_lines():
    rows = [{"start": 0.0, "end": 1.0, "text": "a"}, {"start": 1.0, "end": 2.0, "text": "b", "speaker": "B"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert spoken(formats.loads(text)[0]) == [(None, "a"), ("B", "b")]
    rows = [{"session_id": "s", "speaker": who, "start_time": 0, "end_time": 1, "words": "a b"} for who in ("A", "B")]
    (found,) = formats.loads("\n".join(map(json.dumps, rows)))
    assert (found.uri, spoken(found)) == ("s", [("A", "a b"), ("B", "a b")])
    with pytest.raises(FormatError, match="<text>:2: not valid JSON: Extra data"):
        formats.loads('{"segments": []}\n}')


@pytest.mark.parametrize("format", ["srt", "vtt"])
def test_arrows_in_a_cue(format):
    transcript = Transcript((Utterance("left ---> right --> up", 0.0, 1.0, "a-->b"),), "talk")
    (back,) = formats.loads(formats.dumps(transcript, format), format)
    assert spoken(back) == [("a->b", "left -> right -> up")]


def test_blocks_of_webvtt_that_are_no_cues():
    text = "WEBVTT\n\nNOTE\nthis --> that\n\nSTYLE\n::cue { --> }\n\nNOTED\n00:01.000 --> 00:02.000\nNOTE it down\n"
    assert formats.loads(text)[0].utterances == (Utterance("NOTE it down", 1.0, 2.0),)


@pytest.mark.parametrize("format", ["aud", "stm", "md", "seglst", "tsv", "json"])
@pytest.mark.parametrize("said", ["<i>well</i> then", "<NA>", "<o>", "[x] y", "[[A]]b", "# c", "1. d"])
def test_texts_that_begin_strangely_come_back(format, said):
    transcript = Transcript((Utterance(said, 0.0, 1.0, "[odd]"),), "talk")
    (back,) = formats.loads(formats.dumps(transcript, format), format, name="talk")
    assert [(u.speaker, u.text) for u in back.utterances] == [("(odd)" if format == "aud" else "[odd]", said)]


def test_long_cues_are_cut_and_wrapped():
    words = tuple(Word(f"word{n:03d}", n, n + 0.5, "A") for n in range(50))
    text = formats.dumps(Transcript((Utterance(" ".join(w.text for w in words), 0, 50, "A", words=words),)), "srt")
    cues = text.strip().split("\n\n")
    assert len(cues) == 5
    assert all(len(cue.split("\n")) <= 4 and max(map(len, cue.split("\n"))) <= 54 for cue in cues)


def test_markdown_is_taken_literally_by_pandoc():
    text = formats.dumps(Transcript((Utterance("1. one _two_ `x` # $y$", 0, 1, "A*B"),), "a_b"), "md")
    assert text == "# a\\_b\n\n**A\\*B** [00:00:00.000 - 00:00:01.000]\n\n1\\. one \\_two\\_ \\`x\\` \\# \\$y\\$\n"
