"""From labelled rows to turns: who talks in each frame, then when each turn begins and ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64, Int64, Turn
from diarist.pipelines import second_pass
from diarist.pipelines.cluster import Clusters
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Evidence
from diarist.stages.assign import NOBODY, match_chunk, match_local, nearest_index, speakers_by_frame, unit
from diarist.stages.reconstruct import top_speakers
from diarist.stages.turns import to_turns


def decode(evidence: Evidence, clusters: Clusters, config: PipelineConfig) -> tuple[list[Turn], dict[str, int]]:
    """Turns in order of start, and the row of `clusters.voices` that each label stands for.

    Where no voice could be told, for want of speech, all turns are one speaker's that stands for no row. So does one
    whom nobody heard, but whom the number of speakers at once demands (count `mean`, as in pyannote.audio).
    """
    speakers, certainty = stitch(evidence, clusters, config)
    turns, order = turns_of(evidence, speakers, certainty, config)
    return turns, {name: row for name, row in order.items() if row < len(clusters.voices)}


def stitch(evidence: Evidence, clusters: Clusters, config: PipelineConfig) -> tuple[NDArray[np.int32], Float32]:
    """Speakers of each frame, `(num_frames, most)`, as rows of `clusters.voices` or past their end, and how certain
    they are, `(num_frames,)`."""
    if len(clusters.labels) == 0:
        speakers = np.where(evidence.count >= 1, 0, NOBODY).astype(np.int32)[:, None]
        return speakers, np.ones(len(speakers), np.float32)
    if evidence.owners[0, 0] < 0:
        speakers, certainty = _by_windows(evidence, clusters)
        return second_pass.judged_anew(evidence, clusters, speakers, config), certainty
    return _by_chunks(evidence, clusters, fill=config.turns.count == "mean")


def turns_of(
    evidence: Evidence, speakers: NDArray[np.int32], certainty: Float32, config: PipelineConfig
) -> tuple[list[Turn], dict[str, int]]:
    """Turns of what `stitch` gave, and the row that each label stands for."""
    return to_turns(
        speakers,
        confidence(evidence.speech, certainty),
        evidence.frames,
        duration=evidence.duration,
        min_duration_on=config.turns.min_duration_on,
        min_duration_off=config.turns.min_duration_off,
        pad_onset=config.turns.pad_onset,
        pad_offset=config.turns.pad_offset,
        edges=config.turns.edges,  # type: ignore[arg-type]
    )


def confidence(speech: Float32, certainty: Float32) -> NDArray[np.float32]:
    """Chance that somebody talks in a frame, times the chance that it is the speaker named. `(num_frames,)`."""
    return np.asarray(speech * certainty, dtype=np.float32)


def _by_windows(evidence: Evidence, clusters: Clusters) -> tuple[NDArray[np.int32], Float32]:
    """Speakers `(num_frames, 2)` and certainty `(num_frames,)`: the nearest window, local speakers where two talk."""
    num_frames = len(evidence.count)
    nearest = nearest_index(evidence.times, evidence.frames.middles(num_frames)).astype(np.int32)
    labels, certainty = clusters.labels.astype(np.int32)[nearest], clusters.certainty[nearest]
    del nearest  # a day has five million frames
    matched = _matched(evidence, labels, clusters.voices)
    two = np.where(evidence.count >= 2, 2, 0).astype(np.uint8)
    pairs, _ = top_speakers(matched, two, len(clusters.voices), fill=False)
    return speakers_by_frame(evidence.count, labels, pairs), certainty


def _by_chunks(evidence: Evidence, clusters: Clusters, *, fill: bool) -> tuple[NDArray[np.int32], Float32]:
    """Speakers `(num_frames, most)` and certainty `(num_frames,)`: as many as talk, those heard in most chunks.

    With `fill` no fewer, so that some may be heard in none: voices, then speakers past the last voice.
    """
    matched = clusters.local
    if matched is None:
        matched = np.full((len(evidence.local), evidence.num_local), NOBODY, dtype=np.int64)
        matched[evidence.owners[:, 0], evidence.owners[:, 1]] = clusters.labels
        _match_short(evidence, matched, clusters.voices)
    chunks = ((evidence.first_frame(i), evidence.active(i), row) for i, row in enumerate(matched))
    count = evidence.count if clusters.most is None else np.minimum(evidence.count, np.uint8(min(clusters.most, 255)))
    num_speakers = max(len(clusters.voices), int(count.max(initial=0))) if fill else len(clusters.voices)
    return top_speakers(chunks, count, num_speakers, fill=fill)


def _match_short(evidence: Evidence, matched: Int64, voices: Float64) -> None:
    """Give local speakers that are too short to be clustered the nearest voices that are left in their chunk."""
    for chunk, local in evidence.voices.items():
        short = matched[chunk] == NOBODY
        left = np.setdiff1d(np.arange(len(voices)), matched[chunk])
        found = match_local(np.where(short[:, None], unit(local) @ voices[left].T, np.nan))
        matched[chunk, found != NOBODY] = left[found[found != NOBODY]]


def _matched(
    evidence: Evidence, labels: NDArray[np.integer], voices: Float64
) -> Iterator[tuple[int, NDArray[np.bool_], Int64]]:
    """Chunks with overlap: `(first frame, activity, speaker of each local speaker)`."""
    for chunk, local in evidence.voices.items():
        first = evidence.first_frame(chunk)
        active = evidence.active(chunk)[: len(labels) - first]
        yield first, active, match_chunk(active, local, labels[first : first + len(active)], voices)
