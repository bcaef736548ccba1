"""Sound to evidence with an end-to-end model: what it says of each frame, and what each of its slots sounds like.

The voice of a slot is pooled where it talks alone, from blocks of ten seconds, as they come. A model that cannot hear a
whole recording, or should not, is begun anew each window; two memories hear the seconds in which one takes over from
the other. Nothing but probabilities (two bytes a frame and slot) and a voice for each slot outlives a block.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.events import Emitter
from diarist.core.protocols import EmbeddingModel, EndToEndModel
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32, Float64
from diarist.errors import UsageError, WeightsError
from diarist.pipelines.endtoend_presets import EndToEndConfig
from diarist.stages.embed import at_maps, unit_rows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean

BLOCK = 10 * SAMPLE_RATE  # samples that the embedding trunk sees at once
TALKS = 0.5  # probability from which on a slot counts as talking, for voices and for joining memories
MOST_WAITING = 16  # blocks whose voices are being made
_LOOKAHEAD = FBANK.size - FBANK.step

Probabilities = NDArray[np.float16]


@dataclass(frozen=True)
class Memory:
    """What one memory of the model said: `scores` `(num_frames, num_slots)` of the frames from `first` on, and `before`
    `(num_shared, num_slots)` of those just before them, which the memory before this one answers for.

    `voices` `(num_slots, dimension)` are sums of unit voices, each times the seconds it was heard for; `seconds`
    `(num_slots,)` those seconds.
    """

    first: int
    scores: Probabilities
    before: Probabilities
    voices: Float64
    seconds: Float64


@dataclass(frozen=True)
class Heard:
    """What an end-to-end model said of a recording: memories in order, and where frames lie."""

    memories: tuple[Memory, ...]
    frames: Axis
    num_samples: int

    @property
    def duration(self) -> float:
        """Length of the recording in seconds."""
        return self.num_samples / self.frames.sample_rate


def check_model(model: EndToEndModel[Any]) -> None:
    """Raise `UsageError` for a model that hears other sound than there is."""
    rate = model.spec.sample_rate
    if rate != SAMPLE_RATE:
        raise UsageError(f"the end-to-end model takes {rate} Hz: only models of {SAMPLE_RATE} Hz can be used")


def listen(
    blocks: Iterable[Float32],
    model: EndToEndModel[Any],
    embedding: EmbeddingModel | None,
    config: EndToEndConfig,
    pool: ThreadPoolExecutor,
    report: Callable[[float], None] = lambda _: None,
) -> Heard:
    """Hear a recording, block by block at 16 kHz; `report` is told how many seconds are done."""
    check_model(model)
    step = model.spec.frames.step
    window, overlap = window_of(config, model)
    pooling = None if embedding is None else Pooling(embedding, pool, model.spec.num_speakers)
    done: list[Memory] = []
    now, following = Listening(model, pooling, 0, 0), None
    heard = 0
    for block in blocks:
        while len(block):
            until = (len(done) + 1) * window if window else heard + len(block)
            if following is None and window:
                until -= overlap
            piece, block = block[: until - heard], block[until - heard :]
            now.hear(piece)
            if following is not None:
                following.hear(piece)
            heard += len(piece)
            if window and heard == until and len(block):  # a window that nothing follows needs no next one
                if following is None:
                    following = Listening(model, pooling, heard, heard + overlap)
                else:
                    done.append(now.finish(until // step))
                    now, following = following, None
        report(heard / SAMPLE_RATE)
    done.append(now.finish(None))
    return Heard(tuple(done), model.spec.frames, heard)


def window_of(config: EndToEndConfig, model: EndToEndModel[Any]) -> tuple[int, int]:
    """Samples in a window and in what two memories hear both, whole frames; a window of 0 has no end."""
    spec, step = model.spec, model.spec.frames.step
    overlap = round(config.network.overlap * SAMPLE_RATE / step) * step
    window = round(config.network.window * SAMPLE_RATE / step) * step
    if spec.longest is not None:
        most = int(spec.longest * SAMPLE_RATE) // step * step - overlap
        if most < overlap:
            raise UsageError(
                f"the model hears {spec.longest:g} s at once, too little for an overlap of "
                f"{config.network.overlap:g} s: give --network-overlap {spec.longest / 4:g}"
            )
        window = min(window or most, most)
    return window, overlap


class Listening:
    """One memory of a model at work, from sample `start` on; it answers for the frames from sample `own` on."""

    def __init__(self, model: EndToEndModel[Any], pooling: Pooling | None, start: int, own: int) -> None:
        self._model, self._pooling = model, pooling
        self._state = model.start()
        self._shared = (own - start) // model.spec.frames.step
        self._first = own // model.spec.frames.step
        self._num_frames = self._num_samples = 0
        self._sound: list[Float32] = []  # own sound that is not embedded yet
        self._sound_first = own - start
        self._jobs: deque[Future[tuple[Float64, Float64]]] = deque()
        num = model.spec.num_speakers
        self._scores: list[Probabilities] = [np.zeros((0, num), np.float16)]
        self._voices = np.zeros((num, pooling.dimension if pooling else 0))
        self._seconds = np.zeros(num)

    @property
    def num_samples(self) -> int:
        """How many samples were heard."""
        return self._num_samples

    def newest(self, first: int) -> Probabilities:
        """Probabilities of its frames from `first` on, `(num_frames, num_slots)`."""
        return _between(self._scores, self._num_frames, first, self._num_frames)

    def hear(self, samples: Float32) -> None:
        """Take in samples."""
        self._state, scores = self._model(self._state, samples)
        self._take(scores)
        skip = max(0, self._sound_first - self._num_samples) if not self._sound else 0
        if self._pooling is not None and len(samples) > skip:
            self._sound.append(samples[skip:])
        self._num_samples += len(samples)
        self._embed(last=False)

    def fork(self) -> Listening:
        """Another that has heard the same, and goes its own way."""
        other = copy.copy(self)
        other._scores, other._sound, other._jobs = list(self._scores), list(self._sound), deque(self._jobs)
        other._voices, other._seconds = self._voices.copy(), self._seconds.copy()
        return other

    def state(self) -> tuple[Any, dict[str, NDArray[Any]]]:
        """The model's state, and arrays of everything else that is remembered."""
        self._collect(0)
        return self._state, {
            "scores": self.newest(0),
            "sound": np.concatenate([np.zeros(0, np.float32), *self._sound]),
            "voices": self._voices,
            "seconds": self._seconds,
            "counts": np.array([self._num_samples, self._sound_first], np.int64),
        }

    def restore(self, state: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state()` gave."""
        self._state, self._scores = state, [arrays["scores"]]
        self._num_frames = len(arrays["scores"])
        self._sound = [arrays["sound"]] if len(arrays["sound"]) else []
        self._voices, self._seconds = arrays["voices"].copy(), arrays["seconds"].copy()
        self._num_samples, self._sound_first = (int(value) for value in arrays["counts"])

    def finish(self, until: int | None) -> Memory:
        """What was said, up to frame `until` of the recording."""
        self._take(self._model.finish(self._state))
        self._embed(last=True)
        self._collect(0)
        scores = np.concatenate(self._scores)
        own = scores[self._shared :]
        if until is not None:
            own = np.pad(own, ((0, max(0, until - self._first - len(own))), (0, 0)))[: until - self._first]
        return Memory(self._first, own, scores[: self._shared], self._voices, self._seconds)

    def _take(self, scores: Float32) -> None:
        if scores.ndim != 2 or scores.shape[1] != len(self._seconds) or not np.isfinite(scores).all():
            raise WeightsError(f"the end-to-end model gives {scores.shape} or values that are not finite: it is broken")
        self._scores.append(scores.astype(np.float16))
        self._num_frames += len(scores)

    def _embed(self, *, last: bool) -> None:
        """Embed the blocks whose frames are all known."""
        if self._pooling is None:
            return
        frames = self._model.spec.frames
        known = frames.start + self._num_frames * frames.step
        while self._sound:
            size = min(BLOCK, self._num_samples - self._sound_first)
            ready = self._num_samples - self._sound_first >= BLOCK + _LOOKAHEAD and known >= self._sound_first + BLOCK
            if size < FBANK.size or not (ready or last):
                return
            sound = np.concatenate(self._sound) if len(self._sound) > 1 else self._sound[0]
            self._sound = [sound[size:]] if len(sound) > size else []
            alone, axis = self._alone(self._sound_first, size)
            if alone.any():
                self._jobs.append(self._pooling.submit(sound[: size + _LOOKAHEAD], alone, axis))
            self._sound_first += size
            self._collect(MOST_WAITING)

    def _alone(self, start: int, size: int) -> tuple[NDArray[np.bool_], Axis]:
        """Which slot talks alone around samples `start` and on, `(num_frames, num_slots)`; frames from that sample."""
        frames = self._model.spec.frames
        low = max(0, frames.index_at(start) - 2)
        scores = _between(self._scores, self._num_frames, low, frames.index_at(start + size) + 2)
        talks = scores > TALKS
        alone = talks & (talks.sum(axis=1, keepdims=True) == 1)
        return alone, Axis(frames.size, frames.step, frames.first(low) - start, frames.sample_rate)

    def _collect(self, most: int) -> None:
        """Add up voices, in order, until no more than `most` are still being made."""
        while len(self._jobs) > most:
            voices, seconds = self._jobs.popleft().result()
            self._voices += voices
            self._seconds += seconds


class Pooling:
    """Voices of slots from blocks of sound, in other threads."""

    def __init__(self, embedding: EmbeddingModel, pool: ThreadPoolExecutor, num_slots: int) -> None:
        self._embedding, self._pool, self._num_slots = embedding, pool, num_slots
        stride = embedding.spec.map_stride
        self._maps = Axis(FBANK.size + (stride - 1) * FBANK.step, stride * FBANK.step)
        self.dimension = embedding.spec.dimension

    def submit(self, samples: Float32, alone: NDArray[np.bool_], frames: Axis) -> Future[tuple[Float64, Float64]]:
        """Sums of voices `(num_slots, dimension)` and seconds `(num_slots,)` of one block, later."""
        return self._pool.submit(self._voices, samples, alone, frames)

    def _voices(self, samples: Float32, alone: NDArray[np.bool_], frames: Axis) -> tuple[Float64, Float64]:
        spec = self._embedding.spec
        features = fbank(samples, num_mels=spec.num_mels, window=spec.window, scale=spec.scale)
        maps = self._embedding.frames(remove_mean(features)[None])[0][: len(features) // spec.map_stride]
        voices, seconds = np.zeros((self._num_slots, self.dimension)), np.zeros(self._num_slots)
        if not len(maps):
            return voices, seconds
        active = at_maps(alone, frames, self._maps, 0, len(maps))
        found = unit_rows(self._embedding.pool(maps[None], active.T[None].astype(np.float32))[0])
        known = np.isfinite(found).all(axis=1)
        seconds[known] = active.sum(axis=0)[known] * self._maps.step / SAMPLE_RATE
        voices[known] = found[known] * seconds[known, None]
        return voices, seconds


def _between(parts: list[Probabilities], end: int, low: int, high: int) -> Probabilities:
    """Rows `low` to `high` of parts one after another, `end` rows in all; looked for from the newest ones back."""
    found: list[Probabilities] = []
    for part in reversed(parts):
        start = end - len(part)
        if end <= low:
            break
        if start < high:
            found.append(part[max(0, low - start) : high - start])
        end = start
    return np.concatenate([part[:0] for part in parts[:1]] + found[::-1])


def told(emitter: Emitter, heard: Heard) -> None:
    """Let hooks see what the answer is made from."""
    for number, memory in enumerate(heard.memories):
        emitter.arrays("listening", memory=number, scores=memory.scores, voices=memory.voices, seconds=memory.seconds)
