"""Sound to evidence: local activity, and voices of single-speaker windows, section by section.

A section is a minute. While one is embedded the next is segmented, so that every worker thread is busy; nothing but
small per-frame, per-window and per-chunk arrays outlives a section, so a day of audio fits in memory. Batches are
cut by position, never by what happens to be ready: the answer does not depend on the number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from diarist.core.events import Emitter
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import Axis
from diarist.core.types import Float32, Float64, Int64
from diarist.errors import Cancelled
from diarist.pipelines.config import PipelineConfig, TurnsConfig
from diarist.pipelines.sections import SECTION, Section, batches, sections
from diarist.pipelines.short_voices import LENGTHS, Places, ShortVoices, network_of
from diarist.stages import activity, powerset, segment
from diarist.stages.embed import at_maps, pool_local, pool_windows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import fbank, remove_mean
from diarist.stages.subsegments import windows

BLOCK = 10  # seconds of audio that the embedding trunk sees at once
POOLING_BATCH = 64

Result = TypeVar("Result")
Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True)
class Evidence:
    """All that clustering and decoding need of a recording.

    `local` `(num_chunks, num_chunk_frames)` uint8: bit j is set where local speaker j talks; `chunks`, `frames` place
    it, and `moved` is the first sample of the last chunk where that is not on `chunks`. `speech` `(num_frames,)`:
    probability that anybody talks. `count` `(num_frames,)`: how many do.
    `embeddings` `(num_rows, dimension)`: voices to cluster, of windows or of local speakers; of length 1 but for `vbx`.
    `times` `(num_rows,)`: the middle of each window in seconds, NaN for local speakers. `owners` `(num_rows, 2)`: the
    chunk and local speaker of each row, -1 for windows.
    `voices`: the local speakers' voices `(num_local, dimension)` of every chunk that has been asked for, NaN where
    silent or too short. `short`: voices of a second and less, where there is a second pass to hear them.
    """

    num_samples: int
    local: NDArray[np.uint8]
    num_local: int
    chunks: Axis
    frames: Axis
    speech: Float32
    count: NDArray[np.uint8]
    embeddings: Float32
    times: Float64
    owners: Int64
    voices: dict[int, Float32]
    moved: int | None = None
    short: ShortVoices | None = None

    @property
    def duration(self) -> float:
        """Length of the recording in seconds."""
        return self.num_samples / self.frames.sample_rate

    def active(self, chunk: int) -> NDArray[np.bool_]:
        """Local activity of a chunk, `(num_chunk_frames, num_local)`."""
        return powerset.unpack(self.local[chunk], self.num_local)

    def first_frame(self, chunk: int) -> int:
        """Where in the recording's frames a chunk begins."""
        if self.moved is not None and chunk == len(self.local) - 1:
            return self.frames.index_at(self.moved)
        return self.frames.index_at(self.chunks.first(chunk))


class Listener:
    """Runs both models over one recording on a pool of threads. Use once.

    A subclass may answer for the networks, or keep what they say: `listen` goes through a recording and calls
    `place_last` and `hear` for each section; `hear` averages local activity in `mean`, lists it in `local`, and calls
    `embed` (which calls `trunk` for each block), `pool_section_windows` and `pool_section_local`.
    """

    def __init__(
        self,
        segmentation: SegmentationModel,
        embedding: EmbeddingModel,
        config: PipelineConfig,
        pool: ThreadPoolExecutor,
        emitter: Emitter,
    ) -> None:
        self.segmentation, self.embedding, self.config = segmentation, embedding, config
        self._pool, self._emitter = pool, emitter
        spec, stride = segmentation.spec, embedding.spec.map_stride
        self.rate = spec.sample_rate
        self.frames = spec.frames
        self._by_chunk = embedding.spec.whole and config.embedding.rows == "chunks"  # whose mean is taken off
        self.chunks = segment.axis(spec, config.segmentation.step)
        self.maps = Axis(FBANK.size + (stride - 1) * FBANK.step, stride * FBANK.step, sample_rate=self.rate)
        self.mean = activity.MovingMean(3)  # speech, overlap, number of local speakers
        self.local: list[NDArray[np.uint8]] = []
        self._speech: list[Float32] = []
        self._count: list[NDArray[np.uint8]] = []
        self._times: list[Float64] = []
        self._embeddings: list[Float32] = []
        self._voices: dict[int, Float32] = {}
        self._places = None if network_of(config) is None else Places(self.maps)
        self._short: list[NDArray[np.int8]] = []
        self._recent = np.zeros(0, dtype=np.uint8)  # count of the frames from `_recent_first` on
        self._recent_first = 0
        self._kept = np.zeros((0, 0), dtype=np.float32)  # maps from `_kept_first` on
        self._kept_first = 0
        self._moved: int | None = None  # first sample of the last chunk, once known, where it is not on its axis
        self._num_chunks: int | None = None
        self._unvoiced = 0  # first chunk whose voices have not been looked at
        self._stopped = False

    def __call__(self, blocks: Iterable[Float32], expected: float | None = None) -> Evidence:
        """Blocks of samples to evidence; `expected` seconds are shown as the goal of the progress.

        Where it ends in an error, or is interrupted, work that waits for a thread is not begun any more.
        """
        try:
            total = self.listen(blocks, expected)
        except BaseException:
            self._stopped = True
            raise
        embeddings, times, owners = self._rows()
        return Evidence(
            num_samples=total,
            local=_joined(self.local, np.zeros((0, self.segmentation.spec.num_frames), dtype=np.uint8)),
            num_local=self.segmentation.spec.num_local,
            chunks=self.chunks,
            frames=self.frames,
            speech=_joined(self._speech, np.zeros(0, dtype=np.float32)),
            count=_joined(self._count, np.zeros(0, dtype=np.uint8)),
            embeddings=embeddings,
            times=times,
            owners=owners,
            voices=self._voices,
            moved=self._moved,
            short=self._short_voices(),
        )

    def listen(self, blocks: Iterable[Float32], expected: float | None) -> int:
        """Go through all sections; the number of samples."""
        total = 0
        ahead: tuple[Section, list[Future[segment.LocalActivity]]] | None = None
        for section in sections(blocks, SECTION * self.rate, self.chunks.size):
            following = (section, self._segment(section))
            if ahead is not None:
                self.hear(*ahead, expected)
            ahead, total = following, section.end
        if ahead is not None:
            self.hear(*ahead, expected)
        return total

    def _rows(self) -> tuple[Float32, Float64, Int64]:
        """What is to be clustered: the windows, or every local speaker that talks long enough to have a voice."""
        if self.config.embedding.rows == "windows":
            embeddings = _joined(self._embeddings, np.zeros((0, self.embedding.spec.dimension), dtype=np.float32))
            return embeddings, _joined(self._times, np.zeros(0)), np.full((len(embeddings), 2), -1, dtype=np.int64)
        least, num_local = self.config.embedding.least * self.rate / self.frames.step, self.segmentation.spec.num_local
        owners = [
            (chunk, local)
            for chunk, voices in self._voices.items()
            for talks in (powerset.unpack(self.local[chunk][0], num_local).sum(axis=0),)
            for local in np.flatnonzero((talks >= least) & ~np.isnan(voices).any(axis=1))
        ]
        rows = [self._voices[chunk][local] for chunk, local in owners]
        return (
            np.asarray(rows, dtype=np.float32).reshape(-1, self.embedding.spec.dimension),
            np.full(len(rows), np.nan),
            np.asarray(owners, dtype=np.int64).reshape(-1, 2),
        )

    def _segment(self, section: Section) -> list[Future[segment.LocalActivity]]:
        """Send every chunk that starts in the section to the workers."""
        futures = []
        self.place_last(section)
        for _, first, num in batches(section, self.chunks, self._moved):
            batch = segment.cut(section.samples, first - section.start, num, self.chunks)
            futures.append(self._submit("segmentation", self._segment_batch, batch))
        return futures

    def place_last(self, section: Section) -> None:
        """Where the last chunk begins, once the end of the recording is in sight."""
        if section.total is not None and self.config.segmentation.tail == "inside":
            self._num_chunks = self.chunks.count_covering(section.total)
            self._moved = segment.moved_inside(self.segmentation.spec, self.chunks, section.total)

    def _first(self, chunk: int) -> int:
        """First sample of a chunk."""
        if self._moved is not None and self._num_chunks == chunk + 1:
            return self._moved
        return self.chunks.first(chunk)

    def _segment_batch(self, batch: Float32) -> segment.LocalActivity:
        return segment.read(self.segmentation(batch), self.segmentation.spec)

    def hear(self, section: Section, heard: list[Future[segment.LocalActivity]], expected: float | None) -> None:
        """Finish a section: count speakers, embed where somebody talks, pool windows and local voices."""
        for batch in (future.result() for future in heard):
            number = powerset.unpack(batch.bits, self.segmentation.spec.num_local).sum(axis=-1)
            values = np.stack([batch.speech, batch.overlap, number], axis=-1)
            for chunk, row in zip(batch.bits, values, strict=True):
                self.mean.add(self.frames.index_at(self._first(len(self.local))), row)
                self.local.append(chunk[None])
        self._finish_frames(section)
        maps = self.embed(section)
        self.pool_section_windows(section, maps)
        self.pool_section_local(section)
        self._emitter.progress("listening", section.end / self.rate, expected)

    def _finish_frames(self, section: Section) -> None:
        until = self.frames.index_at(section.end)
        if section.last:
            until = min(segment.num_frames(self.frames, section.end), self.mean.last)
        means = self.mean.take(until)
        before = bool(len(self._recent) and self._recent[-1])
        counted = count_speakers(means, self.config.turns, before=before)
        self._speech.append(means[:, 0].copy())
        self._count.append(counted)
        overlap_begin = self.frames.index_at(max(0, section.start - self.chunks.size))
        drop = max(0, overlap_begin - self._recent_first)
        self._recent = np.concatenate([self._recent[drop:], counted])
        self._recent_first += drop

    def embed(self, section: Section) -> Float32:
        """Maps of the section, `(num_maps, channels)`; zero in blocks where nobody talks."""
        size, jobs = BLOCK * self.rate, []
        for start in range(section.start, section.end, size):
            samples = section.samples[start - section.start : start - section.start + size + FBANK.size - FBANK.step]
            num_fbank = min(FBANK.count_inside(len(samples)), size // FBANK.step)
            num_maps = num_fbank // self.embedding.spec.map_stride
            wanted = num_maps and (self._by_chunk or self._talks(start, start + size))
            heard = self._submit("embedding", self.trunk, samples, num_fbank) if wanted else None
            jobs.append((num_maps, heard))
        blocks = [(num, None if job is None else job.result()[:num]) for num, job in jobs]
        channels = next((block.shape[1] for _, block in blocks if block is not None), self._kept.shape[1] or 1)
        empty = np.zeros((0, channels), dtype=np.float32)
        return np.concatenate(
            [empty, *(np.zeros((num, channels), np.float32) if block is None else block for num, block in blocks)]
        )

    def _talks(self, start: int, end: int) -> bool:
        """Whether anybody talks between two samples; by the count or, where chunks are clustered, in any chunk."""
        if self.config.embedding.rows == "chunks":
            first = max(0, (start - self.chunks.size) // self.chunks.step)
            return any(bits.any() for bits in self.local[first : 1 - (-end // self.chunks.step)])  # 1: it may be moved
        low, high = self.frames.index_at(start) - self._recent_first, self.frames.index_at(end) - self._recent_first
        return bool(self._recent[max(0, low) : max(0, high)].any())

    def trunk(self, samples: Float32, num_fbank: int) -> Float32:
        """Maps of a block, `(num_maps, channels)`, from its samples, of which `num_fbank` frames of fbank count."""
        maps: Float32 = self.embedding.frames(self.features(samples, num_fbank)[None])[0]
        return maps

    def features(self, samples: Float32, num_fbank: int) -> Float32:
        """What the embedding network is given of a block, `(num_fbank, num_mels)`."""
        spec = self.embedding.spec
        features = fbank(samples, num_mels=spec.num_mels, window=spec.window, scale=spec.scale)[:num_fbank]
        return features if self._by_chunk else remove_mean(features)

    def pool_section_windows(self, section: Section, maps: Float32) -> None:
        """Pool the windows of the section and keep its maps for the chunks that reach into the next."""
        first_map = section.start // self.maps.step
        overlap = max(0, first_map - self.chunks.size // self.maps.step - self._kept_first)
        kept = self._kept if self._kept.shape[1] == maps.shape[1] else np.zeros((len(self._kept), maps.shape[1]), "f4")
        self._kept, self._kept_first = np.concatenate([kept[overlap:], maps]), self._kept_first + overlap
        if self.config.embedding.rows != "windows":
            return
        single = self.alone(first_map, len(maps))
        spans = self.windows_of(single, first_map)
        groups = [spans[i : i + POOLING_BATCH] for i in range(0, len(spans), POOLING_BATCH)]
        jobs = [self._submit("pooling", pool_windows, self.embedding, maps, group, single) for group in groups]
        for group, job in zip(groups, jobs, strict=True):
            voices = job.result()
            known = ~np.isnan(voices).any(axis=1)
            middle = (group.mean(axis=1) + first_map) * self.maps.step / self.rate
            self._times.append(middle[known])
            self._embeddings.append(voices[known])
        if self._places is not None:
            self.pool_section_short(section, self._places)

    def pool_section_short(self, section: Section, places: Places) -> None:
        """Pool what is too short for a window, wherever anybody talks and the maps around have been heard."""
        known = self._kept_first + len(self._kept)
        spans = places.take(known, last=section.last)
        low = int(spans.min(initial=known))
        maps, talks = self._kept[low - self._kept_first :], self._read_count(low, known - low) >= 1
        groups = [spans[i : i + POOLING_BATCH] - low for i in range(0, len(spans), POOLING_BATCH)]
        jobs = [self._submit("pooling", places.pool, self.embedding, maps, group, talks) for group in groups]
        self._short += [job.result() for job in jobs]

    def _short_voices(self) -> ShortVoices | None:
        if self._places is None:
            return None
        empty = np.zeros((0, len(LENGTHS), self.embedding.spec.dimension), np.int8)
        return ShortVoices(_joined(self._short, empty), self._places.axis)

    def alone(self, first_map: int, num_maps: int) -> NDArray[np.bool_]:
        """Where one person talks alone, `(num_maps,)` from `first_map` on."""
        alone: NDArray[np.bool_] = self._read_count(first_map, num_maps) == 1
        return alone

    def windows_of(self, alone: NDArray[np.bool_], first_map: int) -> Int64:
        """What is pooled of a stretch that begins at `first_map`: `(num_windows, 2)`, in maps from there on."""
        config, per_second = self.config.embedding, self.rate / self.maps.step
        return windows(
            alone,
            size=round(config.window * per_second),
            hop=config.hop * per_second,
            least=round(config.least * per_second),
        )

    def pool_section_local(self, section: Section) -> None:
        """Pool the local speakers of every chunk whose end has been heard, where the clustering needs them."""
        every = self.config.embedding.rows == "chunks"
        least = max(self.embedding.spec.min_frames, round(self.config.embedding.least * self.rate / self.maps.step / 2))
        jobs: list[tuple[int, Future[Float32]]] = []
        while self._unvoiced < len(self.local):
            chunk = self._unvoiced
            first = self._first(chunk)
            if first + self.chunks.size > section.end and not section.last:
                break
            self._unvoiced += 1
            low = self.frames.index_at(first) - self._recent_first
            bits = self.local[chunk][0]
            counted = self._recent[max(low, 0) : low + len(bits)]
            if not (bits.any() if every else (counted >= 2).any()):
                continue
            start = first // self.maps.step
            maps = self._kept[start - self._kept_first :][: self.chunks.size // self.maps.step]
            if len(maps):
                active = self.local_mask(chunk, first, start, len(maps))
                jobs.append((chunk, self._submit("pooling", self._pool_chunk, maps, active, least)))
        for chunk, job in jobs:
            self._voices[chunk] = job.result()

    def local_mask(self, chunk: int, first: int, first_map: int, num_maps: int) -> NDArray[np.bool_]:
        """Who talks in a chunk that begins at sample `first`, `(num_maps, num_local)` from `first_map` on."""
        frames = Axis(self.frames.size, self.frames.step, first + self.frames.start, self.rate)
        read = at_maps(self.local[chunk][0], frames, self.maps, first_map, num_maps)
        return powerset.unpack(read, self.segmentation.spec.num_local)

    def _pool_chunk(self, maps: Float32, active: NDArray[np.bool_], least: int) -> Float32:
        unit = self.config.clustering.method != "vbx"  # whose PLDA knows the network's own lengths
        return pool_local(self.embedding, remove_mean(maps) if self._by_chunk else maps, active, least=least, unit=unit)

    def _read_count(self, first_map: int, num_maps: int) -> NDArray[np.uint8]:
        frames = Axis(self.frames.size, self.frames.step, self.frames.first(self._recent_first), self.rate)
        return at_maps(self._recent, frames, self.maps, first_map, num_maps)

    def _submit(self, stage: str, work: Callable[..., Result], *arguments: object) -> Future[Result]:
        def timed() -> Result:
            if self._stopped:
                raise Cancelled(f"cancelled in stage '{stage}'")
            begun = time.perf_counter()
            result = work(*arguments)
            self._emitter.add(stage, time.perf_counter() - begun)
            return result

        return self._pool.submit(timed)


def count_speakers(means: Float32, config: TurnsConfig, *, before: bool) -> NDArray[np.uint8]:
    """Speakers in each frame from `means` `(num_frames, 3)`: speech and overlap probability, local speakers."""
    if config.count == "mean":
        return activity.count_by_mean(means[:, 2])
    return activity.count_by_probability(
        means[:, 0],
        means[:, 1],
        onset=config.onset,
        offset=config.offset,
        overlap_onset=config.overlap_onset,
        before=before,
    )


def _joined(parts: list[NDArray[Value]], empty: NDArray[Value]) -> NDArray[Value]:
    """Parts one after another; the list is emptied on the way, so that nothing is held twice."""
    joined = np.empty((sum(len(part) for part in parts), *empty.shape[1:]), dtype=empty.dtype)
    end = len(joined)
    while parts:
        part = parts.pop()
        joined[end - len(part) : end] = part
        end -= len(part)
    return joined
