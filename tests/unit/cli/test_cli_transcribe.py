"""`diarist transcribe`: words of a stand-in, and of the real faster-whisper where it is installed."""

import importlib
import sys

import pytest

from diarist.cli.main import main
from diarist.core.types import Utterance, Word
from diarist.words import asr, formats
from toy_house import furnish, recording, write_wav


class Recogniser:
    """Says a sentence for each half of eight seconds, and writes down when it was asked."""

    name, language = "stand-in", "en"

    def __init__(self, config, engine=None):
        self.config = config

    def utterances(self, samples):
        assert samples.dtype == "float32" and samples.ndim == 1
        for start in (0.5, 4.5):
            words = tuple(Word(text, start + n / 2, start + n / 2 + 0.4) for n, text in enumerate(("So", "it", "is.")))
            yield Utterance("So it is.", start, start + 1.5, words=words)
            print(f"after {start}", end="", file=sys.stderr)


@pytest.fixture(autouse=True)
def house(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    furnish(monkeypatch.setattr)
    samples, _ = recording(6, 2)
    write_wav(tmp_path / "meeting.wav", samples)
    (tmp_path / "turns.rttm").write_text(
        "SPEAKER meeting 1 0.0 4.0 <NA> <NA> Ann <NA> <NA>\nSPEAKER meeting 1 4.0 9.0 <NA> <NA> Bob <NA> <NA>\n"
    )
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch):
    made = []
    monkeypatch.setattr(asr, "load_recogniser", lambda *given: made.append(Recogniser(*given)) or made[-1])
    return made


def run(capsys, *words):
    code = main(["transcribe", *map(str, words)])
    return code, *capsys.readouterr()


def test_lines_come_as_they_are_heard(stand_in, capsys, monkeypatch):
    lines = []
    monkeypatch.setattr(sys.stdout, "write", lambda text: lines.append((text, capsys.readouterr().err)), raising=False)
    assert main(["transcribe", "meeting.wav", "--turns", "turns.rttm"]) == 0
    assert [text for text, _ in lines] == ["[Ann]: So it is.\n", "[Bob]: So it is.\n"]
    assert lines[1][1] == "after 0.5"  # nothing of the second sentence had been heard when the first was shown


def test_the_recording_is_diarized(stand_in, capsys):
    code, out, _ = run(capsys, "meeting.wav", "--num-speakers", "2", "--format", "json", "--language", "en")
    (found,) = formats.loads(out, name="meeting.json")
    assert code == 0 and set(found.speakers) <= {"SPEAKER_00", "SPEAKER_01"} and found.language == "en"
    assert stand_in[0].config.language == "en"


def test_files(stand_in, capsys, house):
    words = [
        "meeting.wav",
        "--turns",
        "turns.rttm",
        "--out",
        "out",
        "--format",
        "srt",
        "--format",
        "stm",
        "--sentences",
    ]
    code, out, _ = run(
        capsys, *words, "--asr-model", "tiny", "--compute-type", "int8", "--num-threads", "2", "--offline"
    )
    assert (code, out) == (0, "")
    assert (house / "out" / "meeting.stm").read_text().split()[:3] == ["meeting", "1", "Ann"]
    expected = {"model": "tiny", "compute_type": "int8", "num_threads": 2, "offline": True, "skip_silence": True}
    assert {key: getattr(stand_in[0].config, key) for key in expected} == expected


def test_what_is_wrong(stand_in, capsys, house):
    (house / "two.rttm").write_text("SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\nSPEAKER b 1 0 1 <NA> <NA> A <NA> <NA>\n")
    code, out, err = run(capsys, "meeting.wav", "--turns", "two.rttm")
    assert (code, out) == (1, "") and "none of them named 'meeting'" in err
    assert run(capsys, "none.wav")[0] == 1


def test_no_recogniser(capsys, monkeypatch):
    monkeypatch.setattr(asr.importlib.util, "find_spec", lambda name: None)
    code, out, err = run(capsys, "meeting.wav")
    assert (code, out) == (3, "")
    assert err == (
        "diarist: error: transcribing needs the package 'faster-whisper': pip install 'diarist[transcribe]'\n"
    )


def test_real_faster_whisper(capsys, house, monkeypatch):
    pytest.importorskip("faster_whisper")
    monkeypatch.syspath_prepend(__file__.rpartition("/unit/")[0] + "/unit/words")
    importlib.import_module("tiny_whisper").make(house / "tiny")
    words = ["--asr-model", "tiny", "--asr-device", "cpu", "--whole", "--offline", "--num-threads", "1"]
    code, out, _ = run(capsys, "meeting.wav", "--turns", "turns.rttm", *words)
    assert code == 0
    assert out.startswith("[Ann]: Hello there.\n")
