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
    from diarist.core.types import Diarization, Speaker, SpeakerBounds, Turn, Update, Waveform
    from diarist.errors import DiaristError
    from diarist.pipelines.live_config import LiveConfig
    from diarist.pipelines.offline import Diarizer, diarize
    from diarist.pipelines.streaming import LiveDiarizer

__version__ = "0.1.0"

_DOORS = {
    "Diarization": "diarist.core.types",
    "Diarizer": "diarist.pipelines.offline",
    "DiaristError": "diarist.errors",
    "LiveConfig": "diarist.pipelines.live_config",
    "LiveDiarizer": "diarist.pipelines.streaming",
    "Speaker": "diarist.core.types",
    "SpeakerBounds": "diarist.core.types",
    "Turn": "diarist.core.types",
    "Update": "diarist.core.types",
    "Waveform": "diarist.core.types",
    "diarize": "diarist.pipelines.offline",
}

__all__ = [
    "DiaristError",
    "Diarization",
    "Diarizer",
    "LiveConfig",
    "LiveDiarizer",
    "Speaker",
    "SpeakerBounds",
    "Turn",
    "Update",
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
