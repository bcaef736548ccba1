"""Where the answers of a stream go: a sink takes every `Update` (`write`) and is told when no more will come (`close`).

| sink | what it makes of them |
|---|---|
| `RttmWriter` | a file of RTTM that is valid at any moment, replaced at the end by the session clustered anew |
| `RttmLines` | RTTM lines into a text stream, each once it is settled |
| `JsonLines` | every update as a line of JSON |
| `ConsoleLanes`, `ConsoleLines` | coloured lanes on a terminal (extra `live`); plain lines |
| `LivePlot` | a picture that follows, in a window or a file (extra `plot`) |
| `Accumulator` | the `Diarization` so far |
"""

from diarist.audio.sinks.accumulator import Accumulator
from diarist.audio.sinks.console import ConsoleLanes, ConsoleLines
from diarist.audio.sinks.jsonl import JsonLines
from diarist.audio.sinks.pieces import Joiner
from diarist.audio.sinks.plot import LivePlot
from diarist.audio.sinks.rttm import RttmLines, RttmWriter

__all__ = [
    "Accumulator",
    "ConsoleLanes",
    "ConsoleLines",
    "Joiner",
    "JsonLines",
    "LivePlot",
    "RttmLines",
    "RttmWriter",
]
