"""What a stream remembers of the whole session, so that it can be clustered anew at any time: little, and compact.

The session is heard as a recording is (`frontend.py`), in chunks of ten seconds: how many talk in each frame, voices of
short windows in which one talks alone, and the local speakers where two do. The five seconds of a stream's looks would
save these chunks, but hear speech in silence: docs/adr/0005-live.md. Frames take two bytes, windows 24, chunks
with overlap a kilobyte. Voices would grow without end, so that at most `rows` of them are kept: neighbours in time that
sound most alike become one row, their mean.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import Axis
from diarist.core.types import Float32, Float64, Int64
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import BLOCK, count_speakers
from diarist.pipelines.live_listen import Ears, Sound
from diarist.pipelines.live_state import ragged, split
from diarist.stages import powerset, segment
from diarist.stages.activity import MovingMean
from diarist.stages.assign import NOBODY
from diarist.stages.embed import at_maps, pool_local, pool_windows
from diarist.stages.fbank import FRAMES as FBANK
from diarist.stages.fbank import remove_mean
from diarist.stages.subsegments import runs, windows
from diarist.stages.summary import Rows

LONGEST = 10.0  # seconds; a longer stretch of one voice is cut into windows before it ends
SAID_FRAMES = 4096  # a minute of frames
QUANTUM = 127.0  # of a unit voice's largest value, in eight bits


@dataclass
class Overlap:
    """A chunk in which two talk at once: `bits` `(num_frames,)` of its local speakers from frame `first` on, and their
    voices in eight bits `(num_local, dimension)`, all zero for none."""

    first: int
    bits: NDArray[np.uint8]
    voices: NDArray[np.int8]


@dataclass
class Session:
    """All that outlives the buffer of a stream. `said` is the speaker that the stream named for each window."""

    mean: MovingMean
    rows: Rows
    speech: bytearray = field(default_factory=bytearray)
    count: bytearray = field(default_factory=bytearray)
    middles: array[int] = field(default_factory=lambda: array("q"))  # of windows, in half maps
    row_of: array[int] = field(default_factory=lambda: array("q"))
    said: array[int] = field(default_factory=lambda: array("q"))
    waiting: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    num_chunks: int = 0
    maps: Float32 = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # from map `first_map` on
    first_map: int = 0
    unpooled: int = 0

    @property
    def last_map(self) -> int:
        """Past the last map."""
        return self.first_map + len(self.maps)

    @classmethod
    def start(cls, most_rows: int, dimension: int) -> Session:
        """Before the first sample."""
        return cls(MovingMean(3), Rows.empty(most_rows, dimension))

    def rename(self, gone: dict[int, int]) -> None:
        """Speakers that have turned out to be others."""
        self.said = array("q", [gone.get(name, name) for name in self.said])

    def facts(self) -> dict[str, Any]:
        """Its plain values."""
        return {
            "first": self.mean.first,
            "most": self.rows.most,
            "num_chunks": self.num_chunks,
            "first_session_map": self.first_map,
            "unpooled": self.unpooled,
            "waiting": [first for first, _ in self.waiting],
            "overlaps": [look.first for look in self.overlaps],
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays."""
        bits, num_bits = ragged([bits for _, bits in self.waiting], np.uint8)
        pairs, num_pairs = ragged([look.bits for look in self.overlaps], np.uint8)
        voices = [look.voices for look in self.overlaps]
        return {
            "open_frames": self.mean.held,
            "session_maps": self.maps,
            "row_sums": self.rows.sums[: len(self.rows)],
            "row_sizes": self.rows.sizes[: len(self.rows)],
            "speech": np.frombuffer(bytes(self.speech), np.uint8),
            "count": np.frombuffer(bytes(self.count), np.uint8),
            "windows": np.array([self.middles, self.row_of, self.said], np.int64),
            "waiting_bits": bits,
            "num_waiting_bits": num_bits,
            "overlap_bits": pairs,
            "num_overlap_bits": num_pairs,
            "overlap_voices": np.array(voices) if voices else np.zeros((0, 0, 0), np.int8),
        }

    @classmethod
    def restored(cls, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Session:
        """From its facts and arrays."""
        sums, sizes = arrays["row_sums"], arrays["row_sizes"]
        middles, row_of, said = (array("q", column.tobytes()) for column in arrays["windows"])
        waiting = split(arrays["waiting_bits"], arrays["num_waiting_bits"])
        pairs = split(arrays["overlap_bits"], arrays["num_overlap_bits"])
        return cls(
            MovingMean.held_from(facts["first"], arrays["open_frames"]),
            Rows(facts["most"], sums, sizes, len(sizes)),
            bytearray(arrays["speech"].tobytes()),
            bytearray(arrays["count"].tobytes()),
            middles,
            row_of,
            said,
            list(zip(facts["waiting"], waiting, strict=True)),
            [Overlap(*one) for one in zip(facts["overlaps"], pairs, arrays["overlap_voices"], strict=True)],
            facts["num_chunks"],
            arrays["session_maps"],
            facts["first_session_map"],
            facts["unpooled"],
        )


@dataclass
class Said:
    """Whom the stream named loudest in its newest frames: `names` `(num_frames,)` from frame `first` on."""

    names: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    first: int = 0

    def add(self, first: int, names: NDArray[np.int32]) -> None:
        """Take in the names of frames `first` and on, which follow those that are there."""
        self.names = np.concatenate([self.names, names])[-SAID_FRAMES:]
        self.first = first + len(names) - len(self.names)

    def rename(self, gone: dict[int, int]) -> None:
        """Speakers that have turned out to be others."""
        names = self.names.copy()
        for old, new in gone.items():
            names[names == old] = new
        self.names = names

    def at(self, frame: int) -> int:
        """Who was named in a frame, `NOBODY` where that is not known."""
        index = frame - self.first
        return int(self.names[index]) if 0 <= index < len(self.names) else NOBODY


class Recorder:
    """Adds sound to sessions; holds nothing of any stream."""

    def __init__(self, offline: PipelineConfig, ears: Ears) -> None:
        self.offline, self.ears, self.embedding = offline, ears, ears.embedding
        self.spec, self.frames, maps = ears.whole.spec, ears.frames, ears.maps
        self.maps = maps
        self.chunks = segment.axis(self.spec, offline.segmentation.step)
        per_second = maps.sample_rate / maps.step
        self._size = round(offline.embedding.window * per_second)
        self._hop = offline.embedding.hop * per_second
        self._least = round(offline.embedding.least * per_second)
        self._longest = round(LONGEST * per_second)
        self._block = BLOCK * maps.sample_rate // FBANK.step

    def add(self, session: Session, sound: Sound, said: Said) -> None:
        """Hear the chunk that has become whole, if one has."""
        while self.chunks.span(session.num_chunks)[1] <= sound.heard:
            first = self.chunks.first(session.num_chunks)
            self._hear(session, sound, first)
            session.num_chunks += 1
            self._settle(session, self.frames.index_at(self.chunks.first(session.num_chunks)))
        while self._embed(session, sound, self._block):
            self._pool(session, said)

    def close(self, session: Session, sound: Sound, said: Said) -> None:
        """Hear what is left: no sound follows."""
        if sound.heard == 0:
            return
        until = max(1, -(-(sound.heard - self.frames.start - self.frames.size // 2) // self.frames.step))
        first = self.chunks.first(session.num_chunks)
        if sound.heard > self.chunks.size:  # no silence after the end, where the last chunk can end with the sound
            first = min(first, (until - self.spec.num_frames) * self.frames.step)
        if until > session.mean.last:
            self._hear(session, sound, first)
        self._settle(session, min(until, session.mean.last))
        self._embed(session, sound, 1)
        self._pool(session, said, last=True)

    def _hear(self, session: Session, sound: Sound, first: int) -> None:
        """Take in what the model says of the chunk that begins at sample `first`."""
        frame = self.frames.index_at(first)
        heard = segment.read(self.ears.hear(self.ears.whole, [sound], [frame]), self.spec)
        number = powerset.unpack(heard.bits, self.spec.num_local).sum(axis=-1)
        session.mean.add(frame, np.stack([heard.speech, heard.overlap, number], axis=-1)[0])
        if self.embedding is not None:
            session.waiting.append((frame, heard.bits[0]))

    def _settle(self, session: Session, until: int) -> None:
        """Count the speakers of the frames before `until`."""
        if until > session.mean.first:
            before = bool(session.count and session.count[-1])
            means = session.mean.take(until)
            session.count += count_speakers(means, self.offline.turns, before=before).tobytes()
            session.speech += np.rint(np.clip(means[:, 0], 0, 1) * 255).astype(np.uint8).tobytes()

    def _embed(self, session: Session, sound: Sound, least: int) -> bool:
        """Maps of the next block, `BLOCK` seconds but at least `least` features long; whether there was one."""
        if self.embedding is None:
            return False
        spec = self.embedding.spec
        first = session.last_map * spec.map_stride
        features = sound.some_features(first, min(first + self._block, sound.num_features))
        num_maps = len(features) // spec.map_stride
        if len(features) < least or not num_maps:
            return False
        new = self.embedding.frames(remove_mean(features)[None])[0][:num_maps]
        session.maps = np.concatenate([session.maps, new]) if len(session.maps) else new
        return True

    def _pool(self, session: Session, said: Said, *, last: bool = False) -> None:
        """Voices from the maps, which are forgotten where nothing needs them any more."""
        if self.embedding is None:
            return
        self._pool_windows(session, said, last=last)
        self._pool_overlaps(session, last=last)
        needed = [first * self.frames.step // self.maps.step for first, _ in session.waiting]
        drop = min([session.unpooled, *needed]) - session.first_map
        session.maps, session.first_map = session.maps[max(0, drop) :], session.first_map + max(0, drop)

    def _pool_windows(self, session: Session, said: Said, *, last: bool) -> None:
        """Make windows of the stretches of one voice that have ended, or have grown too long to wait for the end."""
        assert self.embedding is not None
        settled = len(session.count) * self.frames.step // self.maps.step
        stop = session.last_map if last else min(settled, session.last_map)
        start = session.unpooled
        if stop <= start or (not last and stop - start < self._size):
            return
        low = start * self.maps.step // self.frames.step
        low = max(0, low - 1)
        axis = Axis(self.frames.size, self.frames.step, self.frames.first(low))
        counted = np.frombuffer(session.count, np.uint8, offset=low) if low < len(session.count) else np.zeros(0, "u1")
        single = at_maps(counted, axis, self.maps, start, stop - start) == 1
        if not last and single[-1]:
            begin = int(runs(single)[-1, 0])
            if len(single) - begin < self._longest:
                single, stop = single[:begin], start + begin
        session.unpooled = stop
        spans = windows(single, size=self._size, hop=self._hop, least=self._least)
        if len(spans) == 0:
            return
        maps = session.maps[start - session.first_map : stop - session.first_map]
        voices = pool_windows(self.embedding, maps, spans, single)
        for span, voice in zip(spans, voices, strict=True):
            if np.isfinite(voice).all():
                middle = int(span.sum() + 2 * start)  # in half maps
                session.middles.append(middle)
                session.said.append(said.at(middle * self.maps.step // 2 // self.frames.step))
                session.row_of.append(len(session.rows))
                self._add_row(session, voice)

    def _add_row(self, session: Session, voice: Float32) -> None:
        moved = session.rows.add(voice)
        if moved is not None:
            session.row_of = array("q", moved[window_rows(session)].tobytes())

    def _pool_overlaps(self, session: Session, *, last: bool) -> None:
        """Keep the local speakers of chunks in which two talk at once, as the settled count has it."""
        assert self.embedding is not None
        while session.waiting:
            first, bits = session.waiting[0]
            low = -(-first * self.frames.step // self.maps.step)
            num_maps = len(bits) * self.frames.step // self.maps.step
            ready = first + len(bits) <= len(session.count) and low + num_maps <= session.last_map
            if not ready and not last:
                return
            session.waiting.pop(0)
            counted = np.frombuffer(session.count, np.uint8)[first : first + len(bits)]
            maps = session.maps[low - session.first_map :][:num_maps]
            if not (counted >= 2).any() or not len(maps):
                continue
            frames = Axis(self.frames.size, self.frames.step, self.frames.first(first))
            active = powerset.unpack(at_maps(bits, frames, self.maps, low, len(maps)), self.spec.num_local)
            least = max(self.embedding.spec.min_frames, self._least // 2)
            voices = np.nan_to_num(pool_local(self.embedding, maps, active, least=least))
            peak = np.maximum(np.abs(voices).max(axis=1, keepdims=True), 1e-9)
            small = np.rint(voices / peak * QUANTUM).astype(np.int8)
            session.overlaps.append(Overlap(first, bits, small))


def times(session: Session, maps: Axis) -> Float64:
    """Middle of each window in seconds, `(num_windows,)`."""
    return np.array(session.middles, dtype=np.float64) / 2 * maps.step / maps.sample_rate


def window_rows(session: Session) -> Int64:
    """The row that stands for each window, `(num_windows,)`."""
    return np.array(session.row_of, dtype=np.int64)
