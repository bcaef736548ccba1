"""Write an ONNX file with numpy alone, so that the weights of a checkpoint run without torch and without `onnx`.

Networks in `nets/` are said as calls on a `Graph`; `Graph.serialize()` gives the bytes that ONNX Runtime loads. Only
what they need of the format is here: https://onnx.ai/onnx/repo-docs/IR.html, field numbers from `onnx.proto3`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

IR_VERSION = 8
OPSET = 17
MICROSOFT = "com.microsoft"  # operators that ONNX Runtime has beyond the standard

_DTYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10}
_VARINT, _BYTES, _FLOAT = 0, 2, 5
_ATTR_FLOAT, _ATTR_INT, _ATTR_STRING, _ATTR_FLOATS, _ATTR_INTS, _ATTR_STRINGS = 1, 2, 3, 6, 7, 8

Dim = int | str
Store = Literal["float32", "float16", "int8"]
_MOST_INT8 = 127


@dataclass(frozen=True)
class Operator:
    """One operator of a graph: the names of what it takes (an empty one is left out) and of what it gives."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    name: str
    domain: str = ""


class Graph:
    """An ONNX graph under construction. Tensors are known by name; each method that makes one returns its name.

    `store` says how weights are kept in the file: as they are, or as float16 or int8 (a scale for each output) that is
    widened when the file is loaded. Sums are in float32 all the same: with `DequantizeLinear` in the place of `Cast`
    and `Mul`, ONNX Runtime would round what such weights are multiplied with to eight bits.

    `operators`, in an order in which they can be run, and `constants` by name are what `models.interpreter` reads;
    `inputs` and `outputs` are names. In eight bits an LSTM lays its states on a grid that all rows of a batch share:
    where what runs the graph takes several such batches at once, each is `group` rows of what it is given.
    """

    def __init__(self, name: str, store: Store = "float32", group: int = 1) -> None:
        self.name, self.store, self.group = name, store, group
        self.operators: list[Operator] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.inputs: dict[str, Sequence[Dim]] = {}
        self.outputs: dict[str, Sequence[Dim] | None] = {}
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self.labels: dict[str, str] = {}  # tensors that calibration looks at, by a name of the network's

    def input(self, name: str, shape: Sequence[Dim]) -> str:
        """Declare a float32 input; a dimension that varies is named by a string."""
        self.inputs[name] = shape
        return name

    def output(self, tensor: str, name: str, shape: Sequence[Dim] | None) -> None:
        """Declare `tensor` as the float32 output called `name`; a shape of None says nothing of it."""
        self.operators.append(Operator("Identity", (tensor,), (name,), {}, f"output/{name}"))
        self.outputs[name] = shape

    def constant(self, value: ArrayLike, dtype: Any = np.float32) -> str:
        """A tensor that is part of the file; equal small ones are kept once."""
        array: NDArray[Any] = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        if array.dtype.name not in _DTYPES:
            raise KeyError(array.dtype.name)
        key = (array.dtype.name, array.shape, array.tobytes() if array.size <= 64 else b"")
        if array.size <= 64 and key in self._shared:
            return self._shared[key]
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        self._shared[key] = name
        return name

    def weight(self, value: ArrayLike) -> str:
        """A float32 tensor of the file, outputs first, kept as `store` says; one for each output is always exact."""
        array = np.asarray(value, dtype=np.float32)
        if self.store == "float32" or array.ndim < 2:
            return self.constant(array)
        if self.store == "float16":
            return self.node("Cast", self.constant(array, np.float16), to=_DTYPES["float32"])
        reach = np.abs(array).reshape(len(array), -1).max(axis=1)
        scales = np.maximum(reach / _MOST_INT8, np.finfo(np.float32).tiny)
        integers = np.rint(array / scales.reshape(-1, *[1] * (array.ndim - 1)))
        widened = self.node("Cast", self.constant(integers, np.int8), to=_DTYPES["float32"])
        return self.node("Mul", widened, self.constant(scales.reshape(-1, *[1] * (array.ndim - 1))))

    def label(self, tensor: str, name: str) -> str:
        """Remember `tensor` by a name of the network's; it goes on as it is."""
        self.labels[name] = tensor
        return tensor

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Append an operator with one output."""
        return self.nodes(op, *inputs, outputs=1, domain=domain, **attributes)[0]

    def nodes(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Append an operator with several outputs. An input left out is the empty string."""
        index = len(self.operators)
        names = [f"{op}_{index}.{i}" for i in range(outputs)]
        self.operators.append(Operator(op, inputs, tuple(names), attributes, f"{op}_{index}", domain))
        return names

    def serialize(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """The whole model as the bytes of an `.onnx` file; `metadata` becomes its `metadata_props`."""
        graph = b"".join(
            (
                *(_field(1, _node(operator)) for operator in self.operators),
                _field(2, self.name.encode()),
                *(_field(5, _tensor(name, array)) for name, array in self.constants.items()),
                *(_field(11, _value_info(name, shape)) for name, shape in self.inputs.items()),
                *(_field(12, _value_info(name, shape)) for name, shape in self.outputs.items()),
            )
        )
        opsets = (_field(1, domain.encode()) + _int(2, version) for domain, version in (("", OPSET), (MICROSOFT, 1)))
        props = (_field(1, k.encode()) + _field(2, v.encode()) for k, v in (metadata or {}).items())
        return b"".join(
            (
                _int(1, IR_VERSION),
                _field(2, b"diarist"),
                _field(7, graph),
                *(_field(8, opset) for opset in opsets),
                *(_field(14, prop) for prop in props),
            )
        )


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers: two's complement in ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(payload)) + payload


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FLOAT) + struct.pack("<f", value)


def _tensor(name: str, array: NDArray[Any]) -> bytes:
    dims = b"".join(_int(1, dim) for dim in array.shape)
    raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return dims + _int(2, _DTYPES[array.dtype.name]) + _field(8, name.encode()) + _field(9, raw)


def _value_info(name: str, shape: Sequence[Dim] | None) -> bytes:
    tensor_type = _int(1, _DTYPES["float32"])
    if shape is not None:
        dims = (_int(1, d) if isinstance(d, int) else _field(2, d.encode()) for d in shape)
        tensor_type += _field(2, b"".join(_field(1, dim) for dim in dims))
    return _field(1, name.encode()) + _field(2, _field(1, tensor_type))


def _node(operator: Operator) -> bytes:
    return b"".join(
        (
            *(_field(1, i.encode()) for i in operator.inputs),
            *(_field(2, o.encode()) for o in operator.outputs),
            _field(3, operator.name.encode()),
            _field(4, operator.op.encode()),
            *(_field(5, _field(1, key.encode()) + b"".join(_attribute(v))) for key, v in operator.attributes.items()),
            *([_field(7, operator.domain.encode())] if operator.domain else []),
        )
    )


def _attribute(value: Any) -> Iterator[bytes]:
    if isinstance(value, str):
        yield _field(4, value.encode()) + _int(20, _ATTR_STRING)
    elif isinstance(value, float):
        yield _float(2, value) + _int(20, _ATTR_FLOAT)
    elif isinstance(value, int):
        yield _int(3, value) + _int(20, _ATTR_INT)
    elif all(isinstance(v, int) for v in value):
        yield b"".join(_int(8, v) for v in value) + _int(20, _ATTR_INTS)
    elif all(isinstance(v, float) for v in value):
        yield b"".join(_float(7, v) for v in value) + _int(20, _ATTR_FLOATS)
    else:
        yield b"".join(_field(9, v.encode()) for v in value) + _int(20, _ATTR_STRINGS)
