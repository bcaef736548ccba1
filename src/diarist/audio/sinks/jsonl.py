"""Every update as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from diarist.audio.sinks.linefile import LineFile
from diarist.core.types import Turn, Update
from diarist.formats import json as json_format


class JsonLines:
    """Each update as an object on a line of its own, into a text stream or a file.

    - `type`: "update"; `seq`: its number, from 1; `uri`: name of the stream.
    - `final`, `tentative`: lists of `{"start", "end", "speaker", "confidence"}`, times in seconds.
    - `settled`, `until`: seconds up to which the answer is final, and up to which sound was heard.
    - `renamed`: `{gone: kept}`.
    - `session`: null or, in the last line, the whole stream clustered anew, as `--format json` has it.

    Raises `DiaristError` where a file cannot be written, `BrokenPipeError` where nobody reads any more.
    """

    def __init__(self, uri: str, to: TextIO | str | Path) -> None:
        self.uri = uri
        self._seq = 0
        self._file = LineFile(to) if isinstance(to, str | Path) else None
        self._text = None if isinstance(to, str | Path) else to

    def write(self, update: Update) -> None:
        """Write a line."""
        self._seq += 1
        line = json.dumps(to_dict(update, self.uri, self._seq), ensure_ascii=False, allow_nan=False) + "\n"
        if self._file is not None:
            self._file.put(line)
        elif self._text is not None:
            self._text.write(line)
            self._text.flush()

    def close(self) -> None:
        """Close the file, where it is one."""
        if self._file is not None:
            self._file.close()


def to_dict(update: Update, uri: str, seq: int) -> dict[str, Any]:
    """An update as what JSON knows; see `JsonLines`."""
    return {
        "type": "update",
        "seq": seq,
        "uri": uri,
        "final": _turns(update.final),
        "tentative": _turns(update.tentative),
        "settled": round(float(update.settled), 6),
        "until": round(float(update.until), 6),
        "renamed": dict(update.renamed),
        "session": None if update.session is None else json.loads(json_format.dumps(update.session)),
    }


def _turns(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    return [
        {
            "start": round(float(turn.start), 6),
            "end": round(float(turn.end), 6),
            "speaker": turn.speaker,
            "confidence": round(float(turn.confidence), 4),
        }
        for turn in turns
    ]
