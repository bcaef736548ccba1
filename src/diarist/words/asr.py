"""Recognisers of other people, behind one face: sound in, utterances with timed words out, as they are heard.

    recogniser = load_recogniser("small")
    for utterance in recogniser.utterances(samples):
        ...

Nothing of ours recognises words: `faster-whisper` or `whisperx` must be installed, and bring their own weights.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from diarist.core.types import Float32, Utterance, Word
from diarist.errors import ExtraError, MissingError, UsageError, WeightsError
from diarist.words.formats.fields import share_of
from diarist.words.formats.json import from_document

ENGINES = {"faster-whisper": "faster_whisper", "whisperx": "whisperx"}
"""Recogniser to the module it is in, the preferred one first."""

BATCH = 8  # stretches that whisperx recognises at once


@dataclass(frozen=True)
class AsrConfig:
    """What a recogniser is loaded with: `model` is a name that it knows or a folder; `compute_type` a type of numbers
    (`int8`, `float16`, `float32`; `default` leaves it to the engine); without `language` it is detected; `skip_silence`
    passes over what the engine's own detector holds for silence (whisperx always does)."""

    model: str = "small"
    device: str = "auto"
    compute_type: str = "default"
    language: str | None = None
    num_threads: int = 0
    offline: bool = False
    skip_silence: bool = True


class Recogniser(Protocol):
    """What turns sound into words."""

    name: str

    @property
    def language(self) -> str | None:
        """As given or, once it has heard something, as detected."""

    def utterances(self, samples: Float32) -> Iterator[Utterance]:
        """What is said in `(num_samples,)` at 16 kHz, each utterance as soon as it is known."""


def load_recogniser(config: AsrConfig | None = None, engine: str | None = None) -> Recogniser:
    """A recogniser with its weights: the engine named, else the first of `ENGINES` that is installed.

    Raises `MissingError` where none is installed, or it does not come up, `WeightsError` where its weights cannot be
    had, `UsageError` for a setting that it does not take.
    """
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"unknown recogniser '{engine}': give one of {', '.join(ENGINES)}")
    wanted = [engine] if engine else list(ENGINES)
    found = next((name for name in wanted if importlib.util.find_spec(ENGINES[name]) is not None), None)
    if found is None and engine == "whisperx":  # no extra of ours brings it
        raise MissingError("transcribing with whisperx needs its package: pip install whisperx")
    if found is None:
        raise ExtraError(wanted[0], "transcribe", "transcribing")
    config = config or AsrConfig()
    try:
        return FasterWhisper(config) if found == "faster-whisper" else WhisperX(config)
    except ImportError as error:
        raise MissingError(f"{found} is installed, but cannot be imported: {_one_line(error)}") from error
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise WeightsError(f"{found} cannot load '{config.model}': {_one_line(error)}") from error


class FasterWhisper:
    """Whisper by CTranslate2 (`faster_whisper.WhisperModel`), an utterance after the other."""

    name = "faster-whisper"

    def __init__(self, config: AsrConfig) -> None:
        self._config = config
        self._language = config.language
        self._model = importlib.import_module("faster_whisper").WhisperModel(
            config.model,
            device=config.device,
            compute_type=config.compute_type,
            cpu_threads=config.num_threads,
            local_files_only=config.offline,
        )

    @property
    def language(self) -> str | None:
        """As given or detected."""
        return self._language

    def utterances(self, samples: Float32) -> Iterator[Utterance]:
        """Each segment with its words when the model comes to it.

        Raises `UsageError` for a language that the model does not know.
        """
        try:
            segments, info = self._model.transcribe(
                samples, language=self._config.language, word_timestamps=True, vad_filter=self._config.skip_silence
            )
        except ValueError as error:
            raise UsageError(f"faster-whisper: {_one_line(error)}") from error
        self._language = info.language
        for segment in segments:
            words = tuple(
                Word(word.word.strip(), float(word.start), float(word.end), score=share_of(word.probability))
                for word in segment.words or ()
                if word.word.strip()
            )
            if segment.text.strip():
                yield Utterance(segment.text.strip(), float(segment.start), float(segment.end), words=words)


class WhisperX:
    """WhisperX: recognises in batches, then aligns the words; all comes at the end."""

    name = "whisperx"

    def __init__(self, config: AsrConfig) -> None:
        self._config = config
        self._language = config.language
        self._engine = importlib.import_module("whisperx")
        self._device = config.device if config.device != "auto" else _torch_device()
        kind = config.compute_type
        kind = kind if kind != "default" else "float16" if self._device == "cuda" else "int8"
        options: dict[str, Any] = {"threads": config.num_threads} if config.num_threads else {}
        self._model = self._engine.load_model(
            config.model,
            self._device,
            compute_type=kind,
            language=config.language,
            local_files_only=config.offline,
            **options,
        )

    @property
    def language(self) -> str | None:
        """As given or detected."""
        return self._language

    def utterances(self, samples: Float32) -> Iterator[Utterance]:
        """Segments with their words aligned; without times for the words where no aligner knows the language."""
        result = self._model.transcribe(samples, batch_size=BATCH)
        self._language = result.get("language", self._language)
        try:
            aligner, about = self._engine.load_align_model(language_code=self._language, device=self._device)
        except ValueError:
            pass  # which is how it says that it has no aligner for the language
        else:
            result = self._engine.align(result["segments"], aligner, about, samples, self._device)
        yield from from_document(result, self.name).utterances


def _torch_device() -> str:
    torch = importlib.import_module("torch")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
