"""NeMo's manifests: JSON, an object a line, each naming a recording and what is known of it.

{"audio_filepath": "a.wav", "offset": 0, "duration": null, "label": "infer", "text": "-", "num_speakers": 2,
 "rttm_filepath": null, "uem_filepath": null}
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarist import formats
from diarist.errors import FormatError
from diarist.formats import uem
from diarist.formats.fields import NO_NAME, Place, lines

Spans = dict[str, list[tuple[float, float]]]
"""Stretches in seconds, by recording."""

_PATHS = ("rttm_filepath", "uem_filepath")


@dataclass(frozen=True)
class Line:
    """One recording, or a stretch of it: `duration` seconds from `offset` on (to its end where that is None)."""

    audio: Path
    uri: str
    offset: float = 0.0
    duration: float | None = None
    num_speakers: int | None = None
    rttm: Path | None = None
    uem: Path | None = None


def loads(text: str, *, name: str = NO_NAME, folder: str | Path = ".") -> list[Line]:
    """The recordings of a manifest; relative paths are those of the system or, where nothing is there, of `folder`.

    Raises `FormatError` with `name:line` for what is no such line, and where two lines have one name.
    """
    found: dict[str, Line] = {}
    for place, line in lines(text, name, comment=""):
        read = _line(place, line, Path(folder))
        if read.uri in found:
            raise place.error(f"two recordings are called '{read.uri}': give one a 'uniq_id' of its own")
        found[read.uri] = read
    if not found:
        raise FormatError(f"{name} names no recording: a manifest has a JSON object a line, with 'audio_filepath'")
    return list(found.values())


def read(path: str | Path) -> list[Line]:
    """The recordings of a manifest file. Raises `InputError`, `FormatError`."""
    return loads(formats.read_text(path), name=str(path), folder=Path(path).parent)


def read_speech(path: str | Path) -> Spans:
    """Where there is speech, by recording, from whatever says so.

    RTTM and every other format that `formats.read` takes: the turns, whoever talks; UEM: its stretches; a manifest
    (`.json`, `.jsonl`): a stretch a line, as NeMo's external VAD. Raises `InputError`, `FormatError`.
    """
    path = Path(path)
    spans: Spans = {}
    if path.suffix.lower() == ".uem":
        for uri, start, end in uem.loads(formats.read_text(path), name=str(path)):
            spans.setdefault(uri, []).append((start, end))
        return spans
    if path.suffix.lower() in (".json", ".jsonl") and _is_manifest(text := formats.read_text(path)):
        for place, line in lines(text, str(path), comment=""):
            stretch = _line(place, line, path.parent)
            if stretch.duration is None:
                raise place.error("a stretch of speech needs its 'duration'")
            spans.setdefault(stretch.uri, []).append((stretch.offset, stretch.offset + stretch.duration))
        return spans
    return {known.uri: [(t.start, t.end) for t in known] for known in formats.read(path)}


def _is_manifest(text: str) -> bool:
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        value = json.loads(first)
    except ValueError:
        return False
    return isinstance(value, dict) and "audio_filepath" in value


def _line(place: Place, line: str, folder: Path) -> Line:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise place.error(f"not a JSON object ({getattr(error, 'msg', error)})") from None
    if not isinstance(value, dict):
        raise place.error("a line of a manifest is a JSON object, with 'audio_filepath'")
    audio = value.get("audio_filepath")
    if not isinstance(audio, str) or not audio:
        raise place.error("'audio_filepath' must name a recording")
    uri = value.get("uniq_id")
    rttm, regions = (_path(place, value, key, folder) for key in _PATHS)
    return Line(
        audio=_beside(Path(audio), folder),
        uri=uri if isinstance(uri, str) and uri else Path(audio).stem,
        offset=_seconds(place, value, "offset") or 0.0,
        duration=_seconds(place, value, "duration"),
        num_speakers=_count(place, value),
        rttm=rttm,
        uem=regions,
    )


def _seconds(place: Place, value: dict[str, Any], key: str) -> float | None:
    number = value.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number) or number < 0:
        raise place.error(f"'{key}' must be seconds, 0 or more, not {number!r}")
    return float(number)


def _count(place: Place, value: dict[str, Any]) -> int | None:
    count = value.get("num_speakers")
    if count is None:
        return None
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise place.error(f"'num_speakers' must be a whole number from 1 on, not {count!r}")
    return count


def _path(place: Place, value: dict[str, Any], key: str, folder: Path) -> Path | None:
    path = value.get(key)
    if path is None or path == "":
        return None
    if not isinstance(path, str):
        raise place.error(f"'{key}' must be a path, not {path!r}")
    return _beside(Path(path), folder)


def _beside(path: Path, folder: Path) -> Path:
    """The path as it is, or beside the manifest where nothing is there."""
    try:
        as_it_is = path.is_absolute() or path.exists()
    except OSError:  # no name for a file: whoever opens it says so
        as_it_is = True
    return path if as_it_is else folder / path
