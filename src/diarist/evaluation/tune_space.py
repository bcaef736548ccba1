"""What a tuner may change, and within which bounds: fields of a configuration, offline or live, by dotted name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diarist.core.config import nearest, replace_from, walk
from diarist.errors import ConfigError, UsageError
from diarist.evaluation.tune_evidence import HEARD
from diarist.models.origin import origin
from diarist.pipelines.cluster import PLDAS
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.endtoend_presets import EndToEndConfig
from diarist.pipelines.live_config import LiveConfig

Tuned = PipelineConfig | LiveConfig | EndToEndConfig
LIVE_HEARD = ("segmentation", "embedding", "duration", "step", "evidence")
"""Fields of a `LiveConfig` that change what its networks are asked."""
END_TO_END_HEARD = ("network", "embedding.model", "embedding.precision")
"""Fields of an `EndToEndConfig` that need another listening."""

DIGITS = 4
"""Significant digits of a number that is tried, so that a preset file says exactly what was scored."""

_VBX = ("threshold", "min_cluster_size", "Fa", "Fb")
_USED = {
    "vbx-windows": _VBX,
    "vbx": _VBX,
    "agglomerative": ("threshold", "min_cluster_size"),
    "nme-sc": ("max_ties",),
}
_THRESHOLDS = ("turns.onset", "turns.offset", "turns.overlap_onset")  # of turns.count 'probability'


@dataclass(frozen=True)
class Parameter:
    """A field that is tuned: numbers from `low` to `high`, whole where `kind` is `"int"`, or one of `choices`."""

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"{self.name} in {', '.join(map(str, self.choices))}"
        return f"{self.name} from {self.low:g} to {self.high:g}{' (log)' if self.log else ''}"

    def value(self, suggested: Any) -> Any:
        """A suggestion as it goes into the configuration: numbers to `DIGITS` digits, still inside the range."""
        if self.kind != "float":
            return suggested
        return min(max(float(f"{suggested:.{DIGITS}g}"), self.low), self.high)


def parameters(
    base: Tuned, names: Sequence[str] | None = None, ranges: Mapping[str, str] | None = None
) -> tuple[list[Parameter], list[str]]:
    """The parameters to tune, in the order of the configuration's fields, and remarks in words.

    `names` are dotted, or the last part where that is unique; None means every field with a range of its own (its
    `tune` metadata) that `base`'s clustering method and counting use. `ranges` such as `{"clustering.Fb": "5:20"}`,
    `"0.1:10:log"` or `"2.5,5"` (choices) add fields or narrow them. A range that does not hold `base`'s value is
    widened to it, for the first trial is `base`. Raises `ConfigError` for unknown names, `UsageError` for ranges.
    """
    fields = {name: (value, metadata) for name, value, metadata in walk(base)}
    given = {full_name(name, fields): text for name, text in (ranges or {}).items()}
    if names:
        wanted = {full_name(name, fields) for name in names} | given.keys()
    else:
        wanted = {name for name in used(base) if fields[name][1].get("tune")} | given.keys()
    found, remarks = [], []
    for name in (n for n in fields if n in wanted):
        value, metadata = fields[name]
        if name in given:
            parameter = _parse(name, given[name], value)
        elif "tune" in metadata:
            low, high = metadata["tune"]
            parameter = Parameter(name, type(value).__name__, low, high, log=bool(metadata.get("log")))
        else:
            raise UsageError(f"'{name}' has no range of its own: add --range {name}=LOW:HIGH or {name}=ONE,OTHER")
        _check(base, parameter)
        widened = _widened(parameter, value)
        if widened != parameter:
            remarks.append(f"range widened to hold the value at the start, {value}: {widened}")
        found.append(widened)
    return found, remarks


def used(base: Tuned) -> list[str]:
    """Names of the fields of clustering and turns that the method and the counting of `base` look at."""
    if isinstance(base, LiveConfig):
        return [name for name, _, _ in walk(base)]
    if isinstance(base, EndToEndConfig):
        joins = ["embedding.join"] if base.network.window else []
        return joins + [name for name, _, _ in walk(base) if name.startswith("turns.")]
    method = base.clustering.method
    shipped = origin(base.embedding.model) in PLDAS  # without a PLDA, vbx falls back to a clustering that is not tuned
    inside = _USED.get(method, _VBX) if shipped or method in ("agglomerative", "nme-sc") else ()
    skipped = _THRESHOLDS if base.turns.count != "probability" else ()
    clustering = [f"clustering.{name}" for name in inside]
    turns = [name for name, _, _ in walk(base) if name.startswith("turns.") and name not in skipped]
    return clustering + turns


def full_name(name: str, fields: Mapping[str, Any]) -> str:
    """The dotted name that `name`, dotted or its last part, stands for. Raises `ConfigError`."""
    if name in fields:
        return name
    ends = [full for full in fields if full.rsplit(".", 1)[-1] == name]
    if len(ends) > 1:
        raise ConfigError(f"'{name}' could be {' or '.join(ends)}: give the whole name")
    if not ends:
        short = [full.rsplit(".", 1)[-1] for full in fields]
        raise ConfigError(f"unknown parameter '{name}'{nearest(name, fields if '.' in name else short)}")
    return ends[0]


def changed(base: Tuned, values: Mapping[str, Any]) -> Tuned:
    """`base` with the values of some parameters; everything else stays as it was."""
    return replace_from(base, values)


def starting(base: Tuned, chosen: Sequence[Parameter]) -> dict[str, Any]:
    """The values that `base` has for the parameters."""
    values = {name: value for name, value, _ in walk(base)}
    return {parameter.name: values[parameter.name] for parameter in chosen}


def _parse(name: str, text: str, value: Any) -> Parameter:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if ":" in text and numeric:
        low, high, *rest = text.split(":")
        if rest in ([], ["log"]):
            try:
                convert = int if isinstance(value, int) else float
                return Parameter(name, convert.__name__, convert(low), convert(high), log=bool(rest))
            except ValueError:
                pass
    elif ":" not in text and text.strip(", "):
        return Parameter(name, "choice", choices=tuple(_choice(name, part.strip(), value) for part in text.split(",")))
    shapes = f"{name}=LOW:HIGH, {name}=LOW:HIGH:log or {name}=ONE,OTHER" if numeric else f"{name}=ONE,OTHER"
    raise UsageError(f"'{text}' is no range of '{name}': give {shapes}")


def _choice(name: str, text: str, value: Any) -> Any:
    if isinstance(value, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"'{name}' is true or false, not '{text}'")
        return text.lower() == "true"
    try:
        return type(value)(text)
    except ValueError as error:
        raise UsageError(f"'{name}' cannot be '{text}'") from error


def _check(base: Tuned, parameter: Parameter) -> None:
    """Refuse what no configuration can be, and numbers whose every value would need another listening."""
    name = parameter.name
    if parameter.kind == "choice":
        ends: tuple[Any, ...] = parameter.choices
    else:
        ends = (parameter.low, parameter.high)
        if not parameter.low < parameter.high or (parameter.log and parameter.low <= 0):
            raise UsageError(f"'{parameter}' is no range: LOW must be below HIGH, and above 0 where it is log")
        if name.startswith(_heard(base)):
            raise UsageError(
                f"'{name}' changes what the networks hear, so each value means listening to everything again: "
                f"give a few values, --range {name}=ONE,OTHER"
            )
    for value in ends:
        changed(base, {name: int(value) if parameter.kind == "int" else value})


def _heard(base: Tuned) -> tuple[str, ...]:
    """Fields whose every value needs another listening."""
    if isinstance(base, EndToEndConfig):
        return END_TO_END_HEARD
    return LIVE_HEARD if isinstance(base, LiveConfig) else HEARD


def _widened(parameter: Parameter, value: Any) -> Parameter:
    if parameter.kind == "choice":
        return parameter if value in parameter.choices else replace(parameter, choices=(value, *parameter.choices))
    low, high = min(parameter.low, value), max(parameter.high, value)
    if parameter.log and low <= 0:
        raise UsageError(f"'{parameter.name}' starts at {value}, which no log range can hold: leave out ':log'")
    return replace(parameter, low=low, high=high)
