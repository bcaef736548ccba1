"""Voices of a second and less, five times a second: too short to be clustered, enough to see who talks where.

They are pooled from the same maps as windows. Only their directions are kept, a byte a dimension, until the speakers of
the recording are known: 7 MB an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingModel
from diarist.core.time import Axis
from diarist.core.types import Float32, Int64
from diarist.models.origin import origin
from diarist.pipelines.config import PipelineConfig
from diarist.stages.embed import pool_windows

NETWORKS = {"campplus-zh-en": "campplus-zh-en-windows-second"}  # the second pass that ships, by embedding model
CALIBRATIONS = ("all",)  # the speech that it has heard
LENGTHS = (0.48, 1.0)  # seconds of a voice
LEAST = 0.2  # seconds of speech in it
HOP = 0.2  # seconds from one place to the next
LARGEST = 127  # of a byte


@dataclass(frozen=True)
class ShortVoices:
    """`directions` `(num_places, num_lengths, dimension)` of voices around each of the `places`, all 0 where there is
    too little speech."""

    directions: NDArray[np.int8]
    places: Axis


def network_of(config: PipelineConfig) -> str | None:
    """The name of the second pass that goes with a configuration, where it asks for one and there is one."""
    chosen, rows = config.clustering, config.embedding.rows
    fits = chosen.method == "vbx-windows" and chosen.calibration in CALIBRATIONS and rows == "windows"
    return NETWORKS.get(origin(config.embedding.model)) if config.turns.second_pass and fits else None


class Places:
    """Where short voices are pooled, in maps: each place once, when all that belongs to it has been heard."""

    def __init__(self, maps: Axis) -> None:
        per_second = maps.sample_rate / maps.step
        half = max(1, round(HOP * per_second / 2))
        self._hop, self._least = 2 * half, max(1, round(LEAST * per_second))
        self._sizes = np.array([round(length * per_second) for length in LENGTHS])
        self._next = 0  # place that has not been handed out
        self.axis = Axis(self._hop * maps.step, self._hop * maps.step, sample_rate=maps.sample_rate)

    def take(self, known: int, *, last: bool) -> Int64:
        """The spans of the places that are ready once `known` maps have been heard, `(num_places, num_lengths, 2)`; all
        that are left once those are the `last`."""
        until = known if last else known - int((self._sizes - self._sizes // 2).max())
        stop = max(self._next, until // self._hop)
        middles = np.arange(self._next, stop)[:, None] * self._hop + self._hop // 2
        self._next = stop
        first = middles - self._sizes // 2
        return np.stack([np.maximum(first, 0), np.minimum(first + self._sizes, known)], axis=2)

    def pool(self, model: EmbeddingModel, maps: Float32, spans: Int64, talks: NDArray[np.bool_]) -> NDArray[np.int8]:
        """Directions `(num_places, num_lengths, dimension)` of `spans` `(num_places, num_lengths, 2)` in `maps`
        `(num_maps, channels)`, of which those count where somebody `talks` `(num_maps,)`."""
        rows = spans.reshape(-1, 2)
        told = np.zeros((len(rows), model.spec.dimension), np.int8)
        before = np.concatenate([[0], np.cumsum(talks)])
        enough = np.flatnonzero(before[rows[:, 1]] - before[rows[:, 0]] >= self._least)
        if len(enough):
            told[enough] = in_bytes(pool_windows(model, maps, rows[enough], talks))
        return told.reshape(*spans.shape[:2], -1)


def in_bytes(voices: Float32) -> NDArray[np.int8]:
    """Voices `(n, dimension)` of any length, the largest value of each at `LARGEST`; 0 for one that is not known."""
    most = np.abs(voices).max(axis=1, keepdims=True)
    scaled = np.divide(voices * LARGEST, most, out=np.zeros_like(voices), where=most > 0)  # NaN is not
    return np.asarray(np.rint(scaled), dtype=np.int8)
