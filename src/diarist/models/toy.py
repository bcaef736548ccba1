"""A voice is a tone: all models in a few pages of numpy, so that the whole house runs and is tested with no weights.

A speaker hums a frequency of its own, in pulses of five a second as syllables have. `ToySegmentation` hears which tones
sound, on the frames and in the powerset of segmentation-3.0; `ToyEmbedding` tells voices by the mel bands that move;
`ToyEndToEnd` says who hums, in order of arrival.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingSpec, EndToEndSpec, SegmentationSpec
from diarist.core.time import SAMPLE_RATE, Axis, to_samples
from diarist.core.types import Float32, Float64, Turn
from diarist.errors import UsageError
from diarist.models.checks import check_chunks, check_features, check_weights
from diarist.models.endtoend import check_samples
from diarist.models.pooling import weighted_statistics
from diarist.stages.powerset import mapping

VOICES = 400.0 * 1.35 ** np.arange(8)  # hertz
_LEVEL = 0.1
_QUIETEST = 0.05  # of a pulse, relative to its peak
_HEARD = 0.02 * _LEVEL
_SURE = 0.98  # probability of the class that is heard
_CLICK = 5  # frames of 20 ms: where a hum begins, all voices sound for less


def conversation(
    turns: Iterable[Turn | tuple[float, float, str]],
    duration: float | None = None,
    *,
    noise: float = 3e-3,
    seed: int = 0,
) -> Float32:
    """Sound `(num_samples,)` at 16 kHz in which each speaker of `turns` hums; speakers get voices in order of name.

    `duration` in seconds, by default up to the last turn's end. `noise` is the deviation of the hiss below it, drawn
    from `seed`. Raises `UsageError` where there are more speakers than voices.
    """
    parts = [(t.start, t.end, t.speaker) if isinstance(t, Turn) else t for t in turns]
    speakers = sorted({speaker for _, _, speaker in parts})
    if len(speakers) > len(VOICES):
        raise UsageError(f"a toy conversation has at most {len(VOICES)} speakers, not {len(speakers)}")
    num_samples = to_samples(max((end for _, end, _ in parts), default=0.0) if duration is None else duration)
    times = np.arange(num_samples) / SAMPLE_RATE
    samples = noise * np.random.default_rng(seed).standard_normal(num_samples)
    for start, end, speaker in parts:
        span = slice(to_samples(start), min(to_samples(end), num_samples))
        samples[span] += _hum(times[span], VOICES[speakers.index(speaker)])
    return samples.astype(np.float32)


def _hum(times: Float64, hertz: float) -> Float64:
    pulse = 0.5 - 0.5 * np.cos(2 * np.pi * 5.0 * times)
    hum: Float64 = _LEVEL * (_QUIETEST + (1 - _QUIETEST) * pulse) * np.sin(2 * np.pi * hertz * times)
    return hum


class ToySegmentation:
    """Which tones sound: up to three in a chunk, in order of first appearance, at most two at once."""

    spec = SegmentationSpec(
        chunk=10 * SAMPLE_RATE, num_frames=589, frames=Axis(size=991, step=270), num_local=3, max_simultaneous=2
    )

    def __init__(self, chunk: int = 10 * SAMPLE_RATE) -> None:
        self.spec = dataclasses.replace(self.spec, chunk=chunk, num_frames=self.spec.frames.count_inside(chunk))
        size = self.spec.frames.size
        phase = 2 * np.pi * np.outer(np.arange(size), VOICES) / SAMPLE_RATE
        taper = np.hanning(size)[:, None] * 2 / np.hanning(size).sum()
        self._probes = np.hstack([np.cos(phase) * taper, np.sin(phase) * taper]).astype(np.float32)
        self._members = mapping(3, 2)  # (num_classes, 3)

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` to log-probabilities `(batch, num_frames, 7)`: 160000 samples to 589 frames.
        Raises `UsageError` for another shape."""
        check_chunks(batch, self.spec)
        scores = [self._scores(self._levels(row)) for row in batch]
        return np.stack(scores) if scores else np.zeros((0, self.spec.num_frames, len(self._members)), np.float32)

    def resized(self, chunk: int) -> ToySegmentation:
        """The same for chunks of another number of samples."""
        return ToySegmentation(chunk)

    def _levels(self, row: Float32) -> Float32:
        """Amplitude of each voice in each frame, `(num_frames, num_voices)`."""
        axis = self.spec.frames
        frames = sliding_window_view(np.ascontiguousarray(row, dtype=np.float32), axis.size)[:: axis.step]
        cosine, sine = np.split(frames[: self.spec.num_frames] @ self._probes, 2, axis=1)
        levels: Float32 = np.hypot(cosine, sine)
        return levels

    def _scores(self, levels: Float32) -> Float32:
        heard = levels > _HEARD
        first = np.where(heard.any(axis=0), heard.argmax(axis=0), len(heard))
        longest = np.argsort(-heard.sum(axis=0), kind="stable")[:3]
        local = longest[np.argsort(first[longest], kind="stable")]
        active = heard[:, local]
        faintest = levels[:, local].argmin(axis=1)
        active[active.all(axis=1), faintest[active.all(axis=1)]] = (
            False  # three at once: the powerset has no such class
        )
        chosen = (active[:, None] == self._members[None].astype(bool)).all(axis=2)  # (num_frames, num_classes)
        return np.log(np.where(chosen, _SURE, (1 - _SURE) / (chosen.shape[1] - 1))).astype(np.float32)


class ToyEmbedding:
    """How much each mel band moves: large only where the voice hums, whatever mean was removed."""

    spec = EmbeddingSpec(dimension=80, min_frames=5, map_stride=2)

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)` to the means of pairs of frames `(batch, ceil(num_fbank / 2), 80)`."""
        check_features(fbank, self.spec)
        even, odd = fbank[:, ::2], fbank[:, 1::2]
        maps = np.array(even, dtype=np.float32)
        maps[:, : odd.shape[1]] = (maps[:, : odd.shape[1]] + odd) / 2
        return maps

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """Cubed deviations, `(batch, num_local, 80)`, of maps `(batch, num_maps, 80)` under weights."""
        check_weights(maps, weights)
        deviation: NDArray[np.float32] = weighted_statistics(maps, weights, self.spec.min_frames)[..., maps.shape[2] :]
        return deviation**3


@dataclasses.dataclass(frozen=True)
class ToyState:
    """What `ToyEndToEnd` remembers: sound that waits `(num_samples,)`, and which voice each of its slots is."""

    waiting: Float32
    slots: tuple[int, ...] = ()


class ToyEndToEnd:
    """Which tones sound, in slots by order of arrival. An `EndToEndModel` that hears `chunk` frames of 20 ms at a time;
    a voice that comes when all slots are taken is heard by nobody."""

    def __init__(self, num_speakers: int = 4, *, chunk: int = 25, longest: float | None = None) -> None:
        frames = Axis(size=960, step=320, start=-320)  # a frame looks a step to both sides
        self.spec = EndToEndSpec(frames, num_speakers, (chunk + 1) * frames.step / SAMPLE_RATE, longest)
        self._chunk = chunk
        phase = 2 * np.pi * np.outer(np.arange(frames.size), VOICES) / SAMPLE_RATE
        taper = np.hanning(frames.size)[:, None] * 2 / np.hanning(frames.size).sum()
        self._probes = np.hstack([np.cos(phase) * taper, np.sin(phase) * taper]).astype(np.float32)

    def start(self) -> ToyState:
        """The state before the first sample."""
        return ToyState(np.zeros(-self.spec.frames.start, np.float32))

    def __call__(self, state: ToyState, samples: Float32) -> tuple[ToyState, Float32]:
        """`(num_samples,)` more to the frames of the chunks that are whole. Raises `UsageError` for other samples."""
        frames = self.spec.frames
        waiting = np.concatenate([state.waiting, check_samples(samples)])
        reach = frames.size + (self._chunk - 1) * frames.step
        found, slots = [np.zeros((0, self.spec.num_speakers), np.float32)], state.slots
        while len(waiting) >= reach:
            scores, slots = self._heard(waiting[:reach], slots)
            found.append(scores)
            waiting = waiting[self._chunk * frames.step :]
        return ToyState(waiting, slots), np.concatenate(found)

    def finish(self, state: ToyState) -> Float32:
        """The frames of the last chunk, filled up with silence."""
        frames = self.spec.frames
        num_frames = -(-(len(state.waiting) + frames.start) // frames.step)
        silence = np.zeros(frames.size + num_frames * frames.step, np.float32)
        return self._heard(np.concatenate([state.waiting, silence])[: len(silence)], state.slots)[0][:num_frames]

    def _heard(self, samples: Float32, slots: tuple[int, ...]) -> tuple[Float32, tuple[int, ...]]:
        """Probabilities `(num_frames, num_speakers)` of one chunk, and whose the slots are after it."""
        axis = self.spec.frames
        cosine, sine = np.split(sliding_window_view(samples, axis.size)[:: axis.step] @ self._probes, 2, axis=1)
        heard = np.hypot(cosine, sine) > _HEARD
        first = np.where(heard.sum(axis=0) >= _CLICK, heard.argmax(axis=0), len(heard))
        new = [int(v) for v in np.argsort(first, kind="stable") if first[v] < len(heard) and v not in slots]
        slots = (*slots, *new)[: self.spec.num_speakers]
        scores = np.full((len(heard), self.spec.num_speakers), 1 - _SURE, np.float32)
        scores[:, : len(slots)] = np.where(heard[:, list(slots)], _SURE, 1 - _SURE)
        return scores, slots
