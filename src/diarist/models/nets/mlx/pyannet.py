"""PyanNet in MLX: see `models/nets/pyannet.py` for what it follows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from numpy.typing import NDArray

from diarist.models.nets.mlx.weights import load

KERNEL, STRIDE, POOL, SLOPE = 251, 10, 3, 0.01
_LOWEST_HZ = _NARROWEST_HZ = 50.0


class SincFilters(nn.Module):
    """Band-pass filters from their edges: 40 even (cosine) ones, then 40 odd (sine) ones."""

    def __init__(self, num_filters: int = 80, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.low_hz_ = mx.zeros((num_filters // 2, 1))
        self.band_hz_ = mx.ones((num_filters // 2, 1))
        self.n_ = mx.ones((1, KERNEL // 2))  # 2 pi t, the half before 0
        self.window_ = mx.ones((KERNEL // 2,))

    def __call__(self) -> mx.array:
        """The filters, `(num_filters, 251, 1)`."""
        low = _LOWEST_HZ + mx.abs(self.low_hz_)  # (num_filters / 2, 1)
        high = mx.clip(low + _NARROWEST_HZ + mx.abs(self.band_hz_), _LOWEST_HZ, self.sample_rate / 2)
        below, above, half = low * self.n_, high * self.n_, self.n_ / 2
        even = (mx.sin(above) - mx.sin(below)) / half * self.window_
        odd = (mx.cos(below) - mx.cos(above)) / half * self.window_
        double = 2 * (high - low)
        even = mx.concatenate([even, double, even[:, ::-1]], axis=1) / double
        odd = mx.concatenate([odd, mx.zeros_like(double), -odd[:, ::-1]], axis=1) / double
        return mx.concatenate([even, odd])[:, :, None]


class SincConv(nn.Module):
    """Sound `(batch, num_samples, 1)` through the filters, `(batch, num_steps, num_filters)`."""

    def __init__(self) -> None:
        super().__init__()
        self.filterbank = SincFilters()

    def __call__(self, samples: mx.array) -> mx.array:
        """Filtered sound."""
        return mx.conv1d(samples, self.filterbank().astype(samples.dtype), stride=STRIDE)


class SincNet(nn.Module):
    """Sound `(batch, num_samples, 1)` to features `(batch, num_frames, 60)`."""

    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm(1, eps=1e-5, affine=True)
        self.conv1d = [SincConv(), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)]
        self.norm1d = [nn.InstanceNorm(width, eps=1e-5, affine=True) for width in (80, 60, 60)]

    def __call__(self, samples: mx.array) -> mx.array:
        """Features of each frame."""
        x = self.wav_norm1d(samples.astype(mx.float32))  # half precision would bend the filters
        for number, (conv, norm) in enumerate(zip(self.conv1d, self.norm1d, strict=True)):
            x = conv(x)
            x = mx.abs(x) if number == 0 else x
            x = nn.leaky_relu(norm(_max_pool(x)), SLOPE)
            x = x.astype(self.conv1d[1].weight.dtype) if number == 0 else x
        return x


class LSTM(nn.Module):
    """Layers in both directions: `(batch, num_frames, features)` to `(batch, num_frames, 2 * hidden)`; or in one."""

    def __init__(self, features: int, hidden: int, num_layers: int, directions: int = 2) -> None:
        super().__init__()
        self.num_layers, self.directions = num_layers, directions
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[:directions]:
                name = f"l{layer}{suffix}"
                self[f"weight_ih_{name}"] = mx.zeros((4 * hidden, features if layer == 0 else directions * hidden))
                self[f"weight_hh_{name}"] = mx.zeros((4 * hidden, hidden))
                self[f"bias_ih_{name}"] = mx.zeros((4 * hidden,))
                self[f"bias_hh_{name}"] = mx.zeros((4 * hidden,))

    def __call__(self, x: mx.array) -> mx.array:
        """The states of the last layer."""
        for layer in range(self.num_layers):
            states = [self._direction(x, f"l{layer}")]
            if self.directions == 2:
                states.append(self._direction(x[:, ::-1], f"l{layer}_reverse")[:, ::-1])
            x = mx.concatenate(states, axis=2)
            mx.eval(x)  # a graph of all layers would hold all of their steps at once
        return x

    def _direction(self, x: mx.array, name: str) -> mx.array:
        given = x @ self[f"weight_ih_{name}"].T + (self[f"bias_ih_{name}"] + self[f"bias_hh_{name}"])
        recurrent = self[f"weight_hh_{name}"].T
        state = cell = mx.zeros((x.shape[0], recurrent.shape[0]), x.dtype)
        states = []
        for frame in range(x.shape[1]):
            i, f, g, o = mx.split(given[:, frame] + state @ recurrent, 4, axis=1)
            cell = mx.sigmoid(f) * cell + mx.sigmoid(i) * mx.tanh(g)
            state = mx.sigmoid(o) * mx.tanh(cell)
            states.append(state)
        return mx.stack(states, axis=1)


class PyanNet(nn.Module):
    """Sound `(batch, num_samples)` or `(batch, 1, num_samples)` to scores `(batch, num_frames, num_classes)`:
    log-probabilities of a powerset, or probabilities of classes that know nothing of each other."""

    def __init__(
        self,
        num_classes: int = 7,
        num_layers: int = 4,
        hidden: int = 128,
        dense: tuple[int, ...] = (128, 128),
        *,
        powerset: bool = True,
        directions: int = 2,
    ) -> None:
        super().__init__()
        self.powerset = powerset
        self.sincnet = SincNet()
        self.lstm = LSTM(60, hidden, num_layers, directions)
        widths = (directions * hidden, *dense)
        self.linear = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.classifier = nn.Linear(widths[-1], num_classes)

    @classmethod
    def like(
        cls, tensors: Mapping[str, NDArray[Any]], dtype: mx.Dtype = mx.float32, *, powerset: bool = True
    ) -> PyanNet:
        """A network of the sizes of a checkpoint, with its tensors. Raises `KeyError` or `ValueError`."""
        num_layers = sum(name.startswith("lstm.weight_ih_l") and not name.endswith("_reverse") for name in tensors)
        dense = [tensors[f"linear.{i}.weight"].shape[0] for i in range(sum("linear." in name for name in tensors) // 2)]
        hidden = tensors["lstm.weight_hh_l0"].shape[1]
        directions = 1 + ("lstm.weight_ih_l0_reverse" in tensors)
        sizes = len(tensors["classifier.bias"]), num_layers, hidden, tuple(dense)
        network = cls(*sizes, powerset=powerset, directions=directions)
        load(network, tensors, dtype)
        return network

    def __call__(self, samples: mx.array) -> mx.array:
        """Scores of the classes in each frame."""
        x = self.lstm(self.sincnet(samples.reshape(samples.shape[0], -1, 1)))
        for layer in self.linear:
            x = nn.leaky_relu(layer(x), SLOPE)
        x = self.classifier(x).astype(mx.float32)
        return nn.log_softmax(x, axis=-1) if self.powerset else mx.sigmoid(x)


def _max_pool(x: mx.array) -> mx.array:
    """The largest of each three frames in a row; a rest of one or two is left out."""
    num = x.shape[1] // POOL
    return x[:, : num * POOL].reshape(x.shape[0], num, POOL, x.shape[2]).max(axis=2)
