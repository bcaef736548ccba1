"""Every adapter of each port, built once."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.models import torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.graph import Graph
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation
from diarist.models.pyannet import PyanNet
from diarist.models.toy import ToyEmbedding, ToySegmentation

SEGMENTATION = ("toy", "pyannet-float32", "pyannet-int8", "pyannet-torch", "onnx-file")
EMBEDDING = ("toy", "campplus-float32", "campplus-int8", "campplus-torch", "onnx-file")


@pytest.fixture(scope="session", params=SEGMENTATION)
def segmentation(request, tmp_path_factory):
    if request.param == "toy":
        return ToySegmentation()
    if request.param == "onnx-file":
        return OnnxSegmentation(_segmentation_file(tmp_path_factory.mktemp("onnx") / "segmentation.onnx"))
    if request.param.endswith("torch"):
        pytest.importorskip("torch")
        return torch.segmentation(request.getfixturevalue("pyannet_tensors"), "cpu")
    return PyanNet(request.getfixturevalue("pyannet_tensors"), int8=request.param.endswith("int8"))


@pytest.fixture(scope="session", params=EMBEDDING)
def embedding(request, tmp_path_factory):
    if request.param == "toy":
        return ToyEmbedding()
    if request.param == "onnx-file":
        return OnnxEmbedding(_embedding_file(tmp_path_factory.mktemp("onnx") / "embedding.onnx"))
    if request.param.endswith("torch"):
        pytest.importorskip("torch")
        return torch.embedding(request.getfixturevalue("campplus_tensors"), "cpu")
    return CamPlusPlus(request.getfixturevalue("campplus_tensors"), int8=request.param.endswith("int8"))


def _segmentation_file(path):
    """A file of somebody's own: one convolution with the geometry of pyannote's networks."""
    graph = Graph("own")
    samples = graph.input("x", ("batch", 1, "num_samples"))
    weight = np.random.default_rng(0).normal(0, 0.1, (7, 1, 991))
    frames = graph.node("Conv", samples, graph.constant(weight), strides=[270])
    scores = graph.node("LogSoftmax", graph.node("Transpose", frames, perm=[0, 2, 1]), axis=-1)
    graph.output(scores, "y", ("batch", "num_frames", 7))
    path.write_bytes(graph.serialize())
    return path


def _embedding_file(path):
    """A file of somebody's own: mean over time, then a product."""
    graph = Graph("own")
    features = graph.input("feats", ("batch", "time", 80))
    mean = graph.node("ReduceMean", features, axes=[1], keepdims=0)
    weight = np.random.default_rng(0).normal(0, 1, (80, 16))
    graph.output(graph.node("MatMul", mean, graph.constant(weight)), "embs", ("batch", 16))
    path.write_bytes(graph.serialize())
    return path
