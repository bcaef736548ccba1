import argparse
import collections
import datetime
import io
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from diarist.errors import WeightsError
from diarist.models.fetch import fetch
from diarist.models.torchfile import read_checkpoint, read_state_dict


class Storage:
    """Pickles as the persistent reference that `torch.save` writes for a storage."""

    def __init__(self, kind, key, numel=0):
        self.kind, self.key, self.numel = kind, key, numel


class Global:
    """Pickles as the name of something in another module."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """Pickles as a call of a `Global`."""

    def __init__(self, function, *args):
        self.function, self.args = function, args


class Pickler(pickle._Pickler):
    """Writes names of modules that are not there."""

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", Global("torch", obj.kind), obj.key, "cpu", obj.numel)
        return None

    def save(self, obj, *args, **kwargs):
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, *args, **kwargs)


REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


def tensor(storage, offset, shape, strides):
    hooks = Call(Global("collections", "OrderedDict"))
    return Call(REBUILD, storage, offset, shape, strides, False, hooks)


def checkpoint(path, loaded, storages, byteorder=None, folder="toy"):
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(loaded)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", buffer.getvalue())
        if byteorder is not None:
            archive.writestr(f"{folder}/byteorder", byteorder)
        for key, raw in storages.items():
            archive.writestr(f"{folder}/data/{key}", raw)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "toy.pt"


KINDS = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


@pytest.mark.parametrize("order", ["little", "big", None])
@pytest.mark.parametrize("kind", KINDS)
def test_types_and_byte_orders(path, kind, order):
    values = np.array([[0, 1, 2], [100, 5, 0]]).astype(KINDS[kind])
    raw = values.astype(values.dtype.newbyteorder(">" if order == "big" else "<")).tobytes()
    checkpoint(path, {"a.weight": tensor(Storage(kind, "0", 6), 0, (2, 3), (3, 1))}, {"0": raw}, order)
    (read,) = read_state_dict(path).values()
    assert read.dtype == values.dtype and read.dtype.isnative
    np.testing.assert_array_equal(read, values)


def test_bfloat16_becomes_float32(path):
    values = np.array([1.0, -2.5, 3.140625, 0.0, 1e38], np.float32)
    raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    checkpoint(path, {"a": tensor(Storage("BFloat16Storage", "0"), 0, (5,), (1,))}, {"0": raw})
    read = read_state_dict(path)["a"]
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, values, rtol=2**-8)
    np.testing.assert_array_equal(read[:4], values[:4])


def test_views_of_a_shared_storage(path):
    storage, raw = Storage("FloatStorage", "7"), np.arange(24, dtype="<f4")
    loaded = {
        "plain": tensor(storage, 0, (4, 6), (6, 1)),
        "transposed": tensor(storage, 0, (6, 4), (1, 6)),
        "part": tensor(storage, 8, (2, 2), (6, 2)),
        "expanded": tensor(storage, 3, (5,), (0,)),
        "scalar": tensor(storage, 23, (), ()),
        "empty": tensor(storage, 0, (0, 3), (3, 1)),
    }
    read = read_state_dict(checkpoint(path, loaded, {"7": raw.tobytes()}))
    grid = raw.reshape(4, 6)
    assert list(read) == list(loaded)
    np.testing.assert_array_equal(read["plain"], grid)
    np.testing.assert_array_equal(read["transposed"], grid.T)
    np.testing.assert_array_equal(read["part"], grid[1:3, 2:5:2])
    np.testing.assert_array_equal(read["expanded"], [3.0] * 5)
    assert read["scalar"].shape == () and read["scalar"] == 23.0
    assert read["empty"].shape == (0, 3)
    assert all(array.flags.c_contiguous and array.flags.writeable for array in read.values())
    read["plain"][:] = -1
    assert read["part"][0, 0] == 8.0


def test_ordered_and_nested(path):
    weights = collections.OrderedDict(b=tensor(Storage("FloatStorage", "0"), 0, (1,), (1,)))
    weights["a"] = Call(Global("torch._utils", "_rebuild_parameter"), weights["b"], True, {})
    checkpoint(path, {"format": 1, "note": "x", "state_dict": weights}, {"0": struct.pack("<f", 2.5)})
    read = read_state_dict(path)
    assert list(read) == ["b", "a"]
    assert read["a"][0] == 2.5


HOSTILE = {
    "os.system": Call(Global("os", "system"), "exit 1"),
    "builtins.eval": Call(Global("builtins", "eval"), "1"),
    "builtins.getattr": Call(Global("builtins", "getattr"), {}, "clear"),
    "torch.load": Call(Global("torch", "load"), "x"),
    "torch._utils._rebuild_qtensor": Call(Global("torch._utils", "_rebuild_qtensor"), 1),
    "numpy.frombuffer": Call(Global("numpy", "frombuffer"), b""),
    "diarist.models.torchfile._Checkpoint": Global("diarist.models.torchfile", "_Checkpoint"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused(path, name):
    checkpoint(path, {"a": HOSTILE[name]}, {})
    with pytest.raises(WeightsError, match=f"asks for '{name}', which is refused".replace(".", r"\.")) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


FLOATS = Storage("FloatStorage", "0")
WRONG = {
    "beyond the storage": tensor(FLOATS, 0, (5,), (1,)),
    "offset beyond": tensor(FLOATS, 4, (1,), (1,)),
    "stride beyond": tensor(FLOATS, 0, (2, 2), (3, 1)),
    "negative stride": tensor(FLOATS, 3, (4,), (-1,)),
    "negative size": tensor(FLOATS, 0, (-1,), (1,)),
    "negative offset": tensor(FLOATS, -1, (1,), (1,)),
    "shape and strides differ": tensor(FLOATS, 0, (2, 2), (1,)),
    "huge": tensor(FLOATS, 0, (2**62, 2**62), (0, 0)),
    "no storage": tensor(3, 0, (1,), (1,)),
    "unknown storage": tensor(Storage("QInt8Storage", "0"), 0, (1,), (1,)),
    "storage that is not there": tensor(Storage("FloatStorage", "9"), 0, (1,), (1,)),
    "storage outside": tensor(Storage("FloatStorage", "../data.pkl"), 0, (1,), (1,)),
    "wrong types": tensor(FLOATS, "0", ("1",), (1,)),
    "half a number": tensor(Storage("DoubleStorage", "odd"), 0, (1,), (1,)),
    "too few arguments": Call(REBUILD, FLOATS),
    "stop": Call(Global("collections", "OrderedDict"), 3),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_descriptions(path, name):
    checkpoint(path, {"a": WRONG[name]}, {"0": bytes(16), "odd": bytes(9)})
    with pytest.raises(WeightsError, match=r"toy\.pt") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loaded", [{}, [], 3, None, {"a": 1}, {"state_dict": {"a": 1}}, {"state_dict": {}}])
def test_no_tensors(path, loaded):
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        read_state_dict(checkpoint(path, loaded, {}))


@pytest.mark.parametrize("raw", [b"", b"\x80\x02.", b"not a pickle", b"\x80\x02]q\x00(h\x00h\x00", b"\x80\x02cos"])
def test_pickles_that_break(path, raw):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/data.pkl", raw)
    with pytest.raises(WeightsError, match=r"toy\.pt"):
        read_state_dict(path)


def test_files_that_are_no_checkpoint(path, tmp_path):
    with pytest.raises(WeightsError, match="there is no checkpoint at"):
        read_state_dict(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match=r"no checkpoint of PyTorch 1\.6 or later"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "x")
    with pytest.raises(WeightsError, match=r"no 'data\.pkl'"):
        read_state_dict(path)
    with pytest.raises(WeightsError, match=r"cannot read|no checkpoint"):
        read_state_dict(tmp_path)


def test_damaged_bytes(path):
    checkpoint(path, {"a": tensor(FLOATS, 0, (4,), (1,))}, {"0": b"\x01\x02\x03\x04" * 4})
    body = path.read_bytes()
    path.write_bytes(body.replace(b"\x01\x02\x03\x04" * 4, b"\x01\x02\x03\x05" * 4))
    with pytest.raises(WeightsError, match="toy"):
        read_state_dict(path)
    path.write_bytes(body[: len(body) // 2])
    with pytest.raises(WeightsError, match="cut off"):
        read_state_dict(path)


def test_reads_what_torch_writes(path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24).reshape(2, 3, 4)
    state = collections.OrderedDict(
        float32=torch.randn(3, 5),
        float16=torch.randn(7).half(),
        bfloat16=torch.randn(6, 2).bfloat16(),
        float64=torch.randn(2, 2, 2).double(),
        int64=base,
        transposed=base.permute(2, 0, 1),
        sliced=base[:, 1:, ::2],
        expanded=torch.ones(1, 4).expand(3, 4),
        uint8=torch.arange(5, dtype=torch.uint8),
        bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(3.5),
        empty=torch.zeros(0, 4),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        normalised=torch.nn.BatchNorm1d(3).state_dict()["num_batches_tracked"],
    )
    torch.save(state, path)
    read = read_state_dict(path)
    assert list(read) == list(state)
    for name, value in state.items():
        value = value.detach()
        expected = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        assert read[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(read[name], expected, err_msg=name)


@pytest.mark.weights
@pytest.mark.parametrize(("name", "count"), [("campplus-zh-en", 937), ("segmentation-3.0", 54)])
def test_real_weights_without_torch(name, count):
    """Read in a process that never imports torch; compared in this one, where it is installed."""
    path = fetch(name)
    code = (
        "import sys; from diarist.models.torchfile import read_state_dict; "
        "print(len(read_state_dict(sys.argv[1])), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(count), "False"]
    torch = pytest.importorskip("torch")
    expected = torch.load(path, weights_only=True, map_location="cpu")
    expected = expected.get("state_dict", expected)
    read = read_state_dict(path)
    assert list(read) == list(expected)
    for key, value in expected.items():
        assert read[key].dtype == value.numpy().dtype
        np.testing.assert_array_equal(read[key], value.numpy(), err_msg=key)


def test_reads_what_training_programs_write(path):
    """Objects of torch, numpy and the standard library beside the tensors, as their own pickles are."""
    torch = pytest.importorskip("torch")
    np_float, np_int = np.float64(0.25), np.int64(7)
    linear = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(linear.parameters())
    linear(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    beside = {
        "epoch": 3,
        "loss": np_float,
        "step": np_int,
        "history": np.arange(3.0),
        "version": torch.__version__,
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "size": torch.Size([2, 3]),
        "where": pathlib.PurePosixPath("/data"),
        "when": datetime.datetime(2024, 1, 2, tzinfo=None),
        "took": datetime.timedelta(seconds=3),
        "settings": argparse.Namespace(lr=0.1),
        "counts": collections.defaultdict(int, a=1),
        "names": {"a", "b"},
        "raw": b"\x00\xff",
        "optimizer_states": [optimizer.state_dict()],
        "callbacks": {torch.nn.ReLU: {"best": None}},
    }
    torch.save({"state_dict": linear.state_dict(), **beside}, path)
    tensors, read = read_checkpoint(path)
    assert list(tensors) == ["weight", "bias"]
    np.testing.assert_array_equal(tensors["weight"], linear.weight.detach().numpy())
    assert (read["epoch"], read["loss"], read["step"], read["raw"]) == (3, 0.25, 7, b"\x00\xff")
    assert read["settings"].state == {"lr": 0.1} and read["counts"].content == {"a": 1}
    assert set(read) == set(beside)
