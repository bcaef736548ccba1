"""Tuning the whole house on toy models: a planted optimum, everything else as it was, what does not hold is said."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna")

from diarist.core.config import replace_from, to_dict
from diarist.core.types import Diarization, Turn
from diarist.errors import InputError, UsageError
from diarist.evaluation import tune as module
from diarist.evaluation.dataset import Item
from diarist.evaluation.report import compare_by
from diarist.evaluation.score import Errors
from diarist.evaluation.tune import Judge, judge_of, plan, tune
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines import presets
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.offline import Diarizer
from toy_house import CONFIG, write_wav

MODELS = (ToySegmentation(), ToyEmbedding())
BASE = replace_from(
    PipelineConfig(), {**CONFIG, "clustering.threshold": 1.9, "segmentation.step": 5.0, "embedding.hop": 0.4}
)


def item(folder: Path, name: str, seed: int, *, joined: bool = True, num_turns: int = 8) -> Item:
    """Two people who pause 0.3 s within a turn; `joined`: the reference takes no notice of these pauses."""
    rng = np.random.default_rng(seed)
    heard, reference, now = [], [], 0.5
    for index in range(num_turns):
        speaker, start = "ab"[index % 2], now
        for _ in range(3):
            length = rng.uniform(0.9, 1.5)
            heard.append((now, now + length, speaker))
            now += length + 0.3
        reference.append(Turn(start, now - 0.3, speaker))
        now += 1.2
    path = write_wav(folder / f"{name}.wav", conversation(heard, now, seed=seed))
    turns = reference if joined else [Turn(*part) for part in heard]
    return Item(name, path, path.name, Diarization(tuple(turns), uri=name))


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [item(folder, f"talk{seed}", seed) for seed in range(4)]


def made(items, output, names=("threshold", "min_duration_off"), ranges=None, **options):
    options = {"num_trials": 30, "models": MODELS, "num_folds": 2, **options}
    return plan(items, output, BASE, names, ranges or {"min_duration_off": "0:3"}, **options)


def test_a_planted_optimum_is_found_and_everything_else_stays(items, tmp_path):
    said = []
    report = tune(made(items, tmp_path / "out"), said.append)
    values = {name: after for name, (_, after) in report.changes.items()}
    assert set(values) == {"clustering.threshold", "turns.min_duration_off"}
    assert values["clustering.threshold"] < 1.2  # two voices, not one
    assert 0.25 < values["turns.min_duration_off"] < 1.3  # pauses inside turns, not those between
    assert report.holds is True
    expected = to_dict(BASE)
    expected["clustering"]["threshold"] = values["clustering.threshold"]
    expected["turns"]["min_duration_off"] = values["turns.min_duration_off"]
    assert to_dict(report.best) == expected

    assert presets.resolve(file=tmp_path / "out/preset.toml") == report.best
    kept = json.loads((tmp_path / "out/report.json").read_text())
    assert kept["left_out"]["after"] < 0.1 < 0.3 < kept["left_out"]["before"]
    rows = list(csv.DictReader((tmp_path / "out/trials.csv").read_text().splitlines()))
    assert [row["study"] for row in rows] == ["all"] * 30 + ["without fold 1"] * 30 + ["without fold 2"] * 30
    for first in rows[::30]:  # the start, in every study
        assert (first["clustering.threshold"], first["turns.min_duration_off"]) == ("1.9", "0.0")
    assert float(rows[0]["der"]) == pytest.approx(kept["pooled"]["before"]["der"], abs=1e-6)
    assert sum("30 of 30 trials" in line for line in said) == 3


@pytest.fixture(scope="module")
def tuned(items, tmp_path_factory):
    output = tmp_path_factory.mktemp("tuned")
    wanted = made(items, output, num_trials=8, num_folds=2)
    return wanted, tune(wanted)


def test_errors_are_those_of_a_run_with_the_preset_file(tuned):
    wanted, report = tuned
    for config, errors in (
        (BASE, report.before),
        (presets.resolve(file=wanted.output / "preset.toml"), report.after),
    ):
        diarizer = Diarizer(config=config, segmentation=MODELS[0], embedding=MODELS[1])
        for recording in wanted.items:
            answer = diarizer(recording.audio)
            assert compare_by(wanted.convention, recording.reference, answer).errors == errors[recording.uri]


def test_again_with_more_trials_goes_on(tuned, items):
    wanted, report = tuned
    before = (wanted.output / "trials.csv").read_text().splitlines()
    said = []
    more = tune(replace(wanted, num_trials=10), said.append)
    after = (wanted.output / "trials.csv").read_text().splitlines()
    assert sum("10 of 10 trials" in line for line in said) == 3 and not any("8 of 10" in line for line in said)
    assert set(before) <= set(after) and len(after) == 31
    assert more.study == report.study


def test_every_trial_keeps_what_is_not_tuned(items, tmp_path, monkeypatch):
    """The step, the hop and all the rest; diart's tuner reset step and latency."""
    seen = []
    errors = Judge.errors
    monkeypatch.setattr(
        Judge, "errors", lambda self, config, indices: seen.append(config) or errors(self, config, indices)
    )
    tune(made(items, tmp_path, names=["onset"], ranges={"Fb": "5:20"}, num_trials=5, num_folds=0))
    kept = {name: value for name, value in to_dict(BASE).items()}
    for config in seen:
        values = to_dict(config)
        values["turns"]["onset"], values["clustering"]["Fb"] = BASE.turns.onset, BASE.clustering.Fb
        assert values == kept
    assert len({config.turns.onset for config in seen}) > 3


def test_a_gain_that_does_not_hold_is_said(tmp_path):
    """One recording wants pauses closed, the other, half as long, wants them kept."""
    two = [item(tmp_path, "long", 1, num_turns=8), item(tmp_path, "short", 2, joined=False, num_turns=6)]
    base = replace_from(BASE, {"clustering.threshold": 0.5})
    report = tune(replace(made(two, tmp_path / "out", num_trials=12), base=base))
    assert report.gain > 0 and report.holds is False
    assert "THE GAIN DOES NOT HOLD" in (tmp_path / "out/preset.toml").read_text()


def test_one_recording_leaves_nothing_out(items, tmp_path):
    report = tune(made(items[:1], tmp_path, num_trials=6))
    assert not report.folds and report.holds is None and report.verdict().startswith(("NOT JUDGED", "NO GAIN"))


def test_values_that_need_listening_again(items, tmp_path):
    wanted = made(items[:1], tmp_path, names=["step"], ranges={"segmentation.step": "2.5,7.5"}, num_trials=8)
    tune(wanted)
    rows = list(csv.DictReader((tmp_path / "trials.csv").read_text().splitlines()))
    tried = {row["segmentation.step"] for row in rows}
    assert {"5.0"} < tried <= {"2.5", "5.0", "7.5"}
    assert len(list((tmp_path / "cache").glob("*.maps"))) == len(tried)


def test_folds_tile_the_recordings_and_depend_on_the_seed(items):
    many = [replace(items[0], uri=f"r{i}") for i in range(11)]
    wanted = made(many, Path("nowhere"), num_folds=4)
    assert sorted(i for fold in wanted.folds for i in fold) == list(range(11))
    assert {len(fold) for fold in wanted.folds} == {2, 3}
    assert wanted.parts[0] == list(range(11))
    for fold, rest in zip(wanted.folds, wanted.parts[1:], strict=True):
        assert sorted(fold + rest) == list(range(11))
    assert replace(wanted, seed=1).folds != wanted.folds
    assert len(replace(wanted, num_folds=50).folds) == 11
    assert replace(wanted, num_folds=1).folds == [] and replace(wanted, num_folds=0).parts == [list(range(11))]


def test_the_mark_changes_with_everything_that_counts(items, tmp_path):
    wanted = made(items, tmp_path)

    def mark(**changes):
        return judge_of(replace(wanted, **changes)).mark()

    other = replace(items[0], reference=Diarization((Turn(0, 1, "x"),), uri=items[0].uri))
    marks = [
        mark(),
        mark(seed=1),
        mark(num_folds=3),
        mark(base=replace_from(BASE, {"turns.onset": 0.4})),
        mark(items=tuple(items[:3])),
        mark(items=(other, *items[1:])),
        mark(parameters=wanted.parameters[:1]),
        mark(convention=replace(wanted.convention, collar=0.5)),
        mark(uem={"talk0": [(0.0, 1.0)]}),
    ]
    assert len(set(marks)) == len(marks)
    assert mark(num_trials=7, output=tmp_path / "x", heartbeat=9, num_workers=2) == marks[0]


def test_a_pooled_score_is_over_the_recordings_of_a_study(items, tmp_path):
    wanted = made(items, tmp_path)
    judge = judge_of(wanted)
    every = judge.errors(BASE, range(4))
    assert judge.errors(BASE, [2]) == [every[2]]
    assert sum(every, Errors()).files == 4


def test_bad_plans(items, tmp_path):
    with pytest.raises(InputError, match="no recordings"):
        made([], tmp_path)
    for name in ("num_trials", "num_workers", "heartbeat"):
        with pytest.raises(UsageError, match="cannot tune with"):
            made(items, tmp_path, **{name: 0})
    (tmp_path / "file").write_text("")
    with pytest.raises(module.DiaristError, match="cannot make the folder"):
        tune(made(items, tmp_path / "file/out"))
