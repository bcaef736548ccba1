"""What the network hears: sound at 16 kHz to vectors, a fixed number a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diarist.core.config import nearest
from diarist.errors import ConfigError
from diarist.pix2seq.config import AROUND, FRONTENDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diarist.pix2seq.data import FrontEnd


def front_end(name: str, *, around: float = AROUND, offline: bool = False) -> FrontEnd:
    """The front end of a name; in `frames`, a voice is told from `around` seconds.

    With `offline`, no socket is opened for weights. Raises `ConfigError` for a name that is none, `ExtraError` where
    its package is missing.
    """
    if name == "frames":
        from diarist.pix2seq.frontends.frames import FramesFrontEnd

        return FramesFrontEnd(around=around, offline=offline)
    if name == "mel":
        from diarist.pix2seq.frontends.mel import MelFrontEnd

        return MelFrontEnd()
    if name in ("dac", "dac-codes"):
        from diarist.pix2seq.frontends.codec import CodecFrontEnd

        return CodecFrontEnd(codes=name == "dac-codes")
    raise ConfigError(f"unknown front end '{name}'{nearest(name, FRONTENDS)}")


def speech_of(name: str, features: NDArray[np.generic]) -> NDArray[np.float64] | None:
    """How probable speech is in each of features `(..., num_features, channels)`, `(..., num_features)`; None where the
    front end of that name does not say."""
    from diarist.pix2seq.frontends.frames import FramesFrontEnd

    if name != FramesFrontEnd.name or features.shape[-1] != FramesFrontEnd.channels:
        return None
    return features[..., FramesFrontEnd.speech].astype("f8").mean(axis=-1)
