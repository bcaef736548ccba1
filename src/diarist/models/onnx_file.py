"""Tensors, operators and facts of an ONNX file, read with numpy alone: the counterpart of `graph.py`.

Only the tables that weights can be found by are read (field numbers from `onnx.proto3`); nothing is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.errors import ModelFileError

_DTYPES = {1: "<f4", 2: "|u1", 3: "|i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "|b1", 10: "<f2", 11: "<f8"}
_FLOATS, _INTS, _INTS64 = 4, 5, 7  # where a tensor keeps its numbers, unless as raw bytes
_RAW, _EXTERNAL = 9, 13
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Value = int | memoryview


@dataclass(frozen=True)
class Node:
    """An operator: its name in ONNX, the tensors that it takes and gives, and its attributes that are whole numbers."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class OnnxFile:
    """`tensors` that are part of the file by name, `nodes` in the order in which they run, and what it `said` of
    itself."""

    tensors: dict[str, NDArray[Any]]
    nodes: list[Node]
    said: dict[str, str]


def read(path: Path) -> OnnxFile:
    """Raises `ModelFileError` for a file that is no ONNX file, is cut off, or keeps its weights in other files."""
    found = OnnxFile({}, [], {})
    try:
        for number, value in _fields(memoryview(path.read_bytes())):
            if number == 7:
                _read_graph(_message(value), found)
            elif number == 14:
                entry = dict(_fields(_message(value)))
                found.said[_text(entry[1])] = _text(entry.get(2, memoryview(b"")))
    except (OSError, ValueError, KeyError, IndexError, TypeError, MemoryError) as error:
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ModelFileError(f"'{path}' is no ONNX file, or it is cut off ({reason[:200]}): get it again") from error
    if not found.nodes:
        raise ModelFileError(f"'{path}' is no ONNX file, or it is cut off (it holds no graph): get it again")
    return found


def _read_graph(raw: memoryview, found: OnnxFile) -> None:
    for number, value in _fields(raw):
        if number == 1:
            _read_node(_message(value), found)
        elif number == 5:
            name, array = _tensor(_message(value))
            found.tensors[name] = array


def _read_node(raw: memoryview, found: OnnxFile) -> None:
    inputs, outputs, op, integers = [], [], "", {}
    for number, value in _fields(raw):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            op = _text(value)
        elif number == 5:
            name, numbers, tensor = _attribute(_message(value))
            integers[name] = numbers
            if op in ("", "Constant") and name == "value" and tensor is not None:
                found.tensors[outputs[0]] = tensor
    found.nodes.append(Node(op, tuple(inputs), tuple(outputs), integers))


def _attribute(raw: memoryview) -> tuple[str, list[int], NDArray[Any] | None]:
    """The name of an attribute, its whole numbers, its tensor."""
    name, numbers, tensor = "", [], None
    for number, value in _fields(raw):
        if number == 1:
            name = _text(value)
        elif number in (3, 8):
            numbers += _integers(value)
        elif number == 5:
            tensor = _tensor(_message(value))[1]
    return name, numbers, tensor


def _tensor(raw: memoryview) -> tuple[str, NDArray[Any]]:
    name, shape, kind = "", [], 0
    held: memoryview | list[int] | None = None
    for number, value in _fields(raw):
        if number == 1:
            shape += _integers(value)
        elif number == 2:
            kind = _integers(value)[0]
        elif number == 8:
            name = _text(value)
        elif number in (_RAW, _FLOATS):
            held = _message(value)
        elif number in (_INTS, _INTS64):
            held = [*(held if isinstance(held, list) else []), *_integers(value)]
        elif number == _EXTERNAL:
            raise ValueError(f"'{name}' is kept in another file")
    if kind not in _DTYPES or any(size < 0 for size in shape):
        raise ValueError(f"'{name}' is of a kind that is not known")
    dtype = np.dtype(_DTYPES[kind])
    array = np.asarray(held, dtype) if isinstance(held, list) else np.frombuffer(held or b"", dtype)
    if array.size != math.prod(shape):
        raise ValueError(f"'{name}' is not as long as its shape says")
    return name, array.reshape(shape).astype(dtype.newbyteorder("="))


def _integers(value: Value) -> list[int]:
    """One whole number, or several in a row."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _text(value: Value) -> str:
    return bytes(_message(value)).decode()


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number stands where a text should")
    return value


def _fields(raw: memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message: numbers, or the bytes of anything else."""
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(raw, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(raw, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of the kind {kind}")
        if size > len(raw) - at:
            raise ValueError("it ends early")
        yield key >> 3, raw[at : at + size]
        at += size


def _varint(raw: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
