"""The turn-taking of conversations in numbers, from their references alone: real or simulated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from diarist.core.types import Diarization, Float64
from diarist.errors import ConfigError
from diarist.simulate.config import SimulationConfig, TurnTaking
from diarist.simulate.plan import make_plan, planned, reference

BACKCHANNEL = 1.2
"""A turn within another's turn is a backchannel where it is no longer than this, in seconds."""


@dataclass(frozen=True)
class Statistics:
    """What was counted in some conversations; `+` adds those of others.

    Seconds: `duration`, `speech` (somebody talks), `overlap` (more than one does). Lengths in seconds, one for each
    occurrence: `stretches` of speech (turns that hold or take the floor), `pauses` between two of one speaker, `gaps`
    and `overlaps` between two of different speakers, `backchannels`. `shares`: of each speaker in the speech of his or
    her conversation, in falling order. `speakers`: how many, by conversation.
    """

    speakers: tuple[int, ...] = ()
    duration: float = 0.0
    speech: float = 0.0
    overlap: float = 0.0
    stretches: Float64 = field(default_factory=lambda: np.zeros(0))
    pauses: Float64 = field(default_factory=lambda: np.zeros(0))
    gaps: Float64 = field(default_factory=lambda: np.zeros(0))
    overlaps: Float64 = field(default_factory=lambda: np.zeros(0))
    backchannels: Float64 = field(default_factory=lambda: np.zeros(0))

    def __add__(self, other: Statistics) -> Statistics:
        names = ("stretches", "pauses", "gaps", "overlaps", "backchannels")
        return Statistics(
            self.speakers + other.speakers,
            self.duration + other.duration,
            self.speech + other.speech,
            self.overlap + other.overlap,
            *(np.concatenate((getattr(self, name), getattr(other, name))) for name in names),
        )

    def summary(self) -> dict[str, float | None]:
        """The numbers under the names that `TurnTaking` has for them; None where nothing was counted."""
        changes = len(self.gaps) + len(self.overlaps)
        return {
            "num_conversations": len(self.speakers),
            "speakers_mean": _mean(np.array(self.speakers, float)),
            "duration": round(self.duration, 2),
            "speech_share": _ratio(self.speech, self.duration),
            "overlap_share": _ratio(self.overlap, self.speech),
            "hold": _ratio(len(self.pauses), changes + len(self.pauses)),
            "stretch_median": _median(self.stretches),
            "stretch_mean": _mean(self.stretches),
            "pause_median": _median(self.pauses),
            "gap_median": _median(self.gaps),
            "overlap_changes": _ratio(len(self.overlaps), changes),
            "overlap_median": _median(self.overlaps),
            "backchannels": _ratio(60 * len(self.backchannels), self.duration),
            "backchannel_mean": _mean(self.backchannels),
        }


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole > 0 else None


def _median(values: Float64) -> float | None:
    return round(float(np.median(values)), 4) if len(values) else None


def _mean(values: Float64) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def statistics_of(diarizations: Iterable[Diarization]) -> Statistics:
    """Count turn-taking. Turns are taken as stretches of speech: what lies within one is not looked at."""
    return sum((_count(d) for d in diarizations), Statistics())


def _count(diarization: Diarization) -> Statistics:
    if not diarization.turns:
        return Statistics((0,), diarization.duration or 0.0)
    floor: list[tuple[float, float, str]] = []
    back: list[float] = []
    for turn in diarization.turns:
        inside = bool(floor) and turn.end <= floor[-1][1] and turn.speaker != floor[-1][2]
        if inside and turn.duration <= BACKCHANNEL:
            back.append(turn.duration)
        else:
            floor.append((turn.start, turn.end, turn.speaker))
    start, end = (np.array([f[i] for f in floor]) for i in (0, 1))
    who = np.array([f[2] for f in floor])
    offset, same = start[1:] - end[:-1], who[1:] == who[:-1]
    apart = offset > -1e-6
    overlap = sum(b - a for a, b in diarization.overlaps())
    last = float(max(turn.end for turn in diarization.turns))
    talk = sum(turn.duration for turn in diarization.turns)
    return Statistics(
        (diarization.num_speakers,),
        diarization.duration or last,
        talk - _excess(diarization),
        overlap,
        end - start,
        offset[same & apart],
        np.maximum(offset[~same & apart], 0.0),
        np.minimum(-offset, (end - start)[1:])[~same & ~apart],
        np.array(back),
    )


def _excess(diarization: Diarization) -> float:
    """Seconds by which the turns together are longer than the time in which somebody talks."""
    events = sorted([(t.start, 1) for t in diarization.turns] + [(t.end, -1) for t in diarization.turns])
    total, count, before = 0.0, 0, 0.0
    for time, change in events:
        total += max(count - 1, 0) * (time - before)
        count, before = count + change, time
    return total


def asked(config: SimulationConfig) -> dict[str, float | None]:
    """What `Statistics.summary` of many conversations should come out as, where a configuration says so."""
    turns = calibrated(config.turns)
    mixture = NormalDist(0.0, max(turns.overlap_spread, 1e-6))
    logs = np.log([turns.overlap_median, turns.interruption_median])
    weights = np.array([1 - turns.interruptions, turns.interruptions])
    grid = np.linspace(logs.min() - 0.01, logs.max() + 0.01, 500)
    below = [float(np.sum(weights * [mixture.cdf(x - log) for log in logs])) for x in grid.tolist()]
    alone = config.speakers[-1] == 1
    return {
        "speakers_mean": (config.speakers[0] + config.speakers[-1]) / 2,
        "overlap_share": config.turns.overlap_share,
        "hold": 1.0 if alone else turns.hold,
        "stretch_median": turns.stretch_median,
        "pause_median": turns.pause_median,
        "gap_median": None if alone else turns.gap_median,
        "overlap_changes": None if alone else (turns.overlap_changes[0] + turns.overlap_changes[-1]) / 2,
        "overlap_median": None if alone else round(float(np.exp(np.interp(0.5, below, grid))), 3),
        "backchannels": 0.0 if alone else turns.backchannels,
        "backchannel_mean": None if alone else (turns.backchannel_length[0] + turns.backchannel_length[-1]) / 2,
    }


def simulated_statistics(num_speakers: int, duration: float, config: TurnTaking, seeds: Iterable[int]) -> Statistics:
    """The statistics of conversations that are planned and not rendered."""
    names = [str(k) for k in range(num_speakers)]
    plans = (make_plan(num_speakers, duration, config, np.random.default_rng([seed, 77])) for seed in seeds)
    return statistics_of(reference(planned(p), names, config.bridge, "planned", p.duration) for p in plans)


@lru_cache(maxsize=64)
def calibrated(config: TurnTaking) -> TurnTaking:
    """`config` with its `overlap_share` turned into the share and length of overlapping changes that give it.

    Bisection over planned conversations. First the share of overlapping changes is raised; where that does not
    suffice, overlaps become longer; where backchannels alone are too much, they become fewer. Raises `ConfigError`
    where a share cannot be had.
    """
    if config.overlap_share is None:
        return config
    low, high = 0.0, 3.0
    best, reached = config, 0.0
    for step in range(12):
        best = _louder(config, high if step == 0 else (low + high) / 2)
        counted = simulated_statistics(3, 120.0, best, range(60))
        reached = counted.overlap / counted.speech
        if step == 0:
            if reached < config.overlap_share:
                raise ConfigError(
                    f"'overlap_share' {config.overlap_share} cannot be had with these turns: at most {reached:.2f}"
                )
        elif reached < config.overlap_share:
            low = (low + high) / 2
        else:
            high = (low + high) / 2
    return best


def _louder(config: TurnTaking, amount: float) -> TurnTaking:
    """More overlap: backchannels up to an amount of 1, overlapping changes up to 2, longer overlaps up to 3."""
    changes = 0.95 * min(max(amount - 1, 0.0), 1.0)
    longer = 16 ** max(amount - 2, 0.0)
    return replace(
        config,
        overlap_share=None,
        backchannels=config.backchannels * min(amount, 1.0),
        overlap_changes=(changes, changes),
        overlap_median=min(config.overlap_median * longer, 30.0),
        interruption_median=min(config.interruption_median * longer, 30.0),
    )
