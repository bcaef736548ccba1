"""What changes the answer of end-to-end models, and named choices of it: Nemotron's latencies, NeMo's decodings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import by_name, from_preset, option, replace_from
from diarist.errors import ConfigError
from diarist.pipelines.config import PRECISIONS

NO_VOICES = "none"


@dataclass(frozen=True)
class NetworkConfig:
    """Which end-to-end model, and how it listens."""

    model: str = option("nemotron", "end-to-end model: nemotron or sortformer, or nemotron:FOLDER-OR-HUB-ID")
    latency: float = option(
        30.4, "seconds from a sound to what the model says of it, of those it has; longer is more right", low=0.01
    )
    window: float = option(
        0.0, "seconds after which the model's memory is begun anew; 0: never, unless the model must", low=0.0
    )
    overlap: float = option(30.0, "seconds that two memories hear both, to know who is who", low=1.0, high=600.0)


@dataclass(frozen=True)
class VoicesConfig:
    """What each speaker sounds like: for names, linking, and to join what several memories say."""

    model: str = option("campplus-zh-en", "catalogue name, ONNX file or hub id of the embedding model; none: no voices")
    precision: str = option("int8", "arithmetic of the embedding model", choices=PRECISIONS)
    alone: float = option(0.5, "a speaker who talks alone for less has no voice, seconds", low=0.02, high=60.0)
    join: float = option(
        0.5, "cosine distance up to which voices of two memories are one speaker's", low=0.0, high=2.0, tune=(0.2, 0.8)
    )


@dataclass(frozen=True)
class DecodingConfig:
    """From probabilities to turns, each speaker by itself. Names and meanings are NeMo's."""

    onset: float = option(0.5, "a turn begins above this probability", low=0.0, high=1.0, tune=(0.2, 0.8))
    offset: float = option(
        0.5, "a turn ends below this probability; not below the onset: at the onset", low=0.0, high=1.0, tune=(0.2, 0.8)
    )
    pad_onset: float = option(0.0, "turns begin so many seconds earlier", low=-1.0, high=5.0, tune=(-0.1, 0.3))
    pad_offset: float = option(0.0, "turns end so many seconds later", low=-1.0, high=5.0, tune=(-0.1, 0.3))
    min_duration_on: float = option(0.0, "shorter turns are dropped, seconds", low=0.0, tune=(0.0, 0.5))
    min_duration_off: float = option(0.0, "shorter pauses of a speaker are closed, seconds", low=0.0, tune=(0.0, 1.0))
    filter_speech_first: bool = option(False, "short turns are dropped before pauses are closed")
    least_talk: float = option(
        0.0, "who talks for less in the whole recording is nobody, seconds", low=0.0, tune=(0.0, 3.0)
    )


@dataclass(frozen=True)
class EndToEndConfig:
    """Everything that changes the answer of an end-to-end engine. Raises `ConfigError` for windows that cannot be."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    embedding: VoicesConfig = field(default_factory=VoicesConfig)
    turns: DecodingConfig = field(default_factory=DecodingConfig)

    def __post_init__(self) -> None:
        if 0 < self.network.window < 2 * self.network.overlap:
            raise ConfigError(
                f"'network.window' must be 0 or at least twice 'network.overlap' ({self.network.overlap:g} s), "
                f"not {self.network.window:g}"
            )


@dataclass(frozen=True)
class EndToEndPreset:
    """A configuration with a name, a line that says when to take it, and what it follows."""

    name: str
    summary: str
    source: str
    config: EndToEndConfig


class Presets:
    """The presets of one engine, the first of them its default."""

    def __init__(self, presets: Iterable[EndToEndPreset]) -> None:
        self.presets: Mapping[str, EndToEndPreset] = MappingProxyType({preset.name: preset for preset in presets})
        self.default = next(iter(self.presets))

    def preset(self, name: str) -> EndToEndPreset:
        """The preset of that name. Raises `UsageError` naming the nearest."""
        return by_name(self.presets, name)

    def resolve(
        self, name: str | None = None, file: str | Path | None = None, changes: Mapping[str, Any] | None = None
    ) -> EndToEndConfig:
        """A preset, changed by a preset file (TOML or JSON), changed by single values; later ones win.

        A file may name the preset it starts from. Raises `UsageError`, `ConfigError`.
        """
        return from_preset(self.presets, name or self.default, file, changes)


def _preset(name: str, summary: str, source: str, changes: Mapping[str, Any]) -> EndToEndPreset:
    return EndToEndPreset(name, summary, source, replace_from(EndToEndConfig(), changes))


def _nemotron(name: str, latency: float, summary: str) -> EndToEndPreset:
    changes = {"network.model": "nemotron", "network.latency": latency}
    return _preset(name, summary, "the card of nvidia/Nemotron-3-Diarization (2026); a threshold of a half", changes)


NEMOTRON = Presets(
    (
        _nemotron("offline", 30.4, "chunks of 27.2 s that see 3.2 s ahead"),
        _nemotron("low-latency", 1.04, "the same model at a latency of 1.04 s"),
        _nemotron("very-low-latency", 0.64, "at 0.64 s"),
        _nemotron("ultra-low-latency", 0.32, "at 0.32 s"),
        _preset(
            "meeting",
            "offline, for turns as a person marks them: pauses up to half a second closed, clicks dropped",
            "our choice, not measured on this model: tune your own (diarist tune --engine nemotron)",
            {"turns": {"min_duration_off": 0.5, "min_duration_on": 0.1}},
        ),
    )
)
"""Presets of Nemotron 3 Diarization: eight speakers."""

_NEMO = "NVIDIA NeMo, examples/speaker_tasks/diarization/conf/post_processing/diar_streaming_sortformer_4spk-v2_{}.yaml"
_SORTFORMER: Mapping[str, Any] = MappingProxyType({"network.model": "sortformer"})

SORTFORMER = Presets(
    (
        _preset("offline", "chunks of 30.4 s, a threshold of a half", "the model's card (2025)", _SORTFORMER),
        _preset(
            "callhome",
            "NeMo's decoding for telephone calls",
            _NEMO.format("callhome-part1"),
            {
                **_SORTFORMER,
                "turns": {
                    "onset": 0.641,
                    "offset": 0.561,
                    "pad_onset": 0.229,
                    "pad_offset": 0.079,
                    "min_duration_on": 0.511,
                    "min_duration_off": 0.296,
                    "filter_speech_first": True,
                },
            },
        ),
        _preset(
            "dihard3",
            "NeMo's decoding for DIHARD III: recordings of every kind",
            _NEMO.format("dihard3-dev"),
            {
                **_SORTFORMER,
                "turns": {
                    "onset": 0.56,
                    "offset": 1.0,
                    "pad_onset": 0.063,
                    "pad_offset": 0.002,
                    "min_duration_on": 0.007,
                    "min_duration_off": 0.151,
                    "filter_speech_first": True,
                },
            },
        ),
        _preset("low-latency", "a latency of 1.04 s", "the model's card", {**_SORTFORMER, "network.latency": 1.04}),
    )
)
"""Presets of Streaming Sortformer: four speakers."""


def presets_of(model: str) -> Presets:
    """The presets of a model's engine."""
    return SORTFORMER if model.partition(":")[0] == "sortformer" else NEMOTRON
