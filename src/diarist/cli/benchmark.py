"""`diarist benchmark AUDIO_DIR --reference RTTM_DIR`: how good, how fast and how large, over a data set."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.flags import add_config, given
from diarist.cli.scoring import add_scoring, convention_of
from diarist.core.events import Event
from diarist.errors import DiaristError, UsageError
from diarist.pipelines import presets
from diarist.pipelines.config import PipelineConfig, RuntimeConfig

if TYPE_CHECKING:
    from diarist.cli.progress import ProgressBar
    from diarist.evaluation.benchmark import Benchmark, Done
    from diarist.evaluation.dataset import Item
    from diarist.evaluation.systems import System

HELP = "errors, speed and memory of one or several systems over recordings with references"
LIVE = ("--step", "--latency", "--tau-active", "--tau", "--rho-update", "--rho", "--delta-new", "--delta")


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
    parser.add_argument("--num-workers", metavar="N", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--json", action="store_true", help="print JSON (rates are fractions of 1), not tables")
    _add_systems(parser)
    add_scoring(parser, breakdown=True)
    for flag in LIVE:
        parser.add_argument(flag, action=_Later, help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", action=_NoBatch, help=argparse.SUPPRESS)
    add_config(parser, "speed", RuntimeConfig())
    add_config(parser, "the answer of every --system (defaults are those of balanced)", PipelineConfig())


def _add_systems(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("systems (several are run one after the other and shown side by side)")
    group.add_argument(
        "--system",
        "--preset",
        "--preset-file",
        dest="systems",
        action="append",
        default=[],
        metavar="[NAME=]PRESET",
        help=f"{', '.join(presets.PRESETS)}, or a preset file (.toml, .json); may be given again. "
        f"Default {presets.DEFAULT}",
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


class _Later(argparse.Action):
    """diart's options of the live pipeline."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        raise UsageError(
            f"{option_string} belongs to the live pipeline, which comes with the streaming engine; offline, chunks "
            f"are --segmentation-step apart"
        )


class _NoBatch(argparse.Action):
    """diart's option, which can change nothing here."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        raise UsageError(
            "--batch-size means nothing here: batches are fixed; --num-workers and --num-threads go faster"
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
            num_workers=args.num_workers,
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
    """What was asked for, in the order given: presets and preset files, then commands."""
    from diarist.evaluation.attribute import Attributed
    from diarist.evaluation.systems import Command, Offline

    if args.attribute and args.commands:
        raise UsageError("--attribute swaps stages of our own pipeline: a --command has none to swap")
    changes, runtime = given(args, PipelineConfig()), _runtime(args)
    if args.commands and not args.systems and changes:
        raise UsageError("options of the answer change a --system, and only commands were given: add --system balanced")
    systems: list[System] = []
    for text in args.systems or ([] if args.commands else [presets.DEFAULT]):
        name, value = _named(text)
        file = Path(value) if value.lower().endswith((".toml", ".json")) else None
        config = presets.resolve(presets.DEFAULT if file else value, file, changes)
        offline = Offline(_free(name or (file.stem if file else value), systems, name), config, runtime)
        systems.append(Attributed(offline) if args.attribute else offline)
    for text in args.commands:
        name, template = _named(text)
        systems.append(Command(_free(name or _program(template), systems, name), template))
    return systems


def _runtime(args: argparse.Namespace) -> RuntimeConfig:
    """As given; workers share the cores, unless they were told how many to take."""
    from diarist.core.config import replace_from
    from diarist.pipelines.offline import num_cores

    if args.num_workers < 1:
        raise UsageError(f"--num-workers must be 1 or more, not {args.num_workers}")
    runtime = replace_from(RuntimeConfig(), given(args, RuntimeConfig()))
    share = max(1, num_cores() // args.num_workers)
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
