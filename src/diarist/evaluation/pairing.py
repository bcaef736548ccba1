"""Which hypothesis belongs to which reference: by uri, by the name of the file, or because there is one of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diarist import formats
from diarist.core.types import Diarization
from diarist.errors import FormatError, InputError
from diarist.evaluation.report import some


@dataclass(frozen=True)
class Recording:
    """A diarization and the file that it comes from; `alone` if that file holds no other recording."""

    diarization: Diarization
    file: Path
    alone: bool = True

    @property
    def uri(self) -> str:
        """Name of the recording."""
        return self.diarization.uri

    @property
    def stem(self) -> str | None:
        """The file's name, where it can stand for the recording."""
        return self.file.stem if self.alone else None


def pair(
    references: Sequence[Recording], hypotheses: Sequence[Recording]
) -> tuple[list[tuple[Diarization, Diarization]], list[str]]:
    """Every reference with its hypothesis, in order of uri, and warnings in words.

    A reference without hypothesis gets an empty one: all of it is missed. Hypotheses without reference are left out.
    Raises `FormatError` where two recordings of one side have the same name, `InputError` where none of the names
    matches.
    """
    named, others = _by_name(references), _by_name(hypotheses)
    found = {uri: others.pop(uri) for uri in named if uri in others}
    warnings = []
    for uri, reference in sorted(named.items()):
        other = None if uri in found else _by_file(reference, others)
        if other is None and len(named) == len(others) == 1:
            other = next(iter(others))
        if other is not None:
            found[uri] = others.pop(other)
            warnings.append(f"hypothesis '{other}' is taken for reference '{uri}'")
    missing = sorted(named.keys() - found.keys())
    if missing and not found and others:
        raise InputError(
            f"no recording of the hypothesis, {some(sorted(others))}, is in the reference: {some(missing)}"
        )
    if missing:
        warnings.append(f"no hypothesis for {some(missing)}: all of their speech counts as missed")
    if others:
        warnings.append(f"no reference for {some(sorted(others))}: ignored")
    pairs = []
    for uri, reference in sorted(named.items()):
        hypothesis = found[uri].diarization if uri in found else Diarization(uri=uri)
        pairs.append((replace(reference.diarization, uri=uri), hypothesis))
    return pairs, warnings


def _by_name(recordings: Sequence[Recording]) -> dict[str, Recording]:
    """By uri; by file where several files name their only recording alike (some tools write "waveform" into each)."""
    uris = Counter(r.uri for r in recordings)
    named: dict[str, Recording] = {}
    for recording in recordings:
        name = recording.uri
        if uris[name] > 1 and recording.stem is not None:
            name = recording.stem
        if name in named:
            raise FormatError(f"recording '{name}' is in both '{named[name].file}' and '{recording.file}': keep one")
        named[name] = recording
    return named


def _by_file(reference: Recording, others: dict[str, Recording]) -> str | None:
    """Name of the one of the others which is called, itself or its file, like the reference or its file."""
    names = {reference.uri, reference.stem} - {None}
    for name, other in others.items():
        if name in names or other.stem in names:
            return name
    return None


def read_recordings(path: Path) -> list[Recording]:
    """Every recording of a file, or of the files in one format of a folder and the folders in it.

    The format is the first of `formats.READABLE` that the folder has a file of: one answer may be there in several. A
    file without turns is a recording, of the file's name, in which nobody talks. Raises `InputError` where there
    is nothing to read, `FormatError` where a file does not parse.
    """
    if not path.is_dir():
        return _read(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    suffixes = [formats.FORMATS[name][1].lower() for name in formats.READABLE if name != "text"]  # .txt is anything
    for suffix in suffixes:
        chosen = [file for file in files if file.name.lower().endswith(suffix)]
        if chosen:
            return [recording for file in chosen for recording in _read(file)]
    raise InputError(f"no turns in the folder '{path}': none of its files ends in {', '.join(suffixes)}")


def _read(file: Path) -> list[Recording]:
    diarizations = formats.read(file)
    return [Recording(diarization, file, alone=len(diarizations) == 1) for diarization in diarizations]
