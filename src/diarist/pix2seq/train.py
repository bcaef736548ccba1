"""Training, to be read from top to bottom: settings, a run's state, one update, the loop. Needs torch.

All that an update depends on is its number, the weights and the optimizer's state: examples are drawn by their number,
the learning rate is a function of the update. So a run that is interrupted and resumed gives, on a CPU, the bytes that
it would have given. Started by `torchrun`, processes share the examples of an update out among them.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diarist.core.config import dump_toml, from_dict, to_dict
from diarist.errors import Cancelled, DiaristError, InputError, UsageError
from diarist.formats.writing import write_text
from diarist.pix2seq import checkpoint
from diarist.pix2seq.batches import Batch, Batches
from diarist.pix2seq.config import Config
from diarist.pix2seq.data import Examples
from diarist.pix2seq.frontends import front_end
from diarist.pix2seq.losses import activity_loss, loss
from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import PAD
from diarist.pix2seq.train_config import TrainConfig
from diarist.pix2seq.training_log import Tell, TrainingLog

Judge = Callable[[Pix2Seq], Mapping[str, float]]
"""Decodes held-out recordings with a model: names to figures, such as `simulated-2/der`."""


def learning_rate(config: TrainConfig, update: int) -> float:
    """Of update `update`, counted from 0: a rise over `warmup` updates, then down by the schedule."""
    if update < config.warmup:
        return config.lr * (update + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "inverse-sqrt":
        return max(config.min_lr, config.lr * math.sqrt(max(config.warmup, 1) / (update + 1)))
    done = min(1.0, (update - config.warmup) / max(1, config.steps - config.warmup))
    left = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return config.min_lr + (config.lr - config.min_lr) * left


@dataclass(frozen=True)
class World:
    """The processes that train together: which one this is, and of how many."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls, device: torch.device) -> World:
        """As `torchrun` says in the environment; alone where it says nothing."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(int(os.environ.get("RANK", "0")), size)

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.size > 1:
            torch.distributed.all_reduce(value)
        return value

    def any(self, asked: bool, device: torch.device) -> bool:
        """Whether it is so in any of the processes: all of them then do the same."""
        return bool(self.total(torch.tensor(float(asked), device=device)) > 0)


@dataclass
class Run:
    """What a training is at any moment: saved, and loaded, as one file."""

    config: Config
    model: Pix2Seq
    optimizer: torch.optim.AdamW
    world: World
    device: torch.device
    update: int = 0
    seconds: float = 0.0  # of sound that has been heard
    average: dict[str, Tensor] = field(default_factory=dict)  # of the weights, where asked for

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs."""
        cuda = torch.cuda.get_rng_state() if self.device.type == "cuda" else None
        return {
            "config": to_dict(self.config),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "update": self.update,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
            "random_cuda": cuda,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `UsageError` where it was begun with another front end."""
        own, kept = self.model.state_dict(), state["model"]
        if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in kept.items()}:
            raise UsageError("the training was begun with a front end that this diarist no longer has: begin it anew")
        self.model.load_state_dict(kept)
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.update, self.seconds = state["update"], state["seconds"]
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"])

    def begin_with(self, path: Path) -> None:
        """Take the weights of a trained network. Raises `UsageError` where it is of another shape."""
        given = checkpoint.load(path)[0]
        if given.config != self.config.model or given.audio != self.model.audio:
            raise UsageError(f"'{path}' is of another model than the configuration's [model]")
        self.model.load_state_dict(given.state_dict())
        for name, value in self.model.named_parameters():
            if name in self.average:
                self.average[name].copy_(value.detach())

    def due(self) -> bool:
        """Whether it is time for an evaluation, by the first process."""
        every = self.config.train.evaluate_every
        last = self.update == self.config.train.steps
        return self.world.rank == 0 and every > 0 and (self.update % every == 0 or last)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[Pix2Seq]:
        """The model with the moving average of its weights, where there is one."""
        own = {name: value.detach().clone() for name, value in self.model.named_parameters()} if self.average else {}
        self._put(self.average)
        try:
            yield self.model
        finally:
            self._put(own)

    def _put(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in weights:
                    parameter.copy_(weights[name])


def begin(config: Config) -> tuple[Run, Batches]:
    """A run before its first update, and where its batches come from but for the cache: see `train`."""
    device = _device(config.train.device)
    if config.train.threads and device.type == "cpu":
        torch.set_num_threads(config.train.threads)
    world = World.joined(device)
    torch.manual_seed(config.train.seed)
    front = front_end(config.model.frontend, around=config.model.around)
    model = Pix2Seq(config.model, front.spec).to(device)
    betas = (config.train.beta1, config.train.beta2)
    run = Run(
        config, model, model.configure_optimizer(config.train.lr, config.train.weight_decay, betas), world, device
    )
    if config.train.average:
        run.average = {name: value.detach().clone() for name, value in model.named_parameters()}
    examples = Examples(config.data, config.model, front, Path(config.data.cache or "cache"), config.train.seed)
    return run, Batches(examples, model.vocabulary, front.spec, config.train.batch, world.rank, world.size)


def update(run: Run, batches: list[Batch]) -> dict[str, float]:
    """One update of the weights from the batches that it accumulates; what there is to say about it.

    The loss is the mean over all tokens of all processes. Raises `DiaristError` where it is not a number.
    """
    config, model = run.config.train, run.model
    rate = learning_rate(config, run.update)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    torch.manual_seed(config.seed * 1_000_003 + run.update * 101 + run.world.rank)  # of dropout
    said = torch.zeros(4, dtype=torch.float64)
    for batch in batches:
        said += _backward(run, batch.to(run.device), 1 / len(batches))
    if run.world.size > 1:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        summed = run.world.total(torch.cat([g.flatten() for g in gradients]))
        for gradient, part in zip(gradients, summed.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
    said = run.world.total(said)
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip or math.inf))
    if not math.isfinite(float(said[0])) or not math.isfinite(norm):
        raise DiaristError(
            f"the loss is no longer a number at update {run.update} (loss {float(said[0]):g}, gradient {norm:g}): "
            "lower train.lr or train.clip, and resume from the last checkpoint"
        )
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name in run.average:
                decay = min(config.average, (run.update + 1) / (run.update + 10))
                run.average[name].lerp_(value, 1 - decay)
    run.update += 1
    run.seconds += float(said[3])
    return {"loss": float(said[0]), "tokens": float(said[1]), "activity": float(said[2]), "lr": rate, "norm": norm}


def _backward(run: Run, batch: Batch, share: float) -> Tensor:
    """Add the gradient of a batch; `(4,)`: this process's part of the loss, of both its terms, and seconds of sound."""
    config, model = run.config.train, run.model
    with torch.autocast(run.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        output = model(batch.features, batch.lengths, batch.ids)
    tokens = loss(model.vocabulary, output.logits, batch.targets, batch.allowed, config.spread)
    tokens = tokens * _part((batch.targets != PAD).sum(), run.world)
    activity = torch.zeros(())
    if output.activity is not None and config.activity:
        activity = activity_loss(model, output.activity, batch.talks, batch.lengths)
        activity = activity * _part(batch.lengths.sum(), run.world)
    whole = (tokens + config.activity * activity) * share
    whole.backward()
    parts = [float(whole.detach()), float(tokens.detach()) * share, float(activity.detach()) * share, batch.seconds]
    return torch.tensor(parts, dtype=torch.float64)


def _part(count: Tensor, world: World) -> float:
    """How much of what all processes count is this one's, so that sums over processes are means over all."""
    return float(count) / float(world.total(count.clone()))


def train(
    config: Config,
    output: Path,
    *,
    resume: bool = False,
    until: int | None = None,
    judge: Judge | None = None,
    tell: Tell | None = None,
    start: Path | None = None,
) -> Path:
    """Train into a folder and return the last checkpoint.

    `log.jsonl` has a row every `train.log_every` updates and one for each evaluation; `config.toml` is what was asked;
    `step_00000500.pt` is the whole state, `model.safetensors` the network to use. `resume` goes on from the last state;
    `start` gives a new run the weights of a trained network. `until` ends the run early, after so many updates in all.
    Raises `UsageError` for a folder that holds another training, `Cancelled` after Ctrl-C or SIGTERM, once the
    state is saved: where several processes train, all end after the same update.
    """
    run, batches = begin(config)
    _take_up(run, output, resume, start)
    if not config.data.cache:
        batches.examples.place(output / "cache")
    goal = min(until or config.train.steps, config.train.steps)
    if run.world.rank == 0:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "config.toml", dump_toml(to_dict(config)))
    supply = contextlib.closing(batches.since(run.update * config.train.accumulate, config.train.workers))
    with TrainingLog(output, config, run, tell) as log, _Interrupt() as interrupt, supply as made:
        stop = False
        while run.update < goal and not stop:
            row = update(run, [next(made) for _ in range(config.train.accumulate)])
            log.step(row, last=run.update == goal)
            stop = run.world.any(interrupt.asked, run.device)
            if run.update % config.train.checkpoint_every == 0 or run.update == goal or stop:
                save(run, output)
            if judge is not None and run.due():
                with run.averaged() as model:
                    log.add({"update": run.update, "hours": run.seconds / 3600, **judge(model)})
    if stop:
        raise Cancelled(f"stopped after update {run.update}: --resume goes on from there")
    return checkpoint_path(output, run.update)


def _take_up(run: Run, output: Path, resume: bool, start: Path | None) -> None:
    """Go on where the folder's last checkpoint is, or begin with given weights."""
    found = checkpoints(output)
    if found and not resume:
        raise UsageError(f"'{output}' holds a training already: go on with --resume, or give another --output")
    if resume and not found:
        raise UsageError(f"'{output}' holds no checkpoint to resume from")
    if found:
        run.restore(read_state(found[-1], run.config))
    elif start is not None:
        run.begin_with(start)


def checkpoints(output: Path) -> list[Path]:
    """The states in a folder, the latest last."""
    return sorted(output.glob("step_*.pt"))


def checkpoint_path(output: Path, done: int) -> Path:
    """Where the state after so many updates is kept."""
    return output / f"step_{done:08d}.pt"


def save(run: Run, output: Path) -> None:
    """Keep the state, and the network alone as `model.safetensors`, aside and then renamed, by the first process.

    The oldest states beyond `train.keep` go.
    """
    if run.world.rank:
        return
    path = checkpoint_path(output, run.update)
    output.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    torch.save(_plain(run.state()), aside)
    aside.replace(path)
    for old in checkpoints(output)[: -run.config.train.keep]:
        old.unlink()
    with run.averaged() as model:
        checkpoint.save(
            output / "model.safetensors",
            model,
            licence="that of the speech it was trained on",
            hours_seen=run.seconds / 3600,
            step=run.update,
            notes={"seed": run.config.train.seed},
        )


def _plain(value: Any) -> Any:
    """A state with equal texts shared, as pickle writes what is one object: the same state is the same bytes, whether
    the run began here or went on from a file."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def read_state(path: Path, config: Config | None = None) -> dict[str, Any]:
    """A state that was kept. Raises `InputError` for a file that is none, `UsageError` where it is of another model."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = from_dict(Config, state["config"])
    except (OSError, RuntimeError, KeyError, EOFError, ValueError) as error:
        raise InputError(f"'{path}' is not a checkpoint of a training: {str(error).splitlines()[0]}") from error
    if config is not None and found.model != config.model:
        raise UsageError(f"'{path}' is of another model than the configuration's: resume with the same [model]")
    return state


def _device(name: str) -> torch.device:
    if name != "auto":
        try:
            return torch.device(name)
        except RuntimeError as error:
            raise UsageError(f"'{name}' is no device: auto, cpu, cuda or mps") from error
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Interrupt:
    """Ctrl-C or SIGTERM asks for the end of the update instead of breaking it; a second one breaks it."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Interrupt:
        with contextlib.suppress(ValueError):  # not the main thread
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
