"""`diarist tune` from files to exit."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

import pytest

from diarist import formats
from diarist.cli import main, tune
from diarist.core.config import to_dict
from diarist.errors import ConfigError, ExtraError, InputError, UsageError
from toy_house import furnish, recording, write_wav


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed in range(2):
        samples, reference = recording(6, 2, seed)
        write_wav(folder / f"talk{seed}.wav", samples)
        formats.write(replace(reference, uri=f"talk{seed}"), folder / f"talk{seed}.rttm", "rttm")
    return folder


@pytest.fixture
def house(monkeypatch):
    """Toys for presets and models, put back afterwards."""
    furnish(monkeypatch.setattr)


def arguments(data, output, *more):
    parser = argparse.ArgumentParser()
    tune.configure(parser)
    return parser.parse_args([str(a) for a in (data, "--reference", data, "--output", output, *more)])


def test_tunes_and_the_preset_file_runs(data, house, tmp_path, capsys):
    pytest.importorskip("optuna")
    out = tmp_path / "out"
    options = ["--hparams", "threshold", "min_duration_off", "--num-iter", "6", "--folds", "2", "--seed", "3"]
    code = main.main(
        ["tune", str(data), "--reference", str(data), "-o", str(out), *options, "--clustering-threshold", "1.9"]
    )
    said = capsys.readouterr()
    assert code == 0
    assert said.out.count("fold") >= 4 and "clustering.threshold: 1.9 -> " in said.out
    assert "tuning clustering.threshold from 0.3 to 1.9; turns.min_duration_off from 0 to 1" in said.err
    assert "all: 6 of 6 trials" in said.err and "Traceback" not in said.err
    kept = json.loads((out / "report.json").read_text())
    assert kept["num_trials"] == 6 and kept["seed"] == 3 and len(kept["folds"]) == 2
    assert (
        main.main(["run", str(data / "talk0.wav"), "--preset-file", str(out / "preset.toml"), "--format", "rttm"]) == 0
    )
    assert capsys.readouterr().out.startswith("SPEAKER talk0 1 ")


def test_json_and_quiet(data, house, tmp_path, capsys):
    pytest.importorskip("optuna")
    options = ["--num-trials", "2", "--folds", "0", "--quiet", "--json", "--collar", "0.5", "--range", "onset=0.4:0.6"]
    assert tune.run(arguments(data, tmp_path, *options)) == 0
    said = capsys.readouterr()
    assert said.err == "" and json.loads(said.out) == json.loads((tmp_path / "report.json").read_text())
    assert json.loads(said.out)["convention"]["collar"] == 0.5


def test_the_plan_is_what_was_asked_for(data, tmp_path):
    (tmp_path / "mine.toml").write_text('preset = "fast"\n[turns]\nonset = 0.6\n')
    uem = tmp_path / "only.uem"
    uem.write_text("talk1 1 0.0 5.0\n")
    options = ["--params", "Fa,Fb", "turns.onset", "--range", "Fb=5:20:log", "--range", "hop=0.25:0.5"]
    options += ["--preset-file", tmp_path / "mine.toml", "--turns-min-duration-on", "0.2", "--num-threads", "1"]
    options += [
        "--storage",
        "postgresql://x/y",
        "--study",
        "mine",
        "--num-workers",
        "3",
        "--uem",
        uem,
        "--cache",
        tmp_path,
    ]
    wanted = tune._plan(arguments(data, tmp_path / "out", *options))
    assert [str(p) for p in wanted.parameters] == [
        "embedding.hop from 0.25 to 0.5",
        "clustering.Fa from 0.05 to 1",
        "clustering.Fb from 5 to 20 (log)",
        "turns.onset from 0.2 to 0.8",
    ]
    assert wanted.preset == "fast" and wanted.base.segmentation.step == 7.5
    assert to_dict(wanted.base.turns)["onset"] == 0.6 and wanted.base.turns.min_duration_on == 0.2
    assert (wanted.url, wanted.study, wanted.num_workers, wanted.cache) == ("postgresql://x/y", "mine", 3, tmp_path)
    assert [item.uri for item in wanted.items] == ["talk1"] and wanted.uem == {"talk1": [(0.0, 5.0)]}
    assert wanted.convention.uem == "only.uem" and wanted.runtime.num_threads == 1 and wanted.num_trials == 100


def test_a_command_line_of_diarts(data, tmp_path):
    options = [
        "--batch-size",
        "32",
        "--hparams",
        "tau_active",
        "delta_new",
        "--num-iter",
        "3",
        "--latency",
        "5",
        "--cpu",
    ]
    wanted = tune._plan(arguments(data, tmp_path / "out", *options, "--pipeline", "SpeakerDiarization"))
    assert [p.name for p in wanted.parameters] == ["tau_active", "delta_new"]
    assert (wanted.num_trials, wanted.base.latency, wanted.runtime.device) == (3, 5.0, "cpu")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--range", "Fb"], UsageError, "--range takes NAME=LOW:HIGH"),
        (["--params", "tau"], ConfigError, "unknown parameter 'tau'"),
        (["--collar", "-1"], UsageError, "the collar"),
        (["--preset", "blanced"], UsageError, "did you mean 'balanced'"),
        (["--num-trials", "0"], UsageError, "cannot tune with 0 trials"),
        (["--uem", "none.uem"], InputError, "none.uem"),
    ],
)
def test_bad_calls(data, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        tune._plan(arguments(data, tmp_path, *options))


def test_without_optuna(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ExtraError, match=r"tuning needs the package 'optuna': pip install 'diarist\[tune\]'"):
        tune.run(arguments(data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()
