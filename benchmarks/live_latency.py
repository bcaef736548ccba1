"""DER of the live pipeline by latency, against offline: the table, and Figure 5 of the diart paper for our data.

    python benchmarks/live_latency.py ../shared/data/dev --reference ../shared/data/dev --preset balanced --preset fast

Each preset hears each recording once for each latency, step by step, in one process; what it settled on the way is
scored (collar 0, overlap scored, names that it took back counted as the names they became), and so is what it said of
the session at the end. The offline `balanced` answer is the line to come near. Figure 5: Coria et al., "Overlap-aware
low-latency online speaker diarization based on end-to-end local segmentation", ASRU 2021.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from diarist.audio.decode import load
from diarist.core.types import Diarization
from diarist.evaluation.dataset import Item, find_items
from diarist.evaluation.score import Errors, score
from diarist.formats.writing import write_text
from diarist.pipelines.live_presets import resolve_live
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.streaming import LiveDiarizer, join
from diarist.pipelines.threads import single_threaded_algebra

LATENCIES = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
PAPER = {  # Coria et al., figure 5: DER (%) by latency
    "DIHARD III (paper)": (29.6, 27.6, 26.5, 25.5, 25.1, 25.0),
    "AMI (paper)": (34.1, 30.4, 28.4, 27.7, 27.5, 27.5),
    "VoxConverse (paper)": (22.2, 20.1, 18.6, 17.5, 17.0, 16.8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--preset", action="append", help="may be given several times; default: balanced and fast")
    parser.add_argument("--latency", type=float, action="append", help=f"default: {LATENCIES}")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/live_latency.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/live-latency.png"))
    args = parser.parse_args()
    items, _ = find_items(args.audio, args.reference)
    results: dict[str, Any] = {"offline": offline(items), "live": {}}
    print(f"offline balanced: DER {results['offline']['der']:.1f}")
    print(
        "| preset | latency | DER | as said | miss | false alarm | confusion | session | ms a step: p50 | p95 | mean |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in args.preset or ["balanced", "fast"]:
        for latency in args.latency or LATENCIES:
            row = live(items, name, latency)
            results["live"].setdefault(name, {})[f"{latency:g}"] = row
            cells = [
                row[k] for k in ("der", "as_said", "miss", "false_alarm", "confusion", "session", "p50", "p95", "mean")
            ]
            print(f"| {name} | {latency:g} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.json, json.dumps(results, indent=1) + "\n")
    draw(results, args.figure)


def offline(items: list[Item]) -> dict[str, float]:
    diarizer = Diarizer(num_threads=1)
    return rates(sum((score(item.reference, diarizer(item.audio)) for item in items), Errors()))


def live(items: list[Item], preset: str, latency: float) -> dict[str, float]:
    diarizer = LiveDiarizer(config=resolve_live(preset, changes={"latency": latency}))
    step = diarizer.config.step_samples
    settled, as_said, session, times = Errors(), Errors(), Errors(), []
    for item in items:
        samples = load(item.audio).samples
        stream, final, renamed = diarizer.start(item.uri), [], {}
        with single_threaded_algebra():
            for first in range(0, len(samples), step):
                begun = time.process_time()
                update = stream.push(samples[first : first + step])
                times.append(time.process_time() - begun)
                final += update.final
                renamed |= update.renamed
        last = stream.finish()
        turns = (*final, *last.final)
        as_said += score(item.reference, Diarization(join(turns)))
        for _ in renamed:  # a name may have been taken back more than once
            turns = tuple(dataclasses.replace(turn, speaker=renamed.get(turn.speaker, turn.speaker)) for turn in turns)
        settled += score(item.reference, Diarization(join(turns)))
        session += score(item.reference, last.session)
    p50, p95 = np.percentile(times, [50, 95]) * 1000
    return {
        **rates(settled),
        "as_said": rates(as_said)["der"],
        "session": rates(session)["der"],
        "p50": float(p50),
        "p95": float(p95),
        "mean": 1000 * float(np.mean(times)),
    }


def rates(errors: Errors) -> dict[str, float]:
    total = (errors.miss + errors.confusion + errors.correct) / 100
    parts = {name: getattr(errors, name) / total for name in ("miss", "false_alarm", "confusion")}
    return {"der": sum(parts.values()), **parts}


def draw(results: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, values in PAPER.items():
        axes.plot(LATENCIES, values, color="0.75", marker=".", linewidth=1)
        axes.annotate(name, (LATENCIES[-1], values[-1]), xytext=(6, -3), textcoords="offset points", color="0.55")
    for number, (name, rows) in enumerate(results["live"].items()):
        latencies = [float(latency) for latency in rows]
        colour = f"C{number}"
        axes.plot(latencies, [row["der"] for row in rows.values()], marker="o", color=colour, label=name)
        axes.plot(latencies, [row["session"] for row in rows.values()], ":", color=colour, label=f"{name}, at the end")
    axes.axhline(results["offline"]["der"], color="black", linestyle="--", linewidth=1, label="offline balanced")
    axes.set(xlabel="latency (s)", ylabel="DER (%)", xlim=(0.3, 7.0), ylim=(0, None), xticks=LATENCIES)
    axes.set_title("The same axes as figure 5 of Coria et al. 2021; other recordings, other networks", fontsize=9)
    axes.legend(fontsize=8, loc="lower left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
