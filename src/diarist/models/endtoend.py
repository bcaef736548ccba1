"""End-to-end models: sound in, activity of all speakers out. From a name to a model, whoever made it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from diarist.core.config import nearest
from diarist.core.protocols import EndToEndModel
from diarist.core.types import Float32
from diarist.errors import UsageError


@dataclass(frozen=True)
class Family:
    """Models of one architecture: who loads them, and what its users call them.

    `load(model, latency=..., device=..., offline=...)` of `module` gives an `EndToEndModel`. `model` is `default` where
    the family's name is all that was given; `names` are further words for ids of the hub. `latencies` are those that
    the publisher names, in seconds.
    """

    module: str
    default: str
    latencies: tuple[float, ...]
    names: Mapping[str, str] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "nemotron": Family("diarist.models.nemotron", "nvidia/Nemotron-3-Diarization", (0.32, 0.64, 1.04, 30.4)),
        "sortformer": Family(
            "diarist.models.sortformer",
            "nvidia/diar_streaming_sortformer_4spk-v2",
            (0.32, 1.04, 10.0, 30.4),
            {
                "v1": "nvidia/diar_sortformer_4spk-v1",
                "v2": "nvidia/diar_streaming_sortformer_4spk-v2",
                "v2.1": "nvidia/diar_streaming_sortformer_4spk-v2.1",
            },
        ),
    }
)
"""What `model` may begin with: `nemotron`, or `nemotron:FILE-OR-ID` for other weights of that family."""


def load_endtoend(model: str, *, latency: float, device: str = "auto", offline: bool = False) -> EndToEndModel[Any]:
    """The model of that name: a family (`nemotron`), or family and weights (`nemotron:./folder`, `nemotron:org/name`).

    `latency` in seconds is one of those that the family has. Raises `UsageError` for names and latencies that are not,
    `WeightsError` for weights that cannot be had, `ExtraError` for a package that is missing.
    """
    family, weights = parts(model)
    build = importlib.import_module(family.module).load
    loaded: EndToEndModel[Any] = build(weights, latency=latency, device=device, offline=offline)
    return loaded


def parts(model: str) -> tuple[Family, str]:
    """The family of a model, and its weights: a path or an id of the hub. Raises `UsageError` for another form."""
    name, _, weights = model.partition(":")
    if name not in FAMILIES:
        raise UsageError(f"unknown end-to-end model '{model}'{nearest(name, FAMILIES)} (or FAMILY:FILE-OR-HUB-ID)")
    family = FAMILIES[name]
    return family, family.names.get(weights, weights) or family.default


def nearest_latency(asked: float, offered: tuple[float, ...], name: str | Path) -> float:
    """The latency that is offered and equals the one asked for. Raises `UsageError` naming those that there are."""
    for latency in offered:
        if abs(latency - asked) < 0.005:
            return latency
    known = ", ".join(f"{latency:g}" for latency in offered)
    raise UsageError(f"'{name}' has no latency of {asked:g} s: it has {known}")


def check_samples(samples: Any) -> Float32:
    """Samples `(num_samples,)` as float32. Raises `UsageError` for what is no finite mono sound in floats."""
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise UsageError(f"sound is (num_samples,) of floats, not {array.shape} of {array.dtype}")
    found = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(found).all():
        raise UsageError("sound has samples that are not finite")
    return found
