"""The sound that a client sends: read in a thread, and kept until the server has looked at it."""

from __future__ import annotations

import asyncio
import threading
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from diarist.core.types import Float32

AHEAD = 20.0
"""Seconds of sound that are read before they can be sent."""
LIVE_AHEAD = 600.0
"""The same of a live source, whose sound is lost where nobody reads it."""
_SAMPLE = 4  # bytes


class Supply:
    """Mono float32 `blocks` `(num_samples,)`. Made within an event loop, which calls everything but `stop()`.

    At most `AHEAD`, or `LIVE_AHEAD`, is read before it can be sent.
    """

    def __init__(self, blocks: Iterable[Float32], sample_rate: int, *, live: bool) -> None:
        self.failure: BaseException | None = None
        """What reading ended with."""
        self._ahead = (LIVE_AHEAD if live else AHEAD) * sample_rate
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._room = threading.Condition()
        self._kept: list[bytes] = []  # samples
        self._firsts: list[int] = []  # the first sample of each
        self._read = 0  # samples
        self._given = 0  # samples
        self._stopped = self._complete = False
        threading.Thread(target=self._work, args=(blocks,), name="diarist-client-source", daemon=True).start()

    @property
    def complete(self) -> bool:
        """No more will come."""
        return self._complete

    def stop(self) -> None:
        """Read no further; a read that is stuck is left behind. From any thread, or a signal's handler."""
        self._stopped = True
        self._call(None)

    async def after(self, sample: int) -> bytes | None:
        """Sound from this sample on, as float32 little-endian; waits for it. None at the end."""
        while sample >= self._read:
            if self._complete:
                return None
            self._news.clear()
            await self._news.wait()
        index = bisect_right(self._firsts, sample) - 1
        if index < 0:
            raise LookupError(f"sample {sample} was forgotten")
        data = self._kept[index][(sample - self._firsts[index]) * _SAMPLE :]
        with self._room:
            self._given = sample + len(data) // _SAMPLE
            self._room.notify()
        return data

    def forget(self, sample: int) -> None:
        """What lies before this sample is not needed any more."""
        index = max(0, bisect_right(self._firsts, sample) - 1)
        del self._kept[:index], self._firsts[:index]

    def _work(self, blocks: Iterable[Float32]) -> None:
        read = 0
        try:
            for block in blocks:
                read += len(block)
                data = np.ascontiguousarray(block, dtype="<f4").tobytes()
                if data:
                    self._call(data)
                with self._room:
                    while not self._stopped and read - self._given >= self._ahead:
                        self._room.wait(0.1)
                if self._stopped:
                    return
        except BaseException as error:  # whatever it is, it belongs to the caller
            self.failure = error
        self._call(None)

    def _call(self, data: bytes | None) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._take, data)

    def _take(self, data: bytes | None) -> None:
        if data is None:
            self._complete = True
        elif not self._complete:
            self._kept.append(data)
            self._firsts.append(self._read)
            self._read += len(data) // _SAMPLE
        self._news.set()
