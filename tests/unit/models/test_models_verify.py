from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import UsageError
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.models.verify import Difference, compare, compare_embedding, compare_segmentation
from diarist.stages.fbank import fbank


def test_compare():
    a = np.array([[1.0, 0.0], [0.0, 2.0], [np.nan, np.nan]])
    b = np.array([[1.0, 0.0], [2.0, 0.0], [np.nan, np.nan]])
    assert compare(a, b) == Difference(largest=2.0, cosine=0.0, agreement=0.5)
    assert compare(a, a) == Difference(0.0, 1.0, 1.0)
    assert compare(a[2:], a[2:]) == Difference(0.0, 1.0, 1.0)


def test_compare_refuses_other_shapes_and_one_sided_nan():
    with pytest.raises(UsageError, match=r"\(2, 3\) and \(3, 2\) cannot be compared"):
        compare(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(UsageError, match="NaN"):
        compare(np.full((1, 2), np.nan), np.zeros((1, 2)))


def test_models_are_what_they_are():
    samples = conversation([(0, 5, "a"), (5, 9, "b")], 10)
    assert compare_segmentation(ToySegmentation(), ToySegmentation(), samples[None]).largest == 0
    weights = np.ones((1, 1, 100), np.float32)
    features = fbank(samples)[None, :200]
    assert compare_embedding(ToyEmbedding(), ToyEmbedding(), features, weights).cosine == pytest.approx(1)


def test_models_that_differ():
    samples = conversation([(0, 5, "a"), (5, 9, "b")], 10)
    features = fbank(samples)[None, :200]

    class Louder(ToyEmbedding):
        def pool(self, maps, weights):
            return 2 * super().pool(maps, weights)

    found = compare_embedding(Louder(), ToyEmbedding(), features, np.ones((1, 1, 100), np.float32))
    assert found.cosine == pytest.approx(1)
    assert found.largest > 1
