"""OpenVINO behind the face of an ONNX Runtime session: the graphs that are written for our checkpoints, and ONNX files.

Networks run in float32, in bfloat16 where the processor has it, or in eight bits: OpenVINO has none of ONNX Runtime's
operators for those, so that they are said in float32 (`models.interpreter`), in files of ours too. A request is one
thread; calls from several threads run side by side.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.errors import ExtraError, ModelFileError, UsageError
from diarist.models.graph import Graph
from diarist.models.onnx import Open, OpenGraph, Session

HINTS = {"float32": "f32", "int8": "f32", "bfloat16": "bf16"}
"""Arithmetic of what is float32 in a graph, by precision: of int8 networks, that is what is not in eight bits."""

_MOST_STREAMS = 8
_HEAD = 16  # bytes of an ONNX file in which ours say whose they are
_TYPES = {"f32": "tensor(float)", "i64": "tensor(int64)", "i32": "tensor(int32)", "f64": "tensor(double)"}


@lru_cache
def _core() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ExtraError("openvino", "openvino", "the backend 'openvino'") from error
    return openvino.Core()


@lru_cache
def _own_core() -> Any:
    """One that reads eight bits as we write them."""
    import openvino

    from diarist.models.nets.openvino.files import extensions

    core = openvino.Core()
    for extension in extensions():
        core.add_extension(extension)
    return core


def devices() -> list[str]:
    """What OpenVINO finds here: `cpu`, `gpu`, ... Raises `ExtraError` without OpenVINO."""
    return [str(name).lower() for name in _core().available_devices]


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether a device computes in bfloat16 by itself. Raises `ExtraError` without OpenVINO."""
    return "BF16" in _core().get_property(device.upper(), "OPTIMIZATION_CAPABILITIES")


def device_of(name: str) -> str:
    """The device of that name, as OpenVINO calls it; `auto` leaves the choice to OpenVINO where there is one.

    Raises `ExtraError` without OpenVINO, `UsageError` for a device that is not there.
    """
    found = devices()
    if name == "auto":
        return "AUTO" if len(found) > 1 else found[0].upper()
    if name not in found and name.partition(".")[0] not in {device.partition(".")[0] for device in found}:
        raise UsageError(f"OpenVINO finds no device '{name}' here; it offers: {', '.join(['auto', *found])}")
    return name.upper()


def opener(device: str = "auto", precision: str = "float32") -> Open:
    """What makes a session of a graph's bytes, or of an ONNX file, on a device.

    Raises as `device_of`, and `UsageError` where the device has no such arithmetic.
    """
    place = device_of(device)
    if precision == "bfloat16" and not has_bfloat16("cpu" if place == "AUTO" else place):
        raise UsageError(f"this {place} computes no bfloat16: choose the precision float32")
    return lambda model: _Session(model, place, HINTS[precision])


def int8_opener(device: str = "auto") -> OpenGraph:
    """What runs graphs in eight bits on a device, to the integers of ONNX Runtime, by `models.interpreter`: OpenVINO
    reads none of their operators. Raises as `device_of`."""
    place = device_of(device)

    from diarist.models.nets.openvino.library import model_of

    return lambda graph: _Session(model_of(graph), place, HINTS["int8"])


@dataclass(frozen=True)
class _Value:
    """An input or output, as ONNX Runtime describes one."""

    name: str
    shape: list[int | str | None]
    type: str


@dataclass(frozen=True)
class _Meta:
    custom_metadata_map: Mapping[str, str]


class _Session(Session):
    """Of an ONNX file, the bytes of one, a graph, or a model of OpenVINO's own."""

    def __init__(self, model: Any, device: str, hint: str) -> None:
        core = _core()
        streams = min(os.cpu_count() or 1, _MOST_STREAMS)
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint}
        if device == "CPU":
            options |= {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams, "ENABLE_CPU_PINNING": False}
            options |= {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}  # or what meets int8 weights would be rounded too
        try:
            self._compiled = core.compile_model(_read(core, model), device, options)
        except Exception as error:  # OpenVINO raises RuntimeError, and more of its own
            reason = _reason(error)
            if not isinstance(model, Path):
                raise ModelFileError(f"OpenVINO cannot run this network ({reason})") from error
            raise ModelFileError(f"'{model}' is not an ONNX model that OpenVINO can run ({reason})") from error
        self._path = model if isinstance(model, Path) else None
        self._inputs = [_value(port) for port in self._compiled.inputs]
        self._outputs = [_value(port) for port in self._compiled.outputs]
        self._local = threading.local()

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of those names, in order; all where there are none."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        found = request.infer(dict(feed), share_inputs=True, share_outputs=False)
        return [np.asarray(found[name]) for name in (names or [output.name for output in self._outputs])]

    def get_inputs(self) -> list[Any]:
        """Names, shapes and types."""
        return list(self._inputs)

    def get_outputs(self) -> list[Any]:
        """Names, shapes and types."""
        return list(self._outputs)

    def get_modelmeta(self) -> Any:
        """What the file says of itself: OpenVINO does not keep it, ONNX Runtime reads it."""
        if self._path is None:
            return _Meta({})
        from diarist.models.onnx import session

        return session(self._path).get_modelmeta()


def _read(core: Any, model: Any) -> Any:
    if isinstance(model, (bytes, Graph)):
        return core.read_model(model if isinstance(model, bytes) else model.serialize())
    if not isinstance(model, Path):
        return model
    with model.open("rb") as file:
        ours = b"diarist" in file.read(_HEAD)
    return (_own_core() if ours else core).read_model(str(model))


def _value(port: Any) -> _Value:
    shape = [dim.get_length() if dim.is_static else None for dim in port.get_partial_shape()]
    kind = port.get_element_type().get_type_name()
    declared = port.get_node().get_friendly_name().partition("/")[0]  # a tensor may have others too
    name = declared if declared in port.get_names() else port.get_any_name()
    return _Value(name, shape, _TYPES.get(kind, f"tensor({kind})"))


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
