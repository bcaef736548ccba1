"""Named choices of how the engine `pix2seq` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import from_preset, replace_from
from diarist.pix2seq.config import Pix2SeqConfig

DEFAULT = "beam"


@dataclass(frozen=True)
class Pix2SeqPreset:
    """A configuration with a name and a line that says when to take it."""

    name: str
    summary: str
    config: Pix2SeqConfig


def _preset(name: str, summary: str, **changes: Any) -> Pix2SeqPreset:
    return Pix2SeqPreset(name, summary, replace_from(Pix2SeqConfig(), changes))


PRESETS: Mapping[str, Pix2SeqPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _preset("greedy", "the likeliest token each time"),
            _preset("beam", "the likeliest whole of four that are written side by side", **{"decode.method": "beam"}),
            _preset(
                "unprompted",
                "windows that only share ten seconds, to see what prompting is worth",
                **{"prompt.seconds": 0.0, "prompt.overlap": 10.0},
            ),
        )
    }
)


def resolve(
    name: str = DEFAULT, path: str | Path | None = None, changes: Mapping[str, Any] | None = None
) -> Pix2SeqConfig:
    """A preset with the values of a file and single changes on top. Raises `UsageError` or `ConfigError`."""
    return from_preset(PRESETS, name, path, changes)
