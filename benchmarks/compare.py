"""Measure diarist side by side with other diarizers: accuracy, CPU seconds, wall time and memory, in one run.

    python benchmarks/compare.py DATA_DIR... [--systems fast,balanced,senko] [--repeats 3] [--output docs/benchmarks.md]

Needs an environment with diarist installed; makes one for each peer in `.benchmark/` (some GB, some minutes, once). A
data folder holds recordings with an RTTM of the same name beside each. Systems take turns (A B C A B C ...), each run
is one process with one warm-up before its recordings, and the figures are medians over the repeats. Written are the
raw figures (`benchmarks/results/DATE.json`) and a section of a markdown file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import recordings as data
import report
from diarist import formats
from diarist.core.types import Diarization
from diarist.errors import DiaristError
from diarist.evaluation.score import score
from environments import ROOT, say
from machine import describe
from recordings import Recording
from systems import System, systems

DEFAULT_SYSTEMS = tuple("fast balanced accurate pyannote-3.1-style senko senko-raw sherpa-onnx pyannote".split())
RESULTS = Path(__file__).resolve().parent / "results"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="*", help="folders of recordings (default: ../shared/data/dev)")
    default = ",".join(DEFAULT_SYSTEMS)
    parser.add_argument("--systems", default=default, help=f"names, comma-separated (default: {default})")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each system (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each system (default: 1)")
    parser.add_argument("--long", type=float, default=0, metavar="MINUTES", help="cost of one recording of this length")
    parser.add_argument("--output", type=Path, help="markdown file whose section of figures is replaced")
    parser.add_argument("--results", type=Path, help="JSON file of raw figures (default: benchmarks/results/DATE.json)")
    return parser.parse_args()


def chosen(names: str) -> list[System]:
    """The systems of that list of names."""
    known = systems()
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"unknown systems: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def staged(folders: list[Path]) -> list[Recording]:
    """Every recording of `folders`, decoded for all systems; says which are left out, and why."""
    for folder in folders:
        if not folder.is_dir():
            say(f"skipped: there is no folder {folder}")
    target = ROOT / "audio"
    target.mkdir(parents=True, exist_ok=True)
    found = []
    for item in data.find(folders):
        try:
            found.append(data.stage(*item, target))
        except DiaristError as error:
            say(f"skipped: {error}")
    return found


def run_once(system: System, wavs: Mapping[str, Path], warmup: Path, threads: int) -> dict[str, Any]:
    """One process of one system over recordings by uri: its figures, and the turns it found as RTTM by uri."""
    with tempfile.TemporaryDirectory(dir=ROOT) as scratch:
        listing, out = Path(scratch, "recordings.tsv"), Path(scratch, "out")
        listing.write_text("".join(f"{uri}\t{wav}\n" for uri, wav in wavs.items()))
        shared = [f"--list={listing}", f"--warmup={warmup}", f"--out={out}", f"--threads={threads}"]
        process = subprocess.run([*system.command(), *shared], capture_output=True, text=True)
        if process.returncode:
            tail = process.stderr.strip().splitlines()[-1:]
            raise SystemExit(f"{system.name} failed: {' '.join(tail)}\n{process.stderr}")
        figures: dict[str, Any] = json.loads((out / "figures.json").read_text())
        figures["rttm"] = {uri: (out / f"{uri}.rttm").read_text() for uri in wavs}
    return figures


def errors_of(recording: Recording, rttm: str) -> dict[str, Any]:
    """The errors of an answer, RTTM text, inside the recording: some systems let turns run past its end.

    No text is a recording where nobody talks.
    """
    found = formats.loads(rttm, "rttm")
    answer = found[0] if found else Diarization(uri=recording.uri)
    return score(recording.reference, answer, uem=[(0.0, recording.duration)]).to_dict()


def measure(chosen_systems: list[System], recordings: list[Recording], args: argparse.Namespace) -> dict[str, Any]:
    """All figures: what the systems are, what each run cost, and the errors of the first run's answers."""
    wavs = {recording.uri: recording.wav for recording in recordings}
    warmup = min(recordings, key=lambda recording: recording.duration).wav
    runs: dict[str, list[dict[str, Any]]] = {system.name: [] for system in chosen_systems}
    for repeat in range(args.repeats):
        for system in chosen_systems:
            say(f"run {repeat + 1} of {args.repeats}: {system.name}")
            runs[system.name].append(run_once(system, wavs, warmup, args.threads))
    long = {}
    if args.long:
        wav = data.joined(recordings, args.long, ROOT / "audio")
        for system in chosen_systems:
            say(f"one recording of {args.long:g} minutes: {system.name}")
            long[system.name] = run_once(system, {"joined": wav}, warmup, args.threads)
            long[system.name].pop("rttm")
    answers = {name: [run.pop("rttm") for run in of_system] for name, of_system in runs.items()}
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": describe(),
        "threads": args.threads,
        "repeats": args.repeats,
        "long": {"minutes": args.long, "runs": long} if long else None,
        "recordings": {
            r.uri: {"dataset": r.dataset, "duration": r.duration, "speakers": len(r.reference.labels)}
            for r in recordings
        },
        "systems": {
            system.name: {
                "note": system.note,
                "runs": runs[system.name],
                "repeatable": all(answer == answers[system.name][0] for answer in answers[system.name]),
                "errors": {r.uri: errors_of(r, answers[system.name][0][r.uri]) for r in recordings},
                "rttm": answers[system.name][0],
            }
            for system in chosen_systems
        },
    }


def main() -> None:
    args = arguments()
    shared = Path(__file__).resolve().parents[2] / "shared/data/dev"
    recordings = staged(args.data or [shared])
    if not recordings:
        raise SystemExit("nothing to measure: no folder given has recordings with an RTTM beside them")
    chosen_systems = chosen(args.systems)
    for system in chosen_systems:
        system.command()  # makes what is missing before anything is timed
    figures = measure(chosen_systems, recordings, args)
    results = args.results or RESULTS / f"{figures['date']}.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(figures, indent=1) + "\n")
    section = report.markdown(figures, os.path.relpath(results, args.output.parent if args.output else "."))
    if args.output:
        report.replace_section(args.output, section)
    else:
        print(section)


if __name__ == "__main__":
    main()
