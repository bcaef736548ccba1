"""What a `.nemo` file holds, read without NeMo and without running anything in it.

Such a file is a tar archive, compressed before NeMo 1.7, of `model_config.yaml`, which says what the model is made of,
and `model_weights.ckpt`, a checkpoint of PyTorch; further files may lie beside them. An archive is opened only where
its members stay inside a folder, its configuration is plain YAML that names nothing but classes of NeMo's, and its
checkpoint is a table of plain tensors (`torchfile`).
"""

from __future__ import annotations

import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from diarist.errors import ExtraError, ModelFileError, WeightsError
from diarist.models.torchfile import read_state_dict

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MOST_BYTES = 8 << 30  # of all members, unpacked
_MOST_MEMBERS = 1000
_CLASS_KEYS = ("_target_", "target", "cls")
_CLASSES = ("nemo.collections.", "nemo.core.", "torch.optim.")


@dataclass(frozen=True)
class NemoArchive:
    """An archive that has been checked: its configuration, its tensors by name, and the folder it is unpacked in."""

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, NDArray[Any]]
    folder: Path

    @property
    def kind(self) -> str:
        """The class that it was saved from, without its module: `EncDecSpeakerLabelModel`; empty where not said."""
        return str(self.config.get("target", "")).rpartition(".")[2]

    def part(self, *keys: str) -> Any:
        """A value of the configuration, by the keys on the way; None where it says nothing."""
        value: Any = self.config
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value


@contextmanager
def opened(path: str | Path) -> Iterator[NemoArchive]:
    """Check an archive and unpack it into a folder that is gone afterwards.

    Raises `WeightsError` for anything that is not such an archive, or asks for more than tensors and classes of
    NeMo's; `ExtraError` where YAML cannot be read.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="diarist-nemo-") as made:
        folder = Path(made)
        _unpack(path, folder)
        config = _config(path, folder / CONFIG)
        try:
            tensors = read_state_dict(folder / WEIGHTS)
        except WeightsError as error:
            raise ModelFileError(f"'{path}': {str(error).replace(str(folder / WEIGHTS), WEIGHTS)}") from error
        yield NemoArchive(path, config, tensors, folder)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with tarfile.open(path, "r:*") as archive:
            members = _members(path, archive)
            for name, member in members.items():
                source = archive.extractfile(member)
                assert source is not None  # regular files have contents
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    while block := source.read(1 << 20):
                        file.write(block)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no model at '{path}': check the path") from error
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise ModelFileError(f"'{path}' is no .nemo file, or it is cut off ({reason})") from error
    except OSError as error:
        raise ModelFileError(f"cannot read '{path}': {error}") from error


def _members(path: Path, archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """The regular files of an archive by their names inside of it."""
    found: dict[str, tarfile.TarInfo] = {}
    total = 0
    for count, member in enumerate(archive):
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
            raise ModelFileError(f"'{path}' is refused: '{member.name}' lies outside of the archive")
        if member.isdir():
            continue
        if not member.isreg():
            raise ModelFileError(f"'{path}' is refused: '{member.name}' is a link or a device, not a file")
        total += member.size
        if total > MOST_BYTES or count >= _MOST_MEMBERS:
            raise ModelFileError(f"'{path}' is refused: it holds more than {MOST_BYTES >> 30} GB or too many files")
        found[str(name)] = member
    missing = [name for name in (CONFIG, WEIGHTS) if name not in found]
    if missing:
        raise ModelFileError(f"'{path}' is no .nemo file: it holds no {missing[0]}")
    return found


def _config(path: Path, file: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise ExtraError("nemo_toolkit", "nemo", f"'{path}'") from error
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"'{path}' is refused: its {CONFIG} is not plain YAML ({reason})") from error
    if not isinstance(config, dict):
        raise ModelFileError(f"'{path}' is no .nemo file: its {CONFIG} describes no model")
    foreign = next(_foreign(config), None)
    if foreign is not None:
        raise ModelFileError(f"'{path}' is refused: its {CONFIG} asks for '{foreign}', which is no class of NeMo's")
    return config


def _foreign(value: Any) -> Iterator[str]:
    """Classes that a configuration names and that are not NeMo's."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in _CLASS_KEYS and isinstance(inner, str) and not inner.startswith(_CLASSES):
                yield inner
            yield from _foreign(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _foreign(inner)
