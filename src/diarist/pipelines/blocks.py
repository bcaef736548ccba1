"""The parts of the live pipeline, each usable alone, under diart's names.

    segmentation = SpeakerSegmentation()
    embedding = OverlapAwareSpeakerEmbedding()
    for window in rolling(microphone, segmentation.sample_rate):
        print(embedding(window, segmentation(window)).shape)  # (3, 192)

They are thin: models are those of `models.load`, the algorithm is that of `stages`, arrays go in and come out. What
`LiveDiarizer` adds is that it hears only what is new, settles turns, and clusters the session anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE, Axis, to_samples
from diarist.core.types import Diarization, Float32, Int64, Track
from diarist.errors import UsageError
from diarist.models.load import load_embedding, load_segmentation
from diarist.pipelines.live_answer import pieces
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_listen import fitted
from diarist.stages import powerset
from diarist.stages.aggregate import Heard, aggregate
from diarist.stages.assign import NOBODY
from diarist.stages.embed import at_maps
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean
from diarist.stages.online import Known, Thresholds, assign, overlap_weights

_DEFAULTS = LiveConfig()


class Rolling:
    """Sound in blocks of any length to windows of `duration` seconds every `step` seconds.

    The first window comes once it is full. At the end the rest is filled up with silence to one more window, so that
    nothing is lost: `finish()`.
    """

    def __init__(
        self,
        sample_rate: int = SAMPLE_RATE,
        duration: float = _DEFAULTS.duration,
        step: float = _DEFAULTS.step,
    ) -> None:
        self._size, self._step = to_samples(duration, sample_rate), to_samples(step, sample_rate)
        if not 1 <= self._step <= self._size:
            raise UsageError(f"windows of {duration} s cannot come every {step} s: the step is above 0 and no longer")
        self._held = np.zeros(0, dtype=np.float32)
        self._num_new = 0  # samples that no window has had

    def push(self, block: Float32) -> list[Float32]:
        """The windows `(num_samples,)` that this block completes."""
        self._held = np.concatenate([self._held, np.asarray(block, dtype=np.float32).reshape(-1)])
        self._num_new += len(block)
        windows = []
        while len(self._held) >= self._size:
            windows.append(self._held[: self._size])
            self._held = self._held[self._step :]
            self._num_new = max(0, len(self._held) - (self._size - self._step))
        return windows

    def finish(self) -> list[Float32]:
        """The last window, where there is sound that none has had."""
        if not self._num_new:
            return []
        rest, self._num_new = self._held, 0
        return [np.pad(rest, (0, self._size - len(rest)))]


def rolling(
    blocks: Iterable[Float32],
    sample_rate: int = SAMPLE_RATE,
    duration: float = _DEFAULTS.duration,
    step: float = _DEFAULTS.step,
) -> Iterator[Float32]:
    """The windows of a source: see `Rolling`."""
    held = Rolling(sample_rate, duration, step)
    for block in blocks:
        yield from held.push(block)
    yield from held.finish()


class SpeakerSegmentation:
    """Who could be talking in a window: `(num_samples,)` to `(num_frames, num_local)` probabilities.

    `model` is one, or the name or path of one. Raises `MissingError` for weights that are not there.
    """

    def __init__(
        self, model: SegmentationModel | str | Path = _DEFAULTS.segmentation.model, duration: float = _DEFAULTS.duration
    ) -> None:
        loaded = model if isinstance(model, SegmentationModel) else load_segmentation(model)
        self._num_samples = to_samples(duration)
        self.model = fitted(loaded, self._num_samples)
        self.sample_rate = self.model.spec.sample_rate
        self.duration = duration

    def __call__(self, waveform: Float32) -> Float32:
        """A shorter window is taken as its own beginning. Raises `UsageError` for a longer one."""
        spec = self.model.spec
        samples = np.asarray(waveform, dtype=np.float32).reshape(-1)
        if len(samples) > self._num_samples:
            raise UsageError(f"a window has at most {self._num_samples} samples, not {len(samples)}: see `rolling`")
        scores = self.model(np.pad(samples, (0, spec.chunk - len(samples)))[None])[0]
        if spec.max_simultaneous is not None:
            scores = powerset.probabilities(scores, spec.num_local, spec.max_simultaneous)
        return np.asarray(scores[: max(1, round(len(scores) * self._num_samples / spec.chunk))], dtype=np.float32)


class OverlappedSpeechPenalty:
    """How much each frame says of each speaker's voice: `(num_frames, num_local)` to weights of the same shape.

    `(s * softmax(beta * s)) ** gamma` (Coria et al. 2021, eq. 2); `normalize` stretches them to [0, 1].
    """

    def __init__(self, gamma: float = _DEFAULTS.gamma, beta: float = _DEFAULTS.beta, normalize: bool = False) -> None:
        self.gamma, self.beta, self.normalize = gamma, beta, normalize

    def __call__(self, segmentation: Float32) -> Float32:
        """Weights."""
        return overlap_weights(segmentation, self.gamma, self.beta, normalize=self.normalize)


class EmbeddingNormalization:
    """Embeddings `(..., dimension)` scaled to a length."""

    def __init__(self, norm: float = 1.0) -> None:
        if not norm > 0:
            raise UsageError(f"embeddings have a length above 0, not {norm}")
        self.norm = norm

    def __call__(self, embeddings: Float32) -> Float32:
        """Of length `norm`; NaN stays."""
        length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
        return np.asarray(self.norm * embeddings / np.maximum(length, 1e-12), dtype=np.float32)


class SpeakerEmbedding:
    """What a window sounds like: `(num_samples,)` to `(dimension,)`, or with weights `(num_frames, num_local)`, spread
    evenly over the window, to `(num_local, dimension)`; NaN where too little has weight."""

    def __init__(self, model: EmbeddingModel | str | Path = _DEFAULTS.embedding.model) -> None:
        self.model = model if isinstance(model, EmbeddingModel) else load_embedding(model)
        self.sample_rate = self.model.spec.sample_rate

    def __call__(self, waveform: Float32, weights: Float32 | None = None) -> Float32:
        """Embeddings of the network's own length."""
        spec = self.model.spec
        samples = np.asarray(waveform, dtype=np.float32).reshape(-1)
        features = remove_mean(fbank(samples, num_mels=spec.num_mels, window=spec.window, scale=spec.scale))
        num_local = 1 if weights is None else weights.shape[1]
        if len(features) < spec.map_stride:
            found = np.full((num_local, spec.dimension), np.nan, dtype=np.float32)
        else:
            maps = self.model.frames(features[None])
            read = np.ones((maps.shape[1], 1), np.float32)
            if weights is not None:
                frames = Axis(step := max(1, len(samples) // len(weights)), step, sample_rate=self.sample_rate)
                stride = spec.map_stride * FBANK.step
                grid = Axis(FBANK.size + stride - FBANK.step, stride, sample_rate=self.sample_rate)
                read = at_maps(np.asarray(weights, dtype=np.float32), frames, grid, 0, maps.shape[1])
            found = self.model.pool(maps, np.ascontiguousarray(read.T)[None])[0]
        return found if weights is not None else found[0]


class OverlapAwareSpeakerEmbedding:
    """The voice of each local speaker, from where it is heard alone: window `(num_samples,)` and segmentation
    `(num_frames, num_local)` to `(num_local, dimension)`, of length `norm`."""

    def __init__(
        self,
        model: EmbeddingModel | str | Path = _DEFAULTS.embedding.model,
        gamma: float = _DEFAULTS.gamma,
        beta: float = _DEFAULTS.beta,
        norm: float = 1.0,
        normalize_weights: bool = False,
    ) -> None:
        self.embedding = SpeakerEmbedding(model)
        self.penalty = OverlappedSpeechPenalty(gamma, beta, normalize_weights)
        self.normalization = EmbeddingNormalization(norm)
        self.sample_rate = self.embedding.sample_rate

    def __call__(self, waveform: Float32, segmentation: Float32) -> Float32:
        """Embeddings."""
        return self.normalization(self.embedding(waveform, self.penalty(segmentation)))


class OnlineSpeakerClustering:
    """Whom each local speaker is, window after window: segmentation `(num_frames, num_local)` and embeddings
    `(num_local, dimension)` to scores `(num_frames, max_speakers)`, a column a known speaker.

    What it knows is the value `known`: keep it, and set it, to go on from there.
    """

    def __init__(
        self,
        tau_active: float = _DEFAULTS.tau_active,
        rho_update: float = _DEFAULTS.rho_update,
        delta_new: float = _DEFAULTS.delta_new,
        max_speakers: int = _DEFAULTS.max_speakers,
    ) -> None:
        self.thresholds = Thresholds(tau_active, rho_update, delta_new, max_speakers)
        self.known: Known | None = None

    def identify(self, segmentation: Float32, embeddings: Float32) -> Int64:
        """Numbers of the local speakers, `(num_local,)`, negative for nobody."""
        known = Known.nobody(embeddings.shape[1]) if self.known is None else self.known
        self.known, names = assign(known, segmentation, embeddings, self.thresholds)
        return names

    def __call__(self, segmentation: Float32, embeddings: Float32) -> Float32:
        """Scores of the known speakers."""
        names = self.identify(segmentation, embeddings)
        scores = np.zeros((len(segmentation), self.thresholds.max_speakers), dtype=np.float32)
        for local in np.flatnonzero(names != NOBODY):
            scores[:, names[local]] = segmentation[:, local]
        return scores


class DelayedAggregation:
    """What the windows of the last `latency` seconds say together of the same sound.

    Called with the scores `(num_frames, num_speakers)` of each window in turn, it answers for the `step` seconds that
    lie `latency` before the window's end; the first answer reaches back to the beginning, `finish()` gives the rest.
    """

    def __init__(
        self,
        step: float = _DEFAULTS.step,
        latency: float | None = None,
        duration: float = _DEFAULTS.duration,
        strategy: str = _DEFAULTS.aggregation,
    ) -> None:
        config = LiveConfig(duration=duration, step=step, latency=latency, aggregation=strategy)
        self.duration, self.step, self.strategy = duration, step, strategy
        self.num_windows = config.num_windows
        self._windows: list[Heard] = []
        self._index = self._told = 0

    def __call__(self, scores: Float32) -> Track:
        """Scores `(num_frames_of_a_step, num_speakers)`, placed in the stream."""
        frame = self.duration * SAMPLE_RATE / len(scores)  # samples, not always whole
        first = round(self._index * self.step * SAMPLE_RATE / frame)
        self._windows.append(Heard(first, scores, np.arange(scores.shape[1])))
        self._windows = self._windows[-self.num_windows :]
        self._index += 1
        end = self._index * self.step + self.duration - self.num_windows * self.step
        return self._tell(round(end * SAMPLE_RATE / frame), frame)

    def finish(self) -> Track | None:
        """What no later window will say more of: the rest up to the last window's end; None where there is none."""
        if not self._windows or self._told >= self._windows[-1].last:
            return None
        newest = self._windows[-1]
        return self._tell(newest.last, self.duration * SAMPLE_RATE / len(newest.scores))

    def _tell(self, until: int, frame: float) -> Track:
        low, self._told = self._told, until
        told, names = aggregate(self._windows, low, until, self.strategy)
        answer = np.zeros((until - low, self._windows[-1].scores.shape[1]), dtype=np.float32)
        answer[:, names] = told
        size = max(1, round(frame))
        return Track(answer, Axis(size, size, round(low * frame)))


class Binarize:
    """Scores to turns: who is above `threshold` talks. Labels are `speaker0`, `speaker1`, ..., a column each."""

    def __init__(self, threshold: float = _DEFAULTS.tau_active, uri: str = "stream") -> None:
        self.threshold, self.uri = threshold, uri

    def __call__(self, track: Track) -> Diarization:
        """The turns of a track, which end where it ends."""
        frames = track.frames
        span = (frames.start, frames.start + frames.step * len(track.scores))
        labels = [f"speaker{column}" for column in range(track.scores.shape[1])]
        return Diarization(tuple(pieces(track.scores, labels, self.threshold, frames, 0, span)), self.uri)
