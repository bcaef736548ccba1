"""What can be asked of simulated conversations. A pair is a range: one value is drawn for each conversation."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from diarist.core.config import option
from diarist.errors import ConfigError


@dataclass(frozen=True)
class TurnTaking:
    """Who speaks when.

    Speech is a row of stretches without a pause (inter-pausal units). After each, the speaker goes on after a pause,
    or somebody else takes the floor: after a gap, or before the stretch has ended. These are the turn-hold, turn-switch
    and interruption of Yamashita et al. (2022); backchannels, their fourth kind, are said over a stretch and leave the
    floor where it is. Pauses, gaps and overlaps come from distributions of their own, as in Landini et al. (2022).

    All lengths are log-normal (Heldner & Edlund 2010 for gaps and pauses, Laskowski et al. 2012 for overlaps), given by
    their median and the standard deviation of their logarithm; those with a least value add it to a log-normal that is
    smaller by as much, so that the median holds. The defaults put the mode of the gaps at 0.2 s (Stivers et al. 2009).
    """

    hold: float = option(0.4, "chance that the speaker goes on after a stretch of speech", low=0.0, high=0.95)
    stretch_median: float = option(2.0, "median length of a stretch of speech, seconds", low=0.2, high=60.0)
    stretch_spread: float = option(0.8, "spread of the stretches: standard deviation of the log", low=0.0, high=2.0)
    stretch_least: float = option(0.5, "shortest stretch of speech, seconds", low=0.1, high=60.0)
    stretch_most: float = option(15.0, "longest stretch of speech, seconds", low=0.2, high=600.0)
    pause_median: float = option(0.6, "median pause within a speaker, seconds", low=0.1, high=60.0)
    pause_spread: float = option(0.6, "spread of the pauses", low=0.0, high=2.0)
    gap_median: float = option(0.35, "median gap between speakers, seconds", low=0.0, high=60.0)
    gap_spread: float = option(0.75, "spread of the gaps", low=0.0, high=2.0)
    overlap_changes: tuple[float, ...] = option((0.1, 0.35), "share of the speaker changes that overlap (range)")
    overlap_median: float = option(0.4, "median overlap at such a change, seconds", low=0.01, high=30.0)
    overlap_spread: float = option(0.6, "spread of the overlaps", low=0.0, high=2.0)
    interruptions: float = option(0.2, "share of the overlapping changes that are interruptions", low=0.0, high=1.0)
    interruption_median: float = option(1.0, "median overlap at an interruption, seconds", low=0.01, high=30.0)
    overlap_share: float | None = option(
        None,
        "share of the speech time in which two people talk; sets overlap_changes, then the lengths of overlaps",
        low=0.0,
        high=0.5,
    )
    backchannels: float = option(1.5, "backchannels over another's speech, a minute", low=0.0, high=30.0)
    backchannel_length: tuple[float, ...] = option((0.3, 1.0), "length of a backchannel, seconds (range)")
    evenness: float = option(4.0, "Dirichlet concentration of the shares of the floor: high = even", low=0.1, high=1e3)
    bridge: float = option(
        0.3, "silences shorter than this within a speaker are no silences, seconds", low=0.25, high=2.0
    )

    def __post_init__(self) -> None:
        check_range(self, "overlap_changes", 0.0, 1.0)
        check_range(self, "backchannel_length", 0.1, 10.0)
        check_order(self, "stretch_least", "stretch_median", "stretch_most")
        check_order(self, "bridge", "pause_median")


@dataclass(frozen=True)
class Acoustics:
    """What happens to the voices between the mouth and the file."""

    level_spread: float = option(2.0, "standard deviation of the speakers' levels, dB", low=0.0, high=20.0)
    equalise: float = option(0.7, "chance that all speakers get one long-term spectrum", low=0.0, high=1.0)
    reverb: float = option(0.5, "chance of a room (image source method)", low=0.0, high=1.0)
    rt60: tuple[float, ...] = option((0.2, 0.7), "reverberation time, seconds (range)")
    noise: float = option(0.6, "chance of noise", low=0.0, high=1.0)
    snr: tuple[float, ...] = option((5.0, 22.0), "speech level over noise level, dB (range)")
    quiet: tuple[float, ...] = option((40.0, 60.0), "speech level over the hiss where there is no noise, dB (range)")
    phone: float = option(0.2, "chance of a telephone band (300-3400 Hz, 8-bit mu-law)", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check_range(self, "rt60", 0.05, 2.0)
        check_range(self, "snr", -30.0, 100.0)
        check_range(self, "quiet", 0.0, 120.0)


@dataclass(frozen=True)
class SimulationConfig:
    """A kind of conversation."""

    speakers: tuple[int, ...] = option((2, 4), "number of speakers (range)")
    duration: tuple[float, ...] = option((60.0, 300.0), "length of a conversation, seconds (range)")
    reuse: bool = option(
        True, "say things twice where a speaker has too little speech; otherwise the recording is shorter"
    )
    turns: TurnTaking = field(default_factory=TurnTaking)
    acoustics: Acoustics = field(default_factory=Acoustics)

    def __post_init__(self) -> None:
        check_range(self, "speakers", 1, 100)
        check_range(self, "duration", 1.0, 86_400.0)


def check_range(config: Any, name: str, low: float, high: float) -> None:
    """Raise `ConfigError` unless the field holds one value, or two in order, within `[low, high]`."""
    values = getattr(config, name)
    if not (1 <= len(values) <= 2 and low <= values[0] <= values[-1] <= high):
        raise ConfigError(f"'{name}' must be one or two numbers in order between {low} and {high}, not {list(values)}")


def check_order(config: Any, *names: str) -> None:
    """Raise `ConfigError` unless the fields do not fall from one to the next."""
    assert set(names) <= {f.name for f in fields(config)}
    values = [getattr(config, name) for name in names]
    if values != sorted(values):
        raise ConfigError(" <= ".join(f"'{n}'" for n in names) + f" must hold, not {' <= '.join(map(str, values))}")
