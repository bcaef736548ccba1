"""What can be benchmarked: a pipeline of our own, or another program given as a command; and what a run of it costs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from diarist import __version__, formats
from diarist.audio.decode import open_audio
from diarist.core.config import fingerprint, nearest, to_dict, walk
from diarist.core.digest import sha256
from diarist.core.events import Event
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Diarization
from diarist.engines import engine
from diarist.errors import InputError, UsageError
from diarist.evaluation.dataset import Item
from diarist.evaluation.distribution import Distribution
from diarist.formats import read_text
from diarist.formats.writing import safe_name
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.method import Method
from diarist.pipelines.offline import Diarizer
from diarist.pix2seq.checkpoint import MODELS

AS_IS = "as-is"
RENAMED = "renamed"  # what a live system settled, its speakers renamed wherever it has said so since
SESSION = "session"  # what a live system says of all of a recording once it has ended
PLACEHOLDERS = ("audio", "rttm", "uri")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Cost:
    """What it took: seconds of `audio`, of `wall` time and of `cpu` time (all threads), and the `peak` memory in bytes
    of the process that did it. Loading models is not counted. Costs add up; the largest peak stays. None: unknown.

    Of a live pipeline also seconds of computing a `step`, and the `delay` from a sound's being heard to its speaker's
    being settled: of the oldest sound that each step settles, computing included.
    """

    audio: float = 0.0
    wall: float = 0.0
    cpu: float | None = 0.0
    peak: int | None = None
    step: Distribution | None = None
    delay: Distribution | None = None

    def __add__(self, other: Cost) -> Cost:
        if not isinstance(other, Cost):
            return NotImplemented
        cpu = None if self.cpu is None or other.cpu is None else self.cpu + other.cpu
        peak = max((p for p in (self.peak, other.peak) if p is not None), default=None)
        return Cost(
            self.audio + other.audio,
            self.wall + other.wall,
            cpu,
            peak,
            _both(self.step, other.step),
            _both(self.delay, other.delay),
        )

    @property
    def cpu_per_hour(self) -> float | None:
        """CPU seconds for an hour of sound."""
        return None if self.cpu is None or not self.audio else 3600 * self.cpu / self.audio

    @property
    def times_real_time(self) -> float | None:
        """How much faster than the sound itself, in one process."""
        return self.audio / self.wall if self.wall else None

    def to_dict(self) -> dict[str, Any]:
        """Seconds to the millisecond, bytes, and the speeds."""
        values = {"audio": self.audio, "wall": self.wall, "cpu": self.cpu}
        speeds = {"cpu_per_hour": self.cpu_per_hour, "times_real_time": self.times_real_time}
        rounded = {k: None if v is None else round(v, 3) for k, v in {**values, **speeds}.items()}
        live = {"step": self.step, "delay": self.delay}
        return {**rounded, "peak": self.peak, **{k: None if v is None else v.to_dict() for k, v in live.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cost:
        """What `to_dict` gave. Raises `KeyError`, `TypeError`, `ValueError` or `AttributeError` for anything else."""
        plain = {name: values[name] for name in ("audio", "wall", "cpu", "peak")}
        live = (None if values[name] is None else Distribution.from_dict(values[name]) for name in ("step", "delay"))
        return cls(**plain, **dict(zip(("step", "delay"), live, strict=True)))  # type: ignore[arg-type]


def _both(one: Distribution | None, other: Distribution | None) -> Distribution | None:
    """The sum, where an empty cost has none."""
    return one if other is None else other if one is None else one + other


@dataclass(frozen=True)
class Answer:
    """Turns of one recording by variant (`AS_IS`, or what was made right: see `attribute`), and what they cost."""

    found: Mapping[str, Diarization]
    cost: Cost
    warnings: tuple[str, ...] = ()


Work = Callable[[Item], Answer]


class System(Protocol):
    """Something to benchmark: a value that is sent to worker processes, each of which starts it once."""

    @property
    def name(self) -> str:
        """What tables and folders call it."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """The keys of every answer's `found`, `AS_IS` first."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that changes the answer, as plain values."""
        ...

    def start(self) -> Work:
        """What answers for one recording after the other."""
        ...


def fingerprint_of(system: System) -> str:
    """Sixteen digits that change with anything that changes the answer, the version of diarist included."""
    return fingerprint({"version": __version__, **system.settings()})


@dataclass(frozen=True)
class Offline:
    """The `clustering` engine with a configuration; `segmentation` and `embedding` stand in for its models."""

    name: str
    config: PipelineConfig = field(default_factory=PipelineConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    segmentation: SegmentationModel | None = None
    embedding: EmbeddingModel | None = None

    @property
    def variants(self) -> tuple[str, ...]:
        """Just what it finds."""
        return (AS_IS,)

    def settings(self) -> dict[str, Any]:
        """The configuration, and the hash of models that are files."""
        models = model_marks(self.config, self.segmentation, self.embedding)
        return {"engine": "clustering", "config": to_dict(self.config), **({"models": models} if models else {})}

    def diarizer(self) -> Diarizer:
        """The pipeline, its models not loaded yet."""
        return Diarizer(
            self.name,
            config=self.config,
            runtime=self.runtime,
            segmentation=self.segmentation,
            embedding=self.embedding,
        )

    def start(self) -> Work:
        """Diarizes; the first recording's models are loaded off the clock."""
        return _timed(self.diarizer())


@dataclass(frozen=True)
class Whole:
    """Any engine of `diarist.engines` with a configuration."""

    name: str
    engine: str
    config: Any
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    @property
    def variants(self) -> tuple[str, ...]:
        """Just what it finds."""
        return (AS_IS,)

    def settings(self) -> dict[str, Any]:
        """The engine, its configuration, and the hash of models that are files."""
        marks = model_marks(self.config, None, None)
        return {"engine": self.engine, "config": to_dict(self.config), **({"models": marks} if marks else {})}

    def start(self) -> Work:
        """Diarizes; the first recording's models are loaded off the clock."""
        return _timed(engine(self.engine).build(config=self.config, runtime=self.runtime))


def _timed(diarizer: Method[Any]) -> Work:
    def answer(item: Item) -> Answer:
        clock = Clock()
        result = diarizer(item.audio, uri=item.uri, hooks=[clock])
        return Answer({AS_IS: result}, clock.cost(result.duration or 0.0), result.warnings)

    return answer


def model_marks(
    config: Any, segmentation: SegmentationModel | None, embedding: EmbeddingModel | None
) -> dict[str, str]:
    """What tells models apart that have no name in the catalogue: the type of those that stand in for the ones of a
    `config` with `segmentation` and `embedding`, and the start of the hash of those that are files, by the name of the
    option that names them. A network that ships with a release may be another in the next: its file counts too."""
    given = {"segmentation": segmentation, "embedding": embedding}
    marks = {kind: type(model).__qualname__ for kind, model in given.items() if model is not None}
    for option, value, _ in walk(config):
        kind = option.removesuffix(".model")
        shipped = MODELS / f"{value}.safetensors" if option == "checkpoint" else value
        for name in (value, shipped):
            if kind not in marks and isinstance(name, str | Path) and os.path.isfile(name):  # noqa: PTH113 - False for names that cannot be
                found = Path(name).stat()
                marks[kind] = _digest(Path(name).absolute(), found.st_size, found.st_mtime_ns)
    return marks


@lru_cache
def _digest(path: Path, size: int, age: int) -> str:
    """The start of the SHA-256 of a file of that `size` and `age`."""
    return sha256(path)[:16]


class Clock:
    """Wall and CPU time of this process from the start, or from the moment that the models were there."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __call__(self, event: Event) -> None:
        """A hook: begins anew once the models are loaded."""
        if event.stage == "models" and event.kind == "end":
            self._begin()

    def cost(self, audio: float, **live: Distribution) -> Cost:
        """What `audio` seconds have taken so far; `live` is the `step` and the `delay` of a live pipeline."""
        return Cost(audio, time.perf_counter() - self._wall, time.process_time() - self._cpu, peak_memory(), **live)


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not say."""
    try:
        # getrusage would also count the process that this one was started from
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@dataclass(frozen=True)
class Command:
    """Another program: a template in which `{audio}`, `{rttm}` and `{uri}` are filled in, then run without a shell.

    Turns are read from the file `{rttm}`, or from standard output where the template has none.
    """

    name: str
    template: str

    def __post_init__(self) -> None:
        words = self._words()
        used = [name for word in words for name in _PLACEHOLDER.findall(word)]
        if unknown := [name for name in used if name not in PLACEHOLDERS]:
            raise UsageError(
                f"unknown placeholder '{{{unknown[0]}}}' in the command {self.template!r}"
                f"{nearest(unknown[0], PLACEHOLDERS)}"
            )
        if "audio" not in used:
            raise UsageError(f"the command {self.template!r} must say where the recording goes: put {{audio}} in it")
        if shutil.which(words[0]) is None:
            raise UsageError(f"the command {self.template!r} cannot run: there is no program '{words[0]}'")

    @property
    def variants(self) -> tuple[str, ...]:
        """Just what it finds."""
        return (AS_IS,)

    def settings(self) -> dict[str, Any]:
        """The template; the program itself is not looked at."""
        return {"engine": "command", "command": self.template}

    def start(self) -> Work:
        """Runs the command for each recording."""
        return self._answer

    def _answer(self, item: Item) -> Answer:
        with tempfile.TemporaryDirectory(prefix="diarist-") as scratch:
            rttm, figures = Path(scratch) / f"{safe_name(item.uri)}.rttm", Path(scratch) / "figures.json"
            values = {"audio": str(item.audio), "rttm": str(rttm), "uri": item.uri}
            words = [_PLACEHOLDER.sub(lambda m: values[m[1]], word) for word in self._words()]
            output = self._run(item, words, figures)
            if "{rttm}" not in self.template:
                rttm.write_bytes(output)
            elif not rttm.exists():
                raise InputError(f"'{self.name}' wrote no file {{rttm}}")
            found = self._read(item, read_text(rttm))
            cost = Cost(**{"audio": seconds_of(item.audio), **json.loads(figures.read_text(encoding="utf-8"))})
        return Answer({AS_IS: found}, cost)

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self.template)
        except ValueError as error:
            raise UsageError(f"the command {self.template!r} does not parse: {error}") from error
        if not words:
            raise UsageError("an empty command cannot be run")
        return words

    def _run(self, item: Item, words: list[str], figures: Path) -> bytes:
        timed = [sys.executable, "-I", "-S", str(Path(__file__).with_name("timed.py")), str(figures), *words]
        process = subprocess.Popen(
            timed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, said = process.communicate()
        except BaseException:
            _kill(process)
            raise
        if process.returncode:
            last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise InputError(f"'{self.name}' failed with exit code {process.returncode}: {last[0]}")
        return output

    def _read(self, item: Item, text: str) -> Diarization:
        found = formats.loads(text, "rttm", name=f"the answer of '{self.name}'")
        one = found[0] if len(found) == 1 else next((d for d in found if d.uri == item.uri), None)
        if found and one is None:
            raise InputError(f"'{self.name}' told of {len(found)} recordings, and none of them is called '{item.uri}'")
        return Diarization(uri=item.uri) if one is None else dataclasses.replace(one, uri=item.uri)


def seconds_of(audio: Path) -> float:
    """Length of a recording, by its header or, where that does not say, by decoding it."""
    with open_audio(audio) as reader:
        if reader.duration is not None:
            return reader.duration
        return sum(len(block) for block in reader.blocks()) / 16_000


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The command and whatever it started."""
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
