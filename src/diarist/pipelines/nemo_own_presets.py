"""NeMo's recipes with the models that they name: what `--engine nemo` starts from.

They differ from those of `nemo_presets` in nothing but `vad.model` and `embedding.model`, which are NVIDIA's and run by
NeMo: MarbleNet and TitaNet, as in all three of `diar_infer_general.yaml`, `..._meeting.yaml`, `..._telephonic.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import replace_from
from diarist.pipelines import nemo_presets
from diarist.pipelines.nemo_presets import NemoPreset, NemoStyleConfig

VAD, SPEAKER = "vad_multilingual_marblenet", "titanet_large"
MODELS: Mapping[str, str] = MappingProxyType({"vad.model": VAD, "embedding.model": SPEAKER})

PRESETS: Mapping[str, NemoPreset] = MappingProxyType(
    {name: replace(preset, config=replace_from(preset.config, MODELS)) for name, preset in nemo_presets.PRESETS.items()}
)
DEFAULT = nemo_presets.DEFAULT


def resolve(
    name: str = DEFAULT, file: str | Path | None = None, changes: Mapping[str, Any] | None = None
) -> NemoStyleConfig:
    """A preset, changed by a preset file, changed by single values; see `nemo_presets.resolve`. Raises as it does."""
    return nemo_presets.resolve(name, file, changes, MODELS)
