"""Tensors of a torch checkpoint in MLX: the same names, with the channels of convolutions last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from numpy.typing import NDArray


def load(network: nn.Module, tensors: Mapping[str, NDArray[Any]], dtype: mx.Dtype = mx.float32) -> None:
    """Fill a network; what makes the filters of sound stays in float32.

    Raises `KeyError` for a tensor that is not there, `ValueError` for one of another shape.
    """
    filled = []
    for name, held in tree_flatten(network.parameters()):
        value = channels_last(np.asarray(tensors[name]), held.ndim)
        if value.shape != tuple(held.shape):
            raise ValueError(f"'{name}' must be {tuple(held.shape)} with the channels last, not {value.shape}")
        kept = mx.float32 if "filterbank" in name or "wav_norm" in name else dtype
        filled.append((name, mx.array(value.astype(np.float32)).astype(kept)))
    network.load_weights(filled)
    network.eval()


def channels_last(tensor: NDArray[Any], num_axes: int) -> NDArray[Any]:
    """Weights of a convolution `(out, in, *kernel)` as `(out, *kernel, in)`; anything else as it is."""
    if num_axes < 3:
        return tensor
    return np.moveaxis(tensor, 1, -1)
