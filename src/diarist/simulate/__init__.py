"""Conversations from single-speaker speech, from a seed: sound, who spoke when, and a recipe."""

from diarist.simulate.batch import simulate_many
from diarist.simulate.config import Acoustics, SimulationConfig, TurnTaking
from diarist.simulate.conversation import simulate
from diarist.simulate.sources import Speech, find_noise, find_speakers
from diarist.simulate.statistics import Statistics, statistics_of

__all__ = [
    "Acoustics",
    "SimulationConfig",
    "Speech",
    "Statistics",
    "TurnTaking",
    "find_noise",
    "find_speakers",
    "simulate",
    "simulate_many",
    "statistics_of",
]
