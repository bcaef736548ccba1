"""Whisper's table: `start end text`, parted by tabs, in whole milliseconds; the speaker is a fourth column."""

from __future__ import annotations

from diarist.core.types import Transcript, Utterance
from diarist.formats.fields import NO_NAME, lines, one_line, uri_of
from diarist.words.formats.fields import ordered, speaker_of
from diarist.words.formats.timed import timed

HEADER = "start\tend\ttext\tspeaker"


def dumps(transcript: Transcript) -> str:
    """One row an utterance of one speaker. Raises `UsageError` where nothing is known of the times."""
    rows = (
        "\t".join((_ms(u.start), _ms(u.end), one_line(u.text), one_line(u.speaker or ""))) + "\n"
        for u in timed(transcript, "tsv")
    )
    return f"{HEADER}\n{''.join(rows)}"


def loads(text: str, *, name: str = NO_NAME) -> list[Transcript]:
    """One transcript, named after the file. Raises `FormatError` with `name:line`."""
    utterances: list[Utterance] = []
    columns: dict[str, int] = {}
    for place, line in lines(text, name, comment=""):
        fields = line.split("\t")
        if not columns:
            columns = {field.strip().lower(): index for index, field in enumerate(fields)}
            if not {"start", "end", "text"} <= set(columns):
                raise place.error("the header must have start, end and text, parted by tabs")
            continue
        values = {column: fields[index] for column, index in columns.items() if index < len(fields)}
        start = place.number(values.get("start", ""), "start")
        end = place.number(values.get("end", ""), "end")
        times = ordered(start / 1000, end / 1000)
        utterances.append(Utterance(values.get("text", "").strip(), *times, speaker_of(values.get("speaker"))))
    return [Transcript(tuple(utterances), uri_of(name))]


def _ms(seconds: float | None) -> str:
    return str(round(1000 * (seconds or 0.0)))
