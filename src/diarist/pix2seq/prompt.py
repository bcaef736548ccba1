"""Long recordings, window by window: who is known by now talks first.

In front of a window come five seconds of each known speaker, 200 ms of silence after each of them, and in front of what
is written come their turns (nanodrz's README has the idea). So the network goes on with the labels that it was given,
and gives the next one to whoever is new. Training builds its examples with the same `compose`: a prompt is sound and
turns like any other. Needs no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.optimize import linear_sum_assignment

from diarist.core.time import SAMPLE_RATE, to_samples
from diarist.core.types import Float32, Float64, Turn
from diarist.pix2seq.config import PromptConfig
from diarist.pix2seq.tokens import Given, Vocabulary, Written
from diarist.stages.turns import label

PIECE = 0.3  # seconds; shorter stretches tell no voice
KEPT = 4  # times the length of a prompt that is kept of each speaker, to choose from
SAME = 1e-6  # seconds


@dataclass(frozen=True)
class Window:
    """`samples` `(num_samples,)`: the prompts, and the chunk from second `offset` on; `turns`: those of the prompts."""

    samples: Float32
    turns: tuple[Turn, ...]
    offset: float


def compose(voices: Mapping[str, Float32], chunk: Float32, silence: float = 0.2) -> Window:
    """The sound of each speaker `(num_samples,)`, by name, each with seconds of silence after it, and then the chunk.

    Sound is at 16 kHz; without voices the window is the chunk.
    """
    pause = np.zeros(to_samples(silence), np.float32)
    parts: list[Float32] = []
    turns: list[Turn] = []
    length = 0
    for name, voice in voices.items():
        turns.append(Turn(length / SAMPLE_RATE, (length + len(voice)) / SAMPLE_RATE, name))
        parts += [voice, pause]
        length += len(voice) + len(pause)
    return Window(np.concatenate([*parts, chunk]).astype(np.float32), tuple(turns), length / SAMPLE_RATE)


class Writes(Protocol):
    """Hears a window `(num_samples,)` of at most the vocabulary's length, and writes turns after those that are given;
    `most`: at most so many speakers, those of the given turns included."""

    def __call__(self, samples: Float32, given: Given, most: int) -> Written:
        """What is written, the given turns included."""
        ...


@dataclass(frozen=True)
class Piece:
    """A stretch in which one speaker talks alone."""

    start: float
    confidence: float
    samples: Float32

    @property
    def worth(self) -> tuple[float, float]:
        """Surer and longer ones are better; of equals, the most recent one."""
        return self.confidence * min(len(self.samples) / SAMPLE_RATE, 2.0), self.start


class Voices:
    """What speakers sound like: the best stretches in which each was heard alone."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds  # of a prompt
        self.pieces: dict[str, list[Piece]] = {}

    def learn(self, turns: Sequence[Turn], samples: Float32, start: float) -> None:
        """Turns of sound `(num_samples,)` that begins at second `start` of the recording, in whose time they are."""
        for turn in alone(turns):
            first, last = to_samples(turn.start - start), to_samples(turn.end - start)
            if turn.duration < PIECE:
                continue
            kept = self.pieces.setdefault(turn.speaker, [])
            kept.append(Piece(turn.start, turn.confidence, samples[max(first, 0) : last].copy()))
            kept.sort(key=lambda piece: piece.worth, reverse=True)
            total = 0.0
            for number, piece in enumerate(kept):
                total += len(piece.samples) / SAMPLE_RATE
                if total >= KEPT * self.seconds:
                    del kept[number + 1 :]
                    break

    def known(self, name: str) -> float:
        """Seconds that are kept of a speaker."""
        return sum(len(piece.samples) for piece in self.pieces.get(name, ())) / SAMPLE_RATE

    def of(self, name: str, seconds: float) -> Float32:
        """At most so many seconds of a speaker, the best stretches, in order of time. Shape `(num_samples,)`."""
        room = to_samples(seconds)
        chosen = []
        for piece in self.pieces[name]:
            chosen.append(replace(piece, samples=piece.samples[:room]))
            room -= len(chosen[-1].samples)
            if room < to_samples(PIECE):
                break
        return np.concatenate([piece.samples for piece in sorted(chosen, key=lambda piece: piece.start)])


def alone(turns: Sequence[Turn]) -> Iterator[Turn]:
    """What is left of each turn where nobody else talks."""
    for turn in turns:
        edges = {turn.start, turn.end}
        others = [t for t in turns if t is not turn and t.start < turn.end and t.end > turn.start]
        edges |= {edge for t in others for edge in (t.start, t.end) if turn.start < edge < turn.end}
        for start, end in itertools.pairwise(sorted(edges)):
            if not any(t.start < end and t.end > start for t in others):
                yield replace(turn, start=start, end=end)


class Sound:
    """A recording that comes in blocks `(num_samples,)`, and is forgotten once nobody needs it any more."""

    def __init__(self, blocks: Iterable[Float32]) -> None:
        self.blocks = iter(blocks)
        self.held: Float32 = np.zeros(0, np.float32)
        self.first = 0  # sample of the recording that is the first one held

    def __call__(self, first: int, last: int) -> Float32:
        """Samples `[first, last)`, fewer where the recording ends; none before `first` will be asked for again."""
        parts = [self.held[first - self.first :]]
        missing = last - first - len(parts[0])
        while missing > 0 and (block := next(self.blocks, None)) is not None:
            parts.append(block)
            missing -= len(block)
        self.held, self.first = np.concatenate(parts), first
        return self.held[: last - first]


class Chain:
    """Goes through a recording of any length. `most`: at most so many speakers in all of it.

    Who talked longest ago is left out where not all known speakers fit in front; so is who was never heard alone for
    long enough. One who is left out is still known again where he talks on in the stretch that two windows share.
    """

    def __init__(self, write: Writes, vocabulary: Vocabulary, config: PromptConfig, most: int | None = None) -> None:
        self.write, self.vocabulary, self.config = write, vocabulary, config
        self.most = most
        self.voices = Voices(config.seconds)
        self.turns: list[Turn] = []  # the answer, as it grows
        self.last: dict[str, int] = {}  # each speaker's last turn in it
        self.latest: dict[str, float] = {}  # when each was last heard, by order of appearance
        self.shared: list[Turn] = []  # what the last window says of the stretch that the next one hears too
        self.num_windows = self.num_unended = self.num_left_out = self.num_samples = 0
        widest = (1 - config.share) * vocabulary.max_seconds / 2  # so that there is always more that is new
        self.half = to_samples(min(config.overlap, widest) / 2)

    def __call__(self, blocks: Iterable[Float32]) -> Iterator[float]:
        """Hear blocks `(num_samples,)` at 16 kHz; says how many seconds are done after each window.

        `turns` is the answer when the iterator ends.
        """
        sound, begin, last = Sound(blocks), 0, False  # begin: the first sample that has no answer yet
        while not last:
            prompts = self._prompts()
            used = sum(len(voice) + to_samples(self.config.silence) for voice in prompts.values())
            room = int(self.vocabulary.max_seconds * SAMPLE_RATE) - used
            first = max(begin - self.half, 0)
            chunk = sound(first, first + 2 * room)
            last = len(chunk) <= room
            if room < len(chunk) < 2 * room - 2 * self.half:  # what is left is parted evenly
                chunk = chunk[: len(chunk) // 2 + self.half]
            chunk = chunk[:room]
            if len(chunk) == 0:
                return
            cut = first + len(chunk) - (0 if last else self.half)
            self._hear(prompts, chunk, first / SAMPLE_RATE, (begin / SAMPLE_RATE, cut / SAMPLE_RATE), last)
            self.num_samples = begin = cut
            yield begin / SAMPLE_RATE

    def _prompts(self) -> dict[str, Float32]:
        """The voices that come in front of the next window, in order of first appearance."""
        config = self.config
        if not config.seconds:
            return {}
        least = min(config.least, config.seconds)
        names = [name for name in self.latest if self.voices.known(name) >= least]
        room = config.share * self.vocabulary.max_seconds
        fits = min(int(room / (least + config.silence)), self.vocabulary.num_speakers - 1)
        recent = sorted(names, key=self.latest.__getitem__, reverse=True)[:fits]
        self.num_left_out = max(self.num_left_out, len(names) - len(recent))
        seconds = min(config.seconds, room / max(len(recent), 1) - config.silence)
        return {name: self.voices.of(name, seconds) for name in names if name in recent}

    def _hear(
        self, prompts: dict[str, Float32], chunk: Float32, start: float, span: tuple[float, float], last: bool
    ) -> None:
        """Have a chunk from second `start` written, of which the answer to `span`, in seconds, is taken."""
        window = compose(prompts, chunk, self.config.silence)
        end = window.offset + len(chunk) / SAMPLE_RATE
        given = Given(self.vocabulary.encode(window.turns)[:-1], window.offset, end)
        most = self.vocabulary.num_speakers if self.most is None else self.most
        written = self.write(window.samples, given, most)
        fewer = self._without_faint(written, len(prompts), end if last else window.offset + span[1] - start)
        if fewer is not None:
            written = self.write(window.samples, given, fewer)
        self.num_windows += 1
        self.num_unended += not written.ended
        shift = start - window.offset
        new = [replace(t, start=t.start + shift, end=t.end + shift) for t in written.turns[len(prompts) :]]
        names = self._names(new, list(prompts), span)
        turns = [replace(t, speaker=names[t.speaker]) for t in new if t.speaker in names]
        inside = list(within(turns, *span))
        self._take(inside, span[0])
        self.voices.learn(inside, chunk, start)
        self.shared = list(within(turns, span[1] - self.half / SAMPLE_RATE, np.inf))

    def _without_faint(self, written: Written, num_known: int, end: float) -> int | None:
        """How many speakers are left without the new ones who say so little that they are likelier known ones; None
        where all may stay. One who talks on at second `end` of the window has not said all."""
        talk: dict[str, float] = {}
        for turn in written.turns:
            talk[turn.speaker] = talk.get(turn.speaker, 0.0) + (np.inf if turn.end > end else turn.duration)
        known = {label(number) for number in range(num_known)}
        new = [seconds for name, seconds in talk.items() if name not in known]
        faint = sum(seconds < self.config.least for seconds in new)
        return num_known + len(new) - faint if known and faint else None

    def _names(self, turns: Sequence[Turn], prompts: list[str], span: tuple[float, float]) -> dict[str, str]:
        """Whom of the recording each label of a window means: who was put in front, who talks on in what is shared, or
        else somebody new; nobody where only what lies outside `span` is said to be new."""
        names = {label(number): name for number, name in enumerate(prompts)}
        new = [name for name in dict.fromkeys(t.speaker for t in turns) if name not in names]
        known = [name for name in self.latest if name not in prompts]
        talked = _talked_together(turns, new, self.shared, known)
        for row, column in zip(*linear_sum_assignment(-talked), strict=True):
            if talked[row, column] > SAME:
                names[new[row]] = known[column]
        heard = {t.speaker for t in within(turns, *span)}
        for name in (name for name in new if name not in names and name in heard):
            full = self.most is not None and len(self.latest) >= self.most
            left = [one for one in known if one not in names.values()]
            names[name] = max(left, key=self.latest.__getitem__) if full else label(len(self.latest))
            self.latest.setdefault(names[name], span[0])
        return names

    def _take(self, turns: list[Turn], since: float) -> None:
        """Add turns to the answer; one that goes on across `since`, where it is taken up, is one turn."""
        for turn in sorted(turns):
            self.latest[turn.speaker] = max(self.latest[turn.speaker], turn.end)
            place = self.last.get(turn.speaker)
            if place is not None and turn.start <= since + SAME and self.turns[place].end >= since - SAME:
                self.turns[place] = _joined(self.turns[place], turn)
                continue
            self.last[turn.speaker] = len(self.turns)
            self.turns.append(turn)


def within(turns: Iterable[Turn], start: float, end: float) -> Iterator[Turn]:
    """What lies between two moments."""
    for turn in turns:
        cut = replace(turn, start=max(turn.start, start), end=min(turn.end, end))
        if cut.duration > SAME:
            yield cut


def _joined(one: Turn, other: Turn) -> Turn:
    """One turn of two, as sure as they are on average."""
    sure = (one.confidence * one.duration + other.confidence * other.duration) / (one.duration + other.duration)
    return replace(one, end=other.end, confidence=sure)


def _talked_together(
    turns: Sequence[Turn], names: Sequence[str], others: Sequence[Turn], known: Sequence[str]
) -> Float64:
    """Seconds that each of `names` and each of `known` talk at once, `(num_names, num_known)`."""
    found = np.zeros((len(names), len(known)))
    for one, other in itertools.product(turns, others):
        if one.speaker in names and other.speaker in known:
            shared = max(0.0, min(one.end, other.end) - max(one.start, other.start))
            found[names.index(one.speaker), known.index(other.speaker)] += shared
    return found
