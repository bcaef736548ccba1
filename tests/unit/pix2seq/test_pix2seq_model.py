from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from diarist.core.types import Turn
from diarist.pix2seq.config import AudioSpec, ModelConfig
from diarist.pix2seq.losses import activity_loss, loss
from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import FIRST_TIME, PAD, START, Vocabulary

SMALL = ModelConfig(max_seconds=10.0, time_step=0.1, num_speakers=3, layers=2, d_model=32, heads=2, frequencies=8)
AUDIO = {
    "frames": AudioSpec(12, 0.1, 0.05),
    "mel": AudioSpec(8, 0.05, 0.0),
    "dac": AudioSpec(16, 0.02, 0.01),
    "dac-codes": AudioSpec(4, 0.1, 0.05, codes=32),
}
TURNS = [[Turn(0, 3, "a"), Turn(2.5, 4, "b")], [Turn(1, 2, "x")]]


def make(frontend: str = "frames", **changes: object) -> Pix2Seq:
    torch.manual_seed(1)
    return Pix2Seq(dataclasses.replace(SMALL, frontend=frontend, **changes), AUDIO[frontend]).eval()


def hear(model: Pix2Seq, batch: int = 2, num: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (batch, num, model.audio.channels)
    if model.audio.codes:
        return torch.randint(model.audio.codes, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def batch_of(vocabulary: Vocabulary) -> tuple[torch.Tensor, torch.Tensor]:
    """What is read and what is to be written, `(2, 7)` each."""
    said = [vocabulary.encode(turns) for turns in TURNS]
    targets = np.stack([np.pad(ids, (0, 7 - len(ids)), constant_values=PAD) for ids in said])
    ids = np.concatenate([np.full((2, 1), START), targets[:, :-1]], axis=1)
    return torch.from_numpy(ids), torch.from_numpy(targets)


@pytest.mark.parametrize("frontend", AUDIO)
def test_what_lies_behind_the_end_of_the_sound_changes_nothing(frontend: str) -> None:
    model = make(frontend)
    ids, _ = batch_of(model.vocabulary)
    features, lengths = hear(model), torch.tensor([40, 25])
    both = model(features, lengths, ids)
    alone = model(features[1:, :25], lengths[1:], ids[1:])
    assert both.logits.shape == (2, 7, model.vocabulary.size)
    torch.testing.assert_close(both.logits[1:], alone.logits)
    num = alone.activity.shape[1]
    assert num == (13 if frontend == "mel" else 25)
    torch.testing.assert_close(both.activity[1:, :num], alone.activity)


def test_sound_is_seen_whole_and_tokens_only_backwards() -> None:
    model = make()
    ids, _ = batch_of(model.vocabulary)
    features, lengths = hear(model), torch.tensor([40, 40])
    before = model(features, lengths, ids)
    later = ids.clone()
    later[:, 4:] = FIRST_TIME + 77
    after = model(features, lengths, later)
    torch.testing.assert_close(before.logits[:, :4], after.logits[:, :4])
    assert not torch.allclose(before.logits[:, 4:], after.logits[:, 4:])
    torch.testing.assert_close(before.activity, after.activity)
    changed = features.clone()
    changed[:, -1] += 1.0
    heard = model(changed, lengths, ids)
    assert not torch.allclose(heard.activity[:, 0], before.activity[:, 0])
    assert not torch.allclose(heard.logits[:, 0], before.logits[:, 0])


@pytest.mark.parametrize("frontend", AUDIO)
def test_the_cache_gives_what_the_whole_gives(frontend: str) -> None:
    model = make(frontend)
    ids, _ = batch_of(model.vocabulary)
    features, lengths = hear(model), torch.tensor([40, 25])
    whole = model(features, lengths, ids).logits
    cache = model.hear(features, lengths, room=10)
    steps = [model.write(cache, ids[:, :3]), *(model.write(cache, ids[:, i : i + 1]) for i in range(3, 7))]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)


def test_a_cache_goes_on_with_other_rows() -> None:
    model = make()
    ids, _ = batch_of(model.vocabulary)
    features, lengths = hear(model), torch.tensor([40, 25])
    cache = model.hear(features, lengths, room=10)
    cache.expand(2)  # rows 0, 1 hear the first sound, 2, 3 the second
    other = ids.clone()
    other[:, 1] = FIRST_TIME + 5
    model.write(cache, torch.stack([ids[0], other[0], ids[1], other[1]])[:, :4])
    cache.select(torch.tensor([1, 1, 3, 2]))
    found = model.write(cache, ids[[0, 0, 1, 1]][:, 4:5])[:, 0]
    for row, begun in enumerate([other[0], other[0], other[1], ids[1]]):
        sound = row // 2
        said = torch.cat([begun[:4], ids[sound, 4:5]])[None]
        want = model(features[[sound]], lengths[[sound]], said).logits[0, 4]
        torch.testing.assert_close(found[row], want)


def test_a_time_is_the_same_whether_it_is_heard_or_read() -> None:
    model = make()
    heard = model.time(model.embed_audio.seconds(40, torch.device("cpu")))  # the middle of token 7 is 0.75 s
    read = model.time(torch.tensor(0.75))
    torch.testing.assert_close(heard[7], read)


def test_mel_tokens_lie_in_the_middle_of_what_they_hear() -> None:
    model = make("mel")
    features, lengths = hear(model, 1), torch.tensor([40])
    one = model.embed_audio(features, lengths)
    features[:, 20] += 10.0  # at 1.0 s
    moved = (model.embed_audio(features, lengths) - one).abs().sum(dim=-1)[0]
    seconds = model.embed_audio.seconds(20, torch.device("cpu"))
    assert seconds[moved.argmax()] == pytest.approx(1.0)
    assert seconds[moved > 0].min() >= 0.9 - 1e-6 and seconds[moved > 0].max() <= 1.1 + 1e-6


def test_decay_is_for_matrices() -> None:
    model = make(bias=True)
    matrices, others = model.configure_optimizer(1e-3, 0.1).param_groups
    assert all(p.ndim >= 2 for p in matrices["params"]) and all(p.ndim < 2 for p in others["params"])
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(matrices["params"]) + len(others["params"]) == len(list(model.parameters()))


def test_a_step_of_training_lowers_the_loss_in_every_weight() -> None:
    model = make().train()
    ids, targets = batch_of(model.vocabulary)
    features, lengths = hear(model), torch.tensor([40, 25])
    optimizer = model.configure_optimizer(1e-3, 0.0)
    costs = []
    for _ in range(5):
        output = model(features, lengths, ids)
        total = loss(model.vocabulary, output.logits, targets, spread=0.1)
        total = total + activity_loss(model, output.activity, torch.zeros(2, 40, 3), lengths)
        optimizer.zero_grad()
        total.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        costs.append(total.item())
    assert costs == sorted(costs, reverse=True)


def test_the_default_model_is_small() -> None:
    model = Pix2Seq(ModelConfig(), AudioSpec(1000, 0.135))
    assert 4e6 < sum(p.numel() for p in model.parameters()) < 6e6
