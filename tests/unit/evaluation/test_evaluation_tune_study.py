"""Trials in a database: the right number, the start first, resumed as if never interrupted."""

from __future__ import annotations

import sys
import threading

import pytest

optuna = pytest.importorskip("optuna")

from diarist.errors import DiaristError, ExtraError, UsageError  # noqa: E402
from diarist.evaluation.tune_space import Parameter  # noqa: E402
from diarist.evaluation.tune_study import Tuner, best_values, database, finish, open_storage, rows, shown  # noqa: E402

SPACE = (
    Parameter("x", "float", 0.0, 1.0),
    Parameter("n", "int", 1, 20),
    Parameter("kind", "choice", choices=("good", "bad")),
    Parameter("scale", "float", 0.01, 10.0, log=True),
)
START = {"x": 0.123456789, "n": 2, "kind": "bad", "scale": 1.0}


def hill(values):
    """Least at x 0.7, n 12, kind good."""
    loss = (values["x"] - 0.7) ** 2 + ((values["n"] - 12) / 20) ** 2 + (values["kind"] == "bad")
    return loss, {"der": loss}


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def tuner(url, objective=hill, num_trials=12, seed=0, mark="m", name="s"):
    return Tuner(open_storage(url, 1), name, mark, SPACE, START, objective, num_trials, seed)


def quietly(*_):
    pass


def tried(tuner):
    return [trial.user_attrs["values"] for trial in tuner.study.trials if trial.state.name == "COMPLETE"]


def test_the_start_is_first_and_exact_then_a_planted_optimum_is_found(url):
    one = tuner(url, num_trials=80)
    finish([one], quietly)
    values = tried(one)
    assert values[0] == START and len(values) == one.done == 80
    assert all(v == float(f"{v:.4g}") for v in (value["x"] for value in values[1:]))
    best = best_values(one.study)
    assert abs(best["x"] - 0.7) < 0.08 and abs(best["n"] - 12) <= 2 and best["kind"] == "good"


def test_resumed_is_as_if_never_interrupted(url, tmp_path):
    whole = tuner(f"sqlite:///{tmp_path / 'whole.db'}", num_trials=25)
    finish([whole], quietly)
    finish([tuner(url, num_trials=9)], quietly)
    again = tuner(url, num_trials=25)
    finish([again], quietly)
    assert tried(again) == tried(whole)
    finish([again], quietly)
    assert len(again.study.trials) == 25


def test_another_seed_is_another_search(url, tmp_path):
    one, other = tuner(url), tuner(f"sqlite:///{tmp_path / 'other.db'}", seed=1)
    finish([one, other], quietly)
    assert tried(one)[0] == tried(other)[0] and tried(one)[1:] != tried(other)[1:]


def test_a_trial_that_failed_is_made_up_for_and_the_start_is_not_lost(url):
    failures = iter([KeyboardInterrupt, UsageError])

    def shaky(values):
        for failure in failures:
            raise failure("stop")
        return hill(values)

    one = tuner(url, shaky, num_trials=5)
    with pytest.raises(KeyboardInterrupt):
        finish([one], quietly)
    with pytest.raises(UsageError):
        finish([one], quietly)
    finish([one], quietly)
    assert tried(one)[0] == START and len(tried(one)) == 5
    assert [row["state"] for row in rows(one.study)] == ["fail"] * 2 + ["complete"] * 5


def test_two_workers_share_a_study_and_make_the_right_number(url):
    both = threading.Barrier(2)

    def together(values):
        try:
            both.wait(0.5)  # so that both begin the last one at once, whenever they can
        except threading.BrokenBarrierError:
            both.reset()
        return hill(values)

    first = tuner(url, together, num_trials=9)
    second = tuner(url, together, num_trials=9)
    thread = threading.Thread(target=finish, args=([second], quietly))
    thread.start()
    finish([first], quietly)
    thread.join()
    states = [trial.state.name for trial in first.study.trials]
    assert states.count("COMPLETE") == 9
    assert set(states) <= {"COMPLETE", "PRUNED"} and states.count("PRUNED") <= 1
    values = [tuple(value.items()) for value in tried(first)]
    assert len(set(values)) == 9


def test_a_worker_that_is_found_dead_but_lives_does_not_fail(url):
    """Its trial was failed and queued again by somebody else; it goes on with the next."""
    one = tuner(url, num_trials=3)

    def slow(values):
        trial = one.study.trials[-1]
        if trial.number == 1:
            one.study._storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
        return hill(values)

    one.objective = slow
    finish([one], quietly)
    assert [t.state.name for t in one.study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]


@pytest.mark.parametrize("signs", [0, 1])
def test_a_trial_whose_worker_is_gone_is_done_again(url, signs):
    """Also where it was killed before its first sign of life."""
    one = tuner(url, num_trials=3)
    with pytest.warns(UserWarning, match="Heartbeat"):
        gone = one.study.ask()
    for _ in range(signs):
        one._storage.record_heartbeat(gone._trial_id)
    finish([one], quietly)
    states = [(t.state.name, t.system_attrs.get("failed_trial")) for t in one.study.trials]
    assert states == [("FAIL", None), ("COMPLETE", None), ("COMPLETE", None), ("COMPLETE", 0)]
    assert tried(one)[-1] == START  # the first trial is the start, whoever does it


def test_a_study_made_for_something_else_is_refused(url):
    finish([tuner(url, num_trials=1)], quietly)
    with pytest.raises(UsageError, match=r"'s' was made with other recordings or parameters: give another --study"):
        tuner(url, mark="other")
    optuna.create_study(storage=url, study_name="theirs").optimize(lambda trial: 1.0, n_trials=1)
    with pytest.raises(UsageError, match="'theirs'"):
        tuner(url, name="theirs")


def test_databases_that_cannot_be_had(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="--storage takes a database's URL"):
        open_storage("not a url", 1)
    with pytest.raises(DiaristError, match=r"cannot use the database 'sqlite:///.*unable to open"):
        open_storage(f"sqlite:///{tmp_path}/no/such/folder.db", 1)
    with pytest.raises(DiaristError, match="cannot use the database 'nosuch://x'"):
        open_storage("nosuch://x", 1)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(ExtraError, match=r"'mysql://me:\*\*\*@host/db' needs the package 'pymysql'.*diarist\[tune\]"):
        open_storage("mysql://me:secret@host/db", 1)


@pytest.mark.parametrize("url", ["postgresql://me:secret@127.0.0.1:1/db", "mysql://me:secret@127.0.0.1:1/db"])
def test_a_server_that_is_not_there_is_one_line_without_the_password(url):
    pytest.importorskip("psycopg" if url.startswith("post") else "pymysql")
    with pytest.raises(DiaristError) as caught:
        open_storage(url, 1)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert "refused" in str(caught.value) and shown(url) in str(caught.value)


def test_a_database_that_goes_away_says_how_to_go_on(url):
    with pytest.raises(DiaristError, match="run the same command again to resume"), database(url, 1):
        raise optuna.exceptions.StorageInternalError("gone")
