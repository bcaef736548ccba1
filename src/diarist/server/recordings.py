"""Whole recordings over HTTP: a file is posted, and the answer comes back once it has been heard to its end.

One recording is heard at a time, with all the threads that the server was started with; others wait their turn.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from diarist import formats
from diarist.core.config import nearest
from diarist.core.events import Event
from diarist.core.types import Diarization
from diarist.errors import Cancelled, DiaristError, InputError, UsageError
from diarist.server.limits import Limits
from diarist.server.messages import Refusal

LIVE = "clustering"
"""The engine that hears streams, too."""
_BOUNDS = ("num_speakers", "min_speakers", "max_speakers")
_IN_MEMORY = 1 << 22  # bytes of a recording that need no file
_LOOK = 0.05  # seconds between two looks at what is still being heard


class Recordings:
    """`diarize(file, uri=..., hooks=..., num_speakers=...)` of the engine `engine`, for everybody who posts one."""

    def __init__(self, diarize: Callable[..., Diarization], engine: str, limits: Limits) -> None:
        self._diarize, self.engine, self._limits = diarize, engine, limits
        self._turn = ThreadPoolExecutor(1, thread_name_prefix="diarist-recording")
        self._stopped = threading.Event()
        self.busy = 0  # recordings that are heard, or wait

    def check_live(self) -> None:
        """Raises `Refusal` where the engine takes no streams."""
        if self.engine != LIVE:
            raise Refusal(
                "not_allowed",
                f"this server runs --engine {self.engine}, for whole recordings only: post them to /v1/recordings; "
                "a server without --engine takes live streams",
            )

    async def answer(self, body: AsyncIterator[bytes], asked: Mapping[str, str]) -> tuple[int, str, bool]:
        """`(status, text, whether it is JSON)` for a recording that comes in `body`, and what is `asked` of it: `uri`,
        `format`, and bounds on speakers."""
        if self.busy > self._limits.max_waiting:
            return _said(503, f"{self.busy} recordings are heard or wait: try again later")
        self.busy += 1
        try:
            options, form = _options(asked)
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
                if not await self._received(body, file):
                    return _said(413, f"a recording has at most {self._limits.max_upload} bytes here (--max-upload)")
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(self._turn, lambda: self._heard(file, options))
            return 200, formats.dumps(result, form), form == "json"
        except UsageError as error:
            return _said(400, str(error))
        except InputError as error:
            return _said(422, str(error))
        except Cancelled:
            return _said(503, "the server stops")
        except DiaristError as error:
            return _said(500, str(error))
        finally:
            self.busy -= 1

    async def drain(self, until: float) -> None:
        """Let what is being heard come to its end by that time, and stop the rest."""
        while self.busy and time.monotonic() < until:
            await asyncio.sleep(_LOOK)
        self._stopped.set()

    def stop(self) -> None:
        """No more recordings, and none is waited for."""
        self._stopped.set()
        self._turn.shutdown(wait=True, cancel_futures=True)

    async def _received(self, body: AsyncIterator[bytes], file: IO[bytes]) -> bool:
        """Whether all of it came, within the limit."""
        size = 0
        async for block in body:
            size += len(block)
            if size > self._limits.max_upload:
                return False
            file.write(block)
        file.seek(0)
        return True

    def _heard(self, file: Any, options: Mapping[str, Any]) -> Diarization:
        def goes_on(event: Event) -> bool:
            return not self._stopped.is_set()

        if self._stopped.is_set():
            raise Cancelled("the server stops")
        return self._diarize(file, hooks=(goes_on,), **options)


def _options(asked: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Arguments of the call, and the format of its answer. Raises `UsageError`."""
    known = (*_BOUNDS, "uri", "format")
    for name in asked:
        if name not in known:
            raise UsageError(f"unknown parameter '{name}'{nearest(name, known)}")
    form = asked.get("format", "json")
    if form not in formats.FORMATS:
        raise UsageError(f"unknown format '{form}'{nearest(form, formats.FORMATS)}")
    options: dict[str, Any] = {"uri": asked.get("uri") or "recording"}
    for name in _BOUNDS:
        if name in asked:
            try:
                options[name] = int(asked[name])
            except ValueError:
                raise UsageError(f"'{name}' is a whole number, not '{asked[name]}'") from None
    return options, form


def _said(status: int, why: str) -> tuple[int, str, bool]:
    return status, json.dumps({"error": " ".join(why.split())}), True
