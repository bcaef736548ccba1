"""`diarist stream`: sources, sinks, diart's options, and what goes wrong."""

from __future__ import annotations

import io
import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import toy_house
from diarist import formats
from diarist.audio.sinks import Accumulator
from diarist.audio.sources import FileSource
from diarist.cli import live_flags
from diarist.cli import stream as command
from diarist.cli.main import main
from diarist.evaluation.score import score
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.flow import drain, updates
from diarist.pipelines.live_presets import LIVE_PRESETS
from diarist.pipelines.streaming import LiveDiarizer

sys.path.insert(0, str(Path(__file__).parents[1] / "audio"))
import fake_sounddevice

SAMPLES, REFERENCE = toy_house.recording(8, 2, seed=2)


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    toy_house.furnish(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    toy_house.write_wav(tmp_path / "talk.wav", SAMPLES)


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        monkeypatch.setattr(sys, "stdin", type("Pipe", (), {"buffer": io.BytesIO(data), "isatty": lambda _: False})())

    return give


def right(found):
    """It is about what was said: in half a second a voice cannot always be told."""
    return score(REFERENCE, found).der < 0.15


def test_a_file_into_a_pipe_is_rttm(capsys):
    assert main(["stream", "talk.wav"]) == 0
    out, err = capsys.readouterr()
    (found,) = formats.loads(out, "rttm")
    assert found.uri == "talk" and right(found) and err == ""


def test_it_says_what_the_pipeline_says(capsys):
    live = LiveDiarizer(segmentation=ToySegmentation(), embedding=ToyEmbedding(), config={"latency": 2.0})
    kept = Accumulator("talk")
    drain(updates(FileSource("talk.wav", block=0.37), live.start("talk")), kept)
    for final, expected in (("live", kept.live), ("session", kept.diarization)):
        assert main(["stream", "talk.wav", "--latency", "2", "--final", final]) == 0
        assert sorted(capsys.readouterr().out.splitlines()) == sorted(expected.to_rttm().splitlines())


def test_diarts_own_command_line(capsys):
    line = "talk.wav --latency 5 --step .5 --tau-active .507 --rho-update .006 --delta-new 1.057"
    assert main(["stream", *line.split()]) == 0
    assert right(formats.loads(capsys.readouterr().out, "rttm")[0])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "--step 1 --latency max --tau .6 --rho .4 --delta 1.2 --gamma 2 --beta 9 --max-speakers 5 --duration 6",
            {"step": 1, "latency": "max", "tau_active": 0.6, "rho_update": 0.4, "delta_new": 1.2, "gamma": 2}
            | {"beta": 9, "max_speakers": 5, "duration": 6},
        ),
        (
            "--segmentation pyannote/segmentation-3.0 --embedding mine.onnx --normalize-embedding-weights --cpu",
            {"segmentation.model": "segmentation-3.0", "embedding.model": "mine.onnx"}
            | {"normalize_embedding_weights": True},
        ),
        (
            "--preset ami --latency min",
            {"tau_active": 0.507, "rho_update": 0.006, "delta_new": 1.057, "latency": "min"},
        ),
        ("--hf-token true --no-plot --sample-rate 8000 --output here", {}),
    ],
)
def test_options_under_diarts_names(line, expected):
    import argparse

    from diarist.core.config import walk

    parser = argparse.ArgumentParser()
    command.configure(parser)
    args = parser.parse_args(["microphone", *line.split()])
    config = {name: value for name, value, _ in walk(live_flags.config_of(args))}
    default = {name: value for name, value, _ in walk(LIVE_PRESETS["balanced"].config)}
    assert {name: config[name] for name in expected} == expected
    if "preset" not in line:
        assert {name for name in config if config[name] != default[name]} == set(expected) - {
            n for n in expected if expected[n] == default[n]
        }


@pytest.mark.parametrize("words", [["--pipeline", "VoiceActivityDetection"], ["--pipeline", "speech"]])
def test_voice_activity_only(capsys, words):
    assert main(["stream", "talk.wav", *words]) == 0
    assert formats.loads(capsys.readouterr().out, "rttm")[0].labels == ["speech"]


def test_the_folder_gets_the_session_and_standard_output_what_was_said(tmp_path, capsys):
    assert main(["stream", "talk.wav", "--output", "made", "--format", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["session"]["uri"] == "talk" and all(line["session"] is None for line in lines[:-1])
    session = [(t["start"], t["end"], t["speaker"]) for t in lines[-1]["session"]["turns"]]
    written = [(t.start, t.end, t.speaker) for t in formats.read(tmp_path / "made" / "talk.rttm")[0]]
    assert np.allclose([s[:2] for s in session], [w[:2] for w in written], atol=1e-3) and len(session) > 3
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["talk.rttm"]


def test_what_the_final_answer_is_can_be_chosen(tmp_path, capsys):
    assert main(["stream", "talk.wav", "--output", "live.rttm", "--final", "live"]) == 0
    said = capsys.readouterr().out
    assert sorted((tmp_path / "live.rttm").read_text().splitlines()) == sorted(said.splitlines())
    assert main(["stream", "talk.wav", "--output", "session.rttm", "--final", "session"]) == 0
    assert (tmp_path / "session.rttm").read_text() == capsys.readouterr().out


def test_json_lines_in_a_file(tmp_path, capsys):
    assert main(["stream", "talk.wav", "--output", "deep/er/talk.jsonl", "--uri", "meeting"]) == 0
    lines = (tmp_path / "deep" / "er" / "talk.jsonl").read_text().splitlines()
    assert {json.loads(line)["uri"] for line in lines} == {"meeting"}
    assert formats.loads(capsys.readouterr().out, "rttm")[0].uri == "meeting"


def test_plain_lines_and_the_console_where_there_is_no_terminal(capsys):
    for words in (["--format", "console"], ["--format", "console", "--no-plot"]):
        assert main(["stream", "talk.wav", *words]) == 0
        out = capsys.readouterr().out
        assert "speaker0" in out and "\x1b" not in out and "0:0" in out


def test_a_plot_in_a_file(tmp_path):
    pytest.importorskip("matplotlib")
    assert main(["stream", "talk.wav", "--plot", "live.png"]) == 0
    assert (tmp_path / "live.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ([], lambda: (SAMPLES * 32_767).astype("<i2").tobytes()),
        (["--encoding", "f32le"], lambda: SAMPLES.astype("<f4").tobytes()),
        (["--num-channels", "2"], lambda: np.repeat((SAMPLES * 32_767).astype("<i2")[:, None], 2, axis=1).tobytes()),
        (["--sample-rate", "8000"], lambda: (SAMPLES[::2] * 32_767).astype("<i2").tobytes()),
        ([], lambda: Path("talk.wav").read_bytes()),
    ],
)
def test_standard_input(stdin, capsys, words, data):
    stdin(data())
    assert main(["stream", "-", *words]) == 0
    (found,) = formats.loads(capsys.readouterr().out, "rttm")
    assert found.uri == "stdin" and right(found)


def test_input_that_ends_at_once_or_within_a_sample(stdin, capsys):
    stdin(b"")
    assert main(["stream", "-", "--output", "made"]) == 1
    assert capsys.readouterr().err == "diarist: error: stdin is empty (0 bytes)\n"
    assert Path("made/stdin.rttm").read_text() == ""
    stdin((SAMPLES * 32_767).astype("<i2").tobytes()[:-1])
    assert main(["stream", "-"]) == 0
    assert "the last 1 bytes were dropped" in capsys.readouterr().err
    stdin(b"\0\0")
    assert main(["stream", "-", "--format", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["session"]["turns"] == []


@pytest.fixture
def microphone(monkeypatch):
    def plug(**options):
        monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice.make(SAMPLES, speed=200.0, **options))

    return plug


def test_a_microphone_that_is_unplugged_leaves_its_answer(microphone, capsys, tmp_path):
    microphone(then="unplugged")
    assert main(["stream", "microphone:usb mic", "--output", "made"]) == 1
    out, err = capsys.readouterr()
    assert "listening to 'USB Mic'; Ctrl-C ends it" in err and "'USB Mic' gives no more sound" in err
    assert right(formats.read(tmp_path / "made" / "microphone.rttm")[0]) and right(formats.loads(out, "rttm")[0])


def test_a_microphone_shown_to_a_person_is_written_to_the_home_folder(microphone, tmp_path, capsys):
    microphone(then="unplugged")
    (tmp_path / "home").mkdir()
    assert main(["stream", "microphone", "--format", "console"]) == 1
    (made,) = (tmp_path / "home").iterdir()
    assert made.name.startswith("microphone-2") and right(formats.read(made)[0])


def test_what_cannot_be_is_told_before_anything_is_heard(capsys, tmp_path, stdin):
    (tmp_path / "file").touch()
    cases = {
        "nowhere.wav": (1, "no such file"),
        "microphone": (3, "PortAudio|sounddevice|input device"),
        "talk.wav --latency 9": (2, "'latency' must be between"),
        "talk.wav --latency soon": (2, "'latency' must be seconds, 'min' or 'max'"),
        "talk.wav --preset bset": (2, "unknown live preset 'bset'"),
        "talk.wav --output file/x": (1, "cannot make the folder"),
        "talk.wav --real-time --pace 2": (2, "give one of them"),
        "talk.wav --pace 0": (2, "pace must be above 0"),
        "talk.wav --plot x.gif": (2, ".png or .svg"),
        "udp://127.0.0.1:1 --pace 2": (2, "its own pace"),
        "- --encoding s99": (2, "unknown encoding"),
        "talk.wav --step 0": (2, "step"),
    }
    stdin(b"")
    for line, (code, said) in cases.items():
        if line == "microphone" and "sounddevice" in sys.modules:
            continue
        assert main(["stream", *line.split()]) == code, line
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1, line
        import re

        assert re.search(said, err), (line, err)
    assert not list(tmp_path.glob("*.rttm"))


def test_a_listening_socket_says_where_it_listens(capsys, monkeypatch):
    client = pytest.importorskip("websockets.sync.client")
    ports = []
    announce = command._announce

    def announced(args, source):
        announce(args, source)
        ports.append(source.port)
        threading.Thread(target=call, args=(source.port,), daemon=True).start()

    def call(port):
        with client.connect(f"ws://127.0.0.1:{port}") as connection:
            for part in np.array_split((SAMPLES * 32_767).astype("<i2"), 50):
                connection.send(part.tobytes())

    monkeypatch.setattr(command, "_announce", announced)
    assert main(["stream", "listen://127.0.0.1:0"]) == 0
    out, err = capsys.readouterr()
    assert err == f"diarist: listening on ws://127.0.0.1:{ports[0]}\n"
    assert right(formats.loads(out, "rttm")[0])


def test_a_sink_that_fails_ends_the_stream_and_the_others_get_its_end(monkeypatch, capsys, tmp_path):
    from diarist.audio.sinks import RttmLines

    written = []

    def write(self, update):
        written.append(update)
        if len(written) == 6:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(RttmLines, "write", write)
    monkeypatch.setattr(RttmLines, "close", lambda self: None)
    assert main(["stream", "talk.wav", "--output", "made", "--pace", "50"]) == 1
    assert capsys.readouterr().err == "diarist: error: No space left on device\n"
    (found,) = formats.read(tmp_path / "made" / "talk.rttm")
    assert 0 < max(turn.end for turn in found) < len(SAMPLES) / 16_000 - 2 and len(written) == 6
