from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from diarist.core.config import dump_toml, replace_from, to_dict
from diarist.errors import Cancelled, DiaristError, InputError, UsageError
from diarist.pix2seq import train as training
from diarist.pix2seq.checkpoint import load
from diarist.pix2seq.config import AudioSpec, Config
from diarist.pix2seq.curves import read_log
from diarist.pix2seq.frontends.mel import MelFrontEnd
from diarist.pix2seq.train_config import TrainConfig


@pytest.fixture
def config(speech: Path, tmp_path: Path) -> Config:
    """A network and conversations so small that an update takes a moment."""
    return replace_from(
        Config(),
        {
            "model": {"frontend": "mel", "max_seconds": 4.0, "time_step": 0.1, "layers": 1, "d_model": 16, "heads": 2,
                      "frequencies": 4, "num_speakers": 6, "dropout": 0.1},
            "data": {"speech": [str(speech)], "speakers": [2, 2], "conversation": [10.0, 10.0], "first": 2, "most": 3,
                     "reuse": 8, "cache": str(tmp_path / "cache"), "prompted": 0.5, "min_seconds": 2.0},
            "data.augment": {"speed": 0.5, "levels": 0.5},
            "train": {"steps": 10, "batch": 2, "warmup": 2, "log_every": 1, "checkpoint_every": 5, "device": "cpu",
                      "average": 0.9, "tensorboard": False, "threads": 1, "evaluate_every": 5},
        },
    )  # fmt: skip


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = training.read_state(path)
    return {**state["model"], **{f"average:{k}": v for k, v in state["average"].items()}}


def same(one: Path, two: Path) -> bool:
    left, right = weights(one), weights(two)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_ten_updates_are_five_and_five(config: Config, tmp_path: Path) -> None:
    whole = training.train(config, tmp_path / "whole")
    training.train(config, tmp_path / "halves", until=5)
    halves = training.train(config, tmp_path / "halves", resume=True)
    assert whole.name == halves.name == "step_00000010.pt"
    assert same(whole, halves)
    assert not same(whole, tmp_path / "whole" / "step_00000005.pt")
    rows = [read_log(tmp_path / name / "log.jsonl") for name in ("whole", "halves")]
    assert [r["loss"] for r in rows[0]] == [r["loss"] for r in rows[1]]
    assert [r["update"] for r in rows[0]] == list(range(1, 11))
    assert 0 < rows[0][-1]["hours"] <= 10 * 2 * 4.0 / 3600
    for name in (halves.name, "model.safetensors"):  # not in what is in them only
        assert (tmp_path / "halves" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_network_alone_starts_another_training(config: Config, tmp_path: Path) -> None:
    first = training.train(config, tmp_path / "one", until=2)
    made = tmp_path / "one" / "model.safetensors"
    model, facts = load(made)
    average = training.read_state(first)["average"]
    assert facts.step == 2 and all(torch.equal(value, average[name]) for name, value in model.named_parameters())
    constant = replace(config, train=replace(config.train, lr=0.0, min_lr=0.0, weight_decay=0.0, average=0.0))
    second = training.train(constant, tmp_path / "two", until=1, start=made)
    found = training.read_state(second)["model"]
    assert all(torch.equal(value, found[name]) for name, value in model.named_parameters())
    wider = replace(config, model=replace(config.model, d_model=32))
    with pytest.raises(UsageError, match="another model"):
        training.train(wider, tmp_path / "three", start=made)


def test_another_seed_is_another_training(config: Config, tmp_path: Path) -> None:
    one = training.train(config, tmp_path / "one", until=2)
    two = training.train(replace(config, train=replace(config.train, seed=7)), tmp_path / "two", until=2)
    assert not same(one, two)


def test_examples_made_by_other_processes_are_the_same(config: Config, tmp_path: Path) -> None:
    alone = training.train(config, tmp_path / "alone", until=3)
    helped = training.train(replace(config, train=replace(config.train, workers=2)), tmp_path / "helped", until=3)
    assert same(alone, helped)


def test_a_folder_holds_one_training(config: Config, tmp_path: Path) -> None:
    training.train(config, tmp_path / "run", until=1)
    with pytest.raises(UsageError, match="--resume"):
        training.train(config, tmp_path / "run")
    with pytest.raises(UsageError, match="no checkpoint"):
        training.train(config, tmp_path / "none", resume=True)
    wider = replace(config, model=replace(config.model, d_model=32))
    with pytest.raises(UsageError, match="another model"):
        training.train(wider, tmp_path / "run", resume=True)


def test_a_front_end_that_was_another(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrower(MelFrontEnd):
        @property
        def spec(self) -> AudioSpec:
            return AudioSpec(79, 0.016, 0.008)

    training.train(config, tmp_path / "run", until=1)
    monkeypatch.setattr(training, "front_end", lambda *_, **__: Narrower())
    with pytest.raises(UsageError, match="begun with a front end"):
        training.train(config, tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="another model"):
        training.train(config, tmp_path / "two", start=tmp_path / "run" / "model.safetensors")


def test_checkpoints_kept(config: Config, tmp_path: Path) -> None:
    often = replace(config, train=replace(config.train, checkpoint_every=1, keep=2, steps=4))
    training.train(often, tmp_path / "run")
    assert [p.name for p in sorted((tmp_path / "run").glob("*step*"))] == ["step_00000003.pt", "step_00000004.pt"]


def test_a_damaged_checkpoint(config: Config, tmp_path: Path) -> None:
    training.checkpoint_path(tmp_path, 3).write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match="is not a checkpoint"):
        training.train(config, tmp_path, resume=True)


def test_a_loss_that_is_no_number_stops(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = training.loss
    monkeypatch.setattr(training, "loss", lambda *a, **k: real(*a, **k) * math.nan)
    with pytest.raises(DiaristError, match="no longer a number at update 0"):
        training.train(config, tmp_path / "run")
    assert not training.checkpoints(tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves(number: int, config: Config, tmp_path: Path) -> None:
    before = signal.getsignal(number)

    def tell(row: object) -> None:
        os.kill(os.getpid(), number)

    with pytest.raises(Cancelled, match="--resume"):
        training.train(config, tmp_path / "run", tell=tell)
    assert [p.name for p in training.checkpoints(tmp_path / "run")] == ["step_00000001.pt"]
    assert signal.getsignal(number) is before
    resumed = training.train(config, tmp_path / "run", resume=True)
    assert same(resumed, training.train(config, tmp_path / "whole"))


def test_judged_with_the_averaged_weights(config: Config, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    def judge(model: torch.nn.Module) -> dict[str, float]:
        seen.append(next(model.parameters()).detach().clone())
        return {"simulated-2/der": 0.5}

    last = training.train(config, tmp_path / "run", judge=judge)
    state = training.read_state(last)
    name = next(iter(state["average"]))
    assert len(seen) == 2 and torch.equal(seen[1], state["average"][name])
    assert not torch.equal(seen[1], state["model"][name])
    rows = read_log(tmp_path / "run" / "log.jsonl")
    assert [r["update"] for r in rows if "simulated-2/der" in r] == [5, 10]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accumulated_batches_are_one(config: Config, tmp_path: Path, accumulate: int) -> None:
    changed = replace(config, train=replace(config.train, accumulate=accumulate, steps=1))
    training.train(changed, tmp_path / "run")
    row = json.loads((tmp_path / "run" / "log.jsonl").read_text())
    assert row["loss"] == pytest.approx(row["tokens"] + row["activity"], rel=1e-5)
    assert 0 < row["hours"] * 3600 <= accumulate * 2 * 4.0


@pytest.mark.parametrize("schedule", ["cosine", "linear", "inverse-sqrt", "constant"])
def test_learning_rates(schedule: str) -> None:
    config = TrainConfig(steps=100, warmup=10, lr=1.0, min_lr=0.01, schedule=schedule)
    rates = [training.learning_rate(config, update) for update in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(
        {"cosine": 0.01, "linear": 0.01, "constant": 1.0}.get(schedule, math.sqrt(10 / 101))
    )
    assert rates[55] == pytest.approx(
        {"cosine": 0.505, "linear": 0.505, "constant": 1.0}.get(schedule, math.sqrt(10 / 56))
    )


SCRIPT = """
import os, signal, sys
from pathlib import Path
from diarist.core.config import from_dict, read_file
from diarist.errors import Cancelled
from diarist.pix2seq import train as training
from diarist.pix2seq.config import AudioSpec, Config

def update(run, batches, real=training.update):
    row = real(run, batches)
    if run.update == int(sys.argv[3]) and run.world.rank == 1:
        os.kill(os.getpid(), signal.SIGINT)
    return row

training.update = update
try:
    training.train(from_dict(Config, read_file(sys.argv[1])), Path(sys.argv[2]), until=3)
except Cancelled as error:
    print(error)
"""


def together(config: Config, output: Path, interrupt: int = 0) -> str:
    """Two processes train three updates; the second is interrupted in update `interrupt`; what both say."""
    file, script = output.with_suffix(".toml"), output.with_suffix(".py")
    file.write_text(dump_toml(to_dict(config)))
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    command += [str(file), str(output), str(interrupt)]
    return subprocess.run(command, check=True, timeout=240, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.slow
def test_all_processes_stop_where_one_is_interrupted(config: Config, tmp_path: Path) -> None:
    assert together(config, tmp_path / "run", interrupt=2).count("stopped after update 2: --resume") == 2
    assert [p.name for p in training.checkpoints(tmp_path / "run")] == ["step_00000002.pt"]


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(config: Config, tmp_path: Path) -> None:
    config = replace(config, model=replace(config.model, dropout=0.0))
    single = replace(config, train=replace(config.train, batch=4))
    training.train(single, tmp_path / "single", until=3)
    together(config, tmp_path / "double")
    rows = [read_log(tmp_path / name / "log.jsonl") for name in ("single", "double")]
    for one, two in zip(*rows, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=2e-4)
        assert two["norm"] == pytest.approx(one["norm"], rel=2e-3)
        assert two["hours"] == one["hours"]
    left, right = (weights(tmp_path / name / "step_00000003.pt") for name in ("single", "double"))
    assert all(float((left[k] - right[k]).abs().mean()) < 1e-4 for k in left)  # AdamW enlarges what rounding leaves
