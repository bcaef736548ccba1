"""Nemotron 3 Diarization: eight speakers, frames of 10 ms, latencies from 0.32 to 30.4 s.

NVIDIA's streaming Sortformer of 2026 (Park et al., "Sortformer", 2024; Medennikov et al., "Streaming Sortformer",
2025). Eight frames of log mel energies are one of the encoder; it hears a chunk of those, some that follow it, and what
it remembers: the newest frames (FIFO) and those of each speaker that it was surest of (speaker cache). This file cuts
the sound into chunks; `models.transformers` and `models.nemotron_onnx` run the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from diarist.core.protocols import EndToEndModel, EndToEndSpec
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32
from diarist.models.endtoend import check_samples
from diarist.stages.speaker_cache import Cached

HOP = 160  # samples from one mel frame to the next
BEFORE = 256  # samples before the first mel frame of a later chunk: half a Fourier transform
WINDOW = 400  # samples that a mel frame looks at
FACTOR = 8  # mel frames in a frame of the encoder
FRAMES = Axis(HOP, HOP)


@dataclass(frozen=True)
class Mode:
    """How sound is cut, in frames of the encoder (80 ms): chunks of `chunk` that see `ahead` more; `fifo` frames are
    remembered as they came, of which `period` at a time go into the speaker cache. `whole`: a recording's last frames
    are cut in the same way, as in the model's forward over a whole recording; otherwise they are one chunk."""

    chunk: int
    ahead: int
    fifo: int
    period: int
    whole: bool = False

    @property
    def latency(self) -> float:
        """What its publisher calls the latency, in seconds."""
        return (self.chunk + self.ahead) * FACTOR * HOP / SAMPLE_RATE


MODES = (Mode(3, 1, 264, 222), Mode(6, 2, 264, 222), Mode(9, 4, 264, 222), Mode(340, 40, 40, 300, whole=True))
"""Those of the model's card."""


@dataclass(frozen=True)
class NemotronState:
    """A stream so far: sound `waiting` `(num_samples,)`, the mel frame `first` with which the next chunk begins, and
    the fields of a `Cached`."""

    waiting: Float32
    first: int
    embeds: Float32
    probs: Float32
    fifo: Float32
    compressed: bool = False

    @property
    def cache(self) -> Cached:
        """What the network remembers."""
        return Cached(self.embeds, self.probs, self.fifo, self.compressed)


class Network(Protocol):
    """What runs the network, and how it was set up."""

    num_speakers: int
    hidden: int
    mode: Mode

    def features(self, samples: Float32, *, first: bool, last: bool) -> Float32:
        """Log mel energies `(num_mels, bins)` of the sound of one chunk; the `first` one begins with the recording,
        later ones `BEFORE` samples before their first frame; the `last` one ends with it."""
        ...

    def step(self, cache: Cached, features: Float32, ahead: int) -> tuple[Cached, Float32]:
        """One chunk, of which the last `ahead` encoder frames will come again: what is remembered after it, and
        probabilities `(num_mels, num_speakers)` of the others."""
        ...


class Nemotron:
    """The model behind the port `EndToEndModel`."""

    def __init__(self, network: Network) -> None:
        self.network, self.mode = network, network.mode
        # what a chunk must reach beyond its last mel frame to be cut as its publisher cuts it
        self.spec = EndToEndSpec(FRAMES, network.num_speakers, self.mode.latency + (WINDOW - BEFORE) / SAMPLE_RATE)

    def start(self) -> NemotronState:
        """The state before the first sample."""
        none = empty(self.network)
        return NemotronState(np.zeros(0, np.float32), 0, none.embeds, none.probs, none.fifo)

    def __call__(self, state: NemotronState, samples: Float32) -> tuple[NemotronState, Float32]:
        """`(num_samples,)` more to the frames of the chunks that are whole. Raises `UsageError` for other samples."""
        state = replace(state, waiting=np.concatenate([state.waiting, check_samples(samples)]))
        num_mels = (self.mode.chunk + self.mode.ahead) * FACTOR
        found = [np.zeros((0, self.spec.num_speakers), np.float32)]
        while True:
            first = state.first == 0
            size = (num_mels - 1) * HOP + WINDOW // 2 if first else num_mels * HOP + WINDOW
            if len(state.waiting) < size:
                return state, np.concatenate(found)
            features = self.network.features(state.waiting[:size], first=first, last=False)
            state, scores = self._step(state, features[:num_mels], self.mode.ahead)
            found.append(scores)

    def finish(self, state: NemotronState) -> Float32:
        """The frames of the sound that waits: as many as there are whole hops in the recording."""
        begins = 0 if state.first == 0 else state.first * HOP - BEFORE
        num_left = (begins + len(state.waiting)) // HOP - state.first
        found = [np.zeros((0, self.spec.num_speakers), np.float32)]
        if num_left > 0:
            features = self.network.features(state.waiting, first=state.first == 0, last=True)[:num_left]
            while len(features):
                num_frames = -(-len(features) // FACTOR)
                ahead = min(self.mode.ahead, max(0, num_frames - self.mode.chunk)) if self.mode.whole else 0
                end = (self.mode.chunk + ahead) * FACTOR if self.mode.whole else len(features)
                state, scores = self._step(state, features[:end], ahead)
                features = features[len(scores) :]
                found.append(scores)
        return np.concatenate(found)

    def _step(self, state: NemotronState, features: Float32, ahead: int) -> tuple[NemotronState, Float32]:
        cache, scores = self.network.step(state.cache, features, ahead)
        begins = 0 if state.first == 0 else state.first * HOP - BEFORE
        first = state.first + len(scores)
        waiting = state.waiting[max(0, first * HOP - BEFORE - begins) :].copy()
        return NemotronState(waiting, first, cache.embeds, cache.probs, cache.fifo, cache.compressed), scores


def empty(network: Network) -> Cached:
    """What a network remembers before it has heard anything."""
    none = np.zeros((0, network.hidden), np.float32)
    return Cached(none, np.zeros((0, network.num_speakers), np.float32), none)


def load(
    model: str | Path, *, latency: float, device: str = "auto", offline: bool = False
) -> EndToEndModel[NemotronState]:
    """Nemotron from an ONNX file, or a folder or hub id of a `transformers` checkpoint in safetensors.

    Raises `UsageError` for a latency that it does not have, `WeightsError` for weights that cannot be had or are
    others, `ExtraError` without `transformers`.
    """
    path = Path(model)
    if path.suffix == ".onnx" or (path.is_dir() and any(path.glob("*.onnx")) and not any(path.glob("*.safetensors"))):
        from diarist.models.nemotron_onnx import OnnxNemotron

        return Nemotron(OnnxNemotron(path, latency))
    from diarist.models.transformers import TransformersNemotron, read_checkpoint

    return Nemotron(TransformersNemotron(read_checkpoint(model, offline=offline), latency, device))
