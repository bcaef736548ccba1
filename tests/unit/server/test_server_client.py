"""The client by itself: messages to updates, addresses, errors in words. With a server: `test_e2e_server.py`."""

import asyncio
import json

import pytest

from diarist.core.types import Diarization, Turn, Update
from diarist.server import messages
from diarist.server.client import ACK_EVERY, LiveClient, ServerError, _is_here, read_update

pytest.importorskip("websockets")


def test_an_update_comes_back_as_it_was_said():
    turn = Turn(0.5, 1.25, "speaker0", 0.75)
    said = Update((turn,), (turn,), 2.0, 1.5, {"speaker1": "speaker0"}, Diarization((turn,), "me", duration=2.0))
    back = read_update(json.loads(messages.update("me", 1, said)))
    assert (back.final, back.tentative, back.until, back.settled) == ((turn,), (turn,), 2.0, 1.5)
    assert back.renamed == {"speaker1": "speaker0"} and back.session.turns == (turn,) and back.session.uri == "me"
    assert read_update(json.loads(messages.update("me", 1, Update((), (), 1.0)))).session is None


@pytest.mark.parametrize(
    ("url", "here"),
    [("ws://127.0.0.1:7", True), ("wss://[::1]:7/x", True), ("ws://localhost", True), ("ws://example.org", False)],
)
def test_no_proxy_leads_to_this_machine(url, here):
    assert _is_here(url) is here


def answering(*texts):
    """What a client says of a server that answers so."""
    from websockets.asyncio.server import serve

    async def answer(socket):
        await socket.recv()
        for text in texts:
            await socket.send(text)

    async def go():
        async with serve(answer, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            client = LiveClient(f"ws://127.0.0.1:{port}/", patience=0.3)
            with pytest.raises(ServerError) as error:
                await client.stream([], lambda update: None)
            return error.value

    return asyncio.run(asyncio.wait_for(go(), 20))


def test_a_server_that_is_not_ours_is_said_to_be_so():
    assert "does not speak our protocol" in str(answering("hello there"))
    assert "does not speak our protocol" in str(answering("[1]"))
    assert "does not speak our protocol" in str(answering('{"type": "greetings"}'))
    assert "closed the line" in str(answering())


def test_errors_are_told_with_their_code():
    error = answering('{"type": "error", "code": "too_many_sessions", "message": "all 2 sessions are taken"}')
    assert error.code == "too_many_sessions" and "all 2 sessions are taken" in str(error)


def test_a_server_that_has_closed_before_all_was_read_is_no_line_that_dropped():
    from websockets.asyncio.server import serve

    asked, told, heard = [], [], []
    updates = [messages.update("me", n, Update((), (), n / 2, n / 2)) for n in range(1, ACK_EVERY + 2)]
    updates.append(messages.update("me", len(updates) + 1, Update((), (), 9.0, 9.0, {}, Diarization((), "me"))))
    limits = {"warn_buffered": 30.0}

    async def answer(socket):
        asked.append(await socket.recv())
        await socket.send(messages.welcome("x", "y", resumed=False, received=0, limits=limits))
        for text in updates:
            await socket.send(text)

    async def go():
        async with serve(answer, "127.0.0.1", 0, compression=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            client = LiveClient(url, patience=0.3, warned=told.append)
            return await client.stream([], heard.append)

    assert asyncio.run(asyncio.wait_for(go(), 20)).uri == "me"
    assert len(asked) == 1 and told == [] and len(heard) == len(updates)
