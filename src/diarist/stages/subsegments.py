"""Where to listen to one voice: short windows over the stretches in which a single speaker talks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Int64


def runs(mask: NDArray[np.bool_]) -> Int64:
    """`[first, past the last)` of every stretch of True. `(num_frames,)` to `(num_runs, 2)`."""
    edges = np.diff(np.concatenate(([0], np.asarray(mask, dtype=np.int8), [0])))
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1).astype(np.int64)


def windows(mask: NDArray[np.bool_], *, size: int, hop: float, least: int) -> Int64:
    """Cut every run of True into windows `[first, past the last)`. Shape `(num_windows, 2)`.

    A run no longer than `size` is one window. A longer one is covered by windows of exactly `size`, evenly spread, at
    most `hop` apart, so that the last ends where the run ends. Windows shorter than `least` are left out.
    """
    found: list[tuple[int, int]] = []
    for first, last in runs(mask):
        if last - first <= size:
            if last - first >= least:
                found.append((int(first), int(last)))
            continue
        num_hops = int(np.ceil((last - first - size) / hop))
        starts = first + np.rint(np.arange(num_hops + 1) * ((last - first - size) / num_hops)).astype(np.int64)
        found.extend((int(start), int(start) + size) for start in starts)
    return np.asarray(found, dtype=np.int64).reshape(-1, 2)
