"""SegLST, the segment list of CHiME-7 and MeetEval: a JSON list, an utterance an object.

[{"session_id": "S02", "speaker": "P05", "start_time": 0.1, "end_time": 1.2, "words": "Hello."}]
"""

from __future__ import annotations

import json
from typing import Any

from diarist.core.types import Transcript, Utterance
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, uri_of
from diarist.words.formats.fields import ordered, speaker_of, time_of
from diarist.words.formats.json import parsed
from diarist.words.utterances import by_speaker


def dumps(transcript: Transcript) -> str:
    """A segment for each utterance of one speaker; what is unknown is left out."""
    segments = [
        {
            "session_id": transcript.uri,
            "speaker": utterance.speaker,
            "start_time": utterance.start,
            "end_time": utterance.end,
            "words": utterance.text,
        }
        for utterance in by_speaker(transcript).utterances
    ]
    known = ({key: value for key, value in segment.items() if value is not None} for segment in segments)
    rows = ",\n".join("  " + json.dumps(segment, ensure_ascii=False, allow_nan=False) for segment in known)
    return f"[\n{rows}\n]\n" if rows else "[]\n"


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """A transcript a session, in order of appearance. Raises `FormatError` with the place of what is wrong."""
    document = parsed(text, name)
    if not isinstance(document, list):
        raise FormatError(f"{name}: SegLST is a JSON list of segments, not {type(document).__name__}")
    sessions: dict[str, list[Utterance]] = {}
    for index, item in enumerate(document):
        where = f"{name}: segment {index} "
        if not isinstance(item, dict):
            raise FormatError(f"{where}must be an object, not {type(item).__name__}")
        session = item.get("session_id")
        sessions.setdefault(uri_of(name) if session is None else str(session), []).append(_utterance(item, where))
    return [Transcript(tuple(utterances), uri) for uri, utterances in sessions.items()]


def _utterance(item: dict[str, Any], where: str) -> Utterance:
    words = item.get("words")
    if not isinstance(words, str):
        raise FormatError(f"{where}must have its 'words' as a text")
    start, end = ordered(*(time_of(item.get(key), where, key) for key in ("start_time", "end_time")))
    return Utterance(words.strip(), start, end, speaker_of(item.get("speaker")))
