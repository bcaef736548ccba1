"""Who spoke when, as NeMo's clustering diarizer finds out, on any voice activity and any embedding model of ours.

    diarizer = NemoStyleDiarizer("meeting")
    result = diarizer("meeting.m4a", num_speakers=4)

Voice activity, sub-segments of several lengths, their voices, similarities fused over the scales, NME-SC. What NeMo's
lacks can be asked for: a second speaker where two talk (`segmentation.overlap`), and a least number of speakers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from diarist.audio.decode import AudioSource, open_audio
from diarist.core.events import Emitter, Hook
from diarist.core.protocols import EmbeddingModel, SegmentationModel, VoiceActivityModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, Float64, Int64, Speaker, SpeakerBounds, Turn
from diarist.errors import UsageError
from diarist.models.identity import embedding_identity
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.nemo_vad import NemoWindowVad
from diarist.models.vad import NAMES, load_vad
from diarist.pipelines import nemo_presets
from diarist.pipelines.cluster import certainty
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.method import Method
from diarist.pipelines.nemo_embed import Voices
from diarist.pipelines.nemo_overlap import SecondSpeakers, Stretch
from diarist.pipelines.nemo_presets import NemoStyleConfig, VadConfig
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import Workers, threads_of
from diarist.stages import multiscale, speech
from diarist.stages.assign import centroids
from diarist.stages.heard import Heard, hear
from diarist.stages.nme_sc import NmeSc
from diarist.stages.turns import label

Spans = Iterable[tuple[float, float]]


@dataclass(frozen=True)
class _Models:
    embedding: EmbeddingModel
    segmentation: SegmentationModel | None
    vad: VoiceActivityModel | None
    pool: ThreadPoolExecutor


@dataclass(frozen=True)
class _Part:
    """What of a recording counts, in seconds: `duration` from `offset` on; stretches `(num, 2)` of its `speech`, in
    place of what a model hears, and of its `regions`, outside of which there are no turns."""

    speech: Float64 | None = None
    regions: Float64 | None = None
    offset: float = 0.0
    duration: float | None = None

    def samples(self, total: int) -> tuple[int, int]:
        """The first sample of so many, and the one past the last."""
        first = round(self.offset * SAMPLE_RATE)
        return first, total if self.duration is None else min(total, first + round(self.duration * SAMPLE_RATE))


class NemoStyleDiarizer(Method[NemoStyleConfig]):
    """The `nemo-style` engine: reusable, and safe to call from several threads at once.

    `preset` is a name of `diarist.pipelines.nemo_presets`; `config` a whole `NemoStyleConfig`, or a mapping of single
    changes such as `{"vad.onset": 0.4}`. `vad`, `embedding` and `segmentation` are models to use in place of those that
    the configuration names. `accept_licence`: weights whose licence is not stated may be used. `engine` is what the
    result says that it comes from. The rest is as in `diarist.Diarizer`. The whole recording is held in memory, 230 MB
    an hour.
    """

    def __init__(
        self,
        preset: str = nemo_presets.DEFAULT,
        *,
        config: NemoStyleConfig | Mapping[str, Any] | None = None,
        runtime: RuntimeConfig | None = None,
        hooks: Sequence[Hook] = (),
        vad: VoiceActivityModel | None = None,
        segmentation: SegmentationModel | None = None,
        embedding: EmbeddingModel | None = None,
        accept_licence: bool = False,
        engine: str = "nemo-style",
        **runtime_changes: Any,
    ) -> None:
        whole = config if isinstance(config, NemoStyleConfig) else nemo_presets.resolve(preset, changes=config)
        super().__init__(engine, preset, whole, runtime, runtime_changes, hooks)
        self._vad, self._segmentation, self._embedding = vad, segmentation, embedding
        self._own_vad = vad is not None
        self._accept_licence = accept_licence
        self._workers = Workers(threads_of(self.runtime.num_threads))

    def __call__(
        self,
        audio: AudioSource,
        *,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        sample_rate: int | None = None,
        uri: str | None = None,
        hooks: Sequence[Hook] = (),
        speech: Spans | None = None,
        regions: Spans | None = None,
        offset: float = 0.0,
        duration: float | None = None,
    ) -> Diarization:
        """Diarize a file, bytes, a binary stream or an array, as `diarist.Diarizer`.

        `speech`: where there is speech, `(start, end)` in seconds, in place of what a model hears (NeMo's oracle and
        external VAD). `regions`: no turns outside of these stretches. `offset`, `duration`: only so much of the
        recording is heard; times are those of the whole. Raises as `diarist.Diarizer`.
        """
        bounds = SpeakerBounds.of(num_speakers, min_speakers, max_speakers)
        for name, seconds in (("offset", offset), ("duration", 0.0 if duration is None else duration)):
            if not (isinstance(seconds, (int, float)) and math.isfinite(seconds) and seconds >= 0):
                raise UsageError(f"{name} must be seconds, 0 or more, not {seconds!r}")
        stretches = [None if spans is None else spans_of(spans) for spans in (speech, regions)]
        part = _Part(stretches[0], stretches[1], offset, duration)
        return self._answer(audio, bounds, sample_rate, uri, (*self.hooks, *hooks), part)

    def _answer(
        self,
        audio: AudioSource,
        bounds: SpeakerBounds,
        sample_rate: int | None,
        uri: str | None,
        hooks: Sequence[Hook],
        part: _Part | None = None,
    ) -> Diarization:
        part = part or _Part()
        if self.config.clustering.oracle_num_speakers and bounds.exact is None:
            raise UsageError("oracle_num_speakers asks for a count that is known: give num_speakers")
        with open_audio(audio, sample_rate=sample_rate, uri=uri) as reader:
            emitter = Emitter(hooks, reader.uri)
            with emitter.stage("models"):
                models = self._loaded(hears=part.speech is None)
            with emitter.stage("reading"):
                samples = np.concatenate([np.zeros(0, np.float32), *reader.blocks()])
            uri, warnings = reader.uri, reader.warnings
        length = len(samples) / SAMPLE_RATE
        first, last = part.samples(len(samples))
        if first > 0 and first >= len(samples):
            warnings.append(f"the part asked for begins at {part.offset:g} s, and the recording has {length:.3f} s")
        given = None if part.speech is None else part.speech - part.offset
        limits = None if part.regions is None else part.regions - part.offset
        with single_threaded_algebra():
            answer = _Session(self.config, models, samples[first:last], emitter)(bounds, given, limits)
        return self._diarization(answer, bounds, uri, length, first / SAMPLE_RATE, warnings, emitter)

    def _diarization(
        self,
        answer: _Answer,
        bounds: SpeakerBounds,
        uri: str,
        length: float,
        offset: float,
        warnings: list[str],
        emitter: Emitter,
    ) -> Diarization:
        turns = answer.turns(offset)
        names = {index: turn.speaker for turn, index in turns}
        if names and not bounds.least <= len(names) <= (bounds.most or len(names)):
            warnings.append(f"{len(names)} speakers found, not as many as asked for: the recording gives no others")
        speakers = {
            name: Speaker(name, None if answer.voices is None else np.asarray(answer.voices[index], np.float32))
            for index, name in names.items()
        }
        identity = embedding_identity(self.config.embedding.model, self.config.embedding.precision)
        extra = self.provenance(emitter, voices=identity)
        return Diarization(tuple(turn for turn, _ in turns), uri, speakers, length, tuple(warnings), extra)

    def embedding_model(self) -> EmbeddingModel:
        """The embedding model, loaded. Raises `MissingError` for weights that are not there."""
        return self._loaded(hears=False).embedding

    def _loaded(self, *, hears: bool) -> _Models:
        """Models and threads that every call shares; each is loaded when it is first needed."""
        config, runtime = self.config, self.runtime
        by_segmentation = not self._own_vad and _is_segmentation(config)
        where = {"backend": runtime.backend, "device": runtime.device, "offline": runtime.offline}
        with self._lock:
            if self._embedding is None:
                chosen = config.embedding
                self._embedding = load_embedding(chosen.model, precision=chosen.precision, **where)  # type: ignore[arg-type]
            segments = config.segmentation.overlap or (hears and by_segmentation)
            if segments and self._segmentation is None:
                heard = config.segmentation
                self._segmentation = load_segmentation(heard.model, precision=heard.precision, **where)  # type: ignore[arg-type]
            if hears and self._vad is None and not by_segmentation:
                self._vad = _cut_as(
                    load_vad(
                        config.vad.model,
                        device=runtime.device,
                        offline=runtime.offline,
                        accept_licence=self._accept_licence,
                    ),
                    config.vad,
                )
            return _Models(
                self._embedding,
                self._segmentation if segments else None,
                self._vad if hears and not by_segmentation else None,
                self._workers.pool(),
            )


def spans_of(spans: Spans) -> Float64:
    """Stretches `(num, 2)` in order, those that meet joined. Raises `UsageError` where one ends before it starts."""
    try:
        listed = np.asarray(list(spans), np.float64)
        found = listed.reshape(len(listed), 2)
    except (TypeError, ValueError):
        found = np.full((1, 2), np.nan)
    if not (np.isfinite(found).all() and (found[:, 1] >= found[:, 0]).all()):
        raise UsageError("stretches of speech are (start, end) in seconds, the end not before the start")
    return speech.merged(found[found[:, 1] > found[:, 0]])


def _cut_as(model: VoiceActivityModel, config: VadConfig) -> VoiceActivityModel:
    """A model that hears windows hears those of the configuration; others have frames of their own."""
    if isinstance(model, NemoWindowVad):
        return model.at(config.window_length_in_sec, config.shift_length_in_sec)
    return model


def _is_segmentation(config: NemoStyleConfig) -> bool:
    """Whether the segmentation model is to say where there is speech."""
    named = NAMES.get(config.vad.model, config.vad.model)
    return config.vad.model == "segmentation" or named == config.segmentation.model


@dataclass(frozen=True)
class _Answer:
    """Stretches `(start, end, speaker)`, the speakers' `voices` `(num_speakers, dimension)` where they have any, and
    for each window its `middles` in seconds and how `sure` its label is."""

    stretches: list[Stretch]
    voices: Float64 | None
    middles: Float64
    sure: Float32

    def turns(self, offset: float) -> list[tuple[Turn, int]]:
        """Turns in order of start, with labels by first appearance, and the speaker of each."""
        names: dict[int, str] = {}
        total = np.concatenate([[0.0], np.cumsum(self.sure, dtype=np.float64)])
        found = []
        for start, end, speaker in self.stretches:
            low, high = np.searchsorted(self.middles, [start, end]).tolist()
            mean = (total[high] - total[low]) / (high - low) if high > low else 1.0
            name = names.setdefault(speaker, label(len(names)))
            found.append((Turn(offset + start, offset + end, name, round(float(np.clip(mean, 0, 1)), 4)), speaker))
        return found


_NOTHING = _Answer([], None, np.zeros(0), np.zeros(0, np.float32))


class _Session:
    """One recording `(num_samples,)`, from sound to stretches of speakers."""

    def __init__(self, config: NemoStyleConfig, models: _Models, samples: Float32, emitter: Emitter) -> None:
        self.config, self.models, self.samples, self.emitter = config, models, samples, emitter
        self.duration = len(samples) / SAMPLE_RATE

    def __call__(self, bounds: SpeakerBounds, given: Float64 | None, limits: Float64 | None) -> _Answer:
        heard = self._heard()
        with self.emitter.stage("speech"):
            spans = self._speech(heard) if given is None else given
            spans = speech.within(spans, np.array([[0.0, self.duration]]))
            spans = spans if limits is None else speech.within(spans, limits)
        scales = self.config.speaker_embeddings
        cuts = zip(scales.window_length_in_sec, scales.shift_length_in_sec, strict=True)
        times = [multiscale.subsegments(spans, window, shift) for window, shift in cuts]
        self.emitter.arrays("speech", speech=spans)
        if len(times[-1]) == 0:
            return _NOTHING
        voices = Voices(self.samples, self.models.embedding, self.models.pool, self.emitter)
        second = self._second(heard, voices)
        with self.emitter.stage("listening"):
            rows, local = self._embeddings(voices, times, second)
        if rows is None:
            return _Answer([(start, end, 0) for start, end in spans.tolist()], None, np.zeros(0), np.zeros(0, "f4"))
        with self.emitter.stage("clustering"):
            labels = self._labels(rows, times, bounds)
        self.emitter.arrays("clustering", labels=labels, times=times[-1], embeddings=rows[-1])
        means = centroids(rows[-1], labels)
        stretches: list[Stretch] = multiscale.joined(times[-1], labels)
        middles = times[-1].mean(axis=1)
        if second is not None and bounds.most != 1:
            stretches = second.stretches(local, stretches, middles, labels, means, self.duration)
        return _Answer(stretches, means, middles, certainty(rows[-1], labels, means))

    def _heard(self) -> Heard | None:
        if self.models.segmentation is None:
            return None
        with self.emitter.stage("segmentation"):
            return hear(self.samples, self.models.segmentation, self.config.segmentation.step, self.models.pool.map)

    def _speech(self, heard: Heard | None) -> Float64:
        """Stretches of speech, by the model of the configuration."""
        chosen = self.config.vad
        if self.models.vad is not None:
            probabilities, frames = self.models.vad(self.samples), self.models.vad.frames
        else:
            assert heard is not None and self.models.segmentation is not None
            probabilities, frames = heard.speech, self.models.segmentation.spec.frames
        self.emitter.arrays("speech", probabilities=probabilities)
        frame = chosen.shift_length_in_sec
        read = speech.read_each(probabilities, frames, frame, self.duration)
        if chosen.smoothing != "none":
            read = speech.smooth(
                read,
                window=chosen.window_length_in_sec,
                shift=frame,
                overlap=chosen.overlap,
                method=chosen.smoothing,
            )
            frame = speech.UNIT
        return speech.stretches(
            read,
            frame,
            onset=chosen.onset,
            offset=chosen.offset,
            pad_onset=chosen.pad_onset,
            pad_offset=chosen.pad_offset,
            min_duration_on=chosen.min_duration_on,
            min_duration_off=chosen.min_duration_off,
            filter_speech_first=chosen.filter_speech_first,
        )

    def _second(self, heard: Heard | None, voices: Voices) -> SecondSpeakers | None:
        if not self.config.segmentation.overlap or heard is None or self.models.segmentation is None:
            return None
        return SecondSpeakers(heard, self.models.segmentation.spec, self.models.embedding, voices)

    def _embeddings(
        self, voices: Voices, times: list[Float64], second: SecondSpeakers | None
    ) -> tuple[list[Float32] | None, list[Float32]]:
        """Voices of the windows of each scale, None where none has any; and of local speakers where two talk."""
        parts = [voices.of_windows(scale) for scale in times]
        local = second.requests() if second is not None else []
        answers = iter(voices.answers([request for part in (*parts, local) for request in part]))
        rows = [np.concatenate([next(answers) for _ in part]) for part in parts]
        filled = [_filled(scale) for scale in rows]
        known = [scale for scale in filled if scale is not None]
        return (known if len(known) == len(filled) else None), list(answers)

    def _labels(self, rows: list[Float32], times: list[Float64], bounds: SpeakerBounds) -> Int64:
        chosen, weights = self.config.clustering, self.config.speaker_embeddings.multiscale_weights
        method = NmeSc(
            max_num_speakers=chosen.max_num_speakers,
            enhanced_count_thres=chosen.enhanced_count_thres,
            max_rp_threshold=chosen.max_rp_threshold,
            sparse_search_volume=chosen.sparse_search_volume,
            maj_vote_spk_count=chosen.maj_vote_spk_count,
            fixed_thres=chosen.fixed_thres,
            embeddings_per_chunk=chosen.embeddings_per_chunk,
        )
        if len(rows[-1]) > chosen.embeddings_per_chunk:
            return method.long(multiscale.fused_rows(rows, times, weights), bounds)
        return method(multiscale.fused_similarity(rows, times, weights), rows[-1], bounds)


def _filled(rows: Float32) -> Float32 | None:
    """Rows without a voice take that of the nearest row that has one; None where none has."""
    known = np.flatnonzero(~np.isnan(rows).any(axis=1))
    if len(known) == 0:
        return None
    index = np.arange(len(rows))
    after = np.minimum(np.searchsorted(known, index), len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(np.abs(known[before] - index) <= np.abs(known[after] - index), before, after)
    return rows[known[nearer]]
