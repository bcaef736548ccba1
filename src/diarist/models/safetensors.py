"""Tensors in the safetensors format, with numpy alone: a header of JSON, then the bytes of each tensor.

The format is a dozen lines (https://huggingface.co/docs/safetensors), and the core may need nothing but numpy.
bfloat16, which numpy lacks, is widened to float32. A file in parts is read through its `.index.json`.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.errors import ModelFileError, WeightsError

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items() if name != "BF16"}
_LONGEST = 100_000_000  # bytes of a header, as the format has it
_WORD = re.compile(r"[\w.-]+")


def read(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """`(tensors by name, metadata)` of a file, or of all the parts that an index names.

    Raises `WeightsError` for anything else, cut off or with tensors that overlap or reach beyond the file.
    """
    path = Path(path)
    try:
        if path.suffix == ".json":
            return _read_parts(path)
        return _read_one(path)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file at '{error.filename or path}'") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        reason = f"no entry {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise ModelFileError(
            f"'{path}' is no safetensors file, or it is cut off ({reason[:200]}): get it again"
        ) from error


def dumps(
    tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str], bfloat16: frozenset[str] = frozenset()
) -> bytes:
    """The bytes of a file; tensors named in `bfloat16` are float32 arrays that are rounded to it."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts, end = [], 0
    for name, tensor in tensors.items():
        array = np.asarray(tensor, order="C")
        if name in bfloat16:
            array, kind = _bfloat16(array), "BF16"
        else:
            array = array.astype(array.dtype.newbyteorder("<"), copy=False)
            kind = _NAMES[array.dtype]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        parts.append(array.tobytes())
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def _bfloat16(array: NDArray[Any]) -> NDArray[Any]:
    """The upper halves of float32 numbers, rounded to the nearest, to even."""
    bits = np.ascontiguousarray(array, dtype="<f4").view("<u4").astype(np.uint64)
    return np.asarray((bits + 0x7FFF + (bits >> 16 & 1)) >> 16, dtype="<u2").reshape(array.shape)


def _read_parts(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All the tensors of an index; parts lie beside it."""
    wanted = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    tensors: dict[str, NDArray[Any]] = {}
    said: dict[str, str] = {}
    for part in sorted(set(wanted.values())):
        if not _WORD.fullmatch(part):
            raise ValueError(f"a part is called '{part}'")
        held, metadata = _read_one(path.parent / part)
        said |= metadata
        tensors |= {name: tensor for name, tensor in held.items() if wanted.get(name) == part}
    missing = sorted(set(wanted) - set(tensors))
    if missing:
        raise ValueError(f"no part holds '{missing[0]}'")
    return tensors, said


def _read_one(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", _exactly(file.read(8), 8))
        if length > min(size - 8, _LONGEST):
            raise ValueError(f"its header would have {length} bytes")
        header = json.loads(_exactly(file.read(length), length))
        body = file.read()
    if not isinstance(header, dict):
        raise ValueError("its header is no table")
    said = header.pop("__metadata__", {})
    spans = sorted(tuple(about["data_offsets"]) for about in header.values())
    if any(end > start for (_, end), (start, _) in pairwise(spans)):
        raise ValueError("its tensors overlap")
    tensors = {str(name): _tensor(name, about, body) for name, about in header.items()}
    return tensors, {str(key): str(value) for key, value in said.items()}


def _tensor(name: str, about: Mapping[str, Any], body: bytes) -> NDArray[Any]:
    dtype, shape, (begin, end) = np.dtype(_DTYPES[about["dtype"]]), about["shape"], about["data_offsets"]
    whole = all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end))
    if not whole or end > len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"'{name}' is not where it should be")
    array = np.frombuffer(body[begin:end], dtype).reshape(shape)
    if about["dtype"] == "BF16":
        return np.asarray((array.astype(np.uint32) << 16).view(np.float32))
    return np.asarray(array.astype(dtype.newbyteorder("="), copy=True))


def _exactly(raw: bytes, size: int) -> bytes:
    if len(raw) != size:
        raise ValueError("it ends early")
    return raw
