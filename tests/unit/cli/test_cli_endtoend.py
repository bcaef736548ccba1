"""The engines nemotron, sortformer and auto from the command line, on models of tones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from diarist import formats
from diarist.cli import main
from diarist.speakers import scoring
from diarist.speakers.scoring import Scorer
from toy_house import furnish, recording, write_wav

TOY = Scorer(np.zeros(80), np.eye(80), np.full(80, 1 / 80), np.full(80, 0.02 / 80), 1.0, 0.2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed in range(2):
        samples, reference = recording(12, 2, seed)
        write_wav(folder / f"talk{seed}.wav", samples)
        formats.write(replace(reference, uri=f"talk{seed}"), folder / f"talk{seed}.rttm", "rttm")
    return folder


@pytest.fixture(autouse=True)
def house(monkeypatch):
    """Toys for presets and models, put back afterwards."""
    furnish(monkeypatch.setattr)


def run(capsys, *words):
    code = main.main([str(word) for word in words])
    return code, capsys.readouterr()


@pytest.mark.parametrize("engine", ["nemotron", "sortformer", "auto"])
def test_run(data, capsys, engine):
    code, said = run(capsys, "run", "--engine", engine, data / "talk0.wav", "--format", "json")
    result = json.loads(said.out)
    assert code == 0 and said.err == ""
    assert len(result["speakers"]) == 2
    answered = "nemotron" if engine == "auto" else engine
    assert result["provenance"]["engine"] == answered
    assert ("router" in result["provenance"]) == (engine == "auto")


def test_values_and_presets(data, capsys):
    code, said = run(
        capsys,
        "run",
        "--engine",
        "sortformer",
        "--preset",
        "callhome",
        "--turns-onset",
        "0.7",
        "--show-config",
        data / "talk0.wav",
    )
    assert code == 0
    assert 'model = "sortformer"' in said.out and "onset = 0.7\n" in said.out and "pad_onset = 0.229" in said.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "nemotron", "--clustering-threshold", "0.5"], "--clustering-threshold"),
        (["--engine", "nemotron", "--preset", "balanced"], "unknown preset 'balanced'"),
        (["--network-latency", "1.04"], "--network-latency"),
        (["--engine", "nemotron", "--network-window", "10"], "at least twice 'network.overlap'"),
    ],
)
def test_options_of_others_are_refused(data, capsys, words, message):
    code, said = run(capsys, "run", data / "talk0.wav", *words)
    assert code == 2 and message in said.err and "Traceback" not in said.err


def test_names_from_a_gallery(data, tmp_path, capsys, monkeypatch):
    """Who was enrolled from a run of clustering is named in one of an end-to-end engine."""
    monkeypatch.setattr(scoring, "scorer_for", lambda model: TOY)
    gallery, kept = tmp_path / "people.sqlite", tmp_path / "out"
    assert run(capsys, "run", data / "talk0.wav", "--format", "json", "--out", kept)[0] == 0
    document = json.loads((kept / "talk0.json").read_text())
    for speaker, name in zip(document["speakers"], ("Ada", "Bo"), strict=True):
        words = ["speakers", "enrol", "--gallery", gallery, name, "--from", kept / "talk0.json"]
        code, said = run(capsys, *words, "--speaker", speaker["label"])
        assert code == 0, said.err
    words = ["run", "--engine", "nemotron", data / "talk1.wav", "--gallery", gallery, "--quiet", "--format", "json"]
    code, said = run(capsys, *words)
    assert code == 0, said.err
    assert sorted(speaker["label"] for speaker in json.loads(said.out)["speakers"]) == ["Ada", "Bo"]


@pytest.mark.slow
def test_benchmark(data, tmp_path, capsys):
    """In processes of its own: a tiny network in an ONNX file, random and without voices."""
    pytest.importorskip("transformers.models.nemotron3_diarization")
    pytest.importorskip("onnx")
    import nemotron_house
    from diarist.models.nemotron_export import export_onnx

    file = export_onnx(nemotron_house.saved(tmp_path / "tiny"), tmp_path / "tiny.onnx")
    words = ["--engine", "nemotron", "--network-model", f"nemotron:{file}", "--network-latency", "1.04"]
    code, said = run(capsys, "benchmark", data, "--reference", data, *words, "--embedding-model", "none", "--json")
    assert code == 0, said.err
    assert "nemotron" in said.out


def test_tune(data, tmp_path, capsys):
    pytest.importorskip("optuna")
    out = tmp_path / "out"
    code, said = run(
        capsys,
        "tune",
        data,
        "--reference",
        data,
        "-o",
        out,
        "--engine",
        "nemotron",
        "--num-trials",
        "4",
        "--folds",
        "0",
        "--turns-pad-offset",
        "0.3",
    )
    assert code == 0, said.err
    assert "tuning turns.onset from 0.2 to 0.8" in said.err
    assert f"diarist run --engine nemotron --preset-file '{out / 'preset.toml'}'" in said.out
    code, said = run(capsys, "run", "--engine", "nemotron", "--preset-file", out / "preset.toml", data / "talk0.wav")
    assert code == 0, said.err
    assert said.out.startswith("SPEAKER talk0 1 ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "nemotron", "--live"], "--live is of the live pipeline"),
        (["--engine", "nemotron", "--clustering-threshold", "0.5"], "--clustering-threshold is not of --engine"),
        (["--network-latency", "1.04"], "--network-latency is of an end-to-end engine: add --engine nemotron"),
        (["--engine", "nemotron", "--params", "network.latency"], "has no range of its own"),
    ],
)
def test_tuning_what_is_not_there(data, tmp_path, capsys, words, message):
    code, said = run(capsys, "tune", data, "--reference", data, "-o", tmp_path / "out", *words)
    assert code == 2 and message in said.err


@pytest.mark.parametrize("engine", ["nemotron", "sortformer"])
def test_stream(data, tmp_path, capsys, engine):
    words = ["stream", data / "talk0.wav", "--engine", engine, "--latency", "0.64", "--turns-min-duration-off", "0.3"]
    code, said = run(capsys, *words, "--output", tmp_path / "out.rttm", "--format", "jsonl")
    assert code == 0, said.err
    updates = [json.loads(line) for line in said.out.splitlines()]
    assert sum(bool(update.get("final")) for update in updates) > 3
    kept = (tmp_path / "out.rttm").read_text()
    assert {line.split()[7] for line in kept.splitlines()} == {"speaker0", "speaker1"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "nemotron", "--tau-active", "0.5"], "--tau-active is of the clustering pipeline"),
        (["--network-latency", "1.04"], "--network-latency is of an end-to-end engine"),
        (["--engine", "nemotron", "--latency", "max"], "a number of seconds, not 'max'"),
        (["--engine", "nemotron", "--pipeline", "speech"], "leave out --pipeline"),
        (["--engine", "nemotron", "--network-window", "600"], "one memory: leave out --network-window"),
    ],
)
def test_streaming_what_is_not_there(data, capsys, words, message):
    code, said = run(capsys, "stream", data / "talk0.wav", *words)
    assert code == 2 and message in said.err
