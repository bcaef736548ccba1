"""What tuning gained, on the recordings it saw and on those left out, and in words whether the gain holds."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.config import dump_toml, fingerprint, walk
from diarist.evaluation.report import Convention
from diarist.evaluation.score import Errors
from diarist.evaluation.tune_space import Parameter, Tuned
from diarist.formats.writing import write_text
from diarist.pipelines.endtoend_presets import EndToEndConfig, presets_of
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_presets import live_preset
from diarist.pipelines.presets import preset as named_preset

RESAMPLES = 2000
"""Draws of as many recordings, with replacement, that the interval of a gain comes from."""


@dataclass(frozen=True)
class Fold:
    """A part left out: the `values` that were best on the rest; errors of each recording of the rest, and of the part,
    with the configuration at the start (`before`) and with those values (`after`)."""

    values: dict[str, Any]
    left_out: tuple[str, ...]
    before: tuple[Errors, ...]
    after: tuple[Errors, ...]
    before_left_out: tuple[Errors, ...]
    after_left_out: tuple[Errors, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a gain is DER before less DER after, in fractions of 1."""
        return {
            "left_out": list(self.left_out),
            "values": self.values,
            "tuned": _gain(self.before, self.after),
            "left_out_der": _gain(self.before_left_out, self.after_left_out),
        }


@dataclass(frozen=True)
class TuneReport:
    """Everything that tuning found. `before` and `after` hold the errors of each recording by uri: with the
    configuration at the start, `base`, and with `best`, the one that all recordings gave."""

    preset: str
    base: Tuned
    best: Tuned
    parameters: tuple[Parameter, ...]
    convention: Convention
    before: Mapping[str, Errors]
    after: Mapping[str, Errors]
    folds: tuple[Fold, ...]
    num_trials: int
    seed: int
    study: str = ""
    storage: str = ""

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Values that `best` changed, `(before, after)` by dotted name."""
        after = {name: value for name, value, _ in walk(self.best)}
        return {name: (value, after[name]) for name, value, _ in walk(self.base) if value != after[name]}

    @property
    def gain(self) -> float:
        """DER before less DER after on all recordings, which `best` was chosen on."""
        return _pooled(self.before.values()).der - _pooled(self.after.values()).der

    @property
    def left_out(self) -> tuple[list[Errors], list[Errors]]:
        """Errors before and after of every recording, each with the values that were found without it."""
        return (
            [errors for fold in self.folds for errors in fold.before_left_out],
            [errors for fold in self.folds for errors in fold.after_left_out],
        )

    @property
    def gain_left_out(self) -> float | None:
        """DER before less DER after on recordings left out, pooled over folds; None without folds."""
        before, after = self.left_out
        return _pooled(before).der - _pooled(after).der if self.folds else None

    def interval(self) -> tuple[float, float] | None:
        """Where the gain on left-out recordings lies with a chance of 95 %, had others of the kind been drawn.

        The percentile bootstrap over recordings; None without folds.
        """
        if not self.folds:
            return None
        before, after = self.left_out
        wrong = np.array([[e.miss + e.false_alarm + e.confusion for e in side] for side in (before, after)])
        total = np.array([e.total for e in before])
        num = len(total)
        drawn = np.random.default_rng(self.seed).multinomial(num, np.full(num, 1 / num), size=RESAMPLES)
        gains = (drawn @ (wrong[0] - wrong[1])) / np.maximum(drawn @ total, 1e-9)
        low, high = np.quantile(gains, (0.025, 0.975))
        return float(low), float(high)

    @property
    def holds(self) -> bool | None:
        """True where the gain on recordings left out is above 0 with its whole interval, False where it is 0 or a
        loss, or there is none at all; None where it may be chance, or nothing was left out."""
        gain, interval = self.gain_left_out, self.interval()
        if not self.changes:
            return False
        if gain is None or interval is None:
            return None
        if gain <= 0:
            return False
        return True if interval[0] > 0 else None

    def verdict(self) -> str:
        """Whether the gain holds, in words."""
        if not self.changes:
            return "NO GAIN: no trial was better than the values at the start, which stay."
        seen = f"On the {_recordings(len(self.before))} it was chosen on, DER goes {_way(*self._seen())}."
        gain, interval = self.gain_left_out, self.interval()
        if gain is None or interval is None:
            return f"NOT JUDGED: {seen} Nothing was left out, so it is not known whether this holds elsewhere."
        before, after = self.left_out
        better = sum(_pooled(f.after_left_out).der < _pooled(f.before_left_out).der for f in self.folds)
        out = (
            f"On recordings left out it goes {_way(_pooled(before), _pooled(after))}, better in {better} of "
            f"{len(self.folds)} folds; 95 % interval of the gain: "
            f"{_points(interval[0])} to {_points(interval[1])} points."
        )
        if self.holds is False:
            return f"THE GAIN DOES NOT HOLD: {seen} {out} Keep the values at the start."
        if self.holds is None:
            return f"THE GAIN MAY BE CHANCE: {seen} {out} More recordings would tell."
        return f"THE GAIN HOLDS: {seen} {out}"

    def _seen(self) -> tuple[Errors, Errors]:
        return _pooled(self.before.values()), _pooled(self.after.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values; rates and gains are fractions of 1."""
        gain, interval = self.gain_left_out, self.interval()
        return {
            "preset": self.preset,
            "study": self.study,
            "storage": self.storage,
            "num_trials": self.num_trials,
            "seed": self.seed,
            "convention": self.convention.to_dict(),
            "verdict": self.verdict(),
            "holds": self.holds,
            "parameters": [dataclasses.asdict(p) for p in self.parameters],
            "changes": {name: {"before": old, "after": new} for name, (old, new) in self.changes.items()},
            "fingerprint": {"before": fingerprint(self.base), "after": fingerprint(self.best)},
            "tuned": _gain(self.before.values(), self.after.values()),
            "left_out": None
            if gain is None or interval is None
            else {**_gain(*self.left_out), "interval": [round(end, 6) for end in interval]},
            "folds": [fold.to_dict() for fold in self.folds],
            "pooled": {"before": self._seen()[0].to_dict(), "after": self._seen()[1].to_dict()},
            "files": {
                uri: {"before": errors.to_dict(), "after": self.after[uri].to_dict()}
                for uri, errors in sorted(self.before.items())
            },
        }

    def to_text(self) -> str:
        """Changes, folds and the verdict."""
        lines = [f"convention: {self.convention}", "", f"{'':24}{'before':>10}{'after':>10}{'gain':>10}"]
        lines.append(_line(f"all {_recordings(len(self.before))}", *self._seen()))
        for number, fold in enumerate(self.folds, start=1):
            lines.append(_line(f"fold {number}: tuned on", _pooled(fold.before), _pooled(fold.after)))
            lines.append(_line(f"fold {number}: left out", *map(_pooled, (fold.before_left_out, fold.after_left_out))))
        if self.folds:
            lines.append(_line("all left out", *map(_pooled, self.left_out)))
        lines += ["(DER %, pooled; gain in points, above 0 is better)", ""]
        lines += [f"{name}: {old} -> {new}" for name, (old, new) in self.changes.items()]
        return "\n".join([*lines, *([""] if self.changes else []), self.verdict()]) + "\n"

    def to_preset(self) -> str:
        """A preset file: the preset's name and what differs from it, under the verdict as a comment."""
        usual = {name: value for name, value, _ in walk(_preset(self.base, self.preset))}
        values: dict[str, Any] = {"preset": self.preset}
        for name, value, _ in walk(self.best):
            if value != usual[name]:
                *path, last = name.split(".")
                table = values
                for part in path:
                    table = table.setdefault(part, {})
                table[last] = list(value) if isinstance(value, tuple) else value
        comment = [f"tuned from '{self.preset}' on {_recordings(len(self.before))}; {self.convention}", self.verdict()]
        return "".join(f"# {' '.join(line.split())}\n" for line in comment) + dump_toml(values)

    def write(self, folder: Path, trials: Sequence[Mapping[str, Any]]) -> None:
        """`trials.csv`, `report.json` and `preset.toml`, each whole or not at all. Raises `DiaristError`."""
        names = ["study", "number", "state", "retry_of", "der", "miss_rate", "false_alarm_rate", "confusion_rate"]
        columns = [*names, "seconds", *(p.name for p in self.parameters)]
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(trials)
        write_text(folder / "trials.csv", out.getvalue())
        write_text(folder / "report.json", json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n")
        write_text(folder / "preset.toml", self.to_preset())


def _preset(base: Tuned, name: str) -> Any:
    """The configuration of the preset of that name, of the pipeline that `base` is of."""
    if isinstance(base, EndToEndConfig):
        return presets_of(base.network.model).preset(name).config
    return (live_preset(name) if isinstance(base, LiveConfig) else named_preset(name)).config


def _pooled(errors: Iterable[Errors]) -> Errors:
    return sum(errors, Errors())


def _gain(before: Iterable[Errors], after: Iterable[Errors]) -> dict[str, float]:
    old, new = _pooled(before).der, _pooled(after).der
    return {"before": round(old, 6), "after": round(new, 6), "gain": round(old - new, 6)}


def _points(rate: float) -> str:
    return f"{100 * rate:+.2f}"


def _way(before: Errors, after: Errors) -> str:
    return f"from {100 * before.der:.2f} to {100 * after.der:.2f} % ({_points(before.der - after.der)} points)"


def _line(name: str, before: Errors, after: Errors) -> str:
    return f"{name:24}{100 * before.der:10.2f}{100 * after.der:10.2f}{_points(before.der - after.der):>10}"


def _recordings(num: int) -> str:
    return f"{num} recording{'s' if num != 1 else ''}"
