"""Turns as tokens: `start, end, speaker` for each, in order of start, then an end.

    0 PAD | 1 EOS | 2 START | 3 .. 3 + n: times 0, step, ..., n * step | then one id for each speaker

A time is the nearest step, so it is wrong by half a step at most. Speakers are numbered in order of appearance. The
grammar says which ids may follow; a sequence that it lets end is valid turns, and it never lets one run into a place
from which there is no end. (Pix2Seq: Chen et al., "Pix2seq: a language modeling framework for object detection", 2022.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Int64, Turn
from diarist.errors import UsageError
from diarist.stages.turns import label

PAD, EOS, START = 0, 1, 2
FIRST_TIME = 3

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Vocabulary:
    """The ids there are, for windows of `max_seconds`."""

    max_seconds: float = 30.0
    time_step: float = 0.02
    num_speakers: int = 8

    def __post_init__(self) -> None:
        if not (0 < self.time_step <= self.max_seconds) or self.num_speakers < 1:
            raise UsageError(f"no vocabulary with a step of {self.time_step} s for {self.max_seconds} s can be")

    @cached_property
    def num_steps(self) -> int:
        """Steps in a window, rounded up; there is one more time than steps."""
        return int(np.ceil(round(self.max_seconds / self.time_step, 6)))

    @cached_property
    def first_label(self) -> int:
        """Id of the speaker who appears first."""
        return FIRST_TIME + self.num_steps + 1

    @cached_property
    def size(self) -> int:
        """How many ids there are."""
        return self.first_label + self.num_speakers

    @property
    def times(self) -> slice:
        """The ids of times."""
        return slice(FIRST_TIME, self.first_label)

    @property
    def labels(self) -> slice:
        """The ids of speakers."""
        return slice(self.first_label, self.size)

    def seconds(self, ids: Int64) -> NDArray[np.float64]:
        """Times of ids of any shape; what is not a time is before or after the window."""
        return np.asarray((np.asarray(ids) - FIRST_TIME) * self.time_step, dtype=np.float64)

    def encode(self, turns: Iterable[Turn]) -> Int64:
        """Ids `(3 * num_turns + 1,)`, EOS the last.

        A speaker's turns that touch or overlap on the grid become one; a turn that begins and ends at the same step is
        left out. Raises `UsageError` for times outside `[0, max_seconds]`, and for more speakers than there are labels.
        """
        spans = self._on_grid(list(turns))
        numbers: dict[str, int] = {}
        ids: list[int] = []
        for start, end in sorted(spans):
            # of several who talk from the same step to the same step, those who are known come first
            for speaker in sorted(spans[start, end], key=lambda name: (numbers.get(name, len(numbers)), name)):
                number = numbers.setdefault(speaker, len(numbers))
                ids += [FIRST_TIME + start, FIRST_TIME + end, self.first_label + number]
        if len(numbers) > self.num_speakers:
            raise UsageError(f"{len(numbers)} speakers in a window, but the model has {self.num_speakers} labels")
        return np.array([*ids, EOS], dtype=np.int64)

    def decode(self, ids: Sequence[int] | Int64) -> list[Turn]:
        """Turns of ids up to the first EOS (START and PAD do not count), named `SPEAKER_00` and so on by their id.

        Raises `UsageError` where they are not triplets of two times and a speaker.
        """
        found = np.asarray(ids, dtype=np.int64)
        ends = np.flatnonzero(found == EOS)
        found = found[: ends[0]] if len(ends) else found
        found = found[(found != START) & (found != PAD)]
        is_time = (found >= FIRST_TIME) & (found < self.first_label)
        is_label = (found >= self.first_label) & (found < self.size)
        if len(found) % 3 or not (is_time[0::3].all() and is_time[1::3].all() and is_label[2::3].all()):
            raise UsageError("the tokens are not triplets of start, end and speaker")
        times = self.seconds(found)
        return [
            Turn(float(start), float(end), label(int(speaker) - self.first_label))
            for start, end, speaker in zip(times[0::3], times[1::3], found[2::3], strict=True)
        ]

    def _on_grid(self, turns: list[Turn]) -> dict[tuple[int, int], list[str]]:
        """Who talks from which step to which, one speaker's turns apart."""
        edges = np.array([(t.start, t.end) for t in turns], dtype=np.float64).reshape(-1, 2)
        slack = self.time_step / 2
        longest = max(self.max_seconds, self.num_steps * self.time_step) + slack
        if not ((edges >= -slack) & (edges <= longest)).all() or (edges[:, 1] < edges[:, 0]).any():
            raise UsageError(f"turns must lie within 0 and {self.max_seconds:g} s, and not end before they start")
        steps = np.clip(np.rint(edges / self.time_step), 0, self.num_steps).astype(np.int64)
        spans: dict[tuple[int, int], list[str]] = {}
        for speaker in dict.fromkeys(turn.speaker for turn in turns):
            own = sorted(s for s, turn in zip(steps.tolist(), turns, strict=True) if turn.speaker == speaker)
            merged: list[list[int]] = []
            for start, end in own:
                if start < end and merged and start <= merged[-1][1]:
                    merged[-1][1] = max(merged[-1][1], end)
                elif start < end:
                    merged.append([start, end])
            for start, end in merged:
                spans.setdefault((start, end), []).append(speaker)
        return spans


@dataclass(frozen=True)
class Written:
    """What was written for one window: `ids` with their EOS, how sure each is (`certainty`, in [0, 1], 1 for what was
    given), and the `turns` (those in which there is no speech are left out), whose confidence is the product of their
    three tokens'. `ended`: by the model's own EOS."""

    ids: Int64
    certainty: Float64
    turns: tuple[Turn, ...]
    ended: bool


@dataclass(frozen=True)
class Given:
    """What is known of a window before anything is written: the first ids, from which second on turns may begin
    (`since`) and at which the sound ends (`until`, the end of the window where it is None)."""

    ids: Int64
    since: float = 0.0
    until: float | None = None


NOTHING = Given(np.zeros(0, np.int64))


class Grammar:
    """Which ids may come next, for each of `batch` sequences that have begun (START is behind them).

    Times: a start is not before the last one, an end is after its start. Speakers: one who has talked in the window and
    is silent since before the start, or the next new one. EOS: instead of a start, and nothing but PAD after it.
    `most`: how many speakers there may be, all labels where it is None. `last`: the step `(batch,)` at which the sound
    ends, that of the window where it is None. `together`: at most so many speakers talk at once.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        batch: int = 1,
        most: int | None = None,
        last: Int64 | None = None,
        together: int | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.together = vocabulary.num_speakers if together is None else min(together, vocabulary.num_speakers)
        self.most = vocabulary.num_speakers if most is None else min(most, vocabulary.num_speakers)
        self.last = np.full(batch, vocabulary.num_steps) if last is None else np.minimum(last, vocabulary.num_steps)
        self.phase = np.zeros(batch, np.int64)  # what comes next: 0 a start or EOS, 1 an end, 2 a speaker, 3 PAD
        self.start = np.zeros(batch, np.int64)  # of the turn begun last, in steps
        self.end = np.zeros(batch, np.int64)
        self.used = np.zeros(batch, np.int64)  # speakers so far
        self.until = np.full((batch, vocabulary.num_speakers), -1, np.int64)  # the end of each one's last turn

    def select(self, rows: Int64) -> Grammar:
        """The sequences of some rows `(new batch,)`, as a copy; rows may come several times."""
        copy = Grammar(self.vocabulary, 0, self.most, together=self.together)
        for name in ("last", "phase", "start", "end", "used", "until"):
            setattr(copy, name, getattr(self, name)[rows])
        return copy

    @property
    def ended(self) -> Mask:
        """Which sequences have had their EOS. Shape `(batch,)`."""
        return np.asarray(self.phase == 3)

    def allowed(self) -> Mask:
        """`(batch, vocabulary size)`: True for ids that may come next; at least one of each row is."""
        vocabulary = self.vocabulary
        mask = np.zeros((len(self.phase), vocabulary.size), np.bool_)
        steps = np.arange(vocabulary.num_steps + 1)
        begins, ends, speaks = (self.phase == phase for phase in range(3))
        mask[self.ended, PAD] = True
        mask[begins, EOS] = True
        mask[begins, vocabulary.times] = (steps >= self._earliest()[begins, None]) & (steps < self.last[begins, None])
        mask[ends, vocabulary.times] = (steps > self.start[ends, None]) & (steps <= self.last[ends, None])
        numbers = np.arange(vocabulary.num_speakers)
        silent = (numbers < self.used[:, None]) & (self.until < self.start[:, None])
        new = (numbers == self.used[:, None]) & (numbers < self.most)
        mask[speaks, vocabulary.labels] = (silent | new)[speaks]
        return mask

    def advance(self, ids: Int64) -> None:
        """Take one id for each sequence `(batch,)`. Raises `UsageError` for one that may not come next."""
        ids = np.asarray(ids, dtype=np.int64)
        inside = (ids >= 0) & (ids < self.vocabulary.size)
        right = inside & self.allowed()[np.arange(len(ids)), np.where(inside, ids, 0)]
        if not right.all():
            row = int(np.flatnonzero(~right)[0])
            wanted = (
                "a start that is not before the last one, or the end",
                "an end after its start",
                "a speaker",
                "PAD",
            )
            raise UsageError(
                f"token {ids[row]} of sequence {row} breaks the grammar: {wanted[self.phase[row]]} comes next"
            )
        self.take(ids)

    def take(self, ids: Int64) -> None:
        """As `advance`, for ids `(batch,)` that are known to be allowed."""
        steps, rows = ids - FIRST_TIME, np.arange(len(ids))
        begins, ends, speaks = (self.phase == phase for phase in range(3))
        stops = begins & (ids == EOS)
        self.start = np.where(begins & ~stops, steps, self.start)
        self.end = np.where(ends, steps, self.end)
        rows, numbers = rows[speaks], (ids - self.vocabulary.first_label)[speaks]
        self.until[rows, numbers] = self.end[rows]
        self.used[rows] = np.maximum(self.used[rows], numbers + 1)
        self.phase = np.where(stops | self.ended, 3, (self.phase + 1) % 3)

    def not_before(self, steps: Int64) -> None:
        """From here on, no turn begins before these steps `(batch,)`."""
        self.start = np.maximum(self.start, steps)

    def _earliest(self) -> Int64:
        """The first step at which a turn may begin and still find a speaker. Shape `(batch,)`."""
        known = np.arange(self.until.shape[1]) < np.minimum(self.used, self.most)[:, None]
        free = np.where(known, self.until, self.vocabulary.num_steps).min(axis=1, initial=self.vocabulary.num_steps) + 1
        fewer = np.sort(self.until, axis=1)[:, -self.together]  # from when on fewer than `together` talk
        return np.maximum(np.maximum(self.start, fewer), np.where(self.used < self.most, 0, free))


def check(vocabulary: Vocabulary, ids: Int64) -> None:
    """Raise `UsageError` where targets `(batch, num_tokens)` or `(num_tokens,)` are not what the grammar allows, each
    with its EOS."""
    masks(vocabulary, ids)


def masks(vocabulary: Vocabulary, ids: Int64) -> Mask:
    """What the grammar allows at each place of targets `(batch, num_tokens)`: `(batch, num_tokens, vocabulary size)`.

    Raises `UsageError` for targets that break it or do not end.
    """
    rows = np.atleast_2d(np.asarray(ids, dtype=np.int64))
    grammar = Grammar(vocabulary, len(rows))
    found = np.zeros((*rows.shape, vocabulary.size), np.bool_)
    for place in range(rows.shape[1]):
        found[:, place] = grammar.allowed()
        grammar.advance(rows[:, place])
    if not grammar.ended.all():
        raise UsageError(f"sequence {int(np.flatnonzero(~grammar.ended)[0])} has no end token")
    return found
