from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from diarist.core.types import Turn
from diarist.pix2seq.config import AudioSpec, ModelConfig
from diarist.pix2seq.losses import activity_loss, loss
from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import EOS, FIRST_TIME, PAD, Vocabulary, masks

VOCABULARY = Vocabulary(10.0, 0.1, 3)


def written() -> torch.Tensor:
    """Ids of two sequences, the second one padded: `(2, 7)`."""
    said = [VOCABULARY.encode(turns) for turns in ([Turn(0, 3, "a"), Turn(2.5, 4, "b")], [Turn(1, 2, "x")])]
    return torch.from_numpy(np.stack([np.pad(ids, (0, 7 - len(ids)), constant_values=PAD) for ids in said]))


def test_the_loss_is_cross_entropy_without_padding() -> None:
    vocabulary, targets = VOCABULARY, written()
    logits = torch.randn(2, 7, vocabulary.size, generator=torch.Generator().manual_seed(0))
    want = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)
    torch.testing.assert_close(loss(vocabulary, logits, targets), want)


def test_what_the_grammar_forbids_costs_nothing() -> None:
    vocabulary, targets = VOCABULARY, written()
    mask = torch.from_numpy(masks(vocabulary, targets.numpy()))
    logits = torch.zeros(2, 7, vocabulary.size)
    even = mask.sum(dim=-1).log()[targets != PAD].mean()
    torch.testing.assert_close(loss(vocabulary, logits, targets, mask), even)
    tempted = logits.masked_fill(~mask, 50.0)
    torch.testing.assert_close(loss(vocabulary, tempted, targets, mask), even)
    assert loss(vocabulary, tempted, targets) > 40


def test_soft_times_are_least_wrong_where_they_are_right() -> None:
    vocabulary = VOCABULARY
    targets = torch.tensor([[FIRST_TIME + 30, FIRST_TIME + 40, vocabulary.first_label, EOS]])
    mask = torch.from_numpy(masks(vocabulary, targets.numpy()))

    def cost(off: int, spread: float) -> float:
        logits = torch.zeros(1, 4, vocabulary.size)
        steps = torch.arange(vocabulary.num_steps + 1)
        for place, at in enumerate((30, 40)):
            logits[0, place, vocabulary.times] = -0.5 * ((steps - at - off) * 0.1 / 0.2) ** 2
        return float(loss(vocabulary, logits, targets, mask, spread))

    costs = [cost(off, 0.2) for off in range(-3, 4)]
    assert min(costs) == costs[3] and np.isfinite(costs).all()
    torch.testing.assert_close(cost(0, 1e-3), cost(0, 0.0))  # so narrow that it is one time


def test_who_talks_is_learned_from_the_sound_that_is_there() -> None:
    model = Pix2Seq(ModelConfig(frontend="mel", num_speakers=3, layers=1, d_model=32, heads=2), AudioSpec(8, 0.05, 0.0))
    talks = torch.zeros(2, 40, 3)
    talks[:, 10:20, 0] = 1.0
    right = torch.full((2, 20, 3), -20.0)
    right[:, 5:10, 0] = 20.0
    right[1, 13:] = 20.0  # behind the end of the second sound
    lengths = torch.tensor([40, 25])
    assert activity_loss(model, right, talks, lengths) < 1e-6
    assert activity_loss(model, -right, talks, lengths) > 19
