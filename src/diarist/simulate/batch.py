"""Many conversations into a folder: in parallel, resumable, the same bytes whatever the number of workers."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from diarist.core.config import fingerprint
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Turn
from diarist.errors import DiaristError, InputError, UsageError
from diarist.simulate.config import SimulationConfig, TurnTaking
from diarist.simulate.conversation import Simulated, make
from diarist.simulate.sources import Speech, pool_fingerprint
from diarist.simulate.statistics import calibrated
from diarist.simulate.tracks import InMemory, OnDisk, blocks

IN_MEMORY = 30 * 60.0
"""Longer conversations, in seconds, are made in a file."""


@dataclass(frozen=True)
class Job:
    """What all conversations of a folder share."""

    speakers: tuple[Speech, ...]
    config: SimulationConfig
    turns: TurnTaking
    seed: int
    noise: tuple[Path, ...]
    output: Path
    prefix: str

    def uri(self, index: int) -> str:
        """The name of conversation `index`."""
        return f"{self.prefix}_{index:05d}"

    def mark(self, index: int) -> str:
        """What a finished conversation's recipe must say to be taken for this one."""
        return fingerprint(
            self.config, {"seed": [self.seed, index], "pool": pool_fingerprint(self.speakers, self.noise)}
        )


@dataclass(frozen=True)
class Made:
    """A conversation of the folder: its name, its recipe, and whether it was there already."""

    uri: str
    recipe: dict[str, Any]
    skipped: bool = False

    def reference(self) -> Diarization:
        """Who spoke when, from the recipe."""
        turns = tuple(Turn(t["start"], t["end"], t["speaker"]) for t in self.recipe["turns"])
        return Diarization(turns, uri=self.uri, duration=self.recipe["duration"])


def simulate_many(
    speakers: Sequence[Speech],
    output: str | Path,
    num_conversations: int,
    config: SimulationConfig | None = None,
    *,
    seed: int = 0,
    noise: Sequence[Path] = (),
    workers: int = 1,
    prefix: str = "sim",
    overwrite: bool = False,
) -> Iterator[Made]:
    """Write `prefix_00000.flac`, `.rttm` and `.json` (the recipe) and so on into a folder; yields them as they finish.

    Each file is written aside and renamed, the recipe last; a conversation whose recipe is there is skipped. The bytes
    depend on the speakers, the noise, the configuration, the seed and the number of a conversation, and on nothing
    else. `workers` processes are started with the `spawn` method.

    Raises `UsageError` where the folder holds conversations of the same names that were made otherwise (unless
    `overwrite`), or where there are too few speakers; `InputError` where it cannot be written.
    """
    config = config or SimulationConfig()
    if len(speakers) < config.speakers[-1]:
        raise UsageError(
            f"conversations of up to {config.speakers[-1]} speakers were asked for, but there are only {len(speakers)}"
        )
    if num_conversations < 0 or workers < 1:
        raise UsageError(f"cannot make {num_conversations} conversations with {workers} workers")
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{output}': {error.strerror}") from error
    job = Job(tuple(speakers), config, calibrated(config.turns), seed, tuple(noise), output, prefix)
    found = {} if overwrite else {i: m for i in range(num_conversations) if (m := _finished(job, i)) is not None}
    return _run(job, found, [i for i in range(num_conversations) if i not in found], workers)


def _run(job: Job, found: dict[int, Made], missing: list[int], workers: int) -> Iterator[Made]:
    yield from found.values()
    if workers == 1 or len(missing) < 2:
        yield from (_make_one(job, index) for index in missing)
    else:
        yield from _in_parallel(job, missing, workers)


def _finished(job: Job, index: int) -> Made | None:
    path = job.output / f"{job.uri(index)}.json"
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        mark = recipe["mark"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"'{path}' is not a recipe of a simulated conversation: give another folder") from error
    if mark != job.mark(index):
        raise UsageError(
            f"'{path}' was made from another seed, configuration or speech: give another folder or overwrite"
        )
    return Made(job.uri(index), recipe, skipped=True)


def _make_one(job: Job, index: int) -> Made:
    uri = job.uri(index)
    for left in job.output.glob(f".{uri}.*"):  # by a worker that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{uri}.", dir=job.output) as scratch:
        new_track = OnDisk(Path(scratch)) if job.config.duration[-1] > IN_MEMORY else InMemory
        made = make(
            job.speakers, job.config, [job.seed, index], noise=job.noise, uri=uri, turns=job.turns, new_track=new_track
        )
        recipe = {"mark": job.mark(index), **made.recipe}
        try:
            _write(job.output / uri, made, recipe, Path(scratch))
        except (OSError, soundfile.SoundFileError) as error:
            raise InputError(f"cannot write '{job.output / uri}': {error}") from error
    return Made(uri, recipe)


def _write(base: Path, made: Simulated, recipe: dict[str, Any], scratch: Path) -> None:
    """The three files, aside and then renamed; the recipe comes last."""
    aside = scratch / "aside.flac"
    with soundfile.SoundFile(str(aside), "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as file:
        for _, block in blocks(made.track):
            file.write(block)
    aside.replace(base.with_name(base.name + ".flac"))
    for suffix, text in ((".rttm", made.reference.to_rttm()), (".json", _dumps(recipe))):
        aside = scratch / f"aside{suffix}"
        aside.write_text(text, encoding="utf-8")
        aside.replace(base.with_name(base.name + suffix))


def _dumps(recipe: dict[str, Any]) -> str:
    """JSON with a line for each value, and for each turn."""
    lines = []
    for key, value in recipe.items():
        text = json.dumps(value)
        if key == "turns":
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


_job: Job | None = None  # of a worker process


def _start(job: Job) -> None:
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is told by the first process, once


def _work(index: int) -> Made:
    assert _job is not None
    return _make_one(_job, index)


def _in_parallel(job: Job, missing: list[int], workers: int) -> Iterator[Made]:
    context = multiprocessing.get_context("spawn")
    workers = min(workers, len(missing))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,)) as pool:
        waiting: set[Future[Made]] = {pool.submit(_work, index) for index in missing}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise DiaristError(
                "a worker process died (out of memory?): run again to go on, with fewer workers"
            ) from error
        finally:
            for future in waiting:
                future.cancel()
