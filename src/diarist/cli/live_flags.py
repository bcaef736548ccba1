"""Flags of the live pipeline, shared by the commands that run it; diart's names hold where it has them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from diarist.cli.flags import add_config, given
from diarist.core.config import replace_from
from diarist.pipelines import live_presets
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.live_config import LiveConfig

KINDS = MappingProxyType(
    {
        "diarization": "diarization",
        "speech": "speech",
        "SpeakerDiarization": "diarization",
        "VoiceActivityDetection": "speech",
    }
)
"""What `--pipeline` takes, in our words and in diart's."""

_THRESHOLDS = {"tau_active": ("--tau",), "rho_update": ("--rho",), "delta_new": ("--delta",)}  # diart's older names
MODELS = {"segmentation.model": ("--segmentation",), "embedding.model": ("--embedding",)}
"""What diart calls the flags of our models."""
_SAME_WEIGHTS = {"pyannote/segmentation-3.0": "segmentation-3.0"}


def add_values(parser: argparse.ArgumentParser, title: str) -> None:
    """The values of a `LiveConfig` itself, for commands whose offline pipeline has flags for the models already."""
    add_config(parser, title, LiveConfig(), nested=False, aliases=_THRESHOLDS)


def add_pipeline(parser: argparse.ArgumentParser) -> None:
    """Which live pipeline: preset, preset file, kind, and what diart calls otherwise."""
    names = "; ".join(f"{p.name}: {p.summary}" for p in live_presets.LIVE_PRESETS.values())
    parser.add_argument(
        "--preset", default=live_presets.DEFAULT, metavar="NAME", help=f"{names}. Default {live_presets.DEFAULT}"
    )
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    parser.add_argument(
        "--pipeline",
        choices=KINDS,
        default="diarization",
        metavar="NAME",
        help="diarization (SpeakerDiarization, the default): who speaks; speech (VoiceActivityDetection): whether",
    )
    _add_machine(parser)


def add_scored(parser: argparse.ArgumentParser) -> None:
    """What diart's benchmark and tuner take of these, where who speaks is scored."""
    parser.add_argument(
        "--pipeline",
        choices=[name for name, kind in KINDS.items() if kind == "diarization"],
        metavar="NAME",
        help="diart's name for what is done here: SpeakerDiarization",
    )
    _add_machine(parser)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cpu", action="store_true", help="diart's name for --device cpu")
    parser.add_argument("--hf-token", metavar="TOKEN", help="for models of the hub that ask for one (HF_TOKEN)")


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every value of the runtime and of a `LiveConfig`."""
    add_config(parser, "speed", RuntimeConfig())
    add_config(
        parser,
        "the answer (defaults are those of balanced; a preset may change them)",
        LiveConfig(),
        aliases={**_THRESHOLDS, **MODELS},
    )


def config_of(args: argparse.Namespace) -> LiveConfig:
    """The preset, the preset file and the single values of a command line. Raises `UsageError`, `ConfigError`."""
    return live_presets.resolve_live(args.preset, args.preset_file, values_of(args, LiveConfig()))


def values_of(args: argparse.Namespace, config: Any) -> dict[str, Any]:
    """What was given of a configuration, models of diart's among it; the token for the hub is set."""
    remember_token(args)
    return plain_models(given(args, config))


def remember_token(args: argparse.Namespace) -> None:
    """Set the token for the hub, where one was given."""
    if args.hf_token and args.hf_token.lower() not in ("true", "false"):
        os.environ["HF_TOKEN"] = args.hf_token


def plain_models(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, models by our names where diart has another."""
    return {name: _SAME_WEIGHTS.get(value, value) if name in MODELS else value for name, value in values.items()}


def runtime_of(args: argparse.Namespace) -> RuntimeConfig:
    """How it runs. Raises `ConfigError`."""
    return replace_from(RuntimeConfig(device="cpu" if args.cpu else "auto"), given(args, RuntimeConfig()))
