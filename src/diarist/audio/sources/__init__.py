"""Where live sound comes from: sources are iterators of mono float32 blocks `(num_samples,)` at 16 kHz.

| source | what it reads |
|---|---|
| `FileSource` | a recording, as fast as it can be used or paced in real time |
| `MicrophoneSource` | an input device, by name or number (extra `mic`) |
| `PcmSource` | plain samples, or a container, from standard input or any binary file |
| `WebSocketSource`, `WebSocketServerSource` | a web socket that is called, or that one client calls (extra `serve`) |
| `UrlSource` | whatever FFmpeg opens: http, hls, rtsp, udp, tcp, ... |
| `IteratorSource` | any iterator of numpy blocks |

`open_source("microphone:2")` makes the one that a word on a command line means; `blocks` has what can be done to
blocks on their way (`resample`, `rechunk`, `adjust_volume`, `paced`), `ReadAhead` reads in a thread of its own.
"""

from diarist.audio.sources.ahead import ReadAhead
from diarist.audio.sources.files import FileSource
from diarist.audio.sources.iterators import IteratorSource
from diarist.audio.sources.microphone import MicrophoneSource
from diarist.audio.sources.opening import open_source
from diarist.audio.sources.pcm import PcmSource
from diarist.audio.sources.source import BlockSource
from diarist.audio.sources.urls import UrlSource
from diarist.audio.sources.websocket import WebSocketServerSource, WebSocketSource

__all__ = [
    "BlockSource",
    "FileSource",
    "IteratorSource",
    "MicrophoneSource",
    "PcmSource",
    "ReadAhead",
    "UrlSource",
    "WebSocketServerSource",
    "WebSocketSource",
    "open_source",
]
