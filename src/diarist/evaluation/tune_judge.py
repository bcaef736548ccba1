"""Errors of configurations on the recordings of a plan, from what was heard once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from diarist.core.config import fingerprint
from diarist.core.events import Hook
from diarist.core.types import Diarization, SpeakerBounds
from diarist.errors import DiaristError
from diarist.evaluation.report import compare_by
from diarist.evaluation.score import Errors
from diarist.evaluation.tune_evidence import evidence, evidence_key, file_digest, hear, heard_key
from diarist.evaluation.tune_plan import Models, Plan
from diarist.pipelines.cluster import clustering_of
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import decode
from diarist.pipelines.frontend import Evidence
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import num_cores


class Judge(ABC):
    """Errors of configurations on the recordings of a plan."""

    def __init__(self, wanted: Plan) -> None:
        self.plan = wanted
        threads = wanted.runtime.num_threads or max(1, num_cores() // wanted.num_workers)
        self.runtime = replace(wanted.runtime, num_threads=threads)
        self._digests: dict[int, str] = {}

    def mark(self) -> str:
        """Changes with the recordings, their references, and everything that is tried or counted."""
        wanted = self.plan
        heard = [[item.uri, self.digest(i), _plain(item.reference)] for i, item in enumerate(wanted.items)]
        space = [str(parameter) for parameter in wanted.parameters]
        uem = None if wanted.uem is None else {uri: [list(span) for span in spans] for uri, spans in wanted.uem.items()}
        how = {"space": space, "seed": wanted.seed, "folds": wanted.folds, "uem": uem}
        counted = [wanted.convention.collar, wanted.convention.skip_overlap]
        return fingerprint(wanted.base, {"heard": heard, "how": how, "counted": counted})

    def errors(self, config: Any, indices: Sequence[int]) -> list[Errors]:
        """The errors on each of some recordings."""
        with single_threaded_algebra():
            return [self._errors(config, index) for index in indices]

    def _errors(self, config: Any, index: int) -> Errors:
        item = self.plan.items[index]
        return compare_by(self.plan.convention, item.reference, self.answer(config, index), self.plan.uem).errors

    @abstractmethod
    def listen(self, hooks: Sequence[Hook] = ()) -> None:
        """Hear what was not heard yet with the configuration at the start."""

    @abstractmethod
    def answer(self, config: Any, index: int) -> Diarization:
        """What a configuration says of a recording."""

    def digest(self, index: int) -> str:
        """Of the recording's bytes."""
        if index not in self._digests:
            self._digests[index] = file_digest(self.plan.items[index].audio)
        return self._digests[index]

    def cache(self) -> Path:
        """The folder of what was heard, made where it is not there. Raises `DiaristError`."""
        cache = self.plan.cache or self.plan.output / "cache"
        make_folder(cache)
        return cache


class OfflineJudge(Judge):
    """Of the offline pipeline: counting, windows, clustering and decoding are done for each trial."""

    def __init__(self, wanted: Plan) -> None:
        super().__init__(wanted)
        self._pool = ThreadPoolExecutor(self.runtime.num_threads, thread_name_prefix="diarist")
        self._models: dict[str, Models] = {}
        self._latest: dict[int, tuple[str, Evidence]] = {}

    def listen(self, hooks: Sequence[Hook] = ()) -> None:
        """Hear what was not heard yet with the configuration at the start."""
        for index in range(len(self.plan.items)):
            self._heard(index, self.plan.base, hooks)

    def answer(self, config: PipelineConfig, index: int) -> Diarization:
        """What a configuration says of a recording."""
        found = self._evidence(index, config)
        clusters = clustering_of(config, self._of(config)[1].spec.dimension)(found, SpeakerBounds())
        turns, _ = decode(found, clusters, config)
        return Diarization(tuple(turns), self.plan.items[index].uri, duration=found.duration)

    def _evidence(self, index: int, config: PipelineConfig) -> Evidence:
        key = evidence_key(config)
        if index not in self._latest or self._latest[index][0] != key:
            self._latest.pop(index, None)
            self._latest[index] = key, evidence(self._heard(index, config), config, self._of(config), self._pool)
        return self._latest[index][1]

    def _heard(self, index: int, config: Any, hooks: Sequence[Hook] = ()) -> Any:
        item, models = self.plan.items[index], self._of(config)
        return hear(item.audio, self.digest(index), self.cache(), config, models, self._pool, item.uri, hooks)

    def _of(self, config: PipelineConfig) -> Models:
        key = heard_key(config)
        if key not in self._models:
            segmentation, embedding = self.plan.models or (None, None)
            diarizer = Diarizer(config=config, runtime=self.runtime, segmentation=segmentation, embedding=embedding)
            self._models[key] = diarizer.loaded()[:2]
        return self._models[key]


def _plain(reference: Diarization) -> list[list[Any]]:
    return [[turn.start, turn.end, turn.speaker] for turn in reference]


def make_folder(path: Path) -> None:
    """Make a folder and those above it. Raises `DiaristError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiaristError(f"cannot make the folder '{path}': {error.strerror}") from error
