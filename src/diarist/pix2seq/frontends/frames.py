"""The front end `frames`: what the frozen networks of diarist hear, 60 times a second, as tokens of about 340 ms.

segmentation-3.0 says in chunks of 10 s, five seconds apart, who of three local speakers talks; maps of CAM++ pooled
where a local speaker talks alone say what that voice sounds like, in the space of the PLDA that ships with diarist.
Nearly every instant lies in two chunks; their local speakers are matched where the chunks overlap and their evidence
is averaged. A token then tells the two most active local speakers: how active in each of twenty frames, and with which
voice. Who is the same as whom over the recording is left to the transformer.

Training turns the space of voices by a random orthogonal matrix, another for each example: dot products survive and
single values do not, so what can be learned is to compare voices, not to know them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ortho_group

from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32, Int64
from diarist.models.load import load_embedding, load_segmentation
from diarist.pipelines.cluster import window_plda
from diarist.pix2seq.config import AudioSpec
from diarist.stages import powerset, segment
from diarist.stages.embed import at_maps, pool_local
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean
from diarist.stages.plda import Plda

NUM_VOICE = 64  # dimensions of a voice, of the 100 that the PLDA keeps
SUBFRAMES = 20  # frames of the segmentation network in a token
RANKS = 2  # local speakers that a token tells
FRAME = 270  # samples between two frames of the segmentation network
HOP = 296  # frames between two chunks: 4.995 s
CHUNK = 10 * SAMPLE_RATE  # samples that the segmentation network hears at once
SLACK = 0.25  # seconds at the end that may lie in no chunk
BLOCK = 1000  # fbank frames that the embedding trunk hears at once
SATURATED = 5.0  # seconds of a voice after which more count for no more

Heard = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Noise:
    """How the evidence is disturbed in training: all zero, nothing is."""

    voice: float = 1.0  # standard deviation of what is added to the voice of one second, in units of the PLDA's noise
    lost: float = 0.05  # share of the local speakers whose voice is lost
    single: float = 0.1  # share of the examples in which every instant is told by one chunk


class FramesFrontEnd:
    """Sound at 16 kHz to tokens; see the head of the file. The networks are loaded at the first call."""

    name = "frames"
    hop = HOP * FRAME  # windows of what has been heard begin at a multiple of so many samples
    rate = SAMPLE_RATE / (SUBFRAMES * FRAME)  # tokens a second
    channels = (RANKS + 2) * SUBFRAMES + RANKS * (NUM_VOICE + 1)

    def __init__(self, *, offline: bool = False) -> None:
        self._offline = offline
        self._models: tuple[SegmentationModel, EmbeddingModel, Plda] | None = None

    @property
    def spec(self) -> AudioSpec:
        """What the transformer is given."""
        return AudioSpec(self.channels, 1 / self.rate, 0.5 / self.rate)

    def num_tokens(self, num_samples: int) -> int:
        """How many tokens so many samples give."""
        return -(-num_samples // (SUBFRAMES * FRAME))

    def fitting(self, num_samples: int) -> int:
        """The length nearest to so many samples of a window that chunks on the grid cover to its end."""
        return CHUNK + max(0, round((num_samples - CHUNK) / self.hop)) * self.hop

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` at 16 kHz to `(num_tokens, channels)`."""
        return self.window(self.hear(samples), 0, len(samples))

    def hear(self, samples: Float32) -> dict[str, NDArray[Any]]:
        """The costly part, which can be kept: sound `(num_samples,)` to what the networks say of each chunk.

        `scores` `(num_chunks, num_frames, num_classes)` uint8: class probabilities times 255; `voices` `(num_chunks,
        num_local, NUM_VOICE)` float16, 0 where unknown; `seconds` `(num_chunks, num_local)` float32: how much of each
        voice was heard; `starts` `(num_chunks,)`: the first frame of each chunk.
        """
        segmentation, embedding, plda = self._loaded()
        chunk = segmentation.spec.chunk
        starts = _starts(len(samples), chunk)
        chunks = Axis(chunk, self.hop)
        regular = segment.cut(samples, 0, len(starts) - 1, chunks) if len(starts) > 1 else np.zeros((0, chunk), "f4")
        last = segment.cut(samples, int(starts[-1]) * FRAME, 1, chunks)
        scores = np.concatenate([segmentation(part) for part in (regular, last) if len(part)])
        maps = _maps(samples, embedding)
        voices = np.zeros((len(starts), segmentation.spec.num_local, NUM_VOICE), dtype=np.float16)
        seconds = np.zeros(voices.shape[:2], dtype=np.float32)
        for number, start in enumerate(starts.tolist()):
            activity = segment.read(scores[number : number + 1], segmentation.spec).bits[0]
            voices[number], seconds[number] = _voices(
                activity, start, maps, segmentation.spec.frames, embedding, plda, segmentation.spec.num_local
            )
        quantised = np.rint(np.exp(scores) * 255).astype(np.uint8)
        return {"scores": quantised, "voices": voices, "seconds": seconds, "starts": starts}

    def window(
        self,
        heard: Heard,
        start: int,
        num_samples: int,
        rng: np.random.Generator | None = None,
        noise: Noise | None = None,
    ) -> Float32:
        """Tokens of `num_samples` samples from sample `start`, a multiple of `hop`: `(num_tokens, channels)`.

        Only chunks that lie in the window tell of it. With `rng`, as in training: voices turned at random, and
        disturbed by `noise`.
        """
        num_tokens = self.num_tokens(num_samples)
        first = start // FRAME
        starts = np.asarray(heard["starts"])
        size = heard["scores"].shape[1]
        inside = (starts >= first) & (starts + size <= first + num_tokens * SUBFRAMES + SUBFRAMES)
        if not inside.any():  # shorter than a chunk
            inside = starts == starts[np.argmin(np.abs(starts - first))]
        members = powerset.mapping(3, 2).astype(np.float32)
        scores = heard["scores"][inside].astype(np.float32) / 255
        voices, seconds = heard["voices"][inside].astype(np.float32), heard["seconds"][inside].copy()
        single = False
        if rng is not None:
            voices, seconds, single = _disturbed(voices, seconds, rng, noise or Noise())
        return _tokens(scores, members, voices, seconds, starts[inside] - first, num_tokens, single)

    def _loaded(self) -> tuple[SegmentationModel, EmbeddingModel, Plda]:
        if self._models is None:
            segmentation, embedding = load_segmentation(offline=self._offline), load_embedding(offline=self._offline)
            self._models = segmentation, embedding, window_plda("campplus-zh-en")
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
    frames: Axis,
    embedding: EmbeddingModel,
    plda: Plda,
    num_local: int,
) -> tuple[Float32, Float32]:
    """The voice of each local speaker of a chunk, `(num_local, NUM_VOICE)`, and the seconds it was heard for."""
    stride = embedding.spec.map_stride * FBANK.step
    axis = Axis(FBANK.size + stride - FBANK.step, stride)
    first = start * FRAME // stride
    inside = maps[first : first + len(bits) * FRAME // stride]
    voices, seconds = np.zeros((num_local, NUM_VOICE), np.float32), np.zeros(num_local, np.float32)
    if len(inside) < embedding.spec.min_frames:
        return voices, seconds
    placed = Axis(frames.size, frames.step, start * FRAME + frames.start)
    active = powerset.unpack(at_maps(bits, placed, axis, first, len(inside)), num_local)
    pooled = pool_local(embedding, inside, active, least=round(0.25 * SAMPLE_RATE / stride))
    known = np.isfinite(pooled).all(axis=1) & (pooled > 0).any(axis=1)
    if known.any():
        projected = plda.project(plda.center(pooled[known]))[:, :NUM_VOICE]
        voices[known] = projected / np.sqrt(np.mean(1 + plda.psi[:NUM_VOICE]))
        alone = active & (active.sum(axis=1, keepdims=True) == 1)
        seconds[known] = (np.maximum(alone.sum(axis=0), 0.2 * active.sum(axis=0)) * stride / SAMPLE_RATE)[known]
    return voices, seconds


def _disturbed(
    voices: Float32, seconds: Float32, rng: np.random.Generator, noise: Noise
) -> tuple[Float32, Float32, bool]:
    """Voices turned by one random orthogonal matrix, the less reliable the shorter they are, some lost."""
    deviation = noise.voice * 0.63 / np.sqrt(1 + seconds[..., None])  # of 1.5 s, the PLDA's noise is 1
    voices = voices + (seconds[..., None] > 0) * rng.normal(size=voices.shape) * deviation
    seconds = seconds * (rng.random(seconds.shape) >= noise.lost)
    turned = voices @ ortho_group.rvs(NUM_VOICE, random_state=rng)
    return turned.astype(np.float32), seconds, bool(rng.random() < noise.single)


def _tokens(
    scores: Float32,
    members: Float32,
    voices: Float32,
    seconds: Float32,
    starts: Int64,
    num_tokens: int,
    single: bool,
) -> Float32:
    """What chunks say, `(num_chunks, ...)`, as tokens `(num_tokens, channels)`; starts in frames of the window."""
    num_frames, num_local = scores.shape[1], members.shape[1]
    local = scores @ members  # (num_chunks, num_frames, num_local)
    sums = np.stack([1 - scores[..., 0], scores[..., members.sum(axis=1) > 1].sum(axis=-1)], axis=-1)
    frames = np.arange(num_tokens)[:, None] * SUBFRAMES - 1 + np.arange(SUBFRAMES)  # (num_tokens, SUBFRAMES)
    main, other = _views(starts, num_frames, frames, single)
    permutations = [_matched(local[i], local[i + 1], int(starts[i + 1] - starts[i])) for i in range(len(starts) - 1)]
    order = _order(main, other, permutations, num_local)  # (num_tokens, num_local)
    both = (other >= 0).astype(np.float32)[:, None, None]
    at = [np.clip(frames - starts[view][:, None], 0, num_frames - 1) for view in (main, other)]
    one, two = local[main[:, None], at[0]], local[other[:, None], at[1]]
    two = np.take_along_axis(two, np.repeat(order[:, None], SUBFRAMES, axis=1), axis=2)
    activity = (one + both * two) / (1 + both)
    summed = (sums[main[:, None], at[0]] + both * sums[other[:, None], at[1]]) / (1 + both)
    weights = np.stack([seconds[main], both[:, :, 0] * np.take_along_axis(seconds[other], order, axis=1)])
    pair = np.stack([voices[main], voices[other[:, None], order]])
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
