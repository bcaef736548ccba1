"""Whatever somebody hands over, as a seekable file of bytes that fails with one line."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from diarist.errors import AudioError, UsageError

STDIN = "-"


class GuardedFile(io.RawIOBase):
    """A binary file for decoders written in C, which must not meet a Python exception: what went wrong first is kept
    in `error`, and the file seems to end there."""

    def __init__(self, file: BinaryIO | IO[bytes] | GuardedFile, *, owned: bool, start: int = 0) -> None:
        """`start` hides that many bytes at the beginning of `file`; `owned` closes it in `close()`."""
        super().__init__()
        self._file = file
        self._owned = owned
        self._start = start
        self.error: str | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """As in `io.RawIOBase`; empty after an error."""
        if self.error is not None:
            return b""
        try:
            return self._file.read(size) or b""
        except (OSError, ValueError) as error:  # ValueError: somebody closed it
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
            self._file.seek(offset + self._start if whence == io.SEEK_SET else offset, whence)
        return self.tell()

    def tell(self) -> int:
        """As in `io.RawIOBase`; 0 after an error."""
        try:
            return self._file.tell() - self._start
        except (OSError, ValueError) as error:
            self.error = self.error or _reason(error)
            return 0

    def close(self) -> None:
        """Close the file underneath, unless it is the caller's."""
        if self._owned and not self.closed:
            self._file.close()
        super().close()


@dataclass(frozen=True)
class Opened:
    """A recording's bytes: `file` at its beginning, `name` quoted for messages, `uri` the name of the recording."""

    file: GuardedFile
    name: str
    uri: str


def open_bytes(source: Any) -> Opened:
    """A path, `"-"` (standard input), `bytes` or a binary file, as a seekable file of at least one byte.

    A file that cannot seek (a pipe) is first copied to a temporary one; one that can is read from its beginning and
    stays open. Raises `AudioError` where it is missing, unreadable, a folder or empty, `UsageError` for another type.
    """
    if isinstance(source, (str, Path)):
        opened = _open_stdin() if str(source) == STDIN else _open_path(Path(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        opened = Opened(GuardedFile(io.BytesIO(source), owned=True), "the recording given", "audio")
    elif hasattr(source, "read"):
        name = getattr(source, "name", None)
        uri = Path(name).stem if isinstance(name, str) else "audio"
        opened = _seekable(source, repr(name) if isinstance(name, str) else "the file given", uri, owned=False)
    else:
        raise UsageError(
            f"cannot read sound from a {type(source).__name__}: give a path, '-', bytes, a binary file or a numpy array"
        )
    return _not_empty(opened)


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
    return _seekable(file, name, path.stem, owned=True)


def _open_stdin() -> Opened:
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("'-' reads a recording from standard input: pipe one in, as in: cat meeting.wav | ...")
    return _seekable(sys.stdin.buffer, "standard input", "stdin", owned=False)


def _seekable(file: Any, name: str, uri: str, *, owned: bool) -> Opened:
    try:
        if not isinstance(file.read(0), bytes):
            raise UsageError(f"{name} is open as text: open it in binary mode ('rb')")
        if _can_seek(file):
            return Opened(GuardedFile(file, owned=owned), name, uri)
        spool = tempfile.TemporaryFile()  # GuardedFile closes it
        shutil.copyfileobj(file, spool, 1 << 20)
        spool.seek(0)
        if owned:
            file.close()
    except OSError as error:
        raise AudioError(f"{name} cannot be read: {_reason(error)}") from error
    return Opened(GuardedFile(spool, owned=True), name, uri)


def _can_seek(file: Any) -> bool:
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
