"""CAM++ in torch: see `models/nets/campplus.py` for what it follows. Names of tensors are those of its checkpoint."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers, dilation
GROWTH, NARROW, SEGMENT = 32, 128, 100


def _norm_relu(width: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(width), relu=nn.ReLU()))


class Residual(nn.Module):
    """A 2-D residual block that keeps time and may halve frequency."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        short = [nn.Conv2d(width, width, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(width)]
        self.shortcut = nn.Sequential(*(short if stride != 1 else ()))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, width, frequency, time)` to the same, with less frequency."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Head(nn.Module):
    """Features `(batch, 80, num_fbank)` to `(batch, 320, num_fbank)`."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(Residual(width, 2), Residual(width, 1))
        self.layer2 = nn.Sequential(Residual(width, 2), Residual(width, 1))
        self.conv2 = nn.Conv2d(width, width, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, fbank: Tensor) -> Tensor:
        """Channels and what is left of frequency, as channels."""
        x = functional.relu(self.bn1(self.conv1(fbank.unsqueeze(1))))
        x = functional.relu(self.bn2(self.conv2(self.layer2(self.layer1(x)))))
        return x.flatten(1, 2)


class Gate(nn.Module):
    """Context-aware masking: a dilated convolution, gated by the mean of all and of segments of 100 maps."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(NARROW, GROWTH, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(NARROW, NARROW // 2, 1)
        self.linear2 = nn.Conv1d(NARROW // 2, GROWTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, 128, num_maps)` to `(batch, 32, num_maps)`; `num_maps` a multiple of 100."""
        means = x.unflatten(2, (-1, SEGMENT)).mean(dim=3)
        context = means + means.mean(dim=2, keepdim=True)
        gate = torch.sigmoid(self.linear2(functional.relu(self.linear1(context))))
        return self.linear_local(x) * gate.repeat_interleave(SEGMENT, dim=2)


class Dense(nn.Module):
    """One densely connected layer: `(batch, width, num_maps)` to 32 new channels."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _norm_relu(width)
        self.linear1 = nn.Conv1d(width, NARROW, 1, bias=False)
        self.nonlinear2 = _norm_relu(NARROW)
        self.cam_layer = Gate(dilation)

    def forward(self, x: Tensor) -> Tensor:
        """The new channels."""
        new: Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return new


class Block(nn.Module):
    """Densely connected layers: each sees the channels of all before it."""

    def __init__(self, num_layers: int, width: int, dilation: int) -> None:
        super().__init__()
        for number in range(1, num_layers + 1):
            self.add_module(f"tdnnd{number}", Dense(width + (number - 1) * GROWTH, dilation))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, width, num_maps)` to `(batch, width + 32 * num_layers, num_maps)`."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Layer(nn.Module):
    """A convolution and what is not linear, in the order that names them: `linear` first in `tdnn` and `dense`."""

    def __init__(self, linear: nn.Conv1d, nonlinear: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.linear, self.nonlinear, self.first = linear, nonlinear, first

    def forward(self, x: Tensor) -> Tensor:
        """Through both."""
        out: Tensor = self.nonlinear(self.linear(x)) if self.first else self.linear(self.nonlinear(x))
        return out


class CamPlusPlus(nn.Module):
    """`frames`: features `(batch, num_fbank, 80)` to maps `(batch, ceil(num_fbank / 2), 512)`; `forward`: statistics of
    maps `(batch, 1024)` to embeddings `(batch, 192)`."""

    def __init__(self, dimension: int = 192, width: int = 128) -> None:
        super().__init__()
        self.head = Head()
        tdnn = nn.Conv1d(320, width, 5, stride=2, padding=2, bias=False)
        parts: OrderedDict[str, nn.Module] = OrderedDict(tdnn=Layer(tdnn, _norm_relu(width), first=True))
        for number, (num_layers, dilation) in enumerate(BLOCKS, start=1):
            parts[f"block{number}"] = Block(num_layers, width, dilation)
            width += num_layers * GROWTH
            halved = nn.Conv1d(width, width // 2, 1, bias=False)
            parts[f"transit{number}"] = Layer(halved, _norm_relu(width), first=False)
            width //= 2
        parts["out_nonlinear"] = _norm_relu(width)
        self.xvector = nn.Sequential(parts)
        plain = nn.Sequential(OrderedDict(batchnorm=nn.BatchNorm1d(dimension, affine=False)))
        self.xvector.add_module("dense", Layer(nn.Conv1d(2 * width, dimension, 1, bias=False), plain, first=True))

    def frames(self, fbank: Tensor) -> Tensor:
        """The maps. Stretches are filled with zeros to a multiple of 200 frames of features."""
        num_fbank = fbank.shape[1]
        x = self.head(functional.pad(fbank.transpose(1, 2), (0, -num_fbank % (2 * SEGMENT))))
        for layer in list(self.xvector.children())[:-1]:
            x = layer(x)
        maps: Tensor = x.transpose(1, 2)[:, : -(-num_fbank // 2)]
        return maps

    def forward(self, statistics: Tensor) -> Tensor:
        """Embeddings; nothing follows the last normalisation."""
        embeddings: Tensor = self.xvector.dense(statistics.unsqueeze(2))
        return embeddings.squeeze(2)
