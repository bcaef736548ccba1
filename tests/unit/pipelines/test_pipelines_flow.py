"""Sources, streams and sinks put together, as iterators and as observables."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from diarist.audio.sinks import Accumulator
from diarist.core.types import Diarization, Turn, Update
from diarist.errors import AudioError, DiaristError, UsageError
from diarist.pipelines.flow import drain, tee, updates


class Said:
    """A stream that says a turn a block."""

    def __init__(self):
        self.blocks = []

    def push(self, samples):
        self.blocks.append(samples)
        end = float(len(self.blocks))
        return Update((Turn(end - 1, end - 0.5, "speaker0"),) if len(samples) else (), (), end, end)

    def finish(self):
        end = float(len(self.blocks))
        return Update((), (), end, end, session=Diarization((Turn(0, 1, "speaker0"),)))


class Kept:
    def __init__(self, fails_at=None, fails_closing=False):
        self.taken, self.closed, self.fails_at, self.fails_closing = [], 0, fails_at, fails_closing

    def write(self, update):
        if len(self.taken) == self.fails_at:
            raise DiaristError("full")
        self.taken.append(update)

    def close(self):
        self.closed += 1
        if self.fails_closing:
            raise DiaristError("not closed")


BLOCKS = [np.ones(10, np.float32)] * 3


def test_updates_of_blocks_and_the_last_one():
    said = list(updates(BLOCKS, Said()))
    assert [u.until for u in said] == [1, 2, 3, 3] and said[-1].session is not None
    assert [u.until for u in updates([], Said())] == [0]


def test_a_source_that_fails_is_finished_first():
    def breaks():
        yield BLOCKS[0]
        raise AudioError("unplugged")

    heard = []
    with pytest.raises(AudioError, match="unplugged"):
        for update in updates(breaks(), Said()):
            heard.append(update)
    assert len(heard) == 2 and heard[-1].session is not None


def test_sinks_get_all_of_it_and_are_closed():
    first, second = Kept(), Kept()
    assert drain(updates(BLOCKS, Said()), first, second).session is not None
    assert len(first.taken) == len(second.taken) == 4 and (first.closed, second.closed) == (1, 1)


def test_sinks_are_closed_whatever_fails():
    good, bad, last = Kept(), Kept(fails_at=1, fails_closing=True), Kept()
    with pytest.raises(DiaristError):
        drain(updates(BLOCKS, Said()), good, bad, last)
    assert (good.closed, bad.closed, last.closed) == (1, 1, 1) and len(good.taken) == 2
    left = Kept()
    said = tee(updates(BLOCKS, Said()), left)
    next(said)
    said.close()
    assert left.closed == 1


def test_observables():
    pytest.importorskip("reactivex")
    from reactivex import operators as ops

    from diarist.pipelines import observable as dops

    stream, sink, seen = Said(), Kept(), []
    dops.from_source(BLOCKS).pipe(
        dops.updates(stream), dops.write_to(sink), dops.accumulate_output("talk"), ops.map(lambda d: (d.uri, len(d)))
    ).subscribe(on_next=seen.append)
    assert seen == [("talk", 1), ("talk", 2), ("talk", 3), ("audio", 1)]
    assert len(sink.taken) == 4 and sink.closed == 1


def test_windows_and_buffers_of_an_observable():
    pytest.importorskip("reactivex")
    from diarist.pipelines import observable as dops

    sound, windows, done = np.arange(50_000, dtype=np.float32), [], []
    dops.from_source(np.array_split(sound, 7)).pipe(dops.regularize_audio_stream(16_000, 2.0, 0.5)).subscribe(
        on_next=windows.append, on_completed=lambda: done.append(True)
    )
    assert [int(w[0]) for w in windows] == [0, 8000, 16_000, 24_000] and done == [True]
    slid = []
    dops.from_source("abcd").pipe(dops.buffer_slide(2)).subscribe(on_next=slid.append)
    assert slid == [["a"], ["a", "b"], ["b", "c"], ["c", "d"]]
    with pytest.raises(UsageError):
        dops.buffer_slide(0)


def test_errors_and_disposal_of_observables():
    pytest.importorskip("reactivex")
    from reactivex.scheduler import NewThreadScheduler

    from diarist.pipelines import observable as dops

    def breaks():
        yield BLOCKS[0]
        raise AudioError("unplugged")

    errors, kept = [], Kept()
    dops.from_source(breaks()).pipe(dops.updates(Said()), dops.write_to(kept)).subscribe(on_error=errors.append)
    assert [str(e) for e in errors] == ["unplugged"] and kept.closed == 1

    class Fails(Said):
        def push(self, samples):
            raise UsageError("no")

    dops.from_source(BLOCKS).pipe(dops.updates(Fails())).subscribe(on_error=errors.append)
    assert str(errors[-1]) == "no"

    taken, enough = [], threading.Event()

    def endless():
        while True:
            yield len(taken)

    def take(item):
        taken.append(item)
        if len(taken) > 5:
            enough.set()

    subscription = dops.from_source(endless()).subscribe(on_next=take, scheduler=NewThreadScheduler())
    assert enough.wait(5)
    subscription.dispose()
    threading.Event().wait(0.1)
    number = len(taken)
    threading.Event().wait(0.1)
    assert len(taken) == number


def test_an_accumulator_is_a_sink():
    kept = Accumulator()
    drain(updates(BLOCKS, Said()), kept)
    assert len(kept.live) == 3 and len(kept.diarization) == 1
