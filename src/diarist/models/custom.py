"""A model of your own: any callable behind the ports.

    segmentation = custom.segmentation(my_network, duration=5.0)
    embedding = custom.embedding(my_other_network)
    live = LiveDiarizer(segmentation=segmentation, embedding=embedding)

A class with `spec` and the methods of `SegmentationModel` or `EmbeddingModel` needs nothing of this, and an ONNX file
is a path in the configuration. What is here serves networks that are functions of sound: numpy arrays in and out or,
where the callable is a `torch.nn.Module`, tensors.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import soxr

from diarist.core.protocols import EmbeddingSpec, SegmentationSpec
from diarist.core.time import SAMPLE_RATE, Axis, to_samples
from diarist.core.types import Float32
from diarist.errors import UsageError
from diarist.models.checks import check_chunks, check_features, check_weights
from diarist.models.onnx import MOST_FBANK, powerset_of
from diarist.stages.fbank import FRAMES
from diarist.stages.powerset import MAX_LOCAL

Function = Callable[..., Any]
Takes = Literal["waveform", "features"]

_TALKS = 0.5  # weight from which on a frame is a speaker's, for networks that take none


class CustomSegmentation:
    """A callable `(batch, num_samples) -> (batch, num_frames, num_classes)`; see `segmentation`."""

    def __init__(self, function: Function, spec: SegmentationSpec, rate: int, *, channels: bool) -> None:
        self.spec = spec
        self._function, self._rate, self._channels = function, rate, channels

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` to `(batch, num_frames, num_classes)`. Raises `UsageError` for another shape."""
        check_chunks(batch, self.spec)
        return _scores(self._function, batch, self._rate, self._channels)


def segmentation(
    function: Function,
    duration: float = 5.0,
    *,
    sample_rate: int = SAMPLE_RATE,
    channels: bool = False,
    num_local: int | None = None,
    max_simultaneous: int | None = None,
    frames: Axis | None = None,
) -> CustomSegmentation:
    """A segmentation model from a callable, tried out on `duration` seconds of silence.

    `function` takes sound `(batch, num_samples)` at `sample_rate`, or `(batch, 1, num_samples)` with `channels`, and
    gives `(batch, num_frames, num_classes)`: one probability in [0, 1] for each of its local speakers. With
    `max_simultaneous` its classes are the sets of so many of `num_local` speakers, as log-probabilities. `frames`
    places its frames, in samples at 16 kHz; unless given they part the chunk evenly.

    Raises `UsageError` where what comes back is of another shape or another kind.
    """
    _check_callable(function, sample_rate)
    chunk = to_samples(duration)
    if chunk < FRAMES.size:
        raise UsageError(f"a segmentation model hears more than {FRAMES.size / SAMPLE_RATE:g} s, not {duration}")
    scores = _scores(function, np.zeros((1, chunk), np.float32), sample_rate, channels)
    num_frames, num_classes = scores.shape[1:]
    if max_simultaneous is None:
        if scores.min() < 0 or scores.max() > 1:
            powerset = powerset_of(num_classes)
            hint = f" (or set num_local={powerset[0]}, max_simultaneous=2)" if powerset else ""
            raise UsageError(f"a segmentation model gives probabilities from 0 to 1, not {scores.min():.3g}{hint}")
        num_local = num_classes
    if num_local is None or not 1 <= num_local <= MAX_LOCAL:
        raise UsageError(f"a segmentation model has 1 to {MAX_LOCAL} local speakers (num_local), not {num_local}")
    if frames is None:
        step = max(1, chunk // num_frames)
        frames = Axis(size=step, step=step)
    return CustomSegmentation(
        function,
        SegmentationSpec(chunk, num_frames, frames, num_local, max_simultaneous),
        sample_rate,
        channels=channels,
    )


class CustomEmbedding:
    """A callable that embeds one stretch of sound; see `embedding`. The network runs in `pool()`, once a speaker."""

    def __init__(self, function: Function, spec: EmbeddingSpec, rate: int, *, weighted: bool) -> None:
        self.spec = spec
        self._function, self._rate, self._weighted = function, rate, weighted

    def frames(self, fbank: Float32) -> Float32:
        """What the network takes, as it is: `(batch, num_fbank, num_mels)`, or sound in rows of 10 ms."""
        check_features(fbank, self.spec)
        return fbank

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """`(batch, num_maps, num_mels)` under weights `(batch, num_local, num_maps)` to `(batch, num_local,
        dimension)`: NaN for speakers with fewer than `spec.min_frames` frames of a weight above a half."""
        check_weights(maps, weights)
        embeddings = np.full((*weights.shape[:2], self.spec.dimension), np.nan, dtype=np.float32)
        for row, local in np.ndindex(*weights.shape[:2]):
            talks = weights[row, local] > _TALKS
            if np.count_nonzero(talks) < self.spec.min_frames:
                continue
            rows, own = (maps[row], weights[row, local]) if self._weighted else (maps[row][talks], None)
            if own is not None and len(rows) > MOST_FBANK:  # a minute, of which a window is meant
                heard = np.flatnonzero(talks)
                rows, own = rows[heard[0] : heard[-1] + 1], own[heard[0] : heard[-1] + 1]
            embeddings[row, local] = _embedded(self._function, rows, own, self._rate, self.spec)
        return embeddings


def embedding(
    function: Function,
    *,
    takes: Takes = "waveform",
    weighted: bool | None = None,
    sample_rate: int = SAMPLE_RATE,
    min_duration: float = 0.25,
    num_mels: int = 80,
    window: Literal["povey", "hamming"] = "povey",
    scale: float = 1.0,
) -> CustomEmbedding:
    """An embedding model from a callable, tried out on three seconds of noise.

    `function` takes sound `(batch, num_samples)` at `sample_rate` or, with `takes="features"`, log mel energies
    `(batch, num_frames, num_mels)` of 10 ms (`window` and `scale` as in `stages.fbank`), and gives `(batch,
    dimension)`. One that takes a second argument (or `weighted=True`) gets weights in [0, 1] with it, `(batch,
    num_frames)`, one for each 10 ms: who talks, and how surely alone. One that takes none gets, cut together, only the
    sound in which the speaker talks. A speaker of less than `min_duration` seconds is not embedded.

    Raises `UsageError` where what comes back is of another shape.
    """
    _check_callable(function, sample_rate)
    if takes not in ("waveform", "features"):
        raise UsageError(f"an embedding model takes 'waveform' or 'features', not '{takes}'")
    if takes == "features" and (not 20 <= num_mels <= 128 or sample_rate != SAMPLE_RATE):
        raise UsageError(f"features are 20 to 128 bands of sound at {SAMPLE_RATE} Hz, not {num_mels} at {sample_rate}")
    weighted = _takes_weights(function) if weighted is None else weighted
    raw = takes == "waveform"
    spec = EmbeddingSpec(
        dimension=1,
        min_frames=max(1, round(min_duration * SAMPLE_RATE / FRAMES.step)),
        num_mels=FRAMES.step if raw else num_mels,
        window="raw" if raw else window,
        scale=scale,
        whole=True,
    )
    noise = np.random.default_rng(0).normal(0, 0.1, (300, spec.num_mels)).astype(np.float32)
    probe = _embedded(function, noise, np.ones(300, np.float32) if weighted else None, sample_rate, spec)
    fields = {**vars(spec), "dimension": len(probe)}
    return CustomEmbedding(function, EmbeddingSpec(**fields), sample_rate, weighted=weighted)


def _embedded(function: Function, rows: Float32, weights: Float32 | None, rate: int, spec: EmbeddingSpec) -> Float32:
    """One embedding `(dimension,)` of rows `(num_frames, num_mels)`."""
    given = rows if spec.window != "raw" else _at(rate, np.ascontiguousarray(rows).reshape(1, -1))[0]
    arguments = [np.ascontiguousarray(given, np.float32)[None]]
    arguments += [] if weights is None else [np.ascontiguousarray(weights, np.float32)[None]]
    found = _called(function, *arguments)
    if found.ndim != 2 or len(found) != 1 or not found.size:
        raise UsageError(f"an embedding model gives (batch, dimension), here (1, dimension), not {found.shape}")
    return np.asarray(found[0])


def _scores(function: Function, batch: Float32, rate: int, channels: bool) -> Float32:
    sound = _at(rate, batch)
    scores = _called(function, sound[:, None] if channels else sound)
    if scores.ndim != 3 or len(scores) != len(batch) or (len(batch) and not scores.size):
        raise UsageError(f"a segmentation model gives (batch, num_frames, num_classes), not {scores.shape}")
    return scores


def _at(rate: int, batch: Float32) -> Float32:
    """Sound `(batch, num_samples)` at 16 kHz at another rate."""
    if rate == SAMPLE_RATE or not len(batch):
        return np.ascontiguousarray(batch, dtype=np.float32)
    return np.asarray([soxr.resample(row, SAMPLE_RATE, rate) for row in batch], dtype=np.float32)


def _called(function: Function, *arrays: Float32) -> Float32:
    """The function's answer as numpy; a torch module is given tensors on its own device, and no gradients are kept."""
    torch: Any = sys.modules.get("torch")  # a module of torch's cannot be there without it
    if torch is None or not isinstance(function, torch.nn.Module):
        return np.asarray(function(*arrays), dtype=np.float32)
    like = next(function.parameters(), torch.zeros(0))
    with torch.inference_mode():
        found = function(*(torch.from_numpy(array).to(like.device) for array in arrays))
    return np.asarray(found.float().cpu().numpy(), dtype=np.float32)


def _takes_weights(function: Function) -> bool:
    """Whether a second argument can be given by its place."""
    torch: Any = sys.modules.get("torch")
    called = function.forward if torch is not None and isinstance(function, torch.nn.Module) else function
    try:
        places = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):  # made in C, and does not say
        return False
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in places) >= 2


def _check_callable(function: Function, sample_rate: int) -> None:
    if not callable(function):
        raise UsageError(f"a model of your own is a callable, not a {type(function).__name__}")
    if not 1000 <= sample_rate <= 192_000:
        raise UsageError(f"the sample rate of a model lies between 1000 and 192000 Hz, not {sample_rate}")
