"""Run systems over recordings with references: answers, errors and cost, resumable and in parallel.

A folder of results holds, for each system, `SYSTEM/URI.rttm` (turns) and `SYSTEM/URI.json` (its cost, and the
fingerprints of system and data that it belongs to). What is there is not done again; the errors are always counted
anew, from what the RTTM says, so that they do not depend on who found it, when, or in how many processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diarist.core.config import fingerprint
from diarist.core.types import Diarization
from diarist.errors import InputError, UsageError
from diarist.evaluation.dataset import Item
from diarist.evaluation.report import Convention, Report, score_files
from diarist.evaluation.score import Span
from diarist.evaluation.systems import AS_IS, RENAMED, SESSION, Answer, Cost, System, fingerprint_of
from diarist.evaluation.workers import Failure, answers
from diarist.formats import rttm
from diarist.formats.writing import safe_name, write_text


@dataclass(frozen=True)
class Done:
    """A recording that a system is finished with, for whoever shows progress; `again` if it was there already."""

    system: str
    item: Item
    cost: Cost = field(default_factory=Cost)
    failed: str | None = None
    warnings: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True)
class Outcome:
    """One system over all recordings: `reports` by variant, `costs` by uri, and why others `failed`, by uri.

    `again` answers were there from an earlier run, and so were their costs.
    """

    name: str
    fingerprint: str
    settings: Mapping[str, Any]
    reports: Mapping[str, Report]
    costs: Mapping[str, Cost]
    failed: Mapping[str, str]
    again: int = 0

    @property
    def cost(self) -> Cost:
        """Of all recordings."""
        return sum(self.costs.values(), Cost())

    @property
    def report(self) -> Report:
        """The errors of the answers as they are."""
        return self.reports[AS_IS]


@dataclass(frozen=True)
class Benchmark:
    """The outcomes, in the order of the systems. `fingerprint` is of the data, the systems and the convention."""

    outcomes: tuple[Outcome, ...]
    convention: Convention
    fingerprint: str
    num_workers: int
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """How many answers are missing."""
        return sum(len(outcome.failed) for outcome in self.outcomes)

    def shared(self) -> list[str]:
        """Recordings that every system answered for, of those that answered for any, in order of uri."""
        uris = [set(outcome.report.files) for outcome in self.outcomes if outcome.report.files]
        return sorted(set.intersection(*uris)) if uris else []


def run(
    systems: Sequence[System],
    items: Sequence[Item],
    *,
    convention: Convention | None = None,
    uem: Mapping[str, Sequence[Span]] | None = None,
    output: Path | None = None,
    num_workers: int = 1,
    overwrite: bool = False,
    tell: Callable[[Done], None] | None = None,
    warnings: Iterable[str] = (),
) -> Benchmark:
    """Each system in turn over all items, by `num_workers` processes; the figures do not depend on how many.

    With `output`, a folder, answers are kept there as they come, and those which are there are taken over. `tell` is
    called with each recording that is finished. Raises `UsageError` where two systems have one name, or the folder
    holds answers of the same name by another configuration (unless `overwrite`).
    """
    if num_workers < 1:
        raise UsageError(f"there must be 1 worker or more, not {num_workers}")
    if double := [name for name, num in Counter(safe_name(s.name) for s in systems).items() if num > 1]:
        raise UsageError(f"two systems are called '{double[0]}': give one another name")
    convention = convention or Convention()
    tell = tell or (lambda done: None)
    stores = [_Store(system, None if output is None else Path(output)) for system in systems]
    for store in stores:
        store.check(items, overwrite)
    outcomes = tuple(_run_one(store, items, convention, uem, num_workers, overwrite, tell) for store in stores)
    said = dict.fromkeys(warnings)
    for outcome in outcomes:
        said.update(dict.fromkeys(outcome.report.warnings))
    data = [[item.uri, *_mark(item)] for item in items]
    whole = fingerprint({"systems": [o.fingerprint for o in outcomes], "data": data}, convention)
    return Benchmark(outcomes, convention, whole, num_workers, tuple(said))


def _run_one(
    store: _Store,
    items: Sequence[Item],
    convention: Convention,
    uem: Mapping[str, Sequence[Span]] | None,
    num_workers: int,
    overwrite: bool,
    tell: Callable[[Done], None],
) -> Outcome:
    system = store.system
    kept: dict[str, _Kept] = {}
    failed: dict[str, str] = {}
    if not overwrite:
        kept = {item.uri: there for item in items if (there := store.load(item)) is not None}
    again = len(kept)
    for item in items:
        if item.uri in kept:
            tell(Done(system.name, item, kept[item.uri].cost, again=True))
    for item, answer in answers(system, [item for item in items if item.uri not in kept], num_workers):
        if isinstance(answer, Failure):
            failed[item.uri] = answer.message
            tell(Done(system.name, item, failed=answer.message))
            continue
        kept[item.uri] = store.save(item, answer)
        tell(Done(system.name, item, answer.cost, warnings=answer.warnings))
    done = [item for item in items if item.uri in kept]
    reports = {
        variant: score_files([(i.reference, kept[i.uri].diarization(i.uri, variant)) for i in done], convention, uem)
        for variant in system.variants
    }
    costs = {item.uri: kept[item.uri].cost for item in done}
    return Outcome(system.name, store.fingerprint, system.settings(), reports, costs, failed, again)


@dataclass(frozen=True)
class _Kept:
    """An answer as it is kept: RTTM text by variant, and the cost."""

    texts: Mapping[str, str]
    cost: Cost

    def diarization(self, uri: str, variant: str) -> Diarization:
        found = rttm.loads(self.texts[variant], name=uri)
        return dataclasses.replace(found[0], uri=uri) if found else Diarization(uri=uri)


class _Store:
    """Answers of one system, in a folder or in memory only."""

    def __init__(self, system: System, output: Path | None) -> None:
        self.system = system
        self.fingerprint = fingerprint_of(system)
        self.folder = None if output is None else output / safe_name(system.name)

    def check(self, items: Sequence[Item], overwrite: bool) -> None:
        """Make the folders; raises `UsageError` if answers of another configuration are in them."""
        if self.folder is None:
            return
        for variant in self.system.variants:
            folder = self._path("x", variant).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"cannot make the folder '{folder}': {error.strerror}") from error
        for item in items:
            record = None if overwrite else self._record(item)
            if record is not None and record.get("system") != self.fingerprint:
                raise UsageError(
                    f"'{self.folder}' holds answers of another configuration or version of '{self.system.name}': "
                    f"give another --output, or --overwrite"
                )

    def load(self, item: Item) -> _Kept | None:
        """The answer for an item, if it is there, whole, and of the same data."""
        record = self._record(item)
        try:
            if record is None or record["data"] != fingerprint(_mark(item)):
                return None
            if self._oracles and record["reference"] != _reference_mark(item):
                return None
            texts = {v: self._path(item.uri, v).read_text(encoding="utf-8") for v in self.system.variants}
            if any(_digest(text) != record["rttm"][variant] for variant, text in texts.items()):
                return None
            cost = Cost.from_dict(record["cost"])
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return _Kept(texts, cost)

    def save(self, item: Item, answer: Answer) -> _Kept:
        """Keep an answer; what says that it is there is written last."""
        found = {v: dataclasses.replace(d, uri=item.uri) for v, d in answer.found.items()}
        kept = _Kept({variant: rttm.dumps(d) for variant, d in found.items()}, answer.cost)
        if self.folder is not None:
            for variant, text in kept.texts.items():
                write_text(self._path(item.uri, variant), text)
            record = {
                "uri": item.uri,
                "system": self.fingerprint,
                "data": fingerprint(_mark(item)),
                "reference": _reference_mark(item) if self._oracles else None,
                "cost": answer.cost.to_dict(),
                "warnings": list(answer.warnings),
                "rttm": {variant: _digest(text) for variant, text in kept.texts.items()},
            }
            write_text(self._path(item.uri, AS_IS, ".json"), json.dumps(record, indent=1) + "\n")
        return kept

    def _record(self, item: Item) -> dict[str, Any] | None:
        if self.folder is None:
            return None
        try:
            record = json.loads(self._path(item.uri, AS_IS, ".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.get("uri") == item.uri else None

    @property
    def _oracles(self) -> bool:
        """Do the answers depend on the reference?"""
        return not {*self.system.variants} <= {AS_IS, RENAMED, SESSION}

    def _path(self, uri: str, variant: str, suffix: str = ".rttm") -> Path:
        assert self.folder is not None
        return (self.folder if variant == AS_IS else self.folder / variant) / (safe_name(uri) + suffix)


def _mark(item: Item) -> list[str | int]:
    try:
        return item.mark()
    except InputError:
        return [item.name]  # it is gone: the run has said so


def _reference_mark(item: Item) -> str:
    return fingerprint([dataclasses.astuple(turn) for turn in item.reference])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
