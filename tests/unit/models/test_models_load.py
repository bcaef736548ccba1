from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import UsageError, WeightsError
from diarist.models import load, npz
from diarist.models.campplus import CamPlusPlus
from diarist.models.graph import Graph
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation
from diarist.models.pyannet import PyanNet


@pytest.fixture
def checkpoint(tmp_path):
    """A path that holds the tensors given."""

    def checkpoint(tensors):
        path = tmp_path / "own.npz"
        path.write_bytes(npz.dumps(tensors, {}))
        return path

    return checkpoint


def own(path, shape, *, op="LogSoftmax"):
    graph = Graph("own")
    x = graph.input("x", shape)
    if shape[2] == 80:
        graph.output(graph.node("ReduceMean", x, axes=[1], keepdims=0), "y", None)
    else:
        x = graph.node("Conv", x, graph.constant(np.ones((7, 1, 991))), strides=[270])
        graph.output(graph.node(op, graph.node("Transpose", x, perm=[0, 2, 1])), "y", None)
    path.write_bytes(graph.serialize())
    return path


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_checkpoints(checkpoint, pyannet_tensors, campplus_tensors, precision):
    assert isinstance(load_segmentation(checkpoint(pyannet_tensors), precision=precision), PyanNet)
    assert isinstance(load_embedding(checkpoint(campplus_tensors), precision=precision), CamPlusPlus)


def test_files(tmp_path):
    samples = own(tmp_path / "segmentation.ONNX", ("batch", 1, "num_samples"))
    features = own(tmp_path / "embedding.onnx", ("batch", "time", 80))
    assert isinstance(load_segmentation(str(samples)), OnnxSegmentation)
    assert isinstance(load_embedding(features), OnnxEmbedding)


def test_a_folder_with_one_model(tmp_path):
    (tmp_path / "README.md").write_text("a model")
    with pytest.raises(WeightsError, match=r"must hold one ONNX file or checkpoint, not 0 \(none\): name the file"):
        load_embedding(tmp_path)
    own(tmp_path / "embedding.onnx", ("batch", "time", 80))
    (tmp_path / "pytorch_model.bin").touch()  # the ONNX file comes first
    assert isinstance(load_embedding(tmp_path), OnnxEmbedding)
    own(tmp_path / "other.onnx", ("batch", "time", 80))
    with pytest.raises(WeightsError, match=r"not 2 \(embedding.onnx, other.onnx\)"):
        load_embedding(tmp_path)


def test_unknown_words():
    with pytest.raises(UsageError, match="unknown backend 'onxx'; did you mean 'onnx'"):
        load_segmentation(backend="onxx")
    with pytest.raises(UsageError, match="unknown precision 'int4'; did you mean 'int8'"):
        load_embedding(precision="int4")
    with pytest.raises(UsageError, match="unknown model 'segmentation-3'; did you mean"):
        load_segmentation("segmentation-3")
    with pytest.raises(UsageError, match=r"unknown model 'xyzzy'; known: segmentation-3\.0, ") as caught:
        load_embedding("xyzzy")
    assert "kokoro" not in str(caught.value)  # which is no model for a diarizer


def test_the_other_kind():
    with pytest.raises(UsageError, match="'campplus-zh-en' is a model of the kind embedding, not segmentation"):
        load_segmentation("campplus-zh-en")
    with pytest.raises(UsageError, match="'sample-wav' is a model of the kind sample, not embedding"):
        load_embedding("sample-wav")


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="there is no model at"):
        load_segmentation(tmp_path / "gone.onnx")


@pytest.mark.parametrize("loader", [load_segmentation, load_embedding])
@pytest.mark.parametrize("content", [b"", b"not a model"])
@pytest.mark.parametrize("name", ["own.pt", "own.onnx"])
def test_not_a_model(tmp_path, loader, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"{name}'") as caught:
        loader(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_checkpoints_of_the_other_kind(checkpoint, pyannet_tensors, campplus_tensors):
    with pytest.raises(
        WeightsError, match=r"is a checkpoint of CAM\+\+: a model of the kind embedding, not segmentation"
    ):
        load_segmentation(checkpoint(campplus_tensors))
    with pytest.raises(
        WeightsError, match="is a checkpoint of PyanNet: a model of the kind segmentation, not embedding"
    ):
        load_embedding(checkpoint(pyannet_tensors))
    with pytest.raises(WeightsError, match=r"no checkpoint of PyanNet, CAM\+\+ or ResNet34 \(1 tensors: a, ...\)"):
        load_embedding(checkpoint({"a": np.zeros(3, np.float32)}))


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_tensors_missing_or_of_other_shapes(checkpoint, pyannet_tensors, campplus_tensors, precision):
    broken = [
        (load_segmentation, pyannet_tensors, "lstm.bias_hh_l2_reverse", None),
        (load_segmentation, pyannet_tensors, "linear.0.weight", (128, 255)),
        (load_segmentation, pyannet_tensors, "classifier.bias", (8,)),
        (load_segmentation, pyannet_tensors, "sincnet.conv1d.1.weight", (60, 79, 5)),
        (load_embedding, campplus_tensors, "xvector.block2.tdnnd7.linear1.weight", None),
        (load_embedding, campplus_tensors, "xvector.tdnn.linear.weight", (128, 319, 5)),
        (load_embedding, campplus_tensors, "xvector.block3.tdnnd16.nonlinear1.batchnorm.weight", (3,)),
    ]
    for loader, tensors, name, shape in broken:
        changed = dict(tensors)
        del changed[name]
        if shape is not None:
            changed[name] = np.zeros(shape, np.float32)
        with pytest.raises(WeightsError) as caught:
            loader(checkpoint(changed), precision=precision)
        assert "\n" not in str(caught.value)


def test_offline_reaches_the_fetch(monkeypatch, tmp_path):
    seen = []

    def resolve(model, *, offline):
        seen.append((model, offline))
        return own(tmp_path / "embedding.onnx", ("batch", "time", 80))

    monkeypatch.setattr(load, "resolve", resolve)
    load_embedding(offline=True)
    assert seen == [("campplus-zh-en", True)]
