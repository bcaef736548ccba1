"""A source, a stream and sinks put together; all of it plain iterators.

for update in tee(updates(source, live.start(source.uri)), Accumulator(), RttmWriter("meeting", "meeting.rttm")):
    ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from diarist.core.protocols import Sink
from diarist.core.types import Float32, Update
from diarist.errors import DiaristError


class Listener(Protocol):
    """What takes sound and says who speaks: a `Stream`, or anything that has these two."""

    def push(self, samples: Float32) -> Update:
        """Take a block, and say what is new."""
        ...

    def finish(self) -> Update:
        """There is no more."""
        ...


def updates(blocks: Iterable[Float32], stream: Listener) -> Iterator[Update]:
    """What the stream says of the blocks: an update whenever more was heard, and the last one at the end.

    Where the source fails (a microphone unplugged, a connection broken), what was heard is finished first, and the
    error raised after the last update.
    """
    failed: DiaristError | None = None
    heard = 0.0
    sound = iter(blocks)
    while True:
        try:
            block = next(sound, None)
        except DiaristError as error:
            failed, block = error, None
        if block is None:
            break
        update = stream.push(block)
        if update.until > heard or update.final or update.renamed:
            heard = update.until
            yield update
    yield stream.finish()
    if failed is not None:
        raise failed


def tee(said: Iterable[Update], *sinks: Sink) -> Iterator[Update]:
    """The same updates, each written to all sinks first. However it ends, every sink is closed; the first error that
    one raises then is raised at the end."""
    try:
        for update in said:
            for sink in sinks:
                sink.write(update)
            yield update
    finally:
        close_all(sinks)


def drain(said: Iterable[Update], *sinks: Sink) -> Update | None:
    """Go through all updates for their sinks' sake; the last update, None where there was none."""
    last = None
    for update in tee(said, *sinks):
        last = update
    return last


def close_all(sinks: Iterable[Sink]) -> None:
    """Close every sink, whatever the others do; the first error is raised once all are closed."""
    first: Exception | None = None
    for sink in sinks:
        try:
            sink.close()
        except (DiaristError, OSError) as error:
            first = first or error
    if first is not None:
        raise first
