"""`diarist score-words`: how right the words of a transcript are, and whose they are."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.errors import InputError, UsageError

if TYPE_CHECKING:
    from diarist.core.types import Transcript
    from diarist.words.scoring import Errors, WordScore

HELP = "compare transcripts with speakers: WDER, cpWER, tcpWER; a table or JSON"
ALL = "all"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist.words import formats
    from diarist.words.scoring import COLLAR

    known = sorted((*formats.FORMATS, *formats.ALIASES))
    parser.add_argument("reference", metavar="REF", type=Path, help="the transcript that is right, with speakers")
    parser.add_argument("hypothesis", metavar="HYP", type=Path, help="the transcript to judge")
    parser.add_argument("--ref-from", choices=known, metavar="FORMAT", help="what REF is; default: look")
    parser.add_argument("--hyp-from", choices=known, metavar="FORMAT", help="what HYP is; default: look")
    parser.add_argument(
        "--collar",
        type=float,
        default=COLLAR,
        metavar="SECONDS",
        help=f"words further apart than this cannot be the same (tcpWER, WDER); default {COLLAR:g}",
    )
    parser.add_argument(
        "--exact", action="store_true", help="compare words as written, not without case and punctuation"
    )
    parser.add_argument("--json", action="store_true", help="print JSON (rates are fractions of 1), not a table")


def run(args: argparse.Namespace) -> int:
    """Read, score, print; 0 where all is well. Raises `DiaristError`."""
    from diarist.words import formats
    from diarist.words.scoring import score_words

    if not (args.collar >= 0 and math.isfinite(args.collar)):
        raise UsageError(f"--collar must be 0 or more seconds, not {args.collar:g}")
    references = {t.uri: t for t in formats.read(args.reference, args.ref_from)}
    hypotheses = {t.uri: t for t in formats.read(args.hypothesis, args.hyp_from)}
    pairs = _paired(references, hypotheses)
    scores = {
        uri: score_words(reference, hypothesis, collar=args.collar, exact=args.exact)
        for uri, (reference, hypothesis) in pairs.items()
    }
    sys.stdout.write(_json(scores, args.collar) if args.json else _table(scores))
    return 0


def _paired(
    references: Mapping[str, Transcript], hypotheses: Mapping[str, Transcript]
) -> dict[str, tuple[Transcript, Transcript]]:
    """Transcripts of the same recording; a reference without counterpart is compared with an empty transcript."""
    from diarist.core.types import Transcript

    if len(references) == len(hypotheses) == 1:
        return {uri: (reference, next(iter(hypotheses.values()))) for uri, reference in references.items()}
    if not set(references) & set(hypotheses):
        here, there = (", ".join(list(names)[:5]) for names in (references, hypotheses))
        raise InputError(f"no recording is in both: the reference has {here}, the hypothesis {there}")
    for name in set(references) ^ set(hypotheses):
        side = "hypothesis" if name in references else "reference"
        print(f"diarist: warning: '{name}' is not in the {side}", file=sys.stderr)
    return {uri: (reference, hypotheses.get(uri, Transcript(uri=uri))) for uri, reference in references.items()}


def _whole(scores: Mapping[str, WordScore]) -> WordScore:
    first, *rest = scores.values()
    for score in rest:
        first = first + score
    return first


def _table(scores: Mapping[str, WordScore]) -> str:
    """A row for each recording, and one for all of them; rates in percent."""
    rows = [["recording", "words", "WDER %", "cpWER %", "sub", "del", "ins", "tcpWER %"]]
    for name, score in {**scores, **({ALL: _whole(scores)} if len(scores) > 1 else {})}.items():
        counts = (score.cp.substitutions, score.cp.deletions, score.cp.insertions)
        tcp = _percent(score.tcp.rate) if score.tcp is not None else "no times"
        rates = (_percent(score.wder), _percent(score.cp.rate))
        rows.append([name, str(score.cp.length), *rates, *map(str, counts), tcp])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    )
    return "\n".join("  ".join(line) for line in lines) + "\n"


def _percent(rate: float) -> str:
    return "-" if math.isnan(rate) else f"{100 * rate:.2f}"


def _json(scores: Mapping[str, WordScore], collar: float) -> str:
    document = {
        "collar": collar,
        "recordings": {name: _plain(score) for name, score in scores.items()},
        ALL: _plain(_whole(scores)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(score: WordScore) -> dict[str, Any]:
    return {
        "wder": _number(score.wder),
        "aligned": score.aligned,
        "misattributed": score.misattributed,
        "cpwer": _errors(score.cp),
        "tcpwer": None if score.tcp is None else _errors(score.tcp),
    }


def _errors(errors: Errors) -> dict[str, Any]:
    return {
        "rate": _number(errors.rate),
        "length": errors.length,
        "substitutions": errors.substitutions,
        "deletions": errors.deletions,
        "insertions": errors.insertions,
    }


def _number(rate: float) -> float | None:
    return None if math.isnan(rate) else rate
