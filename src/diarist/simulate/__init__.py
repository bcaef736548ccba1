"""Conversations from single-speaker speech, from a seed: sound, who spoke when, and a recipe.

The door is lazy: the command line reads the configuration without loading what makes sound.
"""

from __future__ import annotations

import importlib
from typing import Any

_DOORS = {
    "Acoustics": "config",
    "SimulationConfig": "config",
    "Speech": "sources",
    "Statistics": "statistics",
    "TurnTaking": "config",
    "find_noise": "sources",
    "find_speakers": "sources",
    "simulate": "conversation",
    "simulate_many": "batch",
    "statistics_of": "statistics",
}

__all__ = list(_DOORS)


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module 'diarist.simulate' has no attribute '{name}'")
    return getattr(importlib.import_module(f"diarist.simulate.{_DOORS[name]}"), name)
