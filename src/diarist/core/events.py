"""One channel for progress, timing, intermediate arrays and cancelling.

A hook is any callable that takes an `Event`. One that returns `False` (not merely something falsy) cancels the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from diarist.errors import Cancelled


@dataclass(frozen=True)
class Event:
    """Something that happened in `stage`.

    `kind` is `"start"`, `"progress"` (`done` of `total`, in seconds of audio; total None where not known yet),
    `"end"` (`seconds` of wall time spent in the stage) or `"array"` (`arrays` by name, as the stage made them).
    """

    stage: str
    kind: str
    done: float = 0.0
    total: float | None = None
    seconds: float = 0.0
    uri: str = ""
    arrays: Mapping[str, Any] = field(default_factory=dict, repr=False)


Hook = Callable[[Event], Any]


class Emitter:
    """Tells every hook, and keeps the wall time of each stage in `timings` (seconds, by stage)."""

    def __init__(self, hooks: Sequence[Hook] = (), uri: str = "") -> None:
        self.hooks = tuple(hooks)
        self.uri = uri
        self.timings: dict[str, float] = {}
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Tell every hook, in order. Raises `Cancelled` where one returns `False`."""
        for hook in self.hooks:
            if hook(event) is False:
                raise Cancelled(f"cancelled in stage '{event.stage}'")

    def progress(self, stage: str, done: float, total: float | None = None) -> None:
        """Report that `done` of `total` seconds of audio went through `stage`."""
        if self.hooks:
            self.emit(Event(stage, "progress", done=done, total=total, uri=self.uri))

    def arrays(self, stage: str, **arrays: Any) -> None:
        """Show intermediate arrays to the hooks."""
        if self.hooks:
            self.emit(Event(stage, "array", arrays=arrays, uri=self.uri))

    def add(self, stage: str, seconds: float) -> None:
        """Count wall time for a stage that runs in pieces."""
        with self._lock:
            self.timings[stage] = self.timings.get(stage, 0.0) + seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage, time it, announce its end."""
        self.emit(Event(name, "start", uri=self.uri))
        begun = time.perf_counter()
        yield
        spent = time.perf_counter() - begun
        self.add(name, spent)
        self.emit(Event(name, "end", seconds=spent, uri=self.uri))
