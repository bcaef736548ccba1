"""Embedding networks as one ONNX graph, for files: features and the weights of each speaker in, embeddings out.

The trunk runs once, however many speakers there are. Statistics are those of `models.pooling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.models.graph import Graph, Store
from diarist.models.nets import campplus, campplus_int8, resnet

Tensors = Mapping[str, NDArray[Any]]
MAPS, HEAD = "maps", ("head.weight", "head.bias")  # outputs beside the embeddings
_TO_THE_END = 2**62  # of an axis


def campplus_graph(tensors: Tensors, *, int8: bool, store: Store = "float32") -> Graph:
    """CAM++: `feats` `(batch, num_fbank, 80)`, `weights` `(batch, num_local, num_fbank)` to `embs`
    `(batch, num_local, 192)`; in eight bits the batch is one.

    Also `maps` `(batch, num_maps, 512)`, and what makes embeddings of their statistics, `head.weight` `(1024, 192)` and
    `head.bias` `(192,)`: whoever takes those can hear stretches of its own choice and pool across them.
    """
    graph = Graph("campplus", store)
    batch = 1 if int8 else "batch"
    fbank, weights = _inputs(graph, batch, 80)
    weights = _every(graph, weights, campplus.STRIDE)
    filled = _filled(graph, fbank, campplus.MULTIPLE)
    if int8:
        maps = campplus_int8.maps(graph, tensors, campplus_int8.ranges(), filled)
    else:
        maps = campplus.maps(graph, tensors, filled)
    num_maps = graph.node("Gather", graph.node("Shape", weights), graph.constant([2], np.int64))
    span = (graph.constant([0], np.int64), num_maps, graph.constant([1], np.int64))
    head = campplus.Head.of(tensors)
    maps = graph.node("Slice", maps, *span)
    dense, offset = _embeddings(graph, maps, weights, head.weight, head.bias, batch)
    graph.output(dense, HEAD[0], head.weight.shape)
    graph.output(offset, HEAD[1], head.bias.shape)
    graph.output(maps, MAPS, (batch, "num_maps", campplus.CHANNELS))
    return graph


def resnet_graph(tensors: Tensors, *, store: Store = "float32") -> Graph:
    """ResNet34: `feats` `(batch, num_fbank, 80)`, `weights` `(batch, num_local, num_fbank)` to `embs`
    `(batch, num_local, 256)`."""
    graph = Graph("resnet34", store)
    fbank, weights = _inputs(graph, "batch", resnet.num_mels(tensors))
    maps, head = resnet.maps(graph, tensors, fbank), resnet.Head.of(tensors)
    _embeddings(graph, maps, _every(graph, weights, resnet.STRIDE), head.weight, head.bias, "batch")
    return graph


def _inputs(graph: Graph, batch: int | str, num_mels: int) -> tuple[str, str]:
    feats = graph.input("feats", (batch, "num_fbank", num_mels))
    return feats, graph.input("weights", (batch, "num_local", "num_fbank"))


def _every(graph: Graph, weights: str, stride: int) -> str:
    """The weight of each map: that of the first of its frames."""
    return graph.node("Slice", weights, *(graph.constant([at], np.int64) for at in (0, _TO_THE_END, 2, stride)))


def _filled(graph: Graph, fbank: str, multiple: int) -> str:
    """Features, filled with zeros to a multiple of so many frames."""
    length = graph.node("Gather", graph.node("Shape", fbank), graph.constant([1], np.int64))
    missing = graph.node("Mod", graph.node("Neg", length), graph.constant([multiple], np.int64))
    none = graph.constant([0], np.int64)
    return graph.node("Pad", fbank, graph.node("Concat", none, none, none, none, missing, none, axis=0))


def _embeddings(
    graph: Graph, maps: str, weights: str, matrix: NDArray[Any], bias: NDArray[Any], batch: int | str
) -> tuple[str, str]:
    """Mean and unbiased deviation under the weights, then the dense layer: the names of its weight and its bias."""
    time = graph.constant([2], np.int64)
    total = graph.node("ReduceSum", weights, time, keepdims=1)
    centre = graph.node("ReduceMean", maps, axes=[1], keepdims=1)
    centred = graph.node("Sub", maps, centre)
    mean = graph.node("Div", graph.node("MatMul", weights, centred), total)
    squares = graph.node("MatMul", weights, graph.node("Mul", centred, centred))
    square = graph.node("Sub", squares, graph.node("Mul", total, graph.node("Mul", mean, mean)))
    weighed = graph.node("ReduceSum", graph.node("Mul", weights, weights), time, keepdims=1)
    spread = graph.node("Sub", total, graph.node("Div", weighed, total))
    zero, one = graph.constant(0.0), graph.constant(1.0)
    divisor = graph.node("Where", graph.node("Greater", spread, zero), spread, one)
    deviation = graph.node("Sqrt", graph.node("Div", graph.node("Max", square, zero), divisor))
    statistics = graph.node("Concat", graph.node("Add", mean, centre), deviation, axis=2)
    dense = graph.node("Transpose", graph.weight(matrix.T), perm=[1, 0])
    offset = graph.constant(bias)
    embeddings = graph.node("Add", graph.node("MatMul", statistics, dense), offset)
    graph.output(embeddings, "embs", (batch, "num_local", len(bias)))
    return dense, offset
