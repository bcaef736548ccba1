"""`diarist engines` on toy voices: what is there, what is not, what it costs."""

from __future__ import annotations

import json

import pytest

from diarist.cli import engines
from diarist.cli.main import main
from diarist.errors import WeightsError
from diarist.models import backends
from toy_house import furnish, recording, write_wav


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path / "cache"))
    furnish(monkeypatch.setattr)
    found = [
        backends.Backend("onnx", "1.2.3", ("cpu",), ("int8", "float32")),
        backends.Backend("torch", None, remedy="pip install 'diarist[torch]'"),
        backends.Backend("openvino", "4.5", ("cpu",), ("float32",)),
        backends.Backend("mlx", "6.7", remedy="installed, but does not start: no metal"),
    ]
    monkeypatch.setattr(backends, "backends", lambda: found)
    monkeypatch.setattr(backends, "missing", lambda extra: ["nemo"] if extra == "nemo" else [])


def test_the_list(capsys):
    assert main(["engines"]) == 0
    out = capsys.readouterr().out
    assert "\nclustering" in out and "pip install 'diarist[nemo]'" in out and "fetched at first use: " in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines["onnx"].split(None, 2) == ["onnx", "1.2.3", "cpu; int8, float32"]
    assert lines["torch"].split(None, 2)[1:] == ["no", "pip install 'diarist[torch]'"]
    assert lines["sortformer"].split()[1] == "no" and lines["nemo-style"].split()[1] == "yes"


def test_as_json(capsys):
    assert main(["engines", "--json", "--engine", "nemo-style"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in told["engines"]] == ["nemo-style"] and "measured" not in told
    assert told["backends"][0] == {
        "name": "onnx",
        "version": "1.2.3",
        "devices": ["cpu"],
        "precisions": ["int8", "float32"],
        "remedy": "",
    }


def test_measured(capsys, tmp_path):
    samples, _ = recording(6, 2)
    write_wav(tmp_path / "talk.wav", samples)
    words = ["engines", "--measure", "talk.wav", "--engine", "clustering", "--runs", "2", "--json"]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["measured"]
    assert [(row["engine"], row["backend"]) for row in rows] == [("clustering", "onnx"), ("clustering", "openvino")]
    for row in rows:
        assert row["speakers"] == 2 and 0 < row["fastest"] <= row["wall_seconds_per_hour"] <= row["slowest"]
        assert row["cpu_seconds_per_hour"] > 0
    assert main(words[:-1]) == 0
    out = capsys.readouterr().out
    assert "an hour of sound, by 2 runs over talk.wav" in out and "\n  clustering   onnx " in out


def test_a_recording_that_is_none_is_told_once_and_first(capsys, tmp_path):
    (tmp_path / "talk.wav").write_bytes(b"no sound")
    assert main(["engines", "--measure", "talk.wav"]) == 1
    out, err = capsys.readouterr()
    assert not out and err.startswith("diarist: error: 'talk.wav'") and err.count("\n") == 1
    write_wav(tmp_path / "empty.wav", recording(1, 1)[0][:0])
    assert main(["engines", "--measure", "empty.wav"]) == 1
    assert capsys.readouterr().err == "diarist: error: 'empty.wav' holds no sound\n"


def test_an_engine_that_cannot_be_measured_is_told_in_its_row(capsys, tmp_path, monkeypatch):
    def fails(diarizer, audio):
        raise WeightsError("it is not here:\nfetch it")

    monkeypatch.setattr(engines, "_timed", fails)
    write_wav(tmp_path / "talk.wav", recording(2, 1)[0])
    assert main(["engines", "--measure", "talk.wav", "--engine", "clustering", "--backend", "onnx"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "  clustering   onnx      it is not here: fetch it"


def test_what_each_can_do_here(capsys, monkeypatch):
    def told():
        assert main(["engines", "--json"]) == 0
        return {row["name"]: row for row in json.loads(capsys.readouterr().out)["engines"]}

    rows = told()
    assert rows["clustering"]["runs_on"] == ["onnx (cpu)", "openvino (cpu)"] and rows["sortformer"]["runs_on"] == []
    assert rows["auto"]["note"] == "" and "nvidia/Nemotron-3-Diarization" in rows["auto"]["weights"]
    monkeypatch.setattr(backends, "missing", lambda extra: [extra] if extra else [])
    rows = told()
    assert rows["auto"]["installed"] and "pip install 'diarist[transformers]'" in rows["auto"]["note"]
    assert not rows["nemotron"]["installed"] and "nemotron:FILE.onnx" in rows["nemotron"]["note"]
    assert {rows[name]["remedy"] for name in ("nemo", "sortformer")} == {"pip install 'diarist[nemo]'"}
    assert rows["pix2seq"]["remedy"] == "pip install 'diarist[pix2seq]'"


@pytest.mark.parametrize("words", [["--measure", "nowhere.wav"], ["--runs", "0"]])
def test_refused_in_a_line(capsys, words):
    assert main(["engines", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("diarist: error: ") and err.count("\n") == 1


def test_what_is_installed_here():
    assert engines.engines_here(["clustering"])[0]["installed"]


def test_backends_that_are_here(monkeypatch):
    monkeypatch.undo()
    found = {backend.name: backend for backend in backends.backends()}
    assert list(found) == ["onnx", "torch", "mlx", "openvino"]
    assert found["onnx"].version and found["onnx"].devices[0] == "cpu"
    for name, backend in found.items():
        if name != "onnx" and backends.missing(name):
            assert backend.version is None and backend.remedy == f"pip install 'diarist[{name}]'"
        elif not backend.remedy:
            assert backend.devices and "float32" in backend.precisions


def test_a_library_that_does_not_start(monkeypatch):
    def broken():
        raise RuntimeError("no\nlicence")

    monkeypatch.setattr(backends, "missing", lambda extra: [])
    backend = backends._asked("mlx", broken)
    assert backend.remedy == "installed, but does not start: no licence"
