"""One client's stream, without a socket."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.streaming import LiveDiarizer
from diarist.server.limits import Limits
from diarist.server.messages import Hello, Refusal
from diarist.server.sessions import Arrivals, Session

SECOND = np.zeros(16_000, "<i2").tobytes()


class Wire:
    def __init__(self):
        self.said, self.why = [], None

    def wake(self):
        pass

    def warn(self, code, message, **facts):
        self.said.append(code)

    def close(self, why):
        self.why = why.code


def on_loop(body):
    async def run():
        live = LiveDiarizer(segmentation=ToySegmentation(), embedding=ToyEmbedding())
        session, wire = Session(Hello(), live, Limits(warn_buffered=3.0, max_buffered=5.0, max_length=10.0)), Wire()
        session.attach(wire)
        await body(session, wire)

    asyncio.run(run())


async def work(session):
    """What a worker does."""
    complete = session.digest()
    while session.stream.waiting:
        session.advanced(session.engine.advance([session.stream])[0])
    if complete:
        session.finish()
    await asyncio.sleep(0)


def test_a_writer_is_told_to_wait_and_to_go_on():
    async def body(session, wire):
        for _ in range(4):
            session.accept(SECOND)
        assert wire.said == ["too_fast"] and session.buffered == 4.0
        await work(session)
        assert wire.said == ["too_fast", "ready"] and session.buffered == 0.0
        for _ in range(4):
            session.accept(SECOND)
        assert wire.said == ["too_fast", "ready", "too_fast"]

    on_loop(body)


def test_a_writer_who_does_not_wait_is_refused():
    async def body(session, wire):
        for _ in range(5):
            session.accept(SECOND)
        with pytest.raises(Refusal, match="6 s of sound wait") as error:
            session.accept(SECOND)
        assert error.value.code == "too_fast"

    on_loop(body)


def test_the_length_is_exact_and_what_is_on_its_way_does_no_harm():
    async def body(session, wire):
        for _ in range(9):
            session.accept(SECOND)
            await work(session)
        session.accept(SECOND + SECOND)
        assert session.ended and session.why.code == "too_long" and session.seconds == 10.0
        session.accept(SECOND)
        await work(session)
        assert session.over and session.seconds == 10.0

    on_loop(body)


def test_sound_after_the_end_is_refused():
    async def body(session, wire):
        session.end()
        with pytest.raises(Refusal, match="after 'end'"):
            session.accept(SECOND)

    on_loop(body)


def test_half_a_sample_waits_for_its_rest_and_a_new_wire_sends_it_whole():
    async def body(session, wire):
        for data in (b"\0" * 33, b"", b"\0", b"\0" * 3):
            session.accept(data)
        assert session.received == 18
        session.attach(Wire())
        session.accept(b"\0" * 2)
        assert session.received == 19
        session.accept(b"\0")
        session.end()
        await work(session)
        assert session.over and session.received == 19

    on_loop(body)


def test_an_empty_stream_has_an_empty_answer():
    async def body(session, wire):
        session.end()
        await work(session)
        assert session.over and '"turns":[]' in session.outbox.take()

    on_loop(body)


def test_a_new_wire_takes_over():
    async def body(session, wire):
        second = Wire()
        session.attach(second)
        assert wire.why == "replaced" and session.wire is second
        assert not session.detach(wire) and session.detach(second)

    on_loop(body)


def test_what_is_dropped_takes_no_room():
    async def body(session, wire):
        session.accept(SECOND)
        session.fail(Refusal("internal", "x"))
        assert wire.why == "internal" and not session.going and session.buffered == 0.0
        assert session.digest() and session.stream.waiting == 0

    on_loop(body)


def test_the_secret():
    async def body(session, wire):
        assert session.knows(session.secret)
        assert not session.knows("") and not session.knows("é") and not session.knows(session.name)

    on_loop(body)


def test_lag_is_from_the_sample_that_completes_a_step(monkeypatch):
    now = 100.0
    monkeypatch.setattr("diarist.server.sessions.time", SimpleNamespace(monotonic=lambda: now))
    arrivals = Arrivals()
    assert arrivals.lag(1.0) == 0.0
    for number in range(1, 101):
        arrivals.add(number / 100)
    now = 100.25
    arrivals.add(2.0)
    assert arrivals.lag(0.5) == 0.25 and arrivals.lag(2.0) == 0.0


def test_marks_of_arrival_do_not_grow_with_the_number_of_messages():
    arrivals = Arrivals()
    for number in range(16_000):
        arrivals.add(number / 16_000)
    assert len(arrivals._marks) <= 101
