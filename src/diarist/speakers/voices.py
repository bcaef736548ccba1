"""What is known of one person's voice from one recording, and which recording's speakers give one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from diarist.core.types import Diarization, Float32
from diarist.errors import InputError, UsageError

LONGEST_NAME = 200  # characters
_ANONYMOUS = re.compile(r"(speaker|voice)[_ -]?\d+|speech|nobody|overlap|_|<NA>", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Voice:
    """A person's mean voice in one recording: `embedding` `(dimension,)` of length 1, from `seconds` of speech.

    `model` says what made it (`models.identity`), `quality` how sure the turns that it comes from are, in [0, 1], and
    `source` names the recording. Never any sound.
    """

    embedding: Float32
    seconds: float
    model: str
    quality: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        vector = np.asarray(self.embedding, dtype=np.float32)
        length = float(np.linalg.norm(vector.astype(np.float64))) if vector.ndim == 1 and len(vector) else 0.0
        if not (np.isfinite(length) and length > 0):
            raise InputError(f"the voice of '{self.source}' is no vector with a direction: it cannot be used")
        if not (0 < self.seconds < float("inf") and 0 <= self.quality <= 1):
            raise InputError(
                f"the voice of '{self.source}' must have seconds > 0 and a quality in [0, 1], "
                f"not {self.seconds:g} and {self.quality:g}"
            )
        if abs(length - 1) > 1e-5:  # as it is where it is of length 1: the same bytes in, the same out
            vector = (vector / length).astype(np.float32)
        object.__setattr__(self, "embedding", vector)


def voices_in(result: Diarization, model: str | None = None) -> dict[str, Voice]:
    """A voice for each speaker of a recording who has one, by label, in order of first appearance.

    `model` is what made the embeddings; by default, what the result itself says. Raises `InputError` where it does not
    say so, or holds no voices at all though there are turns.
    """
    made_by = model or result.extra.get("voices")
    if not isinstance(made_by, str):
        raise InputError(
            f"'{result.uri}' does not say which model made its voices: use the JSON of a newer 'diarist run'"
        )
    talk, found = result.talk_time(), {}
    for label, seconds in talk.items():
        embedding = result.speakers[label].embedding
        if embedding is not None:
            sure = sum(t.confidence * t.duration for t in result.turns if t.speaker == label) / seconds
            found[label] = Voice(embedding, seconds, made_by, float(np.clip(sure, 0, 1)), result.uri)
    return found


def checked_name(name: str) -> str:
    """A person's name as it is kept: Unicode composed, one blank between words. Raises `UsageError` for no name."""
    name = " ".join(unicodedata.normalize("NFC", name).split())
    if not name or not name.isprintable():
        raise UsageError(f"{name!r} is no name: give one of letters, digits, blanks and signs")
    if len(name) > LONGEST_NAME:
        raise UsageError(f"the name '{name[:30]}...' is too long: {LONGEST_NAME} characters at most")
    if _ANONYMOUS.fullmatch(name):
        raise UsageError(f"'{name}' is what voices without a name are called: give a person's name")
    return name


def key_of(name: str) -> str:
    """What two spellings of a name have in common: letter case, and blanks that RTTM would write as `_`."""
    return "_".join(checked_name(name).casefold().split())
