"""The folder that keeps weights between runs, shared by processes that start at once.

It is `$DIARIST_CACHE`, else `$XDG_CACHE_HOME/diarist`, else the system's usual place (`~/.cache/diarist`,
`~/Library/Caches/diarist`, `%LOCALAPPDATA%/diarist/Cache`). Files are written aside and renamed. A file is trusted
without being read again while its size and time are those in the stamp beside it (`NAME.verified`), made when its hash
was right; a file without such a stamp (copied there by hand, say) is hashed once.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from diarist.core.digest import sha256
from diarist.errors import WeightsError
from diarist.models.catalog import Entry

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

State = Literal["cached", "missing", "corrupt"]
ABANDONED = 24 * 3600.0  # seconds after which what a killed process left is removed


def root(cache_dir: str | Path | None = None) -> Path:
    """The cache folder: `cache_dir` where given, else by the environment. Raises `WeightsError` without a home."""
    given = str(cache_dir) if cache_dir is not None else os.environ.get("DIARIST_CACHE")
    try:
        if given:
            return Path(given).expanduser().absolute()
        return _system_folder()
    except RuntimeError as error:
        raise WeightsError("there is no home folder to keep weights in: set DIARIST_CACHE to a folder") from error


def path_of(entry: Entry, cache_dir: str | Path | None = None) -> Path:
    """Where a file of the catalogue lies in the cache, once it is there."""
    return root(cache_dir) / "weights" / entry.location


def derived(name: str, cache_dir: str | Path | None = None) -> Path:
    """Where a file called `name` that was built from weights is to be kept; write it with `replacing()`.

    The name must change with whatever the file is built from (the weights' hash, the version of the builder).
    """
    return root(cache_dir) / "derived" / name


def state_of(entry: Entry, path: Path, *, thorough: bool = False) -> State:
    """Whether `path` holds what the catalogue says; `thorough` reads it whatever the stamp says."""
    try:
        stat = path.stat()
        if not path.is_file() or stat.st_size != entry.num_bytes:
            return "corrupt"
        stamp = json.dumps([entry.sha256, stat.st_size, stat.st_mtime_ns]).encode()
        if not thorough and _stamp(path).is_file() and _stamp(path).read_bytes() == stamp:
            return "cached"
        if sha256(path) != entry.sha256:
            return "corrupt"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise WeightsError(f"cannot read '{path}': {error.strerror or error}") from error
    try:
        with replacing(_stamp(path)) as aside:
            aside.write_bytes(stamp)
    except WeightsError:
        pass  # a cache that cannot be written works too: its files are hashed each time
    return "cached"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it becomes `path` at the end, or goes away where the block raises.

    Raises `WeightsError` where the folder cannot be made or written, or the disk is full.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            with aside.open("rb+") as file:
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        todo = "free some space there, or set DIARIST_CACHE" if full else "set DIARIST_CACHE"
        raise WeightsError(
            f"cannot write '{path}' ({error.strerror or error}): {todo} to a folder that can be written"
        ) from error


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Only one process (or thread) at a time gets on with `path`; the system frees the lock of one that dies.

    Raises `WeightsError` where the folder cannot be written. A file system without locks is no error: two processes
    may then fetch the same file, and the last one to rename it wins.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("ab")
    except OSError as error:
        raise WeightsError(
            f"cannot write to '{path.parent}' ({error.strerror}): set DIARIST_CACHE to a folder that can be written"
        ) from error
    with file:
        _acquire(file.fileno())
        _remove_abandoned(path)
        yield


def _acquire(descriptor: int) -> None:
    if sys.platform == "win32":
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # waits ten seconds
                return
            except OSError as error:
                if error.errno != errno.EDEADLOCK:
                    return
    else:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            return


def _remove_abandoned(path: Path) -> None:
    for part in path.parent.glob(f".{path.name}.*.part"):
        try:
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()
        except OSError:
            continue


def _stamp(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _system_folder() -> Path:
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]).expanduser().absolute() / "diarist"
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return Path(base) / "diarist" / "Cache" if base else Path.home() / "AppData" / "Local" / "diarist" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "diarist"
    return Path.home() / ".cache" / "diarist"
