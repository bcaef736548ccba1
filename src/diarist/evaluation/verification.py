"""Telling whether two voices are one person's: what is heard of known people, and how often that is told wrongly.

Trials come from conversations with references (simulated ones, say): each is diarized, and each speaker found is the
person whom the reference has talking most in these turns. So the errors of the diarization are part of the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from diarist import formats
from diarist.audio.decode import load
from diarist.core.types import Diarization, Float32, Float64
from diarist.errors import FormatError, UsageError
from diarist.simulate.sources import find_speakers

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Heard:
    """Voices found in recordings, one a row: `embeddings` `(n, dimension)`, `seconds` `(n,)` of speech, the
    `recording` `(n,)` it is from, the `person` `(n,)` it is by the reference, `purity` `(n,)`: how much of it."""

    embeddings: Float32
    seconds: Float64
    recording: NDArray[np.str_]
    person: NDArray[np.str_]
    purity: Float64

    def __len__(self) -> int:
        return len(self.seconds)

    def select(self, rows: NDArray[np.bool_]) -> Heard:
        """Some of the rows."""
        return Heard(*(values[rows] for values in vars(self).values()))

    def capped(self, most: int) -> Heard:
        """The first so many voices of each person at most: who says much must not count for more."""
        keep = np.zeros(len(self), dtype=bool)
        for person in np.unique(self.person):
            keep[np.flatnonzero(self.person == person)[:most]] = True
        return self.select(keep)

    def save(self, path: str | Path) -> None:
        """Write an npz file."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: str | Path) -> Heard:
        """Read what `save` wrote. Raises `FormatError`."""
        try:
            with np.load(path) as file:
                return cls(**{name: file[name] for name in cls.__dataclass_fields__})
        except (OSError, ValueError, KeyError) as error:
            raise FormatError(f"'{path}' holds no voices: {error}") from error


def halves(speech: Path, output: Path) -> None:
    """Cut what each speaker of `speech` says in two, folders `a` and `b` of `output`, so that no sound is in both.

    Half of a speaker's files each, in order of name, as links; half the sound where there is one file only.
    """
    for speaker in find_speakers([speech]):
        files = sorted(path for path in speaker.utterances if isinstance(path, Path))
        below = files[0].parent.relative_to(speech)
        for half in "ab":
            (output / half / below).mkdir(parents=True, exist_ok=True)
        if len(files) > 1:
            for number, path in enumerate(files):
                link = output / ("a" if number < len(files) // 2 else "b") / below / path.name
                link.unlink(missing_ok=True)
                link.symlink_to(path.resolve())
            continue
        sound = load(files[0])
        middle = len(sound.samples) // 2
        for half, samples in (("a", sound.samples[:middle]), ("b", sound.samples[middle:])):
            soundfile.write(output / half / below / f"{files[0].stem}.flac", samples, sound.sample_rate)


def hear(
    recordings: Sequence[Path],
    diarize: Callable[[Path], Diarization],
    progress: Callable[[int], None] | None = None,
) -> Heard:
    """The voices of recordings that have an RTTM of the same name beside them. Raises `FormatError`, `AudioError`."""
    rows: list[tuple[Float32, float, str, str, float]] = []
    for number, path in enumerate(recordings, 1):
        (reference,) = formats.read(path.with_suffix(".rttm"))
        rows += voices_of(diarize(path), reference, path.stem)
        if progress is not None:
            progress(number)
    if not rows:
        raise UsageError("no voices were found in these recordings: give some in which people talk")
    embeddings, seconds, names, people, purity = zip(*rows, strict=True)
    return Heard(np.stack(embeddings), np.array(seconds), np.array(names), np.array(people), np.array(purity))


def voices_of(
    answer: Diarization, reference: Diarization, recording: str
) -> list[tuple[Float32, float, str, str, float]]:
    """A row of `Heard` for each speaker of an answer who has a voice and talks where the reference has speech."""
    rows = []
    for label, seconds in answer.talk_time().items():
        embedding = answer.speakers[label].embedding
        said: dict[str, float] = {}
        for turn in answer.turns:
            if turn.speaker == label:
                for person, share in reference.crop(turn.start, turn.end).talk_time().items():
                    said[person] = said.get(person, 0.0) + share
        if embedding is not None and said:
            person = max(said, key=lambda name: said[name])
            rows.append((embedding, seconds, recording, person, said[person] / sum(said.values())))
    return rows


def equal_error_rate(targets: Floats, others: Floats) -> tuple[float, float]:
    """Where as many of the `targets`' scores lie under the threshold as of the `others`' over it: rate, threshold.

    Raises `UsageError` where either is empty.
    """
    if not len(targets) or not len(others):
        raise UsageError("an equal error rate needs scores of both kinds of trials")
    scores = np.concatenate([targets, others])
    order = np.argsort(scores, kind="stable")
    is_target = np.concatenate([np.ones(len(targets), bool), np.zeros(len(others), bool)])[order]
    miss = np.cumsum(is_target) / len(targets)
    false_accept = 1 - np.cumsum(~is_target) / len(others)
    at = int(np.argmax(miss >= false_accept))
    return float((miss[at] + false_accept[at]) / 2), float(scores[order][at])


def log_loss(targets: Floats, others: Floats) -> float:
    """Cllr of log likelihood ratios in nats: 0 is perfect, 1 says nothing (Brummer & du Preez, 2006)."""
    return float((np.logaddexp(0, -targets).mean() + np.logaddexp(0, others).mean()) / 2 / np.log(2))


def pairs(one: Heard, other: Heard) -> NDArray[np.bool_]:
    """Which pairs of voices are one person's: `(len(one), len(other))`."""
    same: NDArray[np.bool_] = one.person[:, None] == other.person
    return same
