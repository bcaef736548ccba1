"""What ends a stream, but not its answer: signals, and sinks that fail."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from diarist.core.protocols import Sink
from diarist.core.types import Update
from diarist.errors import DiaristError

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopper:
    """While it is entered, the first Ctrl-C (or SIGTERM, SIGHUP) calls `stop`; the second one interrupts.

    `exit_code` is 0, or 128 and the number of the signal that came. Outside of the main thread it does nothing.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[int, Any] = {}
        self.exit_code = 0

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.exit_code:
            raise KeyboardInterrupt
        self.exit_code = 128 + number
        self._stop()


class Guarded:
    """A sink whose failure (a full disk, a pipe that nobody reads) calls `stop`, so that the others still get the end
    of the stream; what went wrong first is kept in `error`."""

    def __init__(self, sink: Sink, stop: Callable[[], None]) -> None:
        self._sink, self._stop = sink, stop
        self.error: DiaristError | OSError | None = None

    def write(self, update: Update) -> None:
        """Pass on, unless it failed before."""
        if self.error is None:
            try:
                self._sink.write(update)
            except (DiaristError, OSError) as error:
                self.error = error
                self._stop()

    def close(self) -> None:
        """Close the sink."""
        try:
            self._sink.close()
        except (DiaristError, OSError) as error:
            self.error = self.error or error
