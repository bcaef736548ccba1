"""The front ends `dac` and `dac-codes`: what a neural audio codec makes of the sound.

The codec is DAC (Kumar et al., "High-fidelity audio compression with improved RVQGAN", 2023; package
descript-audio-codec, 16 kHz, 50 vectors a second) or, where that is not installed, EnCodec (Defossez et al., 2022;
package encodec, 24 kHz, 75 vectors a second). Its own download gets its weights, on first use.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.errors import ExtraError, WeightsError
from diarist.pix2seq.config import AudioSpec
from diarist.pix2seq.frontends.sound import SoundFrontEnd

NUM_BOOKS = 8  # codebooks that are heard, of the residual quantisers' 12 (DAC) or 32 (EnCodec)
NUM_CODES = 1024
BLOCK = 20  # seconds that the codec hears at once


class Codec(Protocol):
    """A codec at its own sample rate."""

    sample_rate: int
    rate: float
    channels: int

    def encode(self, samples: Float32) -> tuple[Float32, NDArray[np.int64]]:
        """Sound `(num_samples,)` to latent vectors `(num, channels)` and codes `(num, NUM_BOOKS)`."""
        ...


class CodecFrontEnd(SoundFrontEnd):
    """Latent vectors, or the codes of the first eight codebooks, of the codec that is installed.

    Raises `ExtraError` where none is, `WeightsError` where its weights cannot be had.
    """

    def __init__(self, *, codes: bool) -> None:
        self.name = "dac-codes" if codes else "dac"
        self.codec = find_codec(self.name)
        self.codes = codes
        self.rate = self.codec.rate
        self.channels = NUM_BOOKS if codes else self.codec.channels

    @property
    def spec(self) -> AudioSpec:
        """What the transformer is given."""
        return AudioSpec(self.channels, 1 / self.rate, 0.5 / self.rate, NUM_CODES if self.codes else 0)

    def features(self, samples: Float32) -> NDArray[Any]:
        """Sound `(num_samples,)` at 16 kHz to `(num_features, channels)`."""
        heard = np.pad(samples, (0, max(0, SAMPLE_RATE // 10 - len(samples))))
        if self.codec.sample_rate != SAMPLE_RATE:
            heard = soxr.resample(heard, SAMPLE_RATE, self.codec.sample_rate).astype(np.float32)
        size = BLOCK * self.codec.sample_rate
        parts = [self.codec.encode(heard[first : first + size])[self.codes] for first in range(0, len(heard), size)]
        return np.concatenate(parts)[: self.num_tokens(len(samples))]

    def _kept(self, features: NDArray[Any]) -> NDArray[Any]:
        return features.astype(np.int16 if self.codes else np.float16)

    def _kind(self) -> Any:
        return np.int64 if self.codes else np.float32


def find_codec(purpose: str) -> Codec:
    """DAC, or else EnCodec. Raises `ExtraError` where neither is installed, `WeightsError` where what is installed
    cannot be loaded (both need a torchaudio made for the torch that is there)."""
    broken: OSError | None = None
    for codec in (_Dac, _Encodec):
        try:
            return codec()
        except ImportError:
            continue
        except OSError as error:  # a shared library of theirs
            broken = error
    if broken is not None:
        raise WeightsError(f"the codec that is installed cannot be loaded: {' '.join(str(broken).split())[:200]}")
    raise ExtraError("descript-audio-codec", "codec", f"the front end '{purpose}'")


class _Dac:
    """DAC at 16 kHz."""

    sample_rate, rate, channels = 16_000, 50.0, 1024

    def __init__(self) -> None:
        import dac

        self._model = _weights(lambda: dac.DAC.load(dac.utils.download(model_type="16khz")).eval())

    def encode(self, samples: Float32) -> tuple[Float32, NDArray[np.int64]]:
        import torch

        with torch.inference_mode():
            sound = self._model.preprocess(torch.from_numpy(np.ascontiguousarray(samples))[None, None], 16_000)
            latent, codes = self._model.encode(sound)[:2]  # (1, 1024, num), (1, 12, num)
        return latent[0].T.float().numpy(), codes[0, :NUM_BOOKS].T.long().numpy()


class _Encodec:
    """EnCodec at 24 kHz and 6 kbit/s: eight codebooks."""

    sample_rate, rate, channels = 24_000, 75.0, 128

    def __init__(self) -> None:
        from encodec import EncodecModel

        self._model = _weights(lambda: EncodecModel.encodec_model_24khz().eval())
        self._model.set_target_bandwidth(6.0)

    def encode(self, samples: Float32) -> tuple[Float32, NDArray[np.int64]]:
        import torch

        with torch.inference_mode():
            sound = torch.from_numpy(np.ascontiguousarray(samples))[None, None]
            latent = self._model.encoder(sound)[0].T.float().numpy()  # (num, 128)
            codes = torch.cat([codes for codes, _ in self._model.encode(sound)], dim=-1)  # (1, 8, num)
        num = min(len(latent), codes.shape[-1])
        return latent[:num], codes[0, :NUM_BOOKS, :num].T.long().numpy()


def _weights(load: Any) -> Any:
    """A codec's model. Raises `WeightsError` where its download fails."""
    try:
        return load()
    except ImportError:
        raise
    except Exception as error:  # whatever its downloader raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"the codec's weights cannot be loaded or fetched: {reason}") from error
