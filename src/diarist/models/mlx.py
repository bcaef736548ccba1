"""The default networks on MLX, for Macs with Apple silicon; on Linux (`mlx[cpu]`) slow, and good for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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

Result = TypeVar("Result")
_ONE = threading.Lock()  # MLX evaluates its graphs one by one


def opener(device: str = "auto") -> OpenGraph:
    """What runs graphs, those in eight bits too. Raises as `check`."""
    check(device)

    from diarist.models.nets.mlx.library import MlxLibrary

    library = MlxLibrary()
    return lambda graph: _Runner(graph, library)


class _Runner:
    def __init__(self, graph: Graph, library: Library) -> None:
        self._graph = Interpreter(graph, library)

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[Float32]:
        """Inputs by name to the outputs of those names, in order."""
        return _alone(lambda: self._graph.run(names, feed))


def segmentation(tensors: Tensors, spec: SegmentationSpec | None = None, *, bfloat16: bool = False) -> NativePyanNet:
    """PyanNet from the tensors of a checkpoint. Raises `ExtraError` without MLX, `KeyError` or `ValueError` for tensors
    that are not PyanNet's."""
    check()
    spec = spec or spec_of(tensors)
    import mlx.core as mx

    from diarist.models.nets.mlx.pyannet import PyanNet

    network = PyanNet.like(tensors, _type(bfloat16), powerset=spec.max_simultaneous is not None)

    def run(batch: Float32) -> Float32:
        return _alone(lambda: _plain(network(mx.array(batch))))

    return NativePyanNet(tensors, run, spec)


def embedding(tensors: Tensors, *, bfloat16: bool = False) -> NativeCamPlusPlus:
    """CAM++ from the tensors of a checkpoint. Raises as `segmentation` does."""
    check()
    import mlx.core as mx

    from diarist.models.nets.mlx.campplus import CamPlusPlus

    network = CamPlusPlus.like(tensors, _type(bfloat16))

    def run(fbank: Float32) -> Float32:
        return _alone(lambda: _plain(network.frames(mx.array(fbank).astype(_type(bfloat16)))))

    return NativeCamPlusPlus(tensors, run)


def resnet34(tensors: Tensors, *, bfloat16: bool = False) -> NativeResNet34:
    """WeSpeaker's ResNet34 from the tensors of a checkpoint. Raises as `segmentation` does."""
    check()
    import mlx.core as mx

    from diarist.models.nets.mlx.resnet import ResNet34

    network = ResNet34.like(tensors, _type(bfloat16))

    def run(fbank: Float32) -> Float32:
        return _alone(lambda: _plain(network.frames(mx.array(fbank).astype(_type(bfloat16)))))

    return NativeResNet34(tensors, run)


def check(device: str = "auto") -> None:
    """Raise `ExtraError` where MLX is not installed, `UsageError` for a device that is not MLX's own."""
    try:
        import mlx.core as mx
    except ImportError as error:
        raise ExtraError("mlx", "mlx", "the backend 'mlx'") from error
    own = mx.default_device().type.name
    if device not in ("auto", own):
        raise UsageError(f"MLX has no device '{device}' here; it offers: auto, {own}")


def _type(bfloat16: bool) -> Any:
    import mlx.core as mx

    return mx.bfloat16 if bfloat16 else mx.float32


def _plain(array: Any) -> Float32:
    import mlx.core as mx

    return np.array(array.astype(mx.float32))


def _alone(network: Callable[[], Result]) -> Result:
    """What `network` gives, run in a thread that ends with it and takes MLX's streams along.

    MLX gives each thread streams of its own. Where those of a worker are taken apart while the process ends, it aborts
    after all is done; and what streams there are in the caller's thread may be the caller's.
    """
    import mlx.core as mx

    def evaluated() -> Result:
        try:
            return network()
        finally:
            if hasattr(mx, "clear_streams"):  # before it, streams were those of all threads
                mx.clear_streams()

    with _ONE, ThreadPoolExecutor(1, thread_name_prefix="diarist-mlx") as thread:
        return thread.submit(evaluated).result()
