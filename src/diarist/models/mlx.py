"""The default networks on MLX, for Macs with Apple silicon; on Linux (`mlx[cpu]`) slow, and good for tests."""

from __future__ import annotations

import threading

import numpy as np

from diarist.core.types import Float32
from diarist.errors import ExtraError
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, Tensors

_ONE = threading.Lock()  # MLX evaluates its graphs one by one


def segmentation(tensors: Tensors) -> NativePyanNet:
    """PyanNet from the tensors of a checkpoint. Raises `ExtraError` without MLX, `KeyError` or `ValueError` for tensors
    that are not PyanNet's."""
    _check()
    import mlx.core as mx

    from diarist.models.nets.mlx.pyannet import PyanNet

    network = PyanNet.like(tensors)

    def run(batch: Float32) -> Float32:
        with _ONE:
            return np.array(network(mx.array(batch)))

    return NativePyanNet(tensors, run)


def embedding(tensors: Tensors) -> NativeCamPlusPlus:
    """CAM++ from the tensors of a checkpoint. Raises as `segmentation` does."""
    _check()
    import mlx.core as mx

    from diarist.models.nets.mlx.campplus import CamPlusPlus

    network = CamPlusPlus.like(tensors)

    def run(fbank: Float32) -> Float32:
        with _ONE:
            return np.array(network.frames(mx.array(fbank)))

    return NativeCamPlusPlus(tensors, run)


def _check() -> None:
    try:
        import mlx.core  # noqa: F401
    except ImportError as error:
        raise ExtraError("mlx", "mlx", "the backend 'mlx'") from error
