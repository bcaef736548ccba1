"""Named configurations of streams. What each costs and how right it is: `docs/guide/live.md`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import by_name, from_preset, replace_from
from diarist.pipelines.live_config import LiveConfig

DEFAULT = "balanced"
_OWN = "thresholds chosen on simulated conversations: docs/adr/0005-live.md"
_PAPER = "Coria et al., ASRU 2021, as diart's README lists them; their networks were others: see docs/guide/live.md"


@dataclass(frozen=True)
class LivePreset:
    """A configuration with a name, a line that says when to take it, and what it follows."""

    name: str
    summary: str
    source: str
    config: LiveConfig


def _preset(name: str, summary: str, source: str, changes: Mapping[str, Any]) -> LivePreset:
    return LivePreset(name, summary, source, replace_from(LiveConfig(), changes))


def _diart(name: str, corpus: str, tau: float, rho: float, delta: float, latency: float | None = None) -> LivePreset:
    changes = {"tau_active": tau, "rho_update": rho, "delta_new": delta, "latency": latency, "recluster": 0.0}
    return _preset(name, f"diart's thresholds for {corpus}", _PAPER, changes)


LIVE_PRESETS: Mapping[str, LivePreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _preset(
                "fast",
                "half the cost of balanced: looks of 3 s, embeddings once a second",
                _OWN,
                {
                    "segmentation.window": 3.0,
                    "embedding": {"context": 0.0, "hop": 1.0},
                    "evidence": 5.0,
                    "recluster": 30.0,
                },
            ),
            _preset("balanced", "the default", _OWN, {}),
            _diart("dihard3", "DIHARD III", 0.555, 0.422, 1.517),
            _diart("ami", "AMI", 0.507, 0.006, 1.057),
            _diart("voxconverse", "VoxConverse", 0.576, 0.915, 0.648),
            _diart("dihard2-1s", "DIHARD II at a latency of 1 s", 0.619, 0.326, 0.997, 1.0),
            _diart("dihard2-5s", "DIHARD II at a latency of 5 s", 0.555, 0.422, 1.517, 5.0),
        )
    }
)


def live_preset(name: str) -> LivePreset:
    """The preset of that name. Raises `UsageError` naming the nearest."""
    return by_name(LIVE_PRESETS, name, "live preset")


def resolve_live(
    name: str = DEFAULT, file: str | Path | None = None, changes: Mapping[str, Any] | None = None
) -> LiveConfig:
    """A preset, changed by a preset file (TOML or JSON), changed by single values; later ones win.

    A file may name the preset it starts from: `preset = "fast"`. Raises `UsageError`, `ConfigError`.
    """
    return from_preset(LIVE_PRESETS, name, file, changes, "live preset")
