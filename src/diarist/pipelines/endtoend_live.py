"""An end-to-end model live: push sound, get updates, at the latency that the model was made for.

    live = LiveEndToEnd("low-latency")
    stream = live.start("meeting")
    for block in microphone:
        update = stream.push(block)
    session = stream.finish().session

What the model has said is settled as soon as no pause, pad or least duration of the decoding can change it; nothing is
tentative, for it says nothing of the newest sound. A speaker is named after its slot, live and in the session.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.config import fingerprint
from diarist.core.protocols import EmbeddingModel, EndToEndModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, SpeakerBounds, Turn, Update
from diarist.errors import UsageError
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.endtoend import EndToEndDiarizer, decoded
from diarist.pipelines.endtoend_decode import begins, confidence_of, spans_of
from diarist.pipelines.endtoend_join import join
from diarist.pipelines.endtoend_listen import Heard, Listening, Pooling, check_model
from diarist.pipelines.endtoend_presets import NEMOTRON, DecodingConfig, EndToEndConfig, Presets
from diarist.pipelines.live_state import pack, unpack
from diarist.pipelines.live_stream import checked
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import Workers
from diarist.stages.activity import hysteresis
from diarist.stages.turns import SHORTEST

DEFAULT = "low-latency"


class LiveEndToEnd:
    """The engines `nemotron` and `sortformer`, live: models loaded once, shared by all streams and threads.

    `preset`, `config`, `runtime`, `model`, `embedding`, `presets` and `engine` are as in `EndToEndDiarizer`. Raises
    `UsageError` for a configuration that no stream can have.
    """

    sample_rate = SAMPLE_RATE
    kind = "diarization"

    def __init__(
        self,
        preset: str = DEFAULT,
        *,
        config: EndToEndConfig | Mapping[str, Any] | None = None,
        runtime: RuntimeConfig | None = None,
        model: EndToEndModel[Any] | None = None,
        embedding: EmbeddingModel | None = None,
        presets: Presets = NEMOTRON,
        engine: str = "nemotron",
    ) -> None:
        self._diarizer = EndToEndDiarizer(
            preset, config=config, runtime=runtime, model=model, embedding=embedding, presets=presets, engine=engine
        )
        self.preset, self.config, self.runtime = preset, self._diarizer.config, self._diarizer.runtime
        if self.config.network.window:
            raise UsageError("a stream has one memory: leave out --network-window")
        self._workers = Workers(1, "diarist-voices")
        self._lock = threading.Lock()

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that change with anything that changes the answer."""
        return fingerprint(self.config, {"engine": self._diarizer.engine})

    @property
    def latency(self) -> float:
        """Seconds from a sound to its settled answer; the model is loaded to know. Raises `MissingError`."""
        model, _ = self.models()
        frame = model.spec.frames.step / model.spec.sample_rate
        return float(model.spec.latency or 0.0) + _delay(self.config.turns, frame) * frame

    def models(self) -> tuple[EndToEndModel[Any], EmbeddingModel | None]:
        """The models, loaded at the first call. Raises `MissingError` for what is not there, `UsageError` for a model
        that cannot be heard live."""
        model, embedding = self._diarizer.loaded()
        check_model(model)
        if model.spec.latency is None or model.spec.longest is not None:
            raise UsageError("this end-to-end model hears whole recordings only: take one that streams")
        return model, embedding

    def start(self, uri: str = "stream") -> EndToEndStream:
        """A stream before its first sample. Raises as `models()` does."""
        model, embedding = self.models()
        pooling = None
        if embedding is not None:
            pooling = Pooling(embedding, self._workers.pool(), model.spec.num_speakers)
        return EndToEndStream(self, model, Listening(model, pooling, 0, 0), uri)

    def restore(self, state: bytes) -> EndToEndStream:
        """The stream that gave this `state()`, in any process. Raises `UsageError` for bytes that are no state, or one
        of another configuration."""
        facts, arrays = unpack(state, self.fingerprint)
        stream = self.start(str(facts["uri"]))
        stream.go_on(facts, arrays)
        return stream


class EndToEndStream:
    """One stream of sound. Made by `LiveEndToEnd.start()`; use from one thread at a time."""

    def __init__(self, live: LiveEndToEnd, model: EndToEndModel[Any], listening: Listening, uri: str) -> None:
        self.uri = uri
        self._live, self._model, self._listening = live, model, listening
        self._frames = model.spec.frames
        frame = self._frames.step / self._frames.sample_rate
        self._delay = _delay(live.config.turns, frame)
        self._talks: NDArray[np.bool_] = np.zeros((0, model.spec.num_speakers), bool)  # of frames from `_first` on
        self._first = self._settled = 0  # frames
        self._finished = False

    def push(self, samples: Float32) -> Update:
        """Take samples `(num_samples,)`, float and mono at 16 kHz; what is new. Raises `UsageError` for anything else,
        and once the stream is finished."""
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished: start another one")
        block = checked(samples)
        with single_threaded_algebra():
            self._listening.hear(block)
            return self._update(self._first + len(self._talks), last=False)

    def finish(self) -> Update:
        """The rest of the stream, and its session: all of it decoded as a recording is. Nothing can follow.

        Raises `UsageError` the second time.
        """
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished already")
        self._finished = True
        with single_threaded_algebra():
            session = self._session(self._listening)
            update = self._update(self._first + len(self._talks), last=True)
        return dataclasses.replace(update, session=session)

    def snapshot(self) -> Diarization:
        """All that has been heard so far, as if it ended here. The stream goes on as if nothing had happened."""
        with single_threaded_algebra():
            return self._session(self._listening.fork())

    def state(self) -> bytes:
        """Everything that the stream remembers, for `LiveEndToEnd.restore()`. Raises `UsageError` once finished."""
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished: it has no state to go on from")
        model, arrays = self._listening.state()
        fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
        facts = {
            "uri": self.uri,
            "first": self._first,
            "settled": self._settled,
            "model": {name: value for name, value in fields.items() if not isinstance(value, np.ndarray)},
        }
        kept = {f"model_{name}": value for name, value in fields.items() if isinstance(value, np.ndarray)}
        return pack(facts, {**arrays, **kept, "talks": self._talks}, self._live.fingerprint)

    def go_on(self, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Remember what another stream did."""
        start = self._model.start()
        kept = {name.removeprefix("model_"): value for name, value in arrays.items() if name.startswith("model_")}
        plain = {name: tuple(v) if isinstance(v, list) else v for name, v in facts["model"].items()}
        self._listening.restore(dataclasses.replace(start, **kept, **plain), arrays)
        self._talks, self._first, self._settled = arrays["talks"], facts["first"], facts["settled"]

    def _session(self, listening: Listening) -> Diarization:
        config = self._live.config
        heard = Heard((listening.finish(None),), self._frames, listening.num_samples)
        joined = join(heard, config, SpeakerBounds())
        found, order = decoded(heard, joined, config, self.uri)
        slots = {index: slot for slot, index in enumerate(joined.labels[0].tolist())}
        return found.rename({name: _label(slots[index]) for name, index in order.items()})

    def _update(self, known: int, *, last: bool) -> Update:
        """What has become settled by the frames from `known` on."""
        scores, turns = self._listening.newest(known).astype(np.float32), self._live.config.turns
        before = self._talks[-1] if len(self._talks) else np.zeros(scores.shape[1], bool)
        columns = [
            hysteresis(column, turns.onset, turns.offset, before=bool(talks))
            for column, talks in zip(scores.T, before, strict=True)
        ]
        self._talks = np.concatenate([self._talks, np.stack(columns, axis=1)])
        end = self._first + len(self._talks)
        settled = end if last else max(self._settled, end - self._delay)
        seconds = self._listening.num_samples / SAMPLE_RATE
        high = seconds if last else min(seconds, self._second(settled))
        final = self._turns(self._second(self._settled), high)
        self._settled = settled
        drop = max(0, settled - 2 * self._delay - 1 - self._first)
        self._talks, self._first = self._talks[drop:], self._first + drop
        return Update(tuple(final), (), seconds, high)

    def _turns(self, low: float, high: float) -> list[Turn]:
        """Turns from one second to another."""
        config = dataclasses.replace(self._live.config.turns, onset=0.5, offset=0.5)  # of what is 0 or 1
        axis = dataclasses.replace(self._frames, start=self._frames.first(self._first))
        scores = self._listening.newest(self._first).astype(np.float32)
        found: list[Turn] = []
        for slot, talks in enumerate(self._talks.T):
            spans = np.clip(spans_of(talks.astype(np.float32), axis, config), low, high)
            spans = spans[spans[:, 1] - spans[:, 0] > SHORTEST]
            for (start, end), sure in zip(spans.tolist(), confidence_of(scores[:, slot], spans, axis), strict=True):
                found.append(Turn(round(start, 6), round(end, 6), _label(slot), sure))
        return sorted(found)

    def _second(self, frame: int) -> float:
        """Where a frame begins; the first one with the recording."""
        return max(0.0, begins(self._frames) + frame * self._frames.step / self._frames.sample_rate) if frame else 0.0


def _label(slot: int) -> str:
    return f"speaker{slot}"


def _delay(config: DecodingConfig, frame: float) -> int:
    """Frames after which nothing that follows can change a turn."""
    pads = max(0.0, config.pad_onset) + max(0.0, config.pad_offset) - min(0.0, config.pad_onset + config.pad_offset)
    seconds = config.min_duration_on + config.min_duration_off + pads
    return int(np.ceil(seconds / frame - 1e-9)) + (1 if seconds else 0)
