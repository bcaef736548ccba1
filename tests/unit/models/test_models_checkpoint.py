"""Which network a file is of, whoever wrote it and whatever they called its tensors."""

from __future__ import annotations

import json
import re
import sys
import types

import numpy as np
import pytest
from test_models_torchfile import Call, Global, Storage, checkpoint, tensor

from diarist.errors import WeightsError
from diarist.models import npz, safetensors
from diarist.models.checkpoint import read
from diarist.models.load import load_embedding, load_segmentation, weights_in


def new(kind, *args):
    """An object of a class, as pickles make it."""
    return Call(Global(*kind.rsplit(".", 1)), *args)


def lightning(path, tensors, **beside):
    """A checkpoint as Lightning writes it."""
    storages, state = {}, {}
    for number, (name, array) in enumerate(tensors.items()):
        storages[str(number)] = np.ascontiguousarray(array, "<f4").tobytes()
        strides = tuple(int(s) // array.itemsize for s in np.ascontiguousarray(array).strides)
        state[name] = tensor(Storage("FloatStorage", str(number), array.size), 0, array.shape, strides)
    return checkpoint(path, {"epoch": 3, "state_dict": state, **beside}, storages)


def test_plain_tensors(tmp_path, pyannet_tensors, old_pyannet_tensors, campplus_tensors, resnet_tensors):
    path = tmp_path / "weights"
    found = {}
    for name, tensors in {
        "pyannet": pyannet_tensors,
        "old": old_pyannet_tensors,
        "campplus": campplus_tensors,
        "resnet34": resnet_tensors,
    }.items():
        path.write_bytes(npz.dumps(tensors, {}))
        found[name] = read(path)
        assert set(found[name].tensors) == set(tensors)
    assert [f.architecture for f in found.values()] == ["pyannet", "pyannet", "campplus", "resnet34"]
    assert [f.kind for f in found.values()] == ["segmentation", "segmentation", "embedding", "embedding"]
    new, old = found["pyannet"].spec, found["old"].spec
    assert (new.chunk, new.num_frames, new.num_local, new.max_simultaneous) == (160_000, 589, 3, 2)
    assert (old.chunk, old.num_frames, old.num_local, old.max_simultaneous) == (80_000, 293, 3, None)
    spec = found["resnet34"].spec
    assert (spec.dimension, spec.map_stride, spec.window, spec.scale, spec.whole) == (256, 8, "hamming", 32768.0, False)


@pytest.mark.parametrize("prefix", ["resnet.", "model.resnet.", "module."])
def test_prefixes_and_what_else_lies_there(tmp_path, resnet_tensors, prefix):
    tensors = {prefix + name: value for name, value in resnet_tensors.items()}
    tensors |= {prefix + "bn1.num_batches_tracked": np.array(7), "projection.weight": np.zeros((5, 256), np.float32)}
    (tmp_path / "own.npz").write_bytes(npz.dumps(tensors, {}))
    found = read(tmp_path / "own.npz")
    assert found.architecture == "resnet34" and set(found.tensors) == set(resnet_tensors)


def test_lightning_checkpoint_of_pyannote(tmp_path, old_pyannet_tensors):
    """With the classes of Lightning, pyannote, numpy and omegaconf that such files hold: none is made."""
    numbers = Call(Global("numpy", "dtype"), "f8", False, True)
    beside = {
        "pytorch-lightning_version": "1.6.5",
        "callbacks": {Global("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"): {"best": 1}},
        "best": Call(
            Global("numpy.core.multiarray", "scalar"), numbers, Call(Global("_codecs", "encode"), "\0" * 8, "latin1")
        ),
        "versions": new("torch.torch_version.TorchVersion", "1.10.0+cu102"),
        "hyper_parameters": {
            "sample_rate": 16000,
            "num_channels": 1,
            "sincnet": {"stride": 10, "sample_rate": 16000},
            "lstm": {"hidden_size": 128, "num_layers": 4, "bidirectional": True, "monolithic": True},
            "optimizer": new("omegaconf.dictconfig.DictConfig"),
            "where": new("pathlib.PosixPath", "/", "home"),
        },
        "pyannote.audio": {"architecture": {"module": "m", "class": "PyanNet"}, "specifications": Specifications(2.0)},
    }
    path = lightning(tmp_path / "pytorch_model.bin", old_pyannet_tensors, **beside)
    found = read(path)
    assert found.architecture == "pyannet"
    assert (found.spec.chunk, found.spec.num_local, found.spec.max_simultaneous) == (32_000, 3, None)
    model = load_segmentation(path, precision="float32")
    assert model(np.zeros((1, 32_000), np.float32)).shape == (1, model.spec.num_frames, 3)


class Specifications:
    """Pickles as pyannote's object of that name."""

    def __init__(self, duration, classes=("speaker#1", "speaker#2", "speaker#3"), most=None):
        self.__dict__ |= {"duration": duration, "classes": list(classes), "powerset_max_classes": most}
        self.problem = new("pyannote.audio.core.task.Problem", 2)


Specifications.__module__ = "pyannote.audio.core.task"


@pytest.fixture(autouse=True)
def pyannote_task(monkeypatch):
    """The module that `pickle` looks the class up in when it writes; gone when it is read."""
    task = types.ModuleType("pyannote.audio.core.task")
    task.Specifications = Specifications
    for name in ("pyannote", "pyannote.audio", "pyannote.audio.core"):
        if name not in sys.modules:
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "pyannote.audio.core.task", task)


def test_what_a_checkpoint_says_is_checked(tmp_path, pyannet_tensors, resnet_tensors):
    said = [
        (pyannet_tensors, {"sample_rate": "8000"}, "takes sound at 8000 Hz"),
        (pyannet_tensors, {"sincnet.stride": "5"}, "a stride of 5: only 10"),
        (pyannet_tensors, {"window_size": "99"}, "says chunks of 99 samples"),
        (
            pyannet_tensors,
            {"num_speakers": "4", "powerset_max_classes": "2"},
            "says 4 speakers, 2 at once, for 7 classes",
        ),
        (pyannet_tensors, {"num_speakers": "9"}, "more than the 8"),
        (resnet_tensors, {"window_type": "povey"}, "window 'povey': only 'hamming'"),
        (resnet_tensors, {"fbank_centering_span": "2.0"}, "centred on a moving mean"),
        (resnet_tensors | {"seg_2.weight": np.zeros((2, 2), "f4")}, {}, "two embedding layers"),
        (resnet_tensors | {"layer1.0.conv3.weight": np.zeros((2, 2), "f4")}, {}, "bottleneck"),
        (resnet_tensors | {"conv1.weight": np.full((8, 1, 3, 3), np.nan, "f4")}, {}, "is damaged: 'conv1.weight'"),
        (resnet_tensors | {"conv1.weight": np.ones((8, 1, 3, 3), "i4")}, {}, "as int32: weights must be floating"),
    ]
    for tensors, words, message in said:
        (tmp_path / "own.npz").write_bytes(npz.dumps(tensors, words))
        with pytest.raises(WeightsError, match=message) as caught:
            read(tmp_path / "own.npz")
        assert "\n" not in str(caught.value)


def test_names_of_the_mlx_port(tmp_path, pyannet_tensors, resnet_tensors):
    """The port keeps torch's names, or its own, with channels last and the biases of an LSTM added up."""
    own, t = {}, pyannet_tensors
    for key in ("low_hz_", "band_hz_", "n_", "window_"):
        own[f"sincnet.sinc_conv.{key}"] = t[f"sincnet.conv1d.0.filterbank.{key}"]
    for key in ("weight", "bias"):
        own[f"sincnet.wav_norm.{key}"] = t[f"sincnet.wav_norm1d.{key}"]
        own[f"classifier.{key}"] = t[f"classifier.{key}"]
        for number in (1, 2, 3):
            own[f"sincnet.norm{number}.{key}"] = t[f"sincnet.norm1d.{number - 1}.{key}"]
        for number in (2, 3):
            own[f"sincnet.conv{number}.{key}"] = (
                np.moveaxis(t[f"sincnet.conv1d.{number - 1}.{key}"], 1, -1)
                if (key == "weight")
                else t[f"sincnet.conv1d.{number - 1}.{key}"]
            )
        for number in (1, 2):
            own[f"linear{number}.{key}"] = t[f"linear.{number - 1}.{key}"]
    for layer in range(4):
        for side, suffix in (("forward", ""), ("backward", "_reverse")):
            own[f"lstm_{side}.{layer}.Wx"] = t[f"lstm.weight_ih_l{layer}{suffix}"]
            own[f"lstm_{side}.{layer}.Wh"] = t[f"lstm.weight_hh_l{layer}{suffix}"]
            biases = (t[f"lstm.bias_{kind}_l{layer}{suffix}"] for kind in ("ih", "hh"))
            own[f"lstm_{side}.{layer}.bias"] = sum(biases)
    path = tmp_path / "weights.npz"
    path.write_bytes(npz.dumps(own, {}))
    found = read(path)
    assert set(found.tensors) == set(pyannet_tensors)
    assert all(found.tensors[name].shape == value.shape for name, value in pyannet_tensors.items())
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 160_000)).astype(np.float32)
    (tmp_path / "torch.npz").write_bytes(npz.dumps(pyannet_tensors, {}))
    models = [load_segmentation(p, precision="float32") for p in (path, tmp_path / "torch.npz")]
    np.testing.assert_allclose(models[0](sound), models[1](sound), atol=1e-4)
    port = {}
    for name, value in resnet_tensors.items():
        name = name.replace("shortcut.0", "shortcut_conv").replace("shortcut.1", "shortcut_bn").replace("seg_1", "fc")
        stage, _, rest = name.partition(".")
        name = f"{stage}.layers.{rest}" if stage.startswith("layer") else name
        port[name] = np.moveaxis(value, 1, -1) if value.ndim > 2 else value
    path.write_bytes(npz.dumps(port, {}))
    found = read(path)
    for name, value in resnet_tensors.items():
        np.testing.assert_array_equal(found.tensors[name], value)


def test_one_lstm_a_layer(tmp_path, pyannet_tensors):
    """pyannote's networks that are not `monolithic`, and the port's own converter."""
    tensors = {re.sub(r"^lstm\.(\w+)_l(\d)(_reverse)?$", r"lstm.\2.\1_l0\3", n): v for n, v in pyannet_tensors.items()}
    (tmp_path / "own.npz").write_bytes(npz.dumps(tensors, {}))
    assert set(read(tmp_path / "own.npz").tensors) == set(pyannet_tensors)


def test_half_precision_is_widened(tmp_path, resnet_tensors):
    (tmp_path / "h.npz").write_bytes(npz.dumps({n: v.astype(np.float16) for n, v in resnet_tensors.items()}, {}))
    names = frozenset(n for n, v in resnet_tensors.items() if v.ndim > 1)
    (tmp_path / "b.safetensors").write_bytes(safetensors.dumps(resnet_tensors, {}, names))
    for file in ("h.npz", "b.safetensors"):
        found = read(tmp_path / file)
        assert {t.dtype.name for t in found.tensors.values()} == {"float32"}
        assert load_embedding(tmp_path / file).spec.dimension == 256


def test_a_folder_of_parts(tmp_path, resnet_tensors):
    names = sorted(resnet_tensors)
    parts = {"model-00001-of-00002.safetensors": names[:90], "model-00002-of-00002.safetensors": names[90:]}
    for part, held in parts.items():
        (tmp_path / part).write_bytes(safetensors.dumps({n: resnet_tensors[n] for n in held}, {"format": "pt"}))
    index = {"metadata": {}, "weight_map": {n: part for part, held in parts.items() for n in held}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [path.name for path in weights_in(tmp_path)] == ["model.safetensors.index.json"]
    assert load_embedding(tmp_path).spec.dimension == 256
    index["weight_map"]["more"] = "model-00001-of-00002.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="no part holds 'more'"):
        load_embedding(tmp_path)
    index["weight_map"]["more"] = "../../etc/passwd"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="a part is called"):
        load_embedding(tmp_path)


def test_a_pipelines_folder(tmp_path, pyannet_tensors, resnet_tensors):
    """`segmentation`, `embedding` and `plda`, as in pyannote's pipelines."""
    for folder, tensors in (("segmentation", pyannet_tensors), ("embedding", resnet_tensors)):
        (tmp_path / folder).mkdir()
        lightning(tmp_path / folder / "pytorch_model.bin", tensors)
    (tmp_path / "plda").mkdir()
    (tmp_path / "plda" / "plda.npz").write_bytes(npz.dumps({"mu": np.zeros(3)}, {}))
    assert load_segmentation(tmp_path, precision="float32").spec.num_local == 3
    assert load_embedding(tmp_path).spec.dimension == 256
