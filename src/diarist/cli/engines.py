"""`diarist engines`: the methods and what runs their networks, what is installed here, and what they cost.

`--measure` runs each over a recording, once to warm up and then several times, in this process, one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diarist.errors import DiaristError, InputError, UsageError
from diarist.models.load import BACKENDS

HELP = "list engines and backends that are installed, and measure them"
RUNS = 3
_ANY = ("clustering", "nemo-style", "auto")  # engines whose networks every backend runs; the others' are torch's
_NOTES = {"nemotron": "an ONNX file of it needs nothing: --network-model nemotron:FILE.onnx"}
_STATES = ("fetched at first use", "of a hub, or given by you")  # of weights that are not in the cache


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist.engines import ENGINES

    parser.add_argument(
        "--measure",
        nargs="?",
        const="",
        metavar="AUDIO",
        help="seconds of processor and of clock for an hour of sound, on AUDIO or the 30 s sample conversation",
    )
    parser.add_argument("--engine", choices=list(ENGINES), action="append", metavar="NAME", help="only this engine")
    parser.add_argument(
        "--backend", choices=BACKENDS, action="append", metavar="NAME", help="measure only this backend"
    )
    parser.add_argument("--runs", type=int, default=RUNS, metavar="N", help=f"measured runs of each; default {RUNS}")
    parser.add_argument("--num-threads", type=int, default=0, metavar="N", help="threads of a run; 0: one a core")
    parser.add_argument("--offline", action="store_true", help="never open a socket; weights must be in the cache")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """List, or list and measure; 1 where nothing that is installed could be measured. Raises `DiaristError`."""
    from diarist.models.backends import backends

    if args.runs < 1:
        raise UsageError(f"--runs must be 1 or more, not {args.runs}")
    audio = None if args.measure is None else _recording(args)
    runtimes = [asdict(backend) for backend in backends()]
    engines = [{**row, "runs_on": _runs_on(row, runtimes)} for row in engines_here(args.engine)]
    if not args.json:
        sys.stdout.write(_table(engines, runtimes))
    measured = [] if audio is None else list(_measured(args, audio, engines, runtimes))
    if args.json:
        print(json.dumps({"engines": engines, "backends": runtimes, **({"measured": measured} if measured else {})}))
    return 0 if args.measure is None or any("error" not in row for row in measured) else 1


def engines_here(names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Every engine, or those of the names, with what is missing for it: its `remedy` is empty where nothing is."""
    from diarist.engines import ENGINES
    from diarist.models.backends import missing, pip_line

    rows = []
    for engine in ENGINES.values():
        if names and engine.name not in names:
            continue
        remedy = pip_line(engine.extra) if engine.extra and missing(engine.extra) else ""
        weights, trouble = _weights(engine)
        row: dict[str, Any] = {"name": engine.name, "summary": engine.summary, "extra": engine.extra}
        row |= {"installed": not remedy, "remedy": remedy, "weights": weights, "trouble": trouble}
        row["note"] = _without_router(engine) or (_NOTES.get(engine.name, "") if remedy else "")
        rows.append({**row, "presets": list(engine.presets)})
    return rows


def _without_router(engine: Any) -> str:
    """What `auto` does where its end-to-end model is not installed."""
    from diarist.engines import ENGINES
    from diarist.models.backends import missing, pip_line

    router = getattr(engine.config(), "router", None)
    if router is None or not missing(extra := str(ENGINES[router.engine].extra)):
        return ""
    return f"clusters everything here; {router.engine} for few speakers: {pip_line(extra)}"


def _runs_on(row: dict[str, Any], runtimes: list[dict[str, Any]]) -> list[str]:
    """Where an engine that is installed runs here: devices by backend."""
    return [
        f"{runtime['name']} ({', '.join(runtime['devices'])})"
        for runtime in runtimes
        if row["installed"] and runtime["devices"] and (row["name"] in _ANY or runtime["name"] == "torch")
    ]


def _weights(engine: Any) -> tuple[dict[str, str], str]:
    """What the default preset of an engine runs, by name, and where it is; or what keeps it from saying so."""
    from diarist.models import cache
    from diarist.models.catalog import CATALOG

    try:
        config = engine.resolve(engine.default, None, {})
        names = [*engine.weights(config), *_routed(config)]
    except DiaristError as error:
        return {}, " ".join(str(error).split())
    found = {}
    for name in filter(None, dict.fromkeys(names)):
        entry = CATALOG.get(str(name))
        there = entry is not None and cache.state_of(entry, cache.path_of(entry)) == "cached"
        found[str(name)] = "cached" if there else _STATES[0] if entry else _STATES[1]
    return found, ""


def _routed(config: Any) -> list[str]:
    """The weights of the end-to-end model of `auto`."""
    from diarist.models.endtoend import parts

    router = getattr(config, "router", None)
    return [] if router is None else [parts(router.model or router.engine)[1]]


def _table(engines: list[dict[str, Any]], runtimes: list[dict[str, Any]]) -> str:
    """Engines, then backends, a line each."""
    rows = [("engine", "here", "")]
    for engine in engines:
        rows.append((engine["name"], "yes" if engine["installed"] else "no", engine["summary"]))
        states = {state: [n for n, found in engine["weights"].items() if found == state] for state in _STATES}
        wanted = [f"{state}: {', '.join(names)}" for state, names in states.items() if names]
        runs = f"runs on {', '.join(engine['runs_on'])}" if engine["runs_on"] else ""
        notes = [engine["remedy"], engine["note"], engine["trouble"], *wanted, runs]
        rows += [("", "", note) for note in filter(None, notes)]
    head = ("backend", "version", "devices")
    others = [(r["name"], r["version"] or "no", _offer(r)) for r in runtimes]
    return f"{_columns(rows)}\n{_columns([head, *others])}"


def _offer(runtime: dict[str, Any]) -> str:
    if runtime["remedy"]:
        return str(runtime["remedy"])
    return f"{', '.join(runtime['devices'])}; {', '.join(runtime['precisions'])}"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _measured(
    args: argparse.Namespace, audio: Path, engines: list[dict[str, Any]], runtimes: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """What each engine that is installed costs; the default one with every backend that is."""
    wanted = args.backend or BACKENDS
    there = [r["name"] for r in runtimes if r["version"] and not r["remedy"] and r["name"] in wanted]
    if not args.json:
        print(f"\nan hour of sound, by {args.runs} runs over {audio.name} after one to warm up, in seconds:")
    for engine in engines:
        if not engine["installed"]:
            continue
        for backend in there if engine["name"] in ("clustering", "nemo-style") else there[:1]:
            row = {"engine": engine["name"], "backend": backend, **_cost(engine["name"], backend, audio, args)}
            if not args.json:
                print(_line(row), flush=True)
            yield row


def _recording(args: argparse.Namespace) -> Path:
    """The recording to measure on, which is decoded once: what is wrong with it is said before anything is measured."""
    from diarist.audio.decode import open_audio

    audio = Path(args.measure or _sample(args.offline))
    if not audio.is_file():
        raise UsageError(f"'{audio}' is no file: --measure takes a recording")
    with open_audio(audio) as reader:
        if not sum(len(block) for block in reader.blocks()):
            raise InputError(f"'{audio}' holds no sound")
    return audio


def _cost(name: str, backend: str, audio: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Medians of seconds an hour of sound, or the error that an engine ends in."""
    from diarist.core.config import replace_from
    from diarist.engines import engine
    from diarist.pipelines.config import RuntimeConfig

    changes = {"backend": backend, "num_threads": args.num_threads, "offline": args.offline}
    try:
        diarizer = engine(name).build(runtime=replace_from(RuntimeConfig(), changes))
        result = diarizer(audio)
        hours = (result.duration or 0.0) / 3600
        pairs = [_timed(diarizer, audio) for _ in range(args.runs)]
    except DiaristError as error:
        return {"error": " ".join(str(error).split())}
    processor, clock = (statistics.median(values) / hours for values in zip(*pairs, strict=True))
    spread = [round(clock_ / hours, 1) for _, clock_ in sorted(pairs, key=lambda pair: pair[1])]
    return {
        "preset": diarizer.preset,
        "cpu_seconds_per_hour": round(processor, 1),
        "wall_seconds_per_hour": round(clock, 1),
        "fastest": spread[0],
        "slowest": spread[-1],
        "speakers": result.num_speakers,
    }


def _timed(diarizer: Any, audio: Path) -> tuple[float, float]:
    """Seconds of all threads on the processor, and seconds by the clock, of a run."""
    processor, clock = time.process_time(), time.perf_counter()
    diarizer(audio)
    return time.process_time() - processor, time.perf_counter() - clock


def _line(row: dict[str, Any]) -> str:
    what = f"  {row['engine']:<12} {row['backend']:<9}"
    if "error" in row:
        return f"{what} {row['error']}"
    cost = f"{row['cpu_seconds_per_hour']:8.1f} processor  {row['wall_seconds_per_hour']:8.1f} clock"
    return f"{what} {cost} ({row['fastest']:.1f} to {row['slowest']:.1f})  {row['preset']}"


def _sample(offline: bool) -> Path:
    from diarist.models.fetch import fetch

    return fetch("sample-wav", offline=offline)
