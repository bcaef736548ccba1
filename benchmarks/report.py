"""Raw figures of `compare.py` as a section of markdown."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diarist.evaluation.score import Errors

BEGIN, END = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"
BASELINE = "balanced"
# What the references of a data set are, by the name of its folder, and what has seen its recordings before.
REFERENCES = {
    "ami": "openings of AMI meetings (headset mix), 30 s each; words by forced alignment, short pauses bridged",
    "calls": "a phone call at 8 kHz, two channels summed; boundaries from a voice activity detector on each channel: "
    "judge confusion and counts by it rather than misses",
    "broadcast": "two spliced news-like clips; only the changes of speaker are marked, pauses count as speech",
    "sample": "the 30 s conversation that pyannote.audio carries; marked by hand, with overlap",
}
SEEN = {
    name: "The clustering of diarist was chosen with these recordings in view (its parameters come from simulated "
    "conversations); no parameter of the peers comes from them"
    for name in REFERENCES
}


def _pooled(errors: Iterable[dict[str, Any]]) -> Errors:
    names = [field.name for field in dataclasses.fields(Errors)]
    return sum((Errors(**{name: e[name] for name in names}) for e in errors), Errors())


def _cost(system: dict[str, Any], uris: list[str], kind: str) -> float:
    """Seconds over `uris`: the median over the runs for each recording, summed."""
    return sum(statistics.median(run["recordings"][uri][kind] for run in system["runs"]) for uri in uris)


def row(figures: dict[str, Any], name: str, uris: list[str]) -> dict[str, Any]:
    """The figures of one system over some recordings: rates as fractions, costs per hour of audio."""
    system = figures["systems"][name]
    hours = sum(figures["recordings"][uri]["duration"] for uri in uris) / 3600
    errors = _pooled(system["errors"][uri] for uri in uris)
    return {
        "name": name,
        "errors": errors,
        "cpu": _cost(system, uris, "cpu") / hours,
        "wall": _cost(system, uris, "wall") / hours,
        "memory": statistics.median(run["peak_resident"] for run in system["runs"]),
    }


def table(figures: dict[str, Any], uris: list[str]) -> list[str]:
    """A table of all systems over some recordings."""
    rows = [row(figures, name, uris) for name in figures["systems"]]
    base = next((r["cpu"] for r in rows if r["name"] == BASELINE), None)
    ratio = f" x {BASELINE} |" if base else ""
    heading = (
        "| system | DER | miss | false alarm | confusion | speakers right | off by | CPU-s per hour |"
        f"{ratio} wall s per hour | peak MB |"
    )
    lines = [heading, "|---|" + "---:|" * (heading.count("|") - 2)]
    for r in rows:
        e = r["errors"]
        rates = " | ".join(f"{100 * x:.1f}" for x in (e.der, e.miss_rate, e.false_alarm_rate, e.confusion_rate))
        times = f" {r['cpu'] / base:.1f} |" if base else ""
        lines.append(
            f"| {r['name']} | {rates} | {e.count_exact}/{e.files} | {e.mean_count_error:.2f} | {r['cpu']:.0f} |"
            f"{times} {r['wall']:.0f} | {r['memory'] / 2**20:.0f} |"
        )
    return lines


def _head(figures: dict[str, Any], results: str) -> list[str]:
    machine, count = figures["machine"], len(figures["recordings"])
    minutes = sum(r["duration"] for r in figures["recordings"].values()) / 60
    extensions = f" ({', '.join(machine['extensions'])})" if machine["extensions"] else ""
    memory = f", {machine['memory_gb']} GB" if machine["memory_gb"] else ""
    load = f"; load {machine['load']} at the end, so read CPU seconds rather than wall" if machine["load"] else ""
    few = ": few and short, so differences of a point or two mean nothing" if minutes < 60 else ""
    commit = f" at {machine['commit']}" if machine["commit"] else ""
    return [
        f"{_number(count, 'recording')}, {minutes:.1f} minutes{few}. "
        f"Measured {figures['date']} on {machine['processor']}{extensions}, {machine['cores']} cores{memory}, "
        f"{machine['system']}{load}. diarist {machine['diarist']}{commit}, Python {machine['python']}.",
        "",
        f"Every system got {_number(figures['threads'], 'thread')}, the same 16 kHz WAV files and "
        f"{_number(figures['repeats'], 'run')}, taking turns with the others; costs are medians. CPU seconds are user "
        "and system time of the process and its children without imports, loading and a warm-up; peak memory is what "
        "is resident at most while recordings are done, models included. DER has no collar, overlap is scored, what "
        "is said past a recording's end is left out, errors are pooled over recordings; speakers right: recordings "
        "whose number of speakers is right; off by: mean absolute difference of that number. "
        f"Raw figures and answers: `{results}`.",
    ]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def long_table(figures: dict[str, Any]) -> list[str]:
    """What one long recording costs each system; nothing where that was not measured."""
    if not figures["long"]:
        return []
    minutes, runs = figures["long"]["minutes"], figures["long"]["runs"]
    lines = [
        f"### One recording of {minutes:g} minutes",
        "",
        "The recordings above one after the other, over and over; for the cost only. One run.",
        "",
        "| system | CPU-s per hour | wall s per hour | peak MB | of that, before |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, run in runs.items():
        cost = {kind: run["recordings"]["joined"][kind] * 60 / minutes for kind in ("cpu", "wall")}
        peak, before = run["peak_resident"] / 2**20, run["resident_before"] / 2**20
        failed = " (failed)" if run["failed"] else ""
        lines.append(f"| {name}{failed} | {cost['cpu']:.0f} | {cost['wall']:.0f} | {peak:.0f} | {before:.0f} |")
    return ["", *lines]


def _notes(figures: dict[str, Any]) -> list[str]:
    lines = []
    for name, system in figures["systems"].items():
        versions = ", ".join(f"{package} {v}" for package, v in system["runs"][0]["versions"].items())
        failed = system["runs"][0]["failed"]
        extra = "" if system["repeatable"] else " Its answers differed between runs; scored is the first."
        extra += f" Failed on {', '.join(failed)}." if failed else ""
        lines.append(f"- **{name}**: {system['note']}. {versions}.{extra}")
    return lines


def markdown(figures: dict[str, Any], results: str) -> str:
    """The section: all recordings pooled, each data set, and what the systems and the references are."""
    uris = list(figures["recordings"])
    lines = [*_head(figures, results), "", "### All recordings", "", *table(figures, uris), *long_table(figures)]
    for dataset in sorted({r["dataset"] for r in figures["recordings"].values()}):
        some = [uri for uri in uris if figures["recordings"][uri]["dataset"] == dataset]
        seconds = sum(figures["recordings"][uri]["duration"] for uri in some)
        kind = REFERENCES.get(dataset, "kind of reference not recorded")
        seen = f" {SEEN[dataset]}." if dataset in SEEN else ""
        lines += ["", f"### {dataset}: {_number(len(some), 'recording')}, {seconds / 60:.1f} minutes", ""]
        lines += [f"Reference: {kind}.{seen}", "", *table(figures, some)]
    return "\n".join([*lines, "", "### Systems", "", *_notes(figures), ""])


def replace_section(path: Path, section: str) -> None:
    """Put `section` between the marks of `path`; at its end, under a heading, where it has none."""
    text = path.read_text(encoding="utf-8") if path.is_file() else "# Benchmarks\n"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
    else:
        before, after = f"{text.rstrip()}\n\n## Side by side\n\n", "\n"
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(f"{before}{BEGIN}\n\n{section}\n{END}{after}", encoding="utf-8")
    aside.replace(path)
