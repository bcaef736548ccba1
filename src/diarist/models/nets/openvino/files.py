"""Operators in eight bits of the ONNX files that we write, for OpenVINO's reader of ONNX, which knows few of them and
widens what they round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from openvino import opset13 as ops
from openvino.frontend.onnx import ConversionExtension

from diarist.models.graph import MICROSOFT, Graph, Operator
from diarist.models.nets.openvino.library import OpenVinoLibrary
from diarist.models.operators import Maker
from diarist.models.operators_int8 import OPERATORS, Integers

_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "DynamicQuantizeLSTM": ("hidden_size",),
    "MatMulIntegerToFloat": (),
    "QLinearAdd": (),
    "QLinearConv": ("strides", "dilations", "pads", "group"),
}


def extensions() -> list[Any]:
    """What teaches a reader these operators. An LSTM must be given one row at a time."""
    return [ConversionExtension(op, MICROSOFT, _converter(op)) for op in _ATTRIBUTES]


def _converter(op: str) -> Callable[[Any], list[Any]]:
    def convert(node: Any) -> list[Any]:
        graph, names, given = Graph("of a file"), [], []
        for index in range(node.get_input_size()):
            source = node.get_input(index).get_node()
            kind = source.get_type_name()
            if kind == "Constant":
                names.append(f"c{index}")
                graph.constants[names[-1]] = np.array(source.get_data())
            elif kind in ("NullNode", "FrameworkNode"):  # left out
                names.append("")
            else:
                names.append(f"x{index}")
                given.append(_taken(node.get_input(index)))
        said = {name: node.get_attribute(name) for name in _ATTRIBUTES[op] if node.has_attribute(name)}
        num = 3 if op == "DynamicQuantizeLSTM" else 1
        operator = Operator(op, tuple(names), tuple(f"y{index}" for index in range(num)), said, op, MICROSOFT)
        _, step = OPERATORS[op](Maker(graph, OpenVinoLibrary()), operator)
        return [_left(step(*given))] * num

    return convert


def _taken(value: Any) -> Any:
    """What an operator is given: integers where they are, else float32."""
    if value.get_element_type().get_type_name() == "u8":
        return Integers(ops.convert(value, np.float32), 0)
    return value.get_node() if value.get_node().get_output_size() == 1 else ops.convert(value, np.float32)


def _left(found: Any) -> Any:
    """What an operator gives, as the one that follows reads it."""
    if not isinstance(found, Integers):
        return found.output(0) if hasattr(found, "output") else found
    return ops.convert(found.around(0, OpenVinoLibrary()), np.uint8).output(0)
