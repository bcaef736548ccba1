"""What every system under test does, in one shape: load, warm up, diarize each recording, write RTTM and figures.

    python run_<system>.py --list recordings.tsv --warmup short.wav --out DIR --threads 1 [--option key=value ...]

`recordings.tsv` has one recording a line: its uri, a tab, the path of a 16 kHz mono 16-bit WAV. DIR receives
`<uri>.rttm` for each and `figures.json`: CPU seconds (user and system, children included) and wall seconds per
recording, and the peak resident memory of the run. Importing, loading weights and the warm-up are counted apart, so
that a short recording does not pay for them. Only the standard library is used here: each peer has its own environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Turn = tuple[float, float, str]  # start and end in seconds, speaker
Diarize = Callable[[Path], Iterable[Turn]]
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user + system, all threads, children included) and wall seconds."""

    cpu: float
    wall: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)


def clock() -> Cost:
    """CPU and wall seconds spent by this process so far."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime, time.perf_counter())


def resident(field: str) -> int:
    """Resident memory in bytes from the kernel: `VmRSS` is now, `VmHWM` the peak since the last reset."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def reset_peak() -> bool:
    """Start the peak of resident memory afresh; False where the system cannot (then the peak includes loading)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_resident() -> int:
    """Peak resident memory in bytes, since `reset_peak` where there is one."""
    if Path("/proc/self/status").exists():
        return resident("VmHWM")
    scale = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions, by package name; those that are not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_rttm(path: Path, uri: str, turns: Iterable[Turn]) -> None:
    """Write `turns` of `uri` as RTTM."""
    lines = [
        f"SPEAKER {uri} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for start, end, speaker in sorted(turns)
        if end > start
    ]
    path.write_text("".join(lines))


def arguments() -> argparse.Namespace:
    """The command line that every runner shares."""
    parser = argparse.ArgumentParser(description="Run one diarization system over a list of recordings.")
    parser.add_argument("--list", type=Path, required=True, help="one recording a line: uri, tab, WAV path")
    parser.add_argument("--warmup", type=Path, required=True, help="a short WAV that is diarized first, uncounted")
    parser.add_argument("--out", type=Path, required=True, help="folder for RTTM and figures.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="for this system alone")
    return parser.parse_args()


def run(load: Callable[[int, Mapping[str, str]], Diarize], packages: Iterable[str]) -> None:
    """Run the contract: `load(threads, options)` imports and loads, what it returns diarizes one recording."""
    args = arguments()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    begin = clock()
    diarize = load(args.threads, dict(option.split("=", 1) for option in args.option))
    list(diarize(args.warmup))
    loading = clock() - begin
    resident_before = resident("VmRSS") if reset_peak() else 0
    recordings, failed = {}, {}
    for line in args.list.read_text().splitlines():
        uri, path = line.split("\t")
        turns: list[Turn] = []
        begin = clock()
        try:
            turns = list(diarize(Path(path)))
        except Exception as error:  # a recording that it cannot do is all missed; the others still count
            failed[uri] = f"{type(error).__name__}: {error}"
        recordings[uri] = asdict(clock() - begin)
        write_rttm(args.out / f"{uri}.rttm", uri, turns)
    figures = {
        "python": platform.python_version(),
        "versions": versions_of(packages),
        "threads": args.threads,
        "loading": asdict(loading),
        "resident_before": resident_before,
        "peak_resident": peak_resident(),
        "failed": failed,
        "recordings": recordings,
    }
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(f"{len(recordings)} recordings, {sum(r['cpu'] for r in recordings.values()):.1f} CPU s", file=sys.stderr)
