"""Command line flags made from configuration dataclasses, so that a default, a range and a help text exist once."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from diarist.core.config import walk


def add_config(
    parser: argparse.ArgumentParser,
    title: str,
    config: Any,
    *,
    prefix: bool = True,
    nested: bool = True,
    aliases: Mapping[str, Sequence[str]] = MappingProxyType({}),
    known: Container[str] = frozenset(),
) -> None:
    """One flag a leaf of `config`: `turns.min_duration_on` becomes `--turns-min-duration-on`.

    A flag that is not given leaves nothing in the namespace: see `given()`. Without `nested`, only leaves of `config`
    itself get one; `aliases` are further flags of a leaf, by dotted name; leaves that are `known` have one already.
    """
    group = parser.add_argument_group(title)
    for name, default, metadata in walk(config):
        if name in known or ("." in name and not nested):
            continue
        flags = (flag_of(name if prefix else name.rsplit(".", 1)[-1]), *aliases.get(name, ()))
        text = metadata["help"].replace("%", "%%")
        dest = f"config:{name}"
        if isinstance(default, bool):
            action: Any = argparse.BooleanOptionalAction if default else "store_true"  # what is on can be turned off
            group.add_argument(*flags, dest=dest, action=action, default=argparse.SUPPRESS, help=text)
            continue
        choices = metadata.get("choices")
        text += f" ({', '.join(map(str, choices))})" if choices else ""
        said = ",".join(map(str, default)) if isinstance(default, tuple) else default
        group.add_argument(
            *flags,
            dest=dest,
            type=type_of(default),
            default=argparse.SUPPRESS,
            metavar=name.rsplit(".", 1)[-1].upper(),
            help=f"{text}; default {said}" if default is not None else text,
        )


def add_bounds(group: Any) -> None:
    """How many speakers there are, as far as it is known."""
    group.add_argument("--num-speakers", type=int, metavar="N", help="exactly so many")
    group.add_argument("--min-speakers", type=int, metavar="N", help="at least so many")
    group.add_argument("--max-speakers", type=int, metavar="N", help="at most so many")


def flag_of(name: str) -> str:
    """The flag of a leaf: `--turns-min-duration-on` of `turns.min_duration_on`."""
    return "--" + name.replace(".", "-").replace("_", "-")


def given(args: argparse.Namespace, config: Any) -> dict[str, Any]:
    """What was set on the command line of the leaves of `config`, by dotted name."""
    values = vars(args)
    return {name: values[f"config:{name}"] for name, _, _ in walk(config) if f"config:{name}" in values}


def type_of(default: Any) -> Callable[[str], Any]:
    """What makes a value out of a word on the command line, for an option with that default."""
    if isinstance(default, int):
        return int
    if isinstance(default, float):
        return float
    if isinstance(default, tuple):
        return numbers
    return str if isinstance(default, str) else number_or_word


def numbers(text: str) -> list[float]:
    """`1.5,1.0,0.5`: a number for each of several."""
    return [float(part) for part in text.split(",")]


def number_or_word(text: str) -> float | str:
    """A number where it is one, else the text: what a value that has no default may be."""
    try:
        return float(text)
    except ValueError:
        return text
