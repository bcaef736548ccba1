"""Whatever somebody hands over, as a plain file of bytes that fails with one line."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarist.errors import AudioError, UsageError

STDIN = "-"


class GuardedFile(io.RawIOBase):
    """A plain file for decoders written in C, which must not meet a Python exception: what went wrong first is kept
    in `error`, and the file seems to end there. Where they can, they take its descriptor (`fileno`) instead: a Ctrl-C
    that arrives while C calls Python is lost."""

    def __init__(self, file: io.FileIO) -> None:
        """`file` must have no buffer: its descriptor is moved by others too."""
        super().__init__()
        self._file = file
        self.error: str | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor of the file underneath."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """As in `io.RawIOBase`; empty after an error."""
        if self.error is not None:
            return b""
        try:
            return self._file.read(size)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            self.error = _reason(error)
            return b""

    def readinto(self, buffer: Any) -> int:
        """As in `io.RawIOBase`; 0 after an error."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As in `io.RawIOBase`; a place that cannot be (from a damaged header) leaves the position where it was."""
        with contextlib.suppress(OSError, ValueError):
            self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """As in `io.RawIOBase`; 0 after an error."""
        try:
            return self._file.tell()
        except (OSError, ValueError) as error:
            self.error = self.error or _reason(error)
            return 0

    def close(self) -> None:
        """Close the file underneath too."""
        if not self.closed:
            self._file.close()
        super().close()


@dataclass(frozen=True)
class Opened:
    """A recording's bytes: `file` at its beginning, `name` quoted for messages, `uri` the name of the recording."""

    file: GuardedFile
    name: str
    uri: str


def open_bytes(source: Any) -> Opened:
    """A path, `"-"` (standard input), `bytes` or a binary file, as a plain file of at least one byte.

    What is no plain file (bytes in memory, a pipe, a file inside an archive) is first copied to a temporary one. A
    file that can seek is read from its beginning; it stays open and may be closed at any time.

    Raises `AudioError` where it is missing, unreadable, a folder or empty, `UsageError` for another type.
    """
    if isinstance(source, (str, Path)):
        opened = _open_stdin() if str(source) == STDIN else _open_path(Path(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        opened = _plain(io.BytesIO(source), "the recording given", "audio")
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        uri = readable(Path(name).stem) if isinstance(name, str) else "audio"
        opened = _plain(source, repr(name) if isinstance(name, str) else "the file given", uri)
    else:
        raise UsageError(
            f"cannot read sound from a {type(source).__name__}: give a path, '-', bytes, a binary file or a numpy array"
        )
    return _not_empty(opened)


@contextlib.contextmanager
def several_times(source: Any, uri: str | None) -> Iterator[tuple[Any, str | None]]:
    """A recording that can be opened more than once, and its `uri`: a stream, which may give its bytes once only, as a
    copy of them. Raises as `open_bytes`."""
    if not hasattr(source, "read") and not (isinstance(source, (str, Path)) and str(source) == STDIN):
        yield source, uri
        return
    copy = open_bytes(source)
    with copy.file:
        yield copy.file, uri or copy.uri


def readable(name: str) -> str:
    """A file's name as text: bytes in it that are no UTF-8 are shown as such."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _open_path(path: Path) -> Opened:
    name = repr(str(path))
    try:
        if path.is_dir():
            raise AudioError(f"{name} is a folder, not a recording")
        file = path.open("rb")
    except FileNotFoundError:
        raise AudioError(f"no such file: {name}") from None
    except PermissionError:
        raise AudioError(f"{name} cannot be read: permission denied") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be read: {_reason(error)}") from error
    with file:
        return _plain(file, name, readable(path.stem))


def _open_stdin() -> Opened:
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("'-' reads a recording from standard input: pipe one in, as in: cat meeting.wav | ...")
    return _plain(sys.stdin.buffer, "standard input", "stdin")


def _plain(file: Any, name: str, uri: str) -> Opened:
    """A descriptor of our own for a plain file; a temporary copy of anything else."""
    try:
        if not isinstance(file.read(0), bytes):
            raise UsageError(f"{name} is open as text: open it in binary mode ('rb')")
        if _rewound(file) and type(file) is io.BufferedReader and isinstance(file.raw, io.FileIO):
            return Opened(GuardedFile(_own(file)), name, uri)
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.seek(0)
            return Opened(GuardedFile(_own(copy)), name, uri)
    except UsageError:
        raise
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be read: {_reason(error)}") from error


def _own(file: Any) -> io.FileIO:
    """A descriptor of our own for a plain file, which outlives it."""
    return io.FileIO(os.dup(file.fileno()), "rb")


def _rewound(file: Any) -> bool:
    """Go to the beginning; whether that was possible."""
    try:
        file.seek(0)
    except (OSError, AttributeError, io.UnsupportedOperation):
        return False
    return True


def _not_empty(opened: Opened) -> Opened:
    first = opened.file.read(1)
    opened.file.seek(0)
    if first and opened.file.error is None:
        return opened
    opened.file.close()
    if opened.file.error is not None:
        raise AudioError(f"{opened.name} cannot be read: {opened.file.error}")
    raise AudioError(f"{opened.name} is empty (0 bytes)")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
