"""Networks in other files: what is written says what it is, runs, and gives the answers of its source."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import UsageError, WeightsError
from diarist.models import export, npz, safetensors
from diarist.models.checkpoint import read
from diarist.models.export import convert, described
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.onnx import OnnxEmbedding, OnnxSegmentation, session
from diarist.models.verify import compare


@pytest.fixture
def source(tmp_path, request):
    """A checkpoint of the tensors that the test asks for by the name of their fixture."""

    def source(name):
        path = tmp_path / f"{name}.npz"
        path.write_bytes(npz.dumps(request.getfixturevalue(f"{name}_tensors"), {}))
        return str(path)

    return source


SOUND = np.random.default_rng(5).normal(0, 0.1, (1, 160_000)).astype(np.float32)
FEATURES = np.random.default_rng(6).normal(0, 3, (1, 203, 80)).astype(np.float32)


@pytest.mark.parametrize(("name", "classes"), [("pyannet", (3, 2)), ("old_pyannet", (3, None))])
def test_segmentation_as_onnx(tmp_path, source, name, classes):
    whole = load_segmentation(source(name), precision="float32")
    sound = SOUND[:, : whole.spec.chunk]
    sizes = {}
    for dtype, least in (("fp32", 0.99999), ("fp16", 0.999), ("int8", 0.95)):
        done = convert(source(name), dtype=dtype, output=tmp_path / dtype)
        assert done.path == tmp_path / dtype / "model.onnx" and done.num_bytes == done.path.stat().st_size
        model = load_segmentation(done.path.parent)
        assert isinstance(model, OnnxSegmentation) and model.spec == whole.spec
        assert (model.spec.num_local, model.spec.max_simultaneous) == classes
        assert compare(model(sound), whole(sound)).cosine > least
        assert done.difference.cosine > least and done.checked == "onnx"
        sizes[dtype] = done.num_bytes
    assert sizes["fp16"] < 0.55 * sizes["fp32"] and sizes["int8"] < 0.35 * sizes["fp32"]


def test_what_the_file_says(tmp_path, source):
    done = convert(source("pyannet"), output=tmp_path / "own.onnx", licence="MIT")
    said = session(done.path).get_modelmeta().custom_metadata_map
    assert said == done.facts == described(str(done.path))
    expected = {
        "sample_rate": "16000",
        "window_size": "160000",
        "num_frames": "589",
        "receptive_field_shift": "270",
        "num_speakers": "3",
        "powerset_max_classes": "2",
        "licence": "MIT",
        "source": "pyannet.npz",
        "dtype": "fp32",
        "architecture": "pyannet",
    }
    assert expected.items() <= said.items()
    import hashlib

    assert said["source_sha256"] == hashlib.sha256((tmp_path / "pyannet.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["campplus", "resnet"])
def test_embedding_as_onnx(tmp_path, source, name):
    """The trunk once, and every speaker of a stretch at once: the same as from the checkpoint."""
    whole = load_embedding(source(name), precision="float32")
    stride = whole.spec.map_stride
    weights = (np.random.default_rng(7).random((1, 3, -(-203 // stride))) < 0.6).astype(np.float32)
    expected = whole.pool(whole.frames(FEATURES), weights)
    each = np.repeat(weights, stride, axis=2)[:, :, :203]
    for dtype, least in (("fp32", 0.99999), ("fp16", 0.999))[name == "campplus" :]:
        done = convert(source(name), dtype=dtype, output=tmp_path / dtype)
        model = OnnxEmbedding(done.path)  # as whoever knows nothing of maps
        assert model.spec.whole and load_embedding(done.path).spec.whole is (name == "resnet")
        assert (model.spec.window, model.spec.scale) == (whole.spec.window, whole.spec.scale)
        assert compare(model.pool(model.frames(FEATURES), each), expected).cosine > least
    few = each.copy()
    few[0, 1] = 0
    pooled = model.pool(FEATURES, few)
    assert np.isnan(pooled[0, 1]).all() and np.isfinite(pooled[0, [0, 2]]).all()


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_campplus_as_onnx_is_heard_as_its_checkpoint_is(tmp_path, source, dtype, monkeypatch):
    """Maps and embeddings of stretches of any length, several at once: so the turns are the same, too."""
    monkeypatch.setitem(export._LEAST_COSINE, "int8", -1.0)  # eight bits fit the real weights only
    precision = {"fp32": "float32", "int8": "int8"}[dtype]
    checkpoint = load_embedding(source("campplus"), precision=precision)
    written = convert(source("campplus"), dtype=dtype, output=tmp_path)
    model = load_embedding(written.path)
    assert model.spec == checkpoint.spec
    for num_fbank in (0, 1, 23, 200, 203):
        features = np.concatenate([FEATURES[:, :num_fbank], -FEATURES[:, :num_fbank]])
        maps, expected = model.frames(features), checkpoint.frames(features)
        np.testing.assert_allclose(maps, expected, atol=1e-4, rtol=1e-4)
        weights = np.random.default_rng(3).random((2, 3, maps.shape[1])).astype(np.float32)
        weights[1, 2] = 0
        embeddings = model.pool(maps, weights)
        np.testing.assert_allclose(embeddings, checkpoint.pool(expected, weights), atol=1e-3, rtol=1e-3)
        assert np.isnan(embeddings[1, 2]).all()
    again = convert(str(written.path), output=tmp_path / "again") if dtype == "fp32" else None
    assert again is None or again.difference.largest < 1e-4  # it is a source as well
    with pytest.raises(UsageError, match="features"):
        model.frames(FEATURES[:, :, :40])


def test_resnet_in_eight_bits(tmp_path, source):
    done = convert(source("resnet"), dtype="int8", output=tmp_path / "8")
    assert done.num_bytes < 0.4 * convert(source("resnet"), output=tmp_path / "32").num_bytes
    assert done.difference.cosine > 0.99


@pytest.mark.parametrize("name", ["pyannet", "resnet"])
@pytest.mark.parametrize(("to", "library"), [("torch", "torch"), ("mlx", "mlx.core")])
def test_tensors_for_torch_and_mlx(tmp_path, source, name, to, library):
    pytest.importorskip(library)
    before = read(source(name))
    for dtype in ("fp32", "fp16", "bf16"):
        done = convert(source(name), to=to, dtype=dtype, output=tmp_path / to / dtype)
        assert done.checked == to
        again = read(done.path)
        assert again.spec == before.spec and set(again.tensors) == set(before.tensors)
        exact = [
            np.array_equal(again.tensors[n], v) for n, v in before.tensors.items() if v.ndim == 1 or "filterbank" in n
        ]
        assert all(exact)
        if dtype == "fp32":
            assert all(np.array_equal(again.tensors[n], v) for n, v in before.tensors.items())
    load = load_segmentation if name == "pyannet" else load_embedding
    assert load(tmp_path / to / "fp16", backend=to).spec == before.spec


def test_mlx_files_are_mlxs(tmp_path, source, resnet_tensors):
    """Channels last, under names that the MLX network takes as they are."""
    mx = pytest.importorskip("mlx.core")
    from diarist.models.nets.mlx.resnet import ResNet34

    done = convert(source("resnet"), to="mlx", output=tmp_path / "out")
    assert done.path.name == "weights.npz"
    network = ResNet34.like(resnet_tensors)
    before = np.array(network(mx.array(FEATURES[:, :40])))
    network.load_weights(str(done.path))
    np.testing.assert_array_equal(np.array(network(mx.array(FEATURES[:, :40]))), before)
    assert mx.load(str(done.path))["conv1.weight"].shape == (8, 3, 3, 1)


def test_torch_files_are_safetensors(tmp_path, source, resnet_tensors):
    library = pytest.importorskip("safetensors.numpy")
    done = convert(source("resnet"), to="torch", output=tmp_path / "own.safetensors")
    held = library.load_file(done.path)
    assert set(held) == set(resnet_tensors)
    np.testing.assert_array_equal(held["seg_1.weight"], resnet_tensors["seg_1.weight"])
    assert safetensors.read(done.path)[1]["architecture"] == "resnet34"


def test_from_file_to_file(tmp_path, source):
    """What was converted is a source again, and remembers where it is from."""
    first = convert(source("pyannet"), to="torch", dtype="fp16", output=tmp_path / "1", licence="MIT")
    second = convert(str(first.path), to="onnx", output=tmp_path / "2")
    assert second.facts["source"] == "pyannet.npz" and second.facts["licence"] == "MIT"
    assert second.facts["source_sha256"] == first.facts["source_sha256"]


def test_licence_of_a_card(tmp_path, source):
    source("resnet")
    assert convert(str(tmp_path / "resnet.npz"), output=tmp_path / "1").facts["licence"] == "not stated"
    (tmp_path / "README.md").write_text("---\ntags:\n- x\nlicense: cc-by-4.0\n---\n# A model\nlicense: none\n")
    assert convert(str(tmp_path / "resnet.npz"), output=tmp_path / "2").facts["licence"] == "cc-by-4.0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "onxx"}, "unknown target 'onxx'; did you mean 'onnx'"),
        ({"dtype": "fp61"}, "unknown dtype 'fp61'; did you mean 'fp16'"),
        ({"to": "mlx", "dtype": "int8"}, "int8 is for ONNX Runtime: mlx would"),
        ({"to": "torch", "dtype": "int8"}, "int8 is for ONNX Runtime: torch would"),
        ({"to": "onnx", "dtype": "bf16"}, "bf16 is for torch and mlx"),
        ({"to": "onnx", "output": "x.npz"}, "is no file for onnx: it must end in .onnx"),
        ({"to": "torch", "output": "x.onnx"}, "is no file for torch: it must end in .safetensors or .npz"),
        ({"to": "mlx", "dtype": "bf16", "output": "x.npz"}, "numpy has no bfloat16"),
    ],
)
def test_what_cannot_be(tmp_path, source, options, message):
    options = {"output": tmp_path / "out", **options}
    with pytest.raises(UsageError, match=message):
        convert(source("resnet"), **options)


def test_a_folder_with_both(tmp_path, source):
    """As WeSpeaker's on the hub: the checkpoint is converted, and the ONNX file is run."""
    convert(source("resnet"), output=tmp_path / "both" / "voxceleb.onnx")
    (tmp_path / "both" / "avg_model.npz").write_bytes((tmp_path / "resnet.npz").read_bytes())
    assert convert(str(tmp_path / "both"), output=tmp_path / "out").facts["architecture"] == "resnet34"
    assert isinstance(load_embedding(tmp_path / "both"), OnnxEmbedding)


def test_sources_that_are_none(tmp_path, source):
    with pytest.raises(WeightsError, match="there is no model at"):
        convert(str(tmp_path / "gone.bin"), output=tmp_path / "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"holds 0 models \(none\)"):
        convert(str(tmp_path / "empty"), output=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_shapes_that_do_not_fit(tmp_path, resnet_tensors):
    broken = resnet_tensors | {"layer3.2.conv1.weight": np.ones((32, 31, 3, 3), "f4")}
    (tmp_path / "x.npz").write_bytes(npz.dumps(broken, {}))
    with pytest.raises(WeightsError, match="is no checkpoint of ResNet34"):
        convert(str(tmp_path / "x.npz"), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_other_answers_are_not_written(tmp_path, source, monkeypatch, to):
    """A converter that is wrong in one tensor, or in what the file says, is found out by running what it wrote."""
    right = export.facts_of
    monkeypatch.setattr(export, "facts_of", lambda *a, **k: {**right(*a, **k), "window_size": "80000"})
    with pytest.raises(WeightsError, match=r"the converted file would say|it says num_frames .*tensors show 293"):
        convert(source("pyannet"), to=to, output=tmp_path / "out")
    monkeypatch.setattr(export, "facts_of", right)

    def wrong(found, *rest):
        bent = {**found.tensors, "lstm.weight_hh_l1": -found.tensors["lstm.weight_hh_l1"]}
        import dataclasses

        return kept(dataclasses.replace(found, tensors=bent), *rest)

    name = "_onnx" if to == "onnx" else "_tensors"
    kept = getattr(export, name)
    monkeypatch.setattr(export, name, wrong)
    with pytest.raises(WeightsError, match=r"does not give the answers of its source \(cosine .*nothing was written"):
        convert(source("pyannet"), to=to, output=tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.weights
@pytest.mark.parametrize(("name", "least"), [("segmentation-3.0", 0.99), ("campplus-zh-en", 0.95)])
def test_catalogue_names_in_eight_bits(tmp_path, name, least):
    done = convert(name, dtype="int8", output=tmp_path / "out")
    assert done.difference.cosine > least and done.facts["licence"] in ("MIT", "Apache-2.0")
