"""One recording after the other in several processes, none of which can take the others down with it.

An answer that fails, or a process that dies over a recording (out of memory, a crash in a library), costs that
recording only. Processes are started with the `spawn` method and end when whoever started them does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType

from diarist.errors import DiaristError, InputError, MissingError, UsageError
from diarist.evaluation.dataset import Item
from diarist.evaluation.systems import Answer, System

PATIENCE = 10.0  # seconds that a process is given to end by itself


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, on one line."""

    message: str


@dataclass(frozen=True)
class _Fatal:
    """What would go wrong with every recording: the call is at fault, or weights are missing."""

    exit_code: int
    message: str


def answers(system: System, items: Sequence[Item], num_workers: int) -> Iterator[tuple[Item, Answer | Failure]]:
    """Each item with its answer, or why there is none, as they are finished; the largest files are begun first.

    Raises `UsageError` or `MissingError` as soon as a process meets one, since all items would.
    """
    waiting = deque(sorted(items, key=lambda item: (-_size(item), item.uri)))
    busy: dict[Connection, _Worker] = {}
    try:
        for _ in range(min(num_workers, len(waiting))):
            worker = _Worker(system, waiting.popleft())
            busy[worker.pipe] = worker
        while busy:
            for pipe in wait(list(busy)):
                worker = busy.pop(pipe)  # type: ignore[call-overload]
                reply = worker.receive()
                if isinstance(reply, _Fatal):
                    raise (MissingError if reply.exit_code == MissingError.exit_code else UsageError)(reply.message)
                yield worker.item, reply
                if waiting:
                    worker = worker.next(waiting.popleft())
                    busy[worker.pipe] = worker
                else:
                    worker.stop()
    finally:
        for worker in busy.values():
            worker.process.terminate()
        for worker in busy.values():
            worker.stop()


class _Worker:
    """A process and the item that it is at work on."""

    def __init__(self, system: System, item: Item) -> None:
        context = multiprocessing.get_context("spawn")
        self.system = system
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, system), daemon=True)
        with _deaf_to_interrupts():
            self.process.start()
        theirs.close()
        self._give(item)

    def _give(self, item: Item) -> None:
        self.item = item
        with suppress(OSError):  # it died: receive() says so
            self.pipe.send(item)

    def next(self, item: Item) -> _Worker:
        """Go on with an item; where the process has died, in a new one."""
        if self.process.is_alive():
            self._give(item)
            return self
        self.stop()
        return _Worker(self.system, item)

    def receive(self) -> Answer | Failure | _Fatal:
        """The reply to the item."""
        try:
            reply: Answer | Failure | _Fatal = self.pipe.recv()
            return reply
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            code = self.process.exitcode
            how = f"was killed by signal {-code} (out of memory?)" if code is not None and code < 0 else "died"
            return Failure(f"its worker process {how}")

    def stop(self) -> None:
        """Let the process end, or make it."""
        self.pipe.close()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started inside never hears Ctrl-C, not even while it is being loaded: whoever started it decides."""
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _work(pipe: Connection, system: System) -> None:
    """Of a worker process: answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)  # so that commands which were started end too
    threading.Thread(target=_watch, daemon=True).start()
    try:
        work = None
        while True:
            item = pipe.recv()
            try:
                work = work or system.start()
                reply: Answer | Failure | _Fatal = work(item)
            except (UsageError, MissingError) as error:
                reply = _Fatal(error.exit_code, str(error))
            except DiaristError as error:
                reply = Failure(" ".join(str(error).split()))
            except Exception as error:  # a fault of ours or of a library: the other recordings are still wanted
                reply = Failure(f"{type(error).__name__}: {' '.join(str(error).split())}")
            pipe.send(reply)
    except (EOFError, OSError):
        return
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending: nothing is to break into that


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _watch() -> None:
    """End with whoever started this process, even in the middle of a long recording."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _size(item: Item) -> int:
    try:
        return int(item.mark()[1])
    except InputError:
        return 0  # it is gone: whoever reads it says so
