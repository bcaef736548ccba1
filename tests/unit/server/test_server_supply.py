"""The sound of a client: read ahead, kept until it is not needed."""

import asyncio
import threading

import numpy as np
import pytest

from diarist.server.supply import AHEAD, LIVE_AHEAD, Supply

RATE = 1000


def blocks(number, size=100):
    for index in range(number):
        yield np.full(size, index, np.float32)


async def read(supply, sample=0):
    samples = []
    while (data := await supply.after(sample)) is not None:
        samples.append(np.frombuffer(data, "<f4"))
        sample += len(samples[-1])
    return np.concatenate([np.zeros(0, np.float32), *samples])


def run(body):
    return asyncio.run(asyncio.wait_for(body(), 60))


def test_all_of_it_and_again_from_anywhere():
    async def body():
        supply = Supply(blocks(5), RATE, live=False)
        whole = await read(supply)
        assert len(whole) == 500 and supply.complete and supply.failure is None
        np.testing.assert_array_equal(await read(supply, 123), whole[123:])
        supply.forget(250)
        np.testing.assert_array_equal(await read(supply, 200), whole[200:])
        with pytest.raises(LookupError):
            await supply.after(100)

    run(body)


@pytest.mark.parametrize("live", [False, True])
def test_a_file_is_read_a_little_ahead_a_live_source_far(live):
    taken = []

    def counted():
        for block in blocks(7000):
            taken.append(block)
            yield block

    async def body():
        supply = Supply(counted(), RATE, live=live)
        ahead = (LIVE_AHEAD if live else AHEAD) * RATE / 100
        while len(taken) < ahead:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # for more, if there were any
        assert len(taken) == ahead
        assert len(await read(supply)) == 700_000

    run(body)


def test_a_failure_comes_after_what_was_read():
    def broken():
        yield from blocks(2)
        raise OSError("gone")

    async def body():
        supply = Supply(broken(), RATE, live=True)
        assert len(await read(supply)) == 200
        assert str(supply.failure) == "gone"

    run(body)


def test_stopping_ends_it_even_where_a_read_is_stuck():
    stuck = threading.Event()

    def source():
        yield from blocks(1)
        stuck.wait(20)
        yield from blocks(1)

    async def body():
        supply = Supply(source(), RATE, live=True)
        assert len(await supply.after(0)) == 400
        supply.stop()
        assert await supply.after(100) is None
        stuck.set()
        await asyncio.sleep(0.05)
        assert await supply.after(100) is None

    run(body)
