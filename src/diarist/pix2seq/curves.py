"""The log of a training as a picture: its loss, and the DER of what it decodes freely."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diarist.errors import ExtraError, InputError
from diarist.formats.writing import write_aside


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a `log.jsonl`. Raises `InputError` for a file that is none."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is not the log of a training: {error}") from error


def draw(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> None:
    """Two panels over the hours of sound heard: the loss and its parts, and the DER of each held-out set.

    Raises `ExtraError` without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ExtraError("matplotlib", "plot", "drawing the curves of a training") from error
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row for row in rows if "loss" in row]
    for name in ("loss", "tokens", "activity"):
        left.plot([r["hours"] for r in steps], [r[name] for r in steps], label=name, linewidth=1)
    judged = [row for row in rows if any(key.endswith("/der") for key in row)]
    for key in sorted({key for row in judged for key in row if key.endswith("/der")}):
        points = [(row["hours"], 100 * row[key]) for row in judged if key in row]
        right.plot(*zip(*points, strict=True), marker=".", label=key.removesuffix("/der"))
    for axes, what in ((left, "loss"), (right, "DER, % (free-running, no collar)")):
        axes.set_xlabel("hours of sound heard")
        axes.set_ylabel(what)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    left.set_yscale("log")
    right.set_ylim(0, 100)
    figure.suptitle(title)
    with write_aside(path) as aside:
        figure.savefig(aside, format=path.suffix.lstrip(".") or "png", dpi=110)
