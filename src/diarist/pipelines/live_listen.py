"""The ears of a stream: a rolling buffer of sound, its features, and the maps of the embedding network.

The embedding network runs over new sound only: the newest maps need `context` seconds of sound before them, and what
is older stays as it was first heard. Windows lie on the grid of the segmentation's frames, counted from the stream's
first sample, so that the frames of all windows coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diarist.core.protocols import EmbeddingModel, SegmentationModel, VoiceActivityModel
from diarist.core.time import Axis
from diarist.core.types import Float32
from diarist.errors import ConfigError
from diarist.models.fused import FusedSegmentation
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_vad import Opinion, SecondOpinion, StreamingVad
from diarist.stages import powerset, segment
from diarist.stages.embed import at_maps, unit_rows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank
from diarist.stages.online import overlap_weights

SPEECH = 0.1  # what is likelier to be speech is embedded
MEAN = 10.0  # seconds whose mean is taken off the features: the block of a recording


@dataclass
class Sound:
    """What a stream remembers of its sound: `samples` up to sample `heard`, `features` up to it, `maps` from map
    `first_map` on. All of a fixed length. `pools` are what windows of a segmentation network share, in pieces
    `(1, channels, num)` from number `first_pool` on."""

    samples: Float32
    features: Float32
    maps: Float32
    pools: list[Float32]
    opinion: Opinion | None
    heard: int = 0
    num_features: int = 0
    first_map: int = 0
    first_pool: int = 0

    @property
    def last_map(self) -> int:
        """Past the last map."""
        return self.first_map + len(self.maps)

    def piece(self, first: int, size: int) -> Float32:
        """`size` samples from sample `first` of the stream on, silence where there are none."""
        start = self.heard - len(self.samples)
        out = np.zeros(size, dtype=np.float32)
        low, high = max(first, start), min(first + size, self.heard)
        if high > low:
            out[low - first : high - first] = self.samples[low - start : high - start]
        return out

    @property
    def last_pool(self) -> int:
        """Past the last of the pools."""
        num: int = sum(piece.shape[2] for piece in self.pools)
        return self.first_pool + num

    def some_features(self, first: int, last: int) -> Float32:
        """Features `first` to `last` of the stream, those of them that are remembered."""
        start = self.num_features - len(self.features)
        return self.features[max(0, first - start) : max(0, last - start)]


@dataclass(frozen=True)
class Look:
    """What one window shows: `activity` `(num_frames, num_local)` from frame `first` of the stream on, probability of
    each local speaker; `speech` `(num_frames,)` that anybody talks; `voices` `(num_local, dimension)`."""

    first: int
    activity: Float32
    speech: Float32
    voices: Float32


class Ears:
    """Both models and where everything lies; holds nothing of any stream. `embedding` is None where nobody is told
    apart."""

    def __init__(
        self,
        config: LiveConfig,
        segmentation: SegmentationModel,
        embedding: EmbeddingModel | None,
        vad: VoiceActivityModel | None = None,
    ) -> None:
        self.config = config
        self.segmentation = fitted(segmentation, config.window_samples)
        self.whole = segmentation  # for the session, which is heard in chunks of the model's own length
        self.embedding = embedding
        per_second = segmentation.spec.sample_rate / FBANK.step
        self._hop = round(max(config.embedding.hop, config.step) * per_second)  # in features
        num_fbank = round(config.embedding.context * per_second) + self._hop
        self._trunk = getattr(embedding, "resized", lambda _: embedding)(num_fbank)
        spec = self.segmentation.spec
        self.frames = spec.frames
        self.num_frames = min(spec.num_frames, self.frames.count_inside(config.window_samples))
        stride = 1 if embedding is None else embedding.spec.map_stride
        self.maps = Axis(FBANK.size + (stride - 1) * FBANK.step, stride * FBANK.step)
        self.num_mels = 80 if embedding is None else embedding.spec.num_mels
        longest = max(spec.chunk, segmentation.spec.chunk)
        self.keep = longest + config.step_samples + 2 * self.frames.step + FBANK.size
        self.opinion: SecondOpinion | None = None
        weight, bias = config.segmentation.vad_weight, config.segmentation.vad_bias
        if isinstance(vad, StreamingVad):
            self.opinion = SecondOpinion(vad, weight=weight, bias=bias, keep=self.keep)
        elif vad is not None:
            self.segmentation = FusedSegmentation(self.segmentation, vad, weight=weight, bias=bias)
            self.whole = FusedSegmentation(segmentation, vad, weight=weight, bias=bias)
        self._mean = round(MEAN * spec.sample_rate) // FBANK.step
        self._num_features = self._mean + 2 * self._hop + FBANK.size // FBANK.step
        self._num_maps = config.window_samples // self.maps.step + 1

    def start(self) -> Sound:
        """Before the first sample."""
        features = np.zeros((0, self.num_mels), dtype=np.float32)
        opinion = None if self.opinion is None else self.opinion.start()
        return Sound(np.zeros(0, np.float32), features, np.zeros((0, 0), np.float32), [], opinion)

    def look(self, sounds: Sequence[Sound], blocks: Sequence[Float32]) -> list[Look]:
        """One step of several streams: each takes its block in and looks at what it has heard last."""
        for sound, block in zip(sounds, blocks, strict=True):
            self._take(sound, block)
        scores = self.hear(self.segmentation, sounds, [self._start(sound) for sound in sounds])[:, -self.num_frames :]
        self._embed(sounds, scores, last=len(blocks[0]) < self.config.step_samples)
        return [self._read(sound, one) for sound, one in zip(sounds, scores, strict=True)]

    def _take(self, sound: Sound, block: Float32) -> None:
        sound.samples = np.concatenate([sound.samples, block])[-self.keep :]
        sound.heard += len(block)
        if self.opinion is not None and sound.opinion is not None:
            self.opinion.hear(sound.opinion, sound.samples, sound.heard)

    def hear(self, model: SegmentationModel, sounds: Sequence[Sound], firsts: Sequence[int]) -> Float32:
        """Scores `(num_streams, num_frames, num_classes)` of the window of each sound that begins at its frame of
        `firsts`, with silence before the first and after the last sample.

        A model that has `pools`, which do not depend on the window, makes them of new sound only.
        """
        starts = [first * self.frames.step for first in firsts]
        batch = np.stack([sound.piece(start, model.spec.chunk) for sound, start in zip(sounds, starts, strict=True)])
        if hasattr(model, "pools"):
            pools = [_pools(model, *one, self.keep) for one in zip(sounds, batch, starts, strict=True)]
            scores: Float32 = model(batch, pools)  # type: ignore[call-arg]
        else:
            scores = model(batch)
        if self.opinion is None:
            return scores
        return np.stack(
            [
                scores_ if sound.opinion is None else self.opinion.added(sound.opinion, scores_, model.spec, first)
                for sound, scores_, first in zip(sounds, scores, firsts, strict=True)
            ]
        )

    def frame_at(self, sample: int) -> int:
        """The first frame whose middle is not before a sample."""
        return max(0, -(-(sample - self.frames.start - self.frames.size // 2) // self.frames.step))

    def _start(self, sound: Sound) -> int:
        """First frame of the window, whose last frame is the newest of which half is heard; negative before the first
        window is full."""
        return self.frame_at(sound.heard) - self.segmentation.spec.num_frames

    def _embed(self, sounds: Sequence[Sound], scores: Float32, *, last: bool) -> None:
        """Bring every stream's maps up to what it has heard, once that is a hop; they are zero where nobody talks."""
        if self.embedding is None or self._trunk is None:
            return
        for sound, one in zip(sounds, scores, strict=True):
            block, num_new = self._features(sound, last=last)
            if num_new:
                seconds = num_new * self.maps.step // self.frames.step + 2 * self.frames.size // self.frames.step
                if self._speech(one[-seconds:]).max() > SPEECH:
                    new = self._trunk.frames(block[None])[0][-num_new:]
                else:
                    new = np.zeros((num_new, sound.maps.shape[1]), dtype=np.float32)
                if new.shape[1] != sound.maps.shape[1]:
                    sound.maps = np.zeros((len(sound.maps), new.shape[1]), dtype=np.float32)
                maps = np.concatenate([sound.maps, new])
                drop = max(0, len(maps) - self._num_maps)
                sound.maps, sound.first_map = maps[drop:], sound.first_map + drop

    def _features(self, sound: Sound, *, last: bool) -> tuple[Float32, int]:
        """Features of the sound that is new, and of its context before it; how many maps are new."""
        assert self.embedding is not None
        spec = self.embedding.spec
        stride, first_sample = spec.map_stride, sound.heard - len(sound.samples)
        from_sample = sound.num_features * FBANK.step - first_sample
        new = fbank(sound.samples[from_sample:], num_mels=spec.num_mels, window=spec.window, scale=spec.scale)
        sound.num_features += len(new)
        sound.features = np.concatenate([sound.features, new])[-self._num_features :]
        num_new = sound.num_features // stride - sound.last_map
        waits = num_new * stride < self._hop - FBANK.size // FBANK.step - stride  # the very first are fewer than a hop
        if waits and not last:
            return new[:0], 0
        end = sound.num_features // stride * stride
        context = round(self.config.embedding.context * spec.sample_rate / FBANK.step) // stride * stride
        first = max(0, end - num_new * stride - context)
        offset = sound.num_features - len(sound.features)
        first = max(first, -(-offset // stride) * stride)
        block = sound.features[first - offset : end - offset]
        if spec.window != "raw":
            block = block - sound.features[-self._mean :].mean(axis=0) if num_new else block
        return block, num_new

    def _read(self, sound: Sound, scores: Float32) -> Look:
        """Scores `(num_frames, num_classes)` of the newest window to what it shows."""
        spec = self.segmentation.spec
        first = self._start(sound) + spec.num_frames - self.num_frames
        skip = max(0, -first)  # frames before the first sample
        scores, first = scores[skip:], first + skip
        speech = self._speech(scores)
        activity = scores
        if spec.max_simultaneous is not None:
            activity = powerset.probabilities(scores, spec.num_local, spec.max_simultaneous)
        return Look(first, activity, speech, self._voices(sound, activity, first))

    def _speech(self, scores: Float32) -> Float32:
        """How likely anybody talks, `(num_frames,)`."""
        speech: Float32 = segment.read(scores[None], self.segmentation.spec).speech[0]
        return speech

    def _voices(self, sound: Sound, activity: Float32, first: int) -> Float32:
        """Overlap-aware embeddings of the local speakers, `(num_local, dimension)`, NaN where there is none."""
        if self.embedding is None:
            return np.zeros((activity.shape[1], 0), dtype=np.float32)
        low = max(sound.first_map, -(-first * self.frames.step // self.maps.step))
        num_maps = sound.last_map - low
        if num_maps <= 0 or len(activity) == 0 or not sound.maps.size:
            return np.full((activity.shape[1], self.embedding.spec.dimension), np.nan, dtype=np.float32)
        config = self.config
        weights = overlap_weights(activity, config.gamma, config.beta, normalize=config.normalize_embedding_weights)
        frames = Axis(self.frames.size, self.frames.step, self.frames.first(first))
        read = at_maps(weights, frames, self.maps, low, num_maps)
        maps = sound.maps[low - sound.first_map :]
        return unit_rows(self.embedding.pool(maps[None], np.ascontiguousarray(read.T)[None])[0])


def _pools(model: Any, sound: Sound, window: Float32, start: int, keep: int) -> Float32:
    """What the model makes of a window before it looks at it as a whole, `(1, channels, num)`."""
    hop, reach = model.hop, model.reach
    first, last = start // hop, start // hop + (len(window) - reach) // hop + 1
    if not sound.pools or first < sound.first_pool:
        sound.pools, sound.first_pool = [], first
    known = sound.last_pool
    parts = list(sound.pools)
    if known < last:
        parts.append(model.pools(sound.piece(known * hop, start + len(window) - known * hop)))
        whole = max(0, (sound.heard - reach) // hop + 1 - known)  # past these, silence stands for what is not heard
        sound.pools.append(parts[-1][:, :, :whole].copy())
    joined = _between(parts, first - sound.first_pool, last - sound.first_pool)
    while sound.pools and (sound.first_pool + sound.pools[0].shape[2]) * hop < sound.heard - keep:
        sound.first_pool += sound.pools.pop(0).shape[2]
    return joined


def _between(parts: list[Float32], first: int, last: int) -> Float32:
    """Columns `first` to `last` of parts `(1, channels, num)` side by side."""
    chosen, begin = [], 0
    for part in parts:
        end = begin + part.shape[2]
        if end > first and begin < last:
            chosen.append(part[:, :, max(0, first - begin) : last - begin])
        begin = end
    return np.concatenate(chosen, axis=2)


def fitted(model: SegmentationModel, num_samples: int) -> SegmentationModel:
    """The model for windows of so many samples, where it can be had; else itself, where its chunk is no shorter.

    Raises `ConfigError` where its chunk is shorter.
    """
    resized = getattr(model, "resized", None)
    if resized is not None:
        fitting: SegmentationModel = resized(num_samples)
        return fitting
    if model.spec.chunk < num_samples:
        longest = model.spec.chunk / model.spec.sample_rate
        raise ConfigError(f"'duration' must be at most {longest:g} s with this segmentation model, which hears no more")
    return model
