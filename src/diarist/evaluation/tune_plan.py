"""What is tuned, on what, and how: all that a worker needs to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.protocols import EmbeddingModel, EndToEndModel, SegmentationModel
from diarist.errors import InputError, UsageError
from diarist.evaluation.dataset import Item
from diarist.evaluation.report import Convention
from diarist.evaluation.score import Span
from diarist.evaluation.tune_space import Parameter, Tuned, parameters
from diarist.pipelines.config import RuntimeConfig

HEARTBEAT = 5  # seconds between two signs of life of a trial; after four without one it is tried again

Models = tuple[SegmentationModel, EmbeddingModel]


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know. Workers on other machines make the same plan from the same arguments.

    `preset` names what `base` started from; `storage` is a database's URL, None for SQLite in `output`; `study` a
    name, None for a fingerprint of recordings, references, `base`, parameters, convention and seed. `num_trials` are
    complete trials of each study. `models`, or `end_to_end` where `base` is of an end-to-end engine, stand in for those
    that `base` names.
    """

    items: tuple[Item, ...]
    output: Path
    base: Tuned
    parameters: tuple[Parameter, ...]
    preset: str = "balanced"
    num_trials: int = 100
    storage: str | None = None
    study: str | None = None
    num_workers: int = 1
    num_folds: int = 5
    seed: int = 0
    convention: Convention = field(default_factory=Convention)
    uem: Mapping[str, Sequence[Span]] | None = None
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    cache: Path | None = None
    models: Models | None = None
    end_to_end: tuple[EndToEndModel[Any], EmbeddingModel] | None = None
    heartbeat: int = HEARTBEAT
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.items:
            raise InputError("no recordings to tune on")
        if self.num_trials < 1 or self.num_workers < 1 or self.num_folds < 0 or self.seed < 0 or self.heartbeat < 1:
            raise UsageError(
                f"cannot tune with {self.num_trials} trials, {self.num_workers} workers, {self.num_folds} folds, "
                f"seed {self.seed}, heartbeat {self.heartbeat}"
            )

    @property
    def url(self) -> str:
        """The database's URL."""
        return self.storage or f"sqlite:///{(self.output / 'study.db').absolute()}"

    @property
    def folds(self) -> list[list[int]]:
        """Indices of the recordings of each fold, drawn by the seed; none with one recording or fewer than 2 folds."""
        num = min(self.num_folds, len(self.items))
        if num < 2:
            return []
        order = np.random.default_rng(self.seed).permutation(len(self.items))
        return [sorted(int(i) for i in order[fold::num]) for fold in range(num)]

    @property
    def parts(self) -> list[list[int]]:
        """Indices of the recordings that each study sees: all of them, then all but a fold."""
        everything = range(len(self.items))
        return [list(everything)] + [[i for i in everything if i not in set(fold)] for fold in self.folds]


def plan(
    items: Sequence[Item],
    output: Path,
    base: Tuned,
    names: Sequence[str] | None = None,
    ranges: Mapping[str, str] | None = None,
    **options: Any,
) -> Plan:
    """A plan from the names and ranges of parameters as in `tune_space.parameters`; `options` are fields of `Plan`."""
    chosen, remarks = parameters(base, names, ranges)
    return Plan(tuple(items), Path(output), base, tuple(chosen), remarks=tuple(remarks), **options)
