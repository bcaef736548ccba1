"""Who might be whom in a window: its voices put into two, three, four and five groups (front end `frames`).

A transformer that is to find out who talks from voices alone has to learn to compare them, all with all, and learns the
people it is trained on by heart sooner. So it is told what a comparison gives: Ward's tree of the voices (Ward,
"Hierarchical grouping to optimize an objective function", 1963), cut at each number of groups, each cut made better by
VBx without a chain (`stages/vbx.py`). Which of them is right, how many people there are, is left to the transformer.
Groups are in order of appearance, as speakers are in its tokens.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from diarist.core.types import Float32, Float64, Int64
from diarist.stages.plda import Plda
from diarist.stages.vbx import VbxResult, vbx

NUMBERS = (2, 3, 4, 5)  # of groups
SAID = 3  # numbers that are told of each cut, besides the groups
CHANNELS = sum(NUMBERS), SAID * len(NUMBERS)  # of one voice of a token, and of a token
ACTIVE = 0.1  # mean activity of a voice in a token, below which it is not grouped
HEARD = 0.2  # seconds that a voice must have been heard
FA, FB, ITERATIONS = 0.3, 5.0, 6  # of VBx
FAR = 4.0  # what is told of the distance where VBx leaves one group
MOST = 1024  # voices that the tree is made of: a window of 30 s has 178


@cache
def voice_plda() -> Plda:
    """The PLDA that voices are told through. Shipped with the front end."""
    with resources.as_file(resources.files("diarist.pix2seq.frontends") / "voices.npz") as path:
        return Plda.load(path)


def groups(activity: Float32, seconds: Float32, voices: Float32) -> Float32:
    """What the groups of a window tell, `(num_tokens, num_ranks * CHANNELS[0] + CHANNELS[1])`.

    `activity`, `seconds` `(num_tokens, num_ranks)`: how active a voice is in a token, and how long it was heard;
    `voices` `(num_tokens, num_ranks, dimension)` in the units of the front end. First, for each voice, to which group
    it belongs by each cut, as probabilities (0 for a voice that is not grouped); then, of each cut, in every token the
    same: the distance of the two nearest groups (`FAR` where VBx leaves one), the share of the smallest, and what the
    cut explains beyond one group, in nats a voice.
    """
    num_tokens, num_ranks, dimension = voices.shape
    of_voices = np.zeros((num_tokens, num_ranks, CHANNELS[0]), np.float32)
    of_cuts = np.zeros((len(NUMBERS), SAID), np.float32)
    chosen = np.argwhere((activity > ACTIVE) & (seconds > HEARD))
    if len(chosen) > max(NUMBERS):
        psi = voice_plda().psi[:dimension]
        rows = voices[chosen[:, 0], chosen[:, 1]] * np.float32(np.sqrt(np.mean(1 + psi)))
        tree, members = _tree(rows, psi)
        place = 0
        for index, number in enumerate(NUMBERS):
            start = fcluster(tree, number, "maxclust").astype(np.int64)[members] - 1
            shares, of_cuts[index] = _cut(rows, psi, start)
            of_voices[chosen[:, 0], chosen[:, 1], place : place + shares.shape[1]] = shares
            place += number
        of_cuts[:, -1] -= _refined(rows, psi, np.zeros(len(rows), np.int64)).elbo[-1]
        of_cuts[:, -1] /= len(rows)
    whole = np.broadcast_to(of_cuts.reshape(-1), (num_tokens, of_cuts.size))
    return np.concatenate([of_voices.reshape(num_tokens, num_ranks * CHANNELS[0]), whole], axis=1, dtype=np.float32)


def _tree(rows: Float32, psi: Float64) -> tuple[NDArray[Any], Int64]:
    """Ward's tree of voices `(n, dimension)` by their directions, and which leaf each of them is."""
    directions = rows * np.sqrt(psi / (1 + psi)).astype(np.float32)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    leaves = np.linspace(0, len(rows) - 1, min(len(rows), MOST)).round().astype(np.int64)
    members = np.abs(np.arange(len(rows))[:, None] - leaves).argmin(axis=1) if len(leaves) < len(rows) else leaves
    return linkage(directions[leaves], "ward"), members


def _cut(rows: Float32, psi: Float64, start: Int64) -> tuple[Float32, Float32]:
    """Probabilities of each group `(n, num_groups)`, in order of appearance, and what is told of the cut `(SAID,)`."""
    found = _refined(rows, psi, start)
    assert found.responsibilities is not None
    shares = found.responsibilities[:, found.priors > 1e-3]
    first = np.where((shares > 0.5).any(axis=0), (shares > 0.5).argmax(axis=0), len(rows))
    shares = shares[:, np.argsort(first, kind="stable")]
    weights = shares.sum(axis=0)
    means = (shares.T @ rows) / weights[:, None]
    apart = np.sqrt(((means[:, None] - means) ** 2).mean(axis=2))[np.triu_indices(len(means), 1)]
    said = np.array([apart.min(initial=FAR), weights.min() / len(rows), found.elbo[-1]], np.float32)
    return shares.astype(np.float32), said


def _refined(rows: Float32, psi: Float64, start: Int64) -> VbxResult:
    return vbx(
        rows, psi, start, fa=FA, fb=FB, loop=0.0, smoothing=7.0, max_iterations=ITERATIONS, keep_responsibilities=True
    )
