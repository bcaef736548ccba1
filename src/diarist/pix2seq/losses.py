"""What training makes small: how far what is written, and who is heard to talk, are from the truth. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import FIRST_TIME, PAD, Vocabulary


def loss(
    vocabulary: Vocabulary, logits: Tensor, targets: Tensor, mask: Tensor | None = None, spread: float = 0.0
) -> Tensor:
    """Mean cross-entropy of targets `(b, t)` that are not PAD.

    `mask` `(b, t, v)`: the ids that the grammar allows (`tokens.masks`); others do not count. `spread`: a time's
    target is a Gaussian of that standard deviation, in seconds, over the times that are allowed around it.
    """
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    said = logits.log_softmax(dim=-1)
    loss = -said.gather(-1, targets[..., None]).squeeze(-1)  # (b, t)
    if spread > 0:
        is_time = (targets >= FIRST_TIME) & (targets < vocabulary.first_label)
        steps = torch.arange(vocabulary.num_steps + 1, device=targets.device)
        away = (steps - (targets[is_time] - FIRST_TIME)[:, None]) * (vocabulary.time_step / spread)  # (times, n + 1)
        now = said[is_time][:, vocabulary.times]
        wanted = (-0.5 * away**2).masked_fill(now.isinf(), float("-inf")).softmax(dim=-1)
        loss = loss.masked_scatter(is_time, -(wanted * now.masked_fill(now.isinf(), 0.0)).sum(dim=-1))
    return loss[targets != PAD].mean()


def activity_loss(model: Pix2Seq, activity: Tensor, talks: Tensor, lengths: Tensor) -> Tensor:
    """Mean cross-entropy of `Output.activity` with who `talks` `(b, num_features, num_speakers)` in [0, 1], speakers in
    order of appearance, over the first `lengths` `(b,)` features."""
    talks = talks[:, :: model.embed_audio.stride]
    heard = torch.arange(talks.shape[1], device=talks.device) < model.embed_audio.num_tokens(lengths)[:, None]
    return F.binary_cross_entropy_with_logits(activity[heard].float(), talks[heard])
