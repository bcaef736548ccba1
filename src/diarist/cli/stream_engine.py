"""Which live pipeline a stream goes through: the clustering one, or an end-to-end model."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from diarist.cli.flags import add_config, flag_of
from diarist.cli.live_flags import KINDS, config_of, runtime_of, values_of
from diarist.core.config import walk
from diarist.errors import UsageError
from diarist.pipelines import live_presets
from diarist.pipelines.auto_presets import END_TO_END
from diarist.pipelines.endtoend_presets import NO_VOICES, EndToEndConfig
from diarist.pipelines.live_config import LiveConfig

if TYPE_CHECKING:
    from diarist.pipelines.endtoend_live import LiveEndToEnd
    from diarist.pipelines.streaming import LiveDiarizer

CLUSTERING = "clustering"


def add_engine(parser: argparse.ArgumentParser) -> None:
    """`--engine`, and the values of end-to-end engines that the live pipeline has not."""
    parser.add_argument(
        "--engine",
        choices=(CLUSTERING, *END_TO_END),
        default=CLUSTERING,
        metavar="NAME",
        help=f"{CLUSTERING} (default), or an end-to-end model: {', '.join(END_TO_END)}; their presets are those of "
        "'diarist run', default low-latency; --latency is theirs, too",
    )
    known = {name for name, _, _ in walk(LiveConfig())}
    add_config(parser, "the answer of end-to-end engines", EndToEndConfig(), known=known)


def live_of(args: argparse.Namespace) -> LiveDiarizer | LiveEndToEnd:
    """The live pipeline of a command line; models are not loaded yet. Raises `UsageError`, `ConfigError`."""
    ours, theirs = values_of(args, LiveConfig()), values_of(args, EndToEndConfig())
    if args.engine == CLUSTERING:
        _refuse(theirs, ours, f"an end-to-end engine: add --engine {' or '.join(END_TO_END)}")
        from diarist.pipelines.streaming import LiveDiarizer

        return LiveDiarizer(args.preset, config=config_of(args), runtime=runtime_of(args), kind=KINDS[args.pipeline])
    from diarist.pipelines.endtoend_live import DEFAULT, LiveEndToEnd

    if KINDS[args.pipeline] != "diarization":
        raise UsageError(f"--engine {args.engine} tells who speaks: leave out --pipeline")
    if "latency" in ours:
        theirs["network.latency"] = _seconds(ours.pop("latency"))
    _refuse(ours, theirs, "the clustering pipeline: leave out --engine")
    presets = END_TO_END[args.engine]
    preset = DEFAULT if args.preset == live_presets.DEFAULT else args.preset
    config = presets.resolve(preset, args.preset_file, theirs)
    return LiveEndToEnd(preset, config=config, runtime=runtime_of(args), presets=presets, engine=args.engine)


def weights_of(live: LiveDiarizer | LiveEndToEnd) -> list[str]:
    """What it runs, names of the catalogue among them."""
    config: Any = live.config
    if isinstance(config, EndToEndConfig):
        return [] if config.embedding.model == NO_VOICES else [config.embedding.model]
    return [config.segmentation.model, *([config.embedding.model] if live.kind == "diarization" else [])]


def latency_of(live: LiveDiarizer | LiveEndToEnd) -> float:
    """Seconds from a sound to its settled answer."""
    config: Any = live.config
    return float(config.network.latency if isinstance(config, EndToEndConfig) else config.latency_seconds)


def _refuse(given: dict[str, Any], others: dict[str, Any], whose: str) -> None:
    for name in given:
        if name not in others:
            raise UsageError(f"{flag_of(name)} is of {whose}")


def _seconds(latency: Any) -> float:
    try:
        return float(latency)
    except ValueError:
        raise UsageError(f"the latency of an end-to-end model is a number of seconds, not '{latency}'") from None
