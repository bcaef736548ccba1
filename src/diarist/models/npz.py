"""Tensors in a zip file of numpy arrays (`.npz`), as `numpy.savez` and MLX write them.

What a model says of itself is JSON in the comment of the zip file: programs that take every member for a tensor (MLX)
are not disturbed by it.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.errors import ModelFileError, WeightsError

_SPARE = 1 << 26  # bytes that any file may take unpacked
_MOST = 20  # times its own size beyond that
_KINDS = "fiub"
_END = 22  # bytes of the record at the end of a zip file, the length of its comment the last two of them
_LONGEST_END = _END + 0xFFFF


def read(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """`(tensors by name, metadata)`. Raises `WeightsError` for anything that is not numbers in a zip file."""
    try:
        _check_end(Path(path))
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(m.file_size for m in members) > _SPARE + _MOST * sum(m.compress_size for m in members):
                raise ValueError("it would be far larger unpacked than any weights")
            said = _metadata(archive.comment)
            tensors = {m.filename.removesuffix(".npy"): _array(archive, m) for m in members}
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file at '{path}'") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, SyntaxError, MemoryError, RuntimeError) as error:
        raise _refused(path, error) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RecursionError) as error:
        raise _refused(path, error) from error
    return tensors, said


def dumps(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file; the same for the same tensors, whenever it is written."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, tensor in tensors.items():
            raw = io.BytesIO()
            np.lib.format.write_array(raw, np.asarray(tensor, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), raw.getvalue())
        if metadata:
            archive.comment = json.dumps(dict(metadata)).encode()
    return buffer.getvalue()


def _check_end(path: Path) -> None:
    """Raise `ValueError` for a file that ends within its comment, which `zipfile` takes for a shorter one."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - _LONGEST_END))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at >= 0 and len(end) - at - _END < int.from_bytes(end[at + _END - 2 : at + _END], "little"):
        raise ValueError("it ends early")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """One tensor; its header is believed only as far as its bytes go."""
    raw = archive.read(member)
    array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    if array.dtype.kind not in _KINDS:
        raise ValueError(f"'{member.filename}' holds {array.dtype}, not numbers")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)


def _metadata(comment: bytes) -> dict[str, str]:
    try:
        said = json.loads(comment)
    except ValueError:
        return {}  # somebody else's comment
    return {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}


def _refused(path: str | Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"'{path}' is no npz file of plain numbers, or it is cut off ({str(error)[:200]}): get it again"
    )
