"""The default networks behind the ports, run by a library other than ONNX Runtime: `torch.py`, `mlx.py`.

Such a backend is a function from arrays to arrays for each network; what is asked, checked and pooled is the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.models.checks import check_chunks, check_features, check_finite
from diarist.models.nets import campplus, pyannet, resnet
from diarist.models.pooling import StatisticsPooling

Tensors = Mapping[str, NDArray[Any]]
Run = Callable[[Float32], Float32]


class NativePyanNet:
    """Networks of pyannote's architecture; `run` takes `(batch, num_samples)` to `(batch, num_frames, num_classes)`."""

    def __init__(self, tensors: Tensors, run: Run, spec: SegmentationSpec | None = None) -> None:
        self._num_classes = len(tensors["classifier.bias"])
        self._run = run
        self.spec = spec or pyannet.spec_of(tensors)

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` to scores `(batch, num_frames, num_classes)`; `UsageError` for another shape."""
        check_chunks(batch, self.spec)
        if not len(batch):
            return np.zeros((0, self.spec.num_frames, self._num_classes), np.float32)
        return self._run(np.ascontiguousarray(batch, dtype=np.float32))

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        check_finite(self(np.zeros((1, self.spec.chunk), dtype=np.float32)))

    def resized(self, chunk: int) -> NativePyanNet:
        """The same network for chunks of another number of samples than it was trained on."""
        other = object.__new__(type(self))
        other._run, other._num_classes = self._run, self._num_classes
        other.spec = dataclasses.replace(self.spec, chunk=chunk, num_frames=pyannet.FRAMES.count_inside(chunk))
        return other


class NativeCamPlusPlus(StatisticsPooling):
    """CAM++; `run` takes `(batch, num_fbank, 80)`, their mean removed, to maps `(batch, ceil(num_fbank / 2), 512)`."""

    spec = campplus.SPEC

    def __init__(self, tensors: Tensors, run: Run) -> None:
        self._run = run
        self._head = campplus.Head.of(tensors)

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)` to `(batch, ceil(num_fbank / 2), 512)`."""
        check_features(fbank, self.spec)
        batch, num_fbank, _ = fbank.shape
        if not batch * num_fbank:
            return np.zeros((batch, -(-num_fbank // campplus.STRIDE), campplus.CHANNELS), np.float32)
        return np.ascontiguousarray(self._run(np.ascontiguousarray(fbank, dtype=np.float32)))

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        maps = self.frames(np.zeros((1, campplus.MULTIPLE, self.spec.num_mels), dtype=np.float32))
        check_finite(self.pool(maps, np.ones((1, 1, maps.shape[1]), dtype=np.float32)))


class NativeResNet34(StatisticsPooling):
    """WeSpeaker's ResNet34; `run` takes `(batch, num_fbank, 80)`, their mean removed, to maps `(batch,
    ceil(num_fbank / 8), 2560)`."""

    def __init__(self, tensors: Tensors, run: Run) -> None:
        self._run = run
        self._head = resnet.Head.of(tensors)
        self._channels = resnet.num_channels(tensors)
        self.spec = resnet.spec_of(tensors)

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)` to `(batch, ceil(num_fbank / 8), 2560)`."""
        check_features(fbank, self.spec)
        batch, num_fbank, _ = fbank.shape
        if not batch * num_fbank:
            return np.zeros((batch, -(-num_fbank // resnet.STRIDE), self._channels), np.float32)
        return np.ascontiguousarray(self._run(np.ascontiguousarray(fbank, dtype=np.float32)))

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        maps = self.frames(np.zeros((1, 64, self.spec.num_mels), dtype=np.float32))
        check_finite(self.pool(maps, np.ones((1, 1, maps.shape[1]), dtype=np.float32)))
