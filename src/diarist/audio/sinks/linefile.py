"""A file that holds whole lines at any moment, whatever happens to the process or the disk."""

from __future__ import annotations

import io
import os
import stat
from contextlib import suppress
from pathlib import Path

from diarist.errors import DiaristError


class LineFile:
    """Lines that stay, and behind them lines that each `put` replaces.

    Every change is one write: what is shorter than before is first filled up with empty lines, then cut off. Nothing
    is kept in memory, so a crash loses nothing. Into a pipe or a device go only the lines that stay. Raises
    `DiaristError` where the system refuses; what was whole before is still there then.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._kept = self._size = 0
        try:
            self._file: io.FileIO | None = io.FileIO(self.path, "w")
            self.plain = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        except (OSError, ValueError) as error:
            raise self._refused(error) from error

    def put(self, kept: str, replaced: str = "") -> None:
        """Add lines that stay, and make `replaced` the lines behind them."""
        if self._file is None:
            return
        lasting = kept.encode("utf-8", "replace")
        data = lasting + (replaced.encode("utf-8", "replace") if self.plain else b"")
        try:
            if self.plain:
                self._file.seek(self._kept)
            _write_all(self._file, data.ljust(self._size - self._kept, b"\n") if self.plain else data)
            self._kept, self._size = self._kept + len(lasting), self._kept + len(data)
            if self.plain:
                self._file.truncate(self._size)
        except (OSError, ValueError) as error:
            with suppress(OSError, ValueError):
                if self.plain:
                    self._file.truncate(self._kept)
            self.close()
            raise self._refused(error) from error

    def close(self) -> None:
        """Close the file; what is in it stays."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _refused(self, error: Exception) -> DiaristError:
        if isinstance(error, BrokenPipeError):
            return DiaristError(f"cannot write '{self.path}': whoever read it has gone")
        return DiaristError(f"cannot write '{self.path}': {getattr(error, 'strerror', None) or error}")


def _write_all(file: io.FileIO, data: bytes) -> None:
    """All of it: a disk that is nearly full takes a part, then none."""
    while data:
        written = file.write(data)
        data = data[written or 0 :]
