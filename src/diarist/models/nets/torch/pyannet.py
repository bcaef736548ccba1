"""PyanNet in torch: see `models/nets/pyannet.py` for what it follows. Names of tensors are those of its checkpoints."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL, STRIDE, POOL, SLOPE = 251, 10, 3, 0.01
_LOWEST_HZ = _NARROWEST_HZ = 50.0


class SincFilters(nn.Module):
    """Band-pass filters from their edges: 40 even (cosine) ones, then 40 odd (sine) ones."""

    n_: Tensor
    window_: Tensor

    def __init__(self, num_filters: int = 80, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.low_hz_ = nn.Parameter(torch.zeros(num_filters // 2, 1))
        self.band_hz_ = nn.Parameter(torch.ones(num_filters // 2, 1))
        self.register_buffer("n_", torch.ones(1, KERNEL // 2))  # 2 pi t, the half before 0
        self.register_buffer("window_", torch.ones(KERNEL // 2))

    def forward(self) -> Tensor:
        """The filters, `(num_filters, 1, 251)`."""
        low = _LOWEST_HZ + self.low_hz_.abs()  # (num_filters / 2, 1)
        high = (low + _NARROWEST_HZ + self.band_hz_.abs()).clamp(_LOWEST_HZ, self.sample_rate / 2)
        below, above, half = low * self.n_, high * self.n_, self.n_ / 2
        even = (above.sin() - below.sin()) / half * self.window_
        odd = (below.cos() - above.cos()) / half * self.window_
        double = 2 * (high - low)
        even = torch.cat([even, double, even.flip(1)], dim=1) / double
        odd = torch.cat([odd, torch.zeros_like(double), -odd.flip(1)], dim=1) / double
        return torch.cat([even, odd]).unsqueeze(1)


class SincConv(nn.Module):
    """Sound `(batch, 1, num_samples)` through the filters, `(batch, num_filters, num_steps)`."""

    def __init__(self) -> None:
        super().__init__()
        self.filterbank = SincFilters()

    def forward(self, samples: Tensor) -> Tensor:
        """Filtered sound."""
        return functional.conv1d(samples, self.filterbank(), stride=STRIDE)


class SincNet(nn.Module):
    """Sound `(batch, 1, num_samples)` to features `(batch, 60, num_frames)`."""

    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList([SincConv(), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(width, affine=True) for width in (80, 60, 60)])

    def forward(self, samples: Tensor) -> Tensor:
        """Features of each frame."""
        x: Tensor = self.wav_norm1d(samples)
        for number, (conv, norm) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            x = conv(x)
            x = x.abs() if number == 0 else x
            x = functional.leaky_relu(norm(functional.max_pool1d(x, POOL)), SLOPE)
        return x


class PyanNet(nn.Module):
    """Sound `(batch, num_samples)` to scores `(batch, num_frames, num_classes)`: log-probabilities of a powerset, or
    probabilities of classes that know nothing of each other."""

    def __init__(
        self,
        num_classes: int = 7,
        num_layers: int = 4,
        hidden: int = 128,
        dense: tuple[int, ...] = (128, 128),
        *,
        powerset: bool = True,
        directions: int = 2,
    ):
        super().__init__()
        self.powerset = powerset
        self.sincnet = SincNet()
        self.lstm = nn.LSTM(60, hidden, num_layers, bidirectional=directions == 2, batch_first=True)
        widths = (directions * hidden, *dense)
        self.linear = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])
        self.classifier = nn.Linear(widths[-1], num_classes)

    @classmethod
    def like(cls, tensors: dict[str, Tensor], *, powerset: bool = True) -> PyanNet:
        """A network of the sizes of a checkpoint, with its tensors. Raises `KeyError` or `RuntimeError`."""
        num_layers = sum(name.startswith("lstm.weight_ih_l") and not name.endswith("_reverse") for name in tensors)
        dense = [tensors[f"linear.{i}.weight"].shape[0] for i in range(sum("linear." in name for name in tensors) // 2)]
        hidden = tensors["lstm.weight_hh_l0"].shape[1]
        directions = 1 + ("lstm.weight_ih_l0_reverse" in tensors)
        sizes = len(tensors["classifier.bias"]), num_layers, hidden, tuple(dense)
        network = cls(*sizes, powerset=powerset, directions=directions)
        network.load_state_dict(tensors)
        return network

    def forward(self, samples: Tensor) -> Tensor:
        """Scores of the classes in each frame."""
        x: Tensor = self.sincnet(samples.unsqueeze(1))
        x, _ = self.lstm(x.transpose(1, 2))
        for layer in self.linear:
            x = functional.leaky_relu(layer(x), SLOPE)
        x = self.classifier(x).float()
        return functional.log_softmax(x, dim=-1) if self.powerset else torch.sigmoid(x)
