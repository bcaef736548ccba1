"""A second pass: who talks in each frame, judged anew once the speakers of the recording are known.

After target-speaker voice activity detection (Medennikov et al., "Target-speaker voice activity detection: a novel
approach for multi-speaker diarization in a dinner party scenario", Interspeech 2020): a small network is asked of every
speaker found, with what is known of the frames around, whether that speaker talks. It starts from the first pass's
answer and adds a correction. What it is told of a frame and a speaker is the same for every speaker, so that any number
can be asked about, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarist.core.types import Float32, Float64, Int64
from diarist.errors import WeightsError
from diarist.stages.plda import read_arrays

STRIDE = 3  # segmentation frames from one that is judged to the next: 51 ms
AROUND = 40  # judged frames, 2 s, on each side in which a local speaker's windows are looked at
FAR = 0.01  # what the windows of the rest of the chunk count, where there are few in those
TAPS = 5  # judged frames that a layer sees, 1, 2, 4, ... apart
LEAST = 2 * STRIDE  # frames, 101 ms, that somebody talks whom the first pass did not hear there
NUM_SIGNS = 18
FIRST = 2  # the sign that is the first pass's own answer

NAMES = ("mean", "scale", "w_in", "b_in", "w_time", "b_time", "w_others", "b_others", "w_out", "b_out", "first")


@dataclass(frozen=True)
class SecondPass:
    """The network: a layer a frame, then layers that see a speaker's frames around and what the others' say.

    `mean`, `scale` `(NUM_SIGNS,)` of the signs; `w_in` `(NUM_SIGNS, width)`; `w_time` `(num_layers, TAPS, width,
    width)`; `w_others` `(num_layers, 2 * width, width)`; `w_out` `(width,)`; biases with each; `first`: the log-odds
    that the first pass's answer is worth.
    """

    mean: Float32
    scale: Float32
    w_in: Float32
    b_in: Float32
    w_time: Float32
    b_time: Float32
    w_others: Float32
    b_others: Float32
    w_out: Float32
    b_out: Float32
    first: Float32

    @classmethod
    def load(cls, path: str | Path) -> SecondPass:
        """Read an npz file. Raises `WeightsError`."""
        values = {name: value.astype(np.float32) for name, value in read_arrays(path, NAMES).items()}
        layers, width = len(values["w_time"]), values["w_in"].shape[-1]
        shapes = {
            "mean": (NUM_SIGNS,),
            "scale": (NUM_SIGNS,),
            "w_in": (NUM_SIGNS, width),
            "b_in": (width,),
            "w_time": (layers, TAPS, width, width),
            "b_time": (layers, width),
            "w_others": (layers, 2 * width, width),
            "b_others": (layers, width),
            "w_out": (width,),
            "b_out": (),
            "first": (),
        }
        wrong = [name for name in NAMES if values[name].shape != shapes[name]]
        if wrong:
            raise WeightsError(f"{path} holds no second pass: '{wrong[0]}' has shape {values[wrong[0]].shape}")
        return cls(**values)

    @property
    def reach(self) -> int:
        """Judged frames on each side that an answer depends on."""
        return int((TAPS // 2) * (2 ** len(self.w_time) - 1))

    def __call__(self, signs: Float32) -> Float32:
        """Log-odds that each speaker talks, `(num_judged, num_speakers)`, from `signs` `(num_judged, num_speakers,
        NUM_SIGNS)`; those less than `reach` from an end are as if the recording ended there."""
        num_judged, num_speakers, _ = signs.shape
        told: Float32 = np.maximum((signs - self.mean) / self.scale @ self.w_in + self.b_in, 0)
        for layer, weights in enumerate(self.w_time):
            apart = 2**layer
            new = np.zeros_like(told) + self.b_time[layer]
            for tap, matrix in enumerate(weights):
                shift = (tap - TAPS // 2) * apart
                low, high = max(0, -shift), num_judged - max(0, shift)
                if low < high:
                    new[low:high] += told[low + shift : high + shift] @ matrix
            loudest = np.broadcast_to(told.max(axis=1, keepdims=True), told.shape)
            others = (told.sum(axis=1, keepdims=True) - told) / max(1, num_speakers - 1)
            new += np.concatenate([loudest, others], axis=2) @ self.w_others[layer] + self.b_others[layer]
            told += np.maximum(new, 0)
        odds: Float32 = self.first * (2 * signs[..., FIRST] - 1) + told @ self.w_out + self.b_out
        return odds


def local_shares(active: NDArray[np.bool_], labels: NDArray[np.integer], num_speakers: int) -> Float32:
    """How much of a chunk's activity is each speaker's, by the windows near by: `(num_judged, num_speakers)`.

    Each local speaker of `active` `(num_judged, num_local)` is, at any time, the speakers whose `labels`
    `(num_judged,)` the frames bear in which it talks alone within two seconds.
    """
    alone = active & (active.sum(axis=1, keepdims=True) == 1)
    labelled = labels[:, None] == np.arange(num_speakers)
    borne = np.zeros((len(active) + 1, active.shape[1], num_speakers), np.float32)
    np.cumsum(alone[:, :, None] & labelled[:, None], axis=0, dtype=np.float32, out=borne[1:])
    at = np.arange(len(active))
    near = borne[np.minimum(at + AROUND + 1, len(active))] - borne[np.maximum(at - AROUND, 0)]
    near += FAR * borne[-1] / np.maximum(borne[-1].sum(axis=1, keepdims=True), 1)
    shares = near / np.maximum(near.sum(axis=2, keepdims=True), FAR / 10)
    heard: Float32 = (shares * active[:, :, None]).sum(axis=1)
    return heard


def above_others(values: Float32) -> Float32:
    """`values` `(..., num_speakers)` less the largest of the other speakers'; 0 where there is one only."""
    if values.shape[-1] < 2:
        return np.zeros_like(values)
    ordered = np.sort(values, axis=-1)
    largest, second = ordered[..., -1:], ordered[..., -2:-1]
    return np.asarray(values - np.where(values >= largest, second, largest))


def between(values: Float32, at: Float64) -> Float32:
    """`values` `(num_places, ...)`, NaN where nothing is known, read at places `(num_judged,)` between them.

    By a line from one to the next; the one that is known where the other is not, and 0 where neither is.
    """
    last = len(values) - 1
    low = np.clip(np.floor(at), 0, last).astype(np.int64)
    share = np.clip(at - low, 0, 1).reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    total, weight = np.zeros((2, len(at), *values.shape[1:]), np.float32)
    for index, much in ((low, 1 - share), (np.minimum(low + 1, last), share)):
        known = ~np.isnan(values[index])
        total += np.where(known, values[index], 0) * much
        weight += known * much
    return np.asarray(np.divide(total, weight, out=total, where=weight > 0))


def signs_of(
    heard: tuple[Float32, Float32],
    first: NDArray[np.int32],
    cosines: Sequence[Float32],
    distance: Float32,
    speech: Float32,
) -> Float32:
    """What the network is told, `(num_judged, num_speakers, NUM_SIGNS)`.

    `heard`: activity `(num_judged, num_speakers)` that the chunks' local speakers give to each speaker, matched chunk
    by chunk, and by the windows near by; `first` `(num_judged, most)`: the first pass's speakers, negative for nobody;
    `cosines` `(num_judged, num_speakers)`: of the nearest window to each voice, as embedded and as the PLDA sees it,
    and of shorter voices of that moment as embedded;
    `distance` `(num_judged,)` in seconds to the middle of that window; `speech` `(num_judged,)`: probability of it.
    """
    num_speakers = heard[0].shape[1]
    talks = (first[:, :, None] == np.arange(num_speakers)).any(axis=1)
    leads = first[:, :1] == np.arange(num_speakers)
    held = np.clip(speech, 1e-3, 1 - 1e-3)
    several = (first >= 0).sum(axis=1) >= 2
    whole = (distance, np.log(held / (1 - held)) / 4, several, np.full(len(first), 1 / num_speakers))
    parts = [*heard, talks, leads, *(3 * above_others(x) for x in heard)]
    parts += [3 * x for cosine in cosines for x in (cosine, above_others(cosine))]
    parts += [np.repeat(np.asarray(x, np.float32)[:, None], num_speakers, axis=1) for x in whole]
    return np.stack([np.asarray(part, np.float32) for part in parts], axis=-1)


def relabelled(first: NDArray[np.int32], odds: Float32) -> NDArray[np.int32]:
    """As many speakers in each frame as `first` `(num_frames, most)` has, the likeliest by `odds` `(num_judged,
    num_speakers)`; nobody whom the first pass heard is lost."""
    judged = np.minimum((np.arange(len(first)) + STRIDE // 2) // STRIDE, len(odds) - 1)
    order: Int64 = np.argsort(-odds, axis=1, kind="stable")[:, : first.shape[1]]
    num = (first >= 0).sum(axis=1)
    chosen = np.full_like(first, -1)
    for place in range(order.shape[1]):
        talks = num > place
        chosen[talks, place] = order[judged[talks], place]
    settle(chosen, first, odds, judged)
    for speaker in np.setdiff1d(first[first >= 0], chosen[chosen >= 0]):
        theirs = (first == speaker).any(axis=1)
        chosen[theirs] = first[theirs]
    return chosen


def settle(chosen: NDArray[np.int32], first: NDArray[np.int32], odds: Float32, judged: Int64) -> None:
    """Give stretches of `chosen` `(num_frames, most)` that are shorter than `LEAST` to those who talk next to them.

    Speech does not end where a judged frame does, so that what is judged otherwise at its edge may be a frame or two of
    somebody else. The likeliest of the neighbours talk in it, or whom the first pass heard, where the neighbours are
    too few. A stretch of the first pass stays.
    """
    before = {tuple(run) for run in runs_of(first).tolist()}
    for begin, end in runs_of(chosen).tolist():
        number = int((chosen[begin] >= 0).sum())
        if end - begin >= LEAST or number == 0:
            continue
        if (begin, end) in before and set(first[begin].tolist()) == set(chosen[begin].tolist()):
            continue
        beside = np.unique(np.concatenate([chosen[max(0, begin - 1) : begin], chosen[end : end + 1]]))
        beside = beside[beside >= 0]
        if len(beside) < number:
            chosen[begin:end] = first[begin:end]
            continue
        likely = np.argsort(-odds[judged[begin:end]].mean(axis=0)[beside], kind="stable")
        chosen[begin:end, :number] = beside[likely[:number]]


def runs_of(speakers: NDArray[np.int32]) -> Int64:
    """`[first, past the last)` of each stretch of frames of `speakers` `(num_frames, most)` in which the same talk, in
    whatever order: `(num_runs, 2)`."""
    ordered = np.sort(speakers, axis=1)
    edges = np.flatnonzero((ordered[1:] != ordered[:-1]).any(axis=1)) + 1
    return np.stack([np.concatenate([[0], edges]), np.concatenate([edges, [len(speakers)]])], axis=1)
