from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from diarist.core.digest import sha256


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(256)) * 8192 + b"end"])  # the last is more than one block
def test_of_all_bytes(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    assert sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_of_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="file"):
        sha256(tmp_path / "file")
