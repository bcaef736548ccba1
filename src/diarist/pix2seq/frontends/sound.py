"""Front ends whose features can be cut anywhere: what is kept of a recording is the features themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.pix2seq.frontends.disturbance import Disturbance


class SoundFrontEnd:
    """`features()` of all of the sound, and windows cut from them. Subclasses say `name`, `rate` and `features`."""

    name = ""
    rate = 0.0  # features a second
    channels = 0

    def num_tokens(self, num_samples: int) -> int:
        """How many features so many samples give: at least one."""
        return max(1, round(num_samples * self.rate / SAMPLE_RATE))

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
        disturbance: Disturbance | None = None,
    ) -> NDArray[Any]:
        """Features of `num_samples` samples from sample `start` on: `(num_tokens, channels)`.

        In training they can be those of a faster or slower recording, to the nearest feature.
        """
        speed = disturbance.speed if disturbance is not None else 1.0
        index = np.rint(start * self.rate / SAMPLE_RATE + np.arange(self.num_tokens(num_samples)) * speed).astype(int)
        found = heard["features"]
        return found[np.clip(index, 0, len(found) - 1)].astype(self._kind())

    def joined(self, before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
        """Features of two stretches of sound as those of one, in which the second follows the first."""
        return np.concatenate([before, after])

    def features(self, samples: Float32) -> NDArray[Any]:
        """Sound `(num_samples,)` to features `(num_features, channels)`."""
        raise NotImplementedError

    def _kept(self, features: NDArray[Any]) -> NDArray[Any]:
        return features.astype(np.float16)

    def _kind(self) -> Any:
        return np.float32
