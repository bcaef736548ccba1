"""The report of `diarist verify` as a table, and what it comes to in a line."""

from __future__ import annotations

import numpy as np

from diarist.evaluation.differences import Difference
from diarist.evaluation.stagewise import MOST_DER, Report, Stage, Tolerance

HEAD = ("stage", "shape", "largest", "agreement", "tolerance", "ok", "end to end")
_AGREES = {"vectors": "cosine"}


def render(report: Report) -> str:
    """A line for each stage, then the verdict."""
    rows = [HEAD, *(_row(stage) for stage in report.stages)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", verdict(report)]) + "\n"


def verdict(report: Report) -> str:
    """Which stage differs first, and how far apart the answers are."""
    der = "" if report.der is None else f"DER between the answers: {100 * report.der:.2f} %"
    if report.first is not None:
        return "\n".join(filter(None, [f"differs first: {report.first}", der]))
    if not report.ok:
        since = f", first in '{report.drifted}'" if report.drifted else ""
        return f"no stage works differently, but small differences add up{since}\n{der}, more than {100 * MOST_DER:g} %"
    compared = sum(stage.ok is True for stage in report.stages)
    return "\n".join(filter(None, [f"all {compared} stages agree", der]))


def _row(stage: Stage) -> tuple[str, ...]:
    judged = stage.isolated or stage.drift
    ok = "-" if stage.ok is None else "ok" if stage.ok else "DIFFERS"
    largest, agreement = _shown(judged)
    shape = " x ".join(map(str, stage.shape))
    note = stage.note or (" ".join(_shown(stage.drift)).strip() if stage.isolated is not None else "")
    return stage.name, shape, largest, agreement, "" if stage.ok is None else _tolerance(stage.tolerance), ok, note


def _shown(difference: Difference | None) -> tuple[str, str]:
    if difference is None:
        return "", ""
    largest = "" if difference.largest is None else f"{difference.largest:.2g}"
    return largest, "" if difference.agreement is None else f"{100 * difference.agreement:.2f} %"


def _tolerance(tolerance: Tolerance) -> str:
    parts = []
    if tolerance.how in ("labels", "columns") or (tolerance.largest == 0 and tolerance.agreement == 1):
        return "exact"
    if np.isfinite(tolerance.largest):
        parts.append(f"{tolerance.largest:g}")
    if tolerance.agreement < 1:
        parts.append(f"{_AGREES.get(tolerance.how, '')} {100 * tolerance.agreement:g} %".strip())
    return ", ".join(parts) or "close"
