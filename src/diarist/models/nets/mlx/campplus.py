"""CAM++ in MLX: see `models/nets/campplus.py` for what it follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from numpy.typing import NDArray

from diarist.models.nets.mlx.weights import load

BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers, dilation
GROWTH, NARROW, SEGMENT = 32, 128, 100


class NormRelu(nn.Module):
    """A batch normalisation, as it was trained, and a rectifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm(width)

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, num_frames, width)` to the same."""
        return nn.relu(self.batchnorm(x))


class Norm(nn.Module):
    """A batch normalisation with nothing learnt."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm(width, affine=False)

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, num_frames, width)` to the same."""
        return self.batchnorm(x)


class Residual(nn.Module):
    """A 2-D residual block that keeps time and may halve frequency."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm(width)
        short = [nn.Conv2d(width, width, 1, stride=(stride, 1), bias=False), nn.BatchNorm(width)]
        self.shortcut = short if stride != 1 else []

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, frequency, time, width)` to the same, with less frequency."""
        y = nn.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        for layer in self.shortcut:
            x = layer(x)
        return nn.relu(y + x)


class Head(nn.Module):
    """Features `(batch, num_fbank, 80)` to `(batch, num_fbank, 320)`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm(width)
        self.layer1 = [Residual(width, 2), Residual(width, 1)]
        self.layer2 = [Residual(width, 2), Residual(width, 1)]
        self.conv2 = nn.Conv2d(width, width, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm(width)

    def __call__(self, fbank: mx.array) -> mx.array:
        """Channels and what is left of frequency, as channels: all frequencies of the first channel come first."""
        x = nn.relu(self.bn1(self.conv1(fbank.transpose(0, 2, 1)[..., None])))
        for block in (*self.layer1, *self.layer2):
            x = block(x)
        x = nn.relu(self.bn2(self.conv2(x)))  # (batch, frequency, time, channel)
        return x.transpose(0, 2, 3, 1).reshape(x.shape[0], x.shape[2], -1)


class Gate(nn.Module):
    """Context-aware masking: a dilated convolution, gated by the mean of all and of segments of 100 maps."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(NARROW, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(NARROW, NARROW // 2, 1)
        self.linear2 = nn.Conv1d(NARROW // 2, GROWTH, 1)

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, num_maps, 128)` to `(batch, num_maps, 32)`; `num_maps` a multiple of 100."""
        means = x.reshape(x.shape[0], -1, SEGMENT, NARROW).mean(axis=2)
        context = means + means.mean(axis=1, keepdims=True)
        gate = mx.sigmoid(self.linear2(nn.relu(self.linear1(context))))
        return self.linear_local(x) * mx.repeat(gate, SEGMENT, axis=1)


class Dense(nn.Module):
    """One densely connected layer: `(batch, num_maps, width)` to 32 new channels."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = NormRelu(width)
        self.linear1 = nn.Conv1d(width, NARROW, 1, bias=False)
        self.nonlinear2 = NormRelu(NARROW)
        self.cam_layer = Gate(dilation)

    def __call__(self, x: mx.array) -> mx.array:
        """The new channels."""
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class Block(nn.Module):
    """Densely connected layers: each sees the channels of all before it."""

    def __init__(self, num_layers: int, width: int, dilation: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        for number in range(1, num_layers + 1):
            self[f"tdnnd{number}"] = Dense(width + (number - 1) * GROWTH, dilation)

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, num_maps, width)` to `(batch, num_maps, width + 32 * num_layers)`."""
        for number in range(1, self.num_layers + 1):
            x = mx.concatenate([x, self[f"tdnnd{number}"](x)], axis=2)
        return x


class Layer(nn.Module):
    """A convolution and what is not linear, in the order that names them: `linear` first in `tdnn` and `dense`."""

    def __init__(self, linear: nn.Conv1d, nonlinear: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.linear, self.nonlinear, self.first = linear, nonlinear, first

    def __call__(self, x: mx.array) -> mx.array:
        """Through both."""
        return self.nonlinear(self.linear(x)) if self.first else self.linear(self.nonlinear(x))


class XVector(nn.Module):
    """What follows the head, by the names of the checkpoint."""

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        self.tdnn = Layer(nn.Conv1d(320, width, 5, stride=2, padding=2, bias=False), NormRelu(width), first=True)
        for number, (num_layers, dilation) in enumerate(BLOCKS, start=1):
            self[f"block{number}"] = Block(num_layers, width, dilation)
            width += num_layers * GROWTH
            halved = nn.Conv1d(width, width // 2, 1, bias=False)
            self[f"transit{number}"] = Layer(halved, NormRelu(width), first=False)
            width //= 2
        self.out_nonlinear = NormRelu(width)
        self.dense = Layer(nn.Conv1d(2 * width, dimension, 1, bias=False), Norm(dimension), first=True)

    def __call__(self, x: mx.array) -> mx.array:
        """`(batch, num_fbank, 320)` to maps `(batch, num_fbank / 2, 512)`."""
        x = self.tdnn(x)
        for number in range(1, len(BLOCKS) + 1):
            x = self[f"transit{number}"](self[f"block{number}"](x))
        return self.out_nonlinear(x)


class CamPlusPlus(nn.Module):
    """`frames`: features `(batch, num_fbank, 80)` to maps `(batch, ceil(num_fbank / 2), 512)`; called: statistics of
    maps `(batch, 1024)` to embeddings `(batch, 192)`."""

    def __init__(self, dimension: int = 192, width: int = 128) -> None:
        super().__init__()
        self.head = Head()
        self.xvector = XVector(dimension, width)

    @classmethod
    def like(cls, tensors: Mapping[str, NDArray[Any]], dtype: mx.Dtype = mx.float32) -> CamPlusPlus:
        """A network with the tensors of a checkpoint. Raises `KeyError` or `ValueError`."""
        network = cls(tensors["xvector.dense.linear.weight"].shape[0])
        load(network, tensors, dtype)
        return network

    def frames(self, fbank: mx.array) -> mx.array:
        """The maps. Stretches are filled with zeros to a multiple of 200 frames of features."""
        num_fbank = fbank.shape[1]
        padded = mx.pad(fbank, [(0, 0), (0, -num_fbank % (2 * SEGMENT)), (0, 0)])
        return self.xvector(self.head(padded))[:, : -(-num_fbank // 2)]

    def __call__(self, statistics: mx.array) -> mx.array:
        """Embeddings; nothing follows the last normalisation."""
        return self.xvector.dense(statistics[:, None])[:, 0]
