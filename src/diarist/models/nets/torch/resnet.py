"""WeSpeaker's ResNet34 in torch: see `models/nets/resnet.py` for what it follows. Names of tensors are those of its
checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = (1, 2, 3, 4)


class BasicBlock(nn.Module):
    """Two convolutions beside the input."""

    def __init__(self, given: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        changed = stride != 1 or given != width
        short = [nn.Conv2d(given, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)]
        self.shortcut = nn.Sequential(*(short if changed else ()))

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, given, mels, time)` to `(batch, width, mels / stride, time / stride)`."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


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
        self.bn1 = nn.BatchNorm2d(width)
        given = width
        for stage, number in zip(STAGES, num_blocks, strict=True):
            wide = width * 2 ** (stage - 1)
            strides = [1 if stage == 1 else 2] + [1] * (number - 1)
            layers = [BasicBlock(given if i == 0 else wide, wide, stride) for i, stride in enumerate(strides)]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            given = wide
        self.seg_1 = nn.Linear(2 * given * num_mels // 8, dimension)

    @classmethod
    def like(cls, tensors: dict[str, Tensor]) -> ResNet34:
        """A network of the sizes of a checkpoint, with its tensors. Raises `KeyError` or `RuntimeError`."""
        names = [{name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")} for stage in STAGES]
        width, dimension = len(tensors["conv1.weight"]), len(tensors["seg_1.bias"])
        num_mels = tensors["seg_1.weight"].shape[1] // (2 * width)  # an eighth of the mels, of eight times the width
        a, b, c, d = (len(found) for found in names)
        network = cls(dimension, width, num_mels, (a, b, c, d))
        network.load_state_dict({name: tensors[name] for name in network.state_dict() if name in tensors}, strict=False)
        _check_complete(network, tensors)
        return network

    def frames(self, fbank: Tensor) -> Tensor:
        """The maps."""
        x = functional.relu(self.bn1(self.conv1(fbank.transpose(1, 2).unsqueeze(1))))
        for stage in STAGES:
            x = self.get_submodule(f"layer{stage}")(x)
        return x.flatten(1, 2).transpose(1, 2)

    def pool(self, maps: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean and unbiased deviation over time of each channel and mel, then the dense layer."""
        total = weights.sum(dim=2, keepdim=True)
        mean = weights @ maps / total
        spread = total - weights.square().sum(dim=2, keepdim=True) / total
        centred = maps.unsqueeze(1) - mean.unsqueeze(2)  # (batch, num_local, num_maps, channels)
        variance = (weights.unsqueeze(3) * centred.square()).sum(dim=2) / spread
        return self.seg_1(torch.cat([mean, variance.sqrt()], dim=2))

    def forward(self, fbank: Tensor) -> Tensor:
        """One embedding of each row, of all its maps alike."""
        maps = self.frames(fbank)
        return self.pool(maps, torch.ones_like(maps[:, None, :, 0]))[:, 0]


def _check_complete(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Raise `KeyError` for the first tensor that the network has and the checkpoint lacks."""
    for name in network.state_dict():
        if name not in tensors and not name.endswith("num_batches_tracked"):
            raise KeyError(name)
