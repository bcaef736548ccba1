"""What changes the answer of the router: which engines, and up to how many speakers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import from_preset, option, replace_from
from diarist.pipelines.config import PRECISIONS
from diarist.pipelines.endtoend_presets import NEMOTRON, SORTFORMER, Presets

END_TO_END: Mapping[str, Presets] = MappingProxyType({"nemotron": NEMOTRON, "sortformer": SORTFORMER})


@dataclass(frozen=True)
class RouterConfig:
    """Which method for which recording."""

    engine: str = option("nemotron", "the end-to-end engine", choices=tuple(END_TO_END))
    model: str = option("", "its model: as --network-model of that engine; empty: the engine's own")
    preset: str = option("offline", "its preset")
    clustering: str = option("balanced", "the preset of clustering, for more speakers")
    limit: int = option(0, "up to so many speakers the end-to-end engine; 0: as many as its model tells apart", low=0)
    count: str = option("fast", "the preset of clustering that counts")
    sample: float = option(
        1800.0, "seconds of a longer recording in which speakers are counted, in pieces of a minute; 0: all", low=0.0
    )


@dataclass(frozen=True)
class EmbeddingChoice:
    """What each voice sounds like, whichever method answers."""

    model: str = option("campplus-zh-en", "catalogue name, ONNX file or hub id of the embedding model")
    precision: str = option("int8", "arithmetic of the embedding model", choices=PRECISIONS)


@dataclass(frozen=True)
class AutoConfig:
    """Everything that changes the answer of the engine `auto`, beside the presets that it names."""

    router: RouterConfig = field(default_factory=RouterConfig)
    embedding: EmbeddingChoice = field(default_factory=EmbeddingChoice)


@dataclass(frozen=True)
class AutoPreset:
    """A configuration with a name, and a line that says when to take it."""

    name: str
    summary: str
    config: AutoConfig


PRESETS: Mapping[str, AutoPreset] = MappingProxyType(
    {
        "nemotron": AutoPreset("nemotron", "Nemotron up to eight speakers, clustering beyond", AutoConfig()),
        "sortformer": AutoPreset(
            "sortformer",
            "Sortformer up to four speakers, clustering beyond",
            replace_from(AutoConfig(), {"router.engine": "sortformer"}),
        ),
    }
)
DEFAULT = "nemotron"


def resolve(
    name: str = DEFAULT, file: str | Path | None = None, changes: Mapping[str, Any] | None = None
) -> AutoConfig:
    """A preset, changed by a preset file (TOML or JSON), changed by single values; later ones win.

    Raises `UsageError`, `ConfigError`.
    """
    return from_preset(PRESETS, name, file, changes)
