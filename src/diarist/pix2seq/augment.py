"""What may happen to a recording before it is heard, and what that does to its turns.

Each takes and gives `(samples, turns)` and draws from `rng`; only a change of speed moves turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
from scipy import signal

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Turn
from diarist.pix2seq.train_config import AugmentConfig
from diarist.simulate.effects import ColouredNoise, FileNoise, Telephone
from diarist.simulate.room import draw_position, draw_room, impulse_response

PEAK = 0.95  # louder recordings are turned down to this

Turns = Sequence[Turn]


def augment(
    samples: Float32, turns: Turns, config: AugmentConfig, rng: np.random.Generator, noise: Sequence[Path] = ()
) -> tuple[Float32, tuple[Turn, ...]]:
    """Each of speed, levels, room, noise and telephone by its own chance, in this order."""
    chances = rng.random(5)
    turns = tuple(turns)
    if chances[0] < config.speed:
        samples, turns = change_speed(samples, turns, float(rng.uniform(*_pair(config.speeds))))
    if chances[1] < config.levels:
        samples = swing_level(samples, float(rng.uniform(*_pair(config.swing))), rng)
    if chances[2] < config.room:
        samples = put_in_room(samples, float(rng.uniform(*_pair(config.rt60))), rng)
    if chances[3] < config.noise:
        samples = add_noise(samples, float(rng.uniform(*_pair(config.snr))), rng, noise)
    if chances[4] < config.phone:
        samples = telephone(samples)
    return samples, turns


def change_speed(samples: Float32, turns: Turns, factor: float) -> tuple[Float32, tuple[Turn, ...]]:
    """Played `factor` times as fast, and higher by as much: turns are `factor` times as early and short."""
    faster = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="HQ")
    moved = tuple(replace(turn, start=turn.start / factor, end=turn.end / factor) for turn in turns)
    return np.asarray(faster, dtype=np.float32), moved


def swing_level(samples: Float32, depth: float, rng: np.random.Generator) -> Float32:
    """The level follows a sine of 0.1 to 0.5 Hz by `depth` (0 to 1) up and down."""
    seconds = np.arange(len(samples)) / SAMPLE_RATE
    phase = 2 * np.pi * (rng.uniform(0.1, 0.5) * seconds + rng.random())
    return _below_peak(samples * (1 + depth * np.sin(phase)).astype(np.float32))


def put_in_room(samples: Float32, rt60: float, rng: np.random.Generator) -> Float32:
    """All of it in one place of a room (image source method), as loud as before; the direct sound is not delayed."""
    room = draw_room(rt60, rng)
    heard = signal.oaconvolve(samples, impulse_response(room, draw_position(room, rng)))[: len(samples)]
    before, after = np.sqrt(np.mean(samples**2)), np.sqrt(np.mean(heard**2))
    return _below_peak(heard * (before / max(after, 1e-9)))


def add_noise(samples: Float32, snr: float, rng: np.random.Generator, files: Sequence[Path] = ()) -> Float32:
    """Noise from files, or coloured noise, `snr` dB under the recording."""
    chosen = [files[i] for i in rng.choice(len(files), min(2, len(files)), replace=False)] if files else []
    source = FileNoise(chosen, rng) if chosen else ColouredNoise(float(rng.choice([0.0, 3.0, 6.0])), rng)
    added = source.read(len(samples))
    power, loud = float(np.mean(samples**2)), float(np.mean(added**2))
    return _below_peak(samples + added * np.sqrt(power / max(loud, 1e-12) * 10 ** (-snr / 10)))


def telephone(samples: Float32) -> Float32:
    """300 to 3400 Hz and 8-bit mu-law; not delayed."""
    line = Telephone()
    even = np.append(samples, np.zeros(len(samples) % 2, np.float32))
    return np.concatenate((line(even), line.finish()))[: len(samples)]


def _below_peak(samples: Float32) -> Float32:
    peak = float(np.abs(samples).max(initial=0.0))
    return np.asarray(samples * min(1.0, PEAK / max(peak, 1e-9)), dtype=np.float32)


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[-1]
