"""Sound from a web socket, RTTM back to it: `python examples/websocket_server.py [PORT]`. Needs the extra `serve`.

For one client at a time, as in diart's README; for many, with resuming, limits and metrics, there is `diarist serve`.
"""

import sys

from diarist import Diarization
from diarist.audio.sources import WebSocketServerSource
from diarist.pipelines.flow import updates
from diarist.pipelines.streaming import LiveDiarizer

source = WebSocketServerSource("localhost", int(sys.argv[1]) if len(sys.argv) > 1 else 7007)
print(f"listening on ws://localhost:{source.port}", flush=True)
for update in updates(source, LiveDiarizer().start(source.uri)):
    if update.final:  # ignore non-speech
        source.send(Diarization(update.final, source.uri).to_rttm())
