"""What a training says of itself, row by row: a file of JSON lines, and the boards that are wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.core.config import to_dict
from diarist.formats.writing import write_text
from diarist.pix2seq.boards import Write, tensorboard, wandb
from diarist.pix2seq.config import Config

if TYPE_CHECKING:
    from diarist.pix2seq.train import Run

Tell = Callable[[Mapping[str, Any]], None]
"""Is told a row of the log."""


class TrainingLog:
    """Rows to `log.jsonl`, to TensorBoard and to Weights & Biases, where wanted."""

    def __init__(self, output: Path, config: Config, run: Run, tell: Tell | None) -> None:
        self._run, self._every, self._tell, self._first = run, config.train.log_every, tell, run.world.rank == 0
        self._path = output / "log.jsonl"
        self._writers: list[Write] = []
        self._since = time.perf_counter(), run.seconds
        if self._first:
            output.mkdir(parents=True, exist_ok=True)
            self._forget_after(run.update)
            self._writers = _writers(output, config)

    def __enter__(self) -> TrainingLog:
        return self

    def step(self, row: Mapping[str, float], *, last: bool) -> None:
        """What an update says of itself, every so often."""
        run = self._run
        if run.update % self._every == 0 or last:
            clock, heard = self._since
            speed = (run.seconds - heard) / max(time.perf_counter() - clock, 1e-9)
            self.add({"update": run.update, **row, "hours": run.seconds / 3600, "speed": speed})

    def add(self, row: Mapping[str, Any]) -> None:
        """One row; `update` says when."""
        self._since = time.perf_counter(), self._run.seconds
        if not self._first:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: _short(v) for k, v in row.items()}) + "\n")
        for write in self._writers:
            write(row)
        if self._tell is not None:
            self._tell(row)

    def __exit__(self, *error: object) -> None:
        for write in self._writers:
            write(None)

    def _forget_after(self, done: int) -> None:
        """Rows of updates that a resumed run makes again."""
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["update"] <= done]
            write_text(self._path, "".join(kept))


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _writers(output: Path, config: Config) -> list[Write]:
    made = [tensorboard(output)] if config.train.tensorboard else []
    if config.train.wandb:
        made.append(wandb(output, to_dict(config)))
    return [writer for writer in made if writer is not None]
