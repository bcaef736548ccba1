"""A bounded number of rows: order kept, nothing lost, what sounds alike merged first."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.stages.summary import Rows, joined, merged


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rows_are_kept_as_they_are_while_they_fit():
    voices = unit(np.random.default_rng(0).standard_normal((50, 8))).astype(np.float32)
    rows = Rows.empty(50, 8)
    assert [rows.add(voice) for voice in voices] == [None] * 50
    np.testing.assert_allclose(rows.voices(), voices, rtol=1e-5)
    assert len(rows) == 50 and rows.sizes[:50].tolist() == [1] * 50


def test_one_too_many_halves_them_and_says_where_each_went():
    voices = unit(np.random.default_rng(1).standard_normal((101, 8))).astype(np.float32)
    rows = Rows.empty(100, 8)
    moved = [rows.add(voice) for voice in voices]
    owner = moved[-1]
    assert moved[:-1] == [None] * 100 and len(rows) == 50
    assert owner.shape == (101,) and set(owner) == set(range(50))
    expected = np.zeros((50, 8))
    np.add.at(expected, owner, voices)
    np.testing.assert_allclose(rows.sums[:50], expected, atol=1e-5)
    assert rows.sizes[:50].tolist() == np.bincount(owner).tolist()


def test_what_sounds_alike_is_merged_and_what_does_not_stays_apart():
    voices = np.repeat(np.eye(6), 20, axis=0) + 0.01 * np.random.default_rng(2).standard_normal((120, 6))
    owner = merged(voices.astype(np.float32), np.ones(120, np.int64), 12)
    speakers = np.repeat(np.arange(6), 20)
    assert all(len(set(speakers[owner == row])) == 1 for row in range(owner.max() + 1))


def test_people_who_take_turns_stay_apart():
    rng = np.random.default_rng(4)
    speakers = rng.integers(0, 5, 3000)
    voices = (np.eye(8)[speakers] + 0.1 * rng.standard_normal((3000, 8))).astype(np.float32)
    owner = merged(voices, np.ones(3000, np.int64), 60)
    assert all(len(set(speakers[owner == row])) == 1 for row in range(60))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 1000))
def test_merging_reaches_the_number_and_keeps_the_order_of_first_members(num, most, seed):
    rng = np.random.default_rng(seed)
    sums, sizes = rng.standard_normal((num, 4)).astype(np.float32), rng.integers(1, 5, num)
    owner = merged(sums, sizes, most)
    assert owner.max() + 1 == min(num, most)
    firsts = [int(np.flatnonzero(owner == row)[0]) for row in range(owner.max() + 1)]
    assert firsts == sorted(firsts)
    total, count = joined(sums, sizes, owner)
    assert count.sum() == sizes.sum()
    np.testing.assert_allclose(total.sum(axis=0), sums.sum(axis=0), atol=1e-4)


def test_a_day_of_rows_stays_bounded():
    rng = np.random.default_rng(3)
    rows, window = Rows.empty(100, 4), np.zeros(0, np.int64)
    for voice in unit(rng.standard_normal((1000, 4))).astype(np.float32):
        window = np.append(window, len(rows))
        moved = rows.add(voice)
        window = window if moved is None else moved[window]
        assert len(rows) <= 100
    assert len(rows.sums) <= 101
    assert rows.sizes[: len(rows)].tolist() == np.bincount(window, minlength=len(rows)).tolist()
    np.testing.assert_allclose(np.linalg.norm(rows.voices(), axis=1), 1, rtol=1e-5)
