"""Frozen dataclasses to and from plain dictionaries, TOML and JSON.

A configuration is a frozen dataclass whose fields are plain values or further configurations. An unknown key is an
error that names the nearest known one. What a tuner may vary lives on the field itself: see `option()`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from diarist.errors import ConfigError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Config = TypeVar("Config")
Item = TypeVar("Item")
Kept = TypeVar("Kept", covariant=True)


class Preset(Protocol[Kept]):
    """What holds a configuration."""

    @property
    def config(self) -> Kept:
        """The configuration."""
        ...


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    tune: tuple[float, float] | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with its help text, its legal range `[low, high]`, and the range a tuner may search."""
    metadata = {"help": help, "low": low, "high": high, "tune": tune, "log": log, "choices": choices}
    return dataclasses.field(default=default, metadata={k: v for k, v in metadata.items() if v is not None})


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as nested plain dictionaries, in the order of its fields."""
    return {
        f.name: to_dict(value)
        if dataclasses.is_dataclass(value)
        else list(value)
        if isinstance(value, tuple)
        else value
        for f in dataclasses.fields(config)
        for value in (getattr(config, f.name),)
    }


def from_dict(kind: type[Config], values: Mapping[str, Any], where: str = "") -> Config:
    """Build a configuration; fields that are not named keep their default.

    Raises `ConfigError` for an unknown key, a value of the wrong type or out of its range.
    """
    return replace_from(kind(), values, where)


def replace_from(base: Config, values: Mapping[str, Any], where: str = "") -> Config:
    """`base` with the values given, nested or by dotted key (`"turns.min_duration_off"`), checked as in `from_dict`."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"'{where or type(base).__name__}' must be a table of keys and values, not {values!r}")
    hints = get_type_hints(type(base))
    fields = {f.name: f for f in dataclasses.fields(base)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for key, value in _undotted(values).items():
        path = f"{where}.{key}" if where else key
        if key not in fields:
            raise ConfigError(f"unknown key '{path}'{nearest(key, fields)}")
        current = getattr(base, key)
        if dataclasses.is_dataclass(current):
            changes[key] = replace_from(current, value, path)
        else:
            changes[key] = _checked(value, hints[key], fields[key].metadata, path)
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def nearest(word: str, known: Any) -> str:
    """`; did you mean 'x'?` or, where nothing is near, the known words."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"


def by_name(known: Mapping[str, Item], name: str, kind: str = "preset") -> Item:
    """What has that name. Raises `UsageError` naming the kind and the nearest name."""
    if name not in known:
        raise UsageError(f"unknown {kind} '{name}'{nearest(name, known)}")
    return known[name]


def fingerprint(*configs: Any) -> str:
    """Sixteen hexadecimal digits that change with any value of the configurations (or plain dictionaries)."""
    plain = [to_dict(c) if dataclasses.is_dataclass(c) else c for c in configs]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def walk(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """`(dotted name, value, metadata)` of every leaf."""
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        name = f"{prefix}{f.name}"
        if dataclasses.is_dataclass(value):
            yield from walk(value, name + ".")
        else:
            yield name, value, f.metadata


def read_file(path: str | Path) -> dict[str, Any]:
    """A `.toml` or `.json` file as a dictionary. Raises `ConfigError` naming the file."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read '{path}': {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"'{path}' is not valid {path.suffix.lstrip('.') or 'toml'}: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"'{path}' must hold a table of keys and values")
    return loaded


def read_preset(path: str | Path | None, name: str) -> tuple[str, dict[str, Any]]:
    """The preset that a preset file starts from, `name` where it says none, and its values; no file changes nothing.

    Raises `ConfigError`.
    """
    values = read_file(path) if path is not None else {}
    base = values.pop("preset", name)
    if not isinstance(base, str):
        raise ConfigError(f"'preset' in '{path}' must be a name, not {base!r}")
    return base, values


def from_preset(
    presets: Mapping[str, Preset[Config]],
    name: str,
    file: str | Path | None,
    changes: Mapping[str, Any] | None,
    kind: str = "preset",
) -> Config:
    """A preset's configuration, changed by a preset file, changed by single values; later ones win.

    The file may name the preset it starts from: `preset = "fast"`. Raises `UsageError`, `ConfigError`.
    """
    base, values = read_preset(file, name)
    return replace_from(replace_from(by_name(presets, base, kind).config, values), changes or {})


def dump_toml(values: Mapping[str, Any]) -> str:
    """Nested plain dictionaries as TOML (tables, strings, numbers, booleans, lists of those; None is left out)."""
    lines: list[str] = []
    _dump_table(values, "", lines)
    return "\n".join(lines).strip() + "\n"


def _dump_table(table: Mapping[str, Any], name: str, lines: list[str]) -> None:
    leaves = {k: v for k, v in table.items() if not isinstance(v, Mapping) and v is not None}
    if name and (leaves or not table):
        lines += ["", f"[{name}]"]
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in leaves.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            _dump_table(value, f"{name}.{_toml_key(key)}" if name else _toml_key(key), lines)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    """JSON's spelling is TOML's but for infinity, NaN, the delete character and what lies beyond 16 bits."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _undotted(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        head, _, rest = str(key).partition(".")
        new, old = {rest: value} if rest else value, nested.get(head)
        if head in nested:
            if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
                raise ConfigError(f"'{head}' is given both as a value and as a table ('{head}.x'): drop one of them")
            new = {**old, **new}
        nested[head] = new
    return nested


def _checked(value: Any, hint: Any, metadata: Mapping[str, Any], path: str) -> Any:
    value = _typed(value, hint, path)
    choices, low, high = (metadata.get(k) for k in ("choices", "low", "high"))
    if choices is not None and value not in choices:
        raise ConfigError(f"'{path}' cannot be {value!r}{nearest(str(value), choices)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = (
                f"between {low} and {high}"
                if None not in (low, high)
                else f"{'>=' if high is None else '<='} {low if high is None else high}"
            )
            raise ConfigError(f"'{path}' must be {bounds}, not {value}")
    return value


def _typed(value: Any, hint: Any, path: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        members = get_args(hint)
        if value is None and type(None) in members:
            return None
        for member in members:
            if member is not type(None):
                try:
                    return _typed(value, member, path)
                except ConfigError:
                    continue
        raise ConfigError(f"'{path}' cannot be {value!r}")
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ConfigError(f"'{path}' cannot be {value!r}{nearest(str(value), get_args(hint))}")
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"'{path}' must be a list, not {value!r}")
        return tuple(_typed(v, get_args(hint)[0], path) for v in value)
    return _scalar(value, hint, path)


def _scalar(value: Any, hint: Any, path: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value:
            raise ConfigError(f"'{path}' cannot be NaN")
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise ConfigError(f"'{path}' must be of type {getattr(hint, '__name__', hint)}, not {value!r}")
