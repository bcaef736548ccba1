"""SubRip subtitles: a numbered cue a turn, with the speaker as its text. Turns at the same time are cues of their own.

Not read back: the text of a subtitle is what was said, and who said it stands there by no rule.
"""

from __future__ import annotations

from diarist.core.types import Diarization
from diarist.formats.fields import clock, one_line


def dumps(diarization: Diarization) -> str:
    """Cues in order of start."""
    return "\n".join(
        f"{number}\n{clock(t.start, ',')} --> {clock(t.end, ',')}\n{_text(t.speaker)}\n"
        for number, t in enumerate(diarization, 1)
    )


def _text(speaker: str) -> str:
    """A cue must not be empty, nor look like a line of times."""
    return one_line(speaker).replace("-->", "->") or "_"
