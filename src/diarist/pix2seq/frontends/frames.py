"""The front end `frames`: what the frozen networks of diarist hear, 60 times a second, as tokens of about 340 ms.

segmentation-3.0 says in chunks of 10 s, five seconds apart, who of three local speakers talks; maps of CAM++ pooled
where a local speaker talks alone say what that voice sounds like, in the space of a PLDA. (It is a copy of the one that
diarist clusters windows with, so that a trained transformer goes on hearing what it learned to hear.) Nearly every
instant lies in two chunks; their local speakers are matched where the chunks overlap and their evidence is averaged. A
voice is that of a few seconds around the token, not of the whole chunk, in which the network may take two people for
one. A token then tells the two most active local speakers: how active in each of twenty frames, and with which voice.
Who might be the same as whom over the window is said in four ways (`grouping.py`); who is, is left to the transformer.

Training plays what was heard faster or slower, mirrors the space of voices, adds noise to them, nearly the same for a
second or two, more to those heard for less, and loses some.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32, Int64
from diarist.models.load import load_embedding, load_segmentation
from diarist.pix2seq.config import AROUND, AudioSpec
from diarist.pix2seq.frontends import grouping
from diarist.pix2seq.frontends.disturbance import Disturbance
from diarist.stages import powerset, segment
from diarist.stages.embed import at_maps, unit_rows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean
from diarist.stages.plda import Plda

NUM_VOICE = 64  # dimensions of a voice, of the 100 that the PLDA keeps
SUBFRAMES = 20  # frames of the segmentation network in a token
RANKS = 2  # local speakers that a token tells
FRAME = 270  # samples between two frames of the segmentation network
HOP = 296  # frames between two chunks: 4.995 s
SLACK = 0.25  # seconds at the end that may lie in no chunk
BLOCK = 1000  # fbank frames that the embedding trunk hears at once
LEAST = 0.25  # seconds alone; a voice heard alone for less is told from where others talk too
SATURATED = 5.0  # seconds of a voice after which more count for no more

STEADY = 5  # windows of a voice over which what is added to it in training is the same, nearly
LOST = 0.05  # in training: share of the voices that are lost,
MIRRORED = 0.7  # of the examples whose voices are mirrored, so that voices are compared and not known,
SINGLE = 0.1  # and of the examples in which every instant is told by one chunk

Heard = Mapping[str, NDArray[Any]]


class FramesFrontEnd:
    """Sound at 16 kHz to tokens; see the head of the file. The networks are loaded at the first call."""

    name = "frames"
    rate = SAMPLE_RATE / (SUBFRAMES * FRAME)  # tokens a second
    alone = (RANKS + 2) * SUBFRAMES + RANKS * (NUM_VOICE + 1)  # channels that a token has from its own instant
    channels = alone + RANKS * grouping.CHANNELS[0] + grouping.CHANNELS[1]
    speech = slice(RANKS * SUBFRAMES, (RANKS + 1) * SUBFRAMES)  # of a token: how probable it is that anybody talks

    def __init__(self, *, around: float = AROUND, offline: bool = False) -> None:
        self.around, self._offline = around, offline
        self._models: tuple[SegmentationModel, EmbeddingModel, Plda] | None = None

    @property
    def spec(self) -> AudioSpec:
        """What the transformer is given."""
        return AudioSpec(self.channels, 1 / self.rate, 0.5 / self.rate)

    def num_tokens(self, num_samples: int) -> int:
        """How many tokens so many samples give."""
        return -(-num_samples // (SUBFRAMES * FRAME))

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` at 16 kHz to `(num_tokens, channels)`."""
        return self.window(self.hear(samples), 0, len(samples))

    def hear(self, samples: Float32) -> dict[str, NDArray[Any]]:
        """The costly part, which can be kept: sound `(num_samples,)` to what the networks say of each chunk.

        `scores` `(num_chunks, num_frames, num_classes)` uint8: class probabilities times 255; `voices` `(num_chunks,
        num_windows, num_local, NUM_VOICE)` float16, 0 where unknown; `seconds` `(num_chunks, num_windows, num_local)`
        float32: how much of each voice was heard; `starts` `(num_chunks,)`: the first frame of each chunk.
        """
        segmentation, embedding, _ = self._loaded()
        chunk = segmentation.spec.chunk
        starts = _starts(len(samples), chunk)
        chunks = Axis(chunk, HOP * FRAME)
        regular = segment.cut(samples, 0, len(starts) - 1, chunks) if len(starts) > 1 else np.zeros((0, chunk), "f4")
        last = segment.cut(samples, int(starts[-1]) * FRAME, 1, chunks)
        scores = np.concatenate([segmentation(part) for part in (regular, last) if len(part)])
        maps = _maps(samples, embedding)
        told = [
            _voices(segment.read(one[None], segmentation.spec).bits[0], start, maps, self._loaded(), self.around)
            for one, start in zip(scores, starts.tolist(), strict=True)
        ]
        voices = np.stack([voices for voices, _ in told]).astype(np.float16)
        seconds = np.stack([seconds for _, seconds in told])
        quantised = np.rint(np.exp(scores) * 255).astype(np.uint8)
        return {"scores": quantised, "voices": voices, "seconds": seconds, "starts": starts}

    def window(
        self,
        heard: Heard,
        start: int,
        num_samples: int,
        disturbance: Disturbance | None = None,
    ) -> Float32:
        """Tokens of `num_samples` samples from sample `start` on: `(num_tokens, channels)`.

        Only chunks that lie in the window tell of it; in training, with a `disturbance`, all that reach into it.
        """
        num_tokens, starts = self.num_tokens(num_samples), np.asarray(heard["starts"])
        speed = disturbance.speed if disturbance is not None else 1.0
        frames = np.arange(num_tokens)[:, None] * SUBFRAMES - 1 + np.arange(SUBFRAMES)  # (num_tokens, SUBFRAMES)
        frames = np.rint(frames * speed + start / FRAME).astype(np.int64)
        slack = heard["scores"].shape[1] if disturbance is not None else 0
        size = heard["scores"].shape[1]
        inside = (starts >= frames[0, 0] + 1 - slack) & (starts + size <= frames[-1, -1] + SUBFRAMES + slack)
        if not inside.any():  # shorter than a chunk
            inside = starts == starts[np.argmin(np.abs(starts - frames[0, 0]))]
        scores = heard["scores"][inside].astype(np.float32) / 255
        voices, seconds = heard["voices"][inside].astype(np.float32), heard["seconds"][inside].copy()
        single = False
        if disturbance is not None:
            voices, seconds, single = _disturbed(voices, seconds, disturbance)
        return _grouped(_tokens(scores, voices, seconds, starts[inside], frames, single))

    def joined(self, before: Float32, after: Float32) -> Float32:
        """Tokens of two stretches of sound as those of one, in which the second follows the first."""
        return _grouped(np.concatenate([before, after])[:, : self.alone])

    def _loaded(self) -> tuple[SegmentationModel, EmbeddingModel, Plda]:
        if self._models is None:
            segmentation, embedding = load_segmentation(offline=self._offline), load_embedding(offline=self._offline)
            self._models = segmentation, embedding, grouping.voice_plda()
        return self._models


def _starts(num_samples: int, chunk: int) -> Int64:
    """First frame of each chunk: on the grid, but for the last, which ends where the recording does."""
    beyond = num_samples - chunk - int(SLACK * SAMPLE_RATE)
    if beyond <= 0:
        return np.zeros(1, dtype=np.int64)
    regular = np.arange(0, -(-beyond // FRAME), HOP, dtype=np.int64)
    last = -(-(num_samples - chunk) // FRAME)
    return np.append(regular, last) if last - regular[-1] > 0 else regular


def _maps(samples: Float32, embedding: EmbeddingModel) -> Float32:
    """Maps of the sound, `(num_maps, channels)`, heard in blocks of ten seconds whose mean is taken off."""
    features = fbank(samples, num_mels=embedding.spec.num_mels, window=embedding.spec.window)
    blocks = [features[first : first + BLOCK] for first in range(0, max(len(features), 1), BLOCK)]
    stride = embedding.spec.map_stride
    return np.concatenate([embedding.frames(remove_mean(b)[None])[0, : len(b) // stride] for b in blocks])


def _voices(
    bits: NDArray[np.uint8],
    start: int,
    maps: Float32,
    models: tuple[SegmentationModel, EmbeddingModel, Plda],
    around: float,
) -> tuple[Float32, Float32]:
    """Voices of the local speakers of a chunk, in windows of `around` seconds about every `SUBFRAMES`-th frame.

    `(num_windows, num_local, NUM_VOICE)`, 0 where unknown, and the seconds that each was heard for.
    """
    segmentation, embedding, plda = models
    num_local, frames = segmentation.spec.num_local, segmentation.spec.frames
    stride = embedding.spec.map_stride * FBANK.step
    axis = Axis(FBANK.size + stride - FBANK.step, stride)
    first = start * FRAME // stride
    inside = maps[first : first + len(bits) * FRAME // stride]
    middles = np.arange(len(bits) // SUBFRAMES + 1) * SUBFRAMES + SUBFRAMES // 2
    voices = np.zeros((len(middles), num_local, NUM_VOICE), np.float32)
    seconds = np.zeros(voices.shape[:2], np.float32)
    if len(inside) < embedding.spec.min_frames:
        return voices, seconds
    placed = Axis(frames.size, frames.step, start * FRAME + frames.start)
    active = powerset.unpack(at_maps(bits, placed, axis, first, len(inside)), num_local)
    alone = active & (active.sum(axis=1, keepdims=True) == 1)
    times = (np.arange(len(inside)) + first) * stride - start * FRAME
    near = np.abs(times - middles[:, None] * FRAME) <= around * SAMPLE_RATE / 2  # (num_windows, num_maps)
    lone, any_ = near[:, None] & alone.T, near[:, None] & active.T  # (num_windows, num_local, num_maps)
    least = round(LEAST * SAMPLE_RATE / stride)
    chosen = np.where(lone.sum(axis=2, keepdims=True) >= least, lone, any_).astype(np.float32)
    pooled = embedding.pool(inside[None], chosen.reshape(1, -1, len(inside)))[0].reshape(*seconds.shape, -1)
    known = np.isfinite(pooled).all(axis=2) & (pooled > 0).any(axis=2)
    if known.any():
        projected = plda.project(plda.center(unit_rows(pooled[known])))[:, :NUM_VOICE]
        voices[known] = projected / np.sqrt(np.mean(1 + plda.psi[:NUM_VOICE]))
        heard = np.maximum(lone.sum(axis=2), 0.2 * any_.sum(axis=2))
        seconds[known] = (heard * stride / SAMPLE_RATE)[known]
    return voices, seconds


def _disturbed(voices: Float32, seconds: Float32, disturbance: Disturbance) -> tuple[Float32, Float32, bool]:
    """Voices mirrored in half of their dimensions, with noise, the more the shorter they are, and some lost; whether
    instants are told by one chunk only."""
    rng = disturbance.rng
    deviation = disturbance.noise * 0.63 / np.sqrt(1 + seconds[..., None])  # of 1.5 s, the PLDA's noise is 1
    steady = uniform_filter1d(rng.normal(size=voices.shape), STEADY, axis=1, mode="wrap") * np.sqrt(STEADY)
    voices = voices + ((seconds[..., None] > 0) * steady * deviation).astype(np.float32)
    seconds = seconds * (rng.random(seconds.shape) >= LOST)
    if rng.random() < MIRRORED:
        voices = voices * rng.choice(np.array([-1, 1], np.float32), NUM_VOICE)
    return voices, seconds, bool(rng.random() < SINGLE)


def _tokens(scores: Float32, voices: Float32, seconds: Float32, starts: Int64, frames: Int64, single: bool) -> Float32:
    """What chunks that begin at frames `starts` say of `frames` `(num_tokens, SUBFRAMES)`: `(num_tokens, channels)`."""
    members = powerset.mapping(3, 2).astype(np.float32)
    num_tokens, num_frames, num_local = len(frames), scores.shape[1], members.shape[1]
    local = scores @ members  # (num_chunks, num_frames, num_local)
    sums = np.stack([1 - scores[..., 0], scores[..., members.sum(axis=1) > 1].sum(axis=-1)], axis=-1)
    main, other = _views(starts, num_frames, frames, single)
    permutations = [_matched(local[i], local[i + 1], int(starts[i + 1] - starts[i])) for i in range(len(starts) - 1)]
    order = _order(main, other, permutations, num_local)  # (num_tokens, num_local)
    both = (other >= 0).astype(np.float32)[:, None, None]
    at = [np.clip(frames - starts[view][:, None], 0, num_frames - 1) for view in (main, other)]
    one, two = local[main[:, None], at[0]], local[other[:, None], at[1]]
    two = np.take_along_axis(two, np.repeat(order[:, None], SUBFRAMES, axis=1), axis=2)
    activity = (one + both * two) / (1 + both)
    summed = (sums[main[:, None], at[0]] + both * sums[other[:, None], at[1]]) / (1 + both)
    middles = frames[:, SUBFRAMES // 2]
    nearest = [np.clip((middles - starts[view]) // SUBFRAMES, 0, voices.shape[1] - 1) for view in (main, other)]
    long = np.take_along_axis(seconds[other, nearest[1]], order, axis=1)
    weights = np.stack([seconds[main, nearest[0]], both[:, :, 0] * long])
    pair = np.stack([voices[main, nearest[0]], voices[other[:, None], nearest[1][:, None], order]])
    weights = np.minimum(weights, SATURATED)
    total = weights.sum(axis=0)  # (num_tokens, num_local)
    voice = (pair * weights[..., None]).sum(axis=0) / np.maximum(total, 1e-6)[..., None]
    ranked = np.argsort(-activity.mean(axis=1), axis=1, kind="stable")[:, :RANKS]
    activity = np.take_along_axis(activity, ranked[:, None], axis=2).transpose(0, 2, 1)  # (num_tokens, RANKS, SUB)
    gate = activity.max(axis=2)
    voice = np.take_along_axis(voice, ranked[..., None], axis=1) * gate[..., None]
    reliable = np.log1p(np.take_along_axis(total, ranked, axis=1)) * gate
    parts = (activity, summed.transpose(0, 2, 1), reliable, voice)
    return np.concatenate([part.reshape(num_tokens, -1) for part in parts], axis=1).astype(np.float32)


def _grouped(tokens: Float32) -> Float32:
    """Tokens of a window with what its groups of voices tell."""
    num_tokens, active = len(tokens), RANKS * SUBFRAMES
    activity = tokens[:, :active].reshape(num_tokens, RANKS, SUBFRAMES)
    gate = np.maximum(activity.max(axis=2), 1e-6)
    first = active + 2 * SUBFRAMES
    seconds = np.expm1(tokens[:, first : first + RANKS] / gate)
    voices = tokens[:, first + RANKS :].reshape(num_tokens, RANKS, NUM_VOICE) / gate[..., None]
    return np.concatenate([tokens, grouping.groups(activity.mean(axis=2), seconds, voices)], axis=1)


def _views(starts: Int64, num_frames: int, frames: Int64, single: bool) -> tuple[Int64, Int64]:
    """The chunk whose middle is nearest to each token, and the neighbour that covers it too, or -1: `(num_tokens,)`."""
    middles = frames[:, SUBFRAMES // 2]
    distance = np.abs(middles[:, None] - (starts + num_frames / 2))
    main = np.argmin(distance, axis=1)
    distance[np.arange(len(main)), main] = np.inf
    distance[np.abs(np.arange(len(starts)) - main[:, None]) > 1] = np.inf
    other = np.argmin(distance, axis=1)
    covered = distance[np.arange(len(main)), other] <= num_frames / 2
    return main, np.where(covered & (not single), other, -1)


def _matched(left: Float32, right: Float32, shift: int) -> Int64:
    """Which local speaker of the right chunk is local speaker k of the left one: `(num_local,)`."""
    num_local = left.shape[1]
    shared = len(left) - shift
    if shared <= 0:
        return np.arange(num_local)
    products = left[shift:].T @ right[:shared]
    lone = np.abs(left[shift:].sum(axis=0)[:, None] - right[:shared].sum(axis=0))
    gains = products - 0.1 * lone
    best = max(itertools.permutations(range(num_local)), key=lambda p: sum(gains[k, p[k]] for k in range(num_local)))
    return np.array(best)


def _order(main: Int64, other: Int64, permutations: list[Int64], num_local: int) -> Int64:
    """For each token, which local speakers of the other chunk those of the main one are: `(num_tokens, num_local)`."""
    order = np.tile(np.arange(num_local), (len(main), 1))
    for index, permutation in enumerate(permutations):
        order[(main == index) & (other == index + 1)] = permutation
        order[(main == index + 1) & (other == index)] = np.argsort(permutation)
    return order
