"""Who is speaking, from a microphone: `live_microphone.py [SECONDS]`. Needs the extras `mic` and `live`."""

import sys
import threading

from diarist.audio.sinks import ConsoleLanes, RttmWriter
from diarist.audio.sources import MicrophoneSource
from diarist.pipelines.flow import drain, updates
from diarist.pipelines.streaming import LiveDiarizer

live = LiveDiarizer(config={"latency": 2.0})
source = MicrophoneSource()
if len(sys.argv) > 1:
    threading.Timer(float(sys.argv[1]), source.close).start()

last = drain(
    updates(source, live.start(source.uri)),
    ConsoleLanes(source.uri, live=True),
    RttmWriter(source.uri, "microphone.rttm"),
)
for speaker, seconds in last.session.talk_time().items():
    print(f"{speaker}: {seconds:.0f} s")
