"""Measure the ranges that the eight-bit networks of `diarist.models.nets` are laid on, and write them next to these.

    python tools/calibrate.py ../shared/data/speech

The folder holds 16 kHz mono files `<source>/<speaker>/*`; only the sources named below are used (all CC BY 4.0), so
that what ships depends on no others. 24 stretches of ten seconds, several speakers in each, from a fixed order.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import soundfile

import diarist.models.nets as nets
from diarist.core.types import Float32
from diarist.models.fetch import fetch
from diarist.models.graph import Graph
from diarist.models.nets import campplus
from diarist.models.onnx import session
from diarist.models.torchfile import read_state_dict
from diarist.stages.fbank import fbank, remove_mean

SOURCES = ("librispeech_deepspeaker", "librispeech_resemblyzer", "vctk_malaya")
NUM_STRETCHES = 24
STRETCH = 160_240  # samples of 1,000 fbank frames
PER_CHANNEL = ("x0", "x1", "x2", ".local", ".new")  # tensors of CAM++ whose channels have a range each


def stretches(folder: Path) -> list[Float32]:
    """Sound `(160240,)`, pieces of up to seven seconds of different files joined."""
    files = sorted(path for source in SOURCES for path in (folder / source).glob("*/*"))
    random.Random(0).shuffle(files)
    found: list[Float32] = []
    joined = np.zeros(0, np.float32)
    for path in files:
        samples, sample_rate = soundfile.read(path, dtype="float32", frames=7 * 16_000)
        if sample_rate != 16_000 or samples.ndim != 1:
            raise SystemExit(f"'{path}' is not 16 kHz mono")
        joined = np.concatenate([joined, samples])
        if len(joined) >= STRETCH:
            found.append(joined[:STRETCH])
            joined = joined[:0]
        if len(found) == NUM_STRETCHES:
            return found
    raise SystemExit(f"'{folder}' holds only {len(found)} of {NUM_STRETCHES} stretches of ten seconds")


def ranges(graph: Graph, feeds: list[dict[str, Float32]], channel_axis: int) -> dict[str, np.ndarray]:
    """Lowest and highest value of each labelled tensor and channel over all feeds: `(2, channels)`."""
    names = list(graph.labels)
    for name in names:
        graph.output(graph.labels[name], name, None)
    run = session(graph.serialize())
    seen: dict[str, np.ndarray] = {}
    for feed in feeds:
        for name, value in zip(names, run.run(names, feed), strict=True):
            rest = tuple(axis for axis in range(value.ndim) if axis != channel_axis % value.ndim)
            now = np.stack([value.min(axis=rest), value.max(axis=rest)])
            before = seen.get(name, now)
            seen[name] = np.stack([np.minimum(before[0], now[0]), np.maximum(before[1], now[1])])
    return seen


def write(path: Path, found: dict[str, np.ndarray], per_channel: tuple[str, ...]) -> None:
    """JSON, four digits; one pair for a tensor unless its channels have a range each."""
    lines = []
    for name, (low, high) in sorted(found.items()):
        if not name.endswith(per_channel):
            low, high = low.min(), high.max()
        rounded = [np.vectorize(lambda v: float(f"{v:.4g}"))(bound).tolist() for bound in (low, high)]
        lines.append(f"{json.dumps(name)}: {json.dumps(rounded, separators=(',', ':'))}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path, help="folder of single speakers")
    parser.add_argument("--out", type=Path, default=Path(nets.__file__).parent, help="where the JSON files go")
    args = parser.parse_args()
    sounds = stretches(args.speech)
    tensors = read_state_dict(fetch("campplus-zh-en"))
    feeds = [{"fbank": remove_mean(fbank(samples))[None]} for samples in sounds]
    found = ranges(campplus.frames_graph(tensors), feeds, channel_axis=1)
    write(args.out / "campplus_ranges.json", found, PER_CHANNEL)


if __name__ == "__main__":
    main()
