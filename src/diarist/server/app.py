"""The routes: a web socket a session at `/v1/stream`, diart's clients at `/`, whole recordings at `/v1/recordings`,
`/health` and `/metrics`."""

from __future__ import annotations

from typing import Any

from diarist import __version__
from diarist.server.access import Access
from diarist.server.connection import Connection
from diarist.server.extra import require
from diarist.server.hub import Hub
from diarist.server.messages import VERSION

STRANGERS = 64
"""Sockets that may be open beyond the number of sessions: those that have not said hello yet, or are closing."""


def build(hub: Hub, access: Access) -> Any:
    """The FastAPI application, for a server that has `scope["diarist.line"]`. Raises `ExtraError` without FastAPI."""
    require()
    from fastapi import FastAPI
    from starlette.routing import Route, WebSocketRoute

    routes = Routes(hub, access)
    table = [
        WebSocketRoute("/v1/stream", routes.stream),
        WebSocketRoute("/", routes.diart),
        Route("/v1/recordings", routes.recordings, methods=["POST"]),
        Route("/health", routes.health),
        Route("/metrics", routes.metrics),
    ]
    return FastAPI(
        title="diarist",
        version=__version__,
        routes=table,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )


class Routes:
    """What is answered where. Requests and sockets are Starlette's."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub, self._access = hub, access
        self._sockets: set[Any] = set()

    async def stream(self, socket: Any) -> None:
        """A session, or more of one."""
        await self._serve(socket, diart=False)

    async def diart(self, socket: Any) -> None:
        """As `stream`, and clients of diart's are served too."""
        await self._serve(socket, diart=True)

    async def _serve(self, socket: Any, *, diart: bool) -> None:
        headers = socket.headers
        if not self._access.admits(headers.get("origin"), headers.get("host")):
            await _deny(socket, 403, "this origin may not connect")
        elif self._hub.draining:
            await _deny(socket, 503, "the server stops")
        elif len(self._sockets) >= self._hub.limits.max_sessions + STRANGERS:
            await _deny(socket, 503, "no room: try again later")
        else:
            self._sockets.add(socket)
            try:
                await socket.accept()
                await Connection(socket, socket.scope["diarist.line"], self._hub, self._access, diart=diart).run()
            finally:
                self._sockets.discard(socket)

    async def recordings(self, request: Any) -> Any:
        """The answer to a recording that is posted."""
        from starlette.responses import JSONResponse, Response

        headers, hub = request.headers, self._hub
        if not self._access.admits(headers.get("origin"), headers.get("host")):
            return JSONResponse({"error": "this origin may not post"}, 403)
        if not self._access.may(None, headers.get("authorization")):
            return JSONResponse({"error": "this server asks for a token"}, 401, {"WWW-Authenticate": "Bearer"})
        if hub.draining or hub.recordings is None:
            return JSONResponse({"error": "the server stops"}, 503)
        status, text, is_json = await hub.recordings.answer(request.stream(), request.query_params)
        return Response(text, status, media_type="application/json" if is_json else "text/plain; charset=utf-8")

    async def health(self, _: Any) -> Any:
        """Whether the server takes sessions: 200, or 503 where it stops."""
        from starlette.responses import JSONResponse

        hub = self._hub
        facts = {
            "status": "stopping" if hub.draining else "ok",
            "version": __version__,
            "protocol": VERSION,
            "sessions": hub.num_going,
            "max_sessions": hub.limits.max_sessions,
        }
        return JSONResponse(facts, 503 if hub.draining else 200)

    async def metrics(self, request: Any) -> Any:
        """Prometheus' text format, for those who have the token."""
        from starlette.responses import PlainTextResponse

        if not self._access.may(None, request.headers.get("authorization")):
            return PlainTextResponse("this server asks for a token\n", 401, {"WWW-Authenticate": "Bearer"})
        return PlainTextResponse(self._hub.metrics.text(), media_type="text/plain; version=0.0.4")


async def _deny(socket: Any, status: int, why: str) -> None:
    """Answer the handshake with an HTTP error."""
    from starlette.responses import PlainTextResponse

    await socket.send_denial_response(PlainTextResponse(f"{why}\n", status))
