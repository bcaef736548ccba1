"""The default networks on MLX, for Macs with Apple silicon; on Linux (`mlx[cpu]`) slow, and good for tests."""

from __future__ import annotations

import threading

import numpy as np

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ExtraError
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
        with _ONE:
            return np.array(network(mx.array(batch)))

    return NativePyanNet(tensors, run, spec)


def embedding(tensors: Tensors) -> NativeCamPlusPlus:
    """CAM++ from the tensors of a checkpoint. Raises as `segmentation` does."""
    check()
    import mlx.core as mx

    from diarist.models.nets.mlx.campplus import CamPlusPlus

    network = CamPlusPlus.like(tensors)

    def run(fbank: Float32) -> Float32:
        with _ONE:
            return np.array(network.frames(mx.array(fbank)))

    return NativeCamPlusPlus(tensors, run)


def resnet34(tensors: Tensors) -> NativeResNet34:
    """WeSpeaker's ResNet34 from the tensors of a checkpoint. Raises as `segmentation` does."""
    check()
    import mlx.core as mx

    from diarist.models.nets.mlx.resnet import ResNet34

    network = ResNet34.like(tensors)

    def run(fbank: Float32) -> Float32:
        with _ONE:
            return np.array(network.frames(mx.array(fbank)))

    return NativeResNet34(tensors, run)


def check() -> None:
    """Raise `ExtraError` where MLX is not installed."""
    try:
        import mlx.core  # noqa: F401
    except ImportError as error:
        raise ExtraError("mlx", "mlx", "the backend 'mlx'") from error
