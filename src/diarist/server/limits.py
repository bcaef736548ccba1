"""How much a client may ask of a server."""

from __future__ import annotations

from dataclasses import dataclass

from diarist.core.config import option
from diarist.errors import ConfigError

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
"""Sample rates that a hello may declare."""
MOST_CHANNELS = 16
MOST_UNREAD = 4 << 20
"""Bytes of updates that wait for a client who is connected and reads too slowly."""
MOST_KEPT = 2 << 20
"""Bytes of updates that are kept for a client who has not said that it has them."""
MOST_RAW = 4 << 20
"""Bytes of sound as it came that wait to be decoded: beyond, the socket is not read."""

MOST_WAITING = 14_400.0
"""Seconds of sound of all sessions that wait to be looked at, 0.9 GB: beyond, those who were told to wait are cut."""


@dataclass(frozen=True)
class Limits:
    """What one session may take, and how many there may be. Times in seconds; `buffered` is sound not yet looked at.

    Raises `ConfigError` where a warning would come after the cut.
    """

    max_sessions: int = option(64, "at most so many sessions, dropped ones that may be resumed included", low=1)
    max_length: float = option(86_400.0, "seconds of sound in a session; then it gets its answer and ends", low=1.0)
    max_message: int = option(1 << 20, "bytes in a message", low=1024, high=1 << 28)
    idle: float = option(120.0, "seconds without a message after which a session gets its answer and ends", low=0.1)
    hello_timeout: float = option(10.0, "seconds in which a client must say hello", low=0.1)
    warn_buffered: float = option(30.0, "seconds of sound waiting at which a writer is told to wait", low=0.5)
    max_buffered: float = option(600.0, "seconds of sound waiting at which a flooding writer is cut", low=1.0)
    warn_unread: float = option(5.0, "seconds without reading after which a slow reader is told", low=0.1)
    max_unread: float = option(30.0, "seconds without reading after which a slow reader is cut", low=0.2)
    grace: float = option(60.0, "seconds in which a dropped session can be resumed; 0 for none", low=0.0)
    max_upload: int = option(1 << 30, "bytes of a recording that is posted", low=1024)
    max_waiting: int = option(8, "recordings that may wait while one is heard", low=0)
    drain: float = option(30.0, "seconds in which sessions get their answers when the server stops", low=0.0)

    def __post_init__(self) -> None:
        for name in ("buffered", "unread"):
            told, cut = getattr(self, f"warn_{name}"), getattr(self, f"max_{name}")
            if told >= cut:
                raise ConfigError(f"'warn_{name}' ({told:g}) must be less than 'max_{name}' ({cut:g})")
