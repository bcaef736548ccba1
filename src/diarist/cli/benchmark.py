"""`diarist benchmark AUDIO_DIR --reference RTTM_DIR`: how good, how fast and how large, over a data set."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.engine_flags import add_answers, changes_of
from diarist.cli.flags import add_config, flag_of, given
from diarist.cli.live_flags import MODELS, add_scored, add_values, plain_models, remember_token, runtime_of, values_of
from diarist.cli.scoring import add_scoring, convention_of
from diarist.core.events import Event
from diarist.engines import DEFAULT, ENGINES, Engine, engine
from diarist.errors import DiaristError, UsageError
from diarist.pipelines import live_presets, presets
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_presets import LIVE_PRESETS

if TYPE_CHECKING:
    from diarist.cli.progress import ProgressBar
    from diarist.evaluation.benchmark import Benchmark, Done
    from diarist.evaluation.dataset import Item
    from diarist.evaluation.systems import System

HELP = "errors, speed and memory of one or several systems over recordings with references"
_SHARED = ("segmentation.model", "segmentation.precision", "embedding.model", "embedding.precision")  # with LiveConfig


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s AUDIO_DIR --reference RTTM_DIR [options]"
    parser.add_argument("audio", metavar="AUDIO_DIR", type=Path, help="recordings, in this folder or those in it")
    parser.add_argument(
        "--reference", metavar="RTTM_DIR", type=Path, required=True, help="their turns: a file or a folder of files"
    )
    parser.add_argument(
        "--output", "-o", metavar="DIR", type=Path, help="write turns, report.json, report.csv; what is there is kept"
    )
    parser.add_argument("--overwrite", action="store_true", help="do everything again, whatever is in --output")
    parser.add_argument("--num-workers", metavar="N", type=int, default=1, help="processes (default: 1; 0 is 1)")
    parser.add_argument("--json", action="store_true", help="print JSON (rates are fractions of 1), not tables")
    _add_systems(parser)
    add_scored(parser)
    add_scoring(parser, breakdown=True)
    add_config(parser, "speed", RuntimeConfig())
    add_values(parser, "the answer of every --live (defaults are those of balanced; models as below)")
    add_answers(parser, aliases=MODELS)


def _add_systems(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("systems (several are run one after the other and shown side by side)")
    group.add_argument(
        "--system",
        "--preset",
        "--preset-file",
        dest="systems",
        action="append",
        default=[],
        metavar="[NAME=][ENGINE:]PRESET",
        help=f"{', '.join(presets.PRESETS)}, a preset of another engine (nemo-style:meeting), or a preset file (.toml, "
        f".json); may be given again. Default: the engine's own, {presets.DEFAULT} of {DEFAULT}",
    )
    group.add_argument(
        "--engine", metavar="NAME", default=DEFAULT, help=f"of a --system that names none: {', '.join(ENGINES)}"
    )
    group.add_argument(
        "--live",
        dest="live",
        action="append",
        default=[],
        metavar="[NAME=]PRESET",
        help=f"a live pipeline, fed step by step: {', '.join(LIVE_PRESETS)}, or a preset file; may be given again. "
        "--step, --latency, --tau-active, --batch-size and so on mean one live pipeline, where nothing else is named",
    )
    group.add_argument(
        "--batch-size",
        metavar="N",
        type=int,
        default=1,
        help="steps that a --live is given at once: the same answer, sooner; each then counts as its share. Default 1",
    )
    group.add_argument(
        "--command",
        dest="commands",
        action="append",
        default=[],
        metavar="[NAME=]TEMPLATE",
        help="another program: 'tool {audio} -o {rttm}'; {audio}, {rttm} and {uri} are filled in, and without {rttm} "
        "its standard output is read. No shell is involved. May be given again",
    )
    group.add_argument(
        "--attribute", action="store_true", help="swap stages of --system for oracles, and say where errors come from"
    )


def run(args: argparse.Namespace) -> int:
    """Run, write, print; 1 where a recording failed. Raises `DiaristError`."""
    from diarist.evaluation import benchmark, benchmark_report
    from diarist.evaluation.dataset import find_items, read_uem
    from diarist.formats.writing import write_text

    convention = convention_of(args)
    if not 0 <= args.collar < float("inf"):
        raise UsageError(f"the collar must be 0 or more seconds, not {args.collar}")
    systems = _systems(args)
    uem = read_uem(args.uem) if args.uem else None
    items, warnings = find_items(args.audio, args.reference, uem)
    if not items:
        raise DiaristError(f"nothing to run: '{args.uem}' names no recording of '{args.audio}'")
    _make_folder(args.output)
    with _progress(items, len(systems) > 1) as progress:
        done = benchmark.run(
            systems,
            items,
            convention=convention,
            uem=uem,
            output=args.output,
            num_workers=args.num_workers or 1,
            overwrite=args.overwrite,
            tell=progress,
            warnings=warnings,
        )
    for warning in done.warnings:
        print(f"diarist: warning: {warning}", file=sys.stderr)
    if args.output is not None:
        write_text(args.output / "report.json", benchmark_report.to_json(done))
        write_text(args.output / "report.csv", benchmark_report.to_csv(done))
    return _print(done, args)


def _print(done: Benchmark, args: argparse.Namespace) -> int:
    from diarist.evaluation import benchmark_report

    sys.stdout.write(benchmark_report.to_json(done) if args.json else benchmark_report.to_text(done, args.by))
    if done.failed:
        num = sum(len(o.report.files) + len(o.failed) for o in done.outcomes)
        print(f"diarist: {done.failed} of {num} answers failed", file=sys.stderr)
    return 1 if done.failed else 0


def _systems(args: argparse.Namespace) -> list[System]:
    """What was asked for, in the order given: presets and preset files, then live ones, then commands."""
    from diarist.evaluation.systems import Command

    live = {name: value for name, value in given(args, LiveConfig()).items() if "." not in name}
    if (live or args.batch_size > 1) and not (args.systems or args.live or args.commands):
        args.live = [live_presets.DEFAULT]
    _check_systems(args, live)
    remember_token(args)
    runtime = _runtime(args)
    systems = _offline_systems(args, runtime)
    systems += _live_systems(args, systems, runtime)
    for text in args.commands:
        name, template = _named(text)
        systems.append(Command(_free(name or _program(template), systems, name), template))
    return systems


def _offline_systems(args: argparse.Namespace, runtime: RuntimeConfig) -> list[System]:
    """Every `--system`, or the default one where nothing at all was asked for."""
    from diarist.evaluation.attribute import Attributed
    from diarist.evaluation.systems import Offline, Whole

    systems: list[System] = []
    asked = [_asked(text, args) for text in args.systems or ([] if args.live or args.commands else [""])]
    changes = changes_of(args, [one for _, one, _ in asked] or [engine(args.engine)])
    for name, one, text in asked:
        file = Path(text) if text.lower().endswith((".toml", ".json")) else None
        config = one.resolve(one.default if file else text or one.default, file, plain_models(changes[one.name]))
        label = file.stem if file else text or one.default
        label = _free(name or (label if one.name == DEFAULT else f"{one.name}-{label}"), systems, name)
        if one.name == DEFAULT:
            offline = Offline(label, config, runtime)
            systems.append(Attributed(offline) if args.attribute else offline)
        elif args.attribute:
            raise UsageError(f"--attribute swaps stages of the engine {DEFAULT}: {one.name} has others")
        else:
            systems.append(Whole(label, one.name, config, runtime))
    return systems


def _asked(text: str, args: argparse.Namespace) -> tuple[str | None, Engine, str]:
    """`name=engine:preset`: the name where one was chosen, the engine, and the preset or its file."""
    name, value = _named(text)
    head, colon, rest = value.partition(":")
    return (name, ENGINES[head], rest) if colon and head in ENGINES else (name, engine(args.engine), value)


def _check_systems(args: argparse.Namespace, live: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options that would change nothing."""
    if args.attribute and (args.commands or args.live):
        other = "a --command" if args.commands else "a --live"
        raise UsageError(f"--attribute swaps stages of our offline pipeline: {other} has none to swap")
    if args.batch_size < 1:
        raise UsageError(f"--batch-size must be 1 or more, not {args.batch_size}")
    if args.batch_size > 1 and not args.live:
        raise UsageError("--batch-size is of a --live, and none was given; --num-workers and --num-threads go faster")
    if live and not args.live:
        raise UsageError(f"{flag_of(next(iter(live)))} changes a --live, and none was given")
    changes = [name for name in given(args, PipelineConfig()) if not args.live or name not in _SHARED]
    if changes and (args.commands or args.live) and not args.systems:
        raise UsageError(f"{flag_of(changes[0])} changes a --system, and none was given: add --system balanced")


def _live_systems(args: argparse.Namespace, before: Sequence[System], runtime: RuntimeConfig) -> list[System]:
    from diarist.evaluation.live import Live

    changes, systems = values_of(args, LiveConfig()), list(before)
    for text in args.live:
        name, value, file = _preset_of(text)
        config = live_presets.resolve_live(live_presets.DEFAULT if file else value, file, changes)
        label = name or f"live-{file.stem if file else value}"
        systems.append(Live(_free(label, systems, name), config, runtime, batch_size=args.batch_size))
    return systems[len(before) :]


def _preset_of(text: str) -> tuple[str | None, str, Path | None]:
    """`name=preset`: the name, the preset, and the file where it is one."""
    name, value = _named(text)
    return name, value, Path(value) if value.lower().endswith((".toml", ".json")) else None


def _runtime(args: argparse.Namespace) -> RuntimeConfig:
    """As given; workers share the cores, unless they were told how many to take."""
    from diarist.pipelines.workers import num_cores

    if args.num_workers < 0:
        raise UsageError(f"--num-workers must be 1 or more, not {args.num_workers}")
    runtime = runtime_of(args)
    share = max(1, num_cores() // (args.num_workers or 1))
    return runtime if runtime.num_threads else dataclasses.replace(runtime, num_threads=share)


def _named(text: str) -> tuple[str | None, str]:
    """`name=value`, or just a value."""
    match = re.match(r"([\w.+-]+)=(?=\S)", text)
    return (match[1], text[match.end() :]) if match else (None, text)


def _program(template: str) -> str:
    try:
        return Path(shlex.split(template)[0]).name
    except (ValueError, IndexError):
        return "command"  # which then says what is wrong with it


def _free(name: str, systems: Sequence[System], chosen: str | None) -> str:
    """The name or, where it is taken and nobody chose it, the name with a number."""
    taken = {system.name for system in systems}
    if name not in taken:
        return name
    if chosen is not None:
        raise UsageError(f"two systems are called '{name}': give one another name")
    return next(f"{name}-{i}" for i in range(2, len(systems) + 2) if f"{name}-{i}" not in taken)


def _make_folder(path: Path | None) -> None:
    try:
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiaristError(f"cannot make the folder '{path}': {error.strerror}") from error


class _Progress:
    """A bar over all recordings of a system; failures and warnings as they come."""

    def __init__(self, bar: ProgressBar, items: Sequence[Item], several: bool) -> None:
        self.bar, self.several = bar, several
        self._ends = {item.uri: max((t.end for t in item.reference), default=0.0) for item in items}
        self._system: str | None = None

    def __enter__(self) -> _Progress:
        self.bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.__exit__(*error)

    def __call__(self, done: Done) -> None:
        """Show one more recording: lengths that are not known yet are those of the reference."""
        if done.system != self._system:
            self._system, self._left, self._heard = done.system, dict(self._ends), 0.0
            self.bar(Event(done.system, "start"))
        self._left.pop(done.item.uri, None)
        if not done.again:
            self._heard += done.cost.audio
        self.bar(Event(done.system, "progress", done=self._heard, total=self._heard + sum(self._left.values())))
        name = f"{done.system}: {done.item.uri}" if self.several else done.item.uri
        told = [f"error: {name}: {done.failed}"] if done.failed else []
        told += [f"warning: {name}: {warning}" for warning in done.warnings]
        if told:
            self.bar.clear()
        for line in told:
            print(f"diarist: {line}", file=sys.stderr)


def _progress(items: Sequence[Item], several: bool) -> _Progress:
    from diarist.cli.progress import ProgressBar

    return _Progress(ProgressBar(), items, several)
