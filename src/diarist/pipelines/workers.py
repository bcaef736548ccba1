"""Threads that a pipeline keeps between calls."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

MOST_THREADS = 8  # where no number is asked for: each holds the working memory of a batch, 40 MB


class Workers:
    """A pool of threads, begun when it is first asked for; a forked process, which has none of them, gets its own."""

    def __init__(self, num_threads: int, name: str = "diarist") -> None:
        self._num_threads, self._name = num_threads, name
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._owner = 0

    def pool(self) -> ThreadPoolExecutor:
        """The pool of this process. Safe from several threads at once."""
        with self._lock:
            if self._pool is None or self._owner != os.getpid():
                self._pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix=self._name)
                self._owner = os.getpid()
            return self._pool


def threads_of(asked: int) -> int:
    """How many threads to begin: as many as are asked for; for 0, one for every core, `MOST_THREADS` at most."""
    return asked or min(num_cores(), MOST_THREADS)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
