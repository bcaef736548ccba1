"""Remake the second pass (`diarist/stages/second_pass.py`) from conversations whose speakers are known.

    python tools/fit_second_pass.py work/all/conversations more/conversations -o src/diarist/models/plda/NAME-second.npz

The first folder is what `fit_plda.py` has heard; others may be added, made by `diarist simulate --without-fold 0/4`.
Every conversation is answered by what ships, but with a PLDA that has not heard its speakers, so that the network
learns the mistakes that are made with strangers. Then it is asked of every speaker found whether that speaker talks,
only where the first pass and the reference both hear speech: what is speech, and where pauses are, is no matter of the
second pass. Frames of people who were not found, or were found twice, are left out. What is learned of a recording
lies beside it, and a second run goes on from there. Needs the extra `train`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from diarist import formats
from diarist.audio.files import expand
from diarist.core.config import replace_from
from diarist.core.types import Diarization, Float32, SpeakerBounds
from diarist.errors import DiaristError
from diarist.formats.writing import write_aside
from diarist.pipelines.cluster import Clusters, certainty, choice_of_answers
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import stitch
from diarist.pipelines.frontend import Evidence
from diarist.pipelines.second_pass import Signs
from diarist.stages.assign import centroids
from diarist.stages.second_pass import FIRST, NUM_SIGNS, STRIDE, TAPS
from fit_choice import asked, clusterer_of, listened
from fit_plda import SEED, Conversation, listen

FIELDS = ("signs", "talks", "counts")  # of a Sample
WIDTH, LAYERS = 16, 5
LONGEST = 600  # judged frames, 30 s, in an example
LEAST = 30  # of them that count, or it is none
EPOCHS, BATCH, RATE, DECAY, DROPOUT = 4, 4, 5e-3, 1e-2, 0.05


@dataclass(frozen=True)
class Sample:
    """Signs `(num_judged, num_speakers, NUM_SIGNS)`, who talks `(num_judged, num_speakers)`, what counts."""

    signs: NDArray[np.float16]
    talks: NDArray[np.bool_]
    counts: NDArray[np.bool_]


def main(arguments: Sequence[str] | None = None) -> int:
    args = asked(arguments, __doc__)
    try:
        known = listen(args.conversations[0])
        samples = [one for path in expand(args.conversations) for one in learned(path, known)]
        weights = fitted(samples)
        with write_aside(args.output) as aside, aside.open("wb") as file:
            np.savez(file, **weights)
    except DiaristError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps({"examples": len(samples), "first": round(float(weights["first"]), 2)}))
    return 0


def learned(path: Path, known: Sequence[Conversation]) -> list[Sample]:
    """What `heard` gives, from the file beside the recording where it is there, else put there."""
    cache = path.with_suffix(".second.npz")
    if not cache.is_file():
        made = heard(path, known)
        arrays = {f"{name}{i}": value for i, one in enumerate(made) for name, value in vars(one).items()}
        with write_aside(cache) as aside, aside.open("wb") as file:
            np.savez(file, **arrays)
    with np.load(cache) as found:
        return [Sample(*(found[f"{name}{i}"] for name in FIELDS)) for i in range(len(found.files) // len(FIELDS))]


def heard(path: Path, known: Sequence[Conversation]) -> list[Sample]:
    """A recording answered with a PLDA of `known` without its speakers, in examples."""
    config = replace_from(PipelineConfig(), {"turns.second_pass": False})
    evidence = listened(path)
    (reference,) = formats.read(path.with_suffix(".rttm"))
    print(path.stem, file=sys.stderr, flush=True)
    if len(evidence.times) == 0:
        return []
    vbx = clusterer_of(known, reference.labels, choice_of_answers(config.embedding.model))
    labels, _ = vbx.answer(evidence.embeddings, SpeakerBounds(), evidence.times)
    voices = centroids(evidence.embeddings, labels)
    clusters = Clusters(labels, voices, certainty(evidence.embeddings, labels, voices))
    if len(voices) < 2:
        return []
    first, _ = stitch(evidence, clusters, config)
    return examples(Signs(evidence, clusters, first, vbx.plda)[:], first, spoken(reference, evidence))


def spoken(reference: Diarization, evidence: Evidence) -> NDArray[np.bool_]:
    """Who talks by the reference: `(num_frames, num_reference)`."""
    middles, names = evidence.frames.middles(len(evidence.count)), sorted(reference.labels)
    talks = np.zeros((len(middles), len(names)), bool)
    for turn in reference.turns:
        talks[(middles >= turn.start) & (middles < turn.end), names.index(turn.speaker)] = True
    return talks


def examples(told: Float32, first: NDArray[np.int32], truth: NDArray[np.bool_]) -> list[Sample]:
    """Examples of `signs` `(num_judged, num_speakers, NUM_SIGNS)`, speakers of the first pass `(num_frames, most)` and
    the truth `(num_frames, num_reference)`, whose people are named so that most frames are right."""
    num_speakers = told.shape[1]
    found = (first[:, :, None] == np.arange(num_speakers)).any(axis=1)
    shared = truth.T.astype(np.float64) @ found
    rows, columns = linear_sum_assignment(-shared)
    rows, columns = rows[shared[rows, columns] > 0], columns[shared[rows, columns] > 0]
    found, truth = found[::STRIDE], truth[::STRIDE]
    talks = np.zeros(found.shape, bool)
    talks[:, columns] = truth[:, rows]
    strange = np.delete(truth, rows, axis=1).any(axis=1) | np.delete(found, columns, axis=1).any(axis=1)
    counts = found.any(axis=1) & truth.any(axis=1) & ~strange
    cuts = [slice(start, start + LONGEST) for start in range(0, len(told), LONGEST)]
    return [Sample(told[at].astype(np.float16), talks[at], counts[at]) for at in cuts if counts[at].sum() > LEAST]


def fitted(samples: Sequence[Sample], *, epochs: int = EPOCHS, seed: int = SEED) -> dict[str, Float32]:
    """Weights of least cross entropy, by name."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    some = np.concatenate([one.signs.reshape(-1, NUM_SIGNS)[::7] for one in samples]).astype(np.float32)
    net = _net(some.mean(axis=0), some.std(axis=0) + 1e-2)
    steps = epochs * (len(samples) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    for epoch in range(epochs):
        order, total, begun = rng.permutation(len(samples)), 0.0, time.process_time()
        for batch in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
            optimizer.zero_grad()
            losses = []
            for one in (samples[i] for i in batch):
                counts = torch.from_numpy(one.counts)
                odds = net(torch.from_numpy(one.signs.astype(np.float32)))[counts]
                losses.append(loss_of(odds, torch.from_numpy(one.talks.astype(np.float32))[counts], reduction="sum"))
            number = sum(int(samples[i].counts.sum()) for i in batch)
            loss = sum(losses) / number
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() / max(1, len(samples) // BATCH)
        print(f"epoch {epoch}: {total:.4f}, {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)
    return net.weights()


def _net(mean: Float32, scale: Float32) -> Any:
    """The network of `stages/second_pass.py`, to be trained."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean, self.scale = torch.from_numpy(mean), torch.from_numpy(scale)
            self.first_layer = nn.Linear(NUM_SIGNS, WIDTH)
            self.time = nn.ModuleList(
                nn.Conv1d(WIDTH, WIDTH, TAPS, dilation=2**i, padding=TAPS // 2 * 2**i) for i in range(LAYERS)
            )
            self.others = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(LAYERS))
            self.last = nn.Linear(WIDTH, 1)
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)
            self.first = nn.Parameter(torch.tensor(3.0))
            self.dropout = nn.Dropout(DROPOUT)

        def forward(self, told: Any) -> Any:
            answer = told[..., FIRST]
            told = torch.relu(self.first_layer((told - self.mean) / self.scale))
            for time_layer, others_layer in zip(self.time, self.others, strict=True):
                around = time_layer(told.permute(1, 2, 0)).permute(2, 0, 1)
                loudest = told.amax(dim=1, keepdim=True).expand_as(told)
                others = (told.sum(dim=1, keepdim=True) - told) / max(1, told.shape[1] - 1)
                told = told + self.dropout(torch.relu(around + others_layer(torch.cat([loudest, others], dim=-1))))
            return self.first * (2 * answer - 1) + self.last(told)[..., 0]

        def weights(self) -> dict[str, Float32]:
            held = {
                "mean": self.mean,
                "scale": self.scale,
                "w_in": self.first_layer.weight.T,
                "b_in": self.first_layer.bias,
                "w_time": torch.stack([layer.weight.permute(2, 1, 0) for layer in self.time]),
                "b_time": torch.stack([layer.bias for layer in self.time]),
                "w_others": torch.stack([layer.weight.T for layer in self.others]),
                "b_others": torch.stack([layer.bias for layer in self.others]),
                "w_out": self.last.weight[0],
                "b_out": self.last.bias[0],
                "first": self.first,
            }
            return {name: value.detach().numpy().astype(np.float32) for name, value in held.items()}

    return Net()


if __name__ == "__main__":
    raise SystemExit(main())
