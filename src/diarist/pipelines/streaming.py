"""Who speaks when in a stream: push sound, get updates.

    live = LiveDiarizer("balanced")
    stream = live.start("meeting")
    for block in microphone:
        update = stream.push(block)
    session = stream.finish().session

A stream takes its sound in steps of half a second. In each step it looks at the last five: `live_listen.py` says who
could be talking and what each sounds like, `stages/online.py` who that is, `stages/aggregate.py` puts together what the
looks within the latency say. `live_session.py` keeps what it takes to cluster the session anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.audio.decode import AudioSource, open_audio
from diarist.core.config import fingerprint, replace_from
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, Turn, Update
from diarist.errors import UsageError
from diarist.models.load import load_embedding, load_segmentation
from diarist.pipelines import presets
from diarist.pipelines.cluster import Clustering, clustering_of
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.live_answer import SPEECH, join, label, pieces, recluster, whole
from diarist.pipelines.live_config import KINDS, LiveConfig
from diarist.pipelines.live_listen import Ears, Look, Sound
from diarist.pipelines.live_presets import DEFAULT, resolve_live
from diarist.pipelines.live_session import Recorder, Session
from diarist.pipelines.live_state import pack, ragged, split, unpack
from diarist.pipelines.threads import single_threaded_algebra
from diarist.stages.aggregate import Heard, aggregate
from diarist.stages.assign import NOBODY
from diarist.stages.online import Known, Thresholds, assign

__all__ = ["LiveDiarizer", "Stream", "join"]

SAID = 30.0  # seconds of what was said that are remembered by frame
TOGETHER = 32  # streams in one forward pass


class LiveDiarizer:
    """The live pipeline: models loaded once, shared by all streams and threads.

    `preset` is a name of `diarist.pipelines.live_presets`, `config` a whole `LiveConfig` or a mapping of single changes
    to the preset. `kind` "speech" tells when anybody talks, and nobody apart. `segmentation` and `embedding` stand in
    for the configuration's models.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        preset: str = DEFAULT,
        *,
        config: LiveConfig | Mapping[str, Any] | None = None,
        segmentation: SegmentationModel | None = None,
        embedding: EmbeddingModel | None = None,
        runtime: RuntimeConfig | None = None,
        kind: str = "diarization",
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"a stream is of the kind {' or '.join(KINDS)}, not '{kind}'")
        self.preset, self.kind = preset, kind
        self.config = config if isinstance(config, LiveConfig) else resolve_live(preset, changes=config)
        self.runtime = runtime or RuntimeConfig()
        self._segmentation, self._embedding = segmentation, embedding
        self._lock = threading.Lock()
        self._parts: _Parts | None = None

    def start(self, uri: str = "stream") -> Stream:
        """A stream before its first sample. Raises `MissingError` for weights that are not there."""
        return Stream(self, self.parts(), uri)

    def advance(self, streams: Sequence[Stream]) -> list[Update | None]:
        """At most one waiting step of each stream, all in one forward pass; None where nothing waited.

        Safe from several threads at once for streams that are not the same. Raises `UsageError` where one stream is
        given twice, or belongs to another `LiveDiarizer`.
        """
        if len({id(stream) for stream in streams}) < len(streams):
            raise UsageError("a stream was given twice: it can only take one step at a time")
        if any(stream.diarizer is not self for stream in streams):
            raise UsageError("a stream belongs to another LiveDiarizer: advance it there")
        ready = [index for index, stream in enumerate(streams) if stream.waiting]
        updates: list[Update | None] = [None] * len(streams)
        for low in range(0, len(ready), TOGETHER):
            some = ready[low : low + TOGETHER]
            for index, update in zip(some, _step([streams[i] for i in some]), strict=True):
                updates[index] = update
        return updates

    def restore(self, state: bytes) -> Stream:
        """The stream that gave this `Stream.state()`, in any process; it goes on bit for bit.

        Raises `UsageError` for bytes that are no state, or one of another version, configuration or model.
        """
        facts, arrays = unpack(state, self.fingerprint)
        stream = Stream(self, self.parts(), str(facts["uri"]))
        stream._restore(facts, arrays)
        return stream

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that change with anything that changes the answer."""
        models = [type(model).__qualname__ if model else "" for model in (self._segmentation, self._embedding)]
        return fingerprint(self.config, {"kind": self.kind, "models": models})

    def diarize(self, audio: AudioSource, *, sample_rate: int | None = None, uri: str | None = None) -> Diarization:
        """A whole recording through a stream: the session at its end. Raises `AudioError` for what is not sound."""
        with open_audio(audio, sample_rate=sample_rate, uri=uri) as reader:
            stream = self.start(reader.uri)
            for block in reader.blocks():
                stream.push(block)
            session = stream.finish().session
        assert session is not None
        return session

    def parts(self) -> _Parts:
        """Models and clustering, loaded at the first call. Raises `MissingError` for weights that are not there."""
        with self._lock:
            if self._parts is None:
                self._parts = self._load()
            return self._parts

    def _load(self) -> _Parts:
        config, runtime = self.config, self.runtime
        segmentation = self._segmentation or load_segmentation(
            config.segmentation.model,
            precision=config.segmentation.precision,  # type: ignore[arg-type]
            backend=runtime.backend,
            offline=runtime.offline,
        )
        embedding = self._embedding
        if embedding is None and self.kind == "diarization":
            embedding = load_embedding(
                config.embedding.model,
                precision=config.embedding.precision,  # type: ignore[arg-type]
                backend=runtime.backend,
                offline=runtime.offline,
            )
        return _Parts(config, segmentation, embedding if self.kind == "diarization" else None, self._embedding is None)


class _Parts:
    """What all streams of a `LiveDiarizer` share."""

    def __init__(
        self, config: LiveConfig, segmentation: SegmentationModel, embedding: EmbeddingModel | None, named: bool
    ) -> None:
        self.config = config
        self.ears = Ears(config, segmentation, embedding)
        self.frames, self.maps = self.ears.frames, self.ears.maps
        self.num_local = self.ears.segmentation.spec.num_local
        model = config.embedding.model
        if not named and embedding is not None:  # the PLDA that ships goes with the network that it was fitted on
            model = type(embedding).__name__
        self.offline = replace_from(presets.resolve(), {"embedding.model": model})
        self.recorder = Recorder(self.offline, embedding, self.frames, self.maps, self.num_local)
        self.dimension = 0 if embedding is None else embedding.spec.dimension
        self.clustering: Clustering | None = None if embedding is None else clustering_of(self.offline, self.dimension)
        self.thresholds = Thresholds(config.tau_active, config.rho_update, config.delta_new, config.max_speakers)


class Stream:
    """One stream of sound. Made by `LiveDiarizer.start()`; use from one thread at a time."""

    def __init__(self, diarizer: LiveDiarizer, parts: _Parts, uri: str) -> None:
        self.diarizer, self.uri, self._parts = diarizer, uri, parts
        self._waiting: list[Float32] = []
        self._num_waiting = 0
        self._sound = parts.ears.start()
        self._known = Known.nobody(parts.dimension)
        self._looks: list[Heard] = []
        self._settled = 0
        self._said = np.zeros(0, np.int32)  # whom the stream named in the newest settled frames
        self._first_said = 0
        self._session = Session.start(parts.config.rows, parts.dimension)
        self._finished = False

    @property
    def waiting(self) -> int:
        """How many steps are ready to be taken."""
        return self._num_waiting // self._parts.config.step_samples

    def feed(self, samples: Float32) -> None:
        """Take samples `(num_samples,)`, float and mono at 16 kHz, without working on them.

        Raises `UsageError` for anything else, for samples that are not finite, and once the stream is finished; nothing
        of a block that is refused is kept.
        """
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished: start another one")
        block = checked(samples)
        if len(block):
            self._waiting.append(block)
            self._num_waiting += len(block)

    def push(self, samples: Float32) -> Update:
        """Take samples and all the steps that are ready; their updates as one. Raises as `feed()` does."""
        self.feed(samples)
        return self._catch_up()

    def finish(self) -> Update:
        """The rest of the stream: last finals, and the whole session clustered anew. Nothing can follow.

        Raises `UsageError` the second time.
        """
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished already")
        update = self._catch_up()
        self._finished = True
        final = list(update.final)
        if self._num_waiting:
            final += _step([self], self._num_waiting)[0].final
        final += self._answer(self._sound.heard)[0]
        seconds = self._sound.heard / SAMPLE_RATE
        self._parts.recorder.close(self._session, self._sound, self._said, self._first_said)
        return Update(tuple(final), (), seconds, seconds, update.renamed, self._whole())

    def snapshot(self) -> Diarization:
        """The session so far, clustered anew; what the newest looks alone have heard is not in it yet."""
        return self._whole()

    def state(self) -> bytes:
        """Everything that the stream remembers, for `LiveDiarizer.restore()`. Raises `UsageError` once finished."""
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished: it has no state to go on from")
        sound, session, known = self._sound, self._session, self._known
        facts = {
            "uri": self.uri,
            "settled": self._settled,
            "first_said": self._first_said,
            "born": known.born,
            "sound": [sound.heard, sound.num_features, sound.first_map],
            "looks": [look.first for look in self._looks],
            "session": session.facts(),
        }
        scores, num_scores = ragged([look.scores for look in self._looks], np.float32)
        arrays = {
            "waiting": np.concatenate([np.zeros(0, np.float32), *self._waiting]),
            "samples": sound.samples,
            "features": sound.features,
            "maps": sound.maps,
            "centres": known.centres,
            "names": known.names,
            "scores": scores,
            "num_scores": num_scores,
            "look_names": np.array([look.names for look in self._looks], np.int64),
            "said": self._said,
            **session.arrays(),
        }
        return pack(facts, arrays, self.diarizer.fingerprint)

    def _restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self._settled, self._first_said = facts["settled"], facts["first_said"]
        self._waiting = [arrays["waiting"]] if len(arrays["waiting"]) else []
        self._num_waiting = len(arrays["waiting"])
        self._sound = Sound(arrays["samples"], arrays["features"], arrays["maps"], *facts["sound"])
        self._known = Known(arrays["centres"], arrays["names"], facts["born"])
        scores = split(arrays["scores"], arrays["num_scores"])
        self._looks = [
            Heard(first, flat.reshape(-1, len(names)), names)
            for first, flat, names in zip(facts["looks"], scores, arrays["look_names"], strict=True)
        ]
        self._said = arrays["said"]
        self._session = Session.restored(facts["session"], arrays)

    def _catch_up(self) -> Update:
        final: list[Turn] = []
        update = Update((), (), self._sound.heard / SAMPLE_RATE, self._settled / SAMPLE_RATE)
        while self.waiting:
            update = _step([self])[0]
            final += update.final
        return Update(tuple(final), update.tentative, update.until, update.settled, update.renamed)

    def take(self, num_samples: int) -> Float32:
        """The next samples that wait, fewer at the end."""
        taken: list[Float32] = []
        while num_samples and self._waiting:
            block = self._waiting[0]
            taken.append(block[:num_samples])
            rest = block[num_samples:]
            num_samples -= len(taken[-1])
            if len(rest):
                self._waiting[0] = rest
            else:
                self._waiting.pop(0)
        joined = np.concatenate(taken) if taken else np.zeros(0, np.float32)
        self._num_waiting -= len(joined)
        return joined

    def _hear(self, look: Look) -> Update:
        """Name the speakers of a look, and say what that changes."""
        parts = self._parts
        config = parts.config
        if self.diarizer.kind == "speech":
            heard = Heard(look.first, look.heard.speech[:, None], np.zeros(1, np.int64))
        else:
            self._known, names = assign(self._known, look.activity, look.voices, parts.thresholds)
            heard = Heard(look.first, look.activity, names)
        self._looks = [*self._looks, heard][-config.num_windows :]
        settled = max(self._settled, self._sound.heard - (config.num_windows - 1) * config.step_samples)
        final, tentative = self._answer(settled)
        parts.recorder.add(self._session, look, self._sound, self._said, self._first_said)
        return Update(tuple(final), tuple(tentative), self._sound.heard / SAMPLE_RATE, self._settled / SAMPLE_RATE)

    def _answer(self, settled: int) -> tuple[list[Turn], list[Turn]]:
        """Turns that are settled now, up to sample `settled`, and those after them."""
        config, frames = self._parts.config, self._parts.frames
        begin, middle, end = (self._frame(at) for at in (self._settled, settled, self._sound.heard))
        scores, names = aggregate(self._looks, begin, end, config.aggregation)
        labels = [SPEECH if self.diarizer.kind == "speech" else label(name) for name in names]
        cut = middle - begin
        tau = config.tau_active
        final = pieces(scores[:cut], labels, tau, frames, begin, (self._settled, settled))
        tentative = pieces(scores[cut:], labels, tau, frames, middle, (settled, self._sound.heard))
        self._remember(scores[:cut], names, begin)
        self._settled = settled
        return final, tentative

    def _frame(self, sample: int) -> int:
        """The first frame whose middle is not before a sample."""
        frames = self._parts.frames
        return max(0, -(-(sample - frames.start - frames.size // 2) // frames.step))

    def _remember(self, scores: Float32, names: NDArray[np.int64], first: int) -> None:
        said = np.full(len(scores), NOBODY, np.int32)
        if len(names) and len(scores):
            said = np.where(scores.max(axis=1) > self._parts.config.tau_active, names[scores.argmax(axis=1)], NOBODY)
        self._said = np.concatenate([self._said, said.astype(np.int32)])
        self._first_said = first + len(scores) - len(self._said)
        drop = max(0, len(self._said) - round(SAID * SAMPLE_RATE / self._parts.frames.step))
        self._said, self._first_said = self._said[drop:], self._first_said + drop

    def _whole(self) -> Diarization:
        parts = self._parts
        with single_threaded_algebra():
            clustered = None
            if parts.clustering is not None and len(self._session.rows):
                clustered = recluster(self._session, parts.clustering, parts.frames, parts.maps)
            seconds = self._sound.heard / SAMPLE_RATE
            found = whole(
                self._session, clustered, parts.offline, parts.frames, parts.maps, parts.num_local, seconds, self.uri
            )
        names = {name: SPEECH for name in found.labels} if self.diarizer.kind == "speech" else {}
        return found.rename(names)


def _step(streams: Sequence[Stream], num_samples: int | None = None) -> list[Update]:
    """One step of each stream, all in one forward pass."""
    parts = streams[0]._parts
    blocks = [stream.take(num_samples or parts.config.step_samples) for stream in streams]
    with single_threaded_algebra():
        looks = parts.ears.look([stream._sound for stream in streams], blocks)
        return [stream._hear(look) for stream, look in zip(streams, looks, strict=True)]


def checked(samples: Any) -> Float32:
    """Samples as they should be. Raises `UsageError` for any other."""
    block = np.asarray(samples)
    if block.ndim != 1:
        raise UsageError(f"a stream takes mono samples of the shape (num_samples,), not {block.shape}")
    if block.dtype.kind != "f":
        raise UsageError(f"a stream takes samples as floats in [-1, 1], not {block.dtype}: divide 16-bit ones by 32768")
    if not np.isfinite(block).all():
        raise UsageError("the samples hold NaN or infinity: a stream takes finite numbers only")
    return np.array(block, dtype=np.float32)
