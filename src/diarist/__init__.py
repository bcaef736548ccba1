"""diarist: who spoke when.

    import diarist

    result = diarist.diarize("meeting.m4a")
    for turn in result:
        print(turn.start, turn.end, turn.speaker)

The door is lazy: `import diarist` loads no engine.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diarist.core.types import Diarization, Speaker, SpeakerBounds, Turn, Waveform
    from diarist.errors import DiaristError
    from diarist.pipelines.offline import Diarizer, diarize

__version__ = "0.1.0"

_DOORS = {
    "Diarization": "diarist.core.types",
    "Diarizer": "diarist.pipelines.offline",
    "DiaristError": "diarist.errors",
    "Speaker": "diarist.core.types",
    "SpeakerBounds": "diarist.core.types",
    "Turn": "diarist.core.types",
    "Waveform": "diarist.core.types",
    "diarize": "diarist.pipelines.offline",
}

__all__ = [
    "DiaristError",
    "Diarization",
    "Diarizer",
    "Speaker",
    "SpeakerBounds",
    "Turn",
    "Waveform",
    "__version__",
    "diarize",
]


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'diarist' has no attribute '{name}'")
    return getattr(importlib.import_module(_DOORS[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
