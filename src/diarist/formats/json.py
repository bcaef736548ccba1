"""JSON: all that is known of a recording: turns with confidence, overlap, speakers with talk time and embedding,
warnings, duration, and where the answer comes from (the configuration's fingerprint is in `provenance`).

Times are in seconds, to the microsecond. Several documents may follow each other in one text.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from diarist.core.types import Diarization, Float32, Match, Speaker, Turn
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME

SCHEMA = "diarist/1"
"""Name and version of the schema; the version changes when a reader of the old one would go wrong."""


def dumps(diarization: Diarization) -> str:
    """One document, a line for each turn, overlap and speaker. Timings stay out: the same answer, the same bytes."""
    document = {
        "schema": SCHEMA,
        "uri": diarization.uri,
        "duration": _rounded(diarization.duration),
        "num_speakers": diarization.num_speakers,
        "speakers": _speakers(diarization),
        "turns": [
            {
                "start": _rounded(turn.start),
                "end": _rounded(turn.end),
                "speaker": turn.speaker,
                "confidence": _plain(round(float(turn.confidence), 4)),
            }
            for turn in diarization
        ],
        "overlaps": [{"start": _rounded(start), "end": _rounded(end)} for start, end in diarization.overlaps()],
        "warnings": list(diarization.warnings),
        "provenance": _plain({key: value for key, value in diarization.extra.items() if key != "timings"}),
    }
    return "{\n" + ",\n".join(f"  {_compact(key)}: {_laid_out(value)}" for key, value in document.items()) + "\n}\n"


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """The recordings of a text: one document, several in a row (or one a line), or an array of them.

    Raises `FormatError` with `name:line`, or naming the value that is wrong.
    """
    found: list[Diarization] = []
    for document in _documents(text.removeprefix("\ufeff"), name):
        for one in document if isinstance(document, list) else [document]:
            found.append(_diarization(one, f"{name}: "))
    return found


def _speakers(diarization: Diarization) -> list[dict[str, Any]]:
    talk = diarization.talk_time()
    total = sum(talk.values())
    num_turns = Counter(turn.speaker for turn in diarization)
    labels = [*talk, *(label for label in diarization.speakers if label not in talk)]
    return [
        {
            "label": label,
            "talk_time": _rounded(talk.get(label, 0.0)),
            "share": round(talk.get(label, 0.0) / total, 4) if total else 0.0,
            "num_turns": num_turns[label],
            **_named(diarization.speakers[label]),
            "embedding": _listed(diarization.speakers[label].embedding),
        }
        for label in labels
    ]


def _named(speaker: Speaker) -> dict[str, Any]:
    """What a gallery says of a voice, where one was asked; `probability` and `margin` are those of its name."""
    if not speaker.matches:
        return {}
    named = speaker.match
    of_name = {} if named is None else {"probability": named.probability, "margin": _rounded(speaker.margin)}
    return {**of_name, "matches": [{"name": m.name, "probability": m.probability} for m in speaker.matches]}


def _listed(embedding: Float32 | None) -> list[float | None] | None:
    """An embedding in the fewest digits that give the same float32; NaN and infinity, which JSON lacks, as null."""
    if embedding is None:
        return None
    return [float(str(value)) if np.isfinite(value) else None for value in np.asarray(embedding, np.float32)]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(float(seconds), 6)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _laid_out(value: Any) -> str:
    """A list of objects with one of them a line, everything else on its line."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"    {_compact(item)}" for item in value) + "\n  ]"
    return _compact(value)


def _plain(value: Any) -> Any:
    """A value with only what JSON knows in it: numpy's numbers and arrays as numbers and lists, what is no number as
    null, anything else by its text."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _documents(text: str, name: str) -> Iterator[Any]:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    position = 0
    while rest := text[position:].lstrip():
        position = len(text) - len(rest)
        try:
            document, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise FormatError(f"{name}:{error.lineno}: not valid JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{name}: not valid JSON: {error}") from error
        yield document


def _no_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _diarization(document: Any, where: str) -> Diarization:
    _expect(document, dict, where, "a document")
    schema = _get(document, "schema", str, where)
    if schema != SCHEMA:
        raise FormatError(f"{where}its schema is {schema!r}, this diarist reads {SCHEMA!r}")
    turns = [
        turn
        for index, item in enumerate(_get(document, "turns", list, where))
        for turn in _turn(item, f"{where}turns[{index}] ")
    ]
    speakers = [
        _speaker(item, f"{where}speakers[{index}] ")
        for index, item in enumerate(_get(document, "speakers", list, where, []))
    ]
    return Diarization(
        turns=tuple(turns),
        uri=_get(document, "uri", str, where),
        speakers={speaker.label: speaker for speaker in speakers},
        duration=None if document.get("duration") is None else _number(document, "duration", where),
        warnings=tuple(map(str, _get(document, "warnings", list, where, []))),
        extra=_get(document, "provenance", dict, where, {}),
    )


def _turn(item: Any, where: str) -> Iterator[Turn]:
    _expect(item, dict, where, "a turn")
    start, end = (_number(item, key, where) for key in ("start", "end"))
    if end < start:
        raise FormatError(f"{where}ends at {end:g} s, before its start at {start:g} s")
    if end > start:
        confidence = 1.0 if item.get("confidence") is None else _number(item, "confidence", where)
        yield Turn(start, end, _get(item, "speaker", str, where), confidence)


def _speaker(item: Any, where: str) -> Speaker:
    _expect(item, dict, where, "a speaker")
    values = _get(item, "embedding", (list, type(None)), where, None)
    label = _get(item, "label", str, where)
    matches = tuple(
        _match(match, f"{where}matches[{index}] ") for index, match in enumerate(_get(item, "matches", list, where, []))
    )
    if values is None:
        return Speaker(label, matches=matches)
    for value in values:
        _expect(value, (int, float, type(None)), where, "each number of an embedding")
    return Speaker(label, np.array([np.nan if value is None else value for value in values], np.float32), matches)


def _match(item: Any, where: str) -> Match:
    _expect(item, dict, where, "a match")
    return Match(_get(item, "name", str, where), _number(item, "probability", where))


def _number(item: dict[str, Any], key: str, where: str) -> float:
    try:
        value = float(_get(item, key, (int, float), where))
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise FormatError(f"{where}'{key}' must be a number, not {value}")
    return value


_REQUIRED: Any = object()


def _get(item: dict[str, Any], key: str, kind: Any, where: str, default: Any = _REQUIRED) -> Any:
    if key not in item and default is not _REQUIRED:
        return default
    if key not in item:
        raise FormatError(f"{where}lacks '{key}'")
    return _expect(item[key], kind, where, f"'{key}'")


def _expect(value: Any, kind: Any, where: str, what: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FormatError(f"{where}{what} cannot be {type(value).__name__} {repr(value)[:40]}")
    return value
