"""Where speech comes from: folders of single-speaker recordings, and folders of noise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diarist.audio.files import EXTENSIONS
from diarist.core.types import Waveform
from diarist.errors import InputError, UsageError


@dataclass(frozen=True)
class Speech:
    """What one person says: files (or waveforms) that hold nobody else's voice."""

    speaker: str
    utterances: tuple[Path | Waveform, ...]


def find_speakers(folders: Iterable[str | Path], pattern: str | None = None) -> list[Speech]:
    """Speakers under folders, in order of name.

    The folder that a file lies in is its speaker, and the folders above it, up to the one given, are part of the
    name: `speech/vctk/p225/*.wav` is `vctk-p225` from `speech` and `p225` from `speech/vctk`; a file directly in the
    folder given is a speaker of its own. With `pattern`, a regular expression that is searched in the path below the
    folder given, the speaker is its first group (or the whole match), and files that it does not match are left out.

    Raises `InputError` where a folder is missing or holds no audio, `UsageError` for a bad pattern.
    """
    try:
        regex = re.compile(pattern) if pattern else None
    except re.error as error:
        raise UsageError(f"'{pattern}' is not a regular expression: {error}") from error
    found: dict[str, list[Path]] = {}
    for folder in map(Path, folders):
        files = _audio_under(folder, "speech")
        named = [(path, _speaker_of(path.relative_to(folder), regex)) for path in files]
        if regex is not None and not any(name for _, name in named):
            raise InputError(f"no file under '{folder}' matches the pattern {pattern!r}")
        for path, name in named:
            if name:
                found.setdefault(name, []).append(path)
    return [Speech(name, tuple(found[name])) for name in sorted(found)]


def find_noise(folders: Iterable[str | Path]) -> list[Path]:
    """Recordings of noise under folders, in order. Raises `InputError` where a folder is missing or holds no audio."""
    return [path for folder in map(Path, folders) for path in _audio_under(folder, "noise")]


def in_fold(speaker: str, fold: int, num_folds: int) -> bool:
    """Whether a speaker belongs to a fold: the same for a name on every machine (SHA-1 of the name)."""
    return int(hashlib.sha1(speaker.encode(), usedforsecurity=False).hexdigest(), 16) % num_folds == fold


def pool_fingerprint(speakers: Sequence[Speech], noise: Sequence[Path]) -> str:
    """Sixteen hexadecimal digits that change with the names of the speech and noise that can be drawn from."""
    said = (u.uri if isinstance(u, Waveform) else u.name for s in speakers for u in s.utterances)
    text = "\n".join([*(s.speaker for s in speakers), *said, *(path.name for path in noise)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _audio_under(folder: Path, kind: str) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder of {kind}")
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise InputError(f"'{folder}' holds no audio")
    return files


def _speaker_of(path: Path, regex: re.Pattern[str] | None) -> str:
    if regex is not None:
        match = regex.search(path.as_posix())
        name = "" if match is None else (match.group(1) if regex.groups else match.group(0)) or ""
    else:
        name = "-".join(path.parent.parts) or path.stem
    return "_".join(name.replace("/", "-").split())
