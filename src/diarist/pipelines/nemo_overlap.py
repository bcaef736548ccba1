"""The second speaker where two talk at once, which a clustering of windows alone cannot give.

The segmentation network tells local speakers apart, two at a time. Each is matched to a speaker of the recording by its
voice and by the labels of the windows where it talks alone, as in the `clustering` engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingModel, SegmentationSpec
from diarist.core.time import Axis
from diarist.core.types import Float32, Float64, Int64
from diarist.pipelines.nemo_embed import Request, Voices
from diarist.stages import powerset
from diarist.stages.assign import NOBODY, match_chunk, nearest_index
from diarist.stages.embed import at_maps, pool_local
from diarist.stages.heard import Heard
from diarist.stages.reconstruct import top_speakers
from diarist.stages.speech import merged
from diarist.stages.subsegments import runs
from diarist.stages.turns import halfway

ONSET = 0.5  # two talk above this probability
LEAST = 0.5  # seconds of voice that a local speaker is told by

Stretch = tuple[float, float, int]


class SecondSpeakers:
    """What is heard of overlap in one recording."""

    def __init__(self, heard: Heard, spec: SegmentationSpec, model: EmbeddingModel, voices: Voices) -> None:
        self._heard, self._spec = heard, spec
        self._two = heard.overlap > ONSET
        self._chunks = [
            chunk
            for chunk, first in enumerate(heard.firsts)
            if self._two[first : first + heard.bits.shape[1]].any() and heard.bits[chunk].any()
        ]
        self._model, self._voices = model, voices

    def requests(self) -> list[Request]:
        """What to ask for to have the voices of local speakers of chunks in which two talk."""
        maps = self._voices.maps
        found = []
        for chunk in self._chunks:
            sample = self._spec.frames.first(self._heard.firsts[chunk])
            first = sample // maps.step
            last = min(first + self._spec.chunk // maps.step, self._voices.num_maps)
            frames = Axis(self._spec.frames.size, self._spec.frames.step, sample)
            found.append(Request(first, last, partial(self._local, self._heard.bits[chunk], frames, first)))
        return found

    def _local(self, bits: NDArray[np.uint8], frames: Axis, first: int, maps: Float32) -> Float32:
        if len(maps) == 0:
            return np.full((self._spec.num_local, self._model.spec.dimension), np.nan, np.float32)
        read = at_maps(bits, frames, self._voices.maps, first, len(maps))
        least = max(self._model.spec.min_frames, round(LEAST / 2 * frames.sample_rate / self._voices.maps.step))
        return pool_local(self._model, maps, powerset.unpack(read, self._spec.num_local), least=least)

    def stretches(
        self,
        found: Sequence[Float32],
        turns: Sequence[Stretch],
        middles: Float64,
        labels: Int64,
        voices: Float64,
        duration: float,
    ) -> list[Stretch]:
        """`turns` and, where two talk within them, the second speaker's, in order of start.

        `found`: the answers to `requests`. `middles`, `labels` `(num_windows,)` are those of the clustered windows,
        `voices` `(num_speakers, dimension)` the speakers'. Nobody talks twice at once.
        """
        num_frames = len(self._two)
        if not self._chunks or len(voices) < 2:
            return list(turns)
        times = self._spec.frames.middles(num_frames)
        nearest = labels[nearest_index(middles, times)]
        pairs, _ = top_speakers(
            self._matched(found, nearest, voices), np.where(self._two, 2, 0).astype(np.uint8), len(voices), fill=False
        )
        now = np.full(num_frames, NOBODY)
        for start, end, label in turns:
            now[slice(*np.searchsorted(times, [start, end]).tolist())] = label
        both = (pairs != NOBODY).all(axis=1) & (now != NOBODY) & self._two
        second = np.where(pairs[:, 0] == now, pairs[:, 1], pairs[:, 0])
        spans = {label: [(s, e) for s, e, speaker in turns if speaker == label] for label in range(len(voices))}
        for label in range(len(voices)):
            extra = halfway(runs(both & (second == label)), num_frames, self._spec.frames, duration)
            if len(extra):
                spans[label] = [(s, e) for s, e in merged([*spans[label], *map(tuple, extra.tolist())]).tolist()]
        return sorted((start, end, label) for label, parts in spans.items() for start, end in parts)

    def _matched(
        self, found: Sequence[Float32], nearest: Int64, voices: Float64
    ) -> Iterator[tuple[int, NDArray[np.bool_], Int64]]:
        for chunk, local in zip(self._chunks, found, strict=True):
            first = self._heard.firsts[chunk]
            active = powerset.unpack(self._heard.bits[chunk], self._spec.num_local)[: len(nearest) - first]
            yield first, active, match_chunk(active, local, nearest[first : first + len(active)], voices)
