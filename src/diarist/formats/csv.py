"""Comma separated values: `uri,start,end,speaker,confidence`, with a header line, quoted as in RFC 4180."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from diarist.core.types import Diarization, Turn
from diarist.errors import FormatError
from diarist.formats.fields import NO_NAME, Place, uri_of

COLUMNS = ("uri", "start", "end", "speaker", "confidence")


def dumps(diarization: Diarization) -> str:
    """One row a turn, times to the millisecond, confidence to four digits."""
    file = io.StringIO(newline="")
    bare = any("\r" in name for name in (diarization.uri, *diarization.labels))  # which csv leaves unquoted
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    for turn in diarization:
        writer.writerow(
            (diarization.uri, f"{turn.start:.3f}", f"{turn.end:.3f}", turn.speaker, f"{turn.confidence:.4f}")
        )
    return file.getvalue()


def loads(text: str, *, name: str = NO_NAME) -> list[Diarization]:
    """The recordings of a table, in order of appearance; one that is named after the file where it has no `uri`.

    Columns may come in any order, parted by comma, semicolon or tab; `start`, `end` and `speaker` must be there, others
    are passed over. Raises `FormatError` with `name:line`.
    """
    recordings: dict[str, list[Turn]] = {}
    columns: dict[str, int] = {}
    for place, row in rows(text, name):
        if not columns:
            columns = _columns(place, row)
            continue
        uri, turns = _row(place, row, columns, uri_of(name))
        recordings.setdefault(uri, []).extend(turns)
    return [Diarization(tuple(turns), uri) for uri, turns in recordings.items()]


def rows(text: str, name: str) -> Iterator[tuple[Place, list[str]]]:
    """The rows of a table that are not blank, and where they stand; the first one says what parts its columns: commas,
    semicolons or tabs. Raises `FormatError` with `name:line`."""
    text = text.removeprefix("\ufeff")
    header = text.lstrip("\r\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield Place(name, reader.line_num), row
    except csv.Error as error:
        raise FormatError(f"{name}:{reader.line_num}: {error} (is a quotation mark left open?)") from error


def _columns(place: Place, row: list[str]) -> dict[str, int]:
    columns = {field.strip().lower(): index for index, field in enumerate(row)}
    missing = [column for column in ("start", "end", "speaker") if column not in columns]
    if missing:
        raise place.error(f"the header lacks the column '{missing[0]}': it must have start, end and speaker")
    return columns


def _row(place: Place, row: list[str], columns: dict[str, int], uri: str) -> tuple[str, list[Turn]]:
    if len(row) <= max(columns.values()):
        raise place.error(f"the row has {len(row)} fields, the header {max(columns.values()) + 1}")
    start = place.number(row[columns["start"]], "start")
    end = place.number(row[columns["end"]], "end")
    confidence = place.number(row[columns["confidence"]], "confidence") if _says(row, columns, "confidence") else 1.0
    if "uri" in columns:
        uri = row[columns["uri"]]
    return uri, list(place.turn(start, end, row[columns["speaker"]], confidence))


def _says(row: list[str], columns: dict[str, int], column: str) -> bool:
    return column in columns and bool(row[columns[column]].strip())
