"""Turns given to other people: what is heard and what is said of it go together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Turn
from diarist.pix2seq.frontends.frames import FRAME, HOP, NUM_VOICE, SUBFRAMES
from diarist.pix2seq.frontends.recast import LARGEST, means, recast
from diarist.stages import powerset

FRAMES, WINDOWS = 589, 30
TURNS = (
    Turn(0.2, 4.0, "ann"),
    Turn(4.2, 7.8, "bob"),
    Turn(8.0, 11.0, "ann"),
    Turn(11.2, 14.8, "bob"),
    Turn(15.0, 19.5, "ann"),
)
NAMES = ("ann", "bob")


def heard(turns: tuple[Turn, ...], rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a front end that is never wrong hears of 20 s: local speaker k is `NAMES[k]`, their voices have noise."""
    voices = {name: rng.normal(size=NUM_VOICE).astype("f4") for name in NAMES}
    members = powerset.mapping(3, 2)
    starts = np.arange(3) * HOP
    scores = np.zeros((3, FRAMES, len(members)), np.uint8)
    told = np.zeros((3, WINDOWS, 3, NUM_VOICE), np.float16)
    seconds = np.zeros((3, WINDOWS, 3), np.float32)
    for chunk, start in enumerate(starts):
        times = (start + np.arange(FRAMES)) * FRAME / SAMPLE_RATE
        talks = np.stack(
            [np.any([(t.start <= times) & (times < t.end) for t in turns if t.speaker == n], 0) for n in NAMES]
        )
        kinds = [int(np.flatnonzero((members == [one, two, False]).all(axis=1))[0]) for one, two in talks.T]
        scores[chunk, np.arange(FRAMES), kinds] = 255
        for window in range(WINDOWS):
            near = slice(max(0, (window - 2) * SUBFRAMES), (window + 3) * SUBFRAMES)
            for k, name in enumerate(NAMES):
                seconds[chunk, window, k] = talks[k, near].sum() * FRAME / SAMPLE_RATE
                if seconds[chunk, window, k]:
                    told[chunk, window, k] = voices[name] + 0.1 * rng.normal(size=NUM_VOICE)
    return {"scores": scores, "voices": told, "seconds": seconds, "starts": starts}, voices


def middle(sound: dict[str, Any], turn: Turn, local: int) -> np.ndarray:
    """The voice of a local speaker in the middle of a turn."""
    frame = round((turn.start + turn.end) / 2 * SAMPLE_RATE / FRAME)
    chunk = max(c for c in range(3) if frame - sound["starts"][c] >= SUBFRAMES)
    voice = sound["voices"][chunk, (frame - sound["starts"][chunk]) // SUBFRAMES, local]
    return np.asarray(voice, dtype="f4")


def test_means_are_those_of_the_speakers() -> None:
    sound, voices = heard(TURNS, np.random.default_rng(0))
    found = means(sound, TURNS)
    assert found.keys() == set(NAMES)
    for name in NAMES:
        assert np.abs(found[name] - voices[name]).max() < 0.1


def test_who_is_heard_too_little_has_none() -> None:
    turns = (*TURNS[:1], Turn(5.0, 5.3, "bob"))
    sound, _ = heard(turns, np.random.default_rng(0))
    known = means(sound, turns)
    assert known.keys() == {"ann"}
    assert recast(sound, turns, known, np.random.default_rng(0)) == (sound, turns)


@pytest.mark.parametrize("seed", range(12))
def test_voices_follow_the_turns(seed: int) -> None:
    sound, _ = heard(TURNS, np.random.default_rng(seed))
    known = means(sound, TURNS)
    other, given = recast(sound, TURNS, known, np.random.default_rng(seed))
    assert len({turn.speaker for turn in given}) <= LARGEST
    owner = [next(g.speaker for g in given if g.start <= (t.start + t.end) / 2 <= g.end) for t in TURNS]
    shifts: dict[str, list[np.ndarray]] = {}
    for turn, name in zip(TURNS, owner, strict=True):
        local = NAMES.index(turn.speaker)
        shift = middle(other, turn, local) - middle(sound, turn, local)
        shifts.setdefault(name, []).append(known[turn.speaker] + shift)
    for turns_of_one in shifts.values():  # wherever somebody talks, it is with one voice
        assert all(np.allclose(one, turns_of_one[0], atol=0.02) for one in turns_of_one)
    firsts = [turns_of_one[0] for turns_of_one in shifts.values()]
    for i, one in enumerate(firsts):  # and with another one than everybody else
        assert all(np.abs(one - two).max() > 0.3 for two in firsts[:i])


def test_turns_are_given_away_one_by_one_or_by_speaker() -> None:
    sound, _ = heard(TURNS, np.random.default_rng(0))
    known = means(sound, TURNS)
    parted = 0
    for seed in range(40):
        given = recast(sound, TURNS, known, np.random.default_rng(seed))[1]
        parted += len({g.speaker for g in given for t in TURNS[::2] if g.start <= t.start < g.end}) > 1
        kept = recast(sound, TURNS, known, np.random.default_rng(seed), by_speaker=True)[1]
        assert [(t.start, t.end) for t in kept] == [(t.start, t.end) for t in TURNS]
        assert kept[0].speaker == kept[2].speaker == kept[4].speaker != kept[1].speaker == kept[3].speaker
    assert 5 < parted < 40  # ann's turns are not always one person's any more


@pytest.mark.parametrize("seed", range(12))
def test_nobody_talks_twice_at_once(seed: int) -> None:
    turns = (*TURNS, Turn(3.0, 3.6, "bob"), Turn(9.0, 9.5, "bob"))
    sound, _ = heard(tuple(sorted(turns)), np.random.default_rng(seed))
    given = recast(sound, turns, means(sound, turns), np.random.default_rng(seed))[1]
    assert list(given) == sorted(given)
    for one in given:
        assert not any(
            one.start < two.end and two.start < one.end
            for two in given
            if two is not one and two.speaker == one.speaker
        )
    times = np.arange(0, 20, 0.05)
    before, after = (np.array([any(t.start <= x < t.end for t in said) for x in times]) for said in (turns, given))
    assert (after | ~before).all()  # wherever somebody talked, somebody still does


def test_the_same_numbers_give_the_same_people() -> None:
    sound, _ = heard(TURNS, np.random.default_rng(0))
    known = means(sound, TURNS)
    one, two = (recast(sound, TURNS, known, np.random.default_rng(3)) for _ in range(2))
    assert one[1] == two[1] and np.array_equal(one[0]["voices"], two[0]["voices"])
    renamed = tuple(replace(turn, speaker=turn.speaker + "2") for turn in TURNS)
    others = recast(sound, renamed, {f"{k}2": v for k, v in known.items()}, np.random.default_rng(3))[1]
    assert not {turn.speaker for turn in others} & {turn.speaker for turn in one[1]}  # two conversations share nobody
