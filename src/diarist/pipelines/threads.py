"""Linear algebra on one thread while a recording is worked on.

Parallelism comes from running chunks side by side; BLAS threads below that only spin, and could change the last bits
of a sum. The limit is the process's, so it is taken by the first recording at work and given back by the last.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import threadpoolctl
from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_users = 0
_limit: Any = None
_found: tuple[int, ThreadpoolController] | None = None


@contextmanager
def single_threaded_algebra() -> Iterator[None]:
    """Inside, BLAS runs on one thread; safe from several threads at once."""
    global _users, _limit
    with _lock:
        _users += 1
        if _users == 1:
            _take_control()
            _limit = _controller().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _limit is not None:
                _take_control()
                _limit.restore_original_limits()
                _take_control()
                _limit = None


def _controller() -> ThreadpoolController:
    """What holds the threads of the libraries that are loaded. Looking for them takes milliseconds, as much as a step
    of a stream: only done again once a module has been imported."""
    global _found
    if _found is None or _found[0] != len(sys.modules):
        _found = len(sys.modules), ThreadpoolController()
    return _found[1]


def _take_control() -> None:
    """Let the limit be set from this thread, and next time from any.

    threadpoolctl 3.8 heeds the thread that first set a limit, silently no other one, until that one lets go.
    """
    let_go = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    if let_go is not None:
        let_go(force=True)
