"""Weights out of an ONNX file, under the names of its network's authors, so that another runtime can have them.

Our own files number their tensors, others name what a compiler made of them: what a tensor is shows in the order of the
operators, which is that of the network. Batch normalisations that were folded into a convolution come back as ones that
do nothing but shift, and the filters of PyanNet as the edges of the bands that they pass. Whether it all fits is for
the comparison with the file's own answers to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float64
from diarist.errors import ModelFileError
from diarist.models import onnx_file
from diarist.models.names import known
from diarist.models.nets import campplus, pyannet
from diarist.models.onnx_file import Node, OnnxFile

Tensors = dict[str, NDArray[Any]]

_EPSILON = np.float32(1e-5)  # of batch normalisations
_BANK = "sincnet.conv1d.0.filterbank"
_FAR = 1e-4  # largest difference of a filter from the one that is fitted
_WIDTHS = np.geomspace(50, 4000, 24)  # Hz, of bands that a filter may pass
_UNFOLDED = ("weight", "bias", "running_mean", "running_var")


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors of a known network, and what the file says of itself.

    Raises `ModelFileError` for a file that cannot be read, and for one whose weights are in eight bits or of a network
    that is not known.
    """
    file = onnx_file.read(path)
    names = ", ".join(list(file.tensors)[:3])
    rounded = any("Integer" in node.op or "Quantize" in node.op or node.op.startswith("QLinear") for node in file.nodes)
    if rounded or any(tensor.dtype == np.int8 for tensor in file.tensors.values()):
        came = f" ({file.said['source']})" if "source" in file.said else ""
        raise ModelFileError(f"'{path}' has its weights in eight bits: convert what it was made of{came}")
    if known(file.tensors) is not None:
        return file.tensors, file.said
    try:
        return _Walk(file).tensors(), file.said
    except (KeyError, IndexError, ValueError, TypeError, StopIteration, RecursionError) as error:
        raise ModelFileError(
            f"'{path}' is not laid out as PyanNet, CAM++ or ResNet34 is, and its tensors ({names}, ...) have no names "
            "that are known: convert the checkpoint that it was made of"
        ) from error


class _Walk:
    """The operators of a file that have weights, in order."""

    def __init__(self, file: OnnxFile) -> None:
        self._file = file
        self._makes = {output: node for node in file.nodes for output in node.outputs}
        self._takes: dict[str, Node] = {}
        for node in file.nodes:
            for name in node.inputs:
                self._takes.setdefault(name, node)

    def tensors(self) -> Tensors:
        """Of whichever network it is."""
        if any(node.op == "LSTM" for node in self._file.nodes):
            return self._pyannet()
        convolutions = self._of("Conv")
        if any(len(self._value(node.inputs[1]).shape) == 3 for node in convolutions):
            return self._campplus()
        return self._resnet()

    def _pyannet(self) -> Tensors:
        found: Tensors = {}
        norms = ("wav_norm1d", "norm1d.0", "norm1d.1", "norm1d.2")
        for name, node in zip(norms, self._of("InstanceNormalization"), strict=True):
            found[f"sincnet.{name}.weight"], found[f"sincnet.{name}.bias"] = map(self._value, node.inputs[1:3])
        bank = next(t for t in self._file.tensors.values() if t.shape == (80, 1, pyannet.KERNEL))
        found |= _bands(bank[:, 0].astype(np.float64))
        others = [node for node in self._of("Conv") if self._value(node.inputs[1]).shape[-1] != pyannet.KERNEL]
        for number, node in zip((1, 2), others, strict=True):
            found[f"sincnet.conv1d.{number}.weight"], found[f"sincnet.conv1d.{number}.bias"] = self._affine(node)
        for layer, node in enumerate(self._of("LSTM")):
            found |= _lstm(layer, *map(self._value, node.inputs[1:4]))
        *dense, classifier = (self._affine(node) for node in self._file.nodes if self._is_dense(node))
        for number, (weight, bias) in enumerate(dense):
            found[f"linear.{number}.weight"], found[f"linear.{number}.bias"] = weight, bias
        found["classifier.weight"], found["classifier.bias"] = classifier
        return found

    def _campplus(self) -> Tensors:
        found: Tensors = {}
        convolutions, norms = iter(self._of("Conv")), self._of("BatchNormalization")
        for name, norm in _campplus_layers():
            if not name:
                found |= self._norm(norms.pop(0), norm)
                continue
            layer = next(convolutions)
            found |= self._layer(layer, name, norm)
            norms = norms if not norm else [n for n in norms if n.inputs[0] != layer.outputs[0]]
        dense = "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm"
        last = next(convolutions, None) or next(node for node in self._file.nodes if self._is_dense(node))
        made = self._layer(last, *dense)
        weight, shift = made[f"{dense[0]}.weight"], made[f"{dense[1]}.bias"]
        scale = made[f"{dense[1]}.weight"] / np.sqrt(made[f"{dense[1]}.running_var"] + _EPSILON)
        mean = made[f"{dense[1]}.running_mean"] - shift / scale
        found[f"{dense[0]}.weight"] = weight.reshape(len(weight), -1, 1) * made[f"{dense[1]}.weight"][:, None, None]
        found[f"{dense[1]}.running_mean"] = mean * made[f"{dense[1]}.weight"]
        found[f"{dense[1]}.running_var"] = made[f"{dense[1]}.running_var"]
        return found

    def _resnet(self) -> Tensors:
        found: Tensors = {}
        first, *others = self._of("Conv")
        found |= self._layer(first, "conv1", "bn1")
        stage, block, part = 1, -1, 2
        for node in others:
            if self._value(node.inputs[1]).shape[2] == 1:
                found |= self._layer(node, f"layer{stage}.{block}.shortcut.0", f"layer{stage}.{block}.shortcut.1")
                continue
            part = 3 - part
            if part == 1:
                wider = node.integers.get("strides", [1])[0] > 1
                stage, block = (stage + 1, 0) if wider else (stage, block + 1)
            found |= self._layer(node, f"layer{stage}.{block}.conv{part}", f"layer{stage}.{block}.bn{part}")
        dense = next(node for node in self._file.nodes if self._is_dense(node))
        found["seg_1.weight"], found["seg_1.bias"] = self._affine(dense)
        return found

    def _of(self, op: str) -> list[Node]:
        """Operators whose weights are in the file."""
        return [node for node in self._file.nodes if node.op == op and self._is_known(node.inputs[1])]

    def _is_dense(self, node: Node) -> bool:
        return node.op in ("MatMul", "Gemm") and self._is_known(node.inputs[1])

    def _layer(self, node: Node, name: str, norm: str) -> Tensors:
        """Weight and bias of a layer, and the normalisation that follows, or one that stands for what was folded in."""
        weight, bias = self._affine(node)
        if not norm:
            return {f"{name}.weight": weight, f"{name}.bias": bias} if bias.any() else {f"{name}.weight": weight}
        after = self._takes.get(node.outputs[0])
        if after is not None and after.op == "BatchNormalization" and not bias.any():
            return {f"{name}.weight": weight, **self._norm(after, norm)}
        one = np.ones(len(weight), np.float32)
        values = (one, bias, np.zeros_like(one), one - _EPSILON)
        return {f"{name}.weight": weight, **{f"{norm}.{k}": v for k, v in zip(_UNFOLDED, values, strict=True)}}

    def _norm(self, node: Node, norm: str) -> Tensors:
        return {f"{norm}.{k}": self._value(name) for k, name in zip(_UNFOLDED, node.inputs[1:5], strict=True)}

    def _affine(self, node: Node) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weight, outputs first, and bias of a convolution or a dense layer; zeros where it has none."""
        weight = self._value(node.inputs[1])
        if node.op == "MatMul" or (node.op == "Gemm" and not node.integers.get("transB", [0])[0]):
            weight = weight.T
        bias = node.inputs[2] if len(node.inputs) > 2 else self._added(node)
        return weight, np.zeros(len(weight), np.float32) if bias is None else self._value(bias)

    def _added(self, node: Node) -> str | None:
        """What is added to a product."""
        after = self._takes.get(node.outputs[0])
        if after is None or after.op != "Add":
            return None
        return next((name for name in after.inputs if self._is_known(name)), None)

    def _is_known(self, name: str) -> bool:
        try:
            self._value(name)
        except KeyError:
            return False
        return True

    def _value(self, name: str) -> NDArray[Any]:
        """A tensor of the file, also where it is turned or widened first. Raises `KeyError` for what is computed."""
        if name in self._file.tensors:
            return self._file.tensors[name].astype(np.float32)
        node = self._makes[name]
        if node.op not in ("Cast", "Identity", "Transpose"):
            raise KeyError(name)
        value = self._value(node.inputs[0])
        return value.transpose(node.integers.get("perm")) if node.op == "Transpose" else value


def _campplus_layers() -> Iterator[tuple[str, str]]:
    """Convolutions of CAM++, each with the normalisation after it or none; without a name, normalisations alone."""
    yield "head.conv1", "head.bn1"
    for layer in ("head.layer1", "head.layer2"):
        for number in (0, 1):
            yield f"{layer}.{number}.conv1", f"{layer}.{number}.bn1"
            yield f"{layer}.{number}.conv2", f"{layer}.{number}.bn2"
            if number == 0:
                yield f"{layer}.0.shortcut.0", f"{layer}.0.shortcut.1"
    yield "head.conv2", "head.bn2"
    yield "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm"
    for block, (num_layers, _) in enumerate(campplus.BLOCKS, start=1):
        for layer in (f"xvector.block{block}.tdnnd{number}" for number in range(1, num_layers + 1)):
            yield "", f"{layer}.nonlinear1.batchnorm"
            yield f"{layer}.linear1", f"{layer}.nonlinear2.batchnorm"
            yield from ((f"{layer}.cam_layer.{part}", "") for part in ("linear_local", "linear1", "linear2"))
        yield "", f"xvector.transit{block}.nonlinear.batchnorm"
        last = block == len(campplus.BLOCKS)
        yield f"xvector.transit{block}.linear", "xvector.out_nonlinear.batchnorm" if last else ""


def _lstm(layer: int, given: NDArray[Any], recurrent: NDArray[Any], bias: NDArray[Any]) -> Tensors:
    """A layer from ONNX's form, `(directions, 4 hidden, ...)` in the order i, o, f, c, to torch's: i, f, c, o."""
    found: Tensors = {}
    for direction, suffix in zip(range(len(given)), ("", "_reverse"), strict=False):
        both = np.split(bias[direction], 2)
        parts = {
            "weight_ih": given[direction],
            "weight_hh": recurrent[direction],
            "bias_ih": both[0],
            "bias_hh": both[1],
        }
        for name, part in parts.items():
            i, o, f, c = np.split(part, 4)
            found[f"lstm.{name}_l{layer}{suffix}"] = np.concatenate([i, f, c, o])
    return found


def _bands(filters: Float64) -> Tensors:
    """The parameters of PyanNet's filters `(80, 251)`, 40 even ones first. Raises `ValueError` for other filters."""
    half = pyannet.KERNEL // 2
    times = (2 * np.pi * np.arange(-half, 0.0).reshape(1, -1) / SAMPLE_RATE).astype(np.float32)
    taper = np.hamming(pyannet.KERNEL)[:half].astype(np.float32)
    num = len(filters) // 2
    edges = np.array(
        [_edges(np.stack([filters[k, :half], filters[num + k, :half]]), times[0], taper) for k in range(num)]
    )
    low, high = edges.astype(np.float32).T
    found: Tensors = {
        f"{_BANK}.low_hz_": (low - 50)[:, None],
        f"{_BANK}.band_hz_": (high - low - 50)[:, None],
        f"{_BANK}.n_": times,
        f"{_BANK}.window_": taper,
    }
    if not np.abs(pyannet.sinc_filters(found) - filters).max() < _FAR:
        raise ValueError("its first convolution is no bank of band-pass filters")
    return found


def _edges(halves: Float64, times: NDArray[Any], taper: NDArray[Any]) -> Float64:
    """The edges in Hz of the band whose even and odd filters have these left halves `(2, 125)`."""

    def difference(edges: Float64) -> Float64:
        below, above = edges[0] * times, edges[1] * times
        scale = taper / times / (edges[1] - edges[0])
        even, odd = (np.sin(above) - np.sin(below)) * scale, (np.cos(below) - np.cos(above)) * scale
        return np.asarray(np.stack([even, odd]) - halves, np.float64).reshape(-1)

    whole = np.concatenate([halves[0], [1.0], halves[0][::-1]])
    spectrum = np.abs(np.fft.rfft(whole, 1 << 14)) ** 4
    centre = float((spectrum * np.fft.rfftfreq(1 << 14, 1 / SAMPLE_RATE)).sum() / spectrum.sum())
    starts = [np.array([max(1.0, centre - width / 2), centre + width / 2]) for width in _WIDTHS]
    start = min(starts, key=lambda edges: float(np.square(difference(edges)).sum()))
    return np.asarray(least_squares(difference, start, xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale=100.0).x)
