"""Files that are whole or not there, under names that every system takes."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diarist.errors import DiaristError

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONGEST = 200  # bytes; file systems take 255 with suffix


def safe_name(uri: str) -> str:
    """A uri as a file name: what some system forbids becomes `_`, a long one is cut and told apart by a hash."""
    name = _FORBIDDEN.sub("_", uri).strip(" ").rstrip(".")
    if name.startswith(".") or _RESERVED.fullmatch(name):
        name = "_" + name
    encoded = name.encode("utf-8", "replace")
    if len(encoded) > _LONGEST:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        name = f"{encoded[: _LONGEST - 9].decode('utf-8', 'ignore')}-{digest}"
    return name or "audio"


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place at the end; on failure nothing is left.

    What is no plain file (a pipe, `/dev/stdout`) is written directly; a link stays, its target is replaced.
    Raises `DiaristError` where the system refuses (no such folder, no permission, disk full).
    """
    shown = repr(str(path))
    try:
        path = Path(path)
        if path.is_dir():
            raise DiaristError(f"cannot write {shown}: it is a folder")
        if path.exists() and not path.is_file():  # asked before links are followed: a pipe's own name leads nowhere
            yield path
            return
        path = path.resolve() if path.is_symlink() else path
        aside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
        try:
            yield aside
            aside.replace(path)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise DiaristError(f"cannot write {shown}: {getattr(error, 'strerror', None) or error}") from error


def write_text(path: str | Path, text: str) -> None:
    """UTF-8 with plain line ends, whole or not at all. Raises `DiaristError` as `write_aside`."""
    with write_aside(path) as aside:
        aside.write_bytes(text.encode("utf-8", "replace"))
