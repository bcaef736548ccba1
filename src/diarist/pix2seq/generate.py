"""From sound to turns: tokens are written one after the other, each one of those that the grammar allows.

A trained model spreads the probability of a time over its neighbours. So probabilities of times are asked for with
what lies near: `NEAR` seconds to either side. Greedy decoding first decides whether there is another turn at all, which
is the end against all starts together, and then when; a beam adds up logarithms of what lies near. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d
from scipy.special import softmax
from torch.nn import functional as F

from diarist.core.types import Float64, Int64, Turn
from diarist.errors import UsageError
from diarist.pix2seq.config import DecodeConfig
from diarist.pix2seq.frontends import speech_of
from diarist.pix2seq.model import Cache, Pix2Seq
from diarist.pix2seq.tokens import EOS, NOTHING, PAD, START, Given, Grammar, Vocabulary, Written

NEAR = 0.1  # seconds


def generate(
    model: Pix2Seq,
    features: NDArray[np.generic] | torch.Tensor,
    lengths: Int64 | torch.Tensor,
    config: DecodeConfig | None = None,
    *,
    given: Sequence[Given] | None = None,
    most: int | None = None,
    newcomer: float = 0.0,
) -> list[Written]:
    """Turns of each of `(batch, num_features, channels)`, of which the first `lengths` `(batch,)` count.

    `most`: at most so many speakers; `newcomer` is added to the log-odds of a speaker who has not talked before. With
    `method = "sample"`, the random numbers of a row depend on the seed and on its number alone. Raises `UsageError` for
    ids given that break the grammar.
    """
    config = config or DecodeConfig()
    device = next(model.parameters()).device
    known = [NOTHING] * len(features) if given is None else given
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            heard = torch.as_tensor(features, device=device), torch.as_tensor(lengths, device=device)
            cache = model.hear(*heard, room=3 * config.max_turns + 1)
            writer = _Writer(model, cache, config, known, most, newcomer)
            writer.beam() if config.method == "beam" else writer.one_by_one()
    finally:
        model.train(was_training)
    rows = zip(writer.ids, writer.certainty, strict=True)
    written = [_written(model.vocabulary, config.max_turns, *row) for row in rows]
    speech = speech_of(model.config.frontend, np.asarray(heard[0].cpu()))
    if speech is None:
        return written
    spoken = _OverTime(model, speech[..., None])
    return [
        replace(one, turns=(*one.turns[:forced], *_spoken(one.turns[forced:], partial(spoken, row), config.speech)))
        for row, (one, forced) in enumerate(zip(written, (len(g.ids) // 3 for g in known), strict=True))
    ]


def _spoken(turns: Sequence[Turn], speech: Callable[[float, float], Float64], least: float) -> list[Turn]:
    """The turns in which there is speech."""
    return [turn for turn in turns if speech(turn.start, turn.end)[0] >= least]


class _Writer:
    """Writes for all windows of a batch at once."""

    def __init__(
        self,
        model: Pix2Seq,
        cache: Cache,
        config: DecodeConfig,
        given: Sequence[Given],
        most: int | None,
        newcomer: float,
    ) -> None:
        self.model, self.cache, self.config, self.newcomer = model, cache, config, newcomer
        self.vocabulary = vocabulary = model.vocabulary
        self.beams = config.beams if config.method == "beam" else 1
        until = [vocabulary.max_seconds if one.until is None else one.until for one in given]
        last = np.ceil(np.round(np.array(until) / vocabulary.time_step, 6)).astype(np.int64)
        self.since = np.rint(np.array([one.since for one in given]) / vocabulary.time_step).astype(np.int64)
        self.forced = np.full((len(given), 3 * config.max_turns + 1), -1, np.int64)
        self.num_forced = np.array([len(one.ids) for one in given])
        if (self.num_forced > 3 * config.max_turns).any():
            raise UsageError(
                f"{self.num_forced.max() // 3} turns are given, which leaves no room in {config.max_turns}"
            )
        for row, one in enumerate(given):
            self.forced[row, : len(one.ids)] = one.ids
        self.grammar = Grammar(vocabulary, len(given), most, last, config.together)
        self.heard = (
            None
            if cache.activity is None or not config.activity
            else _OverTime(model, F.logsigmoid(cache.activity.float()).cpu().double().numpy())
        )
        self.random = [np.random.default_rng((config.seed, row)) for row in range(len(given))]
        self.ids = np.zeros((len(given), 0), np.int64)
        self.certainty = np.zeros((len(given), 0))

    def one_by_one(self) -> None:
        """Choose each token for good."""
        for place in range(self.forced.shape[1]):
            probabilities = self._probabilities(place)
            chosen = self._sampled(probabilities) if self.config.method == "sample" else self._likeliest(probabilities)
            forced = self._forced(place)
            chosen = np.where(forced >= 0, forced, chosen)
            sure = np.take_along_axis(near(probabilities, self.vocabulary), chosen[:, None], axis=1)[:, 0]
            self._advance(chosen, forced)
            self._append(chosen, np.where(forced >= 0, 1.0, sure))
            if self.grammar.ended.all():
                return

    def beam(self) -> None:
        """Keep the likeliest beginnings, and of those the likeliest one that ends."""
        batch, beams = len(self.ids), self.beams
        firsts = np.arange(batch)[:, None] * beams
        self.cache.expand(beams)
        self._select(np.repeat(np.arange(batch), beams))
        scores = np.where(np.arange(beams) == 0, 0.0, -np.inf) + np.zeros((batch, 1))
        for place in range(self.forced.shape[1]):
            probabilities = self._probabilities(place)
            sure = near(probabilities, self.vocabulary)
            with np.errstate(divide="ignore"):
                gains = np.log(np.where(peaks(probabilities, self.vocabulary), sure, 0.0))
            forced = self._forced(place)
            rows = np.flatnonzero(forced >= 0)
            gains[rows], sure[rows] = -np.inf, 1.0
            gains[rows, forced[rows]] = 0.0
            total = (scores.reshape(-1, 1) + gains).reshape(batch, -1)  # (batch, beams * vocabulary)
            best = np.argsort(-total, axis=1, kind="stable")[:, :beams]
            scores = np.take_along_axis(total, best, axis=1)
            best = np.where(np.isneginf(scores), best[:, :1], best)  # there are not as many: copies that never win
            chosen, rows = (best % gains.shape[1]).ravel(), (firsts + best // gains.shape[1]).ravel()
            self._select(rows)
            self.cache.select(torch.from_numpy(rows).to(self.cache.heard.device))
            self._advance(chosen, forced)
            self._append(chosen, sure[rows, chosen])
            if self.grammar.ended[firsts].all():  # what goes on only becomes less likely
                break
        self._select(firsts[:, 0])

    def _advance(self, chosen: Int64, forced: Int64) -> None:
        """What was chosen is allowed; what was given may not be."""
        if (forced >= 0).any():
            self.grammar.advance(chosen)
        else:
            self.grammar.take(chosen)

    def _select(self, rows: Int64) -> None:
        self.grammar, self.ids, self.certainty = self.grammar.select(rows), self.ids[rows], self.certainty[rows]

    def _append(self, ids: Int64, certainty: Float64) -> None:
        self.ids = np.concatenate([self.ids, ids[:, None]], axis=1)
        self.certainty = np.concatenate([self.certainty, certainty[:, None]], axis=1)

    def _forced(self, place: int) -> Int64:
        """What has to come at a place `(batch * beams,)`, -1 where that is open: what is known, and an end where there
        is no more room."""
        forced = np.repeat(self.forced[:, place], len(self.ids) // len(self.forced))
        full = place == self.forced.shape[1] - 1
        return np.where(full, np.where(self.grammar.ended, PAD, EOS), forced)

    def _probabilities(self, place: int) -> Float64:
        """Of every id that may come next, `(batch * beams, vocabulary)`."""
        last = self.ids[:, -1] if place else np.full(len(self.ids), START)
        read = torch.from_numpy(last)[:, None].to(self.cache.heard.device)
        logits = self.model.write(self.cache, read)[:, 0].cpu().double().numpy()
        since = np.where(self.num_forced == place, self.since, 0)
        self.grammar.not_before(np.repeat(since, len(self.ids) // len(since)))
        new = self.vocabulary.first_label + self.grammar.used
        rows = np.flatnonzero(new < self.vocabulary.size)
        logits[rows, new[rows]] += self.newcomer
        if self.heard is not None:
            self._listen(logits)
        logits[~self.grammar.allowed()] = -np.inf
        return np.asarray(softmax(logits, axis=1))

    def _listen(self, logits: Float64) -> None:
        """Where a speaker comes next, multiply the chances with those that the audio tokens of the turn give."""
        assert self.heard is not None
        beams = len(self.ids) // len(self.forced)
        for row in np.flatnonzero(self.grammar.phase == 2):
            start, end = (
                self.vocabulary.time_step * float(edge[row]) for edge in (self.grammar.start, self.grammar.end)
            )
            logits[row, self.vocabulary.labels] += self.config.activity * self.heard(row // beams, start, end)

    def _likeliest(self, probabilities: Float64) -> Int64:
        """The end where it is likelier than that there is another turn, or else the likeliest token."""
        another = np.where(np.arange(probabilities.shape[1]) == EOS, 0.0, probabilities)
        return np.where(probabilities[:, EOS] >= 0.5, EOS, another.argmax(axis=1))

    def _sampled(self, probabilities: Float64) -> Int64:
        """A token at random, of those that temperature, `top_k` and `top_p` leave."""
        config = self.config
        weights = probabilities ** (1 / config.temperature)
        order = np.argsort(-weights, axis=1, kind="stable")
        ranked = np.take_along_axis(weights, order, axis=1)
        ranked[:, config.top_k or ranked.shape[1] :] = 0.0
        ranked /= ranked.sum(axis=1, keepdims=True)
        ranked[(ranked.cumsum(axis=1) - ranked) >= max(config.top_p, 1e-9)] = 0.0
        total = ranked.cumsum(axis=1)
        drawn = np.array([one.random() for one in self.random])[:, None] * total[:, -1:]
        place = (total <= drawn).sum(axis=1)
        return np.take_along_axis(order, place[:, None], axis=1)[:, 0]


class _OverTime:
    """Means over time of values `(batch, num_audio, num_values)` of audio tokens."""

    def __init__(self, model: Pix2Seq, values: Float64) -> None:
        spacing = model.audio.step * model.embed_audio.stride
        self.edges = model.audio.first + (np.arange(values.shape[1] + 1) - 0.5) * spacing
        self.sums = np.pad(values.cumsum(axis=1) * spacing, ((0, 0), (1, 0), (0, 0)))

    def __call__(self, row: int, start: float, end: float) -> Float64:
        """The mean `(num_values,)` from second `start` to `end` of a window."""
        sums = [np.interp([start, end], self.edges, of_one) for of_one in self.sums[row].T]
        return np.array([after - before for before, after in sums]) / (end - start)


def near(probabilities: Float64, vocabulary: Vocabulary) -> Float64:
    """`(rows, vocabulary)`: for each time, how probable it or one within `NEAR` seconds is; other ids as they are."""
    reach = round(NEAR / vocabulary.time_step)
    times = np.pad(probabilities[:, vocabulary.times], ((0, 0), (reach + 1, reach)))
    total = times.cumsum(axis=1)
    found = probabilities.copy()
    found[:, vocabulary.times] = total[:, 2 * reach + 1 :] - total[:, : -2 * reach - 1]
    return np.clip(found, 0.0, 1.0)


def peaks(probabilities: Float64, vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """`(rows, vocabulary)`: ids that can be, and of times only those that are likelier than all that lie near."""
    times = probabilities[:, vocabulary.times]
    found = probabilities > 0
    size = 2 * round(NEAR / vocabulary.time_step) + 1
    found[:, vocabulary.times] &= times >= maximum_filter1d(times, size, axis=1, mode="constant")
    return np.asarray(found)


def _written(vocabulary: Vocabulary, max_turns: int, ids: Int64, certainty: Float64) -> Written:
    """A row, which has an EOS, without its padding, and as turns."""
    length = int(np.argmax(ids == EOS)) + 1
    ids, certainty = ids[:length], certainty[:length]
    sure = certainty[:-1].reshape(-1, 3).prod(axis=1)
    turns = [replace(t, confidence=float(c)) for t, c in zip(vocabulary.decode(ids), sure, strict=True)]
    return Written(ids, certainty, tuple(turns), len(turns) < max_turns)
