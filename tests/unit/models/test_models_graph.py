from __future__ import annotations

import numpy as np
import pytest

from diarist.models.graph import MICROSOFT, OPSET, Graph
from diarist.models.onnx import session


def doubled():
    graph = Graph("doubled")
    x = graph.input("x", ("batch", 3))
    graph.output(graph.node("Mul", x, graph.constant(2.0)), "y", ("batch", 3))
    return graph


def test_runs():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(session(doubled().serialize()).run(["y"], {"x": x})[0], 2 * x)


def test_metadata_is_read_back():
    facts = {"num_speakers": "3", "note": "überall"}
    assert session(doubled().serialize(facts)).get_modelmeta().custom_metadata_map == facts


def test_equal_small_constants_are_kept_once():
    graph = Graph("constants")
    assert graph.constant(1.0) == graph.constant(1.0)
    assert graph.constant(1.0) != graph.constant([1.0])
    assert graph.constant(1, np.int8) != graph.constant(1, np.uint8)
    assert graph.constant(np.zeros(100)) != graph.constant(np.zeros(100))


def test_several_outputs_and_an_input_left_out():
    graph = Graph("parts")
    x = graph.input("x", (4,))
    low, high = graph.nodes("Split", graph.node("Clip", x, "", graph.constant(2.0)), outputs=2, axis=0)
    for name, tensor in (("low", low), ("high", high)):
        graph.output(tensor, name, None)
    found = session(graph.serialize()).run(["low", "high"], {"x": np.arange(4, dtype=np.float32)})
    np.testing.assert_array_equal(np.concatenate(found), [0, 1, 2, 2])


def test_labels_are_remembered():
    graph = Graph("labels")
    x = graph.input("x", (1,))
    assert graph.label(x, "start") == x
    assert graph.labels == {"start": x}


def test_is_onnx():
    onnx = pytest.importorskip("onnx")
    graph = Graph("every kind")
    x = graph.input("x", ("batch", 1, 8))
    weight = np.arange(-3, 3).reshape(2, 1, 3)
    x = graph.node("Conv", x, graph.constant(weight), pads=[1, 1], auto_pad="NOTSET")
    x = graph.node("LeakyRelu", x, alpha=0.25)
    graph.output(graph.node("Gelu", x, domain=MICROSOFT), "y", ("batch", 2, 8))
    model = onnx.load_from_string(graph.serialize({"a": "b"}))
    onnx.checker.check_model(model)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET), (MICROSOFT, 1)]
    conv, leaky, gelu, _ = model.graph.node
    assert {a.name: onnx.helper.get_attribute_value(a) for a in conv.attribute} == {
        "pads": [1, 1],
        "auto_pad": b"NOTSET",
    }
    assert onnx.helper.get_attribute_value(leaky.attribute[0]) == 0.25
    assert gelu.domain == MICROSOFT
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), weight)
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 1, 8]


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.uint8, np.int32, np.int64])
def test_tensors_of_every_type(dtype):
    onnx = pytest.importorskip("onnx")
    graph = Graph("types")
    values = np.array([[0, 1], [100, 127]], dtype)
    graph.constant(values, dtype)
    graph.constant(values.T, dtype)  # not contiguous
    found = [onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(graph.serialize()).graph.initializer]
    np.testing.assert_array_equal(found, [values, values.T])
    assert found[0].dtype == dtype


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**62, -1, -(2**62)])
def test_integers_of_every_size(value):
    onnx = pytest.importorskip("onnx")
    graph = Graph("integers")
    graph.node("Cast", "x", to=value)
    (node,) = onnx.load_from_string(graph.serialize()).graph.node
    assert node.attribute[0].i == value


def test_unknown_types_are_refused():
    with pytest.raises(KeyError, match="float64"):
        Graph("types").constant([1.0], np.float64)
