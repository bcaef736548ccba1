"""Named, frozen answers to "which parameters?". What each costs and how right it is: `docs/benchmarks.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import by_name, read_preset, replace_from
from diarist.pipelines.config import PipelineConfig

DEFAULT = "balanced"
WESPEAKER = "wespeaker-resnet34-lm"  # known by name, and fetched by nobody: see `models.load`


@dataclass(frozen=True)
class Preset:
    """A configuration with a name, a line that says when to take it, and what it follows."""

    name: str
    summary: str
    source: str
    config: PipelineConfig


def _preset(name: str, summary: str, source: str, changes: Mapping[str, Any]) -> Preset:
    return Preset(name, summary, source, replace_from(PipelineConfig(), changes))


_PYANNOTE: Mapping[str, Any] = {
    "segmentation": {"precision": "float32", "step": 1.0, "tail": "padded", "vad": "none"},
    "embedding.precision": "float32",
    "embedding.rows": "chunks",
    "embedding.least": 0.02,
    "turns": {"count": "mean", "edges": "middle", "min_duration_off": 0.0, "second_pass": False},
}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _preset(
                "fast",
                "six tenths of the cost of balanced: chunks of 10 s overlap by a quarter only, one opinion on speech",
                "as balanced; turns: tuned, docs/benchmarks.md",
                {
                    "segmentation": {"step": 7.5, "vad": "none"},
                    "turns": {
                        "onset": 0.67,
                        "offset": 0.62,
                        "overlap_onset": 0.68,
                        "min_duration_on": 0.13,
                        "min_duration_off": 0.09,
                    },
                },
            ),
            _preset(
                "balanced",
                "the default: two thirds of a minute of one core for an hour of sound",
                "segmentation: Plaquet & Bredin 2023; silero-vad; CAM++: Wang et al. 2023; VBx: Landini et al. 2022",
                {},
            ),
            _preset(
                "accurate",
                "float32 networks and a step of 1 s, at three times the cost",
                "as balanced",
                {
                    "segmentation": {"precision": "float32", "step": 1.0},
                    "embedding.precision": "float32",
                },
            ),
            _preset(
                "pyannote-3.1-style",
                "the recipe of pyannote.audio 3.1 on the default weights; its threshold was tuned for other voices",
                "pyannote/speaker-diarization-3.1: Bredin 2023; 0.7046 is its threshold for WeSpeaker's ResNet34",
                {
                    **_PYANNOTE,
                    "clustering": {
                        "method": "agglomerative",
                        "linkage": "centroid",
                        "threshold": 0.7045654963945799,
                        "min_cluster_size": 12,
                    },
                },
            ),
            _preset(
                "community-1",
                "pyannote's community-1, for those who have its weights: docs/guide/community-1.md",
                "pyannote/speaker-diarization-community-1: Bredin 2023; VBx: Landini et al. 2022",
                {
                    **_PYANNOTE,
                    "embedding.model": WESPEAKER,
                    "clustering": {"method": "vbx", "threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
                },
            ),
        )
    }
)


DECODING: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "neutral": {},
        "words": {"turns": {"onset": 0.7, "offset": 0.7, "min_duration_off": 0.0}},
        "turns": {"turns": {"onset": 0.5, "offset": 0.5, "min_duration_off": 1.0}},
    }
)
"""What each `decoding` means: words as a forced alignment has them, or turns as a person marks them."""


def preset(name: str) -> Preset:
    """The preset of that name. Raises `UsageError` naming the nearest."""
    return by_name(PRESETS, name)


def resolve(
    name: str = DEFAULT, file: str | Path | None = None, changes: Mapping[str, Any] | None = None
) -> PipelineConfig:
    """A preset, changed by a preset file (TOML or JSON), changed by single values; later ones win.

    A file may name the preset it starts from: `preset = "fast"`. A `decoding` stands for values of `turns`, which those
    given beside it, or later, change. Raises `UsageError`, `ConfigError`.
    """
    base, values = read_preset(file, name)
    return _changed(_changed(preset(base).config, values), changes or {})


def _changed(config: PipelineConfig, values: Mapping[str, Any]) -> PipelineConfig:
    if "decoding" in values:
        config = replace_from(config, {"decoding": values["decoding"]})
        config = replace_from(config, DECODING[config.decoding])
    return replace_from(config, values)
