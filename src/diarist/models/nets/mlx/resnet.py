"""WeSpeaker's ResNet34 in MLX: see `models/nets/resnet.py` for what it follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from numpy.typing import NDArray

from diarist.models.nets.mlx.weights import load

STAGES = (1, 2, 3, 4)


class BasicBlock(nn.Module):
    """Two convolutions beside the input."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm(width)
        changed = stride != 1 or given != width
        short = [nn.Conv2d(given, width, 1, stride=stride, bias=False), nn.BatchNorm(width)]
        self.shortcut = short if changed else []

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, mels, time, given)` to `(batch, mels / stride, time / stride, width)`."""
        y = nn.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        for layer in self.shortcut:
            x = layer(x)
        return nn.relu(y + x)


class ResNet34(nn.Module):
    """Features `(batch, num_fbank, 80)`, their mean removed, to embeddings `(batch, 256)`.

    `frames`: features to maps `(batch, ceil(num_fbank / 8), 2560)`; `pool`: maps, under weights
    `(batch, num_local, num_maps)`, to embeddings `(batch, num_local, 256)`.
    """

    def __init__(
        self,
        dimension: int = 256,
        width: int = 32,
        num_mels: int = 80,
        num_blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm(width)
        given = width
        for stage, number in zip(STAGES, num_blocks, strict=True):
            wide = width * 2 ** (stage - 1)
            strides = [1 if stage == 1 else 2] + [1] * (number - 1)
            self[f"layer{stage}"] = [BasicBlock(given if i == 0 else wide, wide, s) for i, s in enumerate(strides)]
            given = wide
        self.seg_1 = nn.Linear(2 * given * num_mels // 8, dimension)

    @classmethod
    def like(cls, tensors: Mapping[str, NDArray[Any]], dtype: mx.Dtype = mx.float32) -> ResNet34:
        """A network of the sizes of a checkpoint, with its tensors. Raises `KeyError` or `ValueError`."""
        names = [{name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")} for stage in STAGES]
        width, dimension = len(tensors["conv1.weight"]), len(tensors["seg_1.bias"])
        num_mels = tensors["seg_1.weight"].shape[1] // (2 * width)  # an eighth of the mels, of eight times the width
        a, b, c, d = (len(found) for found in names)
        network = cls(dimension, width, num_mels, (a, b, c, d))
        load(network, tensors, dtype)
        return network

    def frames(self, fbank: mx.array) -> mx.array:
        """The maps: all mels of the first channel come first."""
        x = nn.relu(self.bn1(self.conv1(fbank.transpose(0, 2, 1)[..., None])))  # (batch, mels, time, channels)
        for stage in STAGES:
            for block in self[f"layer{stage}"]:
                x = block(x)
        return x.transpose(0, 2, 3, 1).reshape(x.shape[0], x.shape[2], -1)

    def pool(self, maps: mx.array, weights: mx.array) -> mx.array:
        """Weighted mean and unbiased deviation over time of each channel and mel, then the dense layer."""
        total = weights.sum(axis=2, keepdims=True)
        mean = weights @ maps / total
        spread = total - mx.square(weights).sum(axis=2, keepdims=True) / total
        centred = maps[:, None] - mean[:, :, None]  # (batch, num_local, num_maps, channels)
        variance = (weights[..., None] * mx.square(centred)).sum(axis=2) / spread
        return self.seg_1(mx.concatenate([mean, mx.sqrt(variance)], axis=2))

    def __call__(self, fbank: mx.array) -> mx.array:
        """One embedding of each row, of all its maps alike."""
        maps = self.frames(fbank)
        return self.pool(maps, mx.ones_like(maps[:, None, :, 0]))[:, 0]
