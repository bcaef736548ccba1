"""Which frames of each speaker a streaming end-to-end model remembers: the arrival-order speaker cache.

Frames that leave the queue of the newest go into a cache of fixed length. When it overflows, those are kept that one
speaker has for itself most surely, so many for every speaker that none can crowd out the others, with learned silence
between speakers (Medennikov et al., "Streaming Sortformer: speaker cache-based online speaker diarization with
arrival-time ordering", Interspeech 2025). Numbers and order of operations are those of the class
`Nemotron3DiarizationSpeakerCache` in transformers 5.18 and newer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from diarist.core.types import Float32, Int64

_HALF = math.log(0.5)


@dataclass(frozen=True)
class CachePolicy:
    """How much is kept of whom. `fifo` newest frames are held as they came, of which `period` at a time move into the
    cache of `length` frames; `silence` of them are learned silence, for each of `num_speakers`. A speaker is given an
    equal share of the rest; the rates are parts of that share."""

    fifo: int
    period: int
    num_speakers: int = 8
    length: int = 264
    silence: int = 1
    threshold: float = 0.25
    latest_boost: float = 0.05
    strong_rate: float = 0.75
    weak_rate: float = 1.5
    positive_rate: float = 0.5

    @property
    def share(self) -> int:
        """Frames of one speaker."""
        return self.length // self.num_speakers - self.silence


@dataclass(frozen=True)
class Cached:
    """`embeds` `(num_cached, hidden)` of the cache, `probs` `(num_cached, num_speakers)` that they were kept for, the
    newest frames `fifo` `(num_newest, hidden)`; `compressed`: some were dropped, the rest is in order of speaker."""

    embeds: Float32
    probs: Float32
    fifo: Float32
    compressed: bool = False


def remember(cached: Cached, chunk: Float32, probs: Float32, silence: Float32, policy: CachePolicy) -> Cached:
    """The cache after a chunk `(num_frames, hidden)`, which the model has just heard behind what was cached: `probs`
    `(num_cached + num_newest + num_frames, num_speakers)`. `silence` `(hidden,)` is the embedding of nobody."""
    num_cached = len(cached.embeds)
    fifo = np.concatenate([cached.fifo, chunk])
    over = len(fifo) - policy.fifo
    if over <= 0:
        return Cached(cached.embeds, cached.probs, fifo, cached.compressed)
    moved = min(max(policy.period, over), len(fifo))
    kept_for = cached.probs if cached.compressed else probs[:num_cached]  # in order still: what is said now counts
    embeds = np.concatenate([cached.embeds, fifo[:moved]])
    scored = np.concatenate([kept_for, probs[num_cached : num_cached + moved]])
    compressed = cached.compressed
    if len(embeds) > policy.length:
        embeds, scored = _compressed(embeds, scored, silence, policy)
        compressed = True
    return Cached(embeds, scored, fifo[moved:].copy(), compressed)


def _compressed(embeds: Float32, probs: Float32, silence: Float32, policy: CachePolicy) -> tuple[Float32, Float32]:
    """The `policy.length` frames that say most of somebody, by speaker and in order of time."""
    num_frames, num_speakers = probs.shape
    scores = _scores(probs, math.floor(policy.share * policy.positive_rate), policy.threshold)
    scores[policy.length :] += np.float32(policy.latest_boost)
    _boost(scores, math.floor(policy.share * policy.strong_rate), -2 * _HALF)
    _boost(scores, math.floor(policy.share * policy.weak_rate), -_HALF)
    scores = np.concatenate([scores, np.full((policy.silence, num_speakers), np.inf, np.float32)])
    flat = scores.T.ravel()
    best = np.argsort(-flat, kind="stable")[: policy.length]
    nobody = flat.size
    chosen = np.sort(np.where(flat[best] == -np.inf, nobody, best))
    frames = np.where(chosen == nobody, num_frames, np.minimum(chosen % len(scores), num_frames))
    rows = np.concatenate([embeds, silence[None].astype(np.float32)])
    kept_for = np.concatenate([probs, np.zeros((1, num_speakers), np.float32)])
    return rows[frames], kept_for[frames]


def _scores(probs: Float32, enough: int, threshold: float) -> Float32:
    """How much a frame says of each speaker and of nobody else, `(num_frames, num_speakers)`; minus infinity where
    it does not talk, and where others do while it has `enough` better frames."""
    yes = np.log(np.maximum(probs, np.float32(threshold)))
    no = np.log(np.maximum(np.float32(1) - probs, np.float32(threshold)))
    scores = yes - no + no.sum(axis=-1, keepdims=True) - np.float32(_HALF)
    talks = probs > 0.5
    scores[~talks] = -np.inf
    positive = scores > 0
    scores[~positive & talks & (positive.sum(axis=0, keepdims=True) >= enough)] = -np.inf
    return np.asarray(scores, np.float32)


def _boost(scores: Float32, num: int, boost: float) -> None:
    """Raise the `num` best scores of each speaker."""
    best: Int64 = np.argsort(-scores, axis=0, kind="stable")[:num]
    columns = np.arange(scores.shape[1])[None]
    scores[best, columns] += np.float32(boost)
