"""How what a front end heard is changed in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Disturbance:
    """Random numbers for one example; `noise` added to voices; `speed`, how many times as fast it is played."""

    rng: np.random.Generator
    noise: float = 0.0
    speed: float = 1.0
