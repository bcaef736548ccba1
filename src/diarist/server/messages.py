"""What goes over a session's web socket, as `docs/protocol/asyncapi.yaml` has it: reading what a client says, writing
what the server says, and the codes with which a socket is closed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from diarist.audio.sinks.jsonl import to_dict
from diarist.core.config import from_dict, nearest, option
from diarist.core.types import Diarization, Update
from diarist.errors import ConfigError, DiaristError
from diarist.server.limits import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS

VERSION = 1
"""Of the protocol: it changes when a client of the old one would go wrong."""
ENCODINGS = {"s16le": "<i2", "f32le": "<f4"}
"""How samples are written, and numpy's name of it."""
OUTPUTS = ("json", "rttm")
_LONGEST_URI = 200

CLOSE_CODES = {
    "unexpected_binary": 1003,
    "bad_json": 1007,
    "bad_audio": 1007,
    "message_too_big": 1009,
    "internal": 1011,
    "shutdown": 1012,
    "too_many_sessions": 1013,
    "bad_hello": 4400,
    "bad_message": 4400,
    "unsupported_version": 4400,
    "unauthorized": 4401,
    "not_allowed": 4403,
    "unknown_session": 4404,
    "hello_timeout": 4408,
    "idle": 4408,
    "replaced": 4409,
    "updates_gone": 4410,
    "too_long": 4413,
    "too_fast": 4429,
    "slow_reader": 4430,
}
"""Why a socket is closed, and the code that says so: RFC 6455's where it has one, from 4400 up as HTTP's less 4000."""


class Refusal(DiaristError):
    """What a client is told before its socket is closed: a `code` of `CLOSE_CODES` and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def close_code(self) -> int:
        """The code of the close frame."""
        return CLOSE_CODES[self.code]


@dataclass(frozen=True)
class Hello:
    """The first message of a new session. What is None is as the server has it."""

    version: int = option(VERSION, "of the protocol")
    uri: str = option("stream", "name of the stream in answers")
    sample_rate: int = option(16_000, "samples per second and channel", low=LOWEST_RATE, high=HIGHEST_RATE)
    encoding: str = option("s16le", "how samples are written", choices=(*ENCODINGS, "f32"))
    channels: int = option(1, "interleaved channels, which are mixed", low=1, high=MOST_CHANNELS)
    output: str = option("json", "what comes back", choices=OUTPUTS)
    token: str | None = option(None, "where the server asks for one")
    preset: str | None = option(None, "a live preset")
    kind: str | None = option(
        None, "who speaks when, or only when somebody does", choices=("diarization", "speech", None)
    )
    latency: float | str | None = option(None, "seconds from a sound to its final answer, 'min' or 'max'")
    tau_active: float | None = option(None, "as LiveConfig has it")
    rho_update: float | None = option(None, "as LiveConfig has it")
    delta_new: float | None = option(None, "as LiveConfig has it")
    max_speakers: int | None = option(None, "as LiveConfig has it")

    @property
    def frame_size(self) -> int:
        """Bytes of one sample of all channels."""
        return (2 if self.encoding == "s16le" else 4) * self.channels

    @property
    def changes(self) -> dict[str, Any]:
        """What of the live configuration is asked for."""
        names = ("latency", "tau_active", "rho_update", "delta_new", "max_speakers")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


DIART = Hello(encoding="f32le", output="rttm")
"""What a client of diart's means, who says no hello: text messages of float32 in base64, 16 kHz."""


@dataclass(frozen=True)
class Resume:
    """The first message of a socket that goes on with a session."""

    version: int = option(VERSION, "of the protocol")
    id: str = option("", "of the session, as welcome gave it")
    secret: str = option("", "as welcome gave it")
    updates: int = option(0, "seq of the last update that the client has; 0 for none", low=0)
    token: str | None = option(None, "where the server asks for one")


@dataclass(frozen=True)
class Ack:
    """The client has every update up to `updates`: the server need not keep them for it."""

    updates: int = option(0, "seq of the last update that the client has", low=0)


@dataclass(frozen=True)
class End:
    """No more sound will come: the answer is wanted."""


FIRST: Mapping[str, type] = {"hello": Hello, "resume": Resume}
LATER: Mapping[str, type] = {"end": End, "ack": Ack}
Message = TypeVar("Message")


def parse(text: str, known: Mapping[str, type], *, first: bool) -> Any:
    """A client's text message as one of the `known` kinds. Raises `Refusal`."""
    bad = "bad_hello" if first else "bad_message"
    try:
        message = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_json", f"not a JSON message: {str(error)[:120]}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Refusal(bad, f"a message is an object with a 'type': {', '.join(known)}")
    kind = message.pop("type")
    if kind not in known:
        raise Refusal(bad, f"a message of type {kind[:40]!r} is not known here{nearest(kind[:40], known)}")
    return _read(known[kind], message, bad)


def _read(kind: type[Message], values: dict[str, Any], bad: str) -> Message:
    if "version" in {f.name for f in fields(kind)}:  # type: ignore[arg-type]
        if values.get("version") != VERSION:
            raise Refusal("unsupported_version", f"'version' must be {VERSION}, not {values.get('version')!r:.40}")
    try:
        message = from_dict(kind, values)
    except ConfigError as error:
        raise Refusal(bad, str(error)[:300]) from error
    if isinstance(message, Hello):
        _check_uri(message.uri)
    return message


def _check_uri(uri: str) -> None:
    if not 0 < len(uri) <= _LONGEST_URI or not uri.isprintable() or not uri.strip():
        raise Refusal("bad_hello", f"'uri' must be 1 to {_LONGEST_URI} printable characters")


def _no_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def from_base64(text: str) -> bytes:
    """The sound of a text message of diart's. Raises `Refusal`."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=False)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Refusal("bad_audio", f"neither a hello nor float32 samples in base64: {error}") from error


def encode(kind: str, **values: Any) -> str:
    """A message of the server's as text."""
    return json.dumps({"type": kind, **values}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def welcome(id: str, secret: str, *, resumed: bool, received: int, **facts: Any) -> str:
    """The answer to a hello or resume: `received` is how many samples (of each channel) the server has."""
    return encode(
        "welcome",
        version=VERSION,
        id=id,
        secret=secret,
        resumed=resumed,
        received=received,
        **facts,
    )


def update(uri: str, seq: int, said: Update) -> str:
    """An update of the stream, number `seq`; the last one has the `session`. It is a line of `diarist stream`'s."""
    return json.dumps(to_dict(said, uri, seq), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def rttm(uri: str, said: Update) -> str:
    """The final turns of an update as RTTM lines; who was renamed stands in a comment before them. May be empty."""
    renamed = "".join(f";; renamed {gone} {kept}\n" for gone, kept in said.renamed.items())
    return renamed + Diarization(said.final, uri).to_rttm()


def session_rttm(seq: int, session: Diarization) -> str:
    """With the end of a session that gets RTTM lines: all of it clustered anew, which may differ from the lines."""
    return encode("session", seq=seq, rttm=session.to_rttm())
