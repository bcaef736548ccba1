"""Weights out of ONNX files: as they went in, whoever named the tensors; what cannot be read is told in a line."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import ModelFileError
from diarist.models import npz, onnx_file
from diarist.models.export import convert, described
from diarist.models.graph import Graph
from diarist.models.load import load_embedding
from diarist.models.onnx_source import read_tensors


@pytest.fixture
def exported(tmp_path, request):
    """An ONNX file of the tensors that the test asks for by the name of their fixture."""

    def exported(name, dtype="fp32"):
        (tmp_path / f"{name}.npz").write_bytes(npz.dumps(request.getfixturevalue(f"{name}_tensors"), {}))
        return convert(str(tmp_path / f"{name}.npz"), dtype=dtype, output=tmp_path / f"{name}-{dtype}.onnx").path

    return exported


@pytest.mark.parametrize("name", ["pyannet", "old_pyannet"])
def test_pyannet_comes_back_as_it_went_in(exported, request, name):
    tensors, said = read_tensors(exported(name))
    before = request.getfixturevalue(f"{name}_tensors")
    assert set(tensors) == set(before) and said["architecture"] == "pyannet"
    for key, value in before.items():
        assert tensors[key].shape == value.shape
        if "filterbank" not in key:
            np.testing.assert_allclose(tensors[key], value, atol=1e-6, err_msg=key)


def test_resnet_comes_back_with_its_normalisations_folded(exported, resnet_tensors):
    tensors, _ = read_tensors(exported("resnet"))
    assert {name: tensor.shape for name, tensor in tensors.items()} == {n: t.shape for n, t in resnet_tensors.items()}
    np.testing.assert_array_equal(tensors["seg_1.weight"], resnet_tensors["seg_1.weight"])


@pytest.mark.parametrize("name", ["pyannet", "old_pyannet", "resnet"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_from_onnx_to_tensors(exported, tmp_path, name, dtype):
    """What is written is held against what ONNX Runtime makes of the file that was given."""
    path = exported(name, dtype)
    done = convert(str(path), to="torch", output=tmp_path / "out")
    assert done.difference.cosine > 0.99999
    assert done.facts["source"] == f"{name}.npz" and done.facts["dtype"] == "fp32"
    again = convert(str(done.path), output=tmp_path / "again.onnx")
    assert again.facts["source_sha256"] == done.facts["source_sha256"] == described(str(path))["source_sha256"]


def test_campplus_from_onnx(exported, tmp_path, campplus_tensors):
    done = convert(str(exported("campplus")), to="torch", output=tmp_path / "out")
    assert done.difference.cosine > 0.99999
    features = np.random.default_rng(6).normal(0, 3, (1, 203, 80)).astype(np.float32)
    (tmp_path / "before.npz").write_bytes(npz.dumps(campplus_tensors, {}))
    ours, theirs = (load_embedding(p, precision="float32") for p in (done.path, tmp_path / "before.npz"))
    weights = np.ones((1, 1, 102), np.float32)
    made, expected = (model.pool(model.frames(features), weights) for model in (ours, theirs))
    np.testing.assert_allclose(made, expected, atol=1e-3 * np.abs(expected).max())


def test_wrong_weights_are_found_out(exported, tmp_path, monkeypatch):
    """A tensor that was taken for another shows in the answers."""
    path = exported("resnet")
    right = read_tensors(path)

    def wrong(_):
        tensors = dict(right[0])
        one, other = "layer1.0.conv1.weight", "layer1.0.conv2.weight"
        tensors[one], tensors[other] = tensors[other], tensors[one]
        return tensors, right[1]

    monkeypatch.setattr("diarist.models.onnx_source.read_tensors", wrong)
    with pytest.raises(ModelFileError, match="does not give the answers of its source"):
        convert(str(path), to="torch", output=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_files_that_are_no_source(exported, tmp_path):
    def refused(path, message):
        with pytest.raises(ModelFileError, match=message):
            convert(str(path), to="torch", output=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused(exported("pyannet", "int8"), r"weights in eight bits: convert what it was made of \(pyannet.npz\)")
    other = Graph("other")
    x = other.node("Conv", other.input("x", (1, 1, 9)), other.constant(np.ones((2, 1, 3), np.float32)))
    other.output(x, "y", None)
    (tmp_path / "other.onnx").write_bytes(other.serialize())
    refused(tmp_path / "other.onnx", "is not laid out as PyanNet, CAM.* or ResNet34 is")
    whole = exported("pyannet").read_bytes()
    for number, raw in enumerate((b"", b"no model\n" * 50, whole[: len(whole) // 2], b"\x3a\xff\xff\xff\xff\x7f")):
        (tmp_path / f"{number}.onnx").write_bytes(raw)
        refused(tmp_path / f"{number}.onnx", "is no ONNX file, or it is cut off")


def test_a_tensor_that_runs_in_a_circle(tmp_path):
    raw = Graph("circle")
    raw.output(raw.node("Conv", raw.input("x", (1, 1, 9)), "Identity_1.0"), "y", None)
    raw.nodes("Identity", "Identity_2.0", outputs=1)
    raw.nodes("Identity", "Identity_1.0", outputs=1)
    (tmp_path / "circle.onnx").write_bytes(raw.serialize())
    with pytest.raises(ModelFileError, match="is not laid out as"):
        read_tensors(tmp_path / "circle.onnx")


def test_a_file_that_says_nothing_is_described_by_its_tensors(exported, tmp_path):
    path = exported("resnet")
    said = onnx_file.read(path).said
    bare = path.read_bytes()
    for key, value in said.items():
        entry = b"\x0a" + _sized(key) + b"\x12" + _sized(value)
        bare = bare.replace(b"\x72" + _sized(entry), b"")
    (tmp_path / "bare.onnx").write_bytes(bare)
    assert onnx_file.read(tmp_path / "bare.onnx").said == {}
    told = described(str(tmp_path / "bare.onnx"))
    assert told["architecture"] == "resnet34" and told["output_dim"] == said["output_dim"]


def _sized(value):
    raw = value.encode() if isinstance(value, str) else value
    assert len(raw) < 128
    return bytes([len(raw)]) + raw


@pytest.mark.weights
def test_segmentation_as_others_wrote_it(tmp_path):
    """The ONNX file of the catalogue, made by torch's exporter, has the weights of the checkpoint."""
    done = convert("segmentation-3.0-onnx", to="torch", output=tmp_path / "out")
    assert done.difference.cosine > 0.99999 and done.facts["licence"] == "MIT"
