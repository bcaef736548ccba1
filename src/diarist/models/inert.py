"""What stands for the objects of other libraries in a pickle: they are remembered, and never made.

Checkpoints of training programs hold more than tensors: specifications, settings, callbacks, numbers of numpy. Their
classes become placeholders here that take whatever they are given and do nothing, so that what is of use can be read.
Functions, and classes of libraries that no checkpoint needs, are refused: an honest checkpoint does not ask for them.
"""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import numpy as np

# Libraries whose classes (capital letters) are found in checkpoints of training programs.
_LIBRARIES = {
    "argparse",
    "asteroid_filterbanks",
    "collections",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pyannote",
    "pytorch_lightning",
    "speechbrain",
    "torch",
    "torch_audiomentations",
    "torchmetrics",
    "typing",
    "wespeaker",
}
_BUILT_IN = (
    *("bool", "bytes", "complex", "dict", "float", "frozenset", "int", "list"),
    *("long", "object", "set", "str", "tuple", "unicode"),
)
# Types with small letters, which do nothing here either.
_TYPES = {
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("bool", "dict", "float", "int", "list")
    ),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _BUILT_IN),
    *(f"torch.{name}" for name in ("bfloat16", "bool", "device", "float16", "float32", "float64", "int64", "uint8")),
    "collections.defaultdict",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
}
_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_REBUILDERS = ("copyreg._reconstructor", "copy_reg._reconstructor")
# Opcodes that take memory by their argument alone, and that no checkpoint holds.
_REFUSED = {"BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4"}


class Inert:
    """An object of another library that was never made: its class's name, its arguments, its state, its items."""

    origin = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """A placeholder that remembers what it was given."""
        made = super().__new__(cls)
        made.args, made.state, made.content = args, {}, {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: dict[Any, Any]
        self.content: dict[Any, Any]

    def __setstate__(self, state: Any) -> None:
        """Keep a state that is a dictionary; the rest says nothing here."""
        self.state = state if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        """An item of what was a dictionary."""
        self.content[key] = value

    def append(self, value: Any) -> None:
        """An item of what was a list."""

    def extend(self, values: Any) -> None:
        """Items of what was a list."""


def find(module: str, name: str) -> Any:
    """What a global of a pickle stands for; never an import. Raises `UnpicklingError` for what is refused."""
    full = f"{module}.{name}"
    if full in _SCALARS:
        return _scalar
    if full in _REBUILDERS:
        return _reconstructed
    if full == "_codecs.encode":
        return _encoded
    if full == "numpy.dtype" or full in _TYPES or (module.partition(".")[0] in _LIBRARIES and name[:1].isupper()):
        return type(str(name.replace(".", "_")), (Inert,), {"origin": full})
    raise pickle.UnpicklingError(f"it asks for '{full}', which is refused")


def check(raw: bytes) -> None:
    """Raise `UnpicklingError` or `ValueError` for a pickle that is cut off, or that takes memory for nothing."""
    argument: Any
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name in _REFUSED or (opcode.name.endswith("PUT") and int(argument) > len(raw)):
            raise pickle.UnpicklingError(f"it holds the opcode {opcode.name}, which is refused")


def plain(value: Any) -> Any:
    """What a placeholder says: its items or its state as a dictionary, or its arguments; anything else as it is."""
    if not isinstance(value, Inert):
        return value
    return value.content or value.state or value.args


def _scalar(dtype: Any, raw: Any) -> Any:
    """A number of numpy."""
    name = dtype.args[0] if isinstance(dtype, Inert) and dtype.origin == "numpy.dtype" and dtype.args else ""
    if not (
        isinstance(name, str) and name[:1] in "biuf" and name[1:] in ("1", "2", "4", "8") and isinstance(raw, bytes)
    ):
        raise pickle.UnpicklingError("it holds a number of a kind that is not known")
    return np.frombuffer(raw, "?" if name == "b1" else f"<{name}", count=1)[0].item()


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes, as old pickles write them."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("it holds bytes in an encoding that is not known")
    return text.encode("latin1")


def _reconstructed(kind: Any, *_: Any) -> Inert:
    """An object, as old pickles write it."""
    if not (isinstance(kind, type) and issubclass(kind, Inert)):
        raise pickle.UnpicklingError("it makes an object of no class")
    return kind()
