"""From what a stream has heard to what it says: turns of the newest frames, and the whole session clustered anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import Axis
from diarist.core.types import Diarization, Float32, Float64, Int64, Speaker, SpeakerBounds, Turn
from diarist.pipelines.cluster import Clustering
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import confidence
from diarist.pipelines.live_revise import cluster_rows
from diarist.pipelines.live_session import QUANTUM, Session, times, window_rows
from diarist.stages import powerset
from diarist.stages.assign import NOBODY, match_chunk, nearest_index, speakers_by_frame
from diarist.stages.online import Known, cluster_names
from diarist.stages.reconstruct import top_speakers
from diarist.stages.subsegments import runs
from diarist.stages.turns import to_turns


class Listening(Protocol):
    """What it takes to answer for a session: see `live_stream.Parts`."""

    offline: PipelineConfig
    clustering: Clustering | None
    bounds: SpeakerBounds
    frames: Axis
    maps: Axis
    num_local: int

    def label(self, name: int) -> str:
        """The label of a speaker's number."""
        ...


def pieces(
    scores: Float32, labels: list[str], tau: float, frames: Axis, first: int, span: tuple[int, int]
) -> list[Turn]:
    """Turns within the samples `span`: `scores` `(num_frames, num_speakers)` above `tau`, from frame `first` on.

    A turn begins and ends half-way between two frames; the first frame's reaches back to the start of the span, the
    last one's to its end. Confidence is the mean score.
    """
    low, high = span
    edge = frames.start + frames.size / 2 - frames.step / 2
    turns: list[Turn] = []
    for column, name in enumerate(labels):
        for begin, end in runs(scores[:, column] > tau):
            start = low if begin == 0 else max(low, edge + (first + begin) * frames.step)
            stop = high if end == len(scores) else min(high, edge + (first + end) * frames.step)
            if stop > start:
                sure = float(np.clip(scores[begin:end, column].mean(), 0, 1))
                start, stop = (round(float(at) / frames.sample_rate, 6) for at in (start, stop))
                turns.append(Turn(start, stop, name, round(sure, 4)))
    return sorted(turns)


def join(turns: Iterable[Turn], gap: float = 0.05) -> tuple[Turn, ...]:
    """Pieces of one speaker that are at most `gap` seconds apart as whole turns, in order of start; the confidence is
    the mean over time."""
    whole: list[Turn] = []
    growing: dict[str, int] = {}
    for turn in sorted(turns):
        at = growing.get(turn.speaker)
        if at is not None and turn.start - whole[at].end <= gap + 1e-9:
            old = whole[at]
            seconds = max(old.duration + turn.duration, 1e-9)
            mean = (old.confidence * old.duration + turn.confidence * turn.duration) / seconds
            whole[at] = replace(old, end=max(old.end, turn.end), confidence=mean)
        else:
            growing[turn.speaker] = len(whole)
            whole.append(turn)
    return tuple(sorted(replace(turn, confidence=round(turn.confidence, 4)) for turn in whole))


def whole(session: Session, known: Known, parts: Listening, seconds: float, uri: str) -> Diarization:
    """The session as the offline pipeline would have it, under the stream's names where voices have one there.

    Where no voice could be told, for want of speech, all turns are one speaker's.
    """
    count = np.frombuffer(bytes(session.count), np.uint8)
    speech = np.frombuffer(bytes(session.speech), np.uint8).astype(np.float32) / np.float32(255)
    warnings: tuple[str, ...] = ()
    voices: Float64 = np.zeros((0, 0))
    if parts.clustering is None or not len(session.rows):
        speakers = np.where(count >= 1, 0, NOBODY).astype(np.int32)[:, None]
        certainty: Float32 = np.ones(len(count), np.float32)
        names = [0]
    else:
        rows, middles = window_rows(session), times(session, parts.maps)
        sums = session.rows.sums[: len(session.rows)]
        clusters, labels = cluster_rows(sums, rows, middles, parts.clustering, parts.bounds)
        voices, warnings = clusters.voices, clusters.warnings
        nearest = nearest_index(middles, parts.frames.middles(len(count)))
        by_frame, certainty = labels[nearest].astype(np.int32), clusters.certainty[rows][nearest]
        two = np.where(count >= 2, 2, 0).astype(np.uint8)
        pairs, _ = top_speakers(_matched(session, by_frame, voices, parts.num_local), two, len(voices), fill=False)
        speakers = speakers_by_frame(count, by_frame, pairs)
        names = cluster_names(known, np.array(session.said, np.int64), labels, len(voices))
    config = parts.offline.turns
    turns, order = to_turns(
        speakers,
        confidence(speech, certainty),
        parts.frames,
        duration=seconds,
        min_duration_on=config.min_duration_on,
        min_duration_off=config.min_duration_off,
        pad_onset=config.pad_onset,
        pad_offset=config.pad_offset,
        edges=config.edges,  # type: ignore[arg-type]
    )
    known_voices = {
        name: Speaker(name, np.asarray(voices[row], np.float32)) for name, row in order.items() if row < len(voices)
    }
    found = Diarization(tuple(turns), uri, speakers=known_voices, duration=seconds, warnings=warnings)
    return found.rename({name: parts.label(names[row]) for name, row in order.items()})


def _matched(
    session: Session, labels: NDArray[np.int32], voices: Float64, num_local: int
) -> Iterator[tuple[int, NDArray[np.bool_], Int64]]:
    """Looks with overlap: `(first frame, activity, speaker of each local speaker)`."""
    for look in session.overlaps:
        active = powerset.unpack(look.bits, num_local)[: len(labels) - look.first]
        local = look.voices.astype(np.float32) / np.float32(QUANTUM)
        local[~look.voices.any(axis=1)] = np.nan
        yield look.first, active, match_chunk(active, local, labels[look.first : look.first + len(active)], voices)
