"""Values of a pipeline's parameters that make fewer errors on one's own recordings, and whether that holds elsewhere.

Recordings are heard once (`tune_evidence`). One study of trials sees all of them and gives the answer; for each of
`folds` parts of the recordings another study sees the rest only, and its answer is judged on the part that it has not
seen. What such studies gain on parts left out is what to expect on other recordings of the kind.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.core.config import fingerprint
from diarist.core.events import Hook
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Diarization, SpeakerBounds
from diarist.errors import DiaristError, ExtraError, InputError, UsageError
from diarist.evaluation.dataset import Item
from diarist.evaluation.report import Convention, compare_by
from diarist.evaluation.score import Errors, Span
from diarist.evaluation.tune_evidence import evidence, evidence_key, file_digest, hear, heard_key
from diarist.evaluation.tune_report import Fold, TuneReport
from diarist.evaluation.tune_space import Parameter, changed, parameters, starting
from diarist.pipelines.cluster import clustering_of
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.decode import decode
from diarist.pipelines.frontend import Evidence
from diarist.pipelines.offline import Diarizer, num_cores
from diarist.pipelines.threads import single_threaded_algebra

if TYPE_CHECKING:
    from diarist.evaluation.tune_study import Tuner

HEARTBEAT = 5  # seconds between two signs of life of a trial; after four without one it is tried again

Tell = Callable[[str], Any]
Models = tuple[SegmentationModel, EmbeddingModel]


@dataclass(frozen=True)
class Plan:
    """All that a worker needs to know. Workers on other machines make the same plan from the same arguments.

    `preset` names what `base` started from; `storage` is a database's URL, None for SQLite in `output`; `study` a
    name, None for a fingerprint of recordings, references, `base`, parameters, convention and seed. `num_trials` are
    complete trials of each study. `models` stand in for those that `base` names.
    """

    items: tuple[Item, ...]
    output: Path
    base: PipelineConfig
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
    base: PipelineConfig,
    names: Sequence[str] | None = None,
    ranges: Mapping[str, str] | None = None,
    **options: Any,
) -> Plan:
    """A plan from the names and ranges of parameters as in `tune_space.parameters`; `options` are fields of `Plan`."""
    chosen, remarks = parameters(base, names, ranges)
    return Plan(tuple(items), Path(output), base, tuple(chosen), remarks=tuple(remarks), **options)


def tune(wanted: Plan, tell: Tell = lambda _: None, hooks: Sequence[Hook] = ()) -> TuneReport:
    """Listen, try, judge; writes `preset.toml`, `report.json` and `trials.csv` into the output folder.

    May be interrupted and called again, and called at the same time from several processes or machines that share
    `storage`. Raises `ExtraError` without Optuna, `InputError` for recordings, `UsageError` for a study that was made
    for something else, `DiaristError` where the database or the folder cannot be used.
    """
    studies = _optuna()
    _make_folder(wanted.output)
    for remark in wanted.remarks:
        tell(remark)
    judge = Judge(wanted)
    judge.listen(hooks)
    with studies.database(wanted.url, wanted.heartbeat) as storage:
        tuners = _tuners(wanted, judge, storage)
        with _helpers(wanted, tell):
            studies.finish(tuners, _teller(wanted, tuners, tell))
        report = _judged(wanted, judge, [studies.best_values(tuner.study) for tuner in tuners])
        trials = [{"study": _title(i), **row} for i, t in enumerate(tuners) for row in studies.rows(t.study)]
    report = replace(report, study=tuners[0].study.study_name, storage=studies.shown(wanted.url))
    report.write(wanted.output, trials)
    return report


class Judge:
    """Errors of configurations on the recordings of a plan, from what was heard once."""

    def __init__(self, wanted: Plan) -> None:
        self.plan = wanted
        threads = wanted.runtime.num_threads or max(1, num_cores() // wanted.num_workers)
        self._runtime = replace(wanted.runtime, num_threads=threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="diarist")
        self._models: dict[str, Models] = {}
        self._digests: dict[int, str] = {}
        self._latest: dict[int, tuple[str, Evidence]] = {}

    def listen(self, hooks: Sequence[Hook] = ()) -> None:
        """Hear what was not heard yet with the configuration at the start."""
        for index in range(len(self.plan.items)):
            self._heard(index, self.plan.base, hooks)

    def mark(self) -> str:
        """Changes with the recordings, their references, and everything that is tried or counted."""
        wanted = self.plan
        heard = [[item.uri, self._digest(i), _plain(item.reference)] for i, item in enumerate(wanted.items)]
        space = [str(parameter) for parameter in wanted.parameters]
        uem = None if wanted.uem is None else {uri: [list(span) for span in spans] for uri, spans in wanted.uem.items()}
        how = {"space": space, "seed": wanted.seed, "folds": wanted.folds, "uem": uem}
        counted = [wanted.convention.collar, wanted.convention.skip_overlap]
        return fingerprint(wanted.base, {"heard": heard, "how": how, "counted": counted})

    def errors(self, config: PipelineConfig, indices: Sequence[int]) -> list[Errors]:
        """The errors on each of some recordings."""
        with single_threaded_algebra():
            return [self._errors(config, index) for index in indices]

    def _errors(self, config: PipelineConfig, index: int) -> Errors:
        item, found = self.plan.items[index], self._evidence(index, config)
        clusters = clustering_of(config, self._of(config)[1].spec.dimension)(found, SpeakerBounds())
        turns, _ = decode(found, clusters, config)
        answer = Diarization(tuple(turns), item.uri, duration=found.duration)
        return compare_by(self.plan.convention, item.reference, answer, self.plan.uem).errors

    def _evidence(self, index: int, config: PipelineConfig) -> Evidence:
        key = evidence_key(config)
        if index not in self._latest or self._latest[index][0] != key:
            self._latest.pop(index, None)
            self._latest[index] = key, evidence(self._heard(index, config), config, self._of(config), self._pool)
        return self._latest[index][1]

    def _heard(self, index: int, config: PipelineConfig, hooks: Sequence[Hook] = ()) -> Any:
        item, cache = self.plan.items[index], self.plan.cache or self.plan.output / "cache"
        _make_folder(cache)
        models = self._of(config)
        return hear(item.audio, self._digest(index), cache, config, models, self._pool, item.uri, hooks)

    def _digest(self, index: int) -> str:
        if index not in self._digests:
            self._digests[index] = file_digest(self.plan.items[index].audio)
        return self._digests[index]

    def _of(self, config: PipelineConfig) -> Models:
        key = heard_key(config)
        if key not in self._models:
            segmentation, embedding = self.plan.models or (None, None)
            diarizer = Diarizer(config=config, runtime=self._runtime, segmentation=segmentation, embedding=embedding)
            self._models[key] = diarizer.loaded()[:2]
        return self._models[key]


def _tuners(wanted: Plan, judge: Judge, storage: Any) -> list[Tuner]:
    """A tuner for each study, all in one database."""
    studies, mark = _optuna(), judge.mark()
    name = wanted.study or f"diarist-{mark}"
    start = starting(wanted.base, wanted.parameters)

    def objective(indices: list[int]) -> Callable[[dict[str, Any]], tuple[float, dict[str, float]]]:
        def score(values: dict[str, Any]) -> tuple[float, dict[str, float]]:
            pooled = sum(judge.errors(changed(wanted.base, values), indices), Errors())
            rates = ("der", "miss_rate", "false_alarm_rate", "confusion_rate")
            return pooled.der, {rate: round(getattr(pooled, rate), 6) for rate in rates}

        return score

    return [
        studies.Tuner(
            storage,
            name if index == 0 else f"{name} without fold {index} of {len(wanted.folds)}",
            mark,
            wanted.parameters,
            start,
            objective(part),
            wanted.num_trials,
            wanted.seed + index,
        )
        for index, part in enumerate(wanted.parts)
    ]


def _title(index: int) -> str:
    return "all" if index == 0 else f"without fold {index}"


def _teller(wanted: Plan, tuners: Sequence[Tuner], tell: Tell) -> Callable[[int, Any], None]:
    """Says what this worker completed: whatever is better than before, and every tenth."""
    best: dict[int, float] = {}

    def say(index: int, trial: Any) -> None:
        done, better = tuners[index].done, trial.value < best.get(index, np.inf)
        best[index] = min(best.get(index, np.inf), trial.value)
        if better or done % 10 == 0 or done == wanted.num_trials:
            at = f"{_title(index)}: {done} of {wanted.num_trials} trials"
            tell(f"{at}, DER {trial.value:.2%}, best {best[index]:.2%}")

    return say


def _judged(wanted: Plan, judge: Judge, found: Sequence[Mapping[str, Any]]) -> TuneReport:
    """Errors at the start, with what all recordings gave, and fold by fold with what the others gave."""
    everything = range(len(wanted.items))
    configs = [wanted.base, *(changed(wanted.base, values) for values in found)]
    errors = [judge.errors(config, everything) for config in configs]
    ders = [sum(each, Errors()).der for each in errors]
    chosen = ders.index(min(ders))  # the start where nothing is better; an answer found without a fold may be the best
    before = errors[0]
    folds = []
    for left_out, values, then in zip(wanted.folds, found[1:], errors[2:], strict=True):
        folds.append(
            Fold(
                values=dict(values),
                left_out=tuple(wanted.items[i].uri for i in left_out),
                before=tuple(e for i, e in enumerate(before) if i not in left_out),
                after=tuple(e for i, e in enumerate(then) if i not in left_out),
                before_left_out=tuple(before[i] for i in left_out),
                after_left_out=tuple(then[i] for i in left_out),
            )
        )
    uris = [item.uri for item in wanted.items]
    return TuneReport(
        preset=wanted.preset,
        base=wanted.base,
        best=configs[chosen],
        parameters=wanted.parameters,
        convention=wanted.convention,
        before=dict(zip(uris, before, strict=True)),
        after=dict(zip(uris, errors[chosen], strict=True)),
        folds=tuple(folds),
        num_trials=wanted.num_trials,
        seed=wanted.seed,
    )


@contextmanager
def _helpers(wanted: Plan, tell: Tell) -> Iterator[None]:
    """The other workers of this command, at work inside; none is left behind."""
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [
        context.Process(target=_help, args=(wanted,), daemon=True) for _ in range(wanted.num_workers - 1)
    ]
    for process in processes:
        process.start()
    try:
        yield
        for process in processes:
            process.join()
            if process.exitcode:
                how = f"was killed by signal {-process.exitcode}" if process.exitcode < 0 else "ended early"
                tell(f"a worker {how}: the others did its work")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _help(wanted: Plan) -> None:
    """Of a worker process: the same work as its parent's, while that one lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this one decides
    parent = multiprocessing.parent_process()

    def alone(*_: Any) -> None:
        if parent is None or not parent.is_alive():
            sys.exit(1)

    try:
        studies = _optuna()
        with studies.database(wanted.url, wanted.heartbeat) as storage:
            studies.finish(_tuners(wanted, Judge(wanted), storage), alone)
    except DiaristError as error:
        print(f"diarist: worker {os.getpid()}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)


def _optuna() -> ModuleType:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ExtraError("optuna", "tune", "tuning") from error
    from diarist.evaluation import tune_study

    return tune_study


def _plain(reference: Diarization) -> list[list[Any]]:
    return [[turn.start, turn.end, turn.speaker] for turn in reference]


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiaristError(f"cannot make the folder '{path}': {error.strerror}") from error
