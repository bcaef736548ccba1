"""The default networks on MLX, for Macs with Apple silicon; on Linux (`mlx[cpu]`) slow, and good for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ExtraError, UsageError
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, NativeResNet34, Tensors
from diarist.models.nets.pyannet import spec_of

_ONE = threading.Lock()  # MLX evaluates its graphs one by one


def segmentation(tensors: Tensors, spec: SegmentationSpec | None = None) -> NativePyanNet:
    """PyanNet from the tensors of a checkpoint. Raises `ExtraError` without MLX, `KeyError` or `ValueError` for tensors
    that are not PyanNet's."""
    check()
    spec = spec or spec_of(tensors)
    import mlx.core as mx

    from diarist.models.nets.mlx.pyannet import PyanNet

    network = PyanNet.like(tensors, powerset=spec.max_simultaneous is not None)

    def run(batch: Float32) -> Float32:
        return _alone(lambda: network(mx.array(batch)))

    return NativePyanNet(tensors, run, spec)


def embedding(tensors: Tensors) -> NativeCamPlusPlus:
    """CAM++ from the tensors of a checkpoint. Raises as `segmentation` does."""
    check()
    import mlx.core as mx

    from diarist.models.nets.mlx.campplus import CamPlusPlus

    network = CamPlusPlus.like(tensors)

    def run(fbank: Float32) -> Float32:
        return _alone(lambda: network.frames(mx.array(fbank)))

    return NativeCamPlusPlus(tensors, run)


def resnet34(tensors: Tensors) -> NativeResNet34:
    """WeSpeaker's ResNet34 from the tensors of a checkpoint. Raises as `segmentation` does."""
    check()
    import mlx.core as mx

    from diarist.models.nets.mlx.resnet import ResNet34

    network = ResNet34.like(tensors)

    def run(fbank: Float32) -> Float32:
        return _alone(lambda: network.frames(mx.array(fbank)))

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


def _alone(network: Callable[[], Any]) -> Float32:
    """What `network` gives, run in a thread that ends with it and takes MLX's streams along.

    MLX gives each thread streams of its own. Where those of a worker are taken apart while the process ends, it aborts
    after all is done; and what streams there are in the caller's thread may be the caller's.
    """
    import mlx.core as mx

    def evaluated() -> Float32:
        try:
            return np.array(network())
        finally:
            if hasattr(mx, "clear_streams"):  # before it, streams were those of all threads
                mx.clear_streams()

    with _ONE, ThreadPoolExecutor(1, thread_name_prefix="diarist-mlx") as thread:
        return thread.submit(evaluated).result()
