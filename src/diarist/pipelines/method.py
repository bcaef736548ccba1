"""What all diarizers share, however they find out who spoke when: their face, their constructor, their provenance."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from diarist.audio.decode import AudioReader, AudioSource, open_audio
from diarist.core.config import fingerprint, replace_from
from diarist.core.events import Emitter, Hook
from diarist.core.types import Diarization, SpeakerBounds
from diarist.pipelines.config import RuntimeConfig

Config = TypeVar("Config")


class Method(ABC, Generic[Config]):
    """A diarizer with its configuration: reusable, and safe to call from several threads at once.

    `engine` is what its answers say that they come from, `preset` what `config` began as; `runtime`, with the changes
    by name, alters the speed only. `hooks` are called with every `Event`; one that returns False cancels.
    """

    def __init__(
        self,
        engine: str,
        preset: str,
        config: Config,
        runtime: RuntimeConfig | None,
        runtime_changes: Mapping[str, Any],
        hooks: Sequence[Hook],
    ) -> None:
        self.engine, self.preset, self.config = engine, preset, config
        self.runtime = replace_from(runtime or RuntimeConfig(), runtime_changes)
        self.hooks = tuple(hooks)
        self._lock = threading.Lock()  # of what is loaded at the first call

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that change with anything that changes the answer."""
        return fingerprint(self.config)

    def provenance(self, emitter: Emitter, **between: Any) -> dict[str, Any]:
        """What was asked of which engine, what else there is `between`, and how many seconds each stage took."""
        return {
            "engine": self.engine,
            "preset": self.preset,
            "fingerprint": self.fingerprint,
            **between,
            "timings": {name: round(seconds, 3) for name, seconds in emitter.timings.items()},
        }

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
    ) -> Diarization:
        """Diarize a file, bytes, a binary stream or an array `(num_samples,)` or `(num_samples, num_channels)`.

        Arrays need their `sample_rate`. The bounds on speakers are kept whenever the recording can give them; where
        it cannot, the result's `warnings` say so. Raises `AudioError` for what is not sound, `UsageError` for
        impossible bounds, `MissingError` for weights that are not there.
        """
        bounds = SpeakerBounds.of(num_speakers, min_speakers, max_speakers)
        return self._answer(audio, bounds, sample_rate, uri, (*self.hooks, *hooks))

    @abstractmethod
    def _answer(
        self, audio: AudioSource, bounds: SpeakerBounds, sample_rate: int | None, uri: str | None, hooks: Sequence[Hook]
    ) -> Diarization:
        """Who spoke when; `hooks` are all that there are. Raises as a call."""


class Reading(Method[Config]):
    """A method that goes through a recording once, as it is read."""

    def _answer(
        self, audio: AudioSource, bounds: SpeakerBounds, sample_rate: int | None, uri: str | None, hooks: Sequence[Hook]
    ) -> Diarization:
        with open_audio(audio, sample_rate=sample_rate, uri=uri) as reader:
            return self._run(reader, bounds, hooks)

    @abstractmethod
    def _run(self, reader: AudioReader, bounds: SpeakerBounds, hooks: Sequence[Hook]) -> Diarization:
        """The answer for an open recording; raises as a call."""
