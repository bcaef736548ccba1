"""The errors of many recordings, together with the convention they were counted by: as a table, JSON or CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from diarist.core.types import Diarization
from diarist.errors import UsageError
from diarist.evaluation.score import Comparison, Errors, Span, compare

Breakdown = Literal["speakers", "overlap"]
BREAKDOWNS: tuple[Breakdown, ...] = ("speakers", "overlap")
RATES = ("der", "miss_rate", "false_alarm_rate", "confusion_rate", "jer")

POOLED = "summed error time over summed reference speech time; JER over all speakers"
MEAN = "plain mean of the rates of recordings with speech to score"

_COLUMNS = 100
_RATE_NAMES = ("DER %", "miss", "FA", "conf", "JER %")
_LEGEND = (
    "DER = miss + FA (false alarm) + conf (confusion), over speech: seconds of reference speaker time",
    "ovl %: part of the time with speech where two or more talk; ref, hyp: number of speakers",
    "count %: recordings where that number is right; off by: mean of |hyp - ref|",
    f"pooled: {POOLED}",
    f"mean: {MEAN}",
)
_SPEAKER_GROUPS = ((0, "no speaker"), (1, "1 speaker"), *((n, f"{n} speakers") for n in (2, 3, 4, 5)))
_MANY_SPEAKERS = ((6, "6-9 speakers"), (10, "10+ speakers"))
_OVERLAP_GROUPS = ((0.05, "overlap under 5 %"), (0.10, "overlap 5-10 %"), (0.20, "overlap 10-20 %"))
_MOST_OVERLAP = "overlap 20 % and more"


@dataclass(frozen=True)
class Convention:
    """How errors were counted, which every figure is given with.

    `collar` and `skip_overlap` as in `score.compare`; `uem` names the evaluation map, None where everything was
    scored; `reference_kind` says how the reference was made (`"manual"`, `"forced-alignment"`, ...).
    """

    collar: float = 0.0
    skip_overlap: bool = False
    uem: str | None = None
    reference_kind: str = "not stated"

    def __str__(self) -> str:
        collar = f"collar {self.collar:g} s"
        if self.collar:
            collar += f" ({self.collar / 2:g} s each side of a reference boundary)"
        overlap = "overlapped speech left out" if self.skip_overlap else "overlapped speech scored"
        uem = f"UEM {self.uem}" if self.uem else "no UEM (all scored)"
        return f"{collar}; {overlap}; {uem}; reference: {self.reference_kind}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, and in words what `pooled` and `mean` average."""
        return {
            **dataclasses.asdict(self),
            "averaging": {"pooled": POOLED, "mean": MEAN},
            "rates": "fractions of 1",
            "text": str(self),
        }


@dataclass(frozen=True)
class Report:
    """Errors of each recording, by uri, under one convention. Reports of different recordings add up."""

    convention: Convention
    files: Mapping[str, Errors]
    warnings: tuple[str, ...] = field(default=())

    def __add__(self, other: Report) -> Report:
        if not isinstance(other, Report):
            return NotImplemented
        if self.convention != other.convention:
            raise UsageError(f"reports of two conventions do not add up: {self.convention} / {other.convention}")
        if both := self.files.keys() & other.files.keys():
            raise UsageError(f"recording '{min(both)}' is in both reports: it would count twice")
        return Report(self.convention, {**self.files, **other.files}, self.warnings + other.warnings)

    @property
    def pooled(self) -> Errors:
        """The errors of all recordings added up."""
        return sum(self.files.values(), Errors())

    def mean(self) -> dict[str, float]:
        """The plain mean of each of `RATES` over the recordings with reference speech to score; 0 without any."""
        spoken = [errors for _, errors in sorted(self.files.items()) if errors.total]
        return {name: sum(getattr(e, name) for e in spoken) / max(len(spoken), 1) for name in RATES}

    def groups(self, by: Breakdown) -> dict[str, Errors]:
        """Pooled errors by the number of speakers in the reference, or by its share of overlapped speech."""
        groups: dict[str, Errors] = {}
        key = _speaker_group if by == "speakers" else _overlap_group
        for errors in sorted(self.files.values(), key=lambda e: (e.ref_speakers, e.overlap_share)[by == "overlap"]):
            groups[key(errors)] = groups.get(key(errors), Errors()) + errors
        return groups

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain values; rates are fractions of 1, times are seconds."""
        return {
            "convention": self.convention.to_dict(),
            "pooled": self.pooled.to_dict(),
            "mean": {name: round(rate, 6) for name, rate in self.mean().items()},
            **{f"by_{by}": {name: e.to_dict() for name, e in self.groups(by).items()} for by in BREAKDOWNS},
            "files": {uri: self.files[uri].to_dict() for uri in sorted(self.files)},
            "warnings": list(self.warnings),
        }

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """One row for each recording and each sum, the convention repeated in each; rates are fractions of 1."""
        out = io.StringIO()
        convention = dataclasses.asdict(self.convention)
        names = list(Errors().to_dict())
        writer = csv.DictWriter(out, ["row", "name", *names, *convention], restval="", lineterminator="\n")
        writer.writeheader()
        rows: list[tuple[str, str, Mapping[str, Any]]] = []
        rows += [("file", uri, self.files[uri].to_dict()) for uri in sorted(self.files)]
        rows += [("pooled", "pooled", self.pooled.to_dict()), ("mean", "mean", self.to_dict()["mean"])]
        rows += [(by, name, e.to_dict()) for by in BREAKDOWNS for name, e in self.groups(by).items()]
        for kind, name, values in rows:
            writer.writerow({"row": kind, "name": name, **values, **convention})
        return out.getvalue()

    def to_text(self, by: Sequence[Breakdown] = ()) -> str:
        """The convention, a line for each recording, then pooled, mean and the breakdowns asked for."""
        files: list[tuple[Any, ...]] = [("recording", *_RATE_NAMES, "speech", "ovl %", "ref", "hyp")]
        files += [
            (uri, *_percents(_rates(e)), f"{e.total:.1f}", _percent(e.overlap_share), e.ref_speakers, e.hyp_speakers)
            for uri, e in sorted(self.files.items())
        ]
        groups = {"pooled": self.pooled}
        for breakdown in by:
            groups |= self.groups(breakdown)
        num = f"{len(self.files)} recording{'s' if len(self.files) != 1 else ''}"
        sums: list[tuple[Any, ...]] = [(num, *_RATE_NAMES, "speech", "ovl %", "files", "count %", "off by")]
        sums += [_sum_row(name, e) for name, e in groups.items()]
        sums.insert(2, ("mean", *_percents(self.mean()), "", "", "", "", ""))
        convention = textwrap.wrap(f"convention: {self.convention}", _COLUMNS, subsequent_indent="  ")
        blocks = [convention, table(files), table(sums), list(_LEGEND)]
        return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def score_files(
    pairs: Iterable[tuple[Diarization, Diarization]],
    convention: Convention | None = None,
    uem: Mapping[str, Sequence[Span]] | None = None,
    warnings: Iterable[str] = (),
) -> Report:
    """Score pairs of reference and hypothesis, under the reference's uri.

    With `uem`, a map from uri to regions, recordings that it does not name are not scored, and a warning says so.
    """
    convention = convention or Convention()
    files: dict[str, Errors] = {}
    repeated: list[Comparison] = []
    unnamed: list[str] = []
    for reference, hypothesis in pairs:
        if uem is not None and reference.uri not in uem:
            unnamed.append(reference.uri)
            continue
        comparison = compare_by(convention, reference, hypothesis, uem)
        files[reference.uri] = comparison.errors
        if comparison.repeated > 0.0005:
            repeated.append(comparison)
    said = list(warnings)
    if unnamed:
        said.append(f"not in the UEM, so not scored: {some(unnamed)}")
    if repeated:
        seconds = sum(c.repeated for c in repeated)
        said.append(
            f"turns of one speaker overlap each other in the reference of {some([c.reference.uri for c in repeated])} "
            f"({seconds:.2f} s): they count once (pyannote.metrics counts them twice)"
        )
    return Report(convention, files, tuple(said))


def compare_by(
    convention: Convention,
    reference: Diarization,
    hypothesis: Diarization,
    uem: Mapping[str, Sequence[Span]] | None = None,
) -> Comparison:
    """`score.compare` under a convention; `uem` maps the reference's uri to the regions that are scored."""
    regions = None if uem is None else uem.get(reference.uri, ())
    return compare(reference, hypothesis, collar=convention.collar, skip_overlap=convention.skip_overlap, uem=regions)


def some(names: Sequence[str], most: int = 5) -> str:
    """A few names and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _speaker_group(errors: Errors) -> str:
    return [name for least, name in (*_SPEAKER_GROUPS, *_MANY_SPEAKERS) if errors.ref_speakers >= least][-1]


def _overlap_group(errors: Errors) -> str:
    if not errors.overlap:
        return "no overlap"
    return next((name for below, name in _OVERLAP_GROUPS if errors.overlap_share < below), _MOST_OVERLAP)


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def _rates(errors: Errors) -> dict[str, float]:
    return {name: getattr(errors, name) for name in RATES}


def _percents(rates: Mapping[str, float]) -> list[str]:
    return [f"{100 * rates[name]:.2f}" for name in RATES]


def _sum_row(name: str, errors: Errors) -> tuple[Any, ...]:
    overlap, right = _percent(errors.overlap_share), _percent(errors.count_accuracy)
    rates = _percents(_rates(errors))
    return (name, *rates, f"{errors.total:.1f}", overlap, errors.files, right, f"{errors.mean_count_error:.2f}")


def table(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Aligned lines: names to the left, shortened in their middle where the line would get too long; figures right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in texts) for i in range(len(texts[0]))]
    widest = max(_COLUMNS - sum(widths[1:]) - 2 * len(widths[1:]), 12)
    if widths[0] > widest:
        widths[0] = widest
        for row in texts:
            row[0] = _shortened(row[0], widest)
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in texts
    ]


def _shortened(name: str, width: int) -> str:
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}~{name[head + 1 - width :]}"
