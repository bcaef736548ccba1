"""Who talks in each frame, judged anew given the speakers found: `stages/second_pass.py` on what was heard."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64
from diarist.models.origin import origin
from diarist.pipelines.cluster import Clusters, window_plda
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Evidence
from diarist.pipelines.short_voices import LENGTHS, network_of
from diarist.stages.assign import NOBODY, match_chunk, match_local, nearest_index, unit, votes
from diarist.stages.embed import unit_rows
from diarist.stages.plda import Plda
from diarist.stages.second_pass import STRIDE, SecondPass, between, local_shares, relabelled, signs_of

BLOCK = 2048  # judged frames worked on at once: a day has 1.7 million


def judged_anew(
    evidence: Evidence, clusters: Clusters, speakers: NDArray[np.int32], config: PipelineConfig
) -> NDArray[np.int32]:
    """Speakers of each frame, `(num_frames, most)`, from those of the first pass; the same where the configuration has
    no second pass, short voices were not kept, or voices are not those that it was made for."""
    found = second_pass_of(config)
    if found is None or evidence.short is None or evidence.embeddings.shape[1] != len(found[1].mu):
        return speakers
    return relabel(evidence, clusters, speakers, *found)


def second_pass_of(config: PipelineConfig) -> tuple[SecondPass, Plda] | None:
    """The network that goes with a configuration, where it asks for a second pass and there is one, and the PLDA that
    it sees voices through."""
    name = network_of(config)
    return None if name is None else (_shipped(name), window_plda(origin(config.embedding.model)))


@lru_cache
def _shipped(name: str) -> SecondPass:
    with resources.as_file(resources.files("diarist.models") / "plda" / f"{name}.npz") as path:
        return SecondPass.load(path)


def relabel(
    evidence: Evidence, clusters: Clusters, speakers: NDArray[np.int32], network: SecondPass, plda: Plda
) -> NDArray[np.int32]:
    """Speakers of each frame, `(num_frames, most)`, from those of the first pass: the likeliest of all found."""
    if len(clusters.voices) < 2 or speakers.shape[1] == 0:
        return speakers
    signs = Signs(evidence, clusters, speakers, plda)
    odds = np.empty((len(signs), len(clusters.voices)), np.float32)
    for start in range(0, len(odds), BLOCK):
        low, stop = max(0, start - network.reach), min(len(odds), start + BLOCK)
        odds[start:stop] = network(signs[low : stop + network.reach])[start - low : stop - low]
    return relabelled(speakers, odds)


class Signs:
    """What the network is told of every `STRIDE`-th frame and every speaker found: slices of it are
    `stages.second_pass.signs_of`."""

    def __init__(self, evidence: Evidence, clusters: Clusters, speakers: NDArray[np.int32], plda: Plda) -> None:
        assert evidence.short is not None
        middles = evidence.frames.middles(len(evidence.count))[::STRIDE]
        self._nearest = nearest_index(evidence.times, middles)
        self._distance = np.abs(evidence.times[self._nearest] - middles).astype(np.float32)
        self._heard = _heard(evidence, clusters, clusters.labels[self._nearest])
        self._first, self._speech = speakers[::STRIDE], evidence.speech[::STRIDE]
        centered = plda.center(evidence.embeddings)
        seen = plda.project(centered) * np.sqrt(plda.psi / (1 + plda.psi))
        self._voices, cosines = _cosines(centered, clusters)
        self._cosines = cosines, _cosines(seen, clusters)[1]
        self._short, places, self._plda = evidence.short.directions, evidence.short.places, plda
        self._places = (middles - places.middle(0)) * places.sample_rate / places.step

    def __len__(self) -> int:
        return len(self._nearest)

    def __getitem__(self, at: slice) -> Float32:
        nearest = self._nearest[at]
        return signs_of(
            (self._heard[0][at], self._heard[1][at]),
            self._first[at],
            [*(cosines[nearest] for cosines in self._cosines), *self._short_cosines(self._places[at])],
            self._distance[at],
            self._speech[at],
        )

    def _short_cosines(self, places: Float64) -> Float32:
        """Of the voices around `places` `(num_judged,)`: `(num_lengths, num_judged, num_speakers)`."""
        low, high = (int(np.clip(place, 0, max(0, len(self._short) - 1))) for place in places[[0, -1]])
        rows = self._short[low : high + 2].reshape(-1, self._short.shape[2])
        known = (rows > 0).any(axis=1)
        cosines = np.full((max(len(rows), len(LENGTHS)), len(self._voices)), np.nan, np.float32)
        cosines[: len(rows)][known] = unit_rows(self._plda.center(rows[known].astype(np.float32))) @ self._voices.T
        told = between(cosines.reshape(-1, len(LENGTHS), len(self._voices)), places - low)
        return np.asarray(told.transpose(1, 0, 2))


def _cosines(rows: NDArray[np.floating], clusters: Clusters) -> tuple[Float32, Float32]:
    """The mean direction of each speaker's rows, `(num_speakers, dimension)`, and the cosines of each row `(num_rows,
    dimension)` to them, `(num_rows, num_speakers)`."""
    rows = unit(rows)
    voices = unit(np.stack([rows[clusters.labels == who].sum(axis=0) for who in range(len(clusters.voices))]))
    return voices.astype(np.float32), np.asarray(rows @ voices.T, dtype=np.float32)


def _heard(evidence: Evidence, clusters: Clusters, labels: NDArray[np.integer]) -> tuple[Float32, Float32]:
    """Mean activity over chunks of each speaker, `(num_judged, num_speakers)`: of the local speakers matched to them
    chunk by chunk, and by the windows near by."""
    num_speakers = len(clusters.voices)
    matched, shared = np.zeros((2, len(labels), num_speakers), np.float32)
    number = np.zeros((len(labels), 1), np.float32)
    for chunk in range(len(evidence.local)):
        first = evidence.first_frame(chunk)
        active = evidence.active(chunk)[-first % STRIDE :: STRIDE]
        low = -(-first // STRIDE)
        active = active[: max(0, len(labels) - low)]
        here = slice(low, low + len(active))
        voices = evidence.voices.get(chunk)
        if voices is None:
            whom = match_local(votes(active, labels[here], num_speakers))
        else:
            whom = match_chunk(active, voices, labels[here], clusters.voices)
        for local in np.flatnonzero(whom != NOBODY):
            matched[here, whom[local]] += active[:, local]
        shared[here] += local_shares(active, labels[here], num_speakers)
        number[here] += 1
    number = np.maximum(number, 1)
    return matched / number, shared / number
