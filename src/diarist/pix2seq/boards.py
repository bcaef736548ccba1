"""Where the log of a training can be watched: TensorBoard, Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diarist.errors import ExtraError

Write = Callable[[Mapping[str, Any] | None], None]
"""Takes a row of the log, or None at the end."""


def tensorboard(output: Path) -> Write | None:
    """A log under `tensorboard/`; None where the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    writer: Any = SummaryWriter(str(output / "tensorboard"))

    def write(row: Mapping[str, Any] | None) -> None:
        if row is None:
            writer.close()
            return
        for name, value in row.items():
            if name != "update":
                writer.add_scalar(name if "/" in name else f"train/{name}", value, row["update"])

    return write


def wandb(output: Path, config: Mapping[str, Any]) -> Write:
    """A Weights & Biases run, offline unless WANDB_MODE says otherwise. Raises `ExtraError` without the package."""
    try:
        import wandb as client
    except ImportError as error:
        raise ExtraError("wandb", "wandb", "train.wandb") from error
    mode = os.environ.get("WANDB_MODE", "offline")
    run: Any = client.init(project="diarist-pix2seq", dir=str(output), config=dict(config), mode=mode)

    def write(row: Mapping[str, Any] | None) -> None:
        if row is None:
            run.finish()
            return
        run.log({k: v for k, v in row.items() if k != "update"}, step=row["update"])

    return write
