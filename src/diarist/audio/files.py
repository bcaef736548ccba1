"""Which recordings are meant by what stands on a command line, and a name of its own for each."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from diarist.audio.opening import STDIN, readable
from diarist.errors import InputError

EXTENSIONS = frozenset(
    ".3gp .aac .ac3 .aif .aifc .aiff .amr .ape .asf .au .avi .caf .flac .flv .m4a .m4b .m4v .mka .mkv .mov .mp2 .mp3 "
    ".mp4 .mpeg .mpg .mts .oga .ogg .ogv .opus .ra .rf64 .snd .sph .tta .ts .voc .w64 .wav .wave .webm .wma .wmv "
    ".wv".split()
)
"""What counts as a recording when a folder is given; a file named by itself may be called anything."""


def expand(paths: Iterable[str | Path]) -> list[Path]:
    """Files, folders and patterns as a list of files, each once, in the order given.

    A folder stands for the recordings directly in it, by extension, sorted by name, hidden ones left out. `"-"`
    (standard input) stays. A pattern (`*.wav`) that names no file is expanded here, for shells that do not. A file
    that does not exist stays too: it is reported where it is read, and the others finish.

    Raises `InputError` for a folder without recordings, an unreadable one, and a pattern that matches nothing.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _expand_one(Path(path)):
            found.setdefault(file if str(file) == STDIN else file.absolute(), file)
    return list(found.values())


def unique_uris(paths: Sequence[str | Path]) -> list[str]:
    """A name for each recording: the file's stem; where two stems are equal, with the extension, and where those are
    equal too, with as many parent folders as it takes, joined by `_`. Standard input is `stdin`."""
    files = [Path("stdin") if str(path) == STDIN else Path(path) for path in paths]
    names = [readable(file.stem) for file in files]
    deepest = max((len(file.absolute().parts) for file in files), default=0)
    for depth in range(1, deepest + 1):
        taken = Counter(names)
        if len(taken) == len(names):
            return names
        longer = [readable("_".join(part.strip("/\\:") for part in file.absolute().parts[-depth:])) for file in files]
        names = [more if taken[name] > 1 else name for name, more in zip(names, longer, strict=True)]
    return list(_numbered(names))


def _expand_one(path: Path) -> Iterator[Path]:
    if os.path.isdir(path):  # noqa: PTH112 - False for names that cannot be, where Path.is_dir raises
        yield from _recordings(path)
    elif any(sign in str(path) for sign in "*?[") and not os.path.exists(path):  # noqa: PTH110 - likewise
        matches = sorted(glob.glob(str(path)))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matches:
            raise InputError(f"no file matches {str(path)!r}")
        for match in matches:
            yield from _recordings(Path(match)) if Path(match).is_dir() else [Path(match)]
    else:
        yield path


def _recordings(folder: Path) -> list[Path]:
    try:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error
    files = [file for file in files if not file.is_dir()]
    if not files:
        raise InputError(f"no recordings in folder {str(folder)!r} (folders inside it are not searched)")
    return files


def _numbered(names: Iterable[str]) -> Iterator[str]:
    """Names that are still equal (the same file twice) counted on."""
    seen: set[str] = set()
    for name in names:
        number, candidate = 1, name
        while candidate in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        yield candidate
