"""Text to `Diarization` and back, a file per format.

    text = formats.dumps(diarization, "rttm")
    formats.write(diarization, "meeting.vtt")
    reference = formats.read("meeting.rttm")[0]

A format is a module with `dumps(diarization) -> str` and, where it can be read, `loads(text, *, name) ->
list[Diarization]`; it is imported when first used.
"""

from __future__ import annotations

import codecs
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diarist.core.config import nearest
from diarist.core.types import Diarization
from diarist.errors import FormatError, InputError, UsageError
from diarist.formats.fields import NO_NAME, uri_of
from diarist.formats.writing import safe_name, write_text

FORMATS: dict[str, tuple[str, str]] = {
    "rttm": ("diarist.formats.rttm", ".rttm"),
    "json": ("diarist.formats.json", ".json"),
    "csv": ("diarist.formats.csv", ".csv"),
    "text": ("diarist.formats.text", ".txt"),
    "srt": ("diarist.formats.srt", ".srt"),
    "vtt": ("diarist.formats.vtt", ".vtt"),
    "textgrid": ("diarist.formats.textgrid", ".TextGrid"),
    "audacity": ("diarist.formats.audacity", ".audacity.txt"),
    "lab": ("diarist.formats.lab", ".lab"),
}
"""By name: the module, and the suffix of its files."""

READABLE = ("rttm", "json", "csv", "text", "vtt", "textgrid", "audacity", "lab")
"""Formats that `loads` and `read` take."""

_SIGNS = (
    ("textgrid", r'File type = "ooTextFile"|"ooTextFile"'),
    ("vtt", r"WEBVTT(\s|$)"),
    ("json", r"\{|\[\s*(\{|$)"),
    ("text", r"\[\s*[-+.\d]+\s*-->?"),
    ("rttm", r"(?i:SPEAKER|SPKR-INFO)\s"),
    ("csv", r"(?i).*\bstart\b.*[,;\t]|.*[,;\t].*\bstart\b"),
    ("audacity", r"[-+.\deE]+\t[-+.\deE]+(\t|$)"),
    ("lab", r"[-+.\deE]+\s+[-+.\deE]+\s+\S"),
)
"""How the first line that says something begins."""


def dumps(diarization: Diarization, format: str) -> str:
    """A diarization as text. Raises `UsageError` for an unknown format."""
    text: str = _module(format).dumps(diarization)
    return text


def loads(text: str, format: str, *, name: str = NO_NAME) -> list[Diarization]:
    """The recordings that a text speaks of; `name` stands in messages, and names a recording that has no other name.

    Raises `FormatError` with `name:line` where the text does not parse, `UsageError` for a format that is unknown or
    cannot be read.
    """
    module = _module(format)
    if format not in READABLE:
        raise UsageError(f"{format} cannot be read back: give one of {', '.join(READABLE)}")
    recordings: list[Diarization] = module.loads(text, name=name)
    return recordings


def read(path: str | Path) -> list[Diarization]:
    """The recordings of a file, by its suffix or, failing that, its content.

    Of a folder those of all its files in one format, in order of name: the first of `READABLE` that it has, since a
    folder may hold one answer in several formats. A file without turns is one recording without turns, named after
    the file. Raises `InputError` where a file cannot be read, `FormatError` where it does not parse.
    """
    path = Path(path)
    if os.path.isdir(path):  # noqa: PTH112 - False for names that cannot be, where Path.is_dir raises
        return [recording for file in _readable_files(path) for recording in read(file)]
    text = read_text(path)
    format = _format_of(path) or _sniffed(text)
    if format is None and text.strip("\ufeff \r\n\t"):
        raise FormatError(f"{str(path)!r} is in no format known here: give one of {', '.join(READABLE)}")
    found = loads(text, format, name=str(path)) if format else []
    return found or [Diarization(uri=uri_of(str(path)))]


def read_text(path: str | Path) -> str:
    """A text file in UTF-8, or in UTF-16 with its mark (as Praat writes). Raises `InputError` on one line."""
    shown = repr(str(path))
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {shown}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{shown} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{shown} is not a text in UTF-8 (byte {error.start})") from error


def write(diarization: Diarization, path: str | Path, format: str | None = None) -> None:
    """Write a file, whole or not at all; the format is that of the suffix unless given.

    Raises `UsageError` for an unknown format and `DiaristError` where the file cannot be written.
    """
    chosen = format or _format_of(Path(path)) or ("text" if Path(path).suffix.lower() == ".txt" else None)
    if chosen is None:
        raise UsageError(f"the suffix of {str(path)!r} names no format: give one of {', '.join(FORMATS)}")
    write_text(path, dumps(diarization, chosen))


def output_path(folder: str | Path, uri: str, format: str) -> Path:
    """Where the answer for a recording goes in a folder: its uri as a safe file name, and the format's suffix."""
    _module(format)
    return Path(folder) / (safe_name(uri) + FORMATS[format][1])


def _module(format: str) -> Any:
    if format not in FORMATS:
        raise UsageError(f"unknown format '{format}'{nearest(format, FORMATS)}")
    return importlib.import_module(FORMATS[format][0])


def _format_of(path: Path) -> str | None:
    """By suffix. `.txt` is Audacity's or anything else, so that content decides when reading."""
    name = path.name.lower()
    for format, (_, suffix) in FORMATS.items():
        if name.endswith(suffix.lower()) and suffix != ".txt":
            return format
    return None


def _readable_files(folder: Path) -> Iterator[Path]:
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error
    formats = {file: _format_of(file) for file in files if file.is_file() and not file.name.startswith(".")}
    format = next((format for format in READABLE if format in formats.values()), None)
    if format is None:
        raise InputError(f"no diarizations in folder {str(folder)!r}: it has no file with a suffix known here")
    yield from (file for file in files if formats.get(file) == format)


def _sniffed(text: str) -> str | None:
    for line in text.removeprefix("\ufeff").splitlines():
        if line.strip() and not line.lstrip().startswith(";;"):
            return next((format for format, sign in _SIGNS if re.match(sign, line.lstrip(" "))), None)
    return None
