"""Who spoke when, as an end-to-end model says it: Nemotron 3 Diarization, Sortformer, or one of your own.

    diarizer = EndToEndDiarizer("offline")
    result = diarizer("meeting.m4a")

What such models lack is added: thresholds with hysteresis, pads and pauses; a voice for each speaker, hence names and
linking; a number of speakers that is kept; memories that are joined where one cannot hear the whole recording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diarist.audio.decode import AudioReader
from diarist.core.events import Emitter, Hook
from diarist.core.protocols import EmbeddingModel, EndToEndModel
from diarist.core.types import Diarization, Speaker, SpeakerBounds
from diarist.models.endtoend import load_endtoend
from diarist.models.identity import embedding_identity
from diarist.models.load import load_embedding
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.endtoend_decode import decode
from diarist.pipelines.endtoend_join import Joined, join
from diarist.pipelines.endtoend_listen import Heard, listen, told
from diarist.pipelines.endtoend_presets import NEMOTRON, NO_VOICES, EndToEndConfig, Presets
from diarist.pipelines.method import Reading
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import Workers, threads_of


class EndToEndDiarizer(Reading[EndToEndConfig]):
    """The engines `nemotron` and `sortformer`: reusable, and safe to call from several threads at once.

    `preset` is a name of `presets`; `config` a whole `EndToEndConfig`, or a mapping of single changes such as
    `{"turns.onset": 0.6}`. `model` and `embedding` stand in for those that the configuration names. The rest is as in
    `diarist.Diarizer`. A most number of speakers makes those whose voices are nearest one; a least number cannot be
    kept where the model hears fewer.
    """

    def __init__(
        self,
        preset: str | None = None,
        *,
        config: EndToEndConfig | Mapping[str, Any] | None = None,
        runtime: RuntimeConfig | None = None,
        hooks: Sequence[Hook] = (),
        model: EndToEndModel[Any] | None = None,
        embedding: EmbeddingModel | None = None,
        presets: Presets = NEMOTRON,
        engine: str = "nemotron",
        **runtime_changes: Any,
    ) -> None:
        preset = preset or presets.default
        whole = config if isinstance(config, EndToEndConfig) else presets.resolve(preset, changes=config)
        super().__init__(engine, preset, whole, runtime, runtime_changes, hooks)
        self._model, self._embedding = model, embedding
        self._workers = Workers(threads_of(self.runtime.num_threads))

    def _run(self, reader: AudioReader, bounds: SpeakerBounds, hooks: Sequence[Hook]) -> Diarization:
        emitter = Emitter(hooks, reader.uri)
        with emitter.stage("models"):
            model, _ = self.loaded()
        with single_threaded_algebra():
            with emitter.stage("listening"):
                heard = self.heard(reader, emitter)
            told(emitter, heard)
            with emitter.stage("decoding"):
                found = answer(heard, self.config, bounds, reader.uri)
        warnings = (*reader.warnings, *found.warnings, *_doubts(found, bounds, model.spec.num_speakers, heard))
        return Diarization(
            found.turns, reader.uri, found.speakers, heard.duration, warnings, self._extra(emitter, len(heard.memories))
        )

    def heard(self, reader: AudioReader, emitter: Emitter) -> Heard:
        """What the model says of a recording, before anything is decided. Raises as a call does."""
        model, embedding = self.loaded()

        def report(seconds: float) -> None:
            emitter.progress("listening", seconds, reader.duration)

        return listen(reader.blocks(), model, embedding, self.config, self._workers.pool(), report)

    def _extra(self, emitter: Emitter, num_memories: int) -> dict[str, Any]:
        voices = self.config.embedding
        known = {} if voices.model == NO_VOICES else {"voices": embedding_identity(voices.model, voices.precision)}
        return self.provenance(emitter, memories=num_memories, **known)

    def loaded(self) -> tuple[EndToEndModel[Any], EmbeddingModel | None]:
        """The models that every call shares, loaded at the first one. Raises `MissingError` for weights or packages
        that are not there."""
        network, voices, runtime = self.config.network, self.config.embedding, self.runtime
        with self._lock:
            if self._model is None:
                self._model = load_endtoend(
                    network.model, latency=network.latency, device=runtime.device, offline=runtime.offline
                )
            if self._embedding is None and voices.model != NO_VOICES:
                self._embedding = load_embedding(
                    voices.model,
                    precision=voices.precision,  # type: ignore[arg-type]
                    backend=runtime.backend,
                    device="cpu" if runtime.backend == "onnx" else runtime.device,
                    offline=runtime.offline,
                )
            return self._model, self._embedding


def answer(heard: Heard, config: EndToEndConfig, bounds: SpeakerBounds, uri: str) -> Diarization:
    """Turns and voices from what the model said: all that is left to do once a recording was heard."""
    return decoded(heard, join(heard, config, bounds), config, uri)[0]


def decoded(heard: Heard, joined: Joined, config: EndToEndConfig, uri: str) -> tuple[Diarization, dict[str, int]]:
    """Turns and voices, and the speaker of `joined` that each label stands for."""
    turns, order = decode(heard, joined, config.turns)
    speakers = {name: Speaker(name, _voice(joined, index)) for name, index in order.items()}
    return Diarization(tuple(turns), uri, speakers, heard.duration, joined.warnings), order


def _voice(joined: Joined, index: int) -> Any:
    voice = joined.voices[index]
    return voice if voice.size and np.isfinite(voice).all() else None


def _doubts(found: Diarization, bounds: SpeakerBounds, num_slots: int, heard: Heard) -> list[str]:
    """Where the answer differs from what was asked, or may."""
    if found.num_speakers and found.num_speakers < bounds.least:
        asked = f"{found.num_speakers} found, {bounds.least} asked for"
        if bounds.least > num_slots:
            return [f"{asked}: the model tells {num_slots} speakers apart; --engine clustering has no such limit"]
        return [f"{asked}: the model hears no others"]
    if found.num_speakers >= num_slots and len(heard.memories) == 1 and (bounds.most or num_slots + 1) > num_slots:
        return [
            f"all {num_slots} speakers that the model tells apart were found: there may be more "
            "(--engine auto or clustering has no such limit)"
        ]
    return []
