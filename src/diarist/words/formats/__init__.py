"""Text to `Transcript` and back, a file per format.

    transcript = formats.read("meeting.json")[0]
    text = formats.dumps(transcript, "srt")

A format is a module with `dumps(transcript) -> str` and `loads(text, *, name) -> list[Transcript]`; it is imported when
first used. What the words have of speakers, times and scores survives as far as the format has room for it.
"""

from __future__ import annotations

import importlib
import json as _json
import re
from pathlib import Path
from typing import Any

from diarist.core.config import nearest
from diarist.core.types import Transcript
from diarist.errors import FormatError, UsageError
from diarist.formats import read_text
from diarist.formats.fields import NO_NAME, uri_of
from diarist.formats.writing import safe_name, write_text
from diarist.words.formats.fields import NO_ONE

FORMATS: dict[str, tuple[str, str]] = {
    "json": ("diarist.words.formats.json", ".json"),
    "srt": ("diarist.words.formats.srt", ".srt"),
    "vtt": ("diarist.words.formats.vtt", ".vtt"),
    "txt": ("diarist.words.formats.text", ".txt"),
    "tsv": ("diarist.words.formats.tsv", ".tsv"),
    "aud": ("diarist.words.formats.audacity", ".aud"),
    "md": ("diarist.words.formats.markdown", ".md"),
    "stm": ("diarist.words.formats.stm", ".stm"),
    "ctm": ("diarist.words.formats.ctm", ".ctm"),
    "seglst": ("diarist.words.formats.seglst", ".seglst.json"),
    "csv": ("diarist.words.formats.csv", ".csv"),
}
"""By name: the module, and the suffix of its files. All can be read and written."""

ALIASES = {
    "whisperx": "json",
    "openai": "json",
    "verbose_json": "json",
    "diarized_json": "json",
    "markdown": "md",
    "audacity": "aud",
    "text": "txt",
}
"""Other names of the formats."""

_SIGNS = (
    ("vtt", r"WEBVTT(\s|$)"),
    ("srt", r"\d+\s*\n\s*\d+:\d\d:\d\d[,.]\d+\s*-->"),
    ("tsv", r"(?i)start\tend\ttext(\t|\s*$|\n)"),
    ("md", r"(# .*\n+\s*)?\*\*.+\*\*\s*(\[[\d:]|\n)"),
    ("txt", r"\[[^\[\]\n]+\]: "),
    ("csv", r"(?i)(?=.*\b(start|begin|start_time)\b)(?=.*\b(word|text|token)\b).*[,;\t]"),
    ("aud", r"[-+.\deE]+\t[-+.\deE]+(\t|\n|$)"),
    ("rttm", r"(SPEAKER|SPKR-INFO)\s+\S+\s+\S+\s+([-+.\d]\S*|<NA>)\s+([-+.\d]\S*|<NA>)\s"),
)
"""How a text begins, comments and blank lines apart."""

_MISNAMED = (
    ("vtt", r"WEBVTT\b(.*\n)+?.*\d\s*-->\s*\d"),
    ("srt", dict(_SIGNS)["srt"]),
    ("json", r"\{\s*\"\w+\"\s*:|\[\s*\{\s*\""),
)
"""How a text begins that is what it looks like, whatever its name says."""


def dumps(transcript: Transcript, format: str) -> str:
    """A transcript as text. Raises `UsageError` for an unknown format, and where the format needs what is not known."""
    text: str = _module(format).dumps(transcript)
    return text


def loads(text: str, format: str | None = None, *, name: str = NO_NAME) -> list[Transcript]:
    """The transcripts of a text, in the format given or the one that it looks like; none is an empty one.

    `name` stands in messages, and names a recording that has no other name. Raises `FormatError` with the place where
    the text does not parse, or is in no format known here.
    """
    if format is None:
        format = sniffed(text)
        if format is None and text.strip("\ufeff \r\n\t"):
            raise FormatError(f"{name} is no transcript known here: say what it is ({', '.join(FORMATS)})")
    if format is not None and not text.strip("\ufeff \r\n\t"):
        _module(format)
        format = None
    transcripts: list[Transcript] = _module(format).loads(text, name=name) if format else []
    return transcripts or [Transcript(uri=uri_of(name))]


def read(path: str | Path, format: str | None = None) -> list[Transcript]:
    """The transcripts of a file, in the format given, else by its content and suffix.

    Raises `InputError` where it cannot be read, `FormatError` where it does not parse.
    """
    text = read_text(path)
    return loads(text, format or _format_of(Path(path), text), name=str(path))


def write(transcript: Transcript, path: str | Path, format: str | None = None) -> None:
    """Write a file, whole or not at all; the format is that of the suffix unless given.

    Raises `UsageError` for an unknown format and `DiaristError` where the file cannot be written.
    """
    chosen = format or _by_suffix(Path(path))
    if chosen is None:
        raise UsageError(f"the suffix of {str(path)!r} names no format: give one of {', '.join(FORMATS)}")
    write_text(path, dumps(transcript, chosen))


def output_path(folder: str | Path, uri: str, format: str) -> Path:
    """Where a transcript goes in a folder: its uri as a safe file name, and the format's suffix."""
    _module(format)
    return Path(folder) / (safe_name(uri) + FORMATS[ALIASES.get(format, format)][1])


def sniffed(text: str) -> str | None:
    """The format that a text looks like; None for none."""
    body = _body(text)
    if re.match(r"\{|\[\s*(\{|\[|\]|$)", body):
        return _kind_of_json(body)
    found = next((format for format, sign in _SIGNS if re.match(sign, body)), None)
    if found == "rttm":
        raise FormatError("these are turns (RTTM), no transcript: give them as --turns")
    return found or _nist_kind(body.partition("\n")[0].split())


def _body(text: str) -> str:
    """A text from the first line that says something."""
    body = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").lstrip()
    while body.startswith(";;"):
        body = body.partition("\n")[2].lstrip()
    return body


def _nist_kind(fields: list[str]) -> str | None:
    """STM has its two times behind a speaker, CTM has them behind the channel and a word behind them."""

    def are_times(*places: int) -> bool:
        return len(fields) > max(places) and all(
            re.fullmatch(r"[-+.\deE]*\d[.\deE]*", fields[place]) for place in places
        )

    scored = len(fields) < 6 or are_times(5) or fields[5] in ("NA", NO_ONE)  # as CTM is behind a word
    if are_times(3, 4) and not (are_times(2) and scored):
        return "stm"
    return "ctm" if are_times(2, 3) and len(fields) > 4 else None


def _kind_of_json(body: str) -> str:
    """A list, or lines, of SegLST or of Whisper's segments: those of SegLST say `session_id` or have their words as a
    text."""
    line, _, rest = body.partition("\n")
    if body.startswith("{") and not rest.lstrip().startswith("{"):
        return "json"
    try:
        document = _json.loads(f"[{line}]" if body.startswith("{") else body)
    except (ValueError, RecursionError):
        return "json"  # which says what is wrong
    first = document[0] if document else None  # it began with a bracket, so it is a list
    is_list = isinstance(first, dict) and ("session_id" in first or isinstance(first.get("words"), str))
    return "seglst" if is_list else "json"


def _format_of(path: Path, text: str) -> str | None:
    """By content for JSON, of which there are several, else by suffix, unless the content is plainly something else."""
    suffix = _by_suffix(path)
    if suffix in (None, "json", "seglst"):
        return sniffed(text) or suffix
    body = _body(text)
    plain = next((format for format, sign in _MISNAMED if re.match(sign, body)), None)
    return _kind_of_json(body) if plain == "json" else plain or suffix


def _by_suffix(path: Path) -> str | None:
    name = path.name.lower()
    matches = [format for format, (_, suffix) in FORMATS.items() if name.endswith(suffix)]
    return max(matches, key=lambda format: len(FORMATS[format][1]), default=None)


def _module(format: str) -> Any:
    name = ALIASES.get(format, format)
    if name not in FORMATS:
        raise UsageError(f"unknown format '{format}'{nearest(format, FORMATS)}")
    return importlib.import_module(FORMATS[name][0])
