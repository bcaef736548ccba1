"""A server on toy models in this process, and clients that say what they like.

`python tests/server_house.py serve ...` is `diarist serve ...` with voices that are tones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.types import Turn, Update
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.live_presets import resolve_live
from diarist.pipelines.streaming import LiveDiarizer
from toy_house import recording

PROTOCOL = Path(__file__).parents[1] / "docs" / "protocol" / "asyncapi.yaml"
CONFIG = resolve_live()


def sound(num_turns: int = 6, seed: int = 0) -> np.ndarray:
    """Some people talking, float32 at 16 kHz."""
    return recording(num_turns, 2, seed)[0]


def alone(samples: np.ndarray, **options: Any) -> Update:
    """What a stream by itself says: all finals, and the session."""
    live = LiveDiarizer(config=CONFIG, segmentation=ToySegmentation(), embedding=ToyEmbedding(), **options)
    stream = live.start()
    first = stream.push(samples)
    last = stream.finish()
    return Update((*first.final, *last.final), (), last.until, last.settled, last.renamed, last.session)


class House:
    """A running server."""

    def __init__(self, hub: Any, server: Any, port: int, scheme: str) -> None:
        self.hub, self.server, self.port = hub, server, port
        self.url = f"{scheme}://127.0.0.1:{port}/v1/stream"
        self.web = f"{scheme.replace('ws', 'http')}://127.0.0.1:{port}"


@contextlib.contextmanager
def house(
    *,
    token: str | None = None,
    origins: tuple[str, ...] = (),
    output: Path | None = None,
    certificate: tuple[Path, Path] | tuple[None, None] = (None, None),
    segmentation: Any = None,
    fixed: bool = False,
    method: Any = None,
    engine: str = "clustering",
    on_hub: Callable[[Any], None] = lambda hub: None,
    **limits: Any,
) -> Iterator[House]:
    """A server in a thread, with toy models and these limits; it is stopped as by a SIGTERM."""
    from diarist.server.access import Access
    from diarist.server.engines import Engines
    from diarist.server.hub import Hub
    from diarist.server.limits import Limits
    from diarist.server.metrics import Metrics
    from diarist.server.recordings import Recordings
    from diarist.server.serving import Server, listen

    engines = Engines(CONFIG, fixed=fixed, segmentation=segmentation or ToySegmentation(), embedding=ToyEmbedding())
    engines.load()
    recordings = None if method is None else Recordings(method, engine, Limits(**limits))
    hub = Hub(engines, Limits(**limits), Metrics(), num_workers=2, output=output, recordings=recordings)
    on_hub(hub)
    server = Server(hub, Access(token, origins), certificate=certificate[0], key=certificate[1], drain=hub.limits.drain)
    listening, started = listen("127.0.0.1", 0), threading.Event()
    thread = threading.Thread(target=server.run, args=(listening, started.set))
    thread.start()
    try:
        assert started.wait(20)
        yield House(hub, server, listening[0].getsockname()[1], "ws" if certificate[0] is None else "wss")
    finally:
        server.stop()
        thread.join(60)
        for one in listening:
            one.close()
        assert not thread.is_alive()


class Caller:
    """A socket of a client: everything that comes is read at once, kept, and checked against the protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.news = asyncio.Event()
        self.reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            async for text in self.socket:
                self.hear(text)

    def hear(self, text: str) -> None:
        if text.startswith("{"):
            message = json.loads(text)
            check(message)
            self.messages.append(message)
        else:
            check_lines(text)
            self.lines.append(text)
        self.news.set()

    async def say(self, kind: str, /, **values: Any) -> None:
        message = {"type": kind, **values}
        check(message)
        await self.socket.send(json.dumps(message))

    async def hello(self, **values: Any) -> dict[str, Any]:
        await self.say("hello", version=1, **{"encoding": "f32le", **values})
        return await self.until("welcome", "error")

    async def resume(self, welcome: dict[str, Any], updates: int) -> dict[str, Any]:
        await self.say("resume", version=1, id=welcome["id"], secret=welcome["secret"], updates=updates)
        return await self.until("welcome", "error")

    async def until(self, *kinds: str, seconds: float = 20.0) -> dict[str, Any]:
        """The first message of one of these types, or with one of these codes."""

        async def found() -> dict[str, Any]:
            while True:
                for message in self.messages:
                    if {message["type"], message.get("code")} & set(kinds):
                        return message
                self.news.clear()
                await self.news.wait()

        return await asyncio.wait_for(found(), seconds)

    async def end(self, seconds: float = 20.0) -> int:
        """The code with which the server closes."""
        await asyncio.wait_for(asyncio.shield(self.reading), seconds)
        return self.socket.close_code

    async def send(self, samples: np.ndarray, block: int = 1000) -> None:
        for first in range(0, len(samples), block):
            await self.socket.send(samples[first : first + block].tobytes())

    @property
    def updates(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == "update"]

    @property
    def final(self) -> list[Turn]:
        return finals(self.updates)


@contextlib.asynccontextmanager
async def call(url: str, **options: Any) -> Any:
    from websockets.asyncio.client import connect

    async with connect(url, max_size=None, proxy=None, compression=None, **options) as socket:
        caller = Caller(socket)
        try:
            yield caller
        finally:
            caller.reading.cancel()


def finals(updates: list[dict[str, Any]]) -> list[Turn]:
    return [Turn(t["start"], t["end"], t["speaker"], t["confidence"]) for u in updates for t in u["final"]]


def same(updates: list[dict[str, Any]], expected: Update) -> None:
    """What came over the wire is what a stream by itself says: nothing lost, nothing twice."""
    assert [update["seq"] for update in updates] == list(range(1, len(updates) + 1))
    said, known = [rounded(turn) for turn in finals(updates)], [rounded(turn) for turn in expected.final]
    assert said == known, f"{set(said) - set(known)} came, {set(known) - set(said)} did not"
    session = updates[-1]["session"]
    assert expected.session is not None
    assert [(t["start"], t["end"], t["speaker"]) for t in session["turns"]] == [rounded(t) for t in expected.session]


def rounded(turn: Turn) -> tuple[float, float, str]:
    return round(turn.start, 6), round(turn.end, 6), turn.speaker


def schemas() -> dict[str, Any]:
    """Validators of the protocol's messages by name."""
    import jsonschema
    import yaml

    document = yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))
    shared = {"components": document["components"]}
    return {
        name: jsonschema.Draft202012Validator({**message["payload"], **shared})
        for name, message in document["components"]["messages"].items()
    }


_validators: dict[str, Any] = {}


def check(message: dict[str, Any]) -> None:
    _validators.update(_validators or schemas())
    _validators[message["type"]].validate(message)


def check_lines(text: str) -> None:
    _validators.update(_validators or schemas())
    _validators["lines"].validate(text)


def furnish() -> None:
    """Have servers use toys."""
    from diarist.server import engines

    build = engines.Engines.__init__

    def toys(self: Any, *args: Any, **options: Any) -> None:
        build(self, *args, segmentation=ToySegmentation(), embedding=ToyEmbedding(), **options)

    engines.Engines.__init__ = toys  # type: ignore[method-assign]


if __name__ == "__main__":
    from diarist.cli.main import main

    furnish()
    raise SystemExit(main())
