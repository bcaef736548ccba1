"""What runs networks here: each backend's version and devices, or what to install for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec


@dataclass(frozen=True)
class Backend:
    """A backend: its package's `version`, None where it is not installed; the `devices` it offers here, the one that
    `auto` stands for first; the `precisions` it runs networks in; `remedy`: how to install it, or what is amiss."""

    name: str
    version: str | None
    devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    remedy: str = ""


MODULES: Mapping[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "mlx": ("mlx",),
    "openvino": ("openvino",),
    "nemo": ("nemo",),
    "transformers": ("torch", "transformers"),
    "pix2seq": ("torch", "safetensors"),
}
"""Modules that an extra installs, as far as engines and backends ask for them."""


def arithmetic(backend: str, device: str, precision: str) -> str:
    """What networks run in where `precision` is asked for: the same, but on the GPU devices of `onnx`, which have no
    operators in eight bits and take float32."""
    eight = backend != "onnx" or device in ("auto", "cpu")
    return precision if eight or precision != "int8" else "float32"


def missing(extra: str | None) -> list[str]:
    """Modules of an extra that are not installed."""
    return [name for name in MODULES.get(extra or "", ()) if find_spec(name) is None]


def pip_line(extra: str) -> str:
    """What to type for an extra."""
    return f"pip install 'diarist[{extra}]'"


def version_of(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def backends() -> list[Backend]:
    """Every backend, the default one first. Libraries that are installed are loaded to ask for their devices."""
    return [_onnx(), *(_asked(name, ask) for name, ask in _ASK.items())]


def _onnx() -> Backend:
    import onnxruntime

    from diarist.models.onnx import PROVIDERS

    there = set(onnxruntime.get_available_providers())
    devices = tuple(name for name, (provider, _) in PROVIDERS.items() if provider in there)
    eight = "int8" if devices == ("cpu",) else "int8 (cpu)"
    return Backend("onnx", onnxruntime.__version__, devices, (eight, "float32"))


def _asked(name: str, ask: Callable[[], tuple[tuple[str, ...], tuple[str, ...]]]) -> Backend:
    if missing(name):
        return Backend(name, None, remedy=pip_line(name))
    try:
        devices, precisions = ask()
    except Exception as error:  # a library that is installed and does not start is told of, whatever it raises
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        return Backend(name, version_of(name), remedy=f"installed, but does not start: {reason}")
    return Backend(name, version_of(name), devices, precisions)


def _torch() -> tuple[tuple[str, ...], tuple[str, ...]]:
    import torch

    graphics = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return (*graphics, *mps, "cpu"), ("int8", "float32", "bfloat16")


def _mlx() -> tuple[tuple[str, ...], tuple[str, ...]]:
    import mlx.core as mx

    return (str(mx.default_device()).removeprefix("Device(").partition(",")[0],), ("int8", "float32", "bfloat16")


def _openvino() -> tuple[tuple[str, ...], tuple[str, ...]]:
    from diarist.models.openvino import devices, has_bfloat16

    found = devices()
    halved = ("bfloat16",) if any(has_bfloat16(device) for device in found) else ()
    return tuple(found), ("int8", "float32", *halved)


_ASK = {"torch": _torch, "mlx": _mlx, "openvino": _openvino}
