"""Remake the test of speakers (`diarist/stages/plausible.py`) from the conversations that `fit_plda.py` has heard.

    python tools/fit_speaker_test.py work/all/conversations -o src/diarist/models/plda/NAME-test.npz

Every conversation is clustered with a PLDA that has not heard its speakers, as it will be with strangers. From too
many speakers on, one after another is dropped, now the one most like another, now any, for as long as the answer gets
no worse; every speaker on the way is a sample: is it right to drop them? Conversations go in whole, as stretches of
18 to 50 s, and with some of their speakers left out, so that short and lonely ones are there too. A ridge keeps the
logistic function from trusting a handful of recordings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment, minimize

from diarist.core.types import Float64, Int64
from diarist.errors import DiaristError
from diarist.formats.writing import write_aside
from diarist.pipelines.config import ClusteringConfig
from diarist.stages import agglomerative
from diarist.stages.plausible import FEATURES, SpeakerTest, drop
from diarist.stages.window_vbx import WindowVbx
from fit_plda import SEED, Conversation, fit, listen

RIDGE = 10.0
LEAST_WEIGHT = 0.03  # of a speaker whom it makes no difference to drop
RANDOM = 0.4  # how often any needless speaker is dropped, not the one most alike
CUT = (18.0, 50.0)  # seconds
SMALLEST = 6  # windows in a conversation


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conversations", type=Path, help="WORK/RECIPE/conversations of fit_plda.py")
    parser.add_argument("--output", "-o", type=Path, required=True, help="the npz file to write")
    args = parser.parse_args(arguments)
    try:
        heard = listen(args.conversations)
        test = fitted(*samples(heard))
        with write_aside(args.output) as aside, aside.open("wb") as file:
            test.save(file)
    except DiaristError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(dict(zip(FEATURES, test.weights.round(2).tolist(), strict=True))))
    return 0


def samples(heard: Sequence[Conversation]) -> tuple[Float64, Float64, Float64]:
    """Features `(n, num_features)`, whether dropping the speaker is right `(n,)`, and weights `(n,)`."""
    defaults, rng = ClusteringConfig(), np.random.default_rng(SEED)
    found = []
    for one in heard:
        clusterer = WindowVbx(
            plda=fit(heard, without={name for name in one.owners if name}),
            threshold=defaults.threshold,
            Fa=defaults.Fa,
            Fb=defaults.Fb,
            loop=defaults.loop,
            centring=defaults.centring,
            min_cluster_size=defaults.min_cluster_size,
        )
        found += [path(clusterer, part, rng) for part in variants(one, rng)]
        print(f"{one.name}: {sum(len(right) for _, right, _ in found)} samples", file=sys.stderr, flush=True)
    features, right, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return features, right, weights


def variants(one: Conversation, rng: np.random.Generator) -> list[Conversation]:
    """The conversation, two stretches of it, and what is left of it with some of its speakers."""
    parts = [one]
    for _ in range(2):
        length = rng.uniform(*CUT)
        begin = rng.uniform(0, max(1.0, one.duration - length))
        parts.append(part_of(one, (one.times >= begin) & (one.times < begin + length)))
    names = sorted({name for name in one.owners if name})
    if len(names) > 2:
        chosen = set(rng.choice(names, rng.integers(1, min(4, len(names))), replace=False).tolist())
        parts.append(part_of(one, np.array([name in chosen for name in one.owners])))
    return [part for part in parts if len(part.times) >= SMALLEST]


def part_of(one: Conversation, kept: np.ndarray) -> Conversation:
    """The windows of a conversation that are kept `(num_windows,)`."""
    owners = tuple(name for name, keep in zip(one.owners, kept, strict=True) if keep)
    return replace(one, embeddings=one.embeddings[kept], times=one.times[kept], owners=owners, pure=one.pure[kept])


def path(clusterer: WindowVbx, one: Conversation, rng: np.random.Generator) -> tuple[Float64, Float64, Float64]:
    """Samples from too many speakers down to where nobody can be dropped without harm."""
    centered = clusterer.plda.center(np.asarray(one.embeddings, np.float64))
    seeds = agglomerative.cluster(centered, threshold=clusterer.threshold, linkage="average")
    labels = clusterer.too_many(np.unique(seeds, return_inverse=True)[1], centered, one.embeddings)
    rows, right, weights = [np.zeros((0, len(FEATURES)))], [np.zeros(0)], [np.zeros(0)]
    while labels.max() > 0:
        features = clusterer.features(labels, one.times, centered, one.embeddings)
        after = [drop(labels, speaker, one.embeddings) for speaker in range(len(features))]
        worse = num_right(labels, one.owners) - np.array([num_right(other, one.owners) for other in after])
        rows.append(features)
        right.append((worse <= 0).astype(float))
        weights.append(LEAST_WEIGHT + np.abs(worse) / len(labels))
        needless = np.flatnonzero(worse <= 0)
        if not len(needless):
            break
        alike = needless[features[needless, FEATURES.index("cosine")].argmax()]
        labels = after[rng.choice(needless) if rng.random() < RANDOM else alike]
    number = max(1, sum(len(part) for part in right))
    return np.concatenate(rows), np.concatenate(right), np.concatenate(weights) / np.sqrt(number)


def num_right(labels: Int64, owners: Sequence[str | None]) -> float:
    """Windows that are their owner's under the best names."""
    names = {name: index for index, name in enumerate(sorted({name for name in owners if name}))}
    table = np.zeros((labels.max() + 1, max(1, len(names))))
    for label, name in zip(labels, owners, strict=True):
        if name:
            table[label, names[name]] += 1
    return float(table[linear_sum_assignment(-table)].sum())


def fitted(features: Float64, right: Float64, weights: Float64) -> SpeakerTest:
    """The logistic function of least weighted loss, with a ridge on its weights."""
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
    x = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    sign = 2 * right - 1

    def loss(beta: Float64) -> tuple[float, Float64]:
        margin = sign * (x @ beta)
        slope = -sign * weights / (1 + np.exp(np.clip(margin, -500, 500)))
        ridge = np.append(RIDGE * beta[:-1], 0.0)
        return float((weights * np.logaddexp(0, -margin)).sum() + 0.5 * ridge @ beta), x.T @ slope + ridge

    beta = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return SpeakerTest(mean, scale, beta[:-1], float(beta[-1]))


if __name__ == "__main__":
    raise SystemExit(main())
