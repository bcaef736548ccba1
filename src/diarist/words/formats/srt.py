"""SubRip subtitles: numbered cues, `[SPEAKER_00]: ` before what was said."""

from __future__ import annotations

from diarist.core.types import Transcript
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, uri_of
from diarist.words.formats import cues


def dumps(transcript: Transcript) -> str:
    """Cues in order of start. Raises `UsageError` where nothing is known of the times."""
    return "\n".join(
        f"{number}\n{times}\n{said}\n" for number, (times, said) in enumerate(cues.written(transcript, "srt", ","), 1)
    )


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named after the file, an utterance a cue. Raises `FormatError` with `name:line`."""
    utterances = tuple(cues.read(text, name, "srt"))
    if not utterances and text.strip("\ufeff \r\n\t"):
        raise FormatError(f"{name}: no subtitles: there is no line as 00:00:01,000 --> 00:00:02,500")
    return [Transcript(utterances, uri_of(name))]
