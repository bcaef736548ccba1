"""A benchmark as text, JSON or CSV; the convention and the settings stand with every figure."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import platform
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from diarist import __version__
from diarist.evaluation.attribute import BOTH, CLUSTERING, COUNT, SEGMENTATION, summary
from diarist.evaluation.benchmark import Benchmark, Outcome
from diarist.evaluation.report import Breakdown, Report, table
from diarist.evaluation.score import Errors
from diarist.evaluation.systems import AS_IS, RENAMED, SESSION, Cost

MOST_FAILURES = 5

_NAMES = {
    AS_IS: "nothing: as it is",
    COUNT: "number of speakers",
    CLUSTERING: "clustering",
    SEGMENTATION: "segmentation",
    BOTH: "both of these",
}
_PARTS = ("der", "miss_rate", "false_alarm_rate", "confusion_rate")
_PART_NAMES = ("DER %", "miss", "FA", "conf")
_SPEED_LEGEND = (
    "CPU s/h: CPU seconds, of all threads, for an hour of sound; x real time: of one process; loading models is left",
    "out. peak MB: the most memory that a worker process, or the command that it ran, held",
)
_QUANTILES = ("p50", "p95", "max")
_LIVE_VARIANTS = {AS_IS: "as settled", RENAMED: "renamed", SESSION: "at the end"}
_SESSION_LEGEND = (
    "as settled: never taken back, as in the tables above; renamed: the same, once speakers are renamed wherever an",
    "update said so; at the end: the whole stream clustered anew",
)
_LIVE_LEGEND = (
    "step ms: wall time of computing one step. delay s: from a sound's being heard to its speaker's being settled, of",
    "the oldest sound that a step settles, computing included; as if the sound came in real time, a step at a time",
)
_ATTRIBUTION_LEGEND = (
    "number of speakers: told to the clustering. clustering: each voice is the reference speaker most active in it.",
    "segmentation: who talks in each frame is the reference's; voices and clusters stay as found. both: what is left",
    "comes from decoding, and from speech that gave no voice. Changes are in points, against nothing made right",
)


def to_text(benchmark: Benchmark, by: Sequence[Breakdown] = ()) -> str:
    """The errors of one system in full, or of several side by side; then what they cost, and what failed."""
    outcomes = [outcome for outcome in benchmark.outcomes if outcome.report.files]
    blocks: list[str] = []
    if len(benchmark.outcomes) == 1 and outcomes:
        blocks.append(outcomes[0].report.to_text(by).rstrip("\n"))
    elif outcomes:
        blocks += _side_by_side(benchmark, outcomes)
    for outcome in outcomes:
        if COUNT in outcome.reports:
            blocks += _attribution(outcome)
    if live := [outcome for outcome in outcomes if SESSION in outcome.reports]:
        blocks.append(_sessions(live))
    if outcomes:
        taken = [f"{o.name}: {o.again} of {len(o.costs)} measured in an earlier run" for o in outcomes if o.again]
        blocks.append("\n".join([*_speed(benchmark, outcomes), *taken, "", *_SPEED_LEGEND]))
        blocks += _latencies(outcomes)
    blocks += _failures(benchmark)
    return "\n\n".join(blocks) + "\n"


def to_dict(benchmark: Benchmark) -> dict[str, Any]:
    """Everything, as plain values; rates are fractions of 1, times are seconds, memory is bytes."""
    return {
        "diarist": __version__,
        "fingerprint": benchmark.fingerprint,
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": sys.version.split()[0],
            "num_workers": benchmark.num_workers,
        },
        "convention": benchmark.convention.to_dict(),
        "systems": {outcome.name: _outcome(outcome) for outcome in benchmark.outcomes},
        "compared": {
            "recordings": benchmark.shared(),
            "pooled": {o.name: e.to_dict() for o, e in _compared(benchmark, benchmark.outcomes)},
        },
        "warnings": list(benchmark.warnings),
    }


def to_json(benchmark: Benchmark) -> str:
    """`to_dict` as JSON."""
    return json.dumps(to_dict(benchmark), indent=2, ensure_ascii=False) + "\n"


def to_csv(benchmark: Benchmark) -> str:
    """A row for each system, variant and recording, and for each sum, with its cost where it has one of its own; the
    convention is repeated in each row."""
    out = io.StringIO()
    convention = dataclasses.asdict(benchmark.convention)
    costs = list(_cost_columns(Cost()))
    names = ["system", "variant", "row", "name", *Errors().to_dict(), *costs, "failed", *convention]
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in benchmark.outcomes:
        for row in _rows(outcome):
            writer.writerow({"system": outcome.name, **row, **convention})
    return out.getvalue()


def _outcome(outcome: Outcome) -> dict[str, Any]:
    told: dict[str, Any] = {
        "fingerprint": outcome.fingerprint,
        "settings": dict(outcome.settings),
        "cost": {
            "measured_in_an_earlier_run": outcome.again,
            "total": outcome.cost.to_dict(),
            "files": {uri: outcome.costs[uri].to_dict() for uri in sorted(outcome.costs)},
        },
        "errors": _errors(outcome.report),
        "failed": dict(sorted(outcome.failed.items())),
    }
    told |= {variant: _errors(outcome.reports[variant]) for variant in (RENAMED, SESSION) if variant in outcome.reports}
    if COUNT in outcome.reports:
        told["attribution"] = {v: _errors(r) | _changes(outcome, v) for v, r in outcome.reports.items() if v != AS_IS}
    return told


def _errors(report: Report) -> dict[str, Any]:
    return {name: value for name, value in report.to_dict().items() if name != "convention"}


def _changes(outcome: Outcome, variant: str) -> dict[str, Any]:
    """What an oracle changes, as fractions of 1: less than 0 is fewer errors."""
    before, after = outcome.report, outcome.reports[variant]
    return {
        "change": {
            "pooled": _difference(before.pooled, after.pooled),
            "files": {uri: _difference(before.files[uri], after.files[uri]) for uri in sorted(after.files)},
        }
    }


def _difference(before: Errors, after: Errors) -> dict[str, float]:
    return {name: round(getattr(after, name) - getattr(before, name), 6) for name in _PARTS}


def _rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    for variant, report in outcome.reports.items():
        as_is = variant == AS_IS
        for uri in sorted(report.files):
            cost = _cost_columns(outcome.costs[uri]) if as_is else {}
            yield {"variant": variant, "row": "file", "name": uri, **report.files[uri].to_dict(), **cost}
        cost = _cost_columns(outcome.cost) if as_is else {}
        yield {"variant": variant, "row": "pooled", "name": "pooled", **report.pooled.to_dict(), **cost}
    for uri, why in sorted(outcome.failed.items()):
        yield {"variant": AS_IS, "row": "failed", "name": uri, "failed": why}


def _cost_columns(cost: Cost) -> dict[str, Any]:
    """The figures of a cost; of its distributions, three quantiles."""
    columns: dict[str, Any] = {}
    for name, value in cost.to_dict().items():
        if name in ("step", "delay"):
            columns |= {f"cost_{name}_{q}": "" if value is None else value[q] for q in ("p50", "p95", "max")}
        else:
            columns[f"cost_{name}"] = "" if value is None else value
    return columns


def _compared(benchmark: Benchmark, outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Errors]]:
    """Errors pooled over the recordings that all systems answered for, so that they can be compared."""
    shared = benchmark.shared()
    return [(o, sum((o.report.files[uri] for uri in shared), Errors())) for o in outcomes if o.report.files]


def _side_by_side(benchmark: Benchmark, outcomes: Sequence[Outcome]) -> list[str]:
    convention = textwrap.wrap(f"convention: {benchmark.convention}", 100, subsequent_indent="  ")
    uris = sorted({uri for outcome in outcomes for uri in outcome.report.files})
    files = [["DER %", *(outcome.name for outcome in outcomes)]]
    for uri in uris:
        found = [outcome.report.files.get(uri) for outcome in outcomes]
        files.append([uri, *("failed" if e is None else f"{100 * e.der:.2f}" for e in found)])
    num = len(benchmark.shared())
    head = f"{num} recording{'' if num == 1 else 's'} pooled"
    sums: list[list[Any]] = [[head, *_PART_NAMES, "JER %", "count %", "off by"]]
    for outcome, errors in _compared(benchmark, outcomes):
        sums.append([outcome.name, *_figures(errors)])
    legend = [
        "DER = miss + FA (false alarm) + conf (confusion); pooled over the recordings that all systems answered for",
        "count %: recordings whose number of speakers is right; off by: mean of |hyp - ref|",
    ]
    return ["\n".join(block) for block in (convention, table(files), table(sums), legend)]


def _attribution(outcome: Outcome) -> list[str]:
    """Pooled errors and their changes with each stage made right; then the change of DER in each recording."""
    report = outcome.report
    num = len(report.files)
    head = f"{outcome.name}: where the error comes from, {num} recording{'' if num == 1 else 's'} pooled"
    rows: list[list[str]] = [["made right", *_PART_NAMES, *("DER +-", "miss +-", "FA +-", "conf +-")]]
    for variant, found in outcome.reports.items():
        rates = [f"{100 * getattr(found.pooled, name):.2f}" for name in _PARTS]
        rows.append([_NAMES[variant], *rates, *(_signed(report.pooled, found.pooled, variant))])
    files: list[list[str]] = [["recording", *_PART_NAMES, "count", "clust", "segm", "both"]]
    for uri, errors in sorted(report.files.items()):
        rates = [f"{100 * getattr(errors, name):.2f}" for name in _PARTS]
        others = [found.files[uri] for variant, found in outcome.reports.items() if variant != AS_IS]
        files.append([uri, *rates, *(f"{100 * (e.der - errors.der):+.2f}" for e in others)])
    pooled = {variant: found.pooled.der for variant, found in outcome.reports.items()}
    said = textwrap.wrap(summary(pooled), 100, subsequent_indent="  ")
    blocks = ([head, "", *table(rows)], said, table(files), _ATTRIBUTION_LEGEND)
    return ["\n".join(block) for block in blocks]


def _signed(before: Errors, after: Errors, variant: str) -> list[str]:
    if variant == AS_IS:
        return [""] * len(_PARTS)
    return [f"{100 * (getattr(after, name) - getattr(before, name)):+.2f}" for name in _PARTS]


def _speed(benchmark: Benchmark, outcomes: Sequence[Outcome]) -> list[str]:
    workers = f"{benchmark.num_workers} worker{'' if benchmark.num_workers == 1 else 's'}"
    rows = [[f"speed ({workers})", "CPU s/h", "x real time", "peak MB", "minutes"]]
    for outcome in outcomes:
        cost = outcome.cost
        peak = "" if cost.peak is None else f"{cost.peak / 1e6:.0f}"
        rows.append([outcome.name, _one(cost.cpu_per_hour), _one(cost.times_real_time), peak, f"{cost.audio / 60:.1f}"])
    return table(rows)


def _sessions(outcomes: Sequence[Outcome]) -> str:
    """What live systems say to who renames speakers when told, and of the whole stream once it has ended."""
    rows: list[list[Any]] = [["live", *_PART_NAMES, "JER %", "count %", "off by"]]
    for outcome in outcomes:
        for variant, title in _LIVE_VARIANTS.items():
            rows.append([f"{outcome.name}, {title}", *_figures(outcome.reports[variant].pooled)])
    return "\n".join([*table(rows), *_SESSION_LEGEND])


def _figures(errors: Errors) -> list[str]:
    rates = [f"{100 * getattr(errors, name):.2f}" for name in (*_PARTS, "jer")]
    return [*rates, f"{100 * errors.count_accuracy:.1f}", f"{errors.mean_count_error:.2f}"]


def _latencies(outcomes: Sequence[Outcome]) -> list[str]:
    """Of live systems: how long a step takes, and how late a speaker is settled."""
    rows = [["live", "steps", *(f"step ms {q}" for q in _QUANTILES), *(f"delay s {q}" for q in _QUANTILES)]]
    for outcome in outcomes:
        step, delay = outcome.cost.step, outcome.cost.delay
        if step is None or delay is None:
            continue
        times = [f"{1000 * value:.1f}" for value in (step.quantile(0.5), step.quantile(0.95), step.most)]
        waits = [f"{value:.2f}" for value in (delay.quantile(0.5), delay.quantile(0.95), delay.most)]
        rows.append([outcome.name, str(len(step)), *times, *waits])
    return ["\n".join([*table(rows), "", *_LIVE_LEGEND])] if len(rows) > 1 else []


def _one(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _failures(benchmark: Benchmark) -> list[str]:
    """The first few of each system: all of them are in the other reports."""
    blocks = []
    for outcome in benchmark.outcomes:
        failed = sorted(outcome.failed.items())
        if not failed:
            continue
        num = len(failed) + len(outcome.report.files)
        lines = [f"{outcome.name}: {len(failed)} of {num} recordings failed, and are not in its figures"]
        lines += [f"  {uri}: {why}" for uri, why in failed[:MOST_FAILURES]]
        if len(failed) > MOST_FAILURES:
            lines.append(f"  and {len(failed) - MOST_FAILURES} more")
        blocks.append("\n".join(lines))
    return blocks
