"""A model from its name: one of the catalogue, a file or folder of your own, or a hub id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from diarist.core.config import nearest
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.errors import DiaristError, UsageError, WeightsError
from diarist.models import mlx, torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.catalog import CATALOG
from diarist.models.hub import resolve
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, Tensors
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation
from diarist.models.pyannet import PyanNet
from diarist.models.torchfile import read_state_dict

Precision = Literal["int8", "float32"]
PRECISIONS = ("int8", "float32")
BACKENDS = ("onnx", "torch", "mlx")
_CHECKPOINTS = (".pt", ".bin", ".pth", ".ckpt")

# Names that people know, of weights that no package carries.
ELSEWHERE = {
    "wespeaker-resnet34-lm": "WeSpeaker's ResNet34-LM is in no package: give --embedding-model its ONNX file, "
    "voxceleb_resnet34_LM.onnx of the hub's Wespeaker/wespeaker-voxceleb-resnet34-LM, or an export of the folder "
    "'embedding' of pyannote/speaker-diarization-community-1 (gated; docs/guide/community-1.md)",
}

_PyanNet = PyanNet | NativePyanNet
_CamPlusPlus = CamPlusPlus | NativeCamPlusPlus
Network = TypeVar("Network", bound=_PyanNet | _CamPlusPlus)


def load_segmentation(
    model: str | Path = "segmentation-3.0",
    *,
    precision: Precision = "int8",
    backend: str = "onnx",
    device: str = "auto",
    offline: bool = False,
) -> SegmentationModel:
    """Load a segmentation network: an ONNX file, which runs as it is, or a checkpoint of PyanNet, at `precision`.

    The backend `torch` runs checkpoints on `device` (`auto`, `cpu`, `cuda`, `mps`), whose own precision it takes.
    Raises `UsageError` for an unknown name, precision, backend or device, `WeightsError` for weights that are missing
    or are not such a network, `ExtraError` where torch is missing.
    """
    _check(precision, backend)
    path = _file(model, "segmentation", offline)
    if _is_onnx(path, backend):
        return OnnxSegmentation(path)
    build: Mapping[str, Callable[[Tensors], _PyanNet]] = {
        "onnx": lambda tensors: PyanNet(tensors, int8=precision == "int8"),
        "torch": lambda tensors: torch.segmentation(tensors, device),
        "mlx": mlx.segmentation,
    }
    return _built(path, "PyanNet", build[backend])


def load_embedding(
    model: str | Path = "campplus-zh-en",
    *,
    precision: Precision = "int8",
    backend: str = "onnx",
    device: str = "auto",
    offline: bool = False,
) -> EmbeddingModel:
    """Load a speaker embedding network: an ONNX file, which runs as it is, or a checkpoint of CAM++, at `precision`.

    Backend, device and errors are as in `load_segmentation`.
    """
    _check(precision, backend)
    path = _file(model, "embedding", offline)
    if _is_onnx(path, backend):
        return OnnxEmbedding(path)
    build: Mapping[str, Callable[[Tensors], _CamPlusPlus]] = {
        "onnx": lambda tensors: CamPlusPlus(tensors, int8=precision == "int8"),
        "torch": lambda tensors: torch.embedding(tensors, device),
        "mlx": mlx.embedding,
    }
    return _built(path, "CamPlusPlus", build[backend])


def _check(precision: str, backend: str) -> None:
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend '{backend}'{nearest(backend, BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'{nearest(precision, PRECISIONS)}")


def _file(model: str | Path, kind: str, offline: bool) -> Path:
    """The one file of weights that `model` names."""
    if str(model) in ELSEWHERE:
        raise WeightsError(ELSEWHERE[str(model)])
    entry = CATALOG.get(str(model))
    if entry is not None and entry.kind != kind:
        raise UsageError(f"'{model}' is a model of the kind {entry.kind}, not {kind}")
    path = resolve(model, offline=offline)
    if not path.is_dir():
        return path
    found = sorted(path.rglob("*.onnx")) or sorted(p for p in path.rglob("*") if p.suffix in _CHECKPOINTS)
    if len(found) != 1:
        names = ", ".join(str(p.relative_to(path)) for p in found[:5]) or "none"
        raise WeightsError(
            f"'{model}' must hold one ONNX file or checkpoint, not {len(found)} ({names}): name the file"
        )
    return found[0]


def _is_onnx(path: Path, backend: str) -> bool:
    """Whether it is an ONNX file; raises `UsageError` where the backend could not run one."""
    is_onnx = path.suffix.lower() == ".onnx"
    if is_onnx and backend != "onnx":
        raise UsageError(f"'{path}' is an ONNX file, which the backend '{backend}' does not run: leave out --backend")
    return is_onnx


def _built(path: Path, name: str, build: Callable[[Tensors], Network]) -> Network:
    """The network from a checkpoint's tensors, once it has run: shapes that do not fit show only then."""
    tensors = read_state_dict(path)
    try:
        built = build(tensors)
        built.try_out()
    except DiaristError as error:
        if not isinstance(error, WeightsError):
            raise  # torch, or the device, is missing
        raise WeightsError(f"'{path}': {error}") from error
    except Exception as error:  # KeyError, ValueError, and what onnxruntime raises, which has no public name
        reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0][:200]
        raise WeightsError(f"'{path}' is no checkpoint of {name} ({reason}): give other networks as ONNX") from error
    return built
