"""Recordings with reference turns: what a benchmark runs over."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diarist.audio.files import EXTENSIONS, unique_uris
from diarist.core.types import Diarization
from diarist.errors import InputError
from diarist.evaluation.pairing import Recording, pair, read_recordings
from diarist.evaluation.report import some
from diarist.evaluation.score import Span
from diarist.formats import read_text
from diarist.formats import uem as uem_format


@dataclass(frozen=True)
class Item:
    """A recording and who speaks when in it; `name` is the file's path below the folder that was given."""

    uri: str
    audio: Path
    name: str
    reference: Diarization

    def mark(self) -> list[str | int]:
        """What says that the recording is still the same: its name, size in bytes, and time of change in nanoseconds.

        Raises `InputError` where it cannot be looked at.
        """
        try:
            found = self.audio.stat()
        except OSError as error:
            raise InputError(f"'{self.audio}' cannot be read: {error.strerror}") from error
        return [self.name, found.st_size, found.st_mtime_ns]


def find_items(
    audio: Path, reference: Path, uem: Mapping[str, Sequence[Span]] | None = None
) -> tuple[list[Item], list[str]]:
    """The recordings of a folder, and of those in it, that have a reference, in order of uri; and warnings in words.

    A recording belongs to the reference of its own name (the uri, or the file's). Files that are not sound, by their
    extension, are passed over. With `uem`, only the recordings that it names are taken. Raises `InputError` where
    there is nothing to read or nothing fits, `FormatError` where a reference does not parse or a name is there twice.
    """
    files = _recordings(audio)
    references = read_recordings(reference)
    named = [Recording(Diarization(uri=unique_uris([file])[0], extra={"audio": str(file)}), file) for file in files]
    try:
        pairs, _ = pair(references, named)
    except InputError as error:
        if type(error) is not InputError:
            raise
        raise InputError(
            f"no recording of '{audio}' ({some([r.uri for r in named])}) has a reference in '{reference}' "
            f"({some([r.uri for r in references])})"
        ) from error
    items, warnings = [], []
    for of, found in pairs:
        if "audio" not in found.extra:
            continue
        file = Path(found.extra["audio"])
        if of.uri != found.uri:
            warnings.append(f"recording '{file.name}' is taken for reference '{of.uri}'")
        items.append(Item(of.uri, file.absolute(), _name(file, audio), of))
    taken = {item.audio for item in items}
    if alone := [r.uri for r in named if r.file.absolute() not in taken]:
        warnings.append(f"no reference for {some(sorted(alone))}: left out")
    if silent := [of.uri for of, found in pairs if "audio" not in found.extra]:
        warnings.append(f"no recording for the reference of {some(silent)}: left out")
    if uem is None:
        return items, warnings
    if outside := [item.uri for item in items if item.uri not in uem]:
        warnings.append(f"not in the UEM, so not run: {some(outside)}")
    return [item for item in items if item.uri in uem], warnings


def read_uem(path: Path) -> dict[str, list[Span]]:
    """The regions of a UEM file by uri. Raises `InputError`, `FormatError`."""
    regions: dict[str, list[Span]] = {}
    for uri, start, end in uem_format.loads(read_text(path), name=str(path)):
        regions.setdefault(uri, []).append((start, end))
    return regions


def _recordings(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no such folder: '{path}'")
    files = sorted(
        Path(folder) / name
        for folder, inside, names in os.walk(path)
        if _seen(inside)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
    )
    if not files:
        raise InputError(f"no recordings in '{path}' or the folders in it")
    return files


def _seen(folders: list[str]) -> bool:
    """Keep `os.walk` out of hidden folders."""
    folders[:] = [name for name in folders if not name.startswith(".")]
    return True


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix() if folder.is_dir() else file.name
