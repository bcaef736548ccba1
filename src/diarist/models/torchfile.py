"""Tensors out of a PyTorch checkpoint, without PyTorch.

A checkpoint written by `torch.save` (1.6 and later) is a zip file: a pickle that describes the tensors, and one file
for the bytes of each storage. The pickle is read with an unpickler that knows tensors, ordered dictionaries and plain
values; classes of training programs become placeholders (`inert.py`), anything else is refused, so that a hostile file
can run no code. Nor can it take more memory than its own size calls for.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.errors import ModelFileError, WeightsError
from diarist.models import inert

# What the bytes of a storage are; bfloat16 is read as 16 raw bits and widened to float32.
_STORAGES: dict[str, str] = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


AGAIN = "get it again, or from where it comes as safetensors"
_UNDER = ("state_dict", "model_state_dict", "model")  # keys of a checkpoint that holds more than tensors
_SPARE = 1 << 26  # bytes that any checkpoint may take
_MOST = 20  # times its own size that a checkpoint may take beyond that: weights do not shrink so much in a zip file


def read_state_dict(path: str | Path) -> dict[str, NDArray[Any]]:
    """The tensors of a checkpoint by name, in order, each contiguous and in this machine's byte order.

    A checkpoint that holds more than tensors must hold them under the key `state_dict`. bfloat16 comes as float32, the
    other types as they are. Raises `WeightsError` for anything that is not such a checkpoint.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path) -> tuple[dict[str, NDArray[Any]], Mapping[Any, Any]]:
    """The tensors as `read_state_dict` gives them, and what a training program wrote beside them.

    Objects of other libraries are `inert.Inert` there. Raises as `read_state_dict` does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            loaded = _Checkpoint(archive).load()
    except FileNotFoundError as error:
        raise WeightsError(f"there is no checkpoint at '{path}'") from error
    except zipfile.BadZipFile as error:
        raise ModelFileError(
            f"'{path}' is no checkpoint of PyTorch 1.6 or later, or it is cut off ({error}): {AGAIN}"
        ) from error
    except (pickle.UnpicklingError, KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError) as error:
        raise ModelFileError(f"'{path}' is not a checkpoint of plain tensors: {error}; {AGAIN}") from error
    except (OSError, zlib.error, MemoryError, RecursionError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(
            f"cannot read the checkpoint '{path}': {error or type(error).__name__}; {AGAIN}"
        ) from error
    tensors, beside = _named_tensors(loaded)
    if tensors is None:
        raise ModelFileError(f"'{path}' holds no tensors by name, neither at its top nor under 'state_dict'")
    return tensors, beside


def _named_tensors(loaded: Any) -> tuple[dict[str, NDArray[Any]] | None, Mapping[Any, Any]]:
    if not isinstance(loaded, Mapping):
        return None, {}
    for key in (None, *_UNDER):
        candidate = loaded if key is None else loaded.get(key)
        if isinstance(candidate, Mapping) and candidate:
            if all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in candidate.items()):
                return dict(candidate), {} if key is None else {k: v for k, v in loaded.items() if k != key}
    return None, {}


class _Storage:
    """The bytes of one storage, and what they are."""

    def __init__(self, kind: str, key: str) -> None:
        self.kind, self.key = kind, key


class _Checkpoint:
    """An open checkpoint. Each storage is read once, however many tensors share it."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("it has no 'data.pkl'")
        self._pickle = pickles[0]
        self._folder = self._pickle[: -len("data.pkl")]
        self._storages: dict[str, NDArray[Any]] = {}
        packed = sum(info.compress_size for info in archive.infolist())
        self._left = _SPARE + _MOST * packed  # bytes that its tensors may still take
        if sum(info.file_size for info in archive.infolist()) > self._left:
            raise pickle.UnpicklingError("it would be far larger unpacked than any checkpoint")
        names = set(archive.namelist())
        order = self._folder + "byteorder"
        self._big = order in names and archive.read(order) == b"big"

    def load(self) -> Any:
        """What the pickle describes, tensors as numpy arrays."""
        raw = self._archive.read(self._pickle)
        inert.check(raw)
        return _TensorUnpickler(io.BytesIO(raw), self.tensor).load()

    def tensor(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *rest: Any
    ) -> NDArray[Any]:
        """`torch._utils._rebuild_tensor_v2`: a view of a storage, strides counted in items; here a copy."""
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise pickle.UnpicklingError("a tensor is described wrongly")
        if min((offset, *shape, *strides)) < 0:
            raise pickle.UnpicklingError("a tensor has a negative size, stride or offset")
        items = self._items(storage)
        self._left -= math.prod(shape) * max(4, items.itemsize)
        if self._left < 0:
            raise pickle.UnpicklingError("its tensors would take far more memory than the file has")
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if 0 not in shape and last >= len(items):
            raise pickle.UnpicklingError(f"a tensor reaches beyond its storage '{storage.key}'")
        if 0 in shape:
            items, offset, strides = np.zeros(1, items.dtype), 0, (0,) * len(shape)
        steps = tuple(stride * items.itemsize for stride in strides)
        view = np.lib.stride_tricks.as_strided(items[offset:], shape, steps, writeable=False)
        if storage.kind == "BFloat16Storage":
            return (view.astype(np.uint32) << 16).view(np.float32)
        return view.astype(view.dtype.newbyteorder("="), order="C", copy=True)

    def _items(self, storage: _Storage) -> NDArray[Any]:
        if storage.key not in self._storages:
            raw = self._archive.read(f"{self._folder}data/{storage.key}")
            dtype = np.dtype(_STORAGES[storage.kind]).newbyteorder(">" if self._big else "<")
            self._storages[storage.key] = np.frombuffer(raw, dtype)
        return self._storages[storage.key]


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors, ordered dictionaries and plain values; the rest is for `inert.find` to say."""

    def __init__(self, file: io.BytesIO, tensor: Callable[..., NDArray[Any]]) -> None:
        super().__init__(file)
        self._tensor = tensor

    def find_class(self, module: str, name: str) -> Any:
        """What a global of the pickle stands for; never an import."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *args: self._tensor(*args)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *rest: data
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return name
        return inert.find(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage: `("storage", type, key, device, number of items)`."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and pid[1] in _STORAGES):
            raise pickle.UnpicklingError("it refers to something that is not a storage")
        return _Storage(pid[1], str(pid[2]))
