"""VBx: Bayesian clustering of a sequence of embeddings, with a hidden Markov model or (loop 0) without.

Equation numbers are those of Landini, Profant, Diez and Burget, "Bayesian HMM clustering of x-vector sequences (VBx)
in speaker diarization: theory, implementation and analysis on standard tasks", Computer Speech & Language 71, 2022.

A state is a speaker. Given the state, a feature is its speaker's mean plus standard normal noise; means are normal with
the diagonal covariance `psi` (what a PLDA gives). The number of speakers is what is left when the evidence lower bound
stops growing: start with too many states, and those that explain nothing die.

No array of all rows by all states is made unless it is asked for: rows go through in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float64, Int64
from diarist.errors import UsageError
from diarist.stages.assign import sums

Array = NDArray[np.floating[Any]]

EXACT_ROWS = 1024  # above this many rows the chain is cut into stretches that run side by side
FORGOTTEN = 1e-6  # a stretch reads w rows beyond both of its ends, with loop ** w no more than this
LEAST_PRIOR = 1e-30  # of a state in a chain: a row that only a dead state explains must not divide by 0
BLOCK_BYTES = 8 << 20  # of the largest array


@dataclass(frozen=True)
class VbxResult:
    """What VBx found, for `n` rows and the `num_states` states that were alive in the last iteration.

    `labels` `(n,)`: the state of each row, 0 to num_states - 1. `confidence` `(n,)`: its responsibility.
    `states` `(num_states,)`: which states of the start they are. `priors` `(num_states,)`: they sum to 1.
    `elbo`: the evidence lower bound of each iteration. `responsibilities` `(n, num_states)`, where asked for.
    """

    labels: Int64
    confidence: Float64
    states: Int64
    priors: Float64
    elbo: tuple[float, ...]
    responsibilities: Float64 | None = None


@dataclass
class _Statistics:
    """What an E-step leaves for the M-step."""

    occupancy: Float64  # (num_states,) sum of responsibilities
    first: Float64  # (num_states, dimension) responsibilities times rho
    entered: Float64  # (num_states,) expected number of times that the chain enters a state
    log_likelihood: float = 0.0


def vbx(
    features: Array,
    psi: Float64,
    start: Int64,
    *,
    fa: float,
    fb: float,
    loop: float,
    smoothing: float,
    max_iterations: int,
    tolerance: float = 1e-4,
    prune: float = 0.0,
    prior_floor: float = 0.0,
    keep_responsibilities: bool = False,
) -> VbxResult:
    """Cluster `features` `(n, dimension)`, in order of time, from the labels `start` `(n,)` (0 to num_states - 1).

    float32 features are worked on in float32 (half the time and memory, for long recordings), all else in float64.

    `psi` `(dimension,)` is the variance of speaker means where noise has variance 1. `fa` scales the evidence of a row,
    `fb` the pull of the prior: larger means fewer speakers. `loop` is the probability of staying with a speaker, and 0
    makes the rows independent. Responsibilities start as the softmax of `smoothing` on a row's own label. Stops after
    `max_iterations`, or when the bound grows by less than `tolerance`. States with a prior below `prune` are removed
    between iterations; `prior_floor` is added to priors before their logarithm (loop 0 only; the authors' code, and
    pyannote's, have 1e-8).

    Above 1024 rows with a loop, the chain is cut into stretches that start early and end late enough to forget where
    they were cut (loop 0.9: 132 rows on both sides); on voices drawn from a PLDA no responsibility moved by 1e-12.
    Raises `UsageError` for features that are not finite, shapes that do not fit, or a loop outside [0, 1).
    """
    features, psi, start = _checked(features, psi, start)
    if not 0 <= loop < 1:
        raise UsageError(f"the loop probability must be at least 0 and less than 1, not {loop}")
    num_rows, dimension = features.shape
    if num_rows == 0:
        empty = np.zeros(0)
        return VbxResult(np.zeros(0, np.int64), empty, np.zeros(0, np.int64), empty, (), None)
    rho = features * np.sqrt(psi).astype(features.dtype)  # (18), V from between (5) and (6)
    energy = float(np.einsum("nd,nd->n", features, features).sum(dtype=np.float64))
    constant = -0.5 * fa * (energy + num_rows * dimension * np.log(2 * np.pi))  # of all rows in (23)
    statistics = _start(rho, start, smoothing)
    states = np.arange(len(statistics.occupancy))
    priors = np.full(len(states), 1 / len(states))
    chain = _Chain(rho, loop, prior_floor)
    elbo: list[float] = []
    while True:
        variance = 1 / (1 + fa / fb * statistics.occupancy[:, None] * psi)  # (17)
        mean = fa / fb * variance * statistics.first  # (16)
        bias = -0.5 * fa * (variance + mean * mean) @ psi  # of (23), without the per-row constant
        model = (fa * mean, bias, priors)
        statistics = chain.expect(*model)
        gain = 0.5 * fb * float(np.sum(np.log(variance) - variance - mean * mean + 1))
        elbo.append(statistics.log_likelihood + constant + gain)  # (25)
        priors = statistics.entered / statistics.entered.sum()  # (24)
        converged = len(elbo) > 1 and elbo[-1] - elbo[-2] < tolerance
        if converged or len(elbo) >= max_iterations:
            break
        alive = priors >= min(prune, float(priors.max()))
        if not alive.all():
            states, priors = states[alive], priors[alive] / priors[alive].sum()
            statistics.occupancy, statistics.first = statistics.occupancy[alive], statistics.first[alive]
    responsibilities = chain.responsibilities(*model) if keep_responsibilities else None
    return VbxResult(chain.labels, chain.confidence, states, priors, tuple(elbo), responsibilities)


def _checked(features: Array, psi: Float64, start: Int64) -> tuple[Array, Float64, Int64]:
    features = np.asarray(features, np.float32 if getattr(features, "dtype", None) == np.float32 else np.float64)
    psi = np.asarray(psi, dtype=np.float64)
    start = np.asarray(start, dtype=np.int64)
    if features.ndim != 2 or psi.shape != features.shape[1:] or start.shape != features.shape[:1]:
        raise UsageError(
            f"VBx needs features (n, dimension), psi (dimension,) and start labels (n,), "
            f"not {features.shape}, {psi.shape} and {start.shape}"
        )
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise UsageError(f"row {row} of the features is not finite: drop such rows before clustering")
    if len(start) and start.min() < 0:
        raise UsageError("start labels must be 0 or more: every row needs a state to start in")
    return features, psi, start


def _start(rho: Array, start: Int64, smoothing: float) -> _Statistics:
    """Sums under the responsibilities softmax(smoothing * onehot(start)), without making them."""
    num_states = int(start.max()) + 1
    weight = np.exp(smoothing) + num_states - 1
    own, other = np.exp(smoothing) / weight, 1 / weight
    totals, counts = sums(rho, start)
    occupancy = other * len(start) + (own - other) * counts
    first = other * rho.sum(axis=0) + (own - other) * totals
    return _Statistics(occupancy, first, occupancy)


class _Chain:
    """The E-step over all rows, block by block; holds the answer of the last one."""

    def __init__(self, rho: Array, loop: float, prior_floor: float) -> None:
        self.rho = rho
        self.loop = loop
        self.prior_floor = prior_floor
        self.labels = np.zeros(len(rho), np.int64)
        self.confidence = np.zeros(len(rho))

    def expect(self, mean: Float64, bias: Float64, priors: Float64) -> _Statistics:
        """Responsibilities (19) of states with scaled means `(num_states, dimension)`, as sums, labels, confidence."""
        sums = _Statistics(np.zeros(len(priors)), np.zeros_like(mean), np.zeros(len(priors)))
        for first, last, gamma in self._blocks(mean, bias, priors, sums):
            sums.occupancy += gamma.sum(axis=0, dtype=np.float64)
            sums.first += gamma.T @ self.rho[first:last]
            self.labels[first:last] = labels = gamma.argmax(axis=1)
            self.confidence[first:last] = np.take_along_axis(gamma, labels[:, None], axis=1)[:, 0]
        if self.loop == 0:
            sums.entered = sums.occupancy
        return sums

    def responsibilities(self, mean: Float64, bias: Float64, priors: Float64) -> Float64:
        """All responsibilities `(n, num_states)`."""
        unused = _Statistics(np.zeros(len(priors)), np.zeros_like(mean), np.zeros(len(priors)))
        everything = np.zeros((len(self.rho), len(priors)))
        for first, last, gamma in self._blocks(mean, bias, priors, unused):
            everything[first:last] = gamma
        return everything

    def _blocks(
        self, mean: Float64, bias: Float64, priors: Float64, sums: _Statistics
    ) -> Iterator[tuple[int, int, Array]]:
        blocks = self._independent if self.loop == 0 else self._stretches
        return blocks(mean.T.astype(self.rho.dtype), bias.astype(self.rho.dtype), priors, sums)

    def _independent(
        self, weights: Array, bias: Array, priors: Float64, sums: _Statistics
    ) -> Iterator[tuple[int, int, Array]]:
        """`(first row, past the last, responsibilities)` of rows that know nothing of their neighbours."""
        block = max(1, BLOCK_BYTES // (self.rho.itemsize * len(priors)))
        with np.errstate(divide="ignore"):
            bias = (bias + np.log(priors + self.prior_floor)).astype(self.rho.dtype)
        for first in range(0, len(self.rho), block):
            gamma = self.rho[first : first + block] @ weights + bias
            peak = gamma.max(axis=1, keepdims=True)
            np.exp(gamma - peak, out=gamma)
            total = gamma.sum(axis=1, keepdims=True)
            gamma /= total
            sums.log_likelihood += _sum(np.log(total)) + _sum(peak)  # (22) of a chain without memory
            yield first, first + len(gamma), gamma

    def _stretches(
        self, weights: Array, bias: Array, priors: Float64, sums: _Statistics
    ) -> Iterator[tuple[int, int, Array]]:
        """The same for a chain: stretches of rows side by side, each with a warm-up before and after."""
        num_rows, num_states = len(self.rho), len(priors)
        priors = np.maximum(priors, LEAST_PRIOR).astype(self.rho.dtype)
        warm_up = int(np.ceil(np.log(FORGOTTEN) / np.log(self.loop))) if num_rows > EXACT_ROWS else 0
        length = 3 * warm_up or num_rows
        reach = length + 2 * warm_up
        at_once = max(1, min(-(-num_rows // length), BLOCK_BYTES // (self.rho.itemsize * reach * num_states)))
        for first in range(0, num_rows, length * at_once):
            last = min(first + length * at_once, num_rows)
            side_by_side = -(-(last - first) // length)
            # where there are no rows, likelihood 1: no evidence, no effect
            likelihood = np.ones((side_by_side * length + 2 * warm_up, num_states), self.rho.dtype)
            read = slice(max(first - warm_up, 0), min(last + warm_up, num_rows))
            scores = self.rho[read] @ weights + bias
            peak = scores.max(axis=1, keepdims=True)
            inside = slice(read.start - first + warm_up, read.stop - first + warm_up)
            np.exp(scores - peak, out=likelihood[inside])
            view = np.lib.stride_tricks.sliding_window_view(likelihood, reach, axis=0)[::length]
            gamma, scale, entered = _forward_backward(
                np.ascontiguousarray(view.transpose(2, 0, 1)), priors, self.loop, warm_up, length
            )
            core = slice(first - read.start, last - read.start)
            sums.log_likelihood += _sum(np.log(scale)) + _sum(peak[core])  # (22)
            flat = gamma.transpose(1, 0, 2).reshape(-1, num_states)[: last - first]
            outside = side_by_side * length - len(flat)  # rows past the end each enter by the priors alone
            sums.entered += (1 - self.loop) * (entered - outside * priors)
            if first == 0:
                sums.entered += self.loop * flat[0]  # the first row is entered for certain
            yield first, last, flat


def _sum(values: Array) -> float:
    return float(values.sum(dtype=np.float64))


def _forward_backward(
    likelihood: Array, priors: Array, loop: float, warm_up: int, length: int
) -> tuple[Array, Array, Array]:
    """Forward and backward pass over `likelihood` `(num_rows, num_stretches, num_states)`, scaled at each row.

    The transition matrix (1) is `loop` on the diagonal plus `(1 - loop) * priors` in each row, so that a step costs
    num_states, not its square. And times the priors, what (21) knows of a row from the rows after it is what (20) knows
    of it from the rows before it, read backwards: both passes are one, side by side. Returns what lies between the
    warm-ups: responsibilities (19) `(length, num_stretches, num_states)`, the scales, whose logarithms sum to (22),
    `(length, num_stretches)`, and `(num_states,)` the sum of (24) over rows and stretches, without its factor 1 - loop.
    """
    away = (1 - loop) * priors
    both = np.stack([likelihood, likelihood[::-1]], axis=1)
    known, joint = np.empty_like(both), np.empty_like(both)  # of a row, without it and with it
    scale = np.empty((*both.shape[:3], 1), likelihood.dtype)
    known[0] = priors
    for row in range(len(both)):  # (20), (21)
        if row:
            np.multiply(joint[row - 1], loop, out=known[row])
            known[row] += away
        np.multiply(known[row], both[row], out=joint[row])
        np.add.reduce(joint[row], axis=2, keepdims=True, out=scale[row])
        joint[row] /= scale[row]
    inside = slice(warm_up, warm_up + length)
    beyond, scale = known[::-1, 1][inside], scale[inside, 0]
    gamma = joint[inside, 0] * beyond
    gamma /= priors
    total = gamma.sum(axis=2, keepdims=True)
    gamma /= total  # (19)
    entered = (likelihood[inside] * beyond / (total * scale)).sum(axis=0)
    return gamma, scale[..., 0], entered.sum(axis=0)
