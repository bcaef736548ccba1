"""Trials in a database that several workers share: Optuna's TPE, a heartbeat, and exactly so many trials.

Nothing here works without Optuna. TPE: Bergstra et al., "Algorithms for hyper-parameter optimization", 2011.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diarist.errors import DiaristError, ExtraError, UsageError
from diarist.evaluation.tune_space import Parameter

with contextlib.suppress(ImportError):  # the extra `tune`: who calls makes sure that it is there
    import optuna
    import sqlalchemy
    from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
    from optuna.trial import FrozenTrial, Trial, TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)

GRACE = 4  # heartbeats without one until a trial counts as dead, and is tried again
RETRIES = 3  # of one trial, so that a trial that kills its worker does not kill all
_ATTEMPTS = 8  # at making the tables: two commands that make them at once disturb each other
_POLL = 0.5  # seconds between looks at what other workers do
_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_LIVE = ("COMPLETE", "RUNNING", "WAITING")

Objective = Callable[[dict[str, Any]], tuple[float, Mapping[str, Any]]]
"""Values of the parameters to what is minimised, and what else to keep with the trial."""


def shown(url: str) -> str:
    """A database's URL without its password."""
    try:
        return str(sqlalchemy.make_url(url).render_as_string(hide_password=True))
    except sqlalchemy.exc.ArgumentError as error:
        raise UsageError(
            "--storage takes a database's URL, such as postgresql://user@host/name, mysql://... or sqlite:///file.db"
        ) from error


def open_storage(url: str, heartbeat: int) -> RDBStorage:
    """The database at a URL, with its tables. Raises `DiaristError` where it cannot be had, `ExtraError` for a driver.

    `postgresql://` means psycopg 3 and `mysql://` or `mariadb://` means pymysql, unless the URL names another driver.
    """
    name = shown(url)
    kind, _, rest = url.partition("://")
    url = f"{_DRIVERS.get(kind, kind)}://{rest}"
    options: dict[str, Any] = (
        {"connect_args": {"timeout": 60}} if kind.startswith("sqlite") else {"pool_pre_ping": True}
    )
    for attempt in range(_ATTEMPTS):
        try:
            with _quiet():
                storage = RDBStorage(
                    url,
                    engine_kwargs=options,
                    heartbeat_interval=heartbeat,
                    grace_period=GRACE * heartbeat,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
                )
            if kind.startswith("sqlite"):
                _hasten(storage)
            return storage
        except ImportError as error:
            package = "pymysql" if kind.startswith(("mysql", "mariadb")) else "psycopg"
            raise ExtraError(package, "tune", f"the database '{name}'") from error
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            made_by_two = isinstance(error, (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError))
            locked = "locked" in str(error) or "already exists" in str(error)
            if not (made_by_two or locked) or attempt == _ATTEMPTS - 1:
                raise DiaristError(f"cannot use the database '{name}': {_reason(error)}") from error
            time.sleep(_POLL * (1 + attempt * np.random.default_rng().random()))
    raise AssertionError("unreachable")


def _hasten(storage: RDBStorage) -> None:
    """Let SQLite append to a log rather than wait for the disk a dozen times a trial; a kill loses nothing."""

    def connected(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    sqlalchemy.event.listen(storage.engine, "connect", connected)
    storage.remove_session()
    storage.engine.dispose()


def open_study(storage: RDBStorage, name: str, mark: str) -> optuna.Study:
    """A study by name, made where there is none. Raises `UsageError` where it was made for something else.

    `mark` changes with the data, the configuration at the start and the parameters.
    """
    study = optuna.create_study(storage=storage, study_name=name, direction="minimize", load_if_exists=True)
    found = study.user_attrs.get("diarist")
    if found is None and not study.get_trials(deepcopy=False):
        study.set_user_attr("diarist", mark)
    elif found != mark:
        raise UsageError(f"the study '{name}' was made with other recordings or parameters: give another --study")
    return study


class Tuner:
    """Works on one study, together with whoever else does, until it has `num_trials` complete trials."""

    def __init__(
        self,
        storage: RDBStorage,
        name: str,
        mark: str,
        parameters: Sequence[Parameter],
        start: Mapping[str, Any],
        objective: Objective,
        num_trials: int,
        seed: int,
    ) -> None:
        self.study, self._storage = open_study(storage, name, mark), storage
        self._started: set[int] = set()
        self.study.sampler = _Sampler(seed, start)
        self.parameters, self.start, self.objective, self.num_trials = parameters, start, objective, num_trials
        self._evaluated = False

    @property
    def done(self) -> int:
        """Complete trials."""
        return sum(t.state == TrialState.COMPLETE for t in self.study.get_trials(deepcopy=False))

    def work(self) -> Iterator[FrozenTrial]:
        """Run trials while any are to be begun, or were left behind by a worker that died; yields the complete ones."""
        while True:
            with _quiet():
                fail_stale_trials(self.study)
            trials = self.study.get_trials(deepcopy=False)
            waiting = any(t.state == TrialState.WAITING for t in trials)
            if not waiting and sum(t.state.name in _LIVE for t in trials) >= self.num_trials:
                return
            if (trial := self._one()) is not None:
                yield trial

    def watch(self) -> None:
        """Start the clock of trials that others are at, once each.

        Optuna takes a trial for dead when its last sign of life is old, never for want of any: that of a worker which
        was killed between taking the trial and the first sign would run for ever.
        """
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial._trial_id not in self._started:
                self._started.add(trial._trial_id)
                self._storage.record_heartbeat(trial._trial_id)

    def _one(self) -> FrozenTrial | None:
        """Run one trial; None where it was one too many, or another worker thought that this one had died."""
        finished: list[FrozenTrial] = []
        self._evaluated = False
        try:
            with _quiet():
                self.study.optimize(self._try, n_trials=1, callbacks=[lambda _, trial: finished.append(trial)])
        except (UpdateFinishedTrialError, ValueError):  # Optuna's "Cannot tell a FAIL trial"
            if not self._evaluated:
                raise
            return None
        complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
        return complete[0] if complete else None

    def _try(self, trial: Trial) -> float:
        before = self.study.get_trials(deepcopy=False)
        if sum(t.state.name in _LIVE for t in before if t.number < trial.number) >= self.num_trials:
            raise optuna.TrialPruned("another worker began the last one")
        values = {}
        for parameter in self.parameters:
            suggested = _suggest(trial, parameter)
            name = parameter.name
            values[name] = suggested if suggested == self.start[name] else parameter.value(suggested)
        began = time.perf_counter()
        score, notes = self.objective(values)
        self._evaluated = True
        for key, note in {**notes, "values": values, "seconds": round(time.perf_counter() - began, 3)}.items():
            trial.set_user_attr(key, note)
        return score


def finish(tuners: Sequence[Tuner], tell: Callable[[int, FrozenTrial], Any]) -> None:
    """Work on several studies until all are complete, also those trials that other workers have begun.

    `tell` gets the index of the study and each trial that this worker completed.
    """
    left = list(range(len(tuners)))
    while left:
        for index in left:
            for trial in tuners[index].work():
                tell(index, trial)
        left = [index for index in left if tuners[index].done < tuners[index].num_trials]
        for index in left:
            tuners[index].watch()
        if left:
            time.sleep(_POLL)


def best_values(study: optuna.Study) -> dict[str, Any]:
    """The values of the parameters in the best trial, the earliest of equals."""
    complete = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    best = min(complete, key=lambda t: (t.value, t.number))
    return dict(best.user_attrs["values"])


def rows(study: optuna.Study) -> list[dict[str, Any]]:
    """A plain dictionary for each trial: number, state, what it retried, its values and what was kept with it."""
    return [
        {
            "number": t.number,
            "state": t.state.name.lower(),
            "retry_of": t.system_attrs.get("failed_trial", ""),
            **{key: value for key, value in t.user_attrs.items() if key != "values"},
            **t.user_attrs.get("values", t.params),
        }
        for t in study.get_trials(deepcopy=False)
    ]


class _Sampler:
    """The configuration at the start first, then TPE with a seed for each trial: a sampler, as Optuna calls them.

    What is suggested depends on the seed, the trial's number and the trials complete by then: workers that share a
    seed do not suggest the same, and a study that is interrupted and resumed goes on as if it had not been.
    """

    def __init__(self, seed: int, start: Mapping[str, Any]) -> None:
        self.seed, self.start = seed, dict(start)
        self._number = -1
        self._tpe: optuna.samplers.TPESampler | None = None

    def _of(self, study: optuna.Study, trial: FrozenTrial) -> optuna.samplers.TPESampler | None:
        """What suggests for a trial; None for the first, and for one that does the first again."""
        if trial.number != self._number:
            self._number, self._tpe = trial.number, None
            earlier = (t.state.name in _LIVE for t in study.get_trials(deepcopy=False) if t.number < trial.number)
            if trial.system_attrs.get("failed_trial") != 0 and any(earlier):
                seed = int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0])
                with _quiet():
                    self._tpe = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        return self._tpe

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        pass

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        pass

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        tpe = self._of(study, trial)
        return {} if tpe is None else tpe.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> Any:
        tpe = self._of(study, trial)
        return {} if tpe is None else tpe.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: Any) -> Any:
        tpe = self._of(study, trial)
        return self.start[name] if tpe is None else tpe.sample_independent(study, trial, name, distribution)


def _suggest(trial: Trial, parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        return trial.suggest_categorical(parameter.name, parameter.choices)
    suggest = trial.suggest_int if parameter.kind == "int" else trial.suggest_float
    return suggest(parameter.name, parameter.low, parameter.high, log=parameter.log)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextlib.contextmanager
def database(url: str, heartbeat: int) -> Iterator[RDBStorage]:
    """`open_storage`, closed at the end; a database that fails meanwhile becomes a `DiaristError` of one line."""
    storage = open_storage(url, heartbeat)
    try:
        yield storage
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise DiaristError(
            f"the database '{shown(url)}' failed, run the same command again to resume: {_reason(error)}"
        ) from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _reason(error: BaseException) -> str:
    """The first line that the driver said."""
    root = getattr(error, "orig", None) or error.__cause__ or error
    if (inner := getattr(root, "orig", None)) is not None:
        root = inner
    return (str(root).strip().splitlines() or [type(root).__name__])[0]
