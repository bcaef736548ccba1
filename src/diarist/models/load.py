"""A model from its name: one of the catalogue, a file of your own, or a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from diarist.core.config import nearest
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.errors import UsageError, WeightsError
from diarist.models.campplus import CamPlusPlus
from diarist.models.catalog import CATALOG
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation
from diarist.models.pyannet import PyanNet
from diarist.models.torchfile import read_state_dict

Precision = Literal["int8", "float32"]
BACKENDS = ("onnx",)


def load_segmentation(
    model: str | Path = "segmentation-3.0",
    *,
    precision: Precision = "int8",
    backend: str = "onnx",
    offline: bool = False,
) -> SegmentationModel:
    """Load a segmentation network: an ONNX file, which runs as it is, or a checkpoint of PyanNet, at `precision`.

    Raises `UsageError` for an unknown name or backend, `WeightsError` for weights that are missing or are not such a
    network.
    """
    _check_backend(backend)
    path = _file(model, "segmentation", offline)
    if path.suffix == ".onnx":
        return OnnxSegmentation(path)
    tensors = read_state_dict(path)
    if "sincnet.conv1d.0.filterbank.low_hz_" not in tensors or "classifier.weight" not in tensors:
        raise WeightsError(f"'{path}' holds no PyanNet network: give an ONNX file that takes (batch, 1, num_samples)")
    return PyanNet(tensors, int8=precision == "int8")


def load_embedding(
    model: str | Path = "campplus-zh-en",
    *,
    precision: Precision = "int8",
    backend: str = "onnx",
    offline: bool = False,
) -> EmbeddingModel:
    """Load a speaker embedding network: an ONNX file, which runs as it is, or a checkpoint of CAM++, at `precision`.

    Raises `UsageError` for an unknown name or backend, `WeightsError` for weights that are missing or are not such a
    network.
    """
    _check_backend(backend)
    path = _file(model, "embedding", offline)
    if path.suffix == ".onnx":
        return OnnxEmbedding(path)
    tensors = read_state_dict(path)
    if "xvector.tdnn.linear.weight" not in tensors:
        raise WeightsError(f"'{path}' holds no CAM++ network: give an ONNX file that takes (batch, num_fbank, 80)")
    return CamPlusPlus(tensors, int8=precision == "int8")


def _check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend '{backend}'{nearest(backend, BACKENDS)}")


def _file(model: str | Path, kind: str, offline: bool) -> Path:
    """Where the weights are: fetched by name, the file itself, or from a hub."""
    if str(model) in CATALOG:
        entry = CATALOG[str(model)]
        if entry.kind != kind:
            raise UsageError(f"'{model}' is a {entry.kind} model, not a {kind} model")
        from diarist.models.fetch import fetch

        return fetch(entry.name, offline=offline)
    from diarist.models.hub import resolve

    return resolve(model, offline=offline)
