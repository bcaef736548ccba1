"""WeSpeaker's ResNet34 (Wang et al., "WeSpeaker: a research and production oriented speaker embedding learning
toolkit", 2023; the network: Zeinali et al., "BUT system description to VoxCeleb speaker recognition challenge 2019").

Four stages of residual blocks over `(channels, mels, time)`, each but the first halving mels and time; mean and
deviation over time of every channel and mel (TSTP); one dense layer. `frames_graph` is everything up to the maps and
`Head` the dense layer, so that many speakers are pooled from one map. Channels of a map are laid out as WeSpeaker has
them: all mels of the first channel, then of the second, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingSpec
from diarist.core.types import Float32
from diarist.models.graph import Graph
from diarist.models.nets.campplus import folded

Tensors = Mapping[str, NDArray[Any]]

STRIDE = 8  # fbank frames to one map
STAGES = (1, 2, 3, 4)


def num_blocks(tensors: Tensors, stage: int) -> int:
    """How many residual blocks a stage has, counted from 0."""
    return next(number for number in count() if f"layer{stage}.{number}.conv1.weight" not in tensors)


def num_channels(tensors: Tensors) -> int:
    """Channels of a map: the last stage's, times its mels."""
    return int(tensors["seg_1.weight"].shape[1]) // 2


def num_mels(tensors: Tensors) -> int:
    """Mel bands of the features: eight for each that the last stage has."""
    last = max(number for number in range(num_blocks(tensors, 4)))
    return num_channels(tensors) // len(tensors[f"layer4.{last}.bn2.weight"]) * STRIDE


def spec_of(tensors: Tensors) -> EmbeddingSpec:
    """What a network with these tensors takes and gives; the sound is WeSpeaker's."""
    return EmbeddingSpec(
        dimension=len(tensors["seg_1.bias"]),
        min_frames=2,
        map_stride=STRIDE,
        num_mels=num_mels(tensors),
        window="hamming",
        scale=32768.0,
    )


def frames_graph(tensors: Tensors) -> Graph:
    """fbank `(batch, num_fbank, 80)` to maps `(batch, ceil(num_fbank / 8), 2560)`."""
    graph = Graph("resnet34-frames")
    fbank = graph.input("fbank", ("batch", "num_fbank", num_mels(tensors)))
    graph.output(maps(graph, tensors, fbank), "maps", ("batch", "num_maps", num_channels(tensors)))
    return graph


def maps(graph: Graph, tensors: Tensors, fbank: str) -> str:
    """The maps, as part of a graph."""
    x = graph.node("Unsqueeze", graph.node("Transpose", fbank, perm=[0, 2, 1]), graph.constant([1], np.int64))
    x = graph.label(graph.node("Relu", _conv(graph, tensors, x, "conv1", "bn1", pads=[1, 1, 1, 1])), "conv1")
    for stage in STAGES:
        for number in range(num_blocks(tensors, stage)):
            stride = 2 if stage > 1 and number == 0 else 1
            x = _block(graph, tensors, x, f"layer{stage}.{number}", stride)
    flat = graph.node("Reshape", x, graph.constant([0, num_channels(tensors), -1], np.int64))
    return graph.node("Transpose", flat, perm=[0, 2, 1])


@dataclass(frozen=True)
class Head:
    """The dense layer: statistics `(..., 5120)` to embeddings `(..., 256)`."""

    weight: Float32  # (5120, 256)
    bias: Float32  # (256,)

    @classmethod
    def of(cls, tensors: Tensors) -> Head:
        """From the checkpoint's tensors."""
        weight, bias = (np.asarray(tensors[f"seg_1.{name}"], dtype=np.float32) for name in ("weight", "bias"))
        return cls(np.ascontiguousarray(weight.T), bias)

    def __call__(self, statistics: Float32) -> Float32:
        """Statistics `(..., 5120)` to embeddings `(..., 256)`."""
        return statistics @ self.weight + self.bias


def _block(graph: Graph, tensors: Tensors, x: str, name: str, stride: int) -> str:
    """A residual block: two convolutions beside the input, or beside one tap of it where the size changes."""
    both = {"strides": [stride, stride], "pads": [1, 1, 1, 1]}
    y = graph.node("Relu", _conv(graph, tensors, x, f"{name}.conv1", f"{name}.bn1", **both))
    y = _conv(graph, tensors, y, f"{name}.conv2", f"{name}.bn2", pads=[1, 1, 1, 1])
    if f"{name}.shortcut.0.weight" in tensors:
        x = _conv(graph, tensors, x, f"{name}.shortcut.0", f"{name}.shortcut.1", strides=[stride, stride])
    return graph.label(graph.node("Relu", graph.node("Add", y, x)), name)


def _conv(graph: Graph, tensors: Tensors, x: str, name: str, norm: str, **attributes: Any) -> str:
    weight, bias = folded(tensors, name, norm)
    return graph.node("Conv", x, graph.weight(weight), graph.constant(bias), **attributes)
