"""Our graphs, run operator by operator on the arrays of another library: those in eight bits above all.

A network in eight bits is defined by its graph, whose operators are ONNX Runtime's. Here the same are said in float32,
which any `Library` computes: `operators_int8.py` says how, and how close that is. So the answer belongs to the
network and not to what runs it.

What operators compute: https://onnx.ai/onnx/operators/ and `docs/ContribOperators.md` of ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32
from diarist.models import operators, operators_int8
from diarist.models.graph import Graph
from diarist.models.nets.library import Array, Library
from diarist.models.operators import Maker, Step

_OPERATORS = {**operators.OPERATORS, **operators_int8.OPERATORS}


class Interpreter:
    """A graph on a library: inputs by name to outputs, as a session of ONNX Runtime.

    An LSTM in eight bits must be given a multiple of the graph's `group` of rows. Raises `KeyError` for an operator
    that is not known here.
    """

    def __init__(self, graph: Graph, library: Library) -> None:
        self._outputs, self._library = list(graph.outputs), library
        maker = Maker(graph, library)
        self._steps: list[tuple[list[str], list[str], Step]] = []
        for operator in graph.operators:
            names, step = _OPERATORS[operator.op](maker, operator)
            self._steps.append((names, list(operator.outputs), step))
        self._constants = maker.arrays
        self._last = {name: at for at, (names, _, _) in enumerate(self._steps) for name in names}

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[Float32]:
        """The outputs of those names, in order; all where there are none."""
        given = {name: self._library.constant(np.asarray(value, np.float32)) for name, value in feed.items()}
        found = self.outputs(given)
        return [self._library.numpy(found[name]) for name in names or self._outputs]

    def outputs(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The same for arrays of the library; what nothing needs any more is let go at once."""
        held = {**self._constants, **arrays}
        for at, (names, made, step) in enumerate(self._steps):
            results = step(*(held[name] for name in names))
            held.update(zip(made, results if isinstance(results, list) else [results], strict=False))
            for name in set(names):
                if self._last[name] == at:
                    del held[name]
        return {name: held[name] for name in self._outputs}
