"""diarist itself: `--option preset=NAME` of its presets, everything else as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from contract import Diarize, Turn, run


def load(threads: int, options: Mapping[str, str]) -> Diarize:
    """A diarizer of the preset, whose models are loaded by the warm-up."""
    from diarist import Diarizer

    diarizer = Diarizer(preset=options["preset"], num_threads=threads)

    def diarize(path: Path) -> Iterator[Turn]:
        for turn in diarizer(path):
            yield turn.start, turn.end, turn.speaker

    return diarize


if __name__ == "__main__":
    run(load, ["diarist", "onnxruntime", "numpy", "scipy"])
