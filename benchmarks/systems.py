"""The systems that can be compared: presets of diarist, and peers in environments of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import environments

PEERS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True)
class System:
    """How to run one system: an interpreter, a runner of `peers/`, its options, and what a reader should know."""

    name: str
    runner: str
    note: str
    interpreter: Callable[[], Path]
    options: Callable[[], dict[str, str]]

    def command(self) -> list[str]:
        """The command line without the arguments that all runners share."""
        options = [f"--option={key}={value}" for key, value in self.options().items()]
        return [str(self.interpreter()), str(PEERS / self.runner), *options]


def _weights() -> dict[str, str]:
    return {"weights": str(environments.weights())}


_PEERS = (
    System(
        "senko",
        "run_senko.py",
        "Senko 0.2.2 as its README runs it on a CPU: Silero VAD, CAM++, spectral clustering, `merged_segments`",
        lambda: environments.environment("senko"),
        dict,
    ),
    System(
        "senko-raw",
        "run_senko.py",
        "the same, but its `raw_segments`, before pauses of up to 4 s in one voice are filled",
        lambda: environments.environment("senko"),
        lambda: {"segments": "raw"},
    ),
    System(
        "sherpa-onnx",
        "run_sherpa_onnx.py",
        "sherpa-onnx 2.0.1: segmentation-3.0 and CAM++, the defaults of its configuration (threshold 0.5)",
        lambda: environments.environment("sherpa-onnx"),
        _weights,
    ),
    System(
        "pyannote",
        "run_pyannote.py",
        "pyannote.audio 4.0.7, its own pipeline: segmentation-3.0 and CAM++, the published parameters of "
        "speaker-diarization-3.1 (tuned by its authors for another embedding)",
        lambda: environments.environment("pyannote"),
        lambda: {**_weights(), "checkpoint": str(environments.checkpoint())},
    ),
)


def _preset(name: str, summary: str) -> System:
    return System(name, "run_diarist.py", f"diarist: {summary}", lambda: Path(sys.executable), lambda: {"preset": name})


def systems() -> dict[str, System]:
    """Every system by name: diarist's presets first, but for the one whose weights are the user's."""
    from diarist.pipelines.presets import PRESETS

    own = [_preset(name, preset.summary) for name, preset in PRESETS.items() if name != "community-1"]
    return {system.name: system for system in (*own, *_PEERS)}
