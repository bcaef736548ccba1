"""The default networks on torch: a GPU (CUDA, or MPS of a Mac) where there is one, or the CPU.

In eight bits torch runs the graphs that ONNX Runtime does (`models.interpreter`), to the same integers; in float32, and
in bfloat16 where that is asked for, it runs networks of its own. Pooling is always float32.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ExtraError, UsageError
from diarist.models.graph import Graph
from diarist.models.interpreter import Interpreter
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, NativeResNet34, Tensors
from diarist.models.nets.library import Library
from diarist.models.nets.pyannet import spec_of
from diarist.models.onnx import OpenGraph

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


def opener(device: str = "auto") -> OpenGraph:
    """What runs graphs, those in eight bits too, on a device. Raises as `device_of`."""
    place = device_of(device)

    from diarist.models.nets.torch.library import TorchLibrary

    library = TorchLibrary(place)
    return lambda graph: _Runner(graph, library, place)


class _Runner:
    def __init__(self, graph: Graph, library: Library, place: torch.device) -> None:
        self._place, self._graph = place, Interpreter(graph, library)

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[Float32]:
        """Inputs by name to the outputs of those names, in order."""
        import torch

        with torch.inference_mode(), _exactly(self._place):
            return self._graph.run(names, feed)


def segmentation(
    tensors: Tensors, device: str = "auto", spec: SegmentationSpec | None = None, *, bfloat16: bool = False
) -> NativePyanNet:
    """PyanNet from the tensors of a checkpoint. Raises as `device_of`, or what torch raises for other tensors."""
    spec = spec or spec_of(tensors)
    place = device_of(device)
    import torch

    from diarist.models.nets.torch.pyannet import PyanNet

    powerset = spec.max_simultaneous is not None
    network = PyanNet.like(_tensors(tensors), powerset=powerset).eval().to(place)

    def run(batch: Float32) -> Float32:
        with torch.inference_mode(), _precision(place, bfloat16):
            return np.asarray(network(_given(batch, place)).float().cpu().numpy())

    return NativePyanNet(tensors, run, spec)


def embedding(tensors: Tensors, device: str = "auto", *, bfloat16: bool = False) -> NativeCamPlusPlus:
    """CAM++ from the tensors of a checkpoint. Raises as `segmentation` does."""
    place = device_of(device)
    import torch

    from diarist.models.nets.torch.campplus import CamPlusPlus

    network = CamPlusPlus()
    network.load_state_dict(_tensors(tensors), strict=False)
    network.eval().to(place)

    def run(fbank: Float32) -> Float32:
        with torch.inference_mode(), _precision(place, bfloat16):
            return np.asarray(network.frames(_given(fbank, place)).float().cpu().numpy())

    return NativeCamPlusPlus(tensors, run)


def resnet34(tensors: Tensors, device: str = "auto", *, bfloat16: bool = False) -> NativeResNet34:
    """WeSpeaker's ResNet34 from the tensors of a checkpoint. Raises as `segmentation` does."""
    place = device_of(device)
    import torch

    from diarist.models.nets.torch.resnet import ResNet34

    network = ResNet34.like(_tensors(tensors)).eval().to(place)

    def run(fbank: Float32) -> Float32:
        with torch.inference_mode(), _precision(place, bfloat16):
            return np.asarray(network.frames(_given(fbank, place)).float().cpu().numpy())

    return NativeResNet34(tensors, run)


def _precision(place: torch.device, bfloat16: bool) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast(place.type, torch.bfloat16) if bfloat16 else _exactly(place)


_ONE = threading.Lock()  # at a time works on a GPU, since how it multiplies is a setting of the process


def _exactly(place: torch.device) -> AbstractContextManager[Any]:
    """float32 as it is: cuDNN would round what is multiplied to the 11 bits of TF32."""
    return _without_tf32() if place.type == "cuda" else nullcontext()


@contextmanager
def _without_tf32() -> Iterator[None]:
    import torch

    with _ONE, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def _given(array: Float32, place: torch.device) -> torch.Tensor:
    """An array on a device; torch warns of those that are only to be read, so these are copied."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(place)


def _tensors(tensors: Tensors) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
