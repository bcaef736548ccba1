"""Does a turn's confidence mean something? How often turns are right, by confidence.

    python benchmarks/confidence.py ../shared/data/dev [more folders]

A turn is as right as the share of it in which the reference has the same person talking (after the optimal one-to-one
mapping of speakers). Prints a markdown table.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

from diarist import Diarization, Diarizer, Turn, formats
from diarist.evaluation.score import compare
from recordings import find

EDGES = (0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("../shared/data/dev")])
    parser.add_argument("--preset", default="balanced")
    args = parser.parse_args()
    found = find([folder for folder in args.folders if folder.is_dir()])
    if not found:
        print("no recordings with an RTTM beside them: nothing to measure", file=sys.stderr)
        return 0
    diarizer = Diarizer(args.preset)
    rows: list[tuple[float, float, float]] = []
    for _, audio, reference in found:
        answer = diarizer(audio)
        (truth,) = formats.read(reference)
        mapping = compare(truth, answer).mapping
        rows += [(t.confidence, t.duration, right(t, mapping.get(t.speaker), truth)) for t in answer]
    confidence, duration, correct = np.array(rows).T
    print(f"{len(found)} recordings, preset {args.preset}.\n")
    print("| confidence | turns | seconds | of them right |\n|---|---:|---:|---:|")
    for low, high in itertools.pairwise(EDGES):
        inside = (confidence >= low) & ((confidence < high) | (high == 1.0))
        if inside.any():
            seconds = duration[inside].sum()
            print(
                f"| {low:.2f} - {high:.2f} | {inside.sum()} | {seconds:.0f} | {correct[inside].sum() / seconds:.0%} |"
            )
    return 0


def right(turn: Turn, speaker: str | None, reference: Diarization) -> float:
    """Seconds of a turn in which the reference has `speaker` talking."""
    return reference.crop(turn.start, turn.end).talk_time().get(speaker or "", 0.0)


if __name__ == "__main__":
    raise SystemExit(main())
