"""Sortformer, run by NeMo: up to four speakers, frames of 80 ms, a recording at once or as a stream.

Park et al., "Sortformer: seamless integration of speaker diarization and ASR by bridging timestamps and tokens", 2024;
Medennikov et al., "Streaming Sortformer: speaker cache-based online speaker diarization with arrival-time ordering",
Interspeech 2025. The network and what it remembers are NeMo's (`SortformerEncLabelModel`); this file cuts a stream as
NeMo's `forward_streaming` cuts the features of a whole recording, and keeps what is remembered as a value.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.protocols import EndToEndModel, EndToEndSpec
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32
from diarist.errors import ModelFileError
from diarist.models.endtoend import check_samples, nearest_latency
from diarist.models.nemo import SORTFORMER, restored

HOP, FACTOR = 160, 8  # samples from one mel frame to the next; mel frames in a frame of the encoder
FRAMES = Axis(HOP * FACTOR, HOP * FACTOR)
REACH = 256  # samples before and after its middle that a mel frame looks at: half a Fourier transform
EARLIER = 2  # mel frames that are made and thrown away, so that the next ones are as in the whole recording
LONGEST = 600.0  # seconds that the network for whole recordings should be given: its attention grows with the square


@dataclass(frozen=True)
class Mode:
    """How a stream is cut, in frames of 80 ms: chunks of `chunk` that see `ahead` more; `fifo` frames are remembered as
    they came, of which `period` at a time go into the speaker cache of `cache` frames."""

    chunk: int
    ahead: int
    fifo: int
    period: int
    cache: int = 188

    @property
    def latency(self) -> float:
        """What its publisher calls the latency, in seconds."""
        return (self.chunk + self.ahead) * FRAMES.step / SAMPLE_RATE


MODES = (Mode(3, 1, 188, 144), Mode(6, 7, 188, 144), Mode(124, 1, 124, 124), Mode(340, 40, 40, 300))
"""Those of the cards of Streaming Sortformer v2 and v2.1: 0.32, 1.04, 10.0 and 30.4 s."""
LATENCIES = tuple(round(mode.latency, 2) for mode in MODES)


@dataclass(frozen=True)
class SortformerState:
    """A stream so far: sound `waiting` `(num_samples,)`, and the mel frame `first` with which the next chunk begins.

    Remembered: the speaker cache `(num_frames, dimension)` with its probabilities `(num_frames, num_speakers)`, None
    before it was first filled; the newest frames `fifo`; the mean of `num_silent` silent frames `silence`.
    """

    waiting: Float32
    first: int = 0
    cache: Float32 | None = None
    cache_scores: Float32 | None = None
    fifo: Float32 | None = None
    silence: Float32 | None = None
    num_silent: int = 0


def load(
    model: str | Path, *, latency: float = LATENCIES[-1], device: str = "auto", offline: bool = False
) -> EndToEndModel[SortformerState]:
    """The model of that name or `.nemo` file; one for whole recordings (v1) has no use for `latency`.

    Raises `UsageError` for a latency that is not one of `LATENCIES`, `ExtraError` without NeMo, `WeightsError` for a
    file that cannot be had, is refused or is no Sortformer.
    """
    mode = MODES[LATENCIES.index(nearest_latency(latency, LATENCIES, model))]
    network, archive = restored(model, (SORTFORMER,), device=device, offline=offline)
    hop = archive.part("preprocessor", "window_stride")
    factor = archive.part("encoder", "subsampling_factor")
    if hop != HOP / SAMPLE_RATE or factor != FACTOR:
        raise ModelFileError(f"'{model}' has frames of {factor} times {hop} s: only {FACTOR} times 0.01 s is offered")
    normalised = archive.part("preprocessor", "normalize") in ("per_feature", "all_features")
    if archive.part("streaming_mode") and not normalised:
        return StreamingSortformer(network, mode)
    return WholeSortformer(network)


class WholeSortformer:
    """A network that hears a whole recording at once: every frame comes with `finish`, the state is the sound."""

    def __init__(self, network: Any) -> None:
        self._network, self._one_at_a_time = network, threading.Lock()
        self._place = next(network.parameters()).device
        self.spec = EndToEndSpec(FRAMES, network.sortformer_modules.n_spk, None, LONGEST)

    def start(self) -> SortformerState:
        """The state before the first sample."""
        return SortformerState(np.zeros(0, np.float32))

    def __call__(self, state: SortformerState, samples: Float32) -> tuple[SortformerState, Float32]:
        """`(num_samples,)` more to no frames yet. Raises `UsageError` for other samples."""
        state = replace(state, waiting=np.concatenate([state.waiting, check_samples(samples)]))
        return state, np.zeros((0, self.spec.num_speakers), np.float32)

    def finish(self, state: SortformerState) -> Float32:
        """Probabilities `(num_frames, num_speakers)` of the recording, NeMo's `forward`."""
        import torch

        if len(state.waiting) < HOP:
            return np.zeros((0, self.spec.num_speakers), np.float32)
        with self._one_at_a_time, torch.inference_mode():
            sound = torch.from_numpy(state.waiting)[None].to(self._place)
            length = torch.tensor([sound.shape[1]], device=self._place)
            return _array(self._network.forward(audio_signal=sound, audio_signal_length=length)[0])


class StreamingSortformer:
    """A network that hears a chunk after the other, and remembers the speakers it has heard."""

    def __init__(self, network: Any, mode: Mode) -> None:
        self._network, self._one_at_a_time, self.mode = network, threading.Lock(), mode
        self._place = next(network.parameters()).device
        network.async_streaming = False
        modules = self._modules = network.sortformer_modules
        modules.chunk_len, modules.chunk_right_context = mode.chunk, mode.ahead
        modules.fifo_len, modules.spkcache_update_period, modules.spkcache_len = mode.fifo, mode.period, mode.cache
        self._before: int = modules.chunk_left_context * FACTOR
        late = (REACH - HOP) / SAMPLE_RATE  # what a mel frame looks at beyond its hop
        self.spec = EndToEndSpec(FRAMES, modules.n_spk, mode.latency + late)

    def start(self) -> SortformerState:
        """The state before the first sample."""
        return SortformerState(np.zeros(0, np.float32))

    def __call__(self, state: SortformerState, samples: Float32) -> tuple[SortformerState, Float32]:
        """`(num_samples,)` more to the frames of the chunks that are whole. Raises `UsageError` for other samples."""
        state = replace(state, waiting=np.concatenate([state.waiting, check_samples(samples)]))
        found = [np.zeros((0, self.spec.num_speakers), np.float32)]
        while True:
            last = state.first + (self.mode.chunk + self.mode.ahead) * FACTOR
            if self._begins(state) + len(state.waiting) < (last - 1) * HOP + REACH:
                return state, np.concatenate(found)
            state, scores = self._step(state, last)
            found.append(scores)

    def finish(self, state: SortformerState) -> Float32:
        """The frames of the sound that waits: mel frames as many as there are whole hops in the recording."""
        found = [np.zeros((0, self.spec.num_speakers), np.float32)]
        total = (self._begins(state) + len(state.waiting)) // HOP
        while state.first < total:
            state, scores = self._step(state, min(total, state.first + (self.mode.chunk + self.mode.ahead) * FACTOR))
            found.append(scores)
        return np.concatenate(found)

    def _begins(self, state: SortformerState) -> int:
        """Which sample of the recording the waiting sound begins with."""
        return max(0, state.first - self._before - EARLIER) * HOP

    def _step(self, state: SortformerState, last: int) -> tuple[SortformerState, Float32]:
        """One chunk, which sees mel frames up to `last`, the end of the recording where it is shorter than a whole
        one."""
        import torch

        begins, end = self._begins(state), min(last, state.first + self.mode.chunk * FACTOR)
        left, right = min(self._before, state.first), last - end
        reach = (last - 1) * HOP + REACH - begins
        with self._one_at_a_time, torch.inference_mode():
            sound = torch.from_numpy(state.waiting[:reach])[None].to(self._place)
            mels = self._network.preprocessor(
                input_signal=sound, length=torch.tensor([sound.shape[1]], device=self._place)
            )[0]
            skip = state.first - left - begins // HOP
            chunk = mels[:, :, skip : skip + left + last - state.first].transpose(1, 2)
            remembered, scores = self._network.forward_streaming_step(
                processed_signal=chunk,
                processed_signal_length=torch.tensor([chunk.shape[1]], device=self._place),
                streaming_state=self._remembered(state),
                total_preds=torch.zeros((1, 0, self.spec.num_speakers), device=self._place),
                left_offset=left,
                right_offset=right,
            )
            after = replace(
                state,
                first=end,
                cache=_array(remembered.spkcache[0]),
                cache_scores=None if remembered.spkcache_preds is None else _array(remembered.spkcache_preds[0]),
                fifo=_array(remembered.fifo[0]),
                silence=_array(remembered.mean_sil_emb[0]),
                num_silent=int(remembered.n_sil_frames[0]),
            )
            found = _array(scores[0])
        return replace(after, waiting=state.waiting[self._begins(after) - begins :].copy()), found

    def _remembered(self, state: SortformerState) -> Any:
        """What NeMo calls the streaming state."""
        import torch

        made = self._modules.init_streaming_state(batch_size=1, device=self._place)
        if state.cache is not None:
            made.spkcache, made.fifo = self._tensor(state.cache), self._tensor(state.fifo)
            made.mean_sil_emb = self._tensor(state.silence)
            made.n_sil_frames = torch.tensor([state.num_silent], device=self._place)
            if state.cache_scores is not None:
                made.spkcache_preds = self._tensor(state.cache_scores)
        return made

    def _tensor(self, array: Float32 | None) -> Any:
        import torch

        return torch.tensor(array, device=self._place)[None]


def _array(tensor: Any) -> Float32:
    return np.array(tensor.float().cpu().numpy(), dtype=np.float32)
