"""Weights in a file, whoever wrote it: which network they are of, and what the network takes and gives.

A PyTorch checkpoint (with or without Lightning around it), safetensors (also in parts), npz, or an ONNX file. What kind
of file it is is read from its bytes, which network from its tensors. Where the file says what the network takes, it is
believed.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingSpec, SegmentationSpec
from diarist.core.time import SAMPLE_RATE
from diarist.errors import ModelFileError, WeightsError
from diarist.models import inert, npz, onnx_source, safetensors
from diarist.models.names import Architecture, known
from diarist.models.nets import campplus, pyannet, resnet
from diarist.models.torchfile import read_checkpoint

SUFFIXES = (".pt", ".bin", ".pth", ".ckpt", ".safetensors", ".npz", ".safetensors.index.json")
NAMES: dict[Architecture, str] = {"pyannet": "PyanNet", "campplus": "CAM++", "resnet34": "ResNet34"}
KINDS: dict[Architecture, str] = {"pyannet": "segmentation", "campplus": "embedding", "resnet34": "embedding"}
_WINDOWS: dict[Architecture, str] = {"campplus": "povey", "resnet34": "hamming"}
_LONGEST = 60 * SAMPLE_RATE  # samples of a chunk


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a known network in float32, under the names and in the layout of its authors.

    `said`: what the file says of itself. `spec`: what the network takes and gives, as the file says or as the shapes of
    its tensors show.
    """

    path: Path
    architecture: Architecture
    tensors: Mapping[str, NDArray[Any]] = field(repr=False)
    said: Mapping[str, str]
    spec: SegmentationSpec | EmbeddingSpec

    @property
    def kind(self) -> str:
        """`segmentation` or `embedding`."""
        return KINDS[self.architecture]

    @property
    def name(self) -> str:
        """The network, as people call it."""
        return NAMES[self.architecture]


def read(path: str | Path) -> Checkpoint:
    """Raises `WeightsError` for a file that cannot be read, or whose tensors are of no network that is known."""
    path = Path(path)
    tensors, said = read_tensors(path)
    found = known(tensors)
    if found is None:
        names = ", ".join(list(tensors)[:3])
        raise ModelFileError(
            f"'{path}' is no checkpoint of PyanNet, CAM++ or ResNet34 ({len(tensors)} tensors: {names}, ...): "
            "give other networks as ONNX"
        )
    architecture, own = found
    floats = {name: _float32(name, tensor, path) for name, tensor in own.items()}
    try:
        _check_said(architecture, own, said)
        spec = _spec(architecture, floats, said)
        _check_facts(architecture, spec, said)
        return Checkpoint(path, architecture, floats, said, spec)
    except WeightsError as error:
        raise ModelFileError(f"'{path}': {error}") from error
    except (KeyError, ValueError, IndexError) as error:
        reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(f"'{path}' is no checkpoint of {NAMES[architecture]} ({reason})") from error


def read_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """All the tensors of a file as they are, and what it says of itself. Raises `WeightsError`."""
    if path.name.endswith(".json"):
        return safetensors.read(path)
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise ModelFileError(f"cannot read the checkpoint '{path}': {error.strerror}") from error
    if path.suffix.lower() == ".onnx":
        return onnx_source.read_tensors(path)
    if start[8:] == b"{" or path.suffix.lower() == ".safetensors":
        return safetensors.read(path)
    if path.suffix.lower() == ".npz" or (start[:2] == b"PK" and _is_npz(path)):
        return npz.read(path)
    tensors, beside = read_checkpoint(path)
    return tensors, _lightning(beside)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError, struct.error):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _float32(name: str, tensor: NDArray[Any], path: Path) -> NDArray[Any]:
    if tensor.dtype.kind != "f":
        raise ModelFileError(f"'{path}' holds '{name}' as {tensor.dtype}: weights must be floating point numbers")
    floats = np.ascontiguousarray(tensor, dtype=np.float32).reshape(tensor.shape)
    if not np.isfinite(floats).all():
        raise ModelFileError(f"'{path}' is damaged: '{name}' holds numbers that are not finite: get it again")
    return floats


def _lightning(beside: Mapping[Any, Any]) -> dict[str, str]:
    """What pyannote.audio wrote beside the tensors, in the words of our own files."""
    said: dict[str, str] = {}
    about = beside.get("pyannote.audio")
    spec = inert.plain(about.get("specifications")) if isinstance(about, Mapping) else None
    if isinstance(spec, Mapping):
        duration, classes, most = (spec.get(key) for key in ("duration", "classes", "powerset_max_classes"))
        if isinstance(duration, int | float) and isfinite(duration):
            said["window_size"] = str(round(duration * SAMPLE_RATE))
        if isinstance(classes, list | tuple) and classes:
            said["num_speakers"] = str(len(classes))
            said["powerset_max_classes"] = str(most if isinstance(most, int) else 0)
    settings = inert.plain(beside.get("hyper_parameters"))
    if isinstance(settings, Mapping):
        flat = {**settings, **_prefixed("sincnet", settings)}
        said |= {key: str(flat[key]) for key in ("sample_rate", "sincnet.stride", "window_type") if key in flat}
        if flat.get("fbank_centering_span") is not None:
            said["fbank_centering_span"] = str(flat["fbank_centering_span"])
    return said


def _prefixed(name: str, settings: Mapping[Any, Any]) -> dict[str, Any]:
    inner = inert.plain(settings.get(name))
    return {f"{name}.{key}": value for key, value in inner.items()} if isinstance(inner, Mapping) else {}


def _check_said(architecture: Architecture, tensors: Mapping[str, Any], said: Mapping[str, str]) -> None:
    """Raise `WeightsError` for a network of a kind that only looks like one that can be run."""
    if said.get("sample_rate", str(SAMPLE_RATE)) != str(SAMPLE_RATE):
        raise ModelFileError(f"it takes sound at {said['sample_rate']} Hz: only {SAMPLE_RATE} Hz is offered")
    if said.get("sincnet.stride", "10") != "10":
        raise ModelFileError(f"its filters have a stride of {said['sincnet.stride']}: only 10 is offered")
    window = _WINDOWS.get(architecture, "")
    if said.get("window_type", window) != window:
        raise ModelFileError(f"its features are under a window '{said['window_type']}': only '{window}' is offered")
    if "fbank_centering_span" in said:
        raise ModelFileError("its features are centred on a moving mean (fbank_centering_span), which is not offered")
    if architecture == "resnet34" and "seg_2.weight" in tensors:
        raise ModelFileError(
            "it is a ResNet with two embedding layers (seg_1, seg_2): only one is offered; give it as ONNX"
        )
    if any(name.startswith("layer1.0.conv3") for name in tensors):
        raise ModelFileError("it is a ResNet of bottleneck blocks (50 layers and more): give it as ONNX")


def _check_facts(architecture: Architecture, spec: SegmentationSpec | EmbeddingSpec, said: Mapping[str, str]) -> None:
    """Raise `WeightsError` for a file of ours that says something else of itself than its tensors show."""
    if "diarist_format" not in said:
        return
    shown: dict[str, object] = {"architecture": architecture, "kind": KINDS[architecture]}
    if isinstance(spec, SegmentationSpec):
        shown["num_frames"] = spec.num_frames
        shown |= {"receptive_field_size": spec.frames.size, "receptive_field_shift": spec.frames.step}
    else:
        shown |= {"output_dim": spec.dimension, "num_mels": spec.num_mels}
    for key, value in shown.items():
        if said.get(key, str(value)) != str(value):
            raise ModelFileError(f"it says {key} {said[key]!r}, and its tensors show {value}: it is damaged")


def _spec(
    architecture: Architecture, tensors: Mapping[str, NDArray[Any]], said: Mapping[str, str]
) -> SegmentationSpec | EmbeddingSpec:
    if architecture == "campplus":
        return campplus.SPEC
    if architecture == "resnet34":
        return resnet.spec_of(tensors)
    number = {key: int(value) for key, value in said.items() if value.isdigit()}
    chunk = number.get("window_size")
    if chunk is not None and not pyannet.FRAMES.size <= chunk <= _LONGEST:
        raise ModelFileError(f"it says chunks of {chunk} samples: {pyannet.FRAMES.size} to {_LONGEST} are possible")
    speakers = None
    if "num_speakers" in number:
        speakers = number["num_speakers"], number.get("powerset_max_classes") or None
    return pyannet.spec_of(tensors, chunk=chunk, speakers=speakers)
