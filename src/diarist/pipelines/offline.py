"""Who spoke when in a recording: listen, cluster, decode.

diarizer = Diarizer(preset="balanced")
result = diarizer("meeting.m4a", num_speakers=2)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from diarist.audio.decode import AudioReader, AudioSource, open_audio
from diarist.audio.opening import several_times
from diarist.core.events import Emitter, Hook
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Speaker, SpeakerBounds
from diarist.errors import UsageError
from diarist.models.fused import FusedSegmentation
from diarist.models.identity import embedding_identity
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.vad import load_vad
from diarist.pipelines import channels, presets
from diarist.pipelines.cluster import Clustering, Clusters, clustering_of
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.decode import decode
from diarist.pipelines.frontend import Evidence, Listener
from diarist.pipelines.method import Reading
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import Workers, threads_of


class Diarizer(Reading[PipelineConfig]):
    """The `clustering` engine: reusable, and safe to call from several threads at once.

    `preset` is a name of `diarist.pipelines.presets`; `config` a whole `PipelineConfig`, or a mapping of single
    changes such as `{"clustering.threshold": 0.5}`. `runtime` changes the speed only. `hooks` are called with every
    `Event`; one that returns False cancels. Models are loaded at the first call;
    a `segmentation` that is handed in is heard as it is, without the configuration's second opinion on speech.
    """

    def __init__(
        self,
        preset: str = presets.DEFAULT,
        *,
        config: PipelineConfig | Mapping[str, Any] | None = None,
        runtime: RuntimeConfig | None = None,
        hooks: Sequence[Hook] = (),
        segmentation: SegmentationModel | None = None,
        embedding: EmbeddingModel | None = None,
        **runtime_changes: Any,
    ) -> None:
        whole = config if isinstance(config, PipelineConfig) else presets.resolve(preset, changes=config)
        super().__init__("clustering", preset, whole, runtime, runtime_changes, hooks)
        self._segmentation, self._embedding = segmentation, embedding
        self._clustering: Clustering | None = None
        self._workers = Workers(threads_of(self.runtime.num_threads))

    def _run(self, reader: AudioReader, bounds: SpeakerBounds, hooks: Sequence[Hook]) -> Diarization:
        emitter = Emitter(hooks, reader.uri)
        with emitter.stage("models"):
            segmentation, embedding, clustering, pool = self.loaded()
        with single_threaded_algebra():
            with emitter.stage("listening"):
                evidence = Listener(segmentation, embedding, self.config, pool, emitter)(
                    reader.blocks(), reader.duration
                )
            with emitter.stage("clustering"):
                clusters = clustering(evidence, bounds)
            _show(emitter, evidence, clusters)
            with emitter.stage("decoding"):
                turns, order = decode(evidence, clusters, self.config)
        speakers = {
            name: Speaker(name, np.asarray(clusters.voices[index], dtype=np.float32)) for name, index in order.items()
        }
        warnings = [*reader.warnings, *clusters.warnings]
        if turns and not order:
            warnings.append("nobody talks alone long enough to be told from others: all turns are one speaker's")
        if order and not bounds.least <= len(order) <= (bounds.most or len(order)):
            warnings.append(f"{_count(len(order))} found, {_words(bounds)} asked for: the recording gives no others")
        return Diarization(
            turns=tuple(turns),
            uri=reader.uri,
            speakers=speakers,
            duration=evidence.duration,
            warnings=tuple(warnings),
            extra={**self._extra(emitter), **_sureness(clusters)},
        )

    def _extra(self, emitter: Emitter) -> dict[str, Any]:
        voices = self.config.embedding
        return self.provenance(emitter, voices=embedding_identity(voices.model, voices.precision))

    def by_channel(
        self,
        audio: AudioSource,
        *,
        sample_rate: int | None = None,
        uri: str | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Diarization:
        """Diarize a recording in which each channel is one speaker: `SPEAKER_00` is the first channel.

        Raises as a call does, and `UsageError` where there is one channel only.
        """
        with several_times(audio, uri) as (kept, name):  # every channel needs it
            return self._by_channel(kept, sample_rate, name, hooks)

    def _by_channel(
        self, audio: AudioSource, sample_rate: int | None, uri: str | None, hooks: Sequence[Hook]
    ) -> Diarization:
        with open_audio(audio, sample_rate=sample_rate, uri=uri) as reader:
            uri, num_channels, duration = reader.uri, reader.num_channels, reader.duration
        if num_channels < 2:
            raise UsageError(f"'{uri}' has one channel: channels can only be speakers where there are several")
        emitter = Emitter((*self.hooks, *hooks), uri)
        with emitter.stage("models"):
            segmentation, pool = self._loaded_segmentation()
        heard: list[channels.Channel] = []
        warnings: list[str] = []
        before = 0.0  # seconds of channels gone through

        def report(seconds: float) -> None:
            emitter.progress("listening", (before + seconds) / num_channels, duration)

        with single_threaded_algebra(), emitter.stage("listening"):
            for number in range(num_channels):
                with open_audio(audio, sample_rate=sample_rate, uri=uri, channel=number) as reader:
                    step = self.config.segmentation.step
                    heard.append(channels.hear(reader.blocks(), segmentation, step, pool, report))
                    before += heard[-1].num_samples / segmentation.spec.sample_rate
                    warnings += [w for w in reader.warnings if w not in warnings]
        if channels.same_sound(heard):
            warnings.append("the channels carry the same sound: leave out --channels-are-speakers to tell voices apart")
        length = max(channel.num_samples for channel in heard) / segmentation.spec.sample_rate
        turns = channels.to_turns(heard, self.config.turns, segmentation.spec.frames, length)
        return Diarization(tuple(turns), uri, duration=length, warnings=tuple(warnings), extra=self._extra(emitter))

    def _loaded_segmentation(self) -> tuple[SegmentationModel, ThreadPoolExecutor]:
        with self._lock:
            if self._segmentation is None:
                self._segmentation = self._load_segmentation()
            rate = self._segmentation.spec.sample_rate
            if rate != SAMPLE_RATE:
                raise UsageError(f"the segmentation model takes {rate} Hz: only models of {SAMPLE_RATE} Hz can be used")
            return self._segmentation, self._workers.pool()

    def _load_segmentation(self) -> SegmentationModel:
        """The segmentation model of the configuration, and the voice activity model that is heard with it."""
        config, offline = self.config.segmentation, self.runtime.offline
        model = load_segmentation(
            config.model,
            precision=config.precision,  # type: ignore[arg-type]
            backend=self.runtime.backend,
            device=self.runtime.device,
            offline=offline,
        )
        if config.vad == "none":
            return model
        vad = load_vad(config.vad, device=self.runtime.device, offline=offline)
        return FusedSegmentation(model, vad, weight=config.vad_weight, bias=config.vad_bias)

    def loaded(self) -> tuple[SegmentationModel, EmbeddingModel, Clustering, ThreadPoolExecutor]:
        """The models, the clustering and the threads that every call shares; loaded at the first one.

        Raises `MissingError` for weights that are not there.
        """
        segmentation, pool = self._loaded_segmentation()
        with self._lock:
            if self._embedding is None:
                self._embedding = load_embedding(
                    self.config.embedding.model,
                    precision=self.config.embedding.precision,  # type: ignore[arg-type]
                    backend=self.runtime.backend,
                    device=self.runtime.device,
                    offline=self.runtime.offline,
                )
            if self._clustering is None:
                self._clustering = clustering_of(
                    self.config, self._embedding.spec.dimension, offline=self.runtime.offline
                )
            return segmentation, self._embedding, self._clustering, pool


def diarize(
    audio: AudioSource,
    *,
    preset: str = presets.DEFAULT,
    num_speakers: int | None = None,
    min_speakers: int | None = None,
    max_speakers: int | None = None,
    sample_rate: int | None = None,
    uri: str | None = None,
    **options: Any,
) -> Diarization:
    """Who spoke when in one recording; for several, make one `Diarizer` and call it for each.

    `options` go to `Diarizer` (`config=`, `hooks=`, `num_threads=`, `offline=`, ...).
    """
    return Diarizer(preset, **options)(
        audio,
        num_speakers=num_speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        sample_rate=sample_rate,
        uri=uri,
    )


def _show(emitter: Emitter, evidence: Evidence, clusters: Clusters) -> None:
    """Let hooks see what the answer is made from."""
    emitter.arrays(
        "listening", speech=evidence.speech, count=evidence.count, embeddings=evidence.embeddings, times=evidence.times
    )
    emitter.arrays("clustering", labels=clusters.labels, certainty=clusters.certainty, voices=clusters.voices)


def _sureness(clusters: Clusters) -> dict[str, float]:
    """How likely the number of speakers is right, where the clustering knows."""
    return {} if clusters.count_confidence is None else {"count_confidence": round(clusters.count_confidence, 3)}


def _count(num_speakers: int) -> str:
    return f"{num_speakers} speaker{'' if num_speakers == 1 else 's'}"


def _words(bounds: SpeakerBounds) -> str:
    if bounds.exact is not None:
        return f"exactly {bounds.exact}"
    return f"at least {bounds.least}" if bounds.most is None else f"{bounds.least} to {bounds.most}"
