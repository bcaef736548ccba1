"""How far one diarization is from another: DER, JER and the number of speakers, as errors that add up.

Follows `pyannote.metrics` (Bredin, "pyannote.metrics: a toolkit for reproducible evaluation, diagnostic, and error
analysis of speaker diarization systems", 2017), after `Annotation.support()`: overlapping or touching turns of one
speaker are one turn, since nobody talks twice at a time. DER is NIST's; JER is that of the second DIHARD challenge.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

from diarist.core.types import Diarization, Float64, Int64
from diarist.errors import InputError, UsageError

Bool = NDArray[np.bool_]
Span = tuple[float, float]

TOO_SHORT = 1e-6  # seconds; a stretch or gap up to this is none, as in pyannote.core

# Seconds and rates are held on a dyadic grid (2^-27 s is 7 ns), so that float64 sums of them carry no rounding and
# do not depend on the order of adding: exact up to 2^26 s (two years) of speech and 2^23 speakers.
_SECONDS_GRID = 2.0**27
_RATES_GRID = 2.0**30


@dataclass(frozen=True)
class Errors:
    """What went wrong in `files` recordings. A monoid: `Errors()` is nothing, `a + b` is both, in any order.

    `miss`, `false_alarm`, `confusion` and `correct` are speaker seconds inside the scored region (UEM less collars
    less, where asked, overlap). `jer_sum` is the sum of `jer_speakers` reference speakers' Jaccard error rates there.
    `speech` and `overlap` are seconds where one or more, and two or more, reference speakers talk inside the UEM;
    `ref_speakers` and `hyp_speakers` count the speakers heard there, summed over files. `count_exact` files have the
    right number of speakers; `count_error` sums the absolute differences.
    """

    files: int = 0
    miss: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    correct: float = 0.0
    jer_sum: float = 0.0
    jer_speakers: int = 0
    speech: float = 0.0
    overlap: float = 0.0
    ref_speakers: int = 0
    hyp_speakers: int = 0
    count_exact: int = 0
    count_error: int = 0

    def __add__(self, other: Errors) -> Errors:
        if not isinstance(other, Errors):
            return NotImplemented
        names = [f.name for f in dataclasses.fields(self)]
        return Errors(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def total(self) -> float:
        """Reference speaker seconds that were scored: what the rates are divided by."""
        return self.correct + self.miss + self.confusion

    @property
    def der(self) -> float:
        """Diarization error rate. Without any reference speech: 0 if nothing was said to be speech, else 1."""
        return _rate(self.miss + self.false_alarm + self.confusion, self.total)

    @property
    def miss_rate(self) -> float:
        """Missed speech over `total`."""
        return _rate(self.miss, self.total)

    @property
    def false_alarm_rate(self) -> float:
        """False alarm over `total`."""
        return _rate(self.false_alarm, self.total)

    @property
    def confusion_rate(self) -> float:
        """Speech given to the wrong speaker over `total`."""
        return _rate(self.confusion, self.total)

    @property
    def jer(self) -> float:
        """Jaccard error rate, the mean over reference speakers; without any, 1 if there are false alarms and else 0
        (as dscore; pyannote.metrics says 1 for both)."""
        return self.jer_sum / self.jer_speakers if self.jer_speakers else float(self.false_alarm > 0)

    @property
    def count_accuracy(self) -> float:
        """The part of the files whose number of speakers is right; 0 without files."""
        return _rate(self.count_exact, self.files)

    @property
    def mean_count_error(self) -> float:
        """Mean absolute difference between the numbers of speakers; 0 without files."""
        return self.count_error / self.files if self.files else 0.0

    @property
    def overlap_share(self) -> float:
        """The part of the reference's speech time where two or more talk; 0 without speech."""
        return self.overlap / self.speech if self.speech else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For reports: rates (fractions of 1) first, then the sums they come from, seconds to the microsecond."""
        rates = ("der", "miss_rate", "false_alarm_rate", "confusion_rate", "jer", "count_accuracy", "mean_count_error")
        values = {name: getattr(self, name) for name in (*rates, "overlap_share", "total")} | dataclasses.asdict(self)
        return {name: value if isinstance(value, int) else round(value, 6) for name, value in values.items()}


@dataclass(frozen=True)
class Comparison:
    """A reference and a hypothesis on one common time axis, between `edges` `(num_stretches + 1,)` in seconds.

    `miss`, `false_alarm`, `confusion` `(num_stretches,)` count speakers; they are 0 where `scored` is False. `mapping`
    takes a hypothesis label to its reference label by the assignment with the most time in common (Hungarian);
    labels that share no time with theirs are not in it. `repeated` is the time, in seconds, that turns of the reference
    overlap turns of the same speaker: it counts once.
    """

    reference: Diarization
    hypothesis: Diarization
    edges: Float64
    scored: Bool
    miss: Int64
    false_alarm: Int64
    confusion: Int64
    mapping: dict[str, str]
    errors: Errors
    repeated: float


def score(
    reference: Diarization,
    hypothesis: Diarization,
    *,
    collar: float = 0.0,
    skip_overlap: bool = False,
    uem: Sequence[Span] | None = None,
) -> Errors:
    """The errors of a hypothesis; arguments as in `compare`."""
    return compare(reference, hypothesis, collar=collar, skip_overlap=skip_overlap, uem=uem).errors


def compare(
    reference: Diarization,
    hypothesis: Diarization,
    *,
    collar: float = 0.0,
    skip_overlap: bool = False,
    uem: Sequence[Span] | None = None,
) -> Comparison:
    """Lay a hypothesis over a reference.

    `collar` is the whole width in seconds, centred on each boundary of a reference turn, that is not scored, as in
    pyannote.metrics (NIST's and dscore's "collar 0.25" is 0.5 here). `skip_overlap` leaves out where two or more
    reference speakers talk. `uem` lists the `(start, end)` that are scored; None scores everything.

    Raises `UsageError` for a collar that is negative or not finite and for a UEM region that ends before it starts,
    `InputError` for turns whose times are not finite.
    """
    if not 0 <= collar < math.inf:
        raise UsageError(f"the collar must be 0 or more seconds, not {collar}")
    ref_names, ref_turns, repeated = _merged(reference)
    hyp_names, hyp_turns, _ = _merged(hypothesis)
    collars = ref_turns[:, :2].reshape(-1, 1) + np.array([[-0.5, 0.5]]) * collar
    regions = _regions(uem)
    spans = (ref_turns[:, :2], hyp_turns[:, :2], collars, regions)
    edges = np.unique(np.concatenate([a.ravel() for a in spans]))
    seconds = np.diff(edges)
    ref = _activity(edges, ref_turns, len(ref_names))
    hyp = _activity(edges, hyp_turns, len(hyp_names))
    num_ref, num_hyp = _row_sums(ref), _row_sums(hyp)

    inside = _covered(edges, regions) if uem is not None else np.ones(len(seconds), dtype=bool)
    scored = inside & ~_covered(edges, collars)
    if skip_overlap:
        scored &= num_ref < 2
    weights = seconds * scored
    together = np.asarray((ref.T @ hyp.multiply(weights[:, None])).todense())  # (ref speakers, hyp speakers) seconds
    ref_seconds, hyp_seconds = ref.T @ weights, hyp.T @ weights
    pairs = _assign(together, ref_seconds, hyp_seconds)
    agreed = _row_sums(ref[:, pairs[:, 0]].multiply(hyp[:, pairs[:, 1]]))

    miss = np.maximum(num_ref - num_hyp, 0) * scored
    false_alarm = np.maximum(num_hyp - num_ref, 0) * scored
    confusion = (np.minimum(num_ref, num_hyp) - agreed) * scored
    jer_sum, jer_speakers = _jaccard(together, ref_seconds, hyp_seconds, pairs)
    heard_ref, heard_hyp = (int(np.sum(a.T @ (seconds * inside) > TOO_SHORT)) for a in (ref, hyp))
    errors = Errors(
        files=1,
        miss=_on_grid(miss @ seconds),
        false_alarm=_on_grid(false_alarm @ seconds),
        confusion=_on_grid(confusion @ seconds),
        correct=_on_grid(agreed @ weights),
        jer_sum=_on_grid(jer_sum, _RATES_GRID),
        jer_speakers=jer_speakers,
        speech=_on_grid((num_ref > 0) @ (seconds * inside)),
        overlap=_on_grid((num_ref > 1) @ (seconds * inside)),
        ref_speakers=heard_ref,
        hyp_speakers=heard_hyp,
        count_exact=int(heard_ref == heard_hyp),
        count_error=abs(heard_ref - heard_hyp),
    )
    mapping = {hyp_names[h]: ref_names[r] for r, h in pairs}
    return Comparison(reference, hypothesis, edges, scored, miss, false_alarm, confusion, mapping, errors, repeated)


def _regions(uem: Sequence[Span] | None) -> Float64:
    regions = np.array([] if uem is None else uem, dtype=np.float64).reshape(-1, 2)
    for start, end in regions:
        if not (math.isfinite(start) and math.isfinite(end) and start <= end):
            raise UsageError(f"a UEM region cannot go from {start} to {end}")
    return regions


def _rate(errors: float, total: float) -> float:
    return errors / total if total else float(errors > 0)


def _on_grid(value: Any, grid: float = _SECONDS_GRID) -> float:
    return round(float(value) * grid) / grid


def _merged(diarization: Diarization) -> tuple[list[str], Float64, float]:
    """Sorted labels; turns `(num_turns, 3)` as start, end, index of label, each speaker's overlapping or touching
    turns as one; and how many seconds overlapped."""
    names = sorted(diarization.labels)
    index = {name: i for i, name in enumerate(names)}
    turns: list[list[float]] = []
    repeated = 0.0
    for t in sorted(diarization, key=lambda t: (t.speaker, t.start)):
        if not (math.isfinite(t.start) and math.isfinite(t.end)):
            raise InputError(f"'{diarization.uri}' has a turn from {t.start} to {t.end}: times must be finite")
        if t.duration <= TOO_SHORT:
            continue
        last = turns[-1] if turns and turns[-1][2] == index[t.speaker] else None
        if last is not None and t.start <= last[1] + TOO_SHORT:
            repeated += max(0.0, min(t.end, last[1]) - t.start)
            last[1] = max(last[1], t.end)
        else:
            turns.append([t.start, t.end, index[t.speaker]])
    return names, np.array(turns, dtype=np.float64).reshape(-1, 3), repeated


def _activity(edges: Float64, turns: Float64, num_speakers: int) -> csr_matrix:
    """Who talks in which stretch: sparse `(num_stretches, num_speakers)` of 0 and 1."""
    first, past = np.searchsorted(edges, turns[:, :2]).T
    lengths = past - first
    total = int(lengths.sum())
    rows = np.arange(total) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    columns = np.repeat(turns[:, 2].astype(np.int64), lengths)
    shape = (max(len(edges) - 1, 0), num_speakers)
    return csr_matrix((np.ones(total, dtype=np.int64), (rows, columns)), shape=shape)


def _row_sums(activity: csr_matrix) -> Int64:
    return np.asarray(activity.sum(axis=1), dtype=np.int64).ravel()


def _covered(edges: Float64, spans: Float64) -> Bool:
    """Which stretches lie in any of the spans `(num_spans, 2)`, whose ends are all among the edges."""
    change = np.zeros(max(len(edges), 1), dtype=np.int64)
    np.add.at(change, np.searchsorted(edges, spans[:, 0]), 1)
    np.add.at(change, np.searchsorted(edges, spans[:, 1]), -1)
    return np.cumsum(change)[:-1] > 0


def _assign(together: Float64, ref: Float64, hyp: Float64) -> Int64:
    """Pairs `(num_pairs, 2)` of reference and hypothesis speaker that share the most time in all.

    Speakers that are silent where it is scored take no part, which breaks ties as pyannote.metrics does.
    """
    rows, columns = np.flatnonzero(ref > TOO_SHORT), np.flatnonzero(hyp > TOO_SHORT)
    chosen_rows, chosen_columns = linear_sum_assignment(together[np.ix_(rows, columns)], maximize=True)
    pairs = np.stack([rows[chosen_rows], columns[chosen_columns]], axis=1)
    shared: Bool = together[pairs[:, 0], pairs[:, 1]] > 0
    return pairs[shared]


def _jaccard(together: Float64, ref: Float64, hyp: Float64, pairs: Int64) -> tuple[float, int]:
    """Sum of the Jaccard error rates of the reference speakers that talk, and how many those are.

    `ref` and `hyp` are each speaker's seconds, `together` those that each pair of them shares.
    """
    shared = together[pairs[:, 0], pairs[:, 1]]
    overlaps = shared / (ref[pairs[:, 0]] + hyp[pairs[:, 1]] - shared)  # Jaccard indices; 0 for who has no pair
    num_talking = int(np.sum(ref > TOO_SHORT))
    return num_talking - float(np.sum(overlaps)), num_talking
