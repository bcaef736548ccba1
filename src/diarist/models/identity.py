"""Which network, at which arithmetic, made a voice: only voices of the same one can be compared."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from diarist.core.digest import sha256


def embedding_identity(model: str, precision: str) -> str:
    """`campplus-zh-en int8`; of a file, its name and the start of its hash: `mine.onnx 1f2e3d4c int8`."""
    path = Path(model)
    if path.is_file():
        return f"{path.name} {_digest(path.absolute())} {precision}"
    return f"{model} {precision}"


@lru_cache
def _digest(path: Path) -> str:
    return sha256(path)[:8]
