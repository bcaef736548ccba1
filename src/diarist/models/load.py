"""A model from its name: one of the catalogue, a file or folder of your own, or a hub id."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np

from diarist.core.config import nearest
from diarist.core.protocols import EmbeddingModel, SegmentationModel, SegmentationSpec
from diarist.errors import DiaristError, ModelFileError, UsageError, WeightsError
from diarist.models import mlx, nemo, openvino, torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.catalog import CATALOG
from diarist.models.checkpoint import SUFFIXES, Checkpoint, read
from diarist.models.hub import resolve
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, NativeResNet34, Tensors
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation, Open, OpenGraph, opener, session
from diarist.models.pyannet import PyanNet
from diarist.models.resnet import ResNet34

Precision = Literal["int8", "bfloat16", "float32"]
_PART = re.compile(r"-\d+-of-\d+\.")
PRECISIONS = ("int8", "bfloat16", "float32")
BACKENDS = ("onnx", "torch", "mlx", "openvino")
_RUN_FILES = ("onnx", "openvino")

# Names that people know, of weights that no package carries.
ELSEWHERE = {
    "wespeaker-resnet34-lm": "WeSpeaker's ResNet34-LM is in no package: give --embedding-model its checkpoint, "
    "hf:pyannote/wespeaker-voxceleb-resnet34-LM:pytorch_model.bin or embedding/pytorch_model.bin of "
    "pyannote/speaker-diarization-community-1 (gated), or WeSpeaker's own file (docs/guide/community-1.md)",
}

_PyanNet = PyanNet | NativePyanNet
_Embedding = CamPlusPlus | NativeCamPlusPlus | NativeResNet34
Network = TypeVar("Network", bound=_PyanNet | _Embedding)


def load_segmentation(
    model: str | Path = "segmentation-3.0",
    *,
    precision: Precision = "int8",
    backend: str = "onnx",
    device: str = "auto",
    offline: bool = False,
) -> SegmentationModel:
    """Load a segmentation network: an ONNX file, which runs as it is, or a checkpoint of PyanNet, at `precision`.

    What a checkpoint may be: see `models.checkpoint`.

    The backend `torch` runs checkpoints on `device` (`auto`, `cpu`, `cuda`, `mps`), whose own precision it takes;
    `openvino` runs what `onnx` does, in bfloat16 if asked. `onnx` runs on the CPU, or in float32 on `cuda`, `dml` or
    `coreml`.
    Raises `UsageError` for an unknown name, precision, backend or device, `WeightsError` for weights that are missing
    or are not such a network, `ExtraError` where torch is missing.
    """
    _check(precision, backend)
    path = _file(model, "segmentation", offline)
    open, int8 = _opener(backend, device, precision)
    if _is_onnx(path, backend):
        return OnnxSegmentation(path, open)
    found = _of_kind(read(path), "segmentation")
    spec = cast(SegmentationSpec, found.spec)
    build: Mapping[str, Callable[[Tensors], _PyanNet]] = {
        "onnx": lambda tensors: PyanNet(tensors, int8=int8, spec=spec, open=open),
        "openvino": lambda tensors: PyanNet(tensors, spec=spec, open=open),
        "torch": lambda tensors: torch.segmentation(tensors, device, spec),
        "mlx": lambda tensors: mlx.segmentation(tensors, spec),
    }
    return _built(found, build[backend])


def load_embedding(
    model: str | Path = "campplus-zh-en",
    *,
    precision: Precision = "int8",
    backend: str = "onnx",
    device: str = "auto",
    offline: bool = False,
) -> EmbeddingModel:
    """Load a speaker embedding network: an ONNX file, which runs as it is, or a checkpoint: CAM++, at `precision`, or
    WeSpeaker's ResNet34, which is always in float32.

    A `.nemo` file, or a name of NeMo's (`titanet_large`), is run by NeMo on `device`, in float32 (`models.nemo`).
    Backend, device and errors are as in `load_segmentation`.
    """
    _check(precision, backend)
    if nemo.is_nemo(model):
        return nemo.embedding(model, device=device, offline=offline)
    path = _file(model, "embedding", offline)
    open, int8 = _opener(backend, device, precision)
    if _is_onnx(path, backend):
        return OnnxEmbedding(path, open)
    found = _of_kind(read(path), "embedding")
    build: Mapping[tuple[str, str], Callable[[Tensors], _Embedding]] = {
        ("campplus", "onnx"): lambda tensors: CamPlusPlus(tensors, int8=int8, open=open),
        ("campplus", "openvino"): lambda tensors: CamPlusPlus(tensors, open=open),
        ("campplus", "torch"): lambda tensors: torch.embedding(tensors, device),
        ("campplus", "mlx"): mlx.embedding,
        ("resnet34", "onnx"): lambda tensors: ResNet34(tensors, open),
        ("resnet34", "openvino"): lambda tensors: ResNet34(tensors, open),
        ("resnet34", "torch"): lambda tensors: torch.resnet34(tensors, device),
        ("resnet34", "mlx"): mlx.resnet34,
    }
    return _built(found, build[found.architecture, backend])


def _check(precision: str, backend: str) -> None:
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend '{backend}'{nearest(backend, BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'{nearest(precision, PRECISIONS)}")


def _opener(backend: str, device: str, precision: str) -> tuple[Open, bool]:
    """What runs graphs, and whether they are to be those in eight bits, which are for processors only.

    Raises `UsageError` for bfloat16 where nothing computes in it by choice, and as `opener` of the backend."""
    if backend == "openvino":
        return openvino.opener(device, precision), False
    if precision == "bfloat16" and backend == "onnx":
        raise UsageError("the backend 'onnx' has no bfloat16: add --backend openvino, or choose int8 or float32")
    if backend == "mlx":
        mlx.check(device)
    if backend != "onnx":
        return session, False
    return opener(device), precision == "int8" and device in ("auto", "cpu")


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
    found = weights_in(path, kind)
    if len(found) != 1:
        names = ", ".join(str(p.relative_to(path)) for p in found[:5]) or "none"
        raise ModelFileError(
            f"'{model}' must hold one ONNX file or checkpoint, not {len(found)} ({names}): name the file"
        )
    return found[0]


def weights_in(folder: Path, kind: str = "", *, onnx: bool = True) -> list[Path]:
    """The files of a folder that may be a model: ONNX files, else checkpoints; the parts of one file count as one.
    Without `onnx`, checkpoints come first.

    Where there are several, those in a folder called `kind` are meant, as in pyannote's pipelines.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    graphs = [path for path in files if path.suffix.lower() == ".onnx"]
    weights = [path for path in files if path.name.lower().endswith(SUFFIXES) and not _PART.search(path.name)]
    found = (graphs or weights) if onnx else (weights or graphs)
    found = [path for path in found if path.parent.name != "plda"]
    whole = [path for path in found if path.name == "model.safetensors"]
    found = [
        path for path in found if not (path.name.endswith(".json") and path.with_suffix("").with_suffix("") in whole)
    ]
    own = [path for path in found if path.parent.name == kind]
    return own if len(found) > 1 and own else found


def _of_kind(found: Checkpoint, kind: str) -> Checkpoint:
    if found.kind != kind:
        raise ModelFileError(
            f"'{found.path}' is a checkpoint of {found.name}: a model of the kind {found.kind}, not {kind}"
        )
    return found


def _is_onnx(path: Path, backend: str) -> bool:
    """Whether it is an ONNX file; raises `UsageError` where the backend could not run one."""
    is_onnx = path.suffix.lower() == ".onnx"
    if is_onnx and backend not in _RUN_FILES:
        raise UsageError(f"'{path}' is an ONNX file, which the backend '{backend}' does not run: leave out --backend")
    return is_onnx


def _built(found: Checkpoint, build: Callable[[Tensors], Network]) -> Network:
    """The network from a checkpoint's tensors, once it has run: shapes that do not fit show only then."""
    path = found.path
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused in a line
            built = build(found.tensors)
            built.try_out()
    except DiaristError as error:
        if not isinstance(error, WeightsError):
            raise  # torch, or the device, is missing
        raise ModelFileError(f"'{path}': {error}") from error
    except Exception as error:  # KeyError, ValueError, and what onnxruntime raises, which has no public name
        reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0][:200]
        raise ModelFileError(
            f"'{path}' is no checkpoint of {found.name} ({reason}): give other networks as ONNX"
        ) from error
    return built
