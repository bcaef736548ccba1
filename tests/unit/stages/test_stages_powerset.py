import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.errors import UsageError
from diarist.stages.powerset import decode, mapping, overlap, pack, probabilities, unpack

SIZES = st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


def scores(num_classes, seed, shape=(4, 7)):
    x = np.random.default_rng(seed).normal(size=(*shape, num_classes))
    return (x - np.log(np.exp(x).sum(-1, keepdims=True))).astype(np.float32)


def test_the_classes_of_three_speakers_two_at_once():
    rows = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    assert mapping(3, 2).astype(int).tolist() == rows
    with pytest.raises(ValueError, match="read-only"):
        mapping(3, 2)[0, 0] = True


@given(SIZES, st.integers(0, 9))
def test_hard_and_soft_agree_with_the_table(sizes, seed):
    table = mapping(*sizes)
    x = scores(len(table), seed)
    assert len(np.unique(table, axis=0)) == len(table)
    assert np.array_equal(decode(x, *sizes), table[x.argmax(-1)])
    p = np.exp(x)
    soft = probabilities(x, *sizes)
    for local in range(sizes[0]):
        np.testing.assert_allclose(soft[..., local], p[..., table[:, local]].sum(-1), rtol=1e-5)
    np.testing.assert_allclose(overlap(x, *sizes), p[..., table.sum(1) > 1].sum(-1), rtol=1e-5, atol=1e-7)
    # the expected number of speakers, counted two ways
    np.testing.assert_allclose(soft.sum(-1), (p * table.sum(1)).sum(-1), rtol=1e-5)


@given(SIZES, st.integers(0, 9))
def test_bytes_and_back(sizes, seed):
    active = np.random.default_rng(seed).random((5, 6, sizes[0])) > 0.5
    assert pack(active).dtype == np.uint8
    assert pack(active).shape == (5, 6)
    assert np.array_equal(unpack(pack(active), sizes[0]), active)
    assert np.array_equal(pack(active), (active * 2 ** np.arange(sizes[0])).sum(-1))


def test_nothing_stays_nothing():
    assert decode(np.zeros((0, 589, 7), np.float32), 3, 2).shape == (0, 589, 3)
    assert unpack(pack(np.zeros((0, 589, 3))), 3).shape == (0, 589, 3)


def test_what_does_not_fit_is_told_in_a_line():
    with pytest.raises(UsageError, match="make 7 classes"):
        decode(np.zeros((2, 6), np.float32), 3, 2)
    for sizes in ((3, 4), (0, 0), (9, 2)):
        with pytest.raises(UsageError, match="no powerset"):
            mapping(*sizes)
