"""Flags of the engines: which one, its preset, and every value of its configuration."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from diarist.cli.engine_jobs import ORACLE, SPEECH_FILES, says_speech
from diarist.cli.flags import add_config, flag_of, given
from diarist.core.config import replace_from, walk
from diarist.engines import DEFAULT, ENGINES, Engine, engine
from diarist.errors import UsageError
from diarist.pipelines.config import RuntimeConfig

if TYPE_CHECKING:
    from diarist.pipelines.method import Method

CLUSTERING = "clustering"
_OF_SPEECH = ("vad", "manifest")  # arguments that only engines that are told of speech take


def add_engines(parser: argparse.ArgumentParser) -> None:
    """`--engine`, `--preset` and `--preset-file`."""
    parser.add_argument(
        "--engine",
        metavar="NAME",
        default=DEFAULT,
        help="the method: changes the answer. " + "; ".join(f"{e.name}: {e.summary}" for e in ENGINES.values()),
    )
    parser.add_argument("--preset", metavar="NAME", help=" ".join(map(_presets, ENGINES.values())))
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    parser.add_argument(
        "--show-config", action="store_true", help="print what the preset and the options come to, as TOML, and end"
    )


def _presets(engine: Engine) -> str:
    names = "; ".join(f"{p.name}: {p.summary}" for p in engine.presets.values())
    return f"{'' if engine.name == DEFAULT else f'Of {engine.name}: '}{names}. Default {engine.default}."


def add_answers(
    parser: argparse.ArgumentParser, *, aliases: Mapping[str, Any] = MappingProxyType({}), known: Iterable[str] = ()
) -> None:
    """A flag for every value of every engine's configuration; what several engines have is one flag, and those that
    are `known` have one already."""
    first, *others = ENGINES.values()
    title = f"the answer (defaults are those of {first.default}; a preset may change them)"
    known = set(known)
    add_config(parser, title, first.config(), aliases=aliases, known=known)
    known |= {name for name, _, _ in walk(first.config())}
    for other in others:
        title = f"{other.name} (defaults are those of {other.default}; a preset may change them)"
        add_config(parser, title, other.config(), known=known)
        known |= {name for name, _, _ in walk(other.config())}


def add_speech(parser: argparse.ArgumentParser) -> None:
    """What engines take that can be told where there is speech (`--vad` is taken by clustering, too)."""
    group = parser.add_argument_group("speech")
    group.add_argument(
        "--vad",
        metavar="MODEL|FILE",
        help="who says where there is speech: silero, segmentation, marblenet, a name of NeMo, an ONNX or .nemo file; "
        "or a file of stretches "
        f"({', '.join(SPEECH_FILES)}); or '{ORACLE}': the RTTM that the manifest names, or beside the recording",
    )
    group.add_argument("--manifest", metavar="FILE", help="NeMo's list of recordings: a JSON object a line")
    group.add_argument(
        "--accept-licence",
        action="store_true",
        help="use weights whose package does not state a licence (marblenet): you have cleared it",
    )


def diarizer_of(args: argparse.Namespace) -> Method[Any]:
    """The diarizer that the arguments ask for. Raises `UsageError` where they belong to another engine."""
    from diarist.models.vad import ACCEPT

    if args.accept_licence:
        os.environ[ACCEPT] = ",".join(filter(None, [os.environ.get(ACCEPT), "marblenet-vad"]))
    chosen = engine(args.engine)
    changes = _vad_changes(args, chosen)
    if not chosen.hears_speech:
        _refuse([f"--{name}" for name in _OF_SPEECH if getattr(args, name) is not None], chosen, _telling())
    if chosen.name != CLUSTERING and args.channels_are_speakers:
        _refuse(["--channels-are-speakers"], chosen, [CLUSTERING])
    changes = {**changes_of(args, [chosen])[chosen.name], **changes}
    preset = args.preset or chosen.default
    config = chosen.resolve(preset, args.preset_file, changes)
    return chosen.build(preset, config=config, runtime=replace_from(RuntimeConfig(), given(args, RuntimeConfig())))


def changes_of(args: argparse.Namespace, engines: Iterable[Engine]) -> dict[str, dict[str, Any]]:
    """What was given on the command line of each of these engines' configurations, by dotted name.

    Raises `UsageError` for what none of them has, but another engine.
    """
    engines = list(engines)
    found = {one.name: given(args, one.config()) for one in engines}
    taken = {name for changes in found.values() for name in changes}
    for other in ENGINES.values():
        if stray := sorted(given(args, other.config()).keys() - taken):
            owners = [e.name for e in ENGINES.values() if stray[0] in {name for name, _, _ in walk(e.config())}]
            _refuse([flag_of(stray[0])], engines[0], owners)
    return found


def _vad_changes(args: argparse.Namespace, chosen: Engine) -> dict[str, Any]:
    """What `--vad MODEL` means: a value of the configuration; a file of stretches is left where it is."""
    name = args.vad
    if name is None or name == ORACLE or says_speech(name):
        return {}
    if chosen.name == CLUSTERING:
        args.vad = None
        return {"segmentation.vad": "none" if name == "segmentation" else name}
    return {"vad.model": name} if chosen.hears_speech else {}


def _telling() -> list[str]:
    return [one.name for one in ENGINES.values() if one.hears_speech]


def _refuse(flags: list[str], chosen: Engine, owners: list[str]) -> None:
    """Raise `UsageError` where flags of other engines were given."""
    if flags:
        raise UsageError(f"{flags[0]} belongs to --engine {' or '.join(owners)}, not to {chosen.name}")
