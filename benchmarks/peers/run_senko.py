"""Senko 0.2.2 as its README runs it: default parameters, on the CPU.

On a CPU Senko's own default voice activity detector is Silero (its segmentation-3.0 detector needs CUDA or CoreML), so
of the shared weights it takes CAM++ alone. Its answer is `merged_segments`, what its README writes as RTTM;
`--option segments=raw` takes `raw_segments` instead, before gaps of up to 4 s in one voice are filled.

Senko sets torch to as many threads as the machine has cores; `logical_cores` is the attribute it reads, so that is
where the number of threads of this measurement goes. Nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from contract import Diarize, Turn, run


def load(threads: int, options: Mapping[str, str]) -> Diarize:
    """Senko with its models loaded and warmed by itself."""
    import senko

    diarizer = senko.Diarizer(device="cpu", warmup=True, quiet=True)
    diarizer.logical_cores = threads
    diarizer._set_torch_num_threads()
    segments = f"{options.get('segments', 'merged')}_segments"

    def diarize(path: Path) -> Iterator[Turn]:
        result = diarizer.diarize(str(path), generate_colors=False)
        for segment in result[segments] if result else ():
            yield float(segment["start"]), float(segment["end"]), str(segment["speaker"])

    return diarize


if __name__ == "__main__":
    run(load, ["senko", "silero-vad", "torch", "numpy"])
