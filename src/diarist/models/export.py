"""Networks from one kind of file to another: ONNX, or tensors for torch and for MLX, in float32, float16 or int8.

What is written is read again and run before it takes its place: what it takes and gives must be the same, and its
answers must be those of the source in float32, within what its arithmetic can do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from diarist.core.config import nearest
from diarist.core.protocols import EmbeddingModel, EmbeddingSpec, SegmentationModel, SegmentationSpec
from diarist.core.types import Float32
from diarist.errors import ModelFileError, UsageError
from diarist.formats.writing import write_aside
from diarist.models import mlx, npz, safetensors, torch
from diarist.models.campplus import CamPlusPlus, onnx_embedding
from diarist.models.checkpoint import Checkpoint, read, read_tensors
from diarist.models.checks import check_finite
from diarist.models.facts import facts_of
from diarist.models.graph import Store
from diarist.models.hub import resolve
from diarist.models.load import weights_in
from diarist.models.names import channels_last
from diarist.models.nets import pyannet, whole
from diarist.models.onnx import OnnxSegmentation, session
from diarist.models.pyannet import PyanNet
from diarist.models.resnet import ResNet34
from diarist.models.toy import conversation
from diarist.models.verify import Difference, compare
from diarist.stages.fbank import fbank, remove_mean

TARGETS = ("onnx", "torch", "mlx")
DTYPES = {
    "fp32": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
    "int8": "int8",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
}
_DEFAULT_NAMES = {"onnx": "model.onnx", "torch": "model.safetensors", "mlx": "weights.npz"}
_SUFFIXES = {"onnx": (".onnx",), "torch": (".safetensors", ".npz"), "mlx": (".npz", ".safetensors")}
_LEAST_COSINE = {"fp32": 0.99999, "fp16": 0.999, "bf16": 0.99, "int8": 0.95}
_LARGEST = 1e-2  # difference of a score in float32
_SHORT = 48_000  # samples that segmentation networks are tried on, where they take any number
_SECONDS = 3.0  # of the sound that embedding networks are tried on


@dataclass(frozen=True)
class Converted:
    """A file that was written, what it says of itself, and how far its answers are from the source's.

    `checked`: what ran it: `onnx`, `torch` or `mlx`; the first where the target's own library is not installed.
    """

    path: Path
    num_bytes: int
    facts: Mapping[str, str]
    difference: Difference
    checked: str


def convert(
    source: str,
    *,
    to: str = "onnx",
    dtype: str = "fp32",
    output: str | Path,
    kind: str = "",
    licence: str | None = None,
    offline: bool = False,
) -> Converted:
    """Write the network of `source` (a catalogue name, hub id, file or folder) for `to`.

    `output` is a folder, which is made, or a file that ends in `.onnx`, `.safetensors` or `.npz`. `kind` chooses among
    the networks of a pipeline's folder. Raises `UsageError` for what cannot be, `WeightsError` for a source that is no
    network that is known, or whose converted form would not give its answers.
    """
    dtype = _check(to, dtype)
    found = open_source(source, kind=kind, offline=offline)
    target = _target(Path(output), to, dtype)
    facts = facts_of(found, source, dtype, licence)
    reference = _reference(found)
    raw = _onnx(found, facts, dtype) if to == "onnx" else _tensors(found, facts, to, dtype, target.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    with write_aside(target) as aside:
        aside.write_bytes(raw)
        candidate, checked = _candidate(aside, found, to)
        difference = _difference(candidate, reference, found, facts)
        _judge(difference, dtype, found)
    return Converted(target, len(raw), facts, difference, checked)


def described(source: str, *, kind: str = "", offline: bool = False) -> dict[str, str]:
    """What a model says of itself; of a checkpoint that says little, what its tensors show. Raises as `convert`."""
    path = _file(source, kind, offline)
    if _is_onnx(path):
        said: dict[str, str] = session(path).get_modelmeta().custom_metadata_map
        if said:
            return dict(sorted(said.items()))
    found = read(path)
    held = sorted({str(np.dtype(tensor.dtype)) for tensor in read_tensors(path)[0].values() if tensor.ndim > 1})
    about = facts_of(found, source, found.said.get("dtype", "+".join(held)))
    return {**about, "num_parameters": str(sum(tensor.size for tensor in found.tensors.values()))}


def open_source(source: str, *, kind: str = "", offline: bool = False) -> Checkpoint:
    """The weights that `source` names. Raises as `convert` does."""
    return read(_file(source, kind, offline))


def _is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def _file(source: str, kind: str, offline: bool) -> Path:
    path = resolve(source, offline=offline)
    if path.is_dir():
        files = weights_in(path, kind, onnx=False)
        if len(files) != 1:
            names = ", ".join(str(file.relative_to(path)) for file in files[:5]) or "none"
            raise ModelFileError(f"'{source}' holds {len(files)} models ({names}): name the file, or give --model-type")
        path = files[0]
    if path.suffix.lower() == ".nemo":
        raise UsageError(
            f"'{source}' is a .nemo file, which NeMo runs as it is (--embedding-model, --vad): nothing to do"
        )
    return path


def _check(to: str, dtype: str) -> str:
    if to not in TARGETS:
        raise UsageError(f"unknown target '{to}'{nearest(to, TARGETS)}")
    if dtype not in DTYPES:
        raise UsageError(f"unknown dtype '{dtype}'{nearest(dtype, DTYPES)}")
    dtype = DTYPES[dtype]
    if dtype == "int8" and to != "onnx":
        raise UsageError(f"int8 is for ONNX Runtime: {to} would only widen it again; take --to onnx, or fp16")
    if dtype == "bf16" and to == "onnx":
        raise UsageError("bf16 is for torch and mlx: ONNX Runtime has no such sums on a CPU; take fp16")
    return dtype


def _target(output: Path, to: str, dtype: str) -> Path:
    """The file to write: the one named, or the usual name in a folder."""
    if output.suffix.lower() not in {suffix for each in _SUFFIXES.values() for suffix in each} or output.is_dir():
        target = output / _DEFAULT_NAMES[to]
        return target.with_name("model.safetensors") if dtype == "bf16" else target
    if output.suffix.lower() not in _SUFFIXES[to]:
        raise UsageError(f"'{output}' is no file for {to}: it must end in {' or '.join(_SUFFIXES[to])}")
    if dtype == "bf16" and output.suffix.lower() == ".npz":
        raise UsageError("numpy has no bfloat16: let the file end in .safetensors")
    return output


def _reference(found: Checkpoint) -> SegmentationModel | EmbeddingModel:
    """The source in float32, once it has run: an ONNX file as it is. Raises `WeightsError` for shapes that do not
    fit."""
    if _is_onnx(found.path):
        return _onnx_model(found.path, found.kind)
    try:
        model: Any
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused in a line
            if found.architecture == "pyannet":
                model = PyanNet(found.tensors, spec=cast(SegmentationSpec, found.spec))
            else:
                model = CamPlusPlus(found.tensors) if found.architecture == "campplus" else ResNet34(found.tensors)
            model.try_out()
    except Exception as error:  # KeyError, ValueError, and what onnxruntime raises, which has no public name
        reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error).strip().split("\n")[0][:200]
        raise ModelFileError(f"'{found.path}' is no checkpoint of {found.name} ({reason})") from error
    return cast("SegmentationModel | EmbeddingModel", model)


def _onnx(found: Checkpoint, facts: Mapping[str, str], dtype: str) -> bytes:
    """The bytes of an ONNX file. CAM++ and PyanNet in int8 multiply so; ResNet34 only keeps its weights so."""
    int8 = dtype == "int8"
    store: Store = "float16" if dtype == "fp16" else "float32"
    if found.architecture == "pyannet":
        powerset = cast(SegmentationSpec, found.spec).max_simultaneous is not None
        graph = pyannet.whole_graph(found.tensors, int8=int8, powerset=powerset, store=store)
    elif found.architecture == "campplus":
        graph = whole.campplus_graph(found.tensors, int8=int8, store=store)
    else:
        graph = whole.resnet_graph(found.tensors, store="int8" if int8 else store)
    return graph.serialize(facts)


def _tensors(found: Checkpoint, facts: Mapping[str, str], to: str, dtype: str, suffix: str) -> bytes:
    """The bytes of a file of tensors. Filters and normalisations stay in float32: half precision would bend them."""
    tensors: dict[str, NDArray[Any]] = dict(found.tensors)
    halved = frozenset(name for name, tensor in tensors.items() if tensor.ndim > 1 and ".filterbank." not in name)
    if dtype == "fp16":
        tensors = {name: t.astype(np.float16) if name in halved else t for name, t in tensors.items()}
    if to == "mlx":
        tensors = channels_last(tensors)
    said = {**facts, "format": "mlx" if to == "mlx" else "pt"}
    if suffix.lower() == ".npz":
        return npz.dumps(tensors, said)
    return safetensors.dumps(tensors, said, halved if dtype == "bf16" else frozenset())


def _candidate(path: Path, found: Checkpoint, to: str) -> tuple[SegmentationModel | EmbeddingModel, str]:
    """The model that was written, by the library that it is for where that is here, and what runs it."""
    if to == "onnx":
        return _onnx_model(path, found.kind), "onnx"
    again = read(path)
    if importlib.util.find_spec(to) is None:
        return _reference(again), "onnx"
    if found.architecture == "pyannet":
        spec = cast(SegmentationSpec, again.spec)
        return (
            torch.segmentation(again.tensors, "cpu", spec) if to == "torch" else mlx.segmentation(again.tensors, spec)
        ), to
    if found.architecture == "campplus":
        return (torch.embedding(again.tensors, "cpu") if to == "torch" else mlx.embedding(again.tensors)), to
    return (torch.resnet34(again.tensors, "cpu") if to == "torch" else mlx.resnet34(again.tensors)), to


def _onnx_model(path: Path, kind: str) -> SegmentationModel | EmbeddingModel:
    return OnnxSegmentation(path) if kind == "segmentation" else onnx_embedding(path)


def _difference(
    candidate: SegmentationModel | EmbeddingModel,
    reference: SegmentationModel | EmbeddingModel,
    found: Checkpoint,
    facts: Mapping[str, str],
) -> Difference:
    """Of what both make of the same sound; raises `WeightsError` where the file does not take and give the same."""
    if isinstance(candidate, SegmentationModel) and isinstance(reference, SegmentationModel):
        if candidate.spec != reference.spec:
            raise ModelFileError(f"the converted file would say {candidate.spec}, not {reference.spec}")
        return _of_scores(candidate, reference)
    assert isinstance(candidate, EmbeddingModel) and isinstance(reference, EmbeddingModel)
    ours, theirs = candidate.spec, reference.spec
    if (ours.dimension, ours.window, ours.scale, ours.num_mels) != _sizes(theirs):
        raise ModelFileError(f"the converted file would say {ours}, not {theirs}")
    sound = _sound(round(_SECONDS * theirs.sample_rate))
    features = remove_mean(fbank(sound, num_mels=theirs.num_mels, window=theirs.window, scale=theirs.scale))[None]
    num_maps = -(-features.shape[1] // max(ours.map_stride, theirs.map_stride))
    weights = np.stack([np.arange(num_maps) % 4 < 2, np.arange(num_maps) >= num_maps // 3, np.ones(num_maps)])
    return _compared(*(_pooled(model, features, weights[None].astype(np.float32)) for model in (candidate, reference)))


def _of_scores(candidate: Any, reference: Any) -> Difference:
    """Of what two segmentation networks make of one chunk."""
    if not any(isinstance(model, OnnxSegmentation) for model in (candidate, reference)):  # which has its own length
        candidate, reference = candidate.resized(_SHORT), reference.resized(_SHORT)
    batch = _sound(candidate.spec.chunk)[None]
    return _compared(candidate(batch), reference(batch))


def _compared(ours: Float32, theirs: Float32) -> Difference:
    """Raises `WeightsError` for answers that are no numbers: nothing can be said of those."""
    check_finite(theirs)
    check_finite(ours)
    return compare(ours, theirs)


def _sizes(spec: EmbeddingSpec) -> tuple[int, str, float, int]:
    return spec.dimension, spec.window, spec.scale, spec.num_mels


def _pooled(model: EmbeddingModel, features: Float32, weights: Float32) -> Float32:
    """Embeddings under weights of maps, which a model that has none (`whole`) gets for each frame of features."""
    maps = model.frames(features)
    times = -(-maps.shape[1] // weights.shape[2])
    return model.pool(maps, np.repeat(weights, times, axis=2)[:, :, : maps.shape[1]])


def _sound(num_samples: int) -> Float32:
    """Two voices that hum in turn, and at once, above a hiss."""
    seconds = num_samples / 16_000
    turns = [(0.05 * seconds, 0.45 * seconds, "A"), (0.35 * seconds, 0.7 * seconds, "B"), (0.8 * seconds, seconds, "A")]
    return conversation(turns, seconds)[:num_samples]


def _judge(difference: Difference, dtype: str, found: Checkpoint) -> None:
    large = dtype == "fp32" and found.kind == "segmentation" and difference.largest > _LARGEST
    if not difference.cosine >= _LEAST_COSINE[dtype] or large:
        raise ModelFileError(
            f"in {dtype} '{found.path}' does not give the answers of its source (cosine {difference.cosine:.5f}, "
            f"largest difference {difference.largest:.2g}): nothing was written"
        )
