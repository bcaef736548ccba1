"""The flags of every command that scores, so that they mean the same everywhere."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diarist.evaluation.report import Convention


def add_scoring(parser: argparse.ArgumentParser, *, breakdown: bool) -> None:
    """`--uem`, `--collar`, `--skip-overlap`, `--reference-kind` and, with `breakdown`, `--by`."""
    group = parser.add_argument_group("scoring")
    group.add_argument("--uem", metavar="FILE", type=Path, help="only the regions, and recordings, of a UEM file")
    group.add_argument(
        "--collar",
        metavar="SECONDS",
        type=float,
        default=0.0,
        help="leave out this much around each boundary of the reference: the whole width, half on each side "
        "(NIST's 0.25 is 0.5 here). Default: 0",
    )
    group.add_argument("--skip-overlap", action="store_true", help="leave out where two or more speakers talk at once")
    group.add_argument(
        "--reference-kind",
        metavar="TEXT",
        default="not stated",
        help="how the reference was made (manual, forced-alignment, ...): printed with the figures",
    )
    if breakdown:
        group.add_argument(
            "--by",
            action="append",
            choices=("speakers", "overlap"),
            default=[],
            help="break the figures of a single system down; may be given twice",
        )


def convention_of(args: argparse.Namespace) -> Convention:
    """What the flags of `add_scoring` say."""
    from diarist.evaluation.report import Convention

    return Convention(args.collar, args.skip_overlap, args.uem and args.uem.name, args.reference_kind)
