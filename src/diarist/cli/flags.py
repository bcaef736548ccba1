"""Command line flags made from configuration dataclasses, so that a default, a range and a help text exist once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from diarist.core.config import walk


def add_config(parser: argparse.ArgumentParser, title: str, config: Any, *, prefix: bool = True) -> None:
    """One flag a leaf of `config`: `turns.min_duration_on` becomes `--turns-min-duration-on`.

    A flag that is not given leaves nothing in the namespace: see `given()`.
    """
    group = parser.add_argument_group(title)
    for name, default, metadata in walk(config):
        flag = "--" + (name if prefix else name.rsplit(".", 1)[-1]).replace(".", "-").replace("_", "-")
        text = metadata["help"].replace("%", "%%")
        dest = f"config:{name}"
        if isinstance(default, bool):
            group.add_argument(flag, dest=dest, action="store_true", default=argparse.SUPPRESS, help=text)
            continue
        choices = metadata.get("choices")
        text += f" ({', '.join(map(str, choices))})" if choices else ""
        group.add_argument(
            flag,
            dest=dest,
            type=_type(default),
            default=argparse.SUPPRESS,
            metavar=name.rsplit(".", 1)[-1].upper(),
            help=f"{text}; default {default}" if default is not None else text,
        )


def given(args: argparse.Namespace, config: Any) -> dict[str, Any]:
    """What was set on the command line of the leaves of `config`, by dotted name."""
    values = vars(args)
    return {name: values[f"config:{name}"] for name, _, _ in walk(config) if f"config:{name}" in values}


def _type(default: Any) -> Callable[[str], Any]:
    if isinstance(default, int):
        return int
    return float if isinstance(default, float) else str
