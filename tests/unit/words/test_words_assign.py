"""Whose a stretch of time is: against a plain search through all turns, and the cases that other rules get wrong."""

import math
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from diarist.core.types import Turn
from diarist.words import assign
from diarist.words.assign import choose

GRID = 0.25  # seconds; few different times, so that ties, touching edges and equal turns are common


def brute(start, end, turns, nearest):
    """The rule, word for word, turn by turn."""
    start, end = min(start, end), max(start, end)
    ordered = sorted(turns, key=lambda turn: turn.start)
    said: dict[str, float] = {}
    for turn in ordered:
        both = min(end, turn.end) - max(start, turn.start)
        if both > 0:
            said[turn.speaker] = said.get(turn.speaker, 0.0) + both
    if said:
        return max(said, key=lambda speaker: said[speaker])  # the first of equals: dictionaries keep their order
    best, distance = None, math.inf
    for turn in ordered:
        gap = max(turn.start - end, start - turn.end, 0.0)
        if gap < distance:
            best, distance = turn.speaker, gap
    inside = distance == 0 and start == end
    return best if best is not None and (inside or distance <= nearest) else None


def on_grid(most):
    return st.integers(0, most).map(lambda step: step * GRID)


TURN = st.builds(
    lambda start, length, who: Turn(start, start + length, who), on_grid(40), on_grid(12), st.sampled_from("ABC")
)
SPAN = st.tuples(on_grid(48), on_grid(8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@settings(max_examples=1000, deadline=None)
@given(st.lists(TURN, max_size=12), st.lists(SPAN, max_size=12), st.sampled_from([-1.0, 0.0, 1.0, math.inf]))
@example([Turn(0, 1, "A"), Turn(10, 11, "B"), Turn(12, 13, "B"), Turn(100, 101, "B")], [(9.0, 9.5)], math.inf)
@example([Turn(0, 100, "A"), Turn(103, 104, "B")], [(100.5, 100.8)], math.inf)
def test_equals_brute_force(turns, spans, nearest):
    choice = choose([s for s, _ in spans], [e for _, e in spans], turns, nearest)
    assert [choice.name(i) for i in range(len(spans))] == [brute(s, e, turns, nearest) for s, e in spans]


@settings(max_examples=100, deadline=None)
@given(st.lists(TURN, min_size=1, max_size=12), st.lists(SPAN, min_size=1, max_size=12))
def test_the_same_in_small_blocks(turns, spans):
    starts, ends = np.array(spans).T
    whole = choose(starts, ends, turns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assign, "MOST_PAIRS", 3)
        parts = choose(starts, ends, turns)
    assert np.array_equal(whole.speakers, parts.speakers)
    assert np.array_equal(whole.confidence, parts.confidence)


def test_equals_brute_force_on_times_that_are_not_round():
    rng = np.random.default_rng(0)
    for _ in range(50):
        turns = [Turn(s, s + rng.exponential(2), f"S{rng.integers(4)}") for s in rng.uniform(0, 60, 20)]
        starts = rng.uniform(0, 60, 50)
        ends = starts + rng.exponential(0.4, 50)
        choice = choose(starts, ends, turns)
        assert [choice.name(i) for i in range(50)] == [
            brute(s, e, turns, math.inf) for s, e in zip(starts, ends, strict=True)
        ]


def test_a_tie_is_a_tie_although_its_halves_are_no_binary_fractions():
    turns = [Turn(0.0, 1.0, "B"), Turn(1.0, 2.0, "A")]
    assert 1.1 - 1.0 > 1.0 - 0.9  # in floating point, the later turn covers more
    assert choose([0.9], [1.1], turns).name(0) == "B"


@pytest.mark.parametrize(
    ("start", "end", "speaker"),
    [(9.0, 9.5, "B"), (4.0, 6.0, "A"), (11.5, 11.5, "B"), (1.0, 1.0, "A"), (200.0, 201.0, "B"), (-5.0, -4.0, "A")],
)
def test_nearest_by_edge(start, end, speaker):
    turns = [Turn(0, 1, "A"), Turn(10, 11, "B"), Turn(12, 13, "B"), Turn(100, 101, "B")]
    turns = [*turns, Turn(9.5, 9.5, "B")]
    assert choose([start], [end], turns).name(0) == speaker


def test_nobody_beyond_reach_and_a_moment_inside_a_turn_without_any():
    turns = [Turn(0, 1, "A")]
    assert choose([2.0], [2.5], turns, nearest=0.9).name(0) is None
    assert choose([2.0], [2.5], turns, nearest=1.0).name(0) == "A"
    assert choose([0.5], [0.5], turns, nearest=-1.0).name(0) == "A"
    assert choose([1.0], [1.5], turns, nearest=-1.0).name(0) is None


def test_backwards_unknown_and_nothing():
    turns = [Turn(0, 1, "A"), Turn(2, 3, "B")]
    assert choose([2.9], [2.1], turns).name(0) == "B"
    assert choose([math.nan, 0.0], [1.0, math.nan], turns).speakers.tolist() == [-1, -1]
    assert choose([0.0], [1.0], []).name(0) is None
    assert choose([], [], turns).speakers.shape == (0,)
    assert choose([1e300], [math.inf], turns).name(0) == "B"


def test_seconds_since_1970():
    now = 1_763_640_000.0
    turns = [Turn(now, now + 1.5, "A"), Turn(now + 1.5, now + 3, "B")]
    choice = choose([now + 0.1, now + 1.4, now + 1.3], [now + 0.4, now + 1.9, now + 1.6], turns)
    assert [choice.name(index) for index in range(3)] == ["A", "B", "A"]


def test_confidence():
    turns = [Turn(0, 10, "A", 0.8), Turn(5, 10, "B", 0.6)]
    choice = choose([1, 6, 9.5, 11.0, 7.0], [2, 7, 10.5, 12.0, 7.0], turns)
    # covered alone; half of the voices; a quarter of A's share is silence; one second away; a moment of two voices
    assert choice.confidence == pytest.approx([0.8, 0.4, 0.8 * 0.5, 0.8 * assign.AT_THE_EDGE / 2, 0.4], abs=1e-6)


def test_speed():
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, 10_800, 30_000))
    turns = [Turn(s, s + rng.uniform(0.3, 4.0), f"S{rng.integers(6)}") for s in rng.uniform(0, 10_800, 5000)]
    begun = time.process_time()
    choose(starts, starts + 0.3, turns)
    assert time.process_time() - begun < 1.0
