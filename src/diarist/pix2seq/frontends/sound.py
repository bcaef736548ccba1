"""Front ends whose features can be cut anywhere: what is kept of a recording is the features themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32


class SoundFrontEnd:
    """`features()` of all of the sound, and windows cut from them. Subclasses say `name`, `rate` and `features`."""

    name = ""
    hop = SAMPLE_RATE  # windows begin at a whole second
    rate = 0.0  # features a second
    channels = 0

    def num_tokens(self, num_samples: int) -> int:
        """How many features so many samples give: at least one."""
        return max(1, round(num_samples * self.rate / SAMPLE_RATE))

    def fitting(self, num_samples: int) -> int:
        """Any length fits."""
        return num_samples

    def __call__(self, samples: Float32) -> NDArray[Any]:
        """Sound `(num_samples,)` at 16 kHz to `(num_tokens, channels)`."""
        return self.window(self.hear(samples), 0, len(samples))

    def hear(self, samples: Float32) -> dict[str, NDArray[Any]]:
        """What can be kept: `features` of all of the sound, in 16 bits."""
        return {"features": self._kept(self.features(samples))}

    def window(
        self,
        heard: Mapping[str, NDArray[Any]],
        start: int,
        num_samples: int,
        rng: np.random.Generator | None = None,
        noise: float = 0.0,
    ) -> NDArray[Any]:
        """Features of `num_samples` samples from sample `start` on; nothing is disturbed here in training."""
        first, num = round(start * self.rate / SAMPLE_RATE), self.num_tokens(num_samples)
        found = heard["features"][first : first + num]
        missing = ((0, num - len(found)), (0, 0))
        return np.pad(found, missing, mode="edge" if len(found) else "constant").astype(self._kind())

    def features(self, samples: Float32) -> NDArray[Any]:
        """Sound `(num_samples,)` to features `(num_features, channels)`."""
        raise NotImplementedError

    def _kept(self, features: NDArray[Any]) -> NDArray[Any]:
        return features.astype(np.float16)

    def _kind(self) -> Any:
        return np.float32
