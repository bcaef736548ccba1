"""The default networks on torch: a GPU (CUDA, or MPS of a Mac) where there is one, or the CPU.

Networks run in float32; on CUDA the segmentation runs in bfloat16. Pooling is always float32, and so is the embedding:
in half precision errors were seen to multiply on hard recordings.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ExtraError, UsageError
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, NativeResNet34, Tensors
from diarist.models.nets.pyannet import spec_of

if TYPE_CHECKING:
    import torch


def device_of(name: str) -> torch.device:
    """The device of that name, `auto` for the best there is.

    Raises `ExtraError` without torch, `UsageError` for a device that is not there.
    """
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


def segmentation(tensors: Tensors, device: str = "auto", spec: SegmentationSpec | None = None) -> NativePyanNet:
    """PyanNet from the tensors of a checkpoint. Raises as `device_of`, or what torch raises for other tensors."""
    spec = spec or spec_of(tensors)
    place = device_of(device)
    import torch

    from diarist.models.nets.torch.pyannet import PyanNet

    powerset = spec.max_simultaneous is not None
    network = PyanNet.like(_tensors(tensors), powerset=powerset).eval().to(place)

    def run(batch: Float32) -> Float32:
        with torch.inference_mode(), _precision(place):
            return np.asarray(network(_given(batch, place)).float().cpu().numpy())

    return NativePyanNet(tensors, run, spec)


def embedding(tensors: Tensors, device: str = "auto") -> NativeCamPlusPlus:
    """CAM++ from the tensors of a checkpoint. Raises as `segmentation` does."""
    place = device_of(device)
    import torch

    from diarist.models.nets.torch.campplus import CamPlusPlus

    network = CamPlusPlus()
    network.load_state_dict(_tensors(tensors), strict=False)
    network.eval().to(place)

    def run(fbank: Float32) -> Float32:
        with torch.inference_mode():
            return np.asarray(network.frames(_given(fbank, place)).cpu().numpy())

    return NativeCamPlusPlus(tensors, run)


def resnet34(tensors: Tensors, device: str = "auto") -> NativeResNet34:
    """WeSpeaker's ResNet34 from the tensors of a checkpoint. Raises as `segmentation` does."""
    place = device_of(device)
    import torch

    from diarist.models.nets.torch.resnet import ResNet34

    network = ResNet34.like(_tensors(tensors)).eval().to(place)

    def run(fbank: Float32) -> Float32:
        with torch.inference_mode():
            return np.asarray(network.frames(_given(fbank, place)).cpu().numpy())

    return NativeResNet34(tensors, run)


def _precision(place: torch.device) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast("cuda", torch.bfloat16) if place.type == "cuda" else nullcontext()


def _given(array: Float32, place: torch.device) -> torch.Tensor:
    """An array on a device; torch warns of those that are only to be read, so these are copied."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(place)


def _tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
