"""Every stage of a run, kept; and each stage of one run fed with what another had before it.

    theirs = record(reference, "meeting.wav")
    ours = record(diarizer, "meeting.wav")                # end to end: what differs early makes all differ that follows
    each = record(diarizer, "meeting.wav", given=theirs)  # each stage is given what the reference had before it

In the last, a stage that differs from the reference's is one that works differently. Whatever the other run does not
have is this run's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist import __version__
from diarist.audio.decode import AudioReader, AudioSource, open_audio
from diarist.core.config import to_dict
from diarist.core.events import Emitter, Hook
from diarist.core.protocols import EmbeddingModel, EmbeddingSpec, SegmentationModel
from diarist.core.time import Axis
from diarist.core.types import Diarization, Float32, Float64, Int64, SpeakerBounds, Turn
from diarist.models.backends import arithmetic as run_in
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import stitch, turns_of
from diarist.pipelines.frontend import Evidence, Listener
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.record_clusters import clustered
from diarist.pipelines.sections import Section, batches
from diarist.pipelines.threads import single_threaded_algebra
from diarist.stages import powerset, segment
from diarist.stages.fbank import FRAMES as FBANK

STAGES = (
    "segmentation",
    "binarized",
    "count",
    "fbank",
    "masks",
    "windows",
    "local_masks",
    "local_embeddings",
    "embeddings",
    "distances",
    "dendrogram",
    "seeds",
    "plda",
    "responsibilities",
    "voices",
    "likeness",
    "clusters",
    "stitched",
    "turns",
)
"""Arrays of a run, in the order in which they are made; which there are depends on the configuration.

`segmentation` `(num_chunks, num_frames, num_classes)` scores; `binarized` `(num_chunks, num_frames, num_local)` 0 or 1;
`count` `(num_frames,)`; `fbank` `(num_fbank, num_mels)`, NaN where nobody talks. Where windows are clustered, `masks`
`(num_maps,)` says where one talks alone, `windows` `(num_windows, 2)` what is pooled of it, and `local_masks`
`(num_pooled, num_maps, num_local)` who talks in chunks with overlap; where chunks are, `masks` is the latter, of all.
`embeddings` `(num_rows, dimension)` are clustered, `local_embeddings` `(num_pooled, num_local, dimension)` are of local
speakers, NaN where there is none. `distances` `(n (n - 1) / 2,)` and `dendrogram` `(n - 1, 4)` of rows as they are
compared; `seeds` `(n,)`: its cut, where VBx starts. `plda` `(n, rank)`, `responsibilities` `(n, num_seeds)` and
`likeness` `(num_chunks, num_local, num_speakers)` of the clustering `vbx`. `voices` `(num_speakers, dimension)`;
`clusters` `(num_rows,)`, for `vbx` `(num_chunks, num_local)`; `stitched` `(num_frames, num_speakers)` 0 or 1; `turns`
`(num_turns, 3)`: start and end in seconds, speaker.
"""

_LISTS = ("segmentation", "binarized", "count", "masks", "windows")
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Run:
    """What a run made, stage by stage (`STAGES`, and what places them), and `facts` of it, plain values."""

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]

    @property
    def answer(self) -> Diarization:
        """The turns, as an answer."""
        turns = tuple(Turn(float(s), float(e), f"SPEAKER_{int(k):02d}") for s, e, k in self.arrays["turns"])
        return Diarization(turns, str(self.facts.get("uri", "audio")), duration=self.facts.get("duration"))


class NoEmbedding:
    """In place of an embedding network that is not at hand, where another run has its embeddings: it gives none."""

    def __init__(self, dimension: int) -> None:
        self.spec = EmbeddingSpec(dimension, whole=True)

    def frames(self, fbank: Float32) -> Float32:
        """The features themselves."""
        return fbank

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """NaN: `(batch, num_local, dimension)`."""
        return np.full((*weights.shape[:2], self.spec.dimension), np.nan, np.float32)


def record(
    diarizer: Diarizer,
    audio: AudioSource,
    *,
    bounds: SpeakerBounds | None = None,
    given: Run | None = None,
    heard: Run | None = None,
    like: Run | None = None,
    longest: float | None = None,
    sample_rate: int | None = None,
    uri: str | None = None,
    hooks: Sequence[Hook] = (),
) -> Run:
    """Run a diarizer over a recording, its first `longest` seconds where so many are given, and keep every stage.

    `given`: each stage gets what that run had before it. `heard`: a run of the same diarizer over the same sound, whose
    segmentation need not be computed again. `like`: chunks lie where that run's do. Raises as a call of the diarizer.
    """
    with open_audio(audio, sample_rate=sample_rate, uri=uri) as reader:
        segmentation, embedding, clustering, pool = diarizer.loaded()
        emitter = Emitter((*diarizer.hooks, *hooks), reader.uri)
        sound = _Sound(reader, longest)
        with single_threaded_algebra(), emitter.stage("listening"):
            recorder = Recorder(segmentation, embedding, diarizer.config, pool, emitter)
            recorder.go_by(given or like, given, heard)
            evidence = recorder(sound, sound.expected)
        arrays = recorder.arrays
        arrays |= {"embeddings": evidence.embeddings, "owners": evidence.owners, "times": evidence.times}
        evidence = _forced(evidence, recorder.given)
        with single_threaded_algebra(), emitter.stage("clustering"):
            bounds = bounds or SpeakerBounds()
            made, clusters = clustered(diarizer.config, clustering, evidence, bounds, recorder.given)
        arrays |= made
        with emitter.stage("decoding"):
            arrays |= _decoded(evidence, clusters, diarizer.config, recorder.given)
    facts = {
        "diarist": __version__,
        "uri": reader.uri,
        "sound": sound.digest.hexdigest()[:16],
        "duration": evidence.num_samples / segmentation.spec.sample_rate,
        "chunks": [recorder.chunks.size, recorder.chunks.step],
        "preset": diarizer.preset,
        "backend": diarizer.runtime.backend,
        "device": diarizer.runtime.device,
        "arithmetic": arithmetic(diarizer),
        "speakers": [bounds.least, bounds.most],
        "config": to_dict(diarizer.config),
    }
    return Run({name: arrays[name] for name in sorted(arrays)}, facts)


def arithmetic(diarizer: Diarizer) -> list[str]:
    """How many bits the segmentation and the embedding network run in: `int8`, `bfloat16` or `float32`."""
    config, runtime = diarizer.config, diarizer.runtime
    said = (config.segmentation.precision, config.embedding.precision)
    return [run_in(runtime.backend, runtime.device, precision) for precision in said]


class _Sound:
    """Blocks of a recording, up to so many seconds, and the digest of what was heard."""

    def __init__(self, reader: AudioReader, longest: float | None) -> None:
        self._reader = reader
        self._left = None if longest is None else round(longest * 16_000)
        self.digest = hashlib.sha256()
        known = [seconds for seconds in (reader.duration, longest) if seconds is not None]
        self.expected = min(known, default=None)

    def __iter__(self) -> Iterator[Float32]:
        for block in self._reader.blocks():
            part = block if self._left is None else block[: self._left]
            self.digest.update(np.ascontiguousarray(part, np.float32).data)
            if len(part):
                yield part
            if self._left is not None:
                self._left -= len(part)
                if self._left <= 0:
                    return


@dataclass(frozen=True)
class _Scored(segment.LocalActivity):
    scores: Float32


class Recorder(Listener):
    """A listener that keeps what each stage makes, and hands on what another run made where it is given one."""

    def __init__(
        self,
        segmentation: SegmentationModel,
        embedding: EmbeddingModel,
        config: PipelineConfig,
        pool: ThreadPoolExecutor,
        emitter: Emitter,
    ) -> None:
        super().__init__(segmentation, embedding, config, pool, emitter)
        self.given: Mapping[str, NDArray[Any]] = {}
        self._lists: dict[str, list[NDArray[Any]]] = {name: [] for name in _LISTS}
        self._features: dict[int, Float32] = {}  # by number of their first row
        self._local_masks: dict[int, NDArray[np.bool_]] = {}  # by chunk
        self._local_name = "masks" if config.embedding.rows == "chunks" else "local_masks"
        self._made: Arrays = {}
        self._said: Float32 | None = None
        self._section: Section | None = None
        self._num_heard = self._num_counted = 0

    def go_by(self, placed: Run | None, given: Run | None, heard: Run | None) -> None:
        """Take the chunks' places, stages, and the answers of the segmentation, each from a run."""
        if placed is not None and "chunks" in placed.facts:
            size, step = placed.facts["chunks"]
            if size == self.chunks.size:
                self.chunks = Axis(size, step, sample_rate=self.rate)
        self.given = {} if given is None else given.arrays
        self._said = None if heard is None else heard.arrays.get("segmentation")

    @property
    def arrays(self) -> Arrays:
        """What the stages up to the embeddings made."""
        spec, mels = self.segmentation.spec, self.embedding.spec.num_mels
        empty: Arrays = {
            "segmentation": np.zeros((0, spec.num_frames, 0), np.float32),
            "binarized": np.zeros((0, spec.num_frames, spec.num_local), np.uint8),
            "count": np.zeros(0, np.uint8),
            "masks": np.zeros(0, np.uint8),
            "windows": np.zeros((0, 2), np.int64),
        }
        windows = self.config.embedding.rows == "windows"
        names = _LISTS if windows else _LISTS[:3]
        arrays = {name: np.concatenate(self._lists[name] or [empty[name]]) for name in names}
        last = max((first + len(rows) for first, rows in self._features.items()), default=0)
        fbank = np.full((last, mels), np.nan, np.float32)
        for first, rows in self._features.items():
            fbank[first : first + len(rows)] = rows
        longest = max((len(mask) for mask in self._local_masks.values()), default=0)
        local = np.zeros((len(self._local_masks), longest, spec.num_local), np.uint8)
        for row, mask in zip(local, self._local_masks.values(), strict=True):
            row[: len(mask)] = mask
        return {**arrays, "fbank": fbank, self._local_name: local, **self._made}

    def _segment(self, section: Section) -> list[Future[segment.LocalActivity]]:
        if self._said is None:
            return super()._segment(section)
        self.place_last(section)
        said = (self._said[first : first + num] for first, _, num in batches(section, self.chunks, self._moved))
        return [_done(self._read(scores)) for scores in said]

    def _segment_batch(self, batch: Float32) -> segment.LocalActivity:
        return self._read(self.segmentation(batch))

    def _read(self, scores: Float32) -> _Scored:
        told = segment.read(scores, self.segmentation.spec)
        return _Scored(told.bits, told.speech, told.overlap, scores)

    def hear(self, section: Section, heard: list[Future[segment.LocalActivity]], expected: float | None) -> None:
        """Keep the scores and who talks, then go on."""
        self._section = section
        handed = []
        for batch in (future.result() for future in heard):
            assert isinstance(batch, _Scored)
            first = self._num_heard
            self._num_heard += len(batch.bits)
            self._lists["segmentation"].append(batch.scores)
            told = self._read(self._other("segmentation", first, batch.scores))
            active = powerset.unpack(told.bits, self.segmentation.spec.num_local).astype(np.uint8)
            self._lists["binarized"].append(active)
            bits = powerset.pack(self._other("binarized", first, active))
            handed.append(_done(segment.LocalActivity(bits, told.speech, told.overlap)))
        super().hear(section, handed, expected)

    def _finish_frames(self, section: Section) -> None:
        super()._finish_frames(section)
        counted = self._count[-1]
        self._lists["count"].append(counted.copy())
        other = self.given.get("count")
        if other is not None and len(counted):
            part = other[self._num_counted : self._num_counted + len(counted)].astype(np.uint8)
            self._count[-1] = np.pad(part, (0, len(counted) - len(part)))
            self._recent[-len(counted) :] = self._count[-1]
        self._num_counted += len(counted)

    def features(self, samples: Float32, num_fbank: int) -> Float32:
        """Keep what the embedding network is given."""
        own = super().features(samples, num_fbank)
        assert self._section is not None
        whole = self._section.samples
        apart = samples.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        first = (self._section.start + apart // samples.itemsize) // FBANK.step
        self._features[first] = own
        other = self.given.get("fbank")
        if other is None or other[first : first + num_fbank].shape != own.shape:
            return own
        part = other[first : first + num_fbank]
        return own if np.isnan(part).any() else np.asarray(part, np.float32)

    def alone(self, first_map: int, num_maps: int) -> NDArray[np.bool_]:
        """Keep where one talks alone."""
        own = super().alone(first_map, num_maps)
        self._lists["masks"].append(own.astype(np.uint8))
        return np.asarray(self._other("masks", first_map, own), bool)

    def windows_of(self, alone: NDArray[np.bool_], first_map: int) -> Int64:
        """Keep the windows."""
        own = super().windows_of(alone, first_map)
        self._lists["windows"].append(own + first_map)
        other = self.given.get("windows")
        if other is None:
            return own
        inside = (other[:, 0] >= first_map) & (other[:, 1] <= first_map + len(alone))
        return np.asarray(other[inside], np.int64) - first_map

    def local_mask(self, chunk: int, first: int, first_map: int, num_maps: int) -> NDArray[np.bool_]:
        """Keep who talks in a chunk that is pooled."""
        own = super().local_mask(chunk, first, first_map, num_maps)
        self._local_masks[chunk] = own
        masks, chunks = self.given.get(self._local_name), self.given.get("local_chunks")
        if masks is None or chunks is None or masks.ndim != 3 or masks.shape[2] != own.shape[1]:
            return own
        row = np.flatnonzero(chunks == chunk)
        if not len(row) or masks.shape[1] < num_maps:
            return own
        return np.asarray(masks[row[0], :num_maps], bool)

    def _rows(self) -> tuple[Float32, Float64, Int64]:
        others, places = self.given.get("local_embeddings"), self.given.get("local_chunks")
        chunks = list(self._voices)
        if places is not None and set(chunks) <= set(places.tolist()):  # it may have silent chunks too
            chunks = [int(place) for place in places]
        shape = (self.segmentation.spec.num_local, self.embedding.spec.dimension)
        nobody = np.full(shape, np.nan, np.float32)
        rows = [self._voices.get(chunk, nobody) for chunk in chunks]
        self._made["local_chunks"] = np.array(chunks, np.int64)
        self._made["local_embeddings"] = np.array(rows, np.float32).reshape(len(chunks), *shape)
        if others is not None and places is not None:
            self._voices = {int(k): v for k, v in zip(places, others, strict=True) if k < len(self.local)}
        return super()._rows()

    def _other(self, name: str, first: int, own: NDArray[Any]) -> NDArray[Any]:
        """The other run's part of an array that begins at row `first`, where it has one of that shape."""
        other = self.given.get(name)
        part = None if other is None else other[first : first + len(own)]
        return own if part is None or part.shape != own.shape else np.asarray(part, own.dtype)


def _done(activity: segment.LocalActivity) -> Future[segment.LocalActivity]:
    future: Future[segment.LocalActivity] = Future()
    future.set_result(activity)
    return future


def _forced(evidence: Evidence, given: Mapping[str, NDArray[Any]]) -> Evidence:
    """The evidence with the count and the rows of the other run."""
    if "count" in given:  # which may be some frames longer, of chunks that stick out
        counted = given["count"].astype(np.uint8)
        speech = np.pad(evidence.speech, (0, max(0, len(counted) - len(evidence.speech))))[: len(counted)]
        evidence = replace(evidence, count=counted, speech=speech)
    if "embeddings" in given:
        rows = np.asarray(given["embeddings"], np.float32)
        owners = np.asarray(given.get("owners", np.full((len(rows), 2), -1)), np.int64)
        times = np.asarray(given.get("times", np.full(len(rows), np.nan)), np.float64)
        evidence = replace(evidence, embeddings=rows, owners=owners, times=times)
    return evidence


def _decoded(evidence: Evidence, clusters: Any, config: PipelineConfig, given: Mapping[str, NDArray[Any]]) -> Arrays:
    """Who talks in each frame, and the turns of what the other run says of that."""
    speakers, certainty = stitch(evidence, clusters, config)
    most = max(len(clusters.voices), int(speakers.max(initial=-1)) + 1)
    stitched = (speakers[:, :, None] == np.arange(most)).any(axis=1).astype(np.uint8)
    other = given.get("stitched")
    if other is not None and len(other) == len(speakers):
        speakers = np.where(other > 0, np.arange(other.shape[1]), -1).astype(np.int32)
    turns, _ = turns_of(evidence, speakers, certainty, config)
    numbers = dict(zip(dict.fromkeys(turn.speaker for turn in turns), count(), strict=False))
    rows = [(turn.start, turn.end, numbers[turn.speaker]) for turn in turns]
    return {"stitched": stitched, "turns": np.array(rows, np.float64).reshape(-1, 3)}
