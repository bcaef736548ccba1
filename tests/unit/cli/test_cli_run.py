"""`diarist run` in this process, on toy voices: what goes where, and what is told when something is wrong."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarist import formats
from diarist.audio import files
from diarist.cli.main import main
from diarist.core.types import Diarization
from diarist.errors import AudioError
from diarist.evaluation.score import score
from diarist.pipelines import offline
from toy_house import RATE, Diarizer, conversation, furnish, recording, talk, write_wav


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    """Toys for models, and a folder to be in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path / "cache"))
    furnish(monkeypatch.setattr)


@pytest.fixture
def meeting(tmp_path):
    samples, reference = recording(12, 2)
    write_wav(tmp_path / "meeting.wav", samples)
    return reference


def run(capsys, *words):
    code = main(["run", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def fails(capsys, code, *words):
    """One line on standard error, nothing on standard output."""
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "")
    assert err.startswith("diarist: error: ") and err.count("\n") == 1
    return err


def test_into_a_pipe_goes_rttm_and_nothing_else(capsys, meeting):
    code, out, err = run(capsys, "meeting.wav")
    assert (code, err) == (0, "")
    (found,) = formats.loads(out, "rttm")
    assert found.uri == "meeting" and score(meeting, found).der < 0.06
    assert all(line.startswith("SPEAKER meeting 1 ") for line in out.splitlines())


def test_on_a_terminal_goes_a_table(capsys, meeting, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, err = run(capsys, "meeting.wav")
    assert (code, err) == (0, "") and out.startswith("meeting: 2 speakers, ") and "overlap" in out


@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_format(capsys, meeting, name):
    code, out, err = run(capsys, "meeting.wav", "--format", name)
    assert (code, err) == (0, "") and "SPEAKER_01" in out
    if name in formats.READABLE:
        (found,) = formats.loads(out, name)
        assert found.num_speakers == 2 and score(meeting, found).der < 0.06
    assert run(capsys, "meeting.wav", "--format", name, "--out", "made")[:2] == (0, "")
    (path,) = Path("made").iterdir()
    assert path.name == "meeting" + formats.FORMATS[name][1] and path.read_text(encoding="utf-8") == out


def test_several_formats_need_a_folder(capsys, meeting):
    err = fails(capsys, 2, "meeting.wav", "--format", "rttm", "--format", "json")
    assert "add --out DIR" in err
    assert run(capsys, "meeting.wav", "--format", "rttm", "--format", "json", "--out", "a/b")[0] == 0
    assert sorted(p.name for p in Path("a/b").iterdir()) == ["meeting.json", "meeting.rttm"]


def test_json_says_how_it_was_made(capsys, meeting):
    run_once = run(capsys, "meeting.wav", "--format", "json", "--preset", "fast")[1]
    document = json.loads(run_once)
    assert document["provenance"]["preset"] == "fast" and len(document["provenance"]["fingerprint"]) == 16
    assert len(document["speakers"][0]["embedding"]) == 80
    again = run(capsys, "meeting.wav", "--format", "json", "--preset", "fast", "--num-threads", "3")[1]
    assert again == run_once


def test_several_recordings_follow_each_other(capsys, meeting, tmp_path):
    write_wav(tmp_path / "call.wav", recording(4, 2, seed=3)[0])
    one, other = run(capsys, "call.wav")[1], run(capsys, "meeting.wav")[1]
    assert run(capsys, "call.wav", "meeting.wav")[1] == one + other
    assert run(capsys, ".")[1] == one + other  # a folder, in order of name
    table = run(capsys, ".", "--format", "csv")[1]
    assert table.count("uri,start") == 1 and {row.split(",")[0] for row in table.splitlines()} == {
        "uri",
        "call",
        "meeting",
    }
    assert [d.uri for d in formats.loads(run(capsys, ".", "--format", "json")[1], "json")] == ["call", "meeting"]
    err = fails(capsys, 2, ".", "--format", "textgrid")
    assert "2 recordings in the format textgrid need a folder" in err


def test_recordings_of_one_name_are_told_apart(capsys, meeting, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "meeting.wav").write_bytes((tmp_path / "meeting.wav").read_bytes())
    run(capsys, "meeting.wav", "other/meeting.wav", "--out", "made")
    assert len(list(Path("made").iterdir())) == 2


@pytest.mark.parametrize("bad", ["text", "empty", "cut"])
def test_a_bad_file_is_reported_and_the_others_finish(capsys, meeting, tmp_path, bad):
    content = {"text": b"hello, this is no sound", "empty": b"", "cut": b"RIFF\x24\x00"}[bad]
    (tmp_path / "a.wav").write_bytes(content)
    write_wav(tmp_path / "z.wav", recording(4, 2)[0])
    code, out, err = run(capsys, ".")
    assert code == 1
    assert [d.uri for d in formats.loads(out, "rttm")] == ["meeting", "z"]
    first, last = err.splitlines()
    assert "a.wav" in first and last == "diarist: 1 of 3 recordings failed"
    assert "a.wav" in fails(capsys, 1, "a.wav")


def test_missing_files_and_folders(capsys, tmp_path):
    assert "no such file: 'none.wav'" in fails(capsys, 1, "none.wav")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    assert "no recordings in folder 'empty'" in fails(capsys, 1, "empty")
    assert "no file matches" in fails(capsys, 1, "*.flac")


def test_an_unreadable_file(capsys, meeting, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "permission denied" in fails(capsys, 1, "meeting.wav")


def test_content_counts_not_the_name(capsys, meeting, tmp_path):
    expected = run(capsys, "meeting.wav")[1]
    for name in ("meeting.mp3", "meeting.pdf", "meeting"):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "x" / name).write_bytes((tmp_path / "meeting.wav").read_bytes())
        assert run(capsys, f"x/{name}")[1] == expected


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_compressed_recordings(capsys, meeting, tmp_path, suffix):
    samples, rate = soundfile.read("meeting.wav")
    soundfile.write(f"coded.{suffix}", samples, rate)
    code, out, _ = run(capsys, f"coded.{suffix}")
    assert code == 0 and score(meeting, formats.loads(out, "rttm")[0]).der < 0.08


def test_silence_and_nothing_are_valid(capsys, tmp_path):
    write_wav(tmp_path / "silent.wav", np.zeros(3 * RATE))
    write_wav(tmp_path / "nothing.wav", np.zeros(0))
    for name in ("silent", "nothing"):
        assert run(capsys, f"{name}.wav") == (0, "", "")
        assert json.loads(run(capsys, f"{name}.wav", "--format", "json")[1])["turns"] == []


@pytest.mark.parametrize(
    "words, said",
    [
        (["--preset", "blanced"], "unknown preset 'blanced'; did you mean 'balanced'?"),
        (["--preset-file", "none.toml"], "cannot read 'none.toml': No such file or directory"),
        (["--preset-file", "bad.toml"], "unknown key 'turns.onsett'; did you mean 'onset'?"),
        (["--turns-onset", "2"], "'turns.onset' must be between 0.0 and 1.0, not 2.0"),
        (["--clustering-method", "vbxx"], "did you mean 'vbx'?"),
        (["--segmentation-step", "30"], "'segmentation.step' must be at most 10"),
        (["--num-speakers", "0"], "the number of speakers must be 1 or more, not 0"),
        (["--min-speakers", "3", "--max-speakers", "2"], "at most 2 speakers but at least 3"),
        (["--num-speakers", "5", "--max-speakers", "2"], "5 speakers asked for, but the bounds given are 1 to 2"),
        (["--num-threads", "-1"], "'num_threads' must be >= 0, not -1"),
        (["--backend", "cuda"], "'backend' cannot be 'cuda'"),
        (["--plot", "a.pdf"], "a plot is a .png or .svg file"),
        (["--channels-are-speakers", "--num-speakers", "2"], "takes the number of speakers from the channels"),
        (["--channels-are-speakers"], "'meeting' has one channel"),
    ],
)
def test_a_call_that_cannot_be_is_told_in_a_line(capsys, meeting, words, said):
    Path("bad.toml").write_text("[turns]\nonsett = 1")
    assert said in fails(capsys, 2, "meeting.wav", *words)


def test_what_is_asked_for_is_checked_before_the_recording_is_read(capsys, meeting, monkeypatch):
    monkeypatch.setattr(offline, "open_audio", lambda *_, **__: pytest.fail("it was opened"))
    fails(capsys, 2, "meeting.wav", "--plot", "a.pdf")
    fails(capsys, 2, "meeting.wav", "--num-speakers", "0")
    Path("file").write_text("")
    fails(capsys, 1, "meeting.wav", "--out", "file")


def test_a_folder_that_cannot_be_written(capsys, meeting):
    Path("file").write_text("kept")
    assert "cannot make the folder 'file'" in fails(capsys, 1, "meeting.wav", "--out", "file")
    assert "cannot make the folder 'file/sub'" in fails(capsys, 1, "meeting.wav", "--out", "file/sub")
    Path("made/meeting.rttm").mkdir(parents=True)
    assert "it is a folder" in fails(capsys, 1, "meeting.wav", "--out", "made")
    assert Path("file").read_text() == "kept" and list(Path("made").iterdir()) == [Path("made/meeting.rttm")]


def test_a_full_disk_leaves_nothing(capsys, meeting, monkeypatch):
    def full(self, data):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in fails(capsys, 1, "meeting.wav", "--out", "made")
    assert list(Path("made").iterdir()) == []


def test_a_preset_file_and_flags_change_the_answer(capsys, meeting):
    Path("mine.toml").write_text('preset = "fast"\n[turns]\nmin_duration_on = 1.5\n')
    few = run(capsys, "meeting.wav", "--preset-file", "mine.toml")[1]
    all_ = run(capsys, "meeting.wav", "--preset-file", "mine.toml", "--turns-min-duration-on", "0")[1]
    assert all(float(line.split()[4]) >= 1.5 for line in few.splitlines())
    assert len(few.splitlines()) < len(all_.splitlines())


@pytest.mark.parametrize("asked", [1, 2, 3])
def test_the_number_of_speakers(capsys, meeting, asked):
    _, out, _ = run(capsys, "meeting.wav", "--num-speakers", asked)
    assert formats.loads(out, "rttm")[0].num_speakers == asked


def test_bounds_that_cannot_be_kept_are_warned_of(capsys, tmp_path):
    write_wav(tmp_path / "short.wav", conversation([(0.5, 1.5, "a")], 3.0))
    code, out, err = run(capsys, "short.wav", "--num-speakers", "6")
    assert code == 0 and out.count("SPEAKER ") == 1
    assert err.startswith("diarist: warning: short: 1 speaker found, exactly 6 asked for") and err.count("\n") == 1
    assert run(capsys, "short.wav", "--num-speakers", "6", "--quiet")[2] == ""


def test_exclusive(capsys, tmp_path):
    write_wav(tmp_path / "talk.wav", conversation([(0.5, 4, "a"), (3, 7, "b")], 8.0))
    both = formats.loads(run(capsys, "talk.wav")[1], "rttm")[0]
    one = formats.loads(run(capsys, "talk.wav", "--exclusive")[1], "rttm")[0]
    assert both.overlaps() and not one.overlaps()


def test_timings_go_to_standard_error(capsys, meeting):
    code, out, err = run(capsys, "meeting.wav", "--timings")
    assert code == 0 and out == run(capsys, "meeting.wav")[1]
    assert err.splitlines()[0].startswith("meeting: ") and "x real time" in err
    assert [line.split()[0] for line in err.splitlines()[1:] if not line.startswith("    ")] == [
        "models",
        "listening",
        "clustering",
        "decoding",
    ]


def test_plot(capsys, meeting, tmp_path):
    pytest.importorskip("matplotlib")
    assert run(capsys, "meeting.wav", "--plot", "a.png")[0] == 0
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    write_wav(tmp_path / "call.wav", recording(4, 2)[0])
    assert run(capsys, ".", "--plot", "b.svg")[0] == 0
    assert sorted(p.name for p in Path().glob("b*.svg")) == ["b-call.svg", "b-meeting.svg"]


def test_a_voice_a_channel(capsys, tmp_path):
    turns = talk(10, 2)
    channels = [conversation([t for t in turns if t.speaker == s], turns[-1].end + 1) for s in ("S0", "S1")]
    write_wav(tmp_path / "call.wav", np.stack(channels, axis=1))
    code, out, err = run(capsys, "call.wav", "--channels-are-speakers")
    assert (code, err) == (0, "") and score(Diarization(tuple(turns)), formats.loads(out, "rttm")[0]).der < 0.06


def test_models_are_loaded_once_for_all_recordings(capsys, meeting, tmp_path, monkeypatch):
    write_wav(tmp_path / "call.wav", recording(4, 2)[0])
    made = []
    original = offline.load_segmentation
    monkeypatch.setattr(offline, "load_segmentation", lambda *a, **k: made.append(a) or original())
    run(capsys, ".")
    assert len(made) == 1


def test_a_model_of_ones_own_is_passed_on(capsys, meeting, monkeypatch):
    asked = []
    original = offline.load_embedding
    monkeypatch.setattr(offline, "load_embedding", lambda model, **k: asked.append((model, k)) or original())
    run(capsys, "meeting.wav", "--embedding-model", "my.onnx", "--offline")
    assert asked == [("my.onnx", {"precision": "int8", "backend": "onnx", "device": "auto", "offline": True})]


def test_a_recording_lost_while_it_is_read_is_that_recordings_fault(capsys, meeting, tmp_path, monkeypatch):
    """The next one is read all the same."""
    write_wav(tmp_path / "call.wav", recording(4, 2)[0])
    original = Diarizer.__call__

    def lost(self, path, **options):
        if "call" in str(path):
            raise AudioError("'call.wav' was lost while it was read")
        return original(self, path, **options)

    monkeypatch.setattr(Diarizer, "__call__", lost)
    code, out, err = run(capsys, ".")
    assert code == 1 and "lost while it was read" in err and "SPEAKER meeting" in out


def test_only_recordings_of_a_folder_are_taken(capsys, meeting, tmp_path):
    (tmp_path / "meeting.rttm").write_text("SPEAKER meeting 1 0 1 <NA> <NA> A <NA> <NA>\n")
    (tmp_path / ".hidden.wav").write_bytes(b"x")
    assert files.expand(["."]) == [Path("meeting.wav")]
    assert run(capsys, ".")[0] == 0
