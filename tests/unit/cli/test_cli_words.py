"""`diarist words`: from files to exit."""

import io
import json
import sys

import pytest

from diarist.cli.main import main
from diarist.words import formats
from toy_house import furnish, recording, write_wav

RTTM = "SPEAKER talk 1 0.0 2.0 <NA> <NA> Ann <NA> <NA>\nSPEAKER talk 1 2.0 3.0 <NA> <NA> Bob <NA> <NA>\n"
TALK = {
    "segments": [
        {
            "start": 0.1,
            "end": 4.0,
            "text": "Where is it? Here it is.",
            "words": [
                {"word": "Where", "start": 0.1, "end": 0.9, "score": 0.9},
                {"word": "is", "start": 0.9, "end": 1.5},
                {"word": "it?", "start": 1.9, "end": 2.3},
                {"word": "Here", "start": 2.4, "end": 2.9},
                {"word": "it"},
                {"word": "is.", "start": 7.0, "end": 7.5},
            ],
        }
    ],
    "language": "en",
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """A transcript and its turns, in the folder to be in; toys for models."""
    monkeypatch.chdir(tmp_path)
    furnish(monkeypatch.setattr)
    (tmp_path / "talk.json").write_text(json.dumps(TALK), encoding="utf-8")
    (tmp_path / "talk.rttm").write_text(RTTM, encoding="utf-8")
    return tmp_path


def run(capsys, *words):
    code = main(["words", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, code, *words):
    """One line on standard error, nothing on standard output."""
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "")
    assert err.startswith("diarist: error: ") and err.count("\n") == 1
    return err


def test_text_with_speakers(capsys):
    code, out, err = run(capsys, "talk.json", "--turns", "talk.rttm")
    assert (code, out, err) == (0, "[Ann]: Where is\n[Bob]: it? Here it is.\n", "")


def test_sentences(capsys):
    code, out, _ = run(capsys, "talk.json", "--turns", "talk.rttm", "--sentences")
    assert (code, out) == (0, "[Ann]: Where is it?\n[Bob]: Here it is.\n")


def test_json_has_a_confidence_for_each_word(capsys):
    _, out, _ = run(capsys, "talk.json", "--turns", "talk.rttm", "--format", "json")
    words = json.loads(out)["segments"][0]["words"]
    assert [word["speaker"] for word in words] == ["Ann", "Ann", "Bob", "Bob", "Bob", "Bob"]
    assert all(0 < word["speaker_confidence"] <= 1 for word in words)
    assert json.loads(out)["language"] == "en"


def test_max_gap_leaves_far_words_alone_and_says_so(capsys):
    code, out, err = run(capsys, "talk.json", "--turns", "talk.rttm", "--max-gap", "1", "--format", "csv")
    assert code == 0
    assert [word.speaker for word in formats.loads(out)[0].words][-1] is None
    assert err == "diarist: warning: talk: 1 of 6 words have no speaker\n"


@pytest.mark.parametrize("rules", ["whisperx", "whisperx-3.8", "whisperx-3.7"])
def test_strict(capsys, rules):
    code, out, _ = run(capsys, "talk.json", "--turns", "talk.rttm", "--strict", rules, "--format", "json", "--quiet")
    words = json.loads(out)["segments"][0]["words"]
    assert code == 0
    assert [word.get("speaker") for word in words] == ["Ann", "Ann", "Bob", "Bob", None, None]
    assert "speaker_confidence" not in words[0]
    _, out, _ = run(
        capsys, "talk.json", "--turns", "talk.rttm", "--strict", rules, "--fill-nearest", "--format", "json"
    )
    assert [word.get("speaker") for word in json.loads(out)["segments"][0]["words"]][-2:] == [None, "Bob"]


def test_the_recording_instead_of_turns(capsys, tmp_path):
    samples, reference = recording(8, 2)
    write_wav(tmp_path / "meeting.wav", samples)
    ctm = "".join(f"meeting 1 {t.start + 0.1:.2f} {t.duration - 0.2:.2f} w{n}\n" for n, t in enumerate(reference))
    (tmp_path / "meeting.ctm").write_text(ctm)
    code, out, err = run(capsys, "meeting.ctm", "--turns", "meeting.wav", "--num-speakers", "2", "--format", "ctm")
    assert (code, err) == (0, "")
    found = {line.split()[4]: line.split()[7] for line in out.splitlines()}
    assert set(found.values()) == {"SPEAKER_00", "SPEAKER_01"}
    agree = [
        (found[f"w{n}"] == found["w0"]) == (t.speaker == reference.turns[0].speaker) for n, t in enumerate(reference)
    ]
    assert sum(agree) >= len(agree) - 1  # one lies under another's voice
    (tmp_path / "meeting.wav").rename(tmp_path / "meeting.sound")  # a name that says nothing
    assert run(capsys, "meeting.ctm", "--turns", "meeting.sound", "--num-speakers", "2", "--format", "ctm")[1] == out


def test_files_in_many_formats(capsys, tmp_path):
    assert run(capsys, "talk.json", "--turns", "talk.rttm", "--out", "talk.srt") == (0, "", "")
    assert "[Bob]: it? Here it is." in (tmp_path / "talk.srt").read_text()
    every = [word for format in formats.FORMATS for word in ("--format", format)]
    assert run(capsys, "talk.json", "--turns", "talk.rttm", "--out", "out", *every)[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == len(formats.FORMATS)
    for format in formats.FORMATS:
        (back,) = formats.read(formats.output_path(tmp_path / "out", "talk", format))
        assert set(back.speakers) == {"Ann", "Bob"}, format


def test_from_standard_input_and_without_turns(capsys, monkeypatch):
    text = "talk 1 Zoë 0 1 hello\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run(capsys, "-", "--from", "stm") == (0, "[Zoë]: hello\n", "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00")))
    assert "standard input is not a text" in fails(capsys, 1, "-")


def test_several_recordings_by_name(capsys, tmp_path):
    (tmp_path / "two.stm").write_text("talk 1 x 0 1 hello\nother 1 x 0 1 hi\n")
    assert "no turns for the transcript 'other': there are turns for talk" in fails(
        capsys, 1, "two.stm", "--turns", "talk.rttm"
    )
    (tmp_path / "two.rttm").write_text(RTTM + RTTM.replace("talk", "other").replace("Ann", "Eve"))
    assert run(capsys, "two.stm", "--turns", "two.rttm", "--out", "two", "--format", "stm")[0] == 0
    assert (tmp_path / "two" / "other.stm").read_text().split()[2] == "Eve"


def test_turns_that_do_not_belong(capsys, tmp_path):
    (tmp_path / "late.stm").write_text("talk 1 x 100 101 hello\n")
    _, out, _ = run(capsys, "late.stm", "--turns", "talk.rttm")
    assert out == "[Bob]: hello\n"
    (tmp_path / "late.ctm").write_text("talk 1 100 1 hello\n")
    assert "do the turns belong" in run(capsys, "late.ctm", "--turns", "talk.rttm")[2]
    (tmp_path / "none.rttm").write_text("")
    assert "1 of 1 words have no speaker: there are no turns" in run(capsys, "late.ctm", "--turns", "none.rttm")[2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.json"], 1, "no such file: 'none.json'"),
        (["talk.rttm"], 1, "give them as --turns"),
        (["talk.json", "--turns", "none.rttm"], 1, "no such file"),
        (["talk.json", "--turns", "talk.json"], 1, "lacks 'schema'"),
        (["talk.json", "--sentences"], 2, "add --turns"),
        (["talk.json", "--turns", "talk.rttm", "--max-change", "1"], 2, "goes with --sentences"),
        (["-", "--turns", "-"], 2, "cannot both come from standard input"),
        (["talk.json", "--turns", "talk.rttm", "--strict", "whisperx", "--sentences"], 2, "has no --sentences"),
        (["talk.json", "--turns", "talk.rttm", "--fill-nearest"], 2, "goes with --strict"),
        (["talk.json", "--turns", "talk.rttm", "--max-gap", "-1"], 2, "0 or more seconds"),
        (["talk.json", "--turns", "talk.rttm", "--max-gap", "nan"], 2, "0 or more seconds"),
        (["talk.json", "--format", "srt", "--format", "vtt"], 2, "add --out DIR"),
        (["talk.json", "--out", "talk.docx"], 2, "names no format"),
        (["talk.json", "--from", "srt"], 1, "talk.json: no subtitles"),
        (["words.txt", "--format", "srt"], 2, "srt needs times"),
    ],
)
def test_what_is_wrong(capsys, tmp_path, words, code, message):
    (tmp_path / "words.txt").write_text("[Ann]: hello\n")
    assert message in fails(capsys, code, *words)
