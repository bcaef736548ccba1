"""Every backend on the same recordings: how far its stages and its answers are from the reference's, and its cost.

    python benchmarks/backends.py --backend onnx:int8 torch openvino:bfloat16 -- RECORDING.flac ...

The reference is ONNX Runtime in float32. Each backend runs each recording once to be compared end to end, and once with
every stage fed with the reference's inputs; costs are of runs of their own, on one thread. Beside a recording, an RTTM
of the same name is the truth. Results are printed as JSON lines, a total for each backend last.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from diarist import formats
from diarist.core.config import replace_from
from diarist.evaluation.score import Errors, score
from diarist.evaluation.stagewise import FLOAT32, compare
from diarist.pipelines import presets
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.record import Run, record

REFERENCE = "onnx:float32"
ALL = ("onnx:int8", "torch:float32", "openvino:float32", "openvino:bfloat16", "mlx:float32")
PACKAGES = {"onnx": ("onnxruntime",), "torch": ("torch",), "openvino": ("openvino",), "mlx": ("mlx", "mlx-cpu")}


def diarizer(name: str, preset: str) -> Diarizer:
    backend, _, precision = name.partition(":")
    changes = {"segmentation.precision": precision, "embedding.precision": precision}
    config = replace_from(presets.preset(preset).config, changes)
    return Diarizer(preset, config=config, backend=backend, num_threads=1)


def size_of(name: str) -> float:
    """Megabytes of the runtime's installed files."""
    total = 0
    for package in PACKAGES[name.partition(":")[0]]:
        files = metadata.files(package) or []
        total += sum(path.stat().st_size for path in (Path(str(f.locate())) for f in files) if path.is_file())
    return round(total / 1e6, 1)


def differences(own: Run, other: Run, fed: Run) -> dict[str, Any]:
    """What the networks' stages differ by, each fed with the reference's inputs."""
    found: dict[str, Any] = {}
    for stage in compare(own, other, fed, FLOAT32).stages:
        if stage.name in ("segmentation", "embeddings") and stage.isolated is not None:
            found[stage.name] = [stage.isolated.largest, stage.isolated.agreement]
    return found


def measured(name: str, paths: list[Path], references: dict[Path, Run], preset: str) -> Iterator[dict[str, Any]]:
    judged = diarizer(name, preset)
    begun = time.perf_counter()
    judged.loaded()
    loading = time.perf_counter() - begun
    apart, truth, processor, clock, seconds = Errors(), Errors(), 0.0, 0.0, 0.0
    worst: dict[str, list[float]] = {}
    for number, path in enumerate(paths):
        own = record(judged, path)
        for _ in range(2 if number == 0 else 1):  # the first is to warm up
            cost, wall = time.process_time(), time.perf_counter()
            result = judged(path)
            cost, wall = time.process_time() - cost, time.perf_counter() - wall
        processor, clock, seconds = processor + cost, clock + wall, seconds + (result.duration or 0.0)
        if name == REFERENCE:
            references[path] = own
        other = references[path]
        fed = record(judged, path, given=other, heard=own)
        found = differences(own, other, fed)
        for stage, (largest, agreement) in found.items():
            before = worst.setdefault(stage, [0.0, 1.0])
            worst[stage] = [max(before[0], largest), min(before[1], agreement)]
        errors = score(other.answer, own.answer)
        apart += errors
        labels = path.with_suffix(".rttm")
        if labels.is_file():
            truth += score(formats.read(labels)[0], own.answer)
        yield {"backend": name, "file": path.name, "der_to_reference": round(errors.der, 5), **found}
    yield {
        "backend": name,
        "total": len(paths),
        "minutes": round(seconds / 60, 2),
        "der_to_reference": round(apart.der, 5),
        "der": round(truth.der, 5),
        "cpu_seconds_per_hour": round(processor / seconds * 3600, 1),
        "wall_seconds_per_hour": round(clock / seconds * 3600, 1),
        "loading_seconds": round(loading, 1),
        "runtime_megabytes": size_of(name),
        **{stage: [float(f"{value:.3g}") for value in values] for stage, values in worst.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", nargs="+", type=Path)
    parser.add_argument("--backend", nargs="+", default=list(ALL), metavar="NAME:PRECISION")
    parser.add_argument("--preset", default=presets.DEFAULT)
    args = parser.parse_args()
    references: dict[Path, Run] = {}
    for name in (REFERENCE, *args.backend):
        for row in measured(name, args.recordings, references, args.preset):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
