"""Times that an aligner left out."""

import math

import pytest

from diarist.words.spans import word_spans


@pytest.mark.parametrize(
    ("words", "within", "spans"),
    [
        ([(1.0, 2.0)], (None, None), [(1.0, 2.0)]),
        ([(1.0, None), (None, 3.0)], (None, None), [(1.0, 1.0), (3.0, 3.0)]),
        ([(1.0, 2.0), (None, None), (None, None), (4.0, 5.0)], (0.0, 9.0), [(1, 2), (2, 4), (2, 4), (4, 5)]),
        ([(None, None), (4.0, 5.0), (None, None)], (0.0, 9.0), [(0, 4), (4, 5), (5, 9)]),
        ([(None, None), (4.0, 5.0), (None, None)], (None, None), [(4, 4), (4, 5), (5, 5)]),
        ([(1.0, None), (None, None), (3.0, None)], (None, None), [(1, 1), (1, 3), (3, 3)]),
        ([(None, None)], (2.0, None), [(2, 2)]),
        ([], (0.0, 1.0), []),
    ],
)
def test_a_word_lies_between_its_neighbours(words, within, spans):
    assert word_spans(words, within) == spans


def test_nothing_known():
    assert all(math.isnan(time) for time in word_spans([(None, None)])[0])
    assert word_spans([(math.nan, 2.0)]) == [(2.0, 2.0)]
