"""The source that a word on a command line means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from diarist.audio.opening import STDIN
from diarist.audio.sources.files import FileSource
from diarist.audio.sources.microphone import MicrophoneSource
from diarist.audio.sources.pcm import PcmSource
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.audio.sources.urls import UrlSource
from diarist.audio.sources.websocket import WebSocketServerSource, WebSocketSource
from diarist.core.time import SAMPLE_RATE
from diarist.errors import UsageError

MICROPHONE = "microphone"


@dataclass(frozen=True)
class SourceOptions:
    """What plain samples are, and how fast a file goes (None: as fast as it can)."""

    sample_rate: int = SAMPLE_RATE
    encoding: str = "s16le"
    num_channels: int = 1
    pace: float | None = None
    block: float = BLOCK


def open_source(word: str, options: SourceOptions | None = None) -> BlockSource:
    """The source of a word:

    - `microphone`, `microphone:2`, `microphone:USB` - an input device;
    - `-` - standard input;
    - `ws://host:port`, `wss://...` - a web socket to call;
    - `listen://host:port` - a web socket for one client to call;
    - any other `scheme://...` - what FFmpeg opens;
    - all else - a file.

    Raises `UsageError` for what cannot be meant, `AudioError` and `MissingError` as the source does.
    """
    options = options or SourceOptions()
    samples = (options.sample_rate, options.encoding, options.num_channels)
    scheme = (re.match(r"([a-z][a-z0-9+.-]+)://", word, re.IGNORECASE) or ["", ""])[1].lower()
    paced_only = options.pace is not None
    if word == MICROPHONE or word.startswith(MICROPHONE + ":"):
        device = word.partition(":")[2]
        source: BlockSource = MicrophoneSource(device or None, block=options.block)
    elif word == STDIN:
        source = PcmSource(None, *samples, block=options.block)
    elif scheme in ("ws", "wss"):
        source = WebSocketSource(word, *samples, block=options.block)
    elif scheme == "listen":
        host, port = _address(word)
        source = WebSocketServerSource(host, port, *samples, block=options.block)
    elif scheme and scheme != "file":
        source = UrlSource(word, block=options.block)
    else:
        return FileSource(word.removeprefix("file://"), pace=options.pace, block=options.block)
    if paced_only:
        raise UsageError(f"'{word}' comes at its own pace: only a file can be given one")
    return source


def _address(word: str) -> tuple[str, int]:
    try:
        parts = urlsplit(word)
        return parts.hostname or "127.0.0.1", 7007 if parts.port is None else parts.port
    except ValueError as error:
        raise UsageError(f"'{word}' is no address: give listen://HOST:PORT") from error
