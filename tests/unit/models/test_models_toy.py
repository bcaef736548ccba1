from __future__ import annotations

import numpy as np
import pytest

from diarist.core.types import Turn
from diarist.errors import UsageError
from diarist.models.toy import VOICES, ToyEmbedding, ToySegmentation, conversation
from diarist.stages import powerset
from diarist.stages.fbank import fbank, remove_mean

TURNS = [(0.5, 4.0, "anna"), (3.0, 6.0, "bert"), (7.0, 9.0, "carl")]


@pytest.fixture(scope="module")
def segmentation():
    return ToySegmentation()


def voices(turns, duration=None):
    """One unit embedding for each turn."""
    model, samples = ToyEmbedding(), conversation(turns, duration)
    maps = model.frames(remove_mean(fbank(samples))[None])
    weights = np.zeros((1, len(turns), maps.shape[1]), np.float32)
    for row, (start, end, _) in zip(weights[0], turns, strict=True):
        row[int(50 * start) : int(50 * end)] = 1
    found = model.pool(maps, weights)[0]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_conversation_is_as_long_as_its_turns():
    assert conversation(TURNS).shape == (144_000,)
    assert conversation(TURNS, 12).shape == (192_000,)
    assert conversation(TURNS, 2).shape == (32_000,)
    assert conversation([]).shape == (0,)
    assert conversation(TURNS).dtype == np.float32


def test_conversation_comes_from_its_seed():
    np.testing.assert_array_equal(conversation(TURNS), conversation([Turn(*turn) for turn in TURNS]))
    assert (conversation(TURNS) != conversation(TURNS, seed=1)).any()
    assert not conversation([], 1, noise=0).any()


def test_conversation_has_so_many_voices():
    conversation([(0, 0.1, f"{i}") for i in range(len(VOICES))])
    with pytest.raises(UsageError, match="at most 8 speakers, not 9"):
        conversation([(0, 0.1, f"{i}") for i in range(9)])


def test_segmentation_hears_who_hums(segmentation):
    scores = segmentation(conversation(TURNS, 10)[None])[0]
    heard = powerset.decode(scores, 3, 2)
    middles = segmentation.spec.frames.middles(len(heard))
    for local, (start, end, _) in enumerate(TURNS):
        expected = (middles >= start) & (middles < end)
        assert (heard[:, local] == expected).mean() > 0.99


def test_segmentation_keeps_to_three_and_two_at_once(segmentation):
    four = conversation([(start, 10, f"{start}") for start in range(4)], 10)
    heard = powerset.decode(segmentation(four[None])[0], 3, 2)
    assert heard.sum(axis=1).max() == 2
    assert heard.any(axis=0).all()


def test_segmentation_of_noise_is_silence(segmentation):
    assert not powerset.decode(segmentation(conversation([], 10)[None]), 3, 2).any()


def test_every_two_voices_differ():
    first = [(2.0 * k, 2.0 * k + 1.5, name) for k, name in enumerate("abcdefgh")]
    again = [(16.0 + start, 16.0 + end, name) for start, end, name in first]
    cosines = voices([*first, *again])[:8] @ voices([*first, *again])[8:].T
    assert np.diag(cosines).min() > 0.95
    assert cosines[~np.eye(8, dtype=bool)].max() < 0.6


def test_a_voice_alone_keeps_its_embedding():
    alone = voices([(0, 10, "a"), (0, 1, "a")])
    assert alone[0] @ alone[1] > 0.95
