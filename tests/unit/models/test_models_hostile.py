"""Files that were made to harm, or came to harm: one line each, no code run, no memory taken."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from test_models_torchfile import FLOATS, Call, Global, Storage, checkpoint, tensor

from diarist.errors import WeightsError
from diarist.models import checkpoint as checkpoints
from diarist.models import npz, safetensors
from diarist.models.torchfile import read_checkpoint, read_state_dict

ONE = tensor(FLOATS, 0, (4,), (1,))


def refused(path, read=read_state_dict, match=None):
    with pytest.raises(WeightsError, match=match) as caught:
        read(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "builtins.bytearray",
        "builtins.range",
        "subprocess.Popen",
        "torch.hub.load",
        "torch.storage._load_from_bytes",
        "torch.serialization.load",
        "pytorch_lightning.utilities.cloud_io.load",
        "numpy.load",
        "numpy.testing._private.utils.runstring",
        "functools.partial",
        "operator.attrgetter",
        "importlib.import_module",
        "webbrowser.open",
    ],
)
def test_functions_are_refused(tmp_path, name):
    module, _, function = name.rpartition(".")
    loaded = {"state_dict": {"a": ONE}, "beside": Call(Global(module, function), "exit 1")}
    refused(checkpoint(tmp_path / "x.bin", loaded, {"0": bytes(16)}), match="which is refused")


def test_classes_do_nothing(tmp_path, capfd):
    """A class of a library that is not even installed: its arguments are remembered, and that is all."""
    for number, name in enumerate(("pytorch_lightning.Trainer", "torch.nn.modules.linear.Linear", "pathlib.PosixPath")):
        module, _, kind = name.rpartition(".")
        loaded = {"state_dict": {"a": ONE}, "beside": Call(Global(module, kind), "touch", 7)}
        tensors, beside = read_checkpoint(checkpoint(tmp_path / f"{number}.bin", loaded, {"0": bytes(16)}))
        assert beside["beside"].args == ("touch", 7) and beside["beside"].origin == name
        assert list(tensors) == ["a"]
    called = Call(Call(Global("torch", "Tensor")), 3)  # an instance that is called
    refused(checkpoint(tmp_path / "x.bin", {"state_dict": {"a": ONE}, "b": called}, {"0": bytes(16)}))


def test_numbers_of_numpy(tmp_path):
    def number(kind, raw):
        dtype = Call(Global("numpy", "dtype"), kind, False, True)
        return Call(Global("numpy.core.multiarray", "scalar"), dtype, Call(Global("_codecs", "encode"), raw, "latin1"))

    loaded = {
        "state_dict": {"a": ONE},
        "loss": number("f8", struct.pack("<d", 0.5).decode("latin1")),
        "n": number("i4", "\3\0\0\0"),
    }
    _, beside = read_checkpoint(checkpoint(tmp_path / "x.bin", loaded, {"0": bytes(16)}))
    assert (beside["loss"], beside["n"]) == (0.5, 3)
    for wrong in (number("O", "abcdefgh"), number("f8", "abc"), number("V9999999999", "a")):
        refused(checkpoint(tmp_path / "x.bin", {"state_dict": {"a": ONE}, "n": wrong}, {"0": bytes(16)}))


def test_a_zip_file_that_unpacks_without_end(tmp_path):
    path = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
        archive.writestr("x/data/0", bytes(100_000_000))
    refused(path, match="far larger unpacked")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(100_000_000))
    refused(tmp_path / "bomb.npz", npz.read, "far larger unpacked")


def test_one_number_as_many_tensors(tmp_path):
    """A storage of one number, seen as a tensor of 16 GB, and as a hundred of 160 MB."""
    path = tmp_path / "x.bin"
    wide = tensor(Storage("FloatStorage", "0", 1), 0, (4_000_000_000,), (0,))
    refused(checkpoint(path, {"a": wide}, {"0": bytes(4)}), match="far more memory")
    many = {str(n): tensor(Storage("FloatStorage", "0", 1), 0, (40_000_000,), (0,)) for n in range(100)}
    refused(checkpoint(path, many, {"0": bytes(4)}), match="far more memory")


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",  # BYTEARRAY8
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",  # BINBYTES8
        b"\x80\x04]r\xff\xff\xff\x7f.",  # LONG_BINPUT: two milliard places of a memo
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02" + b"]" * 1000 + b"a" * 998 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # LONG4
        b"c\n\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
    ],
    ids=range(9),
)
def test_pickles_that_take_memory(tmp_path, raw):
    with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
        archive.writestr("x/data.pkl", raw)
    refused(tmp_path / "x.bin")


SAFE = safetensors.dumps({"a": np.arange(6, dtype="f4"), "b": np.ones((2, 2), "f2")}, {"k": "v"})


def header(table):
    text = json.dumps(table).encode() if not isinstance(table, bytes) else table
    return struct.pack("<Q", len(text)) + text + bytes(64)


def span(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        SAFE[:5],
        SAFE[:60],
        SAFE[:-1],
        struct.pack("<Q", 1 << 62) + b"{}",
        header(b"[1]"),
        header(b"{" * 10_000),
        header(b"\xff\xfe"),
        header({"a": span(0, 8, [1])}),
        header({"a": span(0, 8, [-2])}),
        header({"a": span(60, 68, [2])}),
        header({"a": span(0, 8, [1 << 40, 1 << 40, 0])}),
        header({"a": span(0, 8, [2]), "b": span(4, 12, [2])}),
        header({"a": span(0, 8, [2], "F8")}),
        header({"a": span(0, "8", [2])}),
        header({"a": 3}),
        header({"a": {}}),
        header({"__metadata__": [1], "a": span(0, 8, [2])}),
    ],
    ids=range(18),
)
def test_safetensors_that_are_none(tmp_path, raw):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    refused(path, safetensors.read)
    refused(path, checkpoints.read)


def test_npz_that_is_none(tmp_path):
    path = tmp_path / "x.npz"
    for raw in (b"", b"PK", npz.dumps({"a": np.ones(3)}, {})[:-30]):
        path.write_bytes(raw)
        refused(path, npz.read)
    np.savez(path, a=np.array([{}], dtype=object))
    refused(path, npz.read, "allow_pickle")
    np.savez(path, a=np.array(["text"]))
    refused(path, npz.read, "not numbers")
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", huge.getvalue())
    refused(path, npz.read)
    refused(tmp_path / "gone.npz", npz.read, "there is no file")


def test_the_same_bytes_and_back(tmp_path):
    tensors = {
        "a": np.arange(6, dtype="f4").reshape(2, 3),
        "b": np.float32(2.5),
        "c": np.zeros((0, 3), "f2"),
        "d": np.arange(3),
    }
    for module in (npz, safetensors):
        path = tmp_path / "x"
        path.write_bytes(module.dumps(tensors, {"k": "v"}))
        read, said = module.read(path)
        assert said == {"k": "v"} and list(read) == list(tensors)
        for name, value in tensors.items():
            np.testing.assert_array_equal(read[name], value)
            assert read[name].dtype == np.asarray(value).dtype and read[name].shape == np.shape(value)
        assert module.dumps(tensors, {"k": "v"}) == path.read_bytes()


@pytest.mark.parametrize("form", ["bin", "safetensors", "npz"])
def test_a_byte_that_fell_over(tmp_path, form, resnet_tensors):
    """Either the same tensors, or other numbers in them, or a refusal in one line; nothing else ever happens."""
    few = {name: resnet_tensors[name] for name in list(resnet_tensors)[:8]}
    path = tmp_path / f"x.{form}"
    if form == "bin":
        storages = {str(i): np.ascontiguousarray(v, "<f4").tobytes() for i, v in enumerate(few.values())}
        state = {
            name: tensor(Storage("FloatStorage", str(i), v.size), 0, (v.size,), (1,))
            for i, (name, v) in enumerate(few.items())
        }
        checkpoint(path, {"state_dict": state, "loss": 1.5}, storages)
    else:
        path.write_bytes({"npz": npz, "safetensors": safetensors}[form].dumps(few, {"k": "v"}))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        raw = bytearray(whole)
        if rng.random() < 0.2:
            raw = raw[: rng.integers(len(raw))]
        for place in rng.integers(0, max(1, len(raw)), rng.integers(1, 4)):
            if raw:
                # half of them where the descriptions are
                raw[int(place) % min(len(raw), 600) if rng.random() < 0.5 else int(place)] = rng.integers(256)
        path.write_bytes(raw)
        try:
            tensors, _ = checkpoints.read_tensors(path)
        except WeightsError as error:
            assert "\n" not in str(error)
            continue
        assert all(isinstance(value, np.ndarray) for value in tensors.values())


@pytest.mark.parametrize("suffix", ["bin", "npz"])
def test_names_in_no_encoding(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(npz.dumps({"é": np.ones(3, "f4")}, {}).replace("é".encode(), b"\xb3\xb3"))
    refused(path, checkpoints.read)
