"""Other people in a conversation that was heard once (front end `frames`, training only).

A network that hears the same conversations again and again learns who talks when by their rhythm. So the turns of a
conversation are given to other people, made up at each visit: to a voice is added what the mean of its speaker differs
by from that of whom the turn is given to. What is left in it, the sound of that instant, the room, an overlap, stays
as it was heard. Only a comparison of voices then tells who talks. Made-up people lie about as far apart as real ones
do within a recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Turn
from diarist.pix2seq.frontends.frames import FRAME, SUBFRAMES
from diarist.pix2seq.frontends.grouping import voice_plda
from diarist.stages import powerset

AROUND = 3  # voices to either side that hear the same instant
SURE = 10.0  # seconds, of all voices of a speaker together, that their mean is told from at least
PURE = 0.9  # share of a voice that must be one speaker's to count for their mean
UNIT = 1.5  # seconds: turns of a speaker that are nearer stay one person's
JOINED = 0.3  # seconds: a shorter pause between two turns of one person is none
FREE = 0.6  # share of the examples in which each turn is given away by itself, and not each speaker
LARGEST = 5  # people that a conversation is given to at most; two at least
SAME = 0.4  # chance that one of them sounds like one of those who were heard
NEAR = 0.25  # chance that somebody made up sounds a little like the one before
VARIED = 0.9  # variance over the speakers of a recording, in the units of voices, of the dimensions with the largest

Heard = Mapping[str, NDArray[Any]]
Means = Mapping[str, Float32]


def means(heard: Heard, turns: Sequence[Turn]) -> dict[str, Float32]:
    """The mean voice `(dimensions,)` of each speaker who is heard alone for long enough."""
    names = sorted({turn.speaker for turn in turns})
    told = _told(heard, [[turn for turn in turns if turn.speaker == name] for name in names])
    share = told / np.maximum(told.sum(axis=3, keepdims=True), 1e-6)
    weights = np.where(share > PURE, heard["seconds"].astype(np.float32)[..., None], 0.0)
    sums = np.einsum("cwkn,cwkd->nd", weights, heard["voices"].astype(np.float32))
    total = weights.sum(axis=(0, 1, 2))
    return {name: sums[i] / total[i] for i, name in enumerate(names) if total[i] > SURE}


def recast(
    heard: Heard,
    turns: Sequence[Turn],
    known: Means,
    rng: np.random.Generator,
    *,
    by_speaker: bool = False,
) -> tuple[Heard, tuple[Turn, ...]]:
    """The same sound by other people, and their turns.

    `known` are the means of the speakers. `by_speaker`: each speaker becomes one other person. As it was where a
    speaker's mean is not known.
    """
    names = list(dict.fromkeys(turn.speaker for turn in sorted(turns)))
    if not names or any(name not in known for name in names):
        return heard, tuple(turns)
    free = not by_speaker and rng.random() < FREE
    cast = _cast(list(known.values()), len(names) if by_speaker else int(rng.integers(2, LARGEST + 1)), rng)
    units = _units(turns, free)
    roles = list(rng.permutation(len(cast))) if by_speaker else _roles(units, len(cast), rng)
    shifts = np.stack([cast[role] - known[unit[0].speaker] for unit, role in zip(units, roles, strict=True)])
    told = _told(heard, units)
    told = told / np.maximum(told.sum(axis=3, keepdims=True), 1e-3)
    voices = heard["voices"].astype(np.float32)
    voices = voices + (told @ shifts) * (heard["seconds"] > 0)[..., None]
    play = "+".join(names)  # two examples that are spliced have no one in common
    given = [replace(t, speaker=f"{role} in {play}") for unit, role in zip(units, roles, strict=True) for t in unit]
    return {**heard, "voices": voices}, _joined(given)


def _cast(known: Sequence[Float32], num: int, rng: np.random.Generator) -> list[Float32]:
    """Mean voices of `num` people: about the middle of those who are known, some of them theirs."""
    middle, spread = np.mean(known, axis=0), _spread(len(known[0]))
    left = [known[i] for i in rng.permutation(len(known))]
    cast: list[Float32] = []
    for _ in range(num):
        drawn = rng.normal(size=len(spread)).astype(np.float32) * spread
        if left and rng.random() < SAME:
            cast.append(left.pop())
        elif cast and rng.random() < NEAR:
            near = rng.uniform(0.3, 0.7)
            cast.append(middle + near * (cast[-1] - middle) + np.sqrt(1 - near**2) * drawn)
        else:
            cast.append(middle + drawn)
    return cast


@cache
def _spread(size: int) -> Float32:
    """Standard deviation of the means of a recording's speakers, of their first dimensions: what the PLDA says, but
    for those dimensions that differ most between recordings (`VARIED`)."""
    psi = voice_plda().psi[:size]
    return np.sqrt(np.minimum(psi / np.mean(1 + psi), VARIED)).astype(np.float32)


def _units(turns: Sequence[Turn], free: bool) -> list[list[Turn]]:
    """Turns that go to one person: all of a speaker's, or (`free`) those of theirs that follow each other closely."""
    units: list[list[Turn]] = []
    latest: dict[str, list[Turn]] = {}
    for turn in sorted(turns):
        unit = latest.get(turn.speaker)
        if unit is not None and (not free or turn.start - unit[-1].end < UNIT):
            unit.append(turn)
            continue
        latest[turn.speaker] = [turn]
        units.append(latest[turn.speaker])
    return units


def _roles(units: Sequence[Sequence[Turn]], num: int, rng: np.random.Generator) -> list[int]:
    """Who of `num` people each unit is given to, at random, but that nobody talks twice at once."""
    roles: list[int] = []
    for unit in units:
        busy = {role for role, other in zip(roles, units, strict=False) if _overlap(unit, other)}
        free = [role for role in range(num) if role not in busy]
        roles.append(int(rng.choice(free)) if free else num - 1)
    return roles


def _overlap(unit: Sequence[Turn], other: Sequence[Turn]) -> bool:
    if other[-1].end <= unit[0].start or unit[-1].end <= other[0].start:
        return False
    return any(one.start < two.end and two.start < one.end for one in unit for two in other)


def _joined(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Turns of one person that touch, or nearly, as one."""
    joined: list[Turn] = []
    last: dict[str, int] = {}
    for turn in sorted(turns):
        place = last.get(turn.speaker)
        if place is not None and turn.start - joined[place].end < JOINED:
            joined[place] = replace(joined[place], end=max(joined[place].end, turn.end))
            continue
        last[turn.speaker] = len(joined)
        joined.append(turn)
    return tuple(sorted(joined))


def _told(heard: Heard, spans: Sequence[Sequence[Turn]]) -> Float32:
    """How much of what each voice was told from lies in each of some spans of time and is said by the local speaker
    alone there: `(num_chunks, num_windows, num_local, num_spans)`."""
    members = powerset.mapping(3, 2).astype(np.float32)
    local = heard["scores"].astype(np.float32) @ members / 255  # (num_chunks, num_frames, num_local)
    local *= np.where(local.sum(axis=2, keepdims=True) > 1.5, 0.1, 1.0)  # where two talk, a voice is of both
    num_windows = heard["voices"].shape[1]
    missing = num_windows * SUBFRAMES - local.shape[1]
    local = np.pad(local, ((0, 0), (0, missing), (0, 0))).reshape(len(local), num_windows, SUBFRAMES, -1)
    steps = np.arange(num_windows * SUBFRAMES, dtype=np.float32)
    times = ((heard["starts"][:, None] + steps) * (FRAME / SAMPLE_RATE)).reshape(*local.shape[:3])
    inside = np.zeros((*times.shape, len(spans)), np.float32)
    for place, span in enumerate(spans):
        for turn in span:
            inside[..., place] += (times >= turn.start) & (times < turn.end)
    near = local.swapaxes(2, 3) @ inside  # (num_chunks, num_windows, num_local, num_spans)
    sums = np.pad(near, ((0, 0), (AROUND + 1, AROUND), (0, 0), (0, 0))).cumsum(axis=1)
    return sums[:, 2 * AROUND + 1 :] - sums[:, : -2 * AROUND - 1]
