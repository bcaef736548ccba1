"""NeMo's own clustering, out of its wheel: three of its files, hash-checked, run on torch without the rest of NeMo."""

from __future__ import annotations

import ast
import importlib.util
import math
import types
from pathlib import Path
from typing import Any

from diarist.models import catalog
from diarist.models.catalog import Entry
from diarist.models.fetch import fetch

FILES = {
    "offline_clustering": (60_804, "7ad205a35449310bc50c97ba79acd2b7e1fc1bbaca53147be35360b83d1236dd"),
    "vad_utils": (81_124, "7beb57efff5e08407f9f16afe9c0da7d0e2ddb9bd62e2a37424693e48c5f0437"),
    "speaker_utils": (63_078, "7b843e471677f2f2d81ef8c2eeda8b95b50929c09c91a5751074fcfcd630bd3f"),
}


def fetched(stem: str, put: Any) -> Path:
    """A file of `nemo/collections/asr/parts/utils`; `put` is as `monkeypatch.setitem`."""
    num_bytes, sha256 = FILES[stem]
    entry = Entry(
        name=f"nemo-{stem}",
        kind="sample",
        package="nemo_toolkit",
        version="3.0.0",
        archives=("nemo_toolkit-3.0.0-*.whl",),
        member=f"nemo/collections/asr/parts/utils/{stem}.py",
        sha256=sha256,
        num_bytes=num_bytes,
        licence="Apache-2.0",
        origin="NVIDIA NeMo",
    )
    put(catalog.CATALOG, entry.name, entry)
    return fetch(entry.name)


def module(path: Path) -> types.ModuleType:
    """A file that imports nothing but torch, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def functions(path: Path, *names: str) -> types.SimpleNamespace:
    """Some functions of a file that imports much more, without their decorators."""
    import copy

    import numpy as np
    import torch

    tree = ast.parse(path.read_text(encoding="utf-8"))
    chosen = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    assert {node.name for node in chosen} == set(names)
    for node in chosen:
        node.decorator_list = []
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
    inside = {"torch": torch, "np": np, "math": math, "deepcopy": copy.deepcopy, "List": list, "Tuple": tuple}
    inside["Dict"] = dict
    exec(compile(ast.Module(chosen, []), str(path), "exec"), inside)
    return types.SimpleNamespace(**{name: inside[name] for name in names})
