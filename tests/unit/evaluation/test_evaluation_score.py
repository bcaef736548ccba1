"""Errors by hand-made cases; equality with pyannote.metrics is in tests/parity."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Diarization, Turn
from diarist.errors import InputError, UsageError
from diarist.evaluation.score import Errors, compare, score


def said(*turns, uri="call"):
    return Diarization(tuple(Turn(start, end, speaker) for start, end, speaker in turns), uri)


TWO = said((0, 10, "ann"), (10, 20, "bob"))


def test_the_same_turns_under_other_names_are_right():
    errors = score(TWO, said((0, 10, "x"), (10, 20, "y")))
    assert errors.der == errors.jer == 0.0
    assert (errors.correct, errors.total, errors.files, errors.count_exact) == (20.0, 20.0, 1, 1)


def test_every_kind_of_error():
    # 2 s missed at the start, 3 s of bob given to ann, 5 s of false alarm at the end
    errors = score(TWO, said((2, 13, "x"), (13, 25, "y")))
    assert (errors.miss, errors.confusion, errors.false_alarm, errors.correct) == (2.0, 3.0, 5.0, 15.0)
    assert errors.der == 0.5
    assert (errors.miss_rate, errors.confusion_rate, errors.false_alarm_rate) == (0.1, 0.15, 0.25)
    # ann: 8 shared of 0-13; bob: 7 shared of 10-25
    assert errors.jer == pytest.approx(((1 - 8 / 13) + (1 - 7 / 15)) / 2)


def test_the_mapping_shares_the_most_time_overall_not_greedily():
    # greedy takes x=ann for 6 s and leaves bob 0; the best pairs are x=bob (5) and y=ann (4): 9 s
    reference = said((0, 10, "ann"), (10, 15, "bob"))
    comparison = compare(reference, said((0, 6, "x"), (10, 15, "x"), (6, 10, "y")))
    assert comparison.mapping == {"x": "bob", "y": "ann"}
    assert comparison.errors.correct == 9.0


def test_speakers_that_share_no_time_are_not_mapped():
    assert compare(said((0, 5, "ann")), said((5, 9, "x"))).mapping == {}


def test_overlapped_speech_counts_once_for_each_speaker():
    reference = said((0, 10, "ann"), (4, 8, "bob"))
    errors = score(reference, said((0, 10, "x")))
    assert (errors.total, errors.miss) == (14.0, 4.0)
    assert errors.overlap_share == 0.4
    left_out = score(reference, said((0, 10, "x")), skip_overlap=True)
    assert (left_out.total, left_out.miss) == (6.0, 0.0)
    assert left_out.overlap_share == 0.4


def test_a_miss_and_a_confusion_at_once():
    comparison = compare(said((0, 4, "ann"), (0, 4, "bob"), (4, 20, "cem")), said((0, 20, "x")))
    assert comparison.mapping == {"x": "cem"}
    assert (comparison.errors.miss, comparison.errors.confusion) == (4.0, 4.0)


def test_a_speakers_own_overlapping_turns_are_one():
    doubled = said((0, 10, "ann"), (5, 8, "ann"), (10, 12, "ann"))
    comparison = compare(doubled, said((0, 12, "x")), collar=2)
    assert comparison.errors.der == 0.0
    assert comparison.errors.total == 10.0  # 1 s off each end, nothing at 5, 8 and 10
    assert comparison.repeated == 3.0


def test_the_collar_is_the_whole_width():
    errors = score(TWO, said((0, 11, "x"), (11, 20, "y")), collar=1.0)
    assert errors.confusion == 0.5
    assert errors.total == 20 - 0.5 - 1 - 0.5


def test_only_the_uem_is_scored():
    hypothesis = said((0, 10, "x"), (10, 15, "y"), (30, 40, "z"))
    errors = score(TWO, hypothesis, uem=[(5, 12), (10, 16)])
    assert (errors.total, errors.miss, errors.false_alarm) == (11.0, 1.0, 0.0)
    assert (errors.ref_speakers, errors.hyp_speakers) == (2, 2)
    assert score(TWO, hypothesis).hyp_speakers == 3
    assert score(TWO, hypothesis, uem=[]) == Errors(files=1, count_exact=1)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "der", "jer"),
    [(said(), said(), 0, 0), (said(), TWO, 1, 1), (TWO, said(), 1, 1)],
)
def test_empty_sides(reference, hypothesis, der, jer):
    errors = score(reference, hypothesis)
    assert (errors.der, errors.jer) == (der, jer)


def test_speaker_counts():
    pooled = score(TWO, TWO) + score(TWO, said((0, 20, "x"))) + score(TWO, said((0, 1, "x"), (1, 2, "y"), (2, 3, "z")))
    assert pooled.count_accuracy == pytest.approx(1 / 3)
    assert pooled.mean_count_error == pytest.approx(2 / 3)


def test_stretches_and_errors_tell_the_same():
    comparison = compare(TWO, said((2, 13, "x"), (13, 25, "y")), collar=0.5)
    seconds = np.diff(comparison.edges)
    assert comparison.miss @ seconds == comparison.errors.miss
    assert comparison.confusion @ seconds == comparison.errors.confusion
    assert comparison.false_alarm @ seconds == comparison.errors.false_alarm
    assert not comparison.miss[~comparison.scored].any()


@pytest.mark.parametrize("collar", [-0.1, math.nan, math.inf])
def test_an_impossible_collar(collar):
    with pytest.raises(UsageError, match="collar"):
        score(TWO, TWO, collar=collar)


@pytest.mark.parametrize("region", [(5, 1), (math.nan, 4), (0, math.inf)])
def test_an_impossible_uem(region):
    with pytest.raises(UsageError, match="UEM"):
        score(TWO, TWO, uem=[region])


def test_times_that_are_not_finite():
    with pytest.raises(InputError, match="'call' has a turn from 0 to inf"):
        score(said((0, math.inf, "ann")), TWO)


def test_many_speakers_and_turns_stay_quick_and_small():
    rng = np.random.default_rng(0)
    start = np.sort(rng.uniform(0, 86_400, 20_000))
    day = said(*((s, s + 5, f"s{k}") for s, k in zip(start, rng.integers(0, 200, len(start)), strict=True)))
    assert score(day, day).der == 0.0


turns = st.lists(
    st.tuples(st.floats(0, 50), st.floats(0.001, 9), st.sampled_from("abc")).map(lambda t: (t[0], t[0] + t[1], t[2])),
    max_size=8,
)
some_errors = st.builds(lambda r, h, collar: score(said(*r), said(*h), collar=collar), turns, turns, st.floats(0, 1))


@settings(deadline=None, max_examples=60)
@given(some_errors, some_errors, some_errors)
def test_errors_are_a_commutative_monoid_exactly(a, b, c):
    assert Errors() + a == a == a + Errors()
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert sum([a, b, c], Errors()) == c + b + a


@settings(deadline=None, max_examples=60)
@given(turns, turns)
def test_bounds(reference, hypothesis):
    errors = score(said(*reference), said(*hypothesis))
    assert 0 <= errors.jer <= 1
    assert all(value >= 0 for value in dataclasses.asdict(errors).values())
    assert score(said(*reference), said(*reference)).der == 0


def test_errors_add_to_nothing_else():
    with pytest.raises(TypeError):
        Errors() + 1


def test_to_dict_is_plain_and_complete():
    values = score(TWO, said((0, 10, "x"))).to_dict()
    assert (values["der"], values["miss"], values["total"], values["files"]) == (0.5, 10.0, 20.0, 1)
    assert {type(value) for value in values.values()} == {int, float}
