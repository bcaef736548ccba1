"""Two runs compared stage by stage, so that the stage that works differently is named and not all that follow it.

Every stage is judged twice: fed with what the reference had before it, which says whether it is the stage that differs
(`isolated`), and end to end, which says how far what came before has carried it (`drift`). The first stage that passes
its tolerance when fed with the reference's inputs is the one to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.audio.decode import AudioSource
from diarist.core.events import Hook
from diarist.core.types import SpeakerBounds
from diarist.errors import DiaristError, InputError
from diarist.evaluation.differences import COMPARISONS, Difference
from diarist.evaluation.score import score
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.record import STAGES, Run, record

MOST_DER = 0.005
"""Of one answer against the other: more, and they are not the same turns."""


@dataclass(frozen=True)
class Tolerance:
    """How a stage is compared (`differences.COMPARISONS`), the largest difference and the least agreement that pass."""

    how: str
    largest: float = 0.0
    agreement: float = 1.0


EXACT = Tolerance("exact")

FLOAT32: Mapping[str, Tolerance] = {
    "segmentation": Tolerance("scores", 1e-2, 0.999),
    "binarized": EXACT,
    "count": Tolerance("frames"),
    "fbank": Tolerance("values", 1e-3),
    "masks": EXACT,
    "windows": EXACT,
    "local_masks": EXACT,
    "local_embeddings": Tolerance("vectors", 1e-2, 0.9999),
    "embeddings": Tolerance("vectors", 1e-2, 0.9999),
    "distances": Tolerance("values", 1e-6),
    "dendrogram": Tolerance("tree", 1e-6),
    "seeds": Tolerance("labels"),
    "plda": Tolerance("values", 1e-4),
    "responsibilities": Tolerance("values", 1e-4),
    "voices": Tolerance("vectors", 1e-4, 0.9999),
    "likeness": Tolerance("values", 1e-4),
    "clusters": Tolerance("labels"),
    "stitched": Tolerance("columns"),
    "turns": Tolerance("turns", 1.1e-3),
}
"""Two runs in the same arithmetic: networks to what float32 rounding does, all else exactly, or to what the order of a
sum does. `windows` are compared as numbers, `turns` to the millisecond of an RTTM."""

EIGHT_BITS: Mapping[str, Tolerance] = {
    **FLOAT32,
    "segmentation": Tolerance("scores", 1.0, 0.99),
    "local_embeddings": Tolerance("vectors", 0.1, 0.99),
    "embeddings": Tolerance("vectors", 0.1, 0.99),
}
"""Both in eight bits: the last bit of what is float32 in such a network decides, now and then, which of two integers
comes next, and an LSTM hears of it for a while (measured: docs/guide/backends.md)."""

REDUCED: Mapping[str, Tolerance] = {
    **FLOAT32,
    "segmentation": Tolerance("scores", 1.0, 0.93),
    "local_embeddings": Tolerance("vectors", 1.0, 0.7),
    "embeddings": Tolerance("vectors", 1.0, 0.7),
}
"""One of the two in fewer bits (int8, bfloat16): the networks' answers differ, and everything after them must not."""


@dataclass(frozen=True)
class Stage:
    """How one stage compares. `isolated` is None where it could not be fed with the reference's inputs, and then
    `drift` is judged; `ok` is None where it is not compared at all, and `note` says why."""

    name: str
    shape: tuple[int, ...]
    tolerance: Tolerance
    isolated: Difference | None = None
    drift: Difference | None = None
    ok: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All stages in order, and how far apart the two answers are: `der` is None where one has no turns to compare."""

    stages: tuple[Stage, ...]
    der: float | None = None

    @property
    def first(self) -> str | None:
        """The first stage that works differently, or None."""
        return next((stage.name for stage in self.stages if stage.ok is False), None)

    @property
    def drifted(self) -> str | None:
        """The first stage that passes its tolerance end to end."""
        return next((s.name for s in self.stages if s.drift is not None and not passes(s.drift, s.tolerance)), None)

    @property
    def ok(self) -> bool:
        """No stage differs, and the answers are the same turns."""
        return self.first is None and (self.der is None or self.der <= MOST_DER)


def verify(
    audio: AudioSource,
    ours: Diarizer,
    theirs: Diarizer | Run,
    *,
    bounds: SpeakerBounds | None = None,
    longest: float | None = None,
    missing: Mapping[str, str] | None = None,
    hooks: Sequence[Hook] = (),
) -> tuple[Report, Run]:
    """Run `ours` over a recording and compare every stage with another diarizer's run, or with one that is stored.

    `missing` are stages that `ours` cannot make here, and why. Returns the report, and the run of `ours`. Raises as a
    call of a diarizer does.
    """
    options: dict[str, Any] = {"bounds": bounds, "longest": longest, "hooks": hooks}
    other = theirs if isinstance(theirs, Run) else record(theirs, audio, **options)
    own = record(ours, audio, like=other, **options)
    _check_chunks(own, other)
    try:
        fed = record(ours, audio, given=other, heard=own, **options)
    except (IndexError, ValueError, TypeError) as error:
        if isinstance(error, DiaristError):
            raise
        raise InputError(f"the reference's arrays do not fit each other or this recording: {error}") from error
    return compare(own, other, fed, tolerances_of(own, other), missing or {}), own


def _check_chunks(own: Run, other: Run) -> None:
    """Raise `InputError` where the reference is of a recording of another length."""
    ours, theirs = own.arrays["binarized"], other.arrays.get("binarized")
    if theirs is not None and len(theirs) != len(ours):
        raise InputError(
            f"the reference has {len(theirs)} chunks, and this recording {len(ours)}: it is of another recording, or "
            "of another part of it (--minutes)"
        )


def tolerances_of(one: Run, other: Run) -> Mapping[str, Tolerance]:
    """How two runs are compared, by the number of bits that each had its networks in, as far as they say."""
    ours, theirs = one.facts.get("arithmetic"), other.facts.get("arithmetic")
    if ours is None or theirs is None:
        return FLOAT32
    if list(ours) != list(theirs):
        return REDUCED
    return EIGHT_BITS if "int8" in ours else FLOAT32


def compare(
    own: Run,
    other: Run,
    fed: Run | None = None,
    tolerances: Mapping[str, Tolerance] = FLOAT32,
    missing: Mapping[str, str] | None = None,
) -> Report:
    """A run against another one, stage by stage; `fed` is the run whose stages got the other's inputs."""
    stages = [] if fed is None else _sound(own, other)
    derived, lost = set(other.facts.get("derived", ())), False
    made = own if fed is None else fed
    for name in _names(made, other, tolerances):
        tolerance = tolerances.get(name, EXACT)
        if name in (missing or {}):
            shape = other.arrays[name].shape if name in other.arrays else ()
            stages.append(Stage(name, shape, tolerance, note=(missing or {})[name]))
            lost = True
        elif name not in other.arrays or name in derived:
            stages.append(Stage(name, made.arrays[name].shape, tolerance, note="not in the reference"))
        elif name not in made.arrays:
            stages.append(Stage(name, other.arrays[name].shape, tolerance, ok=False, note="only in the reference"))
        else:
            stage = _judged(name, own, other, fed, tolerance)
            stages.append(replace(stage, drift=None, note="" if stage.ok else stage.note) if lost else stage)
    comparable = "turns" in own.arrays and "turns" in other.arrays and not missing
    der = score(other.answer, own.answer).der if comparable else None
    return Report(tuple(stages), der)


def _names(own: Run, other: Run, tolerances: Mapping[str, Tolerance]) -> list[str]:
    """Stages that either has, in order; of runs of other programs, all that has a tolerance.

    Voices are what clusters are made by in `vbx`, and what is made of clusters elsewhere.
    """
    order = [*tolerances, *(name for name in STAGES if name not in tolerances)]
    if "likeness" not in own.arrays and "likeness" not in other.arrays:
        order.remove("voices")
        order.insert(order.index("clusters") + 1, "voices")
    return [name for name in order if name in own.arrays or name in other.arrays]


def _sound(own: Run, other: Run) -> list[Stage]:
    """Whether both heard the same samples, where both say."""
    ours, theirs = own.facts.get("sound"), other.facts.get("sound")
    if ours is None or theirs is None:
        return []
    same = ours == theirs
    note = "" if same else "other samples: another recording, decoder or length"
    return [Stage("sound", (), EXACT, Difference(0.0 if same else np.inf, float(same)), ok=same, note=note)]


def _judged(name: str, own: Run, other: Run, fed: Run | None, tolerance: Tolerance) -> Stage:
    reference = other.arrays[name]
    drift, note = None, ""
    if name in own.arrays:
        drift, note = _difference(own.arrays[name], reference, tolerance.how)
    if fed is None:
        return Stage(
            name, reference.shape, tolerance, None, drift, drift is not None and passes(drift, tolerance), note
        )
    isolated, why = _difference(fed.arrays[name], reference, tolerance.how)
    ok = isolated is not None and passes(isolated, tolerance)
    return Stage(name, reference.shape, tolerance, isolated, drift, ok, why or note)


def _difference(ours: NDArray[Any], theirs: NDArray[Any], how: str) -> tuple[Difference | None, str]:
    try:
        return COMPARISONS[how](ours, theirs), ""
    except ValueError as error:
        return None, str(error)


def passes(difference: Difference, tolerance: Tolerance) -> bool:
    """Whether a difference is within a tolerance; NaN is not."""
    largest = difference.largest is None or difference.largest <= tolerance.largest
    return largest and (difference.agreement is None or difference.agreement >= tolerance.agreement)
