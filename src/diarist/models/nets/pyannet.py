"""PyanNet, the network of pyannote's segmentation-3.0 (Plaquet & Bredin, 2023: see `SegmentationSpec`).

Sound goes through 80 band-pass filters (SincNet: Ravanelli & Bengio, "Speaker recognition from raw waveform with
SincNet", 2018), two convolutions, four LSTM layers in both directions, two dense layers and a classifier.

It is cut in three. `filters_graph` is what chunks that overlap share, a quarter of the work. The network first scales
each chunk: y = a (x - mean) + b. A filter h is linear, so |h * y| = a |h * x + delta|, delta = (b / a - mean) sum(h),
and its largest value under a pool is the larger of `high + delta` and `low - delta`, where `high` and `low` are the
pools of h * x and -(h * x), which know nothing of the chunk. Nothing is approximated. `features_graph` goes on from
there for one chunk at a time, which fits into the processor's cache, and `scores_graph` from there for several at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import SegmentationSpec
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32, Float64
from diarist.errors import WeightsError
from diarist.models import quantize
from diarist.models.graph import MICROSOFT, Graph, Store
from diarist.models.onnx import powerset_of
from diarist.models.quantize import Grid, Quantized
from diarist.stages.powerset import MAX_LOCAL

Tensors = Mapping[str, NDArray[Any]]

FRAMES = Axis(size=991, step=270)
STRIDE, KERNEL, POOL = 10, 251, 3  # of the filters
HOP = STRIDE * POOL  # samples from one pooled value to the next
REACH = KERNEL + (POOL - 1) * STRIDE  # samples that one pooled value sees
SLOPE = 0.01  # of the leaky rectifiers
_EPSILON = 1e-5
_LOWEST_HZ = _NARROWEST_HZ = np.float32(50)
# What a convolution reads, normalised over the chunk. Rarely above 30 deviations, and what is negative is 0.01 of what
# it was: measured on real recordings, clipping there changes no more than the rounding does.
_NORMALISED = Grid.covering(-0.1, 30.0)
_TO_THE_END = 2**62  # of an axis
_HIDDEN = Grid(2 / 255, 128)  # states of an LSTM are within (-1, 1)


def spec_of(
    tensors: Tensors, *, chunk: int | None = None, speakers: tuple[int, int | None] | None = None
) -> SegmentationSpec:
    """What a network with these tensors takes and gives.

    What the checkpoint does not say is taken from the number of its classes: where that is a powerset of at most two
    speakers, they are one, and chunks are of ten seconds (segmentation-3.0); else each class is a speaker, and chunks
    are of five (pyannote/segmentation). Raises `WeightsError` for more speakers than there can be.
    """
    num_classes = len(tensors["classifier.bias"])
    num_local, most = speakers or powerset_of(num_classes) or (num_classes, None)
    if num_local > MAX_LOCAL:
        raise WeightsError(f"it has {num_local} speakers in a chunk, more than the {MAX_LOCAL} that are possible")
    if num_classes != (num_local if most is None else sum(comb(num_local, k) for k in range(most + 1))):
        raise WeightsError(f"it says {num_local} speakers, {most or 'all'} at once, for {num_classes} classes")
    chunk = chunk or (10 if most is not None else 5) * SAMPLE_RATE
    return SegmentationSpec(chunk, FRAMES.count_inside(chunk), FRAMES, num_local, most)


def num_pooled(num_samples: int) -> int:
    """How many pooled values `filters_graph` gives for so many samples."""
    return max(0, ((num_samples - KERNEL) // STRIDE + 1) // POOL)


def scaling(tensors: Tensors) -> tuple[float, float]:
    """Weight and bias of the normalisation of the sound."""
    weight, bias = tensors["sincnet.wav_norm1d.weight"], tensors["sincnet.wav_norm1d.bias"]
    return float(weight[0]), float(bias[0])


def sinc_filters(tensors: Tensors) -> Float32:
    """The filters `(80, 251)` from their edges: 40 even (cosine) ones, then 40 odd (sine) ones.

    In float32, as in training: the constant that the network adds to the sound makes it sensitive to their sums.
    """
    name = "sincnet.conv1d.0.filterbank"
    low_hz, band_hz, times, taper = (tensors[f"{name}.{k}"] for k in ("low_hz_", "band_hz_", "n_", "window_"))
    low = _LOWEST_HZ + np.abs(low_hz)  # (40, 1)
    high = np.clip(low + _NARROWEST_HZ + np.abs(band_hz), _LOWEST_HZ, np.float32(SAMPLE_RATE / 2))
    below, above = low * times, high * times  # radians, (40, 125)
    even = (np.sin(above) - np.sin(below)) / (times / 2) * taper
    odd = (np.cos(below) - np.cos(above)) / (times / 2) * taper
    double = 2 * (high - low)
    even = np.hstack([even, double, even[:, ::-1]]) / double
    odd = np.hstack([odd, np.zeros_like(double), -odd[:, ::-1]]) / double
    return np.vstack([even, odd]).astype(np.float32)


def filters_graph(tensors: Tensors) -> Graph:
    """Sound `(1, 1, num_samples)` to `pooled` `(1, 120, num_pooled)`: `high`, `low` of 40 even filters, 40 odd ones."""
    graph = Graph("pyannet-filters")
    samples = graph.input("samples", (1, 1, "num_samples"))
    filters = sinc_filters(tensors)
    half = len(filters) // 2
    filtered = graph.node("Conv", samples, graph.constant(filters[:, None]), strides=[STRIDE])
    even, odd = graph.nodes("Split", filtered, graph.constant([half, half], np.int64), outputs=2, axis=1)
    # the odd filters sum to zero, so that their delta is zero, and high and low are one
    parts = (even, graph.node("Neg", even), graph.node("Abs", odd))
    pooled = graph.node("Concat", *(_pool(graph, part) for part in parts), axis=1)
    graph.output(pooled, "pooled", (1, 3 * half, "num_pooled"))
    return graph


def features_graph(tensors: Tensors, num_pooled: int, *, int8: bool) -> Graph:
    """Pools of one chunk `(1, 120, num_pooled)`, its `delta` `(1, 40, 1)` and `scale` `(1, 1, 1)` to `features`
    `(num_frames, 1, 60)`."""
    graph = Graph("pyannet-features")
    half = len(tensors["sincnet.norm1d.0.weight"]) // 2
    pooled = graph.input("pooled", (1, 3 * half, num_pooled))
    delta, scale = graph.input("delta", (1, half, 1)), graph.input("scale", (1, 1, 1))
    high, low, odd = graph.nodes("Split", pooled, graph.constant([half] * 3, np.int64), outputs=3, axis=1)
    even = graph.node("Max", graph.node("Add", high, delta), graph.node("Sub", low, delta))
    x = graph.node("Mul", graph.node("Concat", even, odd, axis=1), scale)
    graph.output(_features(graph, tensors, x, int8=int8), "features", ("num_frames", 1, "channels"))
    return graph


def whole_graph(tensors: Tensors, *, int8: bool, powerset: bool, store: Store = "float32") -> Graph:
    """All of it, for a file: sound `(batch, 1, num_samples)` to `scores` `(batch, num_frames, num_classes)`."""
    graph = Graph("pyannet", store)
    samples = graph.input("samples", ("batch", 1, "num_samples"))
    scaled = graph.node("InstanceNormalization", samples, *(graph.constant([v]) for v in scaling(tensors)))
    filtered = graph.node("Conv", scaled, graph.constant(sinc_filters(tensors)[:, None]), strides=[STRIDE])
    x = _features(graph, tensors, _pool(graph, graph.node("Abs", filtered)), int8=int8)
    num_classes = len(tensors["classifier.bias"])
    x = scores(graph, tensors, x, int8=int8, powerset=powerset)
    graph.output(x, "scores", ("batch", "num_frames", num_classes))
    return graph


def scores_graph(tensors: Tensors, *, int8: bool, powerset: bool = True, group: int = 1) -> Graph:
    """Features `(num_frames, batch, 60)` to `scores` `(batch, num_frames, num_classes)`: log-probabilities of a
    powerset, or probabilities of classes that know nothing of each other; in eight bits `group` rows share a grid."""
    graph = Graph("pyannet-scores", group=group)
    width = tensors["lstm.weight_ih_l0"].shape[1]
    x = graph.input("features", ("num_frames", "batch", width))
    graph.output(
        scores(graph, tensors, x, int8=int8, powerset=powerset), "scores", ("batch", "num_frames", "num_classes")
    )
    return graph


def scores(graph: Graph, tensors: Tensors, x: str, *, int8: bool, powerset: bool) -> str:
    """Scores of features, as part of a graph."""
    for layer in range(num_layers(tensors, "lstm.weight_ih_l{}")):
        x = _lstm(graph, tensors, x, layer, int8)
    x = graph.node("Transpose", x, perm=[1, 0, 2])
    for layer in range(num_layers(tensors, "linear.{}.weight")):
        x = _dense(graph, tensors, x, f"linear.{layer}", int8=int8 and layer == 0)
        x = graph.node("LeakyRelu", x, alpha=SLOPE)
    x = _dense(graph, tensors, x, "classifier", int8=False)
    return graph.node("LogSoftmax", x, axis=-1) if powerset else graph.node("Sigmoid", x)


def num_layers(tensors: Tensors, name: str) -> int:
    """How many numbered layers there are, counted from 0."""
    return next(number for number in count() if name.format(number) not in tensors)


def _features(graph: Graph, tensors: Tensors, x: str, *, int8: bool) -> str:
    """Filtered and pooled sound `(batch, 80, num_pooled)` to features `(num_frames, batch, 60)`."""
    x = _normalised(graph, tensors, x, 0)
    for number in (1, 2):
        x = _pool(graph, (_conv_int8 if int8 else _conv)(graph, tensors, x, number))
        x = _normalised(graph, tensors, x, number)
    return graph.node("Transpose", x, perm=[2, 0, 1])


def _pool(graph: Graph, x: str) -> str:
    return graph.node("MaxPool", x, kernel_shape=[POOL], strides=[POOL])


def _normalised(graph: Graph, tensors: Tensors, x: str, number: int) -> str:
    """Each channel over the chunk, then the leaky rectifier."""
    weight, bias = (graph.constant(tensors[f"sincnet.norm1d.{number}.{k}"]) for k in ("weight", "bias"))
    return graph.node("LeakyRelu", graph.node("InstanceNormalization", x, weight, bias, epsilon=_EPSILON), alpha=SLOPE)


def _conv(graph: Graph, tensors: Tensors, x: str, number: int) -> str:
    weight, bias = (tensors[f"sincnet.conv1d.{number}.{k}"] for k in ("weight", "bias"))
    return graph.node("Conv", x, graph.weight(weight), graph.constant(bias))


def _conv_int8(graph: Graph, tensors: Tensors, x: str, number: int) -> str:
    """As a product, so that what comes out is float32: its range varies too much from chunk to chunk for eight bits."""
    weight = tensors[f"sincnet.conv1d.{number}.weight"].astype(np.float64)  # (out, in, kernel)
    rounded = quantize.quantize(graph, x, _NORMALISED)
    features = graph.node("Transpose", rounded.name, perm=[0, 2, 1])
    last = weight.shape[2] - 1
    spans = ((k, k - last if k < last else _TO_THE_END) for k in range(last + 1))
    taps = [graph.node("Slice", features, *(graph.constant([at], np.int64) for at in (*span, 1))) for span in spans]
    joined = Quantized(graph.node("Concat", *taps, axis=2), rounded.grid)
    flat = weight.transpose(0, 2, 1).reshape(len(weight), -1)
    product = quantize.matmul(graph, joined, flat, tensors[f"sincnet.conv1d.{number}.bias"])
    return graph.node("Transpose", product, perm=[0, 2, 1])


def _lstm(graph: Graph, tensors: Tensors, x: str, layer: int, int8: bool) -> str:
    """`(num_frames, batch, features)` to `(num_frames, batch, 2 * hidden)`, both directions or the only one."""
    directions = [f"l{layer}{suffix}" for suffix in ("", "_reverse") if f"lstm.weight_ih_l{layer}{suffix}" in tensors]
    given = np.stack([_gates(tensors[f"lstm.weight_ih_{d}"]) for d in directions])  # (directions, 4 hidden, features)
    recurrent = np.stack([_gates(tensors[f"lstm.weight_hh_{d}"]) for d in directions])  # (directions, 4 hidden, hidden)
    bias = np.stack([np.concatenate([_gates(tensors[f"lstm.bias_{k}_{d}"]) for k in ("ih", "hh")]) for d in directions])
    attributes = {
        "hidden_size": recurrent.shape[2],
        "direction": "bidirectional" if len(directions) == 2 else "forward",
    }
    if int8:
        weights, scales = zip(*(_rounded_gates(graph, w) for w in (given, recurrent)), strict=True)
        zero = graph.constant(np.zeros(given.shape[:2]), np.int8)
        inputs = (x, *weights, graph.constant(bias), "", "", "", "", scales[0], zero, scales[1], zero)
        y, *_ = graph.nodes("DynamicQuantizeLSTM", *inputs, outputs=3, domain=MICROSOFT, **attributes)
    else:
        inputs = (x, graph.weight(given), graph.weight(recurrent), graph.constant(bias))
        y, *_ = graph.nodes("LSTM", *inputs, outputs=3, **attributes)
    return graph.node("Reshape", graph.node("Transpose", y, perm=[0, 2, 1, 3]), graph.constant([0, 0, -1], np.int64))


def _gates(weight: NDArray[Any]) -> Float64:
    """The four gates from the order of torch (input, forget, cell, output) to that of ONNX (i, o, f, c)."""
    i, f, c, o = np.split(weight.astype(np.float64), 4)
    return np.concatenate([i, o, f, c])


def _rounded_gates(graph: Graph, weight: Float64) -> tuple[str, str]:
    """int8 weights `(2, in, 4 hidden)` of `(2, 4 hidden, in)`, and their scales `(2, 4 hidden)`."""
    integers, scales = zip(*(quantize.rounded(one) for one in weight), strict=True)
    return graph.constant(np.stack(integers).transpose(0, 2, 1), np.int8), graph.constant(np.stack(scales))


def _dense(graph: Graph, tensors: Tensors, x: str, name: str, *, int8: bool) -> str:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if int8:
        return quantize.matmul(graph, quantize.quantize(graph, x, _HIDDEN), weight.astype(np.float64), bias)
    transposed = graph.node("Transpose", graph.weight(weight), perm=[1, 0])  # once, when the file is loaded
    return graph.node("Add", graph.node("MatMul", x, transposed), graph.constant(bias))
