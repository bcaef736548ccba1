"""Whether a gain holds, in words; and the files that say so."""

from __future__ import annotations

import csv
import json

import pytest

from diarist.core.config import replace_from
from diarist.evaluation.report import Convention
from diarist.evaluation.score import Errors
from diarist.evaluation.tune_report import Fold, TuneReport
from diarist.evaluation.tune_space import Parameter
from diarist.pipelines import presets
from diarist.pipelines.config import PipelineConfig

BASE = replace_from(PipelineConfig(), {"segmentation.step": 5.0})
BEST = replace_from(BASE, {"clustering.Fb": 7.5, "turns.min_duration_off": 0.25})


def wrong(*seconds, total=100.0):
    return [Errors(files=1, confusion=s, correct=total - s) for s in seconds]


def report(before, after, out_after, best=BEST):
    """Six recordings in three folds; `out_after`: wrong seconds of each, with values found without it."""
    uris = [f"r{i}" for i in range(6)]
    folds = []
    for fold in range(3) if out_after else ():
        inside, rest = [fold, fold + 3], [i for i in range(6) if i % 3 != fold]
        folds.append(
            Fold(
                {"clustering.Fb": 7.0},
                tuple(uris[i] for i in inside),
                tuple(wrong(*(before[i] for i in rest))),
                tuple(wrong(*(after[i] for i in rest))),
                tuple(wrong(*(before[i] for i in inside))),
                tuple(wrong(*(out_after[i] for i in inside))),
            )
        )
    return TuneReport(
        preset="balanced",
        base=BASE,
        best=best,
        parameters=(Parameter("clustering.Fb", "float", 0.5, 25.0),),
        convention=Convention(),
        before=dict(zip(uris, wrong(*before), strict=True)),
        after=dict(zip(uris, wrong(*after), strict=True)),
        folds=tuple(folds),
        num_trials=3,
        seed=0,
    )


OLD, NEW = [20] * 6, [10] * 6


def test_a_gain_that_holds():
    found = report(OLD, NEW, [11, 12, 13, 11, 12, 13])
    assert found.gain == pytest.approx(0.10) and found.gain_left_out == pytest.approx(0.08)
    assert found.holds is True
    assert found.verdict().startswith("THE GAIN HOLDS") and "from 20.00 to 12.00 % (+8.00 points)" in found.verdict()
    low, high = found.interval()
    assert 0.07 <= low <= 0.08 <= high <= 0.09


def test_a_gain_that_does_not_hold():
    found = report(OLD, NEW, [25, 30, 19, 25, 30, 19])
    assert found.holds is False
    assert found.verdict().startswith("THE GAIN DOES NOT HOLD")
    assert "from 20.00 to 24.67 % (-4.67 points), better in 1 of 3 folds" in found.verdict()
    assert found.to_dict()["left_out"]["gain"] == pytest.approx(-0.046667)


def test_a_gain_that_may_be_chance():
    found = report(OLD, NEW, [0, 22, 22, 21, 22, 22])
    assert found.gain_left_out > 0 > found.interval()[0]
    assert found.holds is None and found.verdict().startswith("THE GAIN MAY BE CHANCE")


def test_no_gain_and_nothing_left_out():
    assert report(OLD, OLD, OLD, best=BASE).verdict().startswith("NO GAIN")
    assert report(OLD, OLD, OLD, best=BASE).holds is False
    alone = report(OLD, NEW, [])
    assert alone.holds is None and alone.interval() is None and alone.to_dict()["left_out"] is None
    assert alone.verdict().startswith("NOT JUDGED") and "not known whether this holds elsewhere" in alone.verdict()


def test_silent_recordings_have_an_interval():
    silent = report([0] * 6, [0] * 6, [0] * 6)
    assert silent.interval() == (0.0, 0.0)


def test_table():
    text = report(OLD, NEW, [11, 12, 13, 11, 12, 13]).to_text()
    lines = [line.split() for line in text.splitlines()]
    assert ["all", "6", "recordings", "20.00", "10.00", "+10.00"] in lines
    assert ["fold", "2:", "left", "out", "20.00", "12.00", "+8.00"] in lines
    assert ["fold", "2:", "tuned", "on", "20.00", "10.00", "+10.00"] in lines
    assert "clustering.Fb: 11.0 -> 7.5" in text and "collar 0 s; overlapped speech scored" in text


def test_files(tmp_path):
    found = report(OLD, NEW, [25, 30, 19, 25, 30, 19])
    trials = [{"study": "all", "number": 0, "state": "complete", "der": 0.2, "clustering.Fb": 11.0, "other": 1}]
    found.write(tmp_path, trials)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["preset.toml", "report.json", "trials.csv"]
    assert presets.resolve(file=tmp_path / "preset.toml") == BEST
    text = (tmp_path / "preset.toml").read_text()
    assert "THE GAIN DOES NOT HOLD" in text and "step = 5.0" in text and "threshold" not in text
    kept = json.loads((tmp_path / "report.json").read_text())
    assert kept["changes"]["clustering.Fb"] == {"before": 11.0, "after": 7.5}
    assert kept["folds"][0]["left_out"] == ["r0", "r3"] and kept["files"]["r0"]["before"]["der"] == 0.2
    (row,) = csv.DictReader((tmp_path / "trials.csv").read_text().splitlines())
    assert row["clustering.Fb"] == "11.0" and row["retry_of"] == ""
