"""How times are spread, in so little that those of many recordings add up."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

RATIO = 1.02  # of the edges of a bin: quantiles are right to a hundredth
LEAST = 1e-6  # seconds; smaller values fall into the first bin


@dataclass(frozen=True)
class Distribution:
    """Times in bins of equal ratio, and the `most` to a microsecond; the sum of two is that of all their values."""

    counts: Mapping[int, int] = field(default_factory=dict)
    most: float = 0.0

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Distribution:
        """The distribution of some values, in seconds."""
        values = list(seconds)
        bins = Counter(math.floor(math.log(max(value, LEAST) / LEAST) / math.log(RATIO)) for value in values)
        return cls(dict(sorted(bins.items())), round(max(values, default=0.0), 6))

    def __add__(self, other: Distribution) -> Distribution:
        if not isinstance(other, Distribution):
            return NotImplemented
        bins = Counter(self.counts) + Counter(other.counts)
        return Distribution(dict(sorted(bins.items())), max(self.most, other.most))

    def __len__(self) -> int:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """Seconds that a `share` in [0, 1] of the values do not exceed, to one part in a hundred; NaN of no values."""
        left = share * len(self)
        for index, count in self.counts.items():
            left -= count
            if left <= 0:
                return float(min(LEAST * RATIO ** (index + 0.5), self.most))
        return math.nan if not self.counts else self.most

    def to_dict(self) -> dict[str, Any]:
        """Seconds, and the bins they were read from."""
        told = {"p50": self.quantile(0.5), "p95": self.quantile(0.95), "max": self.most}
        rounded = {name: None if math.isnan(value) else round(value, 6) for name, value in told.items()}
        return {"count": len(self), **rounded, "bins": {str(index): count for index, count in self.counts.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Distribution:
        """What `to_dict` gave. Raises `KeyError`, `TypeError` or `ValueError` for anything else."""
        return cls({int(index): int(count) for index, count in values["bins"].items()}, float(values["max"]))
