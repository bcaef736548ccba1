"""`diarist tune AUDIO_DIR --reference RTTM_DIR --output DIR`: parameters that fit one's own recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diarist.cli.flags import add_config, flag_of
from diarist.cli.live_flags import MODELS, add_scored, add_values, runtime_of, values_of
from diarist.cli.scoring import add_scoring, convention_of
from diarist.core.config import read_preset, walk
from diarist.errors import DiaristError, UsageError
from diarist.pipelines import live_presets, presets
from diarist.pipelines.auto_presets import END_TO_END
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.endtoend_presets import EndToEndConfig
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_presets import LIVE_PRESETS

if TYPE_CHECKING:
    from diarist.evaluation.tune import Plan

CLUSTERING = "clustering"
_DIARTS = ("tau_active", "rho_update", "delta_new")
HELP = "find parameters that fit one's own recordings, and say whether the gain holds on others"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s AUDIO_DIR --reference RTTM_DIR --output DIR [options]"
    parser.add_argument("audio", metavar="AUDIO_DIR", type=Path, help="recordings, in this folder or those in it")
    parser.add_argument(
        "--reference", metavar="RTTM_DIR", type=Path, required=True, help="their turns: a file or a folder of files"
    )
    parser.add_argument(
        "--output",
        "-o",
        metavar="DIR",
        type=Path,
        required=True,
        help="preset.toml (for run --preset-file), report.json, trials.csv; also the study and what was heard",
    )
    parser.add_argument(
        "--engine",
        choices=(CLUSTERING, *END_TO_END),
        default=CLUSTERING,
        metavar="NAME",
        help=f"{CLUSTERING} (default), or an end-to-end engine, whose turns are tuned: {', '.join(END_TO_END)}",
    )
    parser.add_argument("--preset", metavar="NAME", help="where to start; default: the engine's own")
    parser.add_argument(
        "--live",
        action="store_true",
        help=f"tune the live pipeline, by what it settles on the way; --preset is one of {', '.join(LIVE_PRESETS)}. "
        f"Meant too where --params has one of {', '.join(_DIARTS)}, or a --batch-size is given",
    )
    add_scored(parser)
    parser.add_argument("--batch-size", metavar="N", type=int, help="diart's; changes nothing here")
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--json", action="store_true", help="print the report as JSON, not a table")
    _add_search(parser)
    add_scoring(parser, breakdown=False)
    add_config(parser, "speed", RuntimeConfig())
    add_values(parser, "the live answer at the start, with --live (defaults are those of balanced; models as below)")
    add_config(parser, "the answer at the start (defaults are those of balanced)", PipelineConfig(), aliases=MODELS)
    known = {name for config in (PipelineConfig(), LiveConfig()) for name, _, _ in walk(config)}
    add_config(parser, "the answer at the start, with an end-to-end engine", EndToEndConfig(), known=known)


def _add_search(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("search")
    group.add_argument(
        "--params",
        "--hparams",
        dest="params",
        nargs="+",
        metavar="NAME",
        help="what to tune, with commas or spaces between: clustering.threshold, or threshold where that is unique. "
        "Default: every field with a range of its own that the clustering method uses",
    )
    group.add_argument(
        "--range",
        dest="ranges",
        action="append",
        default=[],
        metavar="NAME=LOW:HIGH",
        help="also tune this, or within other bounds; LOW:HIGH:log is searched evenly in its logarithm; ONE,OTHER are "
        "choices. May be given again",
    )
    group.add_argument(
        "--num-trials", "--num-iter", dest="num_trials", metavar="N", type=int, default=100, help="default: 100"
    )
    group.add_argument(
        "--folds", metavar="N", type=int, default=5, help="parts to leave out in turn; 0: none. Default 5"
    )
    group.add_argument("--seed", metavar="N", type=int, default=0, help="default: 0")
    group.add_argument("--num-workers", metavar="N", type=int, default=1, help="processes (default: 1)")
    group.add_argument(
        "--storage",
        metavar="URL",
        help="database that workers share: postgresql://..., mysql://..., sqlite:///FILE. Default: SQLite in --output",
    )
    group.add_argument(
        "--study", metavar="NAME", help="name in the database; one that is there is resumed. Default: a fingerprint"
    )
    group.add_argument(
        "--heartbeat",
        metavar="SECONDS",
        type=int,
        default=5,
        help="between two signs of life of a trial: after four without one, it is tried again. Default: 5",
    )
    group.add_argument("--cache", metavar="DIR", type=Path, help="what was heard goes here. Default: --output/cache")


def run(args: argparse.Namespace) -> int:
    """Tune, write, print. Raises `DiaristError`."""
    from diarist.cli.progress import ProgressBar
    from diarist.evaluation.tune import tune

    wanted = _plan(args)

    def tell(text: str) -> None:
        if not args.quiet:
            print(f"diarist: {text}", file=sys.stderr, flush=True)

    tell(f"tuning {'; '.join(map(str, wanted.parameters))}")
    with ProgressBar() as bar:
        report = tune(wanted, tell, () if args.quiet else (bar,))
    if args.json:
        sys.stdout.write((wanted.output / "report.json").read_text(encoding="utf-8"))
    else:
        sys.stdout.write(report.to_text())
        command = "stream" if args.live else "run" if args.engine == CLUSTERING else f"run --engine {args.engine}"
        print(f"\ndiarist {command} --preset-file '{wanted.output / 'preset.toml'}' AUDIO{'' if args.live else ' ...'}")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    from diarist.evaluation.dataset import find_items, read_uem
    from diarist.evaluation.tune import plan

    if not 0 <= args.collar < float("inf"):
        raise UsageError(f"the collar must be 0 or more seconds, not {args.collar}")
    args.live = args.live or args.batch_size is not None or not set(_DIARTS).isdisjoint(_params(args))
    base = _base(args)
    preset, _ = read_preset(args.preset_file, _start(args))
    uem = read_uem(args.uem) if args.uem else None
    items, warnings = find_items(args.audio, args.reference, uem)
    for warning in warnings:
        print(f"diarist: warning: {warning}", file=sys.stderr)
    if not items:
        raise DiaristError(f"nothing to tune on: '{args.uem}' names no recording of '{args.audio}'")
    return plan(
        items,
        args.output,
        base,
        _params(args),
        _ranges(args.ranges),
        preset=preset,
        num_trials=args.num_trials,
        storage=args.storage,
        study=args.study,
        num_workers=args.num_workers,
        num_folds=args.folds,
        seed=args.seed,
        convention=convention_of(args),
        uem=uem,
        runtime=runtime_of(args),
        cache=args.cache,
        heartbeat=args.heartbeat,
    )


def _params(args: argparse.Namespace) -> list[str]:
    return [name for text in args.params or () for name in text.split(",") if name]


def _start(args: argparse.Namespace) -> str:
    """The preset to start from."""
    usual = presets.DEFAULT if args.engine == CLUSTERING else END_TO_END[args.engine].default
    return str(args.preset or usual)


def _base(args: argparse.Namespace) -> PipelineConfig | LiveConfig | EndToEndConfig:
    """Where to start: offline or, with --live, live, or an end-to-end engine. Raises `UsageError` for options of
    another pipeline."""
    end_to_end = values_of(args, EndToEndConfig())
    if args.engine != CLUSTERING:
        if args.live:
            raise UsageError(f"--live is of the live pipeline, not of --engine {args.engine}")
        stray = [n for c in (PipelineConfig(), LiveConfig()) for n in values_of(args, c) if n not in end_to_end]
        if stray:
            raise UsageError(f"{flag_of(stray[0])} is not of --engine {args.engine}")
        return END_TO_END[args.engine].resolve(_start(args), args.preset_file, end_to_end)
    return _clustering_base(args, list(end_to_end))


def _clustering_base(args: argparse.Namespace, others: list[str]) -> PipelineConfig | LiveConfig:
    live, offline = values_of(args, LiveConfig()), values_of(args, PipelineConfig())
    stray = [name for name in (offline if args.live else live) if name not in (live if args.live else offline)]
    if stray:
        which = "offline pipeline: leave out --live" if args.live else "live pipeline: add --live"
        raise UsageError(f"{flag_of(stray[0])} is of the {which}")
    if foreign := [name for name in others if name not in {**live, **offline}]:
        raise UsageError(f"{flag_of(foreign[0])} is of an end-to-end engine: add --engine {' or '.join(END_TO_END)}")
    if args.live:
        return live_presets.resolve_live(_start(args), args.preset_file, live)
    return presets.resolve(_start(args), args.preset_file, offline)


def _ranges(texts: list[str]) -> dict[str, str]:
    ranges = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--range takes NAME=LOW:HIGH or NAME=ONE,OTHER, not '{text}'")
        ranges[name.strip()] = value.strip()
    return ranges
