"""What a Pix2Seq model in training is worth: held-out recordings, decoded without being told anything, and scored.

Windows are decoded one by one and scored one by one; errors are pooled. No collar, overlap scored, and nobody says how
many speakers there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.audio.decode import load
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, Turn
from diarist.evaluation.score import Errors, score
from diarist.pix2seq.data import FrontEnd, cropped, find_recordings
from diarist.pix2seq.tokens import NOTHING
from diarist.simulate.config import SimulationConfig
from diarist.simulate.conversation import simulate
from diarist.simulate.sources import Speech

if TYPE_CHECKING:
    from diarist.pix2seq.model import Pix2Seq

BATCH = 16  # windows decoded together
SEED = 977  # of held-out conversations
SETS = {"simulated-2": (2, 2), "simulated-3-4": (3, 4)}  # numbers of speakers of held-out conversations
LEAST = 2.0  # seconds: a shorter rest of a real recording is no window


@dataclass
class HeldOut:
    """Windows of one kind: features `(num_features, channels)` and who talks in truth."""

    features: list[Any] = field(default_factory=list)
    references: list[Diarization] = field(default_factory=list)

    def add(self, front: FrontEnd, samples: Float32, turns: Iterable[Turn]) -> None:
        """One more window."""
        self.features.append(front.window(front.hear(samples), 0, len(samples)))
        self.references.append(Diarization(tuple(turns), duration=len(samples) / SAMPLE_RATE))


def simulated(
    front: FrontEnd,
    speakers: Sequence[Speech],
    num: int,
    seconds: float,
    *,
    noise: Sequence[Path] = (),
    numbers: Mapping[str, tuple[int, int]] | None = None,
    base: SimulationConfig | None = None,
) -> dict[str, HeldOut]:
    """`num` conversations of `seconds` for each range of numbers of speakers, which the name of a set says."""
    made: dict[str, HeldOut] = {}
    for name, number in (SETS if numbers is None else numbers).items():
        made[name] = HeldOut()
        kind = replace(base or SimulationConfig(), speakers=number, duration=(seconds, seconds))
        for index in range(num):
            sound, said, _ = simulate(speakers, kind, [SEED, number[-1], index], noise=noise)
            length = min(len(sound.samples), round(seconds * SAMPLE_RATE))
            made[name].add(front, sound.samples[:length], cropped(said.turns, 0.0, length / SAMPLE_RATE))
    return made


def recorded(front: FrontEnd, folders: Sequence[str | Path], seconds: float) -> dict[str, HeldOut]:
    """Windows of real recordings, a set for each folder; the RTTM is beside the recording."""
    made: dict[str, HeldOut] = {}
    for folder in folders:
        kept = made.setdefault(f"real-{Path(folder).name}", HeldOut())
        for path, turns in find_recordings([folder]):
            samples, length = load(path).samples, round(seconds * SAMPLE_RATE)
            for first in range(0, len(samples), length):
                window = samples[first : first + length]
                if len(window) >= LEAST * SAMPLE_RATE or not first:
                    kept.add(front, window, cropped(turns, first / SAMPLE_RATE, len(window) / SAMPLE_RATE))
    return made


@dataclass(frozen=True)
class Judge:
    """Decodes every set with a model: `NAME/der` and so on, fractions of 1."""

    sets: Mapping[str, HeldOut]

    def __call__(self, model: Pix2Seq) -> dict[str, float]:
        """For each set its DER, its parts, and how far off the number of speakers is on average."""
        figures: dict[str, float] = {}
        for name, held in self.sets.items():
            errors = self.errors(model, held)
            figures |= {
                f"{name}/der": errors.der,
                f"{name}/miss": errors.miss_rate,
                f"{name}/false-alarm": errors.false_alarm_rate,
                f"{name}/confusion": errors.confusion_rate,
                f"{name}/count-error": errors.mean_count_error,
            }
        return figures

    def errors(self, model: Pix2Seq, held: HeldOut) -> Errors:
        """The pooled errors of one set."""
        total = Errors()
        for first in range(0, len(held.features), BATCH):
            features, references = held.features[first : first + BATCH], held.references[first : first + BATCH]
            seconds = [reference.duration or 0.0 for reference in references]
            for said, reference in zip(decoded(model, features, seconds), references, strict=True):
                total += score(reference, said)
        return total


def decoded(model: Pix2Seq, features: Sequence[Any], seconds: Sequence[float]) -> list[Diarization]:
    """Greedy answers for windows `(num_features, channels)` of so many seconds each, after which nobody talks."""
    from diarist.pix2seq.generate import generate

    lengths = np.array([len(one) for one in features])
    padded = np.zeros((len(features), int(lengths.max()), features[0].shape[1]), dtype=features[0].dtype)
    for row, one in zip(padded, features, strict=True):
        row[: len(one)] = one
    given = [replace(NOTHING, until=end) for end in seconds]
    return [Diarization(written.turns) for written in generate(model, padded, lengths, given=given)]
