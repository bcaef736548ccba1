"""The default networks on torch: a GPU (CUDA, or MPS of a Mac) where there is one, or the CPU.

Networks run in float32; on CUDA the segmentation runs in bfloat16, whose probabilities differ by less than a hundredth.
Pooling is always float32 (and so is the embedding: in half precision errors were seen to multiply on hard recordings).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingSpec, SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ExtraError, UsageError, WeightsError
from diarist.models.checks import check_chunks, check_features, check_weights
from diarist.models.nets import campplus, pyannet
from diarist.models.onnx import powerset_of
from diarist.models.pooling import weighted_statistics
from diarist.models.pyannet import CHUNK

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, NDArray[Any]]
DEVICES = ("auto", "cpu", "cuda", "mps")


def device_of(name: str) -> torch.device:
    """The device of that name, `auto` for the best there is. Raises `ExtraError` without torch, `UsageError` for a
    device that is not there."""
    try:
        import torch
    except ImportError as error:
        raise ExtraError("torch", "torch", "the backend 'torch'") from error
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, found in there.items() if found))
    if not there.get(name.partition(":")[0], False):
        offered = ", ".join(kind for kind, found in there.items() if found)
        raise UsageError(f"torch finds no device '{name}' here; it offers: {offered}")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is not a device of torch") from error


class TorchPyanNet:
    """segmentation-3.0, and networks fine-tuned from it: `models/nets/torch/pyannet.py`."""

    def __init__(self, tensors: Tensors, *, device: str = "auto", chunk: int = CHUNK) -> None:
        import diarist.models.nets.torch.pyannet as nets

        self._device = device_of(device)
        speakers = powerset_of(len(tensors["classifier.bias"]))
        if speakers is None:
            raise WeightsError(f"a segmentation checkpoint of {len(tensors['classifier.bias'])} classes: no powerset")
        self._network = nets.PyanNet.like(_tensors(tensors)).eval().to(self._device)
        self.spec = SegmentationSpec(chunk, pyannet.FRAMES.count_inside(chunk), pyannet.FRAMES, *speakers)
        self._num_classes = len(tensors["classifier.bias"])
        self._made_of = tensors, device

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` to log-probabilities `(batch, num_frames, num_classes)`.

        Raises `UsageError` for another shape.
        """
        import torch

        check_chunks(batch, self.spec)
        if not len(batch):
            return np.zeros((0, self.spec.num_frames, self._num_classes), np.float32)
        with torch.inference_mode(), self._precision():
            scores = self._network(_moved(batch, self._device))
        return np.asarray(scores.float().cpu().numpy())

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        self(np.zeros((1, self.spec.chunk), dtype=np.float32))

    def resized(self, chunk: int) -> TorchPyanNet:
        """The same network for chunks of another number of samples; it was trained on ten seconds."""
        tensors, device = self._made_of
        return TorchPyanNet(tensors, device=device, chunk=chunk)

    def _precision(self) -> AbstractContextManager[Any]:
        import torch

        return torch.autocast("cuda", torch.bfloat16) if self._device.type == "cuda" else nullcontext()


class TorchCamPlusPlus:
    """CAM++: `models/nets/torch/campplus.py`."""

    spec = EmbeddingSpec(dimension=192, min_frames=2, map_stride=campplus.STRIDE)

    def __init__(self, tensors: Tensors, *, device: str = "auto") -> None:
        import diarist.models.nets.torch.campplus as nets

        self._device = device_of(device)
        network = nets.CamPlusPlus()
        network.load_state_dict(_tensors(tensors), strict=False)
        self._network = network.eval().to(self._device)
        self._head = campplus.Head.of(tensors)

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        maps = self.frames(np.zeros((1, campplus.MULTIPLE, self.spec.num_mels), dtype=np.float32))
        self.pool(maps, np.ones((1, 1, maps.shape[1]), dtype=np.float32))

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)`, their mean removed, to `(batch, ceil(num_fbank / 2), 512)`."""
        import torch

        check_features(fbank, self.spec)
        batch, num_fbank, _ = fbank.shape
        if not batch * num_fbank:
            return np.zeros((batch, -(-num_fbank // campplus.STRIDE), campplus.CHANNELS), np.float32)
        with torch.inference_mode():
            maps = self._network.frames(_moved(fbank, self._device))
        return np.ascontiguousarray(maps.cpu().numpy())

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """Maps `(batch, num_maps, 512)` under `(batch, num_local, num_maps)` to `(batch, num_local, 192)`."""
        check_weights(maps, weights)
        return self._head(weighted_statistics(maps, weights, self.spec.min_frames))


def _tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}


def _moved(array: Float32, device: torch.device) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
