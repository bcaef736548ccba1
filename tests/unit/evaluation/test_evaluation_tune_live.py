"""Tuning the live pipeline on toy voices: networks run once, the optimum that was planted is found, latency stays."""

from __future__ import annotations

import numpy as np
import pytest

from diarist import formats
from diarist.core.config import read_file
from diarist.errors import InputError, UsageError
from diarist.evaluation.dataset import find_items
from diarist.evaluation.live import Live
from diarist.evaluation.systems import AS_IS
from diarist.evaluation.tune import judge_of, plan, tune
from diarist.evaluation.tune_live import LiveJudge, Memory
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_presets import resolve_live
from toy_house import recording, write_wav

pytest.importorskip("optuna")
BASE = LiveConfig(latency=1.0, step=0.5, delta_new=1.9)  # at which every voice is the first one


class Counting(ToySegmentation):
    """Counts what it is asked."""

    asked = 0

    def __call__(self, batch):
        type(self).asked += len(batch)
        return super().__call__(batch)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for index in range(4):
        samples, reference = recording(4, 2, seed=index)
        write_wav(folder / f"r{index}.wav", samples)
        formats.write(reference, folder / f"r{index}.rttm")
    return find_items(folder, folder)[0]


def wanted(items, folder, **options):
    options = {"num_trials": 12, "num_folds": 2, "models": (Counting(), ToyEmbedding()), **options}
    return plan(items, folder, options.pop("base", BASE), options.pop("names", ["delta_new"]), **options)


def test_the_planted_optimum_is_found_and_the_rest_stays(items, tmp_path):
    judge_of(wanted(items, tmp_path)).listen()
    Counting.asked = 0
    report = tune(wanted(items, tmp_path))
    assert Counting.asked <= len(items)  # nothing is asked twice, whatever the number of trials
    assert set(report.changes) == {"delta_new"} and report.best.delta_new < 1.2
    assert report.gain > 0.04
    assert (report.best.latency, report.best.step, report.best.tau_active) == (1.0, 0.5, BASE.tau_active)
    values = read_file(tmp_path / "preset.toml")
    assert values["latency"] == 1.0 and values["delta_new"] == report.best.delta_new
    assert resolve_live(file=tmp_path / "preset.toml") == report.best


def test_what_is_judged_is_what_a_stream_settles(items, tmp_path):
    judge = judge_of(wanted(items, tmp_path))
    assert isinstance(judge, LiveJudge)
    config = LiveConfig(latency=2.0, delta_new=0.5)
    first = judge.answer(config, 0)
    system = Live("x", config, segmentation=ToySegmentation(), embedding=ToyEmbedding())
    assert first.turns == system.start()(items[0]).found[AS_IS].turns
    assert judge.answer(config, 1).turns != first.turns
    assert judge_of(wanted(items, tmp_path)).answer(config, 0).turns == first.turns  # from the folder


def test_what_the_networks_hear_is_a_choice_and_no_range(items, tmp_path):
    with pytest.raises(UsageError, match="'step' changes what the networks hear"):
        wanted(items, tmp_path, ranges={"step": "0.5:1"})
    assert wanted(items, tmp_path, ranges={"step": "0.5,1.0"}, names=None).parameters


def test_a_memory_that_is_damaged_is_told(tmp_path):
    memory, path = Memory(), tmp_path / "x.npy"
    memory.put(b"a" * 12, np.arange(6, dtype=np.float32).reshape(2, 3))
    memory.write(path)
    other = Memory()
    other.read(path)
    np.testing.assert_array_equal(other.get(b"a" * 12), [[0, 1, 2], [3, 4, 5]])
    assert other.get(b"b" * 12) is None
    path.write_bytes(b"no array")
    with pytest.raises(InputError, match="is damaged: delete both"):
        other.read(path)
