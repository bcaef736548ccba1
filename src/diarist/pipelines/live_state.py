"""The state of a stream as bytes: numpy arrays in an npz file, and nothing that could run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.errors import UsageError

VERSION = 1
Arrays = Mapping[str, NDArray[Any]]


def pack(facts: Mapping[str, Any], arrays: Arrays, fingerprint: str) -> bytes:
    """Facts (plain values) and arrays as bytes, marked with the configuration that they belong to."""
    header = {"diarist-stream": VERSION, "fingerprint": fingerprint, "facts": dict(facts)}
    file = io.BytesIO()
    everything: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays}
    np.savez(file, **everything)
    return file.getvalue()


def unpack(state: bytes, fingerprint: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What `pack()` was given. Raises `UsageError` for bytes that are no state, or one of another version or
    configuration."""
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        version, owner, facts = header["diarist-stream"], header["fingerprint"], header["facts"]
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UsageError("these bytes are not the state of a stream: give what Stream.state() returned") from error
    if version != VERSION:
        raise UsageError(f"the state is of version {version}, and this diarist reads version {VERSION}: start anew")
    if owner != fingerprint:
        raise UsageError("the state is of a stream with another configuration or other models: restore it with those")
    return facts, arrays


def ragged(parts: list[NDArray[Any]], dtype: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Arrays of different lengths as one flat array and their lengths."""
    flat = np.concatenate([part.ravel() for part in parts]) if parts else np.zeros(0)
    return flat.astype(dtype), np.array([part.size for part in parts], np.int64)


def split(flat: NDArray[Any], sizes: NDArray[np.int64]) -> list[NDArray[Any]]:
    """What `ragged()` was given, flat."""
    return [part.copy() for part in np.split(flat, np.cumsum(sizes)[:-1])] if len(sizes) else []
