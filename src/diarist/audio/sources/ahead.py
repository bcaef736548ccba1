"""A source read in a thread of its own."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator

from diarist.audio.sources.source import BlockSource
from diarist.core.types import Float32

_PATIENCE = 0.1  # seconds between two looks at whether to stop
_GRACE = 1.0  # seconds that a source has to hand over its tail once it was told to stop


class ReadAhead:
    """The blocks of a source, read by a thread, at most `most` blocks ahead.

    Waiting for sound happens outside of the caller's thread: so a Ctrl-C is heard at once even where a network read
    is stuck in C. After `stop()`, which may come from a signal handler, what a live source has heard by then is still
    given out; a read that is stuck is left behind. An error of the source is raised here, after the blocks before it.
    """

    def __init__(self, source: BlockSource, most: int = 16) -> None:
        self.source = source
        self.uri = source.uri
        self.sample_rate = source.sample_rate
        self._queue: queue.Queue[Float32 | BaseException | None] = queue.Queue(most)
        self._stopped = math.inf  # when it was told to stop
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._read, name="diarist-source", daemon=True)

    @property
    def waiting(self) -> int:
        """Blocks that were read and not yet taken."""
        return self._queue.qsize()

    def stop(self) -> None:
        """Read no further."""
        self._stopped = min(self._stopped, time.monotonic())
        if self.source.live:
            self.source.close()

    def __iter__(self) -> Iterator[Float32]:
        self._thread.start()
        try:
            while (item := self._next()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self._left.set()
            self.source.close()

    def _next(self) -> Float32 | BaseException | None:
        while True:
            try:
                return self._queue.get(timeout=_PATIENCE)
            except queue.Empty:
                if time.monotonic() > self._stopped + _GRACE:
                    return None

    def _read(self) -> None:
        end: BaseException | None = None
        try:
            for block in self.source:
                self._put(block)
                if self._left.is_set() or (self._stopped < math.inf and not self.source.live):
                    break
        except BaseException as error:  # whatever it is, it belongs to the caller
            end = error
        self._put(end)

    def _put(self, item: Float32 | BaseException | None) -> None:
        while not self._left.is_set():
            try:
                return self._queue.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue
