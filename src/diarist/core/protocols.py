"""The ports: what an engine must offer. Adapters live in `models/`, pure algorithms in `stages/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32, Int64, SpeakerBounds, Update

State = TypeVar("State")


@dataclass(frozen=True)
class SegmentationSpec:
    """Facts about a segmentation model, read from its file.

    `chunk` samples go in; `num_frames` frames, placed by `frames` from the chunk's first sample, come out. With
    `max_simultaneous` set, classes are a powerset of at most that many of `num_local` speakers; without, one
    independent class a speaker (Plaquet & Bredin, "Powerset multi-class cross entropy loss", 2023).
    """

    chunk: int
    num_frames: int
    frames: Axis
    num_local: int
    max_simultaneous: int | None = None
    sample_rate: int = SAMPLE_RATE


@dataclass(frozen=True)
class EmbeddingSpec:
    """Facts about a speaker embedding model.

    `frames()` maps fbank frames (one each 10 ms) to maps, one for every `map_stride` fbank frames; a speaker with
    fewer than `min_frames` maps gets NaN. The fbank is of sound times `scale` under the `window`. In a `whole` network
    maps are the fbank itself, and the network runs in `pool()`: so the fbank's mean can be taken off chunk by chunk.
    A network that takes sound rather than an fbank has the window `raw` and `num_mels` 160: the samples of 10 ms a row.
    """

    dimension: int
    min_frames: int = 1
    map_stride: int = 1
    num_mels: int = 80
    window: Literal["povey", "hamming", "raw"] = "povey"
    scale: float = 1.0
    whole: bool = False
    metric: Literal["cosine"] = "cosine"
    sample_rate: int = SAMPLE_RATE


@runtime_checkable
class SegmentationModel(Protocol):
    """Local speaker activity. Instances are shared by threads."""

    @property
    def spec(self) -> SegmentationSpec:
        """Facts about the model."""
        ...

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` sound to `(batch, num_frames, num_classes)` log-probabilities (powerset) or
        probabilities (one class a speaker)."""
        ...


@runtime_checkable
class EmbeddingModel(Protocol):
    """What a voice sounds like. Instances are shared by threads."""

    @property
    def spec(self) -> EmbeddingSpec:
        """Facts about the model."""
        ...

    def frames(self, fbank: Float32) -> Float32:
        """The costly part, once per stretch of audio.

        `(batch, num_fbank, num_mels)` to `(batch, num_maps, channels)`.
        """
        ...

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """The cheap part, once per speaker: maps `(batch, num_maps, channels)` under weights
        `(batch, num_local, num_maps)` in [0, 1] to embeddings `(batch, num_local, dimension)`; NaN where too short."""
        ...


@runtime_checkable
class VoiceActivityModel(Protocol):
    """Speech or not."""

    @property
    def frames(self) -> Axis:
        """Where frames lie."""
        ...

    def __call__(self, samples: Float32) -> Float32:
        """`(num_samples,)` to speech probabilities `(num_frames,)`."""
        ...


@dataclass(frozen=True)
class EndToEndSpec:
    """Facts about an end-to-end model: where its frames lie in the recording, and how many people it tells apart.

    `latency`: seconds at most from a sample to its probabilities; None where all of them come at the end. `longest`:
    seconds that one state may hear; None where there is no such limit.
    """

    frames: Axis
    num_speakers: int
    latency: float | None
    longest: float | None = None

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return self.frames.sample_rate


class EndToEndModel(Protocol[State]):
    """Sound in, activity of all its speakers out, with a state that is a value: no call changes the one it is given,
    and it can be pickled. Instances are shared by threads.

    The frames of all calls and of `finish()`, one after another, cover the recording; they do not depend on how the
    sound was cut into blocks.
    """

    @property
    def spec(self) -> EndToEndSpec:
        """Facts about the model."""
        ...

    def start(self) -> State:
        """The state before the first sample."""
        ...

    def __call__(self, state: State, samples: Float32) -> tuple[State, Float32]:
        """`(state, (num_samples,))` to `(state, (num_frames, num_speakers))` probabilities, of as many frames as have
        become certain: maybe none."""
        ...

    def finish(self, state: State) -> Float32:
        """The frames that are still missing where no sound follows, `(num_frames, num_speakers)`."""
        ...


class Clusterer(Protocol):
    """Which embeddings are the same person."""

    def __call__(self, embeddings: NDArray[np.floating[Any]], groups: Int64, bounds: SpeakerBounds) -> Int64:
        """Embeddings `(n, dimension)` to labels `(n,)` counted from 0. Two rows of one group (>= 0) are never the
        same person; group -1 says nothing."""
        ...


class OnlineClusterer(Protocol[State]):
    """Which known speaker an embedding belongs to, as they come."""

    def start(self, dimension: int) -> State:
        """No speaker known yet."""
        ...

    def __call__(self, state: State, embeddings: Float32) -> tuple[State, Int64]:
        """`(state, (n, dimension))` to `(state, (n,))` labels; rows of one call are different people."""
        ...


class Source(Protocol):
    """Where sound comes from, block by block."""

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        ...

    def __iter__(self) -> Iterator[Float32]:
        """Blocks `(num_samples,)`."""
        ...


class Sink(Protocol):
    """Where answers go."""

    def write(self, update: Update) -> None:
        """Take one update."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...
