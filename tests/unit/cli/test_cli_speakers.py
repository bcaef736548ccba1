"""`diarist speakers` and `diarist run --gallery` in this process, on toy voices."""

import io
import json
import os
import re
import stat
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist import formats
from diarist.cli.main import main
from diarist.models.toy import conversation
from diarist.speakers import scoring
from diarist.speakers.gallery import Gallery
from diarist.speakers.scoring import Scorer
from toy_house import furnish, write_wav

TOY = Scorer(np.zeros(80), np.eye(80), np.full(80, 1 / 80), np.full(80, 0.02 / 80), 1.0, 0.2)
MODEL = "campplus-zh-en int8"


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    """Toys for models, a folder to be in, and a gallery of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DIARIST_GALLERY", str(tmp_path / "data" / "gallery.sqlite"))
    monkeypatch.setattr(scoring, "scorer_for", lambda model: TOY)
    furnish(monkeypatch.setattr)


def say(path, *turns, seed=0):
    """A recording in which the toy voices 0 to 7 hum: `(start, end, voice)`."""
    everybody = [(0.0, 0.0, f"V{i}") for i in range(8)]
    spoken = [(start, end, f"V{voice}") for start, end, voice in turns]
    duration = max(end for _, end, _ in turns) + 0.5
    return write_wav(path, conversation(everybody + spoken, duration, seed=seed))


def speak(capsys, *words, code=0):
    """Standard output and error of a command."""
    assert main([str(word) for word in words]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.out, captured.err


def labels_of(out):
    """Speakers of an RTTM, in order of first appearance."""
    return list(dict.fromkeys(line.split()[7] for line in out.splitlines()))


@pytest.fixture
def enrolled(capsys, tmp_path):
    """Anna is voice 2, Bo is voice 5."""
    say(tmp_path / "anna.wav", (0.5, 14, 2))
    say(tmp_path / "bo.wav", (0.5, 12, 5))
    speak(capsys, "speakers", "enrol", "Anna", "anna.wav")
    speak(capsys, "speakers", "enrol", "Bo", "bo.wav")


@pytest.fixture
def meeting(tmp_path):
    """Bo, somebody, Anna, Bo."""
    return say(tmp_path / "meeting.wav", (0.5, 6, 5), (6.5, 12, 0), (12.5, 18, 2), (18.5, 22, 5), seed=1)


def test_enrol_and_list(capsys, enrolled):
    out, err = speak(capsys, "speakers", "list")
    lines = out.splitlines()
    assert lines[0].split() == ["name", "recordings", "seconds", "last", "enrolled"]
    assert lines[1].split()[:3] == ["Anna", "1", "14"] and lines[2].split()[0] == "Bo" and MODEL in err
    document = json.loads(speak(capsys, "speakers", "list", "--json")[0])
    assert document["model"] == MODEL
    assert [(p["name"], p["voices"][0]["source"]) for p in document["people"]] == [("Anna", "anna"), ("Bo", "bo")]
    assert "embedding" not in json.dumps(document)


def test_several_recordings_of_one_person(capsys, enrolled, tmp_path):
    (tmp_path / "more").mkdir()
    say(tmp_path / "more" / "tuesday.wav", (0.2, 9, 2), seed=2)
    say(tmp_path / "more" / "wednesday.wav", (0.2, 7, 2), seed=3)
    (tmp_path / "more" / "broken.wav").write_bytes(b"no sound")
    out, err = speak(capsys, "speakers", "enrol", "anna", "more", code=1)
    assert [line.split()[1] for line in out.splitlines()] == ["tuesday", "wednesday"] and "broken" in err
    assert len(Gallery().person("Anna").voices) == 3
    assert "was there already" in speak(capsys, "speakers", "enrol", "Anna", "more/tuesday.wav")[0]


def test_known_voices_are_named(capsys, enrolled, meeting):
    out, _ = speak(capsys, "run", meeting, "--gallery")
    assert labels_of(out) == ["Bo", "SPEAKER_01", "Anna"]
    (named,) = formats.loads(speak(capsys, "run", meeting, "--gallery", "--format", "json")[0], "json")
    assert named.labels == ["Bo", "SPEAKER_01", "Anna"]
    assert named.speakers["Bo"].match.probability >= 0.9 and named.speakers["SPEAKER_01"].match is None
    assert labels_of(speak(capsys, "run", meeting)[0]) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]


def test_the_table_tells_how_sure_a_name_is(capsys, enrolled, meeting, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out, _ = speak(capsys, "run", meeting, "--gallery", "--quiet")
    assert re.search(r"^Bo: p = (1\.00|0\.9\d), margin (1\.00|0\.9\d)", out, re.MULTILINE)
    assert "SPEAKER_01:" not in out


def test_the_gallery_may_be_named_on_either_side(capsys, enrolled, meeting, tmp_path):
    other = tmp_path / "other.sqlite"
    speak(capsys, "speakers", "enrol", "Somebody", "--gallery", other, "anna.wav")
    speak(capsys, "speakers", "enrol", "--gallery", other, "Nobody Else", "bo.wav")
    speak(capsys, "speakers", "forget", "--gallery", other, "Nobody Else")
    for words in (["--gallery", other, meeting], [meeting, "--gallery", other], [f"--gallery={other}", meeting]):
        out, _ = speak(capsys, "run", *words)
        assert labels_of(out) == ["SPEAKER_00", "SPEAKER_01", "Somebody"]
    out, _ = speak(capsys, "run", "--gallery", meeting)  # the recording is not taken for a gallery
    assert out.split()[7] == "Bo"


def test_proposals_are_confirmed(capsys, enrolled, meeting, tmp_path):
    text, err = speak(
        capsys, "run", meeting, "--gallery", "--propose", "--format", "json", "--gallery-probability", "1.0"
    )
    assert "meeting: SPEAKER_00: may be Bo (p = " in err
    (tmp_path / "meeting.json").write_text(text)
    (result,) = formats.loads(text, "json")
    assert result.labels == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_02"]
    out, _ = speak(capsys, "speakers", "confirm", "meeting.json", "SPEAKER_00", "SPEAKER_01=Cy", "--out", "named.rttm")
    assert [line.split(":")[0] for line in out.splitlines()] == ["Bo", "Cy"]
    assert len(Gallery().person("Bo").voices) == 2 and Gallery().person("Cy").voices[0].source == "meeting"
    (named,) = formats.read("named.rttm")
    assert named.labels == ["Bo", "Cy", "SPEAKER_02"]
    assert "nobody was proposed" in speak(capsys, "speakers", "confirm", "meeting.json", "SPEAKER_01", code=2)[1]
    assert "no speaker 'X'" in speak(capsys, "speakers", "confirm", "meeting.json", "X", code=2)[1]
    two = ("SPEAKER_00=Di", "SPEAKER_01=di")
    assert "cannot be one person" in speak(capsys, "speakers", "confirm", "meeting.json", *two, code=2)[1]
    assert "terminal" in speak(capsys, "speakers", "confirm", "meeting.json", code=2)[1]


def test_a_person_is_asked_on_a_terminal(capsys, enrolled, meeting, tmp_path, monkeypatch):
    asked = ("--gallery", "--propose", "--gallery-probability", "1.0", "--format", "json")
    (tmp_path / "m.json").write_text(speak(capsys, "run", meeting, *asked)[0])
    answers = io.StringIO("y\nn\n")
    answers.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", answers)
    out, err = speak(capsys, "speakers", "confirm", "m.json")
    assert "SPEAKER_00: is it Bo (p = " in err and out.startswith("Bo: meeting") and "Anna:" not in out
    assert len(Gallery().person("Anna").voices) == 1


def test_enrol_from_a_result(capsys, enrolled, meeting, tmp_path):
    (tmp_path / "m.json").write_text(speak(capsys, "run", meeting, "--format", "json")[0])
    speak(capsys, "speakers", "enrol", "Cy", "--from", "m.json", "--speaker", "SPEAKER_01")
    out, _ = speak(capsys, "run", meeting, "--gallery")
    assert labels_of(out) == ["Bo", "Cy", "Anna"]
    assert "--speaker" in speak(capsys, "speakers", "enrol", "Cy", "--from", "m.json", code=2)[1]
    (tmp_path / "old.json").write_text((tmp_path / "m.json").read_text().replace(f'"{MODEL}"', "null"))
    err = speak(capsys, "speakers", "enrol", "Cy", "--from", "old.json", "--speaker", "SPEAKER_01", code=1)[1]
    assert "which model" in err


def test_two_people_in_a_recording_are_not_enrolled_as_one(capsys, meeting):
    err = speak(capsys, "speakers", "enrol", "Anna", meeting, code=1)[1]
    assert "3 people speak in 'meeting'" in err and not Gallery().exists()
    speak(capsys, "speakers", "enrol", "Anna", meeting, "--speaker", "SPEAKER_02")
    speak(capsys, "speakers", "enrol", "Bo", meeting, "--start", "0", "--end", "6.2")
    named = speak(capsys, "run", meeting, "--gallery")[0]
    assert labels_of(named) == ["Bo", "SPEAKER_01", "Anna"]
    assert "did you mean" in speak(capsys, "speakers", "enrol", "Cy", meeting, "--speaker", "SPEAKER_2", code=2)[1]


def test_alone_means_one_voice(capsys, meeting):
    out, _ = speak(capsys, "speakers", "enrol", "Anna", meeting, "--alone")
    assert "(SPEAKER_00, 2" in out


def test_an_export_is_its_owners_alone_and_a_device_stays_as_it_is(capsys, enrolled, tmp_path):
    speak(capsys, "speakers", "export", "all.json")
    assert stat.S_IMODE((tmp_path / "all.json").stat().st_mode) == 0o600
    (tmp_path / "all.json").chmod(0o644)
    speak(capsys, "speakers", "export", "all.json")
    assert stat.S_IMODE((tmp_path / "all.json").stat().st_mode) == 0o600
    os.mkfifo("pipe", 0o644)
    with ThreadPoolExecutor() as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        speak(capsys, "speakers", "export", "pipe")
        assert json.loads(read.result())["model"] == MODEL
    assert stat.S_IMODE((tmp_path / "pipe").stat().st_mode) == 0o644


def test_a_first_enrolment_that_was_stopped_does_no_harm(capsys, enrolled, tmp_path):
    speak(capsys, "speakers", "export", "all.json")
    for name in ("first", "second"):
        (tmp_path / name).touch()
    assert "makes one" in speak(capsys, "speakers", "list", "--gallery", "first", code=3)[1]
    speak(capsys, "speakers", "enrol", "Anna", "anna.wav", "--gallery", "first")
    speak(capsys, "speakers", "import", "all.json", "--gallery", "second")
    assert [len(Gallery(tmp_path / name).people()) for name in ("first", "second")] == [1, 2]


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["enrol", "Anna", "silence.wav"], 1, "nobody speaks"),
        (["enrol", "Anna", "none.wav"], 1, "no such file"),
        (["enrol", "Anna"], 2, "give recordings"),
        (["enrol", " ", "silence.wav"], 2, "no name"),
        (["enrol", "SPEAKER_01", "silence.wav"], 2, "without a name"),
        (["enrol", "Anna", "meeting.wav", "--start", "5", "--end", "4"], 2, "before --end"),
        (["enrol", "Anna", "meeting.wav", "--start", "100"], 1, "nothing is to be heard"),
        (["list"], 3, "there is no gallery"),
        (["forget", "Anna"], 3, "there is no gallery"),
        (["export", "out.json"], 3, "there is no gallery"),
        (["import", "none.json"], 1, "no such file"),
        (["import", "meeting.wav"], 1, "not a text"),
        (["link", "none"], 1, "none of the recordings"),
        (["list", "--gallery", "meeting.wav"], 1, "is no gallery of diarist"),
        (["confirm", "none.json", "SPEAKER_00"], 1, "no such file"),
    ],
)
def test_what_cannot_be(words, code, told, capsys, meeting, tmp_path):
    write_wav(tmp_path / "silence.wav", np.zeros(80_000, np.float32))
    out, err = speak(capsys, "speakers", *words, code=code)
    assert told in err.splitlines()[-1] and out == "" and not Gallery().exists()


def test_what_runs_cannot_be(capsys, meeting, enrolled, tmp_path):
    assert "there is no gallery" in speak(capsys, "run", meeting, "--gallery", "none.sqlite", code=3)[1]
    assert "add --gallery" in speak(capsys, "run", meeting, "--propose", code=2)[1]
    err = speak(capsys, "run", meeting, "--gallery", "--embedding-precision", "float32", code=2)[1]
    assert "campplus-zh-en int8, these by campplus-zh-en float32" in err
    assert "probability" in speak(capsys, "run", meeting, "--gallery", "--gallery-probability", "2", code=2)[1]
    assert "leave out --gallery" in speak(capsys, "run", meeting, "--gallery", "--channels-are-speakers", code=2)[1]
    assert "no scorer" in speak(capsys, "run", meeting, "--gallery", "--scorer", meeting, code=3)[1]
    speak(capsys, "speakers", "forget", "Anna", "Bo")
    out, err = speak(capsys, "run", meeting, "--gallery")
    assert "nobody is enrolled" in err and "SPEAKER_00" in out


def test_a_stranger_is_not_enrolled_under_a_known_name(capsys, enrolled, tmp_path):
    say(tmp_path / "who.wav", (0.5, 15, 7))
    err = speak(capsys, "speakers", "enrol", "Anna", "who.wav", code=1)[1]
    assert "does not sound like Anna" in err and len(Gallery().person("Anna").voices) == 1
    speak(capsys, "speakers", "enrol", "Anna", "who.wav", "--force")
    say(tmp_path / "again.wav", (0.5, 15, 5), seed=4)
    assert "sounds like Bo" in speak(capsys, "speakers", "enrol", "Di", "again.wav")[1]


def test_forget_export_import(capsys, enrolled, tmp_path):
    speak(capsys, "speakers", "export", "all.json")
    embedding = Gallery().person("Anna").voices[0].embedding.tobytes()
    file = Gallery().path
    assert b"Anna" in file.read_bytes() and embedding in file.read_bytes()
    _, err = speak(capsys, "speakers", "forget", "anna")
    assert "forgotten: anna" in err
    left = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert b"nna" not in left and embedding not in left and embedding[:32] not in left
    assert "did you mean 'Bo'" in speak(capsys, "speakers", "forget", "Boo", code=2)[1]
    assert "1 new voice, 1 known already" in speak(capsys, "speakers", "import", "all.json")[1]
    assert speak(capsys, "speakers", "export", "-")[0].count("embedding") == 2
    again = speak(capsys, "speakers", "import", "all.json", "--gallery", "new.sqlite")[1]
    assert "2 people, 2 new voices" in again
    (tmp_path / "bad.json").write_text((tmp_path / "all.json").read_text().replace("int8", "float32"))
    assert "cannot be compared" in speak(capsys, "speakers", "import", "bad.json", code=2)[1]


def test_the_same_voices_across_a_folder(capsys, tmp_path):
    (tmp_path / "archive").mkdir()
    say(tmp_path / "archive" / "a.wav", (0.5, 8, 1), (8.5, 15, 3), seed=1)
    say(tmp_path / "archive" / "b.wav", (0.5, 8, 3), (8.5, 15, 6), seed=2)
    say(tmp_path / "archive" / "c.wav", (0.5, 8, 6), (8.5, 15, 1), (15.5, 22, 7), seed=3)
    (tmp_path / "archive" / "d.wav").write_bytes(b"no sound")
    out, err = speak(
        capsys, "speakers", "link", "archive", "--out", "linked", "--format", "rttm", "--format", "json", code=1
    )
    assert out.startswith("3 recordings: 3 voices in several of them, 1 in one only\n") and "d.wav" in err
    labels = {uri: formats.read(tmp_path / "linked" / f"{uri}.rttm")[0].labels for uri in "abc"}
    assert labels["a"] == ["VOICE_000", "VOICE_001"] and labels["b"][0] == "VOICE_001"
    assert set(labels["c"]) == {labels["b"][1], "VOICE_000", "VOICE_003"}
    report = json.loads((tmp_path / "linked" / "links.report.json").read_text())
    assert report["num_recordings"] == 3 and report["num_failed"] == 1
    first = report["voices"][0]
    assert first["label"] == "VOICE_000" and [found["uri"] for found in first["recordings"]] == ["a", "c"]
    assert first["recordings"][0]["speaker"] == "SPEAKER_00" and first["recordings"][0]["probability"] > 0.9
    again = json.loads(
        speak(capsys, "speakers", "link", "linked/a.json", "linked/b.json", "linked/c.json", "--json")[0]
    )
    assert [len(voice["recordings"]) for voice in again["voices"]] == [2, 2, 2, 1]  # results need no sound


def test_known_voices_are_left_out_of_linking(capsys, enrolled, tmp_path):
    (tmp_path / "archive").mkdir()
    say(tmp_path / "archive" / "a.wav", (0.5, 8, 2), (8.5, 15, 3), seed=1)
    say(tmp_path / "archive" / "b.wav", (0.5, 8, 3), (8.5, 15, 2), seed=2)
    out, _ = speak(capsys, "speakers", "link", "archive", "--out", "linked", "--gallery")
    assert out.startswith("2 recordings: 1 voice in several of them, 0 in one only; 2 more known by name\n")
    labels = [formats.read(tmp_path / "linked" / f"{uri}.rttm")[0].labels for uri in "ab"]
    assert labels == [["Anna", "VOICE_000"], ["VOICE_000", "Anna"]]


def test_what_is_odd_about_a_recording_is_told(capsys, tmp_path):
    whole = say(tmp_path / "whole.wav", (0.5, 14, 2)).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
    for words in (["enrol", "Anna", "cut.wav"], ["link", "cut.wav"]):
        assert "diarist: warning: cut: cut off: its header promises" in speak(capsys, "speakers", *words)[1]


def test_how_sure_a_link_must_be_is_read_before_anything_is_heard(capsys, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    err = speak(capsys, "speakers", "link", "bad.wav", "--link-probability", "2", code=2)[1]
    assert "'link.probability' must be" in err and "bad.wav" not in err


def test_results_of_one_name_are_written_to_files_of_their_own(capsys, meeting, tmp_path):
    for folder in ("mon", "tue", "tue/wed"):
        (tmp_path / folder).mkdir()
        speak(capsys, "run", meeting, "--format", "json", "--out", folder)
    (tmp_path / "mon" / "links.report.json").write_text("{}")  # of an earlier run: no recording
    results = [*sorted(tmp_path.glob("*/*.json")), tmp_path / "tue" / "wed" / "meeting.json"]
    out, _ = speak(capsys, "speakers", "link", *results, "--out", "linked", "--json")
    uris = ["meeting", "tue_meeting.json", "wed_meeting.json"]
    assert sorted(path.stem for path in (tmp_path / "linked").glob("*.rttm")) == uris
    report = json.loads(out)
    assert report["num_recordings"] == 3 and report["num_failed"] == report["num_named"] == 0
    assert [[found["uri"] for found in voice["recordings"]] for voice in report["voices"]] == [uris] * 3
    assert formats.read(tmp_path / "linked" / "tue_meeting.json.rttm")[0].uri == "tue_meeting.json"
