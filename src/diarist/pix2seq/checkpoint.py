"""A trained network in one file: safetensors, with all that is needed to use it in its header.

The header says the configuration, what the front end gives, the vocabulary, the licence and how much was heard. Whoever
reads it gets the same network or an error of one line: nothing is loaded in part. Needs torch and safetensors.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.core.config import nearest, replace_from, to_dict
from diarist.errors import ConfigError, ExtraError, WeightsError
from diarist.formats.writing import write_aside
from diarist.models.safetensors import dumps
from diarist.pix2seq.config import CHECKPOINT, AudioSpec, ModelConfig
from diarist.pix2seq.tokens import EOS, PAD, START, Vocabulary

if TYPE_CHECKING:
    import torch

    from diarist.pix2seq.model import Pix2Seq

DEFAULT = CHECKPOINT
MODELS = Path(__file__).parent / "models"
FORMAT, VERSION = "diarist-pix2seq", 1


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself: the network, what its front end gives, and where it comes from."""

    model: ModelConfig
    audio: AudioSpec
    licence: str
    hours_seen: float
    step: int
    notes: Mapping[str, Any]

    @property
    def vocabulary(self) -> Vocabulary:
        """The ids that the network writes."""
        return Vocabulary(self.model.max_seconds, self.model.time_step, self.model.num_speakers)


def save(
    path: str | Path,
    model: Pix2Seq,
    *,
    licence: str,
    hours_seen: float,
    step: int = 0,
    half: bool = False,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write a network, whole or not at all; `half` stores its weights in 16 bits.

    `notes` are plain values for people: data, recipe, results. Raises `ExtraError` without safetensors, `DiaristError`
    where the file cannot be written.
    """
    torch, _ = _packages()
    tensors = {
        name: tensor.detach().cpu().to(torch.float16 if half else torch.float32).numpy()
        for name, tensor in sorted(model.state_dict().items())
    }
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "model": to_dict(model.config),
        "audio": to_dict(model.audio),
        "vocabulary": _ids(model.vocabulary),
        "licence": licence,
        "hours_seen": hours_seen,
        "step": step,
        "notes": dict(notes or {}),
    }
    with write_aside(path) as aside:
        # the library's own writer puts the facts in another order each time: the same network has to be the same bytes
        aside.write_bytes(dumps(tensors, {name: json.dumps(value) for name, value in facts.items()}))


def find(name: str | Path) -> Path:
    """The file of a checkpoint: a path, or a name of those that ship with diarist.

    Raises `WeightsError` where there is none.
    """
    if (path := Path(name)).is_file():
        return path
    shipped = {file.stem: file for file in sorted(MODELS.glob("*.safetensors"))}
    if str(name) in shipped:
        return shipped[str(name)]
    if path.suffix or path.parent != Path():
        raise WeightsError(f"there is no checkpoint '{name}'")
    raise WeightsError(f"there is no Pix2Seq model '{name}'{nearest(str(name), shipped) if shipped else ''}")


def read_facts(name: str | Path) -> Facts:
    """What a checkpoint says of itself; needs neither torch nor safetensors. Raises `WeightsError`."""
    path = find(name)
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 1 << 24)))["__metadata__"]
            said = {key: json.loads(value) for key, value in header.items()}
    except OSError as error:
        raise WeightsError(f"cannot read '{path}': {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise WeightsError(f"'{path}' is not a Pix2Seq checkpoint of diarist") from error
    return _facts(said, path)


def load(name: str | Path, device: torch.device | str = "cpu") -> tuple[Pix2Seq, Facts]:
    """A network in float32, ready to be asked, and its facts.

    Raises `WeightsError` for what is damaged, is no checkpoint or is of another version; `ExtraError` without torch.
    """
    facts, path = read_facts(name), find(name)
    torch, safetensors = _packages()
    from diarist.pix2seq.model import Pix2Seq

    try:
        tensors = safetensors.load(path.read_bytes())
        model = Pix2Seq(facts.model, facts.audio)
        model.load_state_dict(tensors)  # converts to float32
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    except Exception as error:  # safetensors, torch and memory each have their own
        raise WeightsError(f"'{path}' is damaged: {' '.join(str(error).split())[:200]}") from error
    if not finite:
        raise WeightsError(f"'{path}' is damaged: its weights are not all numbers")
    return model.eval().to(device), facts


def weights_of(name: str | Path) -> list[str]:
    """Names of the catalogue's weights that a checkpoint's front end runs. Raises `WeightsError`."""
    return ["segmentation-3.0", "campplus-zh-en"] if read_facts(name).model.frontend == "frames" else []


def _facts(said: Mapping[str, Any], path: Path) -> Facts:
    """The header's values, checked."""
    if said.get("format") != FORMAT:
        raise WeightsError(f"'{path}' is not a Pix2Seq checkpoint of diarist")
    if said.get("version") != VERSION:
        raise WeightsError(f"'{path}' is of version {said.get('version')}, this diarist reads {VERSION}: update it")
    try:
        facts = Facts(
            replace_from(ModelConfig(), said["model"]),
            AudioSpec(**said["audio"]),
            str(said["licence"]),
            float(said["hours_seen"]),
            int(said["step"]),
            dict(said["notes"]),
        )
        agrees = said["vocabulary"] == _ids(facts.vocabulary)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"'{path}' is damaged: {error}") from error
    if not agrees:
        raise WeightsError(f"'{path}' counts its tokens in another way than this diarist")
    return facts


def _ids(vocabulary: Vocabulary) -> dict[str, Any]:
    """Where each kind of id lies."""
    return {
        "pad": PAD,
        "eos": EOS,
        "start": START,
        "first_time": vocabulary.times.start,
        "first_label": vocabulary.first_label,
        "size": vocabulary.size,
        "time_step": vocabulary.time_step,
    }


def _packages() -> tuple[Any, Any]:
    """torch and `safetensors.torch`. Raises `ExtraError`."""
    try:
        import torch
    except ImportError as error:
        raise ExtraError("torch", "pix2seq", "the engine 'pix2seq'") from error
    try:
        import safetensors.torch
    except ImportError as error:
        raise ExtraError("safetensors", "pix2seq", "the engine 'pix2seq'") from error
    return torch, safetensors.torch
