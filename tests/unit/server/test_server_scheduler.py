"""Steps of many sessions together, everybody in turn, and nobody suffers for another."""

import threading
import time

import pytest

from diarist.core.types import Diarization, Update
from diarist.server.messages import Refusal
from diarist.server.metrics import Metrics
from diarist.server.scheduler import GATHER, Scheduler

for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
    pytest.importorskip(package)


class Engine:
    """Takes a step of each stream, and writes down whose; in a pass it does what `within` does."""

    def __init__(self, within=lambda: None, fails_for=()):
        self.passes, self.within, self.fails_for = [], within, fails_for
        self.inside = set()
        self._lock = threading.Lock()

    def advance(self, streams):
        with self._lock:
            assert not self.inside & set(streams)  # one worker at a time has a stream
            self.inside |= set(streams)
            self.passes.append([stream.name for stream in streams])
        self.within()
        with self._lock:
            self.inside -= set(streams)
        if {stream.name for stream in streams} & set(self.fails_for):
            raise ValueError("a bug")
        for stream in streams:
            stream.waiting -= 1
        return [Update((), (), 1.0) for _ in streams]


class Stream:
    def __init__(self, name):
        self.name, self.waiting = name, 0


class Session:
    """What the scheduler sees of one: `steps` come with its sound."""

    def __init__(self, name, engine, steps, *, bad=None):
        self.name, self.engine, self.stream, self.bad = name, engine, Stream(name), bad
        self.steps, self.dropped, self.done, self.why = steps, False, 0, None
        self.ended, self.finished = True, threading.Event()
        self._lock = threading.Lock()

    def hear(self, *, last=False):
        """The sound of one more step comes."""
        with self._lock:
            self.steps += 1
            self.ended = last

    def digest(self):
        if self.bad is not None:
            raise self.bad
        with self._lock:
            self.stream.waiting += self.steps
            self.steps = 0
            return self.ended

    @property
    def idle(self):
        return not self.steps

    def advanced(self, update):
        self.done += 1
        return 0.1

    def finish(self):
        assert self.stream.waiting == 0
        return Diarization((), self.name)

    def failed(self, why):
        self.why = why
        self.dropped = True
        self.finished.set()


@pytest.fixture
def scheduler():
    made = []

    def make(**options):
        def finished(session, answer):
            assert answer.uri == session.name and not session.finished.is_set()
            session.finished.set()

        made.append(Scheduler(Metrics(), finished, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def wait(sessions):
    for session in sessions:
        assert session.finished.wait(60)


def test_steps_share_passes_up_to_a_number(scheduler):
    engine = Engine()
    sessions = [Session(str(i), engine, 3) for i in range(10)]
    one = scheduler(num_workers=1, most_together=4)
    for session in sessions:
        one.submit(session)
    wait(sessions)
    assert [session.done for session in sessions] == [3] * 10
    assert max(map(len, engine.passes)) == 4 and len(engine.passes) <= 12


def test_everybody_in_turn(scheduler):
    begun, everybody = threading.Event(), threading.Event()

    def within():
        begun.set()
        assert everybody.wait(60)

    engine = Engine(within)
    greedy, others = Session("greedy", engine, 200), [Session(str(i), engine, 5) for i in range(3)]
    one = scheduler(num_workers=1, most_together=2)
    one.submit(greedy)
    assert begun.wait(60)
    for session in others:
        one.submit(session)
    time.sleep(2 * GATHER)
    everybody.set()
    wait([*others, greedy])
    last = max(number for number, names in enumerate(engine.passes) if names != ["greedy"])
    assert last < 20  # the greedy one had most of its sound before it
    assert greedy.done == 200


def test_workers_share_what_there_is(scheduler):
    both = threading.Barrier(2)
    engine = Engine(lambda: len(engine.passes) > 2 or both.wait(60))  # the first two passes are made at once
    sessions = [Session(str(i), engine, 4) for i in range(8)]
    two = scheduler(num_workers=2, most_together=4)  # so that one cannot take all
    for session in sessions:
        two.submit(session)
    wait(sessions)
    assert not both.broken
    assert [session.done for session in sessions] == [4] * 8


def test_configurations_have_passes_of_their_own(scheduler):
    engines = Engine(), Engine()
    sessions = [Session(str(i), engines[i % 2], 2) for i in range(4)]
    one = scheduler(num_workers=1)
    for session in sessions:
        one.submit(session)
    wait(sessions)
    assert {name for names in engines[0].passes for name in names} == {"0", "2"}


def test_a_stream_that_fails_fails_alone(scheduler, caplog):
    engine = Engine(fails_for=("1",))
    sessions = [Session(str(i), engine, 3) for i in range(3)]
    bad = Session("bad", engine, 3, bad=Refusal("bad_audio", "no sound"))
    worse = Session("worse", engine, 3, bad=ValueError("a bug"))
    one = scheduler(num_workers=1)
    for session in (bad, worse, *sessions):
        one.submit(session)
    wait([bad, worse, *sessions])
    assert [session.done for session in sessions] == [3, 0, 3]
    assert (sessions[1].why.code, bad.why.code, worse.why.code) == ("internal", "bad_audio", "internal")
    assert "a step failed" in caplog.text


def test_sound_that_comes_while_a_worker_has_the_session_is_not_forgotten(scheduler):
    engine = Engine(lambda: time.sleep(0.02))
    session = Session("0", engine, 1)
    session.ended = False
    one = scheduler(num_workers=2)
    for number in range(5):
        one.submit(session)
        time.sleep(0.01)
        session.hear(last=number == 4)
    one.submit(session)
    wait([session])
    assert session.done == 6


def test_stopping_finishes_what_is_in_hand(scheduler):
    begun = threading.Event()

    def within():
        begun.set()
        time.sleep(0.1)

    session = Session("0", Engine(within), 1000)
    one = scheduler(num_workers=1)
    one.submit(session)
    assert begun.wait(60)
    one.stop()
    assert 0 < session.done < 1000
