"""Voices of many stretches of one recording, which may overlap: the costly trunk runs once, whatever the scales.

The trunk runs over blocks of ten seconds in which somebody is wanted; requests are served in order of time, so that few
blocks are held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from diarist.core.events import Emitter
from diarist.core.protocols import EmbeddingModel
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32, Float64, Int64
from diarist.stages.embed import pool_windows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean

BLOCK = 10 * SAMPLE_RATE  # samples that the trunk hears at once
GROUP = 64  # windows that are pooled together
AHEAD = 16  # blocks that are begun before they are needed
EDGE = 1e-3  # samples by which seconds may be rounded


@runtime_checkable
class HearsSound(Protocol):
    """An embedding model that takes stretches of sound: windows are cut to the sample for it."""

    def of_sound(self, batch: Float32) -> Float32:
        """Stretches of one length `(batch, num_samples)` to embeddings `(batch, dimension)`."""
        ...


@dataclass(frozen=True)
class Request:
    """Maps `[first, last)` of the recording, and what is made of them `(num_maps, channels)`; none for work that hears
    the sound itself."""

    first: int
    last: int
    work: Callable[[Float32], Float32]


class Voices:
    """The embedding model at work on one recording `(num_samples,)` at 16 kHz."""

    def __init__(self, samples: Float32, model: EmbeddingModel, pool: ThreadPoolExecutor, emitter: Emitter) -> None:
        self._samples, self._model, self._pool, self._emitter = samples, model, pool, emitter
        stride = model.spec.map_stride
        self.maps = Axis(FBANK.size + (stride - 1) * FBANK.step, stride * FBANK.step)
        self._per_block = BLOCK // self.maps.step
        self.num_maps = sum(self._count(block) for block in range(-(-len(samples) // BLOCK)))

    def of_windows(self, times: Float64) -> list[Request]:
        """What to ask for to have the voices of windows `times` `(num_windows, 2)` in seconds, in order of start.

        A window that is too short to have a voice reaches out to both sides. The answers, one after another, are unit
        embeddings `(num_windows, dimension)`, NaN where the whole recording is too short. A model that takes sound
        hears each window alone; in a group of 64 shorter ones are repeated up to the longest, as NeMo has it, and
        lengths of embeddings are the network's.
        """
        if isinstance(self._model, HearsSound):
            return [self._heard(self._model, times[first : first + GROUP]) for first in range(0, len(times), GROUP)]
        spans = self._spans(times)
        return [self._pooled(spans[first : first + GROUP]) for first in range(0, len(spans), GROUP)]

    def answers(self, requests: Sequence[Request]) -> list[Float32]:
        """What each of `requests` makes of its maps, in the order given."""
        order = sorted(range(len(requests)), key=lambda index: requests[index].first)
        wanted = sorted({block for request in requests for block in self._blocks(request)})
        trunks: dict[int, Future[Float32]] = {}
        found: dict[int, Future[Float32]] = {}
        begun = 0
        for index in order:
            request = requests[index]
            needed = self._blocks(request)
            while begun < len(wanted) and (wanted[begun] <= max(needed, default=-1) or len(trunks) < AHEAD):
                trunks[wanted[begun]] = self._pool.submit(self._trunk, wanted[begun])
                begun += 1
            for done in [block for block in trunks if needed and block < needed[0]]:
                del trunks[done]
            blocks = [trunks[block].result() for block in needed]
            maps = np.concatenate(blocks) if len(blocks) > 1 else blocks[0] if blocks else np.zeros((0, 1), np.float32)
            skip = needed[0] * self._per_block if needed else 0
            part = maps[request.first - skip : request.last - skip]
            found[index] = self._pool.submit(request.work, part)
            self._emitter.progress(
                "listening", min(request.last * self.maps.step, len(self._samples)) / SAMPLE_RATE, self._seconds
            )
        return [found[index].result() for index in range(len(requests))]

    @property
    def _seconds(self) -> float:
        return len(self._samples) / SAMPLE_RATE

    def _spans(self, times: Float64) -> Int64:
        """Windows in maps `(num_windows, 2)`, each long enough wherever the recording is."""
        least = max(1, self._model.spec.min_frames)
        spans = np.rint(times * (SAMPLE_RATE / self.maps.step)).astype(np.int64)
        short = spans[:, 1] - spans[:, 0] < least
        spans[short, 0] = spans[short].sum(axis=1) // 2 - least // 2
        spans[short, 1] = spans[short, 0] + least
        spans -= np.maximum(spans[:, 1:] - self.num_maps, 0)
        spans[:, 0] = np.maximum(spans[:, 0], 0)
        spans[:, 1] = np.maximum(np.minimum(np.maximum(spans[:, 1], spans[:, 0] + least), self.num_maps), 0)
        return spans

    def _heard(self, model: HearsSound, times: Float64) -> Request:
        at = min(int(times[0, 0] * SAMPLE_RATE) // self.maps.step, self.num_maps)

        def work(_: Float32) -> Float32:
            sounds = [self._samples[first : first + num] for first, num in samples_of(times)]
            longest = max(len(sound) for sound in sounds)
            return model.of_sound(np.asarray([repeated(sound, longest) for sound in sounds], np.float32))

        return Request(at, at, work)

    def _pooled(self, spans: Int64) -> Request:
        first, last = int(spans[:, 0].min()), int(spans[:, 1].max())

        def work(maps: Float32) -> Float32:
            if len(maps) == 0:
                return np.full((len(spans), self._model.spec.dimension), np.nan, np.float32)
            return pool_windows(self._model, maps, spans - first, np.ones(len(maps), np.bool_))

        return Request(first, last, work)

    def _blocks(self, request: Request) -> list[int]:
        """Blocks that hold maps of a request."""
        last = min(request.last, self.num_maps)
        if last <= request.first:
            return []
        return list(range(request.first // self._per_block, (last - 1) // self._per_block + 1))

    def _count(self, block: int) -> int:
        """Maps that a block has: all but the last have as many."""
        left = len(self._samples) - block * BLOCK
        return min(FBANK.count_inside(left), BLOCK // FBANK.step) // self._model.spec.map_stride

    def _trunk(self, block: int) -> Float32:
        spec, first = self._model.spec, block * BLOCK
        samples = self._samples[first : first + BLOCK + FBANK.size - FBANK.step]
        features = fbank(samples, num_mels=spec.num_mels, window=spec.window, scale=spec.scale)
        maps = self._model.frames(remove_mean(features[: BLOCK // FBANK.step])[None])[0]
        return np.asarray(maps[: self._count(block)])


def samples_of(times: Float64) -> list[tuple[int, int]]:
    """First sample and number of samples of windows `times` `(num_windows, 2)` in seconds, cut off as NeMo does."""
    return [(int(start * SAMPLE_RATE + EDGE), int((end - start) * SAMPLE_RATE + EDGE)) for start, end in times.tolist()]


def repeated(sound: Float32, length: int) -> Float32:
    """Sound said again until it is so long: whole times, then its end (NeMo's collation of speech segments)."""
    if not len(sound) or len(sound) >= length:
        return np.pad(sound, (0, max(0, length - len(sound))))
    times, rest = divmod(length, len(sound))
    return np.concatenate([np.tile(sound, times), sound[len(sound) - rest :]])
