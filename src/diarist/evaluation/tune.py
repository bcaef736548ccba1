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
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.core.events import Hook
from diarist.errors import DiaristError, ExtraError
from diarist.evaluation.score import Errors
from diarist.evaluation.tune_endtoend import EndToEndJudge
from diarist.evaluation.tune_judge import Judge, OfflineJudge, make_folder
from diarist.evaluation.tune_live import LiveJudge
from diarist.evaluation.tune_plan import Plan, plan
from diarist.evaluation.tune_report import Fold, TuneReport
from diarist.evaluation.tune_space import changed, starting
from diarist.pipelines.endtoend_presets import EndToEndConfig
from diarist.pipelines.live_config import LiveConfig

if TYPE_CHECKING:
    from diarist.evaluation.tune_study import Tuner

__all__ = ["Judge", "Plan", "judge_of", "plan", "tune"]

Tell = Callable[[str], Any]


def tune(wanted: Plan, tell: Tell = lambda _: None, hooks: Sequence[Hook] = ()) -> TuneReport:
    """Listen, try, judge; writes `preset.toml`, `report.json` and `trials.csv` into the output folder.

    May be interrupted and called again, and called at the same time from several processes or machines that share
    `storage`. Raises `ExtraError` without Optuna, `InputError` for recordings, `UsageError` for a study that was made
    for something else, `DiaristError` where the database or the folder cannot be used.
    """
    studies = _optuna()
    make_folder(wanted.output)
    for remark in wanted.remarks:
        tell(remark)
    judge = judge_of(wanted)
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


def judge_of(wanted: Plan) -> Judge:
    """Who judges a plan: of the offline or the live pipeline, or of an end-to-end engine, as its `base` is."""
    if isinstance(wanted.base, EndToEndConfig):
        return EndToEndJudge(wanted)
    return LiveJudge(wanted) if isinstance(wanted.base, LiveConfig) else OfflineJudge(wanted)


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
            studies.finish(_tuners(wanted, judge_of(wanted), storage), alone)
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
