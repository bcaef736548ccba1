"""A second opinion on whether anybody talks, from a voice activity model that hears a stream as it comes.

As in `models/fused.py`, its log-odds of speech are added to the segmentation's; but it hears each sound once, with what
it remembers of all sound before, where in a recording it hears every chunk anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from diarist.core.protocols import SegmentationSpec
from diarist.core.time import Axis
from diarist.core.types import Float32
from diarist.models.fused import fuse, log_odds

VadState = tuple[Float32, Float32]


@runtime_checkable
class StreamingVad(Protocol):
    """A voice activity model with a state, such as `SileroVad`."""

    @property
    def frames(self) -> Axis:
        """Where frames lie: side by side."""
        ...

    def start(self) -> VadState:
        """Before the first sample."""
        ...

    def step(self, state: VadState, samples: Float32) -> tuple[VadState, Float32]:
        """A whole number of frames of samples to their probabilities `(num_frames,)`."""
        ...


@dataclass
class Opinion:
    """What a stream remembers of it: the newest log-odds of speech `odds`, the number of them all, and the state."""

    odds: Float32
    num: int
    state: VadState


class SecondOpinion:
    """Hears with a segmentation model; holds nothing of any stream. `keep` samples are remembered."""

    def __init__(self, vad: StreamingVad, *, weight: float, bias: float, keep: int) -> None:
        self.vad, self.weight, self.bias = vad, weight, bias
        self._keep = keep // vad.frames.step + 2

    def start(self) -> Opinion:
        """Before the first sample."""
        return Opinion(np.zeros(0, np.float32), 0, self.vad.start())

    def hear(self, opinion: Opinion, samples: Float32, heard: int) -> None:
        """Take in what is new in `samples`, the newest of the `heard` ones, in whole frames."""
        size = self.vad.frames.step
        first = opinion.num * size - (heard - len(samples))
        num = (len(samples) - first) // size
        if num > 0:
            opinion.state, found = self.vad.step(opinion.state, samples[first : first + num * size])
            opinion.odds = np.concatenate([opinion.odds, log_odds(found)])[-self._keep :].astype(np.float32)
            opinion.num += num

    def added(self, opinion: Opinion, scores: Float32, spec: SegmentationSpec, first: int) -> Float32:
        """Scores `(num_frames, num_classes)` from frame `first` of the stream on, with the opinion in them."""
        if not len(opinion.odds):
            return scores
        frames, own = spec.frames, self.vad.frames
        middles = frames.middles(len(scores)) + first * frames.step / frames.sample_rate
        at = own.middles(len(opinion.odds)) + (opinion.num - len(opinion.odds)) * own.step / own.sample_rate
        odds = np.interp(middles, at, opinion.odds).astype(np.float32)
        return fuse(scores, odds, spec, weight=self.weight, bias=self.bias)
