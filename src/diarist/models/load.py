"""A model from its name: one of the catalogue, a file or folder of your own, or a hub id."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar, cast

import numpy as np

from diarist.core.config import nearest
from diarist.core.protocols import EmbeddingModel, SegmentationModel, SegmentationSpec
from diarist.errors import DiaristError, ModelFileError, UsageError, WeightsError
from diarist.models import mlx, nemo, openvino, torch
from diarist.models.backends import arithmetic
from diarist.models.campplus import CamPlusPlus, onnx_embedding
from diarist.models.catalog import CATALOG
from diarist.models.checkpoint import SUFFIXES, Checkpoint, read
from diarist.models.hub import resolve
from diarist.models.native import NativeCamPlusPlus, NativePyanNet, NativeResNet34, Tensors
from diarist.models.onnx import OnnxSegmentation, Open, OpenGraph, opener
from diarist.models.pyannet import PyanNet
from diarist.models.resnet import ResNet34

Precision = Literal["int8", "bfloat16", "float32"]
_PART = re.compile(r"-\d+-of-\d+\.")
PRECISIONS = ("int8", "bfloat16", "float32")
BACKENDS = ("onnx", "torch", "mlx", "openvino")
_RUN_FILES = ("onnx", "openvino")
_AT_ONCE = 4  # groups of rows of a batch, where what runs them can be given more than one

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

    Every backend runs a checkpoint at every precision that it has (`models.backends`): in eight bits `onnx` runs the
    network's graph by operators of its own, and the others do the same sums in float32, on `device` (`auto`, `cpu`,
    and what else the backend offers). Where `onnx` runs on another device than the processor, it has no eight bits and
    takes float32.
    Raises `UsageError` for an unknown name, precision, backend or device, `WeightsError` for weights that are missing
    or are not such a network, `ExtraError` where torch is missing.
    """
    _check(precision, backend)
    path = weights_of(model, "segmentation", offline=offline)
    if _is_onnx(path, backend):
        return OnnxSegmentation(path, _file_opener(backend, device, precision))
    found = _of_kind(read(path), "segmentation")
    return _built(found, _segmentation(cast(SegmentationSpec, found.spec), precision, backend, device))


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
    path = weights_of(model, "embedding", offline=offline)
    if _is_onnx(path, backend):
        return onnx_embedding(path, _file_opener(backend, device, precision))
    found = _of_kind(read(path), "embedding")
    return _built(found, _embedding(found.architecture, precision, backend, device))


def _check(precision: str, backend: str) -> None:
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend '{backend}'{nearest(backend, BACKENDS)}")
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'{nearest(precision, PRECISIONS)}")


def _file_opener(backend: str, device: str, precision: str) -> Open:
    """What runs ONNX files, and graphs in float32. Raises `UsageError` for bfloat16 where nothing computes in it by
    choice, and as `opener` of the backend."""
    if backend == "openvino":
        return openvino.opener(device, precision)
    if precision == "bfloat16":
        raise UsageError("the backend 'onnx' has no bfloat16: add --backend openvino, or choose int8 or float32")
    return opener(device)


def _int8_opener(backend: str, device: str) -> tuple[OpenGraph, int]:
    """What runs graphs in eight bits, and how many groups of rows it takes at once. Raises as its `opener`."""
    if backend == "onnx":
        return opener(device), 1
    others: Mapping[str, Callable[[str], OpenGraph]] = {
        "torch": torch.opener,
        "mlx": mlx.opener,
        "openvino": openvino.int8_opener,
    }
    return others[backend](device), _AT_ONCE


def _segmentation(spec: SegmentationSpec, precision: str, backend: str, device: str) -> Callable[[Tensors], _PyanNet]:
    """What makes the network of its tensors."""
    if arithmetic(backend, device, precision) == "int8":
        open_graph, at_once = _int8_opener(backend, device)
        return lambda tensors: PyanNet(tensors, int8=True, spec=spec, at_once=at_once, open=open_graph)
    _tell(backend, device, precision)
    bfloat16 = precision == "bfloat16"
    if backend == "torch":
        return lambda tensors: torch.segmentation(tensors, device, spec, bfloat16=bfloat16)
    if backend == "mlx":
        mlx.check(device)
        return lambda tensors: mlx.segmentation(tensors, spec, bfloat16=bfloat16)
    open = _file_opener(backend, device, precision)
    return lambda tensors: PyanNet(tensors, spec=spec, open=open)


def _tell(backend: str, device: str, precision: str) -> None:
    """Warn where eight bits are asked for and not to be had: the answer is another."""
    if precision == "int8":
        warnings.warn(
            f"the backend '{backend}' has no eight bits on '{device}' and takes float32, 2 % DER from int8 on real "
            "recordings: --device cpu gives the answer of the preset",
            stacklevel=2,
        )


def _embedding(architecture: str, precision: str, backend: str, device: str) -> Callable[[Tensors], _Embedding]:
    """As `_segmentation`; ResNet34 has no eight bits."""
    if architecture == "campplus" and arithmetic(backend, device, precision) == "int8":
        open_graph, _ = _int8_opener(backend, device)
        return lambda tensors: CamPlusPlus(tensors, int8=True, open=open_graph)
    if architecture == "campplus":
        _tell(backend, device, precision)
    bfloat16 = precision == "bfloat16"
    if backend == "torch":
        make = torch.embedding if architecture == "campplus" else torch.resnet34
        return lambda tensors: make(tensors, device, bfloat16=bfloat16)
    if backend == "mlx":
        mlx.check(device)
        build = mlx.embedding if architecture == "campplus" else mlx.resnet34
        return lambda tensors: build(tensors, bfloat16=bfloat16)
    open = _file_opener(backend, device, precision)
    return lambda tensors: CamPlusPlus(tensors, open=open) if architecture == "campplus" else ResNet34(tensors, open)


def weights_of(model: str | Path, kind: str, *, offline: bool = False) -> Path:
    """The one file of weights that `model` names. Raises `UsageError`, `WeightsError`, `ExtraError`."""
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
