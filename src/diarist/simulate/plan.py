"""Who speaks when: the turn-taking of a conversation, before there is any sound.

Everything is counted in frames of 10 ms. A plan is a row of stretches of speech, each with an offset to the one before
it (positive: silence, negative: overlap). So stretches may come out longer or shorter than planned, as excerpts of real
speech do, and pauses, gaps and overlaps stay as they were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Diarization, Int64, Turn
from diarist.errors import ConfigError
from diarist.simulate.config import TurnTaking

FPS = 100
"""Frames a second."""

MARGIN = 30
"""Frames between a backchannel and the ends of the speech that it is said over."""

SHORTEST = 10
"""Frames that are left of a stretch, at least, where the end of the conversation cuts it."""


LATEST = 0.8
"""The share of a conversation after which nobody speaks for the first time, as planned."""


@dataclass(frozen=True)
class Backchannel:
    """`length` frames said by `speaker` over a stretch, at the share `at` of the room that there is."""

    speaker: int
    length: int
    at: float


@dataclass(frozen=True)
class Plan:
    """A row of stretches of speech, and backchannels over them.

    `speaker`, `length`, `offset` `(n,)`, in frames; `offset[0]` is the silence at the beginning. `backchannels` by the
    index of the stretch. The row is longer than `duration` frames, so that it can be cut there. `bridge` frames are the
    least that two stretches of a speaker are kept apart.
    """

    duration: int
    bridge: int
    num_speakers: int
    speaker: Int64
    length: Int64
    offset: Int64
    backchannels: dict[int, Backchannel]


def make_plan(num_speakers: int, duration: float, config: TurnTaking, rng: np.random.Generator) -> Plan:
    """Draw the turn-taking of `duration` seconds in which each of `num_speakers` speaks.

    A stretch is never longer than half an equal share of the conversation, so that there is room for everybody.
    Raises `ConfigError` where there is none.
    """
    most = min(config.stretch_most, 0.5 * duration / num_speakers)
    if most < config.stretch_least:
        raise ConfigError(
            f"{num_speakers} speakers do not fit into {duration:.1f} s: ask for fewer, or for a longer one"
        )
    num = int(1.5 * duration / min(config.stretch_median, most)) + 4 * num_speakers + 20
    length = _draw(rng, num, min(config.stretch_median, most), config.stretch_spread, config.stretch_least, most)
    within = int(np.searchsorted(np.cumsum(length + FPS // 2), 0.6 * duration * FPS))
    speaker = _everybody(_floor(num_speakers, num, config, rng), num_speakers, max(within, num_speakers), rng)
    changed = np.diff(speaker, prepend=speaker[0]) != 0
    offset = np.where(
        changed,
        _draw(rng, num, config.gap_median, config.gap_spread, 0.0, max(5.0, 2 * config.gap_median)),
        _draw(rng, num, config.pause_median, config.pause_spread, config.bridge, max(5.0, 2 * config.pause_median)),
    )
    offset[0] = rng.integers(20, 100)
    share = rng.uniform(config.overlap_changes[0], config.overlap_changes[-1])
    changes = np.flatnonzero(changed)
    overlaps = _overlaps(changes, int(rng.binomial(len(changes), share)), length, config, rng)
    offset[changes[overlaps > 0]] = -overlaps[overlaps > 0]
    offset = _in_time(offset, speaker, changed, length, round(duration * FPS), round(config.bridge * FPS))
    backchannels = _backchannels(num_speakers, speaker, length, offset, config, rng)
    return Plan(round(duration * FPS), round(config.bridge * FPS), num_speakers, speaker, length, offset, backchannels)


def _draw(rng: np.random.Generator, num: int, median: float, spread: float, least: float, most: float) -> Int64:
    """`least` plus log-normal draws whose median makes the whole's `median`, in frames; over `most` drawn again."""
    drawn = least + (median - least) * np.exp(spread * rng.standard_normal(num))
    for _ in range(50):
        over = np.flatnonzero(drawn > most)
        if not len(over):
            break
        drawn[over] = least + (median - least) * np.exp(spread * rng.standard_normal(len(over)))
    return np.asarray(np.rint(np.minimum(drawn, most) * FPS), dtype=np.int64)


def _floor(num_speakers: int, num: int, config: TurnTaking, rng: np.random.Generator) -> Int64:
    """Who has the floor: a Markov chain that stays with chance `hold`, and else goes to another by their shares."""
    shares = rng.dirichlet(np.full(num_speakers, config.evenness))
    speaker = np.zeros(num, np.int64)
    if num_speakers == 1:
        return speaker
    move = np.tile(np.maximum(shares, 1e-6), (num_speakers, 1)) * (1 - np.eye(num_speakers))
    cumulative = np.cumsum(move / move.sum(axis=1, keepdims=True), axis=1).tolist()
    holds = (rng.random(num) < config.hold).tolist()
    drawn = rng.random(num).tolist()
    now = int(rng.choice(num_speakers, p=shares))
    for i in range(num):
        if i and not holds[i]:
            now = next((k for k, c in enumerate(cumulative[now]) if drawn[i] < c), (now + 1) % num_speakers)
        speaker[i] = now
    return speaker


def _everybody(speaker: Int64, num_speakers: int, within: int, rng: np.random.Generator) -> Int64:
    """Give a turn among the first `within` stretches to each speaker who has none there.

    It is the whole of a turn of somebody who has another, so that there are no more changes than before; only where
    nobody has, it is one stretch of a longer turn.
    """
    speaker = speaker.copy()
    head = speaker[: min(within, len(speaker))]
    for missing in sorted(set(range(num_speakers)) - set(head.tolist())):
        turn = np.cumsum(np.diff(head, prepend=head[0]) != 0)
        turns = np.bincount(head[np.append(True, np.diff(head) != 0)], minlength=num_speakers)
        free = np.flatnonzero(turns[head] > 1)
        if len(free):
            head[turn == turn[rng.choice(free)]] = missing
        else:
            stretches = np.bincount(head, minlength=num_speakers)
            head[rng.choice(np.flatnonzero(stretches[head] > 1))] = missing
    return speaker


def _in_time(
    offset: Int64, speaker: Int64, changed: NDArray[np.bool_], length: Int64, duration: int, bridge: int
) -> Int64:
    """Shorten the silences before the last speaker's first word, where they would push it out of the conversation.

    The stretches before it may take `LATEST` of the time less the silences' least (0 in a gap, `bridge` in a pause);
    how much of each silence above its least is kept is the same for all. Nearly every plan stays as it is.
    """
    last = max(int(np.flatnonzero(speaker == k)[0]) for k in set(speaker.tolist()))
    before = slice(1, last + 1)
    silence = np.maximum(offset[before], 0)
    least = np.minimum(silence, np.where(changed[before], 0, bridge))
    room = LATEST * duration - offset[0] - length[:last].sum() - least.sum()
    if (silence - least).sum() <= room:
        return offset
    kept = least + np.floor((silence - least) * max(room, 0) / (silence - least).sum())
    shortened: Int64 = offset.copy()
    shortened[before] = np.where(offset[before] > 0, kept, offset[before])
    return shortened


def _overlaps(changes: Int64, num: int, length: Int64, config: TurnTaking, rng: np.random.Generator) -> Int64:
    """Frames of overlap at each of the `changes`; `num` of them overlap, the others get 0.

    `bridge` of every stretch stays free of overlaps, so that three never meet, nobody talks within another's stretch,
    and two stretches of a speaker never grow together over the one between. The longest overlaps go first, each to a
    random change that has room for it, so that room hardly ever shortens one.
    """
    medians = np.where(rng.random(num) < config.interruptions, config.interruption_median, config.overlap_median)
    drawn = np.maximum(np.rint(FPS * medians * np.exp(config.overlap_spread * rng.standard_normal(num))), 1)
    free = np.maximum(length - round(config.bridge * FPS), 0)
    result = np.zeros(len(changes), np.int64)
    for overlap in np.sort(drawn.astype(np.int64))[::-1].tolist():
        room = np.where(result == 0, np.minimum(free[changes - 1], free[changes]), 0)
        fits = np.flatnonzero(room >= overlap)
        chosen = fits[rng.integers(len(fits))] if len(fits) else np.argmax(room)
        result[chosen] = min(overlap, room[chosen])
        free[changes[chosen] - 1] -= result[chosen]
        free[changes[chosen]] -= result[chosen]
    return result


def _backchannels(
    num_speakers: int, speaker: Int64, length: Int64, offset: Int64, config: TurnTaking, rng: np.random.Generator
) -> dict[int, Backchannel]:
    """At most one over each stretch, where it keeps clear of the stretch's ends and of overlaps."""
    num = int(rng.poisson(config.backchannels * (length + offset).sum() / FPS / 60)) if num_speakers > 1 else 0
    lengths = np.rint(FPS * rng.uniform(config.backchannel_length[0], config.backchannel_length[-1], num))
    room = length - np.maximum(-offset, 0) - np.maximum(-np.append(offset[1:], 0), 0) - 2 * MARGIN
    found: dict[int, Backchannel] = {}
    for wanted in np.sort(lengths.astype(np.int64))[::-1].tolist():
        cumulative = np.cumsum(np.where(room >= wanted, room, 0))
        if cumulative[-1] <= 0:
            continue
        over = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        other = int(rng.integers(num_speakers - 1))
        found[over] = Backchannel(other + (other >= speaker[over]), wanted, float(rng.random()))
        room[over] = 0
    return found


class Sized(Protocol):
    """Something that lasts `num_frames` frames."""

    @property
    def num_frames(self) -> int:
        """Length in frames."""
        ...

    def head(self: Piece, num_frames: int) -> Piece:
        """Its beginning, of at most so many frames."""
        ...


Piece = TypeVar("Piece", bound="Sized")


@dataclass(frozen=True)
class Spoken(Generic[Piece]):
    """`piece` said by `speaker` (a number) from frame `start` on."""

    start: int
    speaker: int
    backchannel: bool
    piece: Piece

    @property
    def end(self) -> int:
        """The frame after its last."""
        return self.start + self.piece.num_frames


@dataclass(frozen=True)
class Length:
    """Nothing but a length."""

    num_frames: int

    def head(self, num_frames: int) -> Length:
        """The shorter length."""
        return Length(min(num_frames, self.num_frames))


def perform(plan: Plan, cut: Callable[[int, int], Piece | None]) -> Iterator[Spoken[Piece]]:
    """Put a plan on the time axis. `cut(speaker, length)` gives a piece of about `length` frames, or None.

    The conversation ends at `plan.duration` frames (of a stretch that crosses it the head is said), or where `cut`
    gives None. Backchannels that no longer fit into their stretch are left out.
    """
    end, free = 0, 0
    waiting: tuple[int, int, int] | None = None  # a stretch that may get a backchannel: index, from, to
    for i in range(len(plan.length)):
        piece = cut(int(plan.speaker[i]), int(plan.length[i]))
        length = 0 if piece is None else piece.num_frames
        offset = max(int(plan.offset[i]), -max(min(free, length - plan.bridge), 0))
        start = end + offset
        if waiting is not None:
            yield from _answer(plan, *waiting[:2], min(waiting[2], start) - MARGIN, cut)
            waiting = None
        if piece is None or start + SHORTEST > plan.duration:
            return
        yield Spoken(start, int(plan.speaker[i]), False, piece.head(plan.duration - start))
        if i in plan.backchannels:
            waiting = (i, max(start, end) + MARGIN, start + length)
        end, free = start + length, length - plan.bridge - max(-offset, 0)


def _answer(
    plan: Plan, index: int, earliest: int, latest: int, cut: Callable[[int, int], Piece | None]
) -> Iterator[Spoken[Piece]]:
    """The backchannel over a stretch, if it fits between two frames."""
    back = plan.backchannels[index]
    if earliest + back.length > min(latest, plan.duration):
        return
    piece = cut(back.speaker, back.length)
    if piece is not None and earliest + piece.num_frames <= min(latest, plan.duration):
        start = earliest + round(back.at * (min(latest, plan.duration) - earliest - piece.num_frames))
        yield Spoken(start, back.speaker, True, piece)


def planned(plan: Plan) -> list[Spoken[Length]]:
    """The plan with every stretch as long as it was planned."""
    return list(perform(plan, lambda speaker, length: Length(length)))


def reference(spoken: list[Spoken[Piece]], names: list[str], bridge: float, uri: str, duration: int) -> Diarization:
    """Who spoke when; silences shorter than `bridge` seconds within a speaker are bridged. `duration` in frames."""
    turns: list[Turn] = []
    for k, name in enumerate(names):
        spans: list[list[int]] = []
        for start, end in sorted((s.start, s.end) for s in spoken if s.speaker == k):
            if spans and start - spans[-1][1] < round(bridge * FPS):
                spans[-1][1] = max(spans[-1][1], end)
            else:
                spans.append([start, end])
        turns += [Turn(start / FPS, end / FPS, name) for start, end in spans]
    return Diarization(tuple(turns), uri=uri, duration=duration / FPS)
