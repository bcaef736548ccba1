"""The router: an end-to-end model up to as many speakers as it tells apart, clustering beyond.

    diarizer = AutoDiarizer()
    result = diarizer("meeting.m4a")
    result.extra["router"]  # {'engine': 'nemotron', 'reason': "5 speakers counted, within nemotron's limit of 8", ...}

Speakers are counted with the `fast` preset of clustering, in pieces of the recording where it is long; bounds that the
caller gives come before any count. Where the end-to-end model cannot be had, all is clustered, and a warning says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diarist.audio.decode import AudioSource, open_audio
from diarist.audio.opening import several_times
from diarist.core.config import fingerprint
from diarist.core.events import Emitter, Hook
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, SpeakerBounds
from diarist.errors import MissingError
from diarist.pipelines.auto_presets import DEFAULT, END_TO_END, AutoConfig, resolve
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.endtoend import EndToEndDiarizer
from diarist.pipelines.method import Method
from diarist.pipelines.offline import Diarizer

PIECE = 60  # seconds of a recording that are counted together, where not all of it is


@dataclass(frozen=True)
class Route:
    """Which engine answers, and why; `count` is None where nothing was counted."""

    engine: str
    reason: str
    limit: int | None = None
    count: int | None = None
    warning: str | None = None


class AutoDiarizer(Method[AutoConfig]):
    """The engine `auto`: reusable, and safe to call from several threads at once.

    `clustering`, `counting` and `end_to_end` are diarizers to use in place of those that the configuration names. The
    rest is as in `diarist.Diarizer`. `extra["router"]` of an answer says which engine gave it, and why.
    """

    def __init__(
        self,
        preset: str = DEFAULT,
        *,
        config: AutoConfig | Mapping[str, Any] | None = None,
        runtime: RuntimeConfig | None = None,
        hooks: Sequence[Hook] = (),
        clustering: Diarizer | None = None,
        counting: Diarizer | None = None,
        end_to_end: EndToEndDiarizer | None = None,
        **runtime_changes: Any,
    ) -> None:
        whole = config if isinstance(config, AutoConfig) else resolve(preset, changes=config)
        super().__init__("auto", preset, whole, runtime, runtime_changes, hooks)
        router, voices = self.config.router, dataclasses.asdict(self.config.embedding)
        changes = {"embedding": voices}
        self.clustering = clustering or Diarizer(router.clustering, config=changes, runtime=self.runtime)
        self.counting = counting or Diarizer(router.count, config=changes, runtime=self.runtime)
        self.end_to_end = end_to_end or EndToEndDiarizer(
            router.preset,
            config={**changes, "network.model": router.model} if router.model else changes,
            runtime=self.runtime,
            presets=END_TO_END[router.engine],
            engine=router.engine,
        )
        self._missing: str | None = None

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that change with anything that changes the answer."""
        return fingerprint(self.config, self.clustering.config, self.counting.config, self.end_to_end.config)

    def _answer(
        self, audio: AudioSource, bounds: SpeakerBounds, sample_rate: int | None, uri: str | None, hooks: Sequence[Hook]
    ) -> Diarization:
        with several_times(audio, uri) as (kept, name):  # it is counted, and then heard
            emitter = Emitter(hooks, name or "")
            with emitter.stage("counting"):
                route = self.route(kept, bounds, sample_rate=sample_rate, hooks=hooks)
            chosen = self.clustering if route.engine == "clustering" else self.end_to_end
            limits = {"min_speakers": bounds.least, "max_speakers": bounds.most}
            result = chosen(kept, sample_rate=sample_rate, uri=name, hooks=hooks, **limits)
        told = {name: value for name, value in dataclasses.asdict(route).items() if value is not None}
        timings = {"counting": round(emitter.timings["counting"], 3), **result.extra["timings"]}
        extra = {**result.extra, "router": told, "fingerprint": self.fingerprint, "timings": timings}
        warnings = result.warnings if route.warning is None else (*result.warnings, route.warning)
        return dataclasses.replace(result, extra=extra, warnings=warnings)

    def route(
        self,
        audio: AudioSource,
        bounds: SpeakerBounds | None = None,
        *,
        sample_rate: int | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Route:
        """Which engine a recording is for. Bytes of a stream are used up. Raises `AudioError` for what is no sound."""
        bounds = bounds or SpeakerBounds()
        name = self.config.router.engine
        slots = self._num_slots()
        if slots is None:
            return Route("clustering", f"{name} cannot be used here", warning=f"{self._missing}; clustering was used")
        limit = min(self.config.router.limit or slots, slots)
        if bounds.least > limit:
            return Route("clustering", f"at least {bounds.least} speakers asked for, beyond {name}'s limit", limit)
        if bounds.most is not None and bounds.most <= limit:
            return Route(name, f"at most {bounds.most} speakers asked for, within {name}'s limit", limit)
        count = self._count(audio, sample_rate, hooks)
        if count > limit:
            return Route("clustering", f"{count} speakers counted, beyond {name}'s limit of {limit}", limit, count)
        return Route(name, f"{count} speakers counted, within {name}'s limit of {limit}", limit, count)

    def _num_slots(self) -> int | None:
        """How many the end-to-end model tells apart; None where it cannot be had, which is found out once."""
        with self._lock:
            if self._missing is not None:
                return None
            try:
                return self.end_to_end.loaded()[0].spec.num_speakers
            except MissingError as error:
                self._missing = " ".join(str(error).split())
                return None

    def _count(self, audio: AudioSource, sample_rate: int | None, hooks: Sequence[Hook]) -> int:
        if hasattr(audio, "seek"):
            audio.seek(0)
        with open_audio(audio, sample_rate=sample_rate) as reader:
            sample = self.config.router.sample
            if sample == 0 or (reader.duration is not None and reader.duration <= sample):
                kept = list(reader.blocks())
            else:
                kept = list(pieces(reader.blocks(), reader.duration, sample))
        samples = np.concatenate([np.zeros(0, np.float32), *kept])
        if hasattr(audio, "seek"):
            audio.seek(0)
        return self.counting(samples, sample_rate=SAMPLE_RATE, hooks=hooks).num_speakers


def pieces(blocks: Iterable[Float32], duration: float | None, sample: float) -> Iterable[Float32]:
    """Of a recording of `duration` seconds, `sample` seconds in pieces of a minute, spread evenly; the first ones where
    the duration is not known."""
    num = max(1, round(sample / PIECE))
    length = round(sample / num * SAMPLE_RATE)
    every = length if duration is None else max(length, round(duration * SAMPLE_RATE / num))
    first = 0  # sample with which a block begins
    for block in blocks:
        for index in range(first // every, min(num, (first + len(block)) // every + 1)):
            low = max(0, index * every - first)
            high = index * every + length - first
            if high > low < len(block):
                yield block[low:high]
        first += len(block)
