"""WebVTT: cues with `[SPEAKER_00]: ` before what was said, which players show; voice tags (`<v Ann>`) are read too.

https://www.w3.org/TR/webvtt1/
"""

from __future__ import annotations

import html

from diarist.core.types import Transcript
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, uri_of
from diarist.words.formats import cues


def dumps(transcript: Transcript) -> str:
    """Cues in order of start. Raises `UsageError` where nothing is known of the times."""
    written = cues.written(transcript, "vtt", ".")
    return "WEBVTT\n" + "".join(f"\n{times}\n{html.escape(said, quote=False)}\n" for times, said in written)


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named after the file, an utterance a cue. Raises `FormatError` with `name:line`."""
    if not text.removeprefix("\ufeff").startswith("WEBVTT"):
        raise FormatError(f"{name}:1: a WebVTT file begins with WEBVTT")
    return [Transcript(tuple(cues.read(text, name, "vtt")), uri_of(name))]
