"""`diarist score`: how far a diarization is from a reference."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diarist.cli.scoring import add_scoring, convention_of
from diarist.errors import InputError, UsageError

if TYPE_CHECKING:
    from diarist.core.types import Diarization
    from diarist.evaluation.report import Report
    from diarist.evaluation.score import Span

    Pairs = Sequence[tuple[Diarization, Diarization]]

HELP = "compare with reference turns: DER, JER, number of speakers; a table, JSON, CSV, a picture"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    kinds = "a file of one or many recordings (RTTM or any other readable format), or a folder of them"
    parser.add_argument("reference", metavar="REF", type=Path, help=f"reference turns: {kinds}")
    parser.add_argument("hypothesis", metavar="HYP", type=Path, help=f"the turns to judge: {kinds}")
    add_scoring(parser, breakdown=True)
    parser.add_argument("--json", action="store_true", help="print JSON (rates are fractions of 1), not a table")
    parser.add_argument("--csv", metavar="FILE", help="write a row for each recording as CSV; - prints it, not a table")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="picture of one recording's errors (png, svg or pdf)")
    parser.add_argument("--plot-dir", metavar="DIR", type=Path, help="a picture (png) of each recording's errors")


def run(args: argparse.Namespace) -> int:
    """Score, draw, write, print; 0 where all is well. Raises `DiaristError`: what is wrong with the call or a file."""
    from diarist.evaluation.dataset import read_uem
    from diarist.evaluation.pairing import pair, read_recordings
    from diarist.evaluation.report import score_files
    from diarist.formats.writing import write_text

    if args.json and args.csv == "-":
        raise UsageError("--json and --csv - both print: choose one, or give --csv a file")
    convention = convention_of(args)
    uem = read_uem(args.uem) if args.uem else None
    pairs, warnings = pair(read_recordings(args.reference), read_recordings(args.hypothesis))
    report = score_files(pairs, convention, uem, warnings)
    if not report.files:
        raise InputError(f"nothing to score: '{args.uem}' names no recording of '{args.reference}'")
    _draw(args, pairs, report, uem)
    if args.csv and args.csv != "-":
        write_text(args.csv, report.to_csv())
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    sys.stdout.write(report.to_csv() if args.csv == "-" else report.to_json() if args.json else report.to_text(args.by))
    return 0


def _draw(args: argparse.Namespace, pairs: Pairs, report: Report, uem: Mapping[str, Sequence[Span]] | None) -> None:
    """The pictures that `--plot` and `--plot-dir` ask for, of what was scored."""
    if args.plot is None and args.plot_dir is None:
        return
    from diarist.evaluation.plot import save_plot
    from diarist.evaluation.report import compare_by
    from diarist.formats.writing import safe_name

    scored = [(reference, hypothesis) for reference, hypothesis in pairs if reference.uri in report.files]
    if args.plot is not None and len(scored) != 1:
        raise UsageError(f"--plot draws one recording and here are {len(scored)}: give --plot-dir DIR instead")
    if args.plot_dir is not None:
        _make_folder(args.plot_dir)
    num_drawn = 0
    for reference, hypothesis in scored:
        comparison = compare_by(report.convention, reference, hypothesis, uem)
        if args.plot is not None:
            save_plot(comparison, args.plot, report.convention)
        if args.plot_dir is not None and len(comparison.edges):  # nothing to see where nobody talks
            save_plot(comparison, args.plot_dir / f"{safe_name(reference.uri)}.png", report.convention)
            num_drawn += 1
    if args.plot_dir is not None:
        print(f"{num_drawn} pictures in '{args.plot_dir}'", file=sys.stderr)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{path}': {error.strerror}") from error
