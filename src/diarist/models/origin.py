"""Which weights of the catalogue a model is a copy of: by its name, by what its file says, or by its bytes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from diarist.core.digest import sha256
from diarist.errors import DiaristError
from diarist.models import onnx_file
from diarist.models.catalog import CATALOG
from diarist.models.checkpoint import read_tensors
from diarist.models.hub import resolve
from diarist.models.load import weights_in


def origin(model: str | Path, kind: str = "embedding") -> str:
    """The catalogue's name of the weights behind `model`, a copy by `diarist convert` too; else `model` as it is.

    Nothing is fetched, and what cannot be read is left for those who load it to tell of.
    """
    name = str(model)
    if name in CATALOG:
        return name
    try:
        path = resolve(model, offline=True)
        path = next(iter(weights_in(path, kind)), path) if path.is_dir() else path
        found = path.stat()
        came = _source(path.absolute(), found.st_size, found.st_mtime_ns)
    except (DiaristError, OSError):
        return name
    return next((entry.name for entry in CATALOG.values() if entry.kind == kind and entry.sha256 == came), name)


@lru_cache
def _source(path: Path, size: int, age: int) -> str:
    """The SHA-256 of what a file of that `size` and `age` was made of, or else its own: read once while it stays so."""
    said = onnx_file.read(path).said if path.suffix.lower() == ".onnx" else read_tensors(path)[1]
    return said.get("source_sha256") or sha256(path)
