"""Remake the choice of answers (`diarist/stages/hypotheses.py`) from conversations whose speakers are known.

    python tools/fit_choice.py work/all/conversations more/conversations -o src/diarist/models/plda/NAME-choice.npz

The first folder is what `fit_plda.py` has heard; others may be added, made by `diarist simulate --without-fold 0/4`.
Every conversation is heard by the front end that ships and answered in all ways with a PLDA that has not heard its
speakers, as it will be with strangers. An answer's regret is by how many of the windows it is worse than the best of
its conversation; the weights are those under which the softmax of the answers comes nearest to that of their regrets.
Conversations go in whole, as a stretch of 15 to 60 s, and with some of their speakers left out, so that short and
lonely ones are there too. A ridge keeps the weights from trusting a handful of recordings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, minimize

import fit_plda
from diarist import formats
from diarist.audio.decode import open_audio
from diarist.audio.files import expand
from diarist.core.events import Emitter
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.errors import DiaristError
from diarist.formats.writing import write_aside
from diarist.models.fused import FusedSegmentation
from diarist.models.vad import load_vad
from diarist.pipelines.config import ClusteringConfig, PipelineConfig
from diarist.pipelines.frontend import Evidence, Listener
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import num_cores
from diarist.stages.hypotheses import FEATURES, Choice
from diarist.stages.window_vbx import CHOSEN_WINDOWS, WindowVbx
from fit_plda import SEED, Conversation, fit, listen, owner

RIDGE = 1.0
SHARPNESS = 40.0  # an answer with 2.5 % more windows wrong is wanted 1 / e as much
CUT = (15.0, 60.0)  # seconds


@dataclass(frozen=True)
class Heard:
    """What was heard of a recording, and whose its windows are, `(num_windows,)`, -1 for nobody's."""

    embeddings: Float32
    times: Float64
    owners: Int64
    speakers: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """Answers of one recording: `features` `(num_answers, num_features)` and windows wrong `(num_answers,)`."""

    features: Float64
    wrong: Float64


def main(arguments: Sequence[str] | None = None) -> int:
    args = asked(arguments, __doc__)
    try:
        known = listen(args.conversations[0])
        choice = fitted(list(samples(known, args.conversations)))
        with write_aside(args.output) as aside, aside.open("wb") as file:
            choice.save(file)
    except DiaristError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(dict(zip(FEATURES, choice.weights.round(2).tolist(), strict=True))))
    return 0


def asked(arguments: Sequence[str] | None, what: str) -> argparse.Namespace:
    """`conversations`, folders, and the `output`, a file, of a tool whose docstring is `what`."""
    parser = argparse.ArgumentParser(description=what.splitlines()[0])
    parser.add_argument("conversations", type=Path, nargs="+", help="WORK/RECIPE/conversations of fit_plda.py, others")
    parser.add_argument("--output", "-o", type=Path, required=True, help="the npz file to write")
    return parser.parse_args(arguments)


def samples(known: Sequence[Conversation], folders: Sequence[Path]) -> Iterable[Sample]:
    """All answers of all recordings, each by a PLDA of `known` without its speakers."""
    rng = np.random.default_rng(SEED)
    for path in expand(folders):
        whole = hear(path)
        clusterer = clusterer_of(known, whole.speakers)
        for part in variants(whole, rng):
            yield sample(clusterer, part)
        print(path.stem, file=sys.stderr, flush=True)


def clusterer_of(known: Sequence[Conversation], without: Sequence[str], choice: Choice | None = None) -> WindowVbx:
    """The clusterer that ships, but for a PLDA that has not heard some speakers, and the choice of answers."""
    names = ("threshold", "Fa", "Fb", "loop", "centring", "min_cluster_size")
    values = {name: getattr(ClusteringConfig(), name) for name in names}
    return WindowVbx(plda=fit(known, without=set(without)), choice=choice, **values)


def hear(path: Path) -> Heard:
    """A recording by the default configuration; what has been heard lies beside it."""
    cache = path.with_suffix(".heard.npz")
    if not cache.is_file():
        evidence = listened(path)
        with write_aside(cache) as aside, aside.open("wb") as file:
            np.savez(file, embeddings=evidence.embeddings, times=evidence.times)
    with np.load(cache) as found:
        (reference,) = formats.read(path.with_suffix(".rttm"))
        speakers = tuple(sorted(reference.labels))
        names = [owner(reference, time, PipelineConfig().embedding.window)[0] for time in found["times"].tolist()]
        owners = np.array([-1 if name is None else speakers.index(name) for name in names], np.int64)
        return Heard(found["embeddings"], found["times"], owners, speakers)


def listened(path: Path) -> Evidence:
    """What the default configuration hears in a recording."""
    segmentation, embedding = networks()
    with ThreadPoolExecutor(num_cores()) as pool, single_threaded_algebra(), open_audio(path) as reader:
        return Listener(segmentation, embedding, PipelineConfig(), pool, Emitter())(reader.blocks())


@lru_cache(maxsize=1)
def networks() -> tuple[SegmentationModel, EmbeddingModel]:
    """Those of the default configuration, with its second opinion on speech."""
    segmentation, embedding = fit_plda.networks()
    config = PipelineConfig().segmentation
    vad = load_vad(config.vad)
    return FusedSegmentation(segmentation, vad, weight=config.vad_weight, bias=config.vad_bias), embedding


def variants(whole: Heard, rng: np.random.Generator) -> list[Heard]:
    """The recording, a stretch of it, and what is left of it with some of its speakers."""
    length, end = rng.uniform(*CUT), whole.times.max(initial=0.0)
    begin = rng.uniform(0, max(1.0, end - length))
    parts = [whole, part_of(whole, (whole.times >= begin) & (whole.times < begin + length))]
    present = np.unique(whole.owners[whole.owners >= 0])
    if len(present) > 2:
        chosen = rng.choice(present, rng.integers(1, min(4, len(present))), replace=False)
        parts.append(part_of(whole, np.isin(whole.owners, chosen)))
    fewest, most = CHOSEN_WINDOWS
    return [part for part in parts if fewest <= len(part.times) <= most]


def part_of(whole: Heard, kept: NDArray[np.bool_]) -> Heard:
    """The windows of a recording that are kept `(num_windows,)`."""
    return Heard(whole.embeddings[kept], whole.times[kept], whole.owners[kept], whole.speakers)


def sample(clusterer: WindowVbx, one: Heard) -> Sample:
    """The answers to a recording and how wrong they are."""
    centered = clusterer.plda.center(np.asarray(one.embeddings, np.float64))
    answers, features = clusterer.answers(centered, one.embeddings, one.times, SpeakerBounds())
    owned = max(1, int((one.owners >= 0).sum()))
    return Sample(features, np.array([1 - num_right(labels, one.owners) / owned for labels in answers]))


def num_right(labels: Int64, owners: Int64) -> float:
    """Windows that are their owner's under the best names."""
    table, owned = np.zeros((labels.max() + 1, max(1, owners.max(initial=0) + 1))), owners >= 0
    np.add.at(table, (labels[owned], owners[owned]), 1)
    return float(table[linear_sum_assignment(-table)].sum())


def fitted(found: Sequence[Sample], ridge: float = RIDGE) -> Choice:
    """The weights of least cross entropy to the softmax of regrets, with a ridge on standardised weights."""
    first = np.cumsum([0, *(len(one.wrong) for one in found[:-1])])
    of = np.repeat(np.arange(len(found)), [len(one.wrong) for one in found])
    inner = np.concatenate([one.features - one.features.mean(axis=0) for one in found])
    scale = np.sqrt((inner**2).mean(axis=0)) + 1e-9
    x = inner / scale
    wrong = np.concatenate([one.wrong for one in found])
    wanted = np.exp(-SHARPNESS * (wrong - np.minimum.reduceat(wrong, first)[of]))
    wanted /= np.add.reduceat(wanted, first)[of]

    def loss(beta: Float64) -> tuple[float, Float64]:
        score = x @ beta
        score -= np.maximum.reduceat(score, first)[of]
        score -= np.log(np.add.reduceat(np.exp(score), first))[of]
        gradient = x.T @ (np.exp(score) - wanted) + ridge * beta
        return float(-(wanted @ score) + 0.5 * ridge * beta @ beta), gradient

    beta = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return Choice(beta / scale)


if __name__ == "__main__":
    raise SystemExit(main())
