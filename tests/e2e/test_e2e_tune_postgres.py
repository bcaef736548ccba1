"""Workers on one study, one of them shot dead while it is at work: every trial is done in the end, and only once.

On SQLite, and on a PostgreSQL server that the test starts by hand, as a user who is not root, on a socket of its own.
"""

from __future__ import annotations

import csv
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from diarist import formats
from diarist.evaluation.tune_study import open_storage
from diarist.pipelines import presets
from toy_house import recording, write_wav

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
NUM_TRIALS = 8

HOUSE = """
import sys, time
sys.path.insert(0, {tests!r})
import toy_house
from diarist.evaluation import tune_judge

def slow(*arguments, decode=tune_judge.decode):
    time.sleep(0.5)  # so that a worker is at work on a trial nearly all of the time
    return decode(*arguments)

tune_judge.decode = slow
toy_house.furnish()  # also in workers, which import this file

if __name__ == "__main__":
    from diarist.cli.main import main
    raise SystemExit(main())
"""


@pytest.fixture(scope="module")
def postgres():
    """The URL of an empty database."""
    pytest.importorskip("psycopg")
    if not BINARIES:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql (Debian's package: postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    user = None
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'")
        shutil.chown(folder, user)
    control = [BINARIES[-1].with_name("pg_ctl"), "-D", folder / "data", "-w"]

    def call(*command):
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr + done.stdout

    try:
        call(BINARIES[-1], "-D", folder / "data", "-A", "trust", "-U", "postgres", "--no-sync")
        call(*control, "-l", folder / "log", "-o", f"-k {folder} -c listen_addresses='' -F", "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            call(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed in range(2):
        samples, reference = recording(6, 2, seed)
        write_wav(folder / f"talk{seed}.wav", samples)
        formats.write(replace(reference, uri=f"talk{seed}"), folder / f"talk{seed}.rttm", "rttm")
    return folder


class Command:
    """`diarist tune` on toys, as a process; its children die with it at the end of the test."""

    def __init__(self, data: Path, output: Path, *options: str) -> None:
        house = data / "house.py"
        house.write_text(HOUSE.format(tests=str(Path(__file__).parents[1])))
        arguments = ["--params", "threshold,min_duration_off", "--clustering-threshold", "1.9", "--heartbeat", "1"]
        arguments += ["--num-trials", str(NUM_TRIALS), "--folds", "2", *options]
        self.output = output
        self.log = (data / f"{output.name}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, house, "tune", data, "--reference", data, "--output", output, *arguments],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def child(self) -> int:
        """The process id of its one worker."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        workers = [pid for pid in listed if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(workers) == 1
        return int(workers[0])

    def wait(self) -> None:
        assert self.process.wait(timeout=240) == 0, self.said()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


@pytest.fixture
def start(data, tmp_path):
    begun: list[Command] = []

    def begin(name: str, *options: str) -> Command:
        begun.append(Command(data, tmp_path / name, *options))
        return begun[-1]

    yield begin
    for command in begun:
        command.close()


def wait_until_both_work(url: str, study: str, command: Command) -> None:
    """Until two trials run at once, which two workers must be at; they last a second."""
    storage = open_storage(url, 1)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            assert command.process.poll() is None, command.said()
            for found in storage.get_all_studies():
                if found.study_name == study:
                    states = [t.state.name for t in storage.get_all_trials(found._study_id, deepcopy=False)]
                    if states.count("RUNNING") == 2 and "COMPLETE" in states:
                        return
            storage.remove_session()
            time.sleep(0.05)
        raise AssertionError(f"two workers never worked at once: {command.said()}")
    finally:
        storage.remove_session()
        storage.engine.dispose()


def assert_all_done_once(command: Command) -> None:
    rows = list(csv.DictReader((command.output / "trials.csv").read_text().splitlines()))
    states = Counter((row["study"], row["state"]) for row in rows)
    for study in ("all", "without fold 1", "without fold 2"):
        assert states[study, "complete"] == NUM_TRIALS, states
    assert not any(state in ("running", "waiting") for _, state in states)
    failed = [row for row in rows if row["state"] == "fail"]
    assert len(failed) == 1, states
    names = ("clustering.threshold", "turns.min_duration_off")
    for row in failed:
        (again,) = [r for r in rows if (r["study"], r["retry_of"]) == (row["study"], row["number"])]
        assert again["state"] == "complete"
        for name in (name for name in names if row[name]):  # chosen before it died, and not rounded yet
            assert float(again[name]) == pytest.approx(float(row[name]), rel=1e-3)
    assert presets.resolve(file=command.output / "preset.toml").clustering.threshold < 1.9


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_two_commands_on_one_study_and_one_is_shot(database, start, request, tmp_path):
    url = request.getfixturevalue("postgres") if database == "postgresql" else f"sqlite:///{tmp_path / 'shared.db'}"
    options = ("--storage", url, "--study", f"two-{database}", "--cache", str(tmp_path / "cache"))
    first, second = start("first", *options), start("second", *options)
    wait_until_both_work(url, f"two-{database}", second)
    first.process.send_signal(signal.SIGKILL)
    second.wait()
    assert_all_done_once(second)
    assert not first.output.joinpath("preset.toml").exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the worker in /proc")
def test_a_command_whose_worker_is_shot(start, postgres):
    command = start("out", "--storage", postgres, "--study", "one", "--num-workers", "2")
    wait_until_both_work(postgres, "one", command)
    os.kill(command.child(), signal.SIGKILL)
    command.wait()
    assert_all_done_once(command)
    assert "a worker was killed by signal 9" in command.said()


def test_a_command_that_is_shot_and_run_again(start, tmp_path):
    url = f"sqlite:///{tmp_path / 'out/study.db'}"
    command = start("out", "--study", "again", "--num-workers", "2")
    deadline = time.monotonic() + 60
    while not (tmp_path / "out/study.db").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    wait_until_both_work(url, "again", command)
    command.process.kill()
    command.process.wait()
    again = start("out", "--study", "again")
    again.wait()
    rows = list(csv.DictReader((tmp_path / "out/trials.csv").read_text().splitlines()))
    assert Counter(r["study"] for r in rows if r["state"] == "complete") == dict.fromkeys(
        ("all", "without fold 1", "without fold 2"), NUM_TRIALS
    )
