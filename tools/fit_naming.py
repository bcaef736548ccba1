"""Remake the scorer that says how likely two voices are one person's (`src/diarist/speakers/scoring.py`).

    python tools/fit_naming.py halves SPEECH halves
    diarist simulate halves/a --without-fold 0/4 --noise-dir NOISE -o fit/a --seed 503 -n 260 --speakers 1-5 \
        --duration 15-150
    diarist simulate halves/b --without-fold 0/4 --noise-dir NOISE -o fit/b --seed 504 -n 200 --speakers 1-5 \
        --duration 15-150
    python tools/fit_naming.py fit fit/a fit/b src/diarist/speakers/campplus-zh-en-voices.npz

What each speaker of SPEECH (a folder `source/speaker/*`) says is cut in two, so that no sound is in both halves;
conversations are simulated of either (another fold of the speakers is left for `benchmarks/verification.py`), and
diarized with the preset that ships: the voices that it finds, errors included, are what is compared later on. The
space is fitted to all of them (`Scorer.fit`), the calibration to pairs of one voice of each half, of people whom the
space did not know (cross-validation over people), as if half of the pairs were one person's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from diarist import Diarizer
from diarist.audio.files import expand
from diarist.core.types import Float64
from diarist.evaluation.verification import Heard, equal_error_rate, halves, hear, log_loss, pairs
from diarist.speakers.scoring import Scorer

RANK, NOISE, SHRINK = 80, 2.0, 0.4  # the best of cross-validation over people; others near are as good
FOLDS = 5  # of the people, for the calibration
MOST = 4  # voices of one person in each half: who says much must not be heard more than others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    cutting = actions.add_parser("halves", help="cut each speaker's speech in two folders, a and b")
    cutting.add_argument("speech", type=Path)
    cutting.add_argument("output", type=Path)
    fitting = actions.add_parser("fit", help="fit to conversations of both halves")
    fitting.add_argument("one", type=Path, help="folder of recordings with RTTMs, or voices that were kept (.npz)")
    fitting.add_argument("other", type=Path, help="the same, of the other half")
    fitting.add_argument("output", type=Path, help="the npz file to write")
    fitting.add_argument("--embedding-model", default="campplus-zh-en", help="name, ONNX file or hub id")
    fitting.add_argument("--embedding-precision", default="int8")
    args = parser.parse_args()
    if args.action == "halves":
        halves(args.speech, args.output)
        return
    config = {"embedding.model": args.embedding_model, "embedding.precision": args.embedding_precision}
    one, other = (voices(folder, config).capped(MOST) for folder in (args.one, args.other))
    scorer, targets, others = fit(one, other)
    scorer.save(args.output)
    people = len({*one.person, *other.person})
    print(f"{len(one)} and {len(other)} voices of {people} people")
    print(f"left out: EER {equal_error_rate(targets, others)[0]:.1%}, Cllr {log_loss(targets, others):.3f}")
    print(f"scale {scorer.scale:.3f}, within {scorer.within[0]:.3f}, between {scorer.between[[0, 1, 10, 30]].round(1)}")


def voices(folder: Path, config: dict[str, str]) -> Heard:
    """The voices of a folder's recordings, kept beside it."""
    if folder.suffix == ".npz":
        return Heard.load(folder)
    diarizer = Diarizer(config=config)
    found = hear(expand([folder]), diarizer, lambda number: print(f"\r{folder}: {number}", end="", flush=True))
    print()
    found.save(folder.with_suffix(".npz"))
    return found


def fit(one: Heard, other: Heard) -> tuple[Scorer, Float64, Float64]:
    """Fit the space to all voices, and calibrate it on pairs of people whom a space did not know; also their ratios.

    What is calibrated is the scale, and by how much the variance within people is larger for the unknown ones.
    """
    spaces = [(fit_space(*train), test) for train, test in left_out(one, other)]

    def unseen(values: Float64) -> tuple[Float64, Float64]:
        scores = [trials(changed(space, values), *test) for space, test in spaces]
        targets, others = zip(*scores, strict=True)
        return np.concatenate(targets), np.concatenate(others)

    found = minimize(lambda values: log_loss(*unseen(values)), np.log([0.35, 1.6]), method="Nelder-Mead").x
    return changed(fit_space(one, other), found), *unseen(found)


def changed(scorer: Scorer, values: Float64) -> Scorer:
    """A scorer with another scale, and its variance within people times a factor, both as logarithms."""
    scale, factor = np.exp(values)
    return replace(scorer, scale=float(scale), within=factor * scorer.within)


def left_out(one: Heard, other: Heard) -> Iterator[tuple[tuple[Heard, Heard], tuple[Heard, Heard]]]:
    """The voices of all people but a part, and of that part, for each of `FOLDS` parts."""
    people = np.unique(np.concatenate([one.person, other.person]))
    part = np.random.default_rng(0).permutation(len(people)) % FOLDS
    for fold in range(FOLDS):
        gone = people[part == fold]
        inside = [np.isin(half.person, gone) for half in (one, other)]
        yield (
            (one.select(~inside[0]), other.select(~inside[1])),
            (one.select(inside[0]), other.select(inside[1])),
        )


def fit_space(one: Heard, other: Heard) -> Scorer:
    """Fit to the voices of both halves together."""
    embeddings = np.concatenate([one.embeddings, other.embeddings])
    seconds = np.concatenate([one.seconds, other.seconds])
    people = np.unique(np.concatenate([one.person, other.person]), return_inverse=True)[1]
    return Scorer.fit(embeddings, seconds, people, rank=RANK, noise=NOISE, shrink=SHRINK)


def trials(scorer: Scorer, one: Heard, other: Heard) -> tuple[Float64, Float64]:
    """Log ratios of all pairs across the halves: of one person, of two."""
    scores = scorer.log_ratios(
        scorer.evidence(one.embeddings, one.seconds), scorer.evidence(other.embeddings, other.seconds)
    )
    same = pairs(one, other)
    return scores[same], scores[~same]


if __name__ == "__main__":
    main()
