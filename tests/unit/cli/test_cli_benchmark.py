"""`diarist benchmark` from folders to exit, on toy voices; once killed in the middle, in a process of its own."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diarist import formats
from diarist.cli import benchmark
from diarist.cli.main import main
from diarist.core.config import replace_from
from diarist.core.types import Diarization, Turn
from diarist.errors import DiaristError, InputError, UsageError
from diarist.evaluation.attribute import Attributed
from diarist.evaluation.live import Live
from diarist.evaluation.systems import Offline
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.models.vad import SegmentationVad
from diarist.pipelines import nemo_style
from diarist.pipelines.workers import num_cores
from toy_house import CONFIG, recording, write_wav

SAY = """import sys
print(f"SPEAKER x 1 0.0 {sys.argv[2]} <NA> <NA> X <NA> <NA>")
"""


@pytest.fixture
def data(tmp_path):
    """Two recordings in which A talks for 4 of 12 s, references beside them, and a tool."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("one", "two"):
        samples, _ = recording(3)
        write_wav(folder / f"{name}.wav", samples)
        formats.write(Diarization((Turn(0, 4, "A"),), uri=name), folder / f"{name}.rttm")
    (tmp_path / "say.py").write_text(SAY)
    return folder


@pytest.fixture
def toys(monkeypatch):
    """Every offline system is run on toy models."""
    asked = benchmark._systems

    def furnished(system):
        if isinstance(system, Attributed):
            return Attributed(furnished(system.offline))
        if isinstance(system, Live):
            return dataclasses.replace(system, segmentation=ToySegmentation(), embedding=ToyEmbedding())
        if not isinstance(system, Offline):
            return system
        config = replace_from(system.config, CONFIG)
        return dataclasses.replace(system, config=config, segmentation=ToySegmentation(), embedding=ToyEmbedding())

    monkeypatch.setattr(benchmark, "_systems", lambda args: [furnished(system) for system in asked(args)])


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    benchmark.configure(parser)
    return parser.parse_args([str(a) for a in arguments])


def run(data, *arguments):
    return benchmark.run(parsed(data, "--reference", data, *arguments))


def tool(data, seconds="4.0", name="tool"):
    return f"{name}={sys.executable} {data.parent / 'say.py'} {{audio}} {seconds}"


def test_a_pipeline_and_other_programs(data, toys, capsys):
    out = data.parent / "out"
    code = run(data, "--system", "fast", "--command", tool(data), "--command", tool(data, "2.0", "b"), "--output", out)
    said = capsys.readouterr()
    assert code == 0 and said.err == ""
    lines = [line.split() for line in said.out.splitlines()]
    assert ["DER", "%", "fast", "tool", "b"] in lines
    assert any(line[:1] == ["one"] and line[2:] == ["0.00", "50.00"] for line in lines)
    assert ["b", "50.00", "50.00", "0.00", "0.00", "50.00", "100.0", "0.00"] in lines
    assert sorted(p.name for p in out.iterdir()) == ["b", "fast", "report.csv", "report.json", "tool"]
    assert sorted(p.name for p in (out / "b").iterdir()) == ["one.json", "one.rttm", "two.json", "two.rttm"]
    values = json.loads((out / "report.json").read_text())
    assert values["systems"]["b"]["errors"]["pooled"]["der"] == 0.5
    assert values["systems"]["fast"]["settings"]["config"]["segmentation"]["step"] == 7.5
    with (out / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(r["system"], r["row"]) for r in rows} >= {("fast", "pooled"), ("b", "file")}


def test_one_system_has_the_whole_table_and_attribution(data, toys, capsys):
    assert run(data, "--attribute", "--by", "speakers", "--collar", "0.5", "--num-workers", "2") == 0
    out = capsys.readouterr().out
    assert "convention: collar 0.5 s" in out and "1 speaker " in out and "speed (2 workers)" in out
    assert "balanced: where the error comes from, 2 recordings pooled" in out
    assert "points of DER to win by making it right: " in out


def test_live_pipelines_with_the_options_of_diart(data, toys, capsys):
    out = data.parent / "out"
    options = ("--tau", "0.6", "--rho-update", "0.4", "--delta", "0.9", "--latency", "2", "--batch-size", "4")
    assert run(data, *options, "--output", out, "--json") == 0
    values = json.loads(capsys.readouterr().out)["systems"]
    config = values["live-balanced"]["settings"]["config"]
    assert [config[k] for k in ("tau_active", "rho_update", "delta_new", "latency")] == [0.6, 0.4, 0.9, 2.0]
    assert sorted(p.name for p in (out / "live-balanced" / "session").iterdir()) == ["one.rttm", "two.rttm"]
    run(data, "--live", "fast", "--live", "slow=balanced", "--system", "fast", "--segmentation-precision", "float32")
    told = capsys.readouterr().out
    assert "live-fast, renamed" in told and "slow, at the end" in told
    assert "delay s p95" in told


def test_a_command_line_of_diarts(data, toys, capsys):
    options = ("--pipeline", "SpeakerDiarization", "--segmentation", "pyannote/segmentation-3.0", "--batch-size", "32")
    assert run(data, *options, "--cpu", "--hf-token", "true", "--num-workers", "0", "--json") == 0
    values = json.loads(capsys.readouterr().out)["systems"]
    assert values["live-balanced"]["settings"]["config"]["segmentation"]["model"] == "segmentation-3.0"


def test_what_fails_is_told_and_is_exit_code_1(data, toys, capsys):
    (data / "two.wav").write_bytes(b"no sound")
    (data / "more.wav").write_bytes(b"no reference")
    assert run(data, "--json") == 1
    said = capsys.readouterr()
    assert list(json.loads(said.out)["systems"]["balanced"]["failed"]) == ["two"]
    assert "diarist: error: two: " in said.err and "diarist: 1 of 2 answers failed" in said.err
    assert "diarist: warning: no reference for 'more': left out" in said.err


def test_a_uem(data, toys, capsys):
    (data.parent / "some.uem").write_text("one 1 0.0 3.0\n")
    assert run(data, "--uem", data.parent / "some.uem", "--skip-overlap", "--json", "--reference-kind", "manual") == 0
    values = json.loads(capsys.readouterr().out)
    assert list(values["systems"]["balanced"]["errors"]["files"]) == ["one"]
    assert values["convention"]["skip_overlap"] is True and values["convention"]["reference_kind"] == "manual"
    assert values["systems"]["balanced"]["errors"]["pooled"]["total"] == 3.0
    (data.parent / "else.uem").write_text("other 1 0.0 3.0\n")
    with pytest.raises(DiaristError, match="names no recording"):
        run(data, "--uem", data.parent / "else.uem")


def test_systems_by_preset_file_and_options(tmp_path):
    (tmp_path / "mine.toml").write_text('preset = "fast"\n[clustering]\nthreshold = 0.4\n')
    made = benchmark._systems(
        parsed(
            *("x", "--reference", "x", "--system", "balanced", "--preset", "slow=balanced", "--preset-file"),
            *(tmp_path / "mine.toml", "--system", "balanced", "--clustering-Fa", "0.2", "--num-workers", "1"),
        )
    )
    assert [s.name for s in made] == ["balanced", "slow", "mine", "balanced-2"]
    assert [s.config.segmentation.step for s in made] == [2.5, 2.5, 7.5, 2.5]
    assert {s.config.clustering.Fa for s in made} == {0.2} and made[2].config.clustering.threshold == 0.4
    assert {s.runtime.num_threads for s in made} == {num_cores()}
    made = benchmark._systems(parsed("x", "--reference", "x", "--num-threads", "3", "--num-workers", "64"))
    assert [(s.name, s.runtime.num_threads) for s in made] == [("balanced", 3)]
    made = benchmark._systems(parsed("x", "--reference", "x", "--attribute", "--num-workers", "64"))
    assert isinstance(made[0], Attributed) and made[0].offline.runtime.num_threads == 1
    made = benchmark._systems(parsed("x", "--reference", "x", "--command", "cat {audio}", "--command", "cat {audio}"))
    assert [s.name for s in made] == ["cat", "cat-2"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--system", "fast", "--step", "0.5"], "--step changes a --live, and none was given"),
        (["--system", "fast", "--tau", "0.5"], "--tau-active changes a --live"),
        (["--live", "balanced", "--latency", "0.1"], "'latency' must be between the step"),
        (["--live", "balanced", "--latency", "soon"], "'latency' must be seconds, 'min' or 'max', not 'soon'"),
        (["--live", "blanced"], "unknown live preset 'blanced'; did you mean 'balanced'"),
        (["--live", "balanced", "--attribute"], "--attribute swaps stages of our offline pipeline: a --live"),
        (["--live", "balanced", "--turns-onset", "0.4"], "--turns-onset changes a --system, and none was given"),
        (["--system", "fast", "--batch-size", "32"], "--batch-size is of a --live, and none was given"),
        (["--live", "balanced", "--batch-size", "0"], "--batch-size must be 1 or more"),
        (["--system", "blanced"], "unknown preset 'blanced'; did you mean 'balanced'"),
        (["--system", "a=fast", "--system", "a=balanced"], "two systems are called 'a'"),
        (["--command", "cat {audoi}"], "unknown placeholder"),
        (["--command", "cat {audio}", "--attribute"], "--attribute swaps stages of our offline pipeline: a --command"),
        (
            ["--command", "cat {audio}", "--clustering-Fa", "1"],
            "--clustering-Fa changes a --system, and none was given",
        ),
        (["--num-workers", "-1"], "--num-workers must be 1 or more"),
        (["--collar", "nan"], "collar"),
        (["--clustering-threshold", "9"], "clustering.threshold"),
    ],
)
def test_what_cannot_be_asked(data, arguments, says):
    with pytest.raises(UsageError, match=says) as caught:
        run(data, *arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["gone", "--reference", "data"], "no such folder: 'gone'"),
        (["data", "--reference", "gone"], "gone"),
        (["data", "--reference", "data", "--uem", "gone.uem"], "gone.uem"),
        (["data", "--reference", "data", "--output", "say.py"], "cannot make the folder"),
        (["data", "--reference", "data", "--preset-file", "gone.toml"], "gone.toml"),
    ],
)
def test_what_is_not_there(data, monkeypatch, arguments, says):
    monkeypatch.chdir(data.parent)
    with pytest.raises((InputError, UsageError, DiaristError), match=says) as caught:
        benchmark.run(parsed(*arguments))
    assert "\n" not in str(caught.value)


def test_the_command_is_known(capsys):
    assert main(["benchmark", "x", "--reference", "y", "--latency", "0.1"]) == 2
    assert "must be between the step (0.5 s) and the duration (5 s)" in capsys.readouterr().err


HANG = """import os, pathlib, sys, time
if sys.argv[1].endswith("two.wav"):
    pathlib.Path(sys.argv[3]).write_text(str(os.getpid()))
    time.sleep(float(sys.argv[4]))
print(f"SPEAKER x 1 0.0 {sys.argv[2]} <NA> <NA> X <NA> <NA>")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_run_that_is_stopped_goes_on_and_leaves_nothing_running(data, tmp_path, how):
    (tmp_path / "say.py").write_text(HANG)
    pid, out = tmp_path / "pid", tmp_path / "out"
    shutil.copy(data / "one.wav", data / "two.wav")
    os.utime(data / "one.wav", ns=(0, 0))
    with (data / "one.wav").open("ab") as file:
        file.write(bytes(2))  # the larger one is begun first
    # the same command both times: how long it takes is in the environment of the shell that it runs in
    template = f"tool=sh -c '{sys.executable} {tmp_path}/say.py \"$1\" 4.0 {pid} $SECONDS_TO_WAIT' sh {{audio}}"
    arguments = ["benchmark", data, "--reference", data, "--command", template, "--output", out]
    command = [sys.executable, "-m", "diarist.cli.main", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env=os.environ | {"SECONDS_TO_WAIT": "600"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert wait_for(lambda: pid.exists() and pid.read_text(), 60)
    assert sorted(p.name for p in (out / "tool").iterdir()) == ["one.json", "one.rttm"]
    if how == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    else:
        process.kill()
    _, said = process.communicate(timeout=30)
    assert b"Traceback" not in said
    tool_process = Path(f"/proc/{pid.read_text()}")
    if Path("/proc/self").exists():
        assert wait_for(lambda: not tool_process.exists() or "Z" in (tool_process / "stat").read_text().split()[2], 30)
    before = (out / "tool" / "one.json").stat().st_mtime_ns
    again = subprocess.run(command, env=os.environ | {"SECONDS_TO_WAIT": "0"}, capture_output=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert (out / "tool" / "one.json").stat().st_mtime_ns == before
    assert json.loads((out / "report.json").read_text())["systems"]["tool"]["errors"]["pooled"]["files"] == 2
    assert not list(out.rglob(".*"))


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_engines_beside_each_other(data, toys, capsys, monkeypatch):
    monkeypatch.setattr(nemo_style, "load_segmentation", lambda *_, **__: ToySegmentation())
    monkeypatch.setattr(nemo_style, "load_embedding", lambda *_, **__: ToyEmbedding())
    monkeypatch.setattr(nemo_style, "load_vad", lambda *_, **__: SegmentationVad(ToySegmentation()))
    words = ("--system", "balanced", "--system", "nemo-style:meeting", "--system", "n=nemo-style:", "--json")
    assert run(data, *words) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report["systems"]) == ["balanced", "nemo-style-meeting", "n"]
    asked = parsed(data, "--reference", data, "--engine", "nemo-style", "--vad-onset", "0.4")
    (system,) = benchmark._systems(asked)
    assert (system.name, system.engine, system.config.vad.onset) == ("nemo-style-general", "nemo-style", 0.4)
    with pytest.raises(UsageError, match="--vad-onset belongs to --engine nemo-style or nemo, not to clustering"):
        run(data, "--system", "fast", "--vad-onset", "0.4")
    with pytest.raises(UsageError, match="unknown engine 'nemostyle'"):
        run(data, "--engine", "nemostyle")
    with pytest.raises(UsageError, match="nemo-style has others"):
        run(data, "--engine", "nemo-style", "--attribute")
