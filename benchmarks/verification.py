"""How often voices are taken for one person's, and named, wrongly: on speakers that nothing was fitted to.

    python benchmarks/verification.py ../shared/data/speech --noise ../shared/data/noise --work verification/

Speakers of fold 0/4 (`diarist simulate --fold`); what each says is cut in two, conversations of 1 to 5 people are
simulated of either half, with rooms, noise and telephones of their own, and diarized. Every voice found is compared
with every voice of the other half. What is made stays in the folder `--work`. Prints markdown.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarist import Diarizer
from diarist.audio.files import expand
from diarist.evaluation.verification import Heard, equal_error_rate, halves, hear, log_loss, pairs
from diarist.simulate.batch import simulate_many
from diarist.simulate.config import SimulationConfig
from diarist.simulate.sources import find_noise, find_speakers, in_fold
from diarist.speakers.config import LinkConfig, NamingConfig
from diarist.speakers.linking import link
from diarist.speakers.naming import one_to_one, probabilities
from diarist.speakers.scoring import Evidence, Scorer, scorer_for
from diarist.speakers.voices import Voice

BATCHES = {"a": ((501, 110), (511, 120)), "b": ((502, 110), (512, 120))}  # seeds and numbers of conversations
MOST = 3  # voices of one person in each half
LENGTHS = (0.0, 5.0, 10.0, 20.0, np.inf)  # seconds
GALLERIES = (5, 20)
DRAWS = 200
MODEL = "campplus-zh-en"

Scores = NDArray[np.float64]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", nargs="?", type=Path, default=Path("../shared/data/speech"))
    parser.add_argument("--noise", type=Path, default=Path("../shared/data/noise"))
    parser.add_argument("--meetings", type=Path, default=Path("../shared/data/dev/ami"), help="with RTTMs beside them")
    parser.add_argument("--work", type=Path, default=Path("verification"))
    parser.add_argument("--precision", default="int8", choices=("int8", "float32"))
    parser.add_argument("--scorer", type=Path, help="another scorer than the one that ships")
    args = parser.parse_args()
    if not args.speech.is_dir():
        print(f"no speech in '{args.speech}': nothing to measure", file=sys.stderr)
        return 0
    one, other = (heard(args, half).capped(MOST) for half in "ab")
    scorer = scorer_for(f"{MODEL} {args.precision}") if args.scorer is None else Scorer.load(args.scorer)
    people = {*one.person, *other.person}
    print(f"{len(one)} and {len(other)} voices of {len(people)} people, {args.precision}.\n")
    verification(one, other, scorer)
    calibration(one, other, scorer)
    identification(one, other, scorer)
    linking(one, other, scorer)
    if args.meetings.is_dir():
        meetings(args, scorer)
    return 0


def meetings(args: argparse.Namespace, scorer: Scorer) -> None:
    """Real recordings in which the reference calls a person the same in each: pairs across recordings."""
    found = hear(expand([args.meetings]), Diarizer(config={"embedding.precision": args.precision}))
    apart = np.triu(found.recording[:, None] != found.recording)
    scores, same = ratios(found, found, scorer), pairs(found, found)
    accepted = 1 / (1 + np.exp(-scores)) >= NamingConfig().probability
    print(f"\n{args.meetings.name}: of {(same & apart).sum()} pairs of one person in two recordings ", end="")
    print(f"{(accepted & same & apart).sum()} are accepted, ", end="")
    print(f"of {(~same & apart).sum()} pairs of two people {(accepted & ~same & apart).sum()}.")


def heard(args: argparse.Namespace, half: str) -> Heard:
    """The voices of one half; what has been made before is taken from the folder of work."""
    found = [heard_batch(args, half, seed, number) for seed, number in BATCHES[half]]
    parts = zip(*(vars(batch).values() for batch in found), strict=True)
    return Heard(*(np.concatenate(part) for part in parts))


def heard_batch(args: argparse.Namespace, half: str, seed: int, number: int) -> Heard:
    folder = args.work / f"{half}-{seed}"
    kept = args.work / f"{half}-{seed}-{args.precision}.npz"
    if not kept.is_file():
        if not (args.work / "halves" / half).is_dir():
            halves(args.speech, args.work / "halves")
        speakers = [s for s in find_speakers([args.work / "halves" / half]) if in_fold(s.speaker, 0, 4)]
        config, noise = SimulationConfig(speakers=(1, 5), duration=(15.0, 150.0)), find_noise([args.noise])
        for made, _ in enumerate(simulate_many(speakers, folder, number, config, seed=seed, noise=noise), 1):
            print(f"\rsimulated {folder}: {made}", end="", file=sys.stderr, flush=True)
        diarizer = Diarizer(config={"embedding.precision": args.precision})
        hear(expand([folder]), diarizer, lambda n: print(f"\rheard {folder}: {n}", end="", file=sys.stderr)).save(kept)
    found = Heard.load(kept)
    return replace(found, recording=np.char.add(f"{seed}-", found.recording))


def verification(one: Heard, other: Heard, scorer: Scorer) -> None:
    """Error rates of pairs, and at the default threshold of a gallery of one person."""
    scores, same = ratios(one, other, scorer), pairs(one, other)
    cosine = one.embeddings @ other.embeddings.T
    shortest = np.minimum(one.seconds[:, None], other.seconds[None])
    source = source_of(one)[:, None] == source_of(other)
    pure = (one.purity > 0.8)[:, None] & (other.purity > 0.8)
    kinds: dict[str, NDArray[np.bool_]] = {"all pairs": np.ones_like(same)}
    kinds["strangers of the same collection"] = source
    kinds["voices found nearly pure (80 %)"] = pure
    for low, high in itertools.pairwise(LENGTHS):
        name = f"{low:.0f} to {high:.0f} s" if high < np.inf else f"{low:.0f} s or more"
        kinds[f"the shorter has {name}"] = (shortest >= low) & (shortest < high)
    for name in np.unique(source_of(one)):
        kinds[f"both of {name}"] = (source_of(one) == name)[:, None] & (source_of(other) == name)
    least = NamingConfig()
    accepted = 1 / (1 + np.exp(-scores)) >= least.probability  # a gallery of one person, prior 1/2
    print("| pairs | same person | strangers | EER, cosine | EER, scorer | Cllr | missed | falsely accepted |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, kind in kinds.items():
        if (same & kind).sum() >= 20 and (~same & kind).sum() >= 20:
            eer, raw = (equal_error_rate(s[same & kind], s[~same & kind])[0] for s in (scores, cosine))
            print(
                f"| {name} | {(same & kind).sum()} | {(~same & kind).sum()} | {raw:.1%} | {eer:.1%} | "
                f"{log_loss(scores[same & kind], scores[~same & kind]):.2f} | {(~accepted)[same & kind].mean():.1%} | "
                f"{accepted[~same & kind].mean():.2%} |"
            )
    for half in (one, other):
        within = ratios(half, half, scorer)
        strangers = (half.recording[:, None] == half.recording) & ~pairs(half, half)
        rate = (1 / (1 + np.exp(-within)) >= least.probability)[strangers].mean()
        print(
            f"\nTwo people of one recording (same room, same noise), {strangers.sum() // 2} pairs: {rate:.1%} accepted."
        )
    low, high = interval(one, other, scores)
    print(f"\nEER of all pairs with people drawn again, 90 % interval: {low:.1%} to {high:.1%}.\n")


def interval(one: Heard, other: Heard, scores: Scores) -> tuple[float, float]:
    """What the EER may be with other people: 5th and 95th percentile of 200 draws of people, with replacement."""
    rng, people = np.random.default_rng(0), np.unique(np.concatenate([one.person, other.person]))
    rates = []
    for _ in range(DRAWS):
        drawn = rng.choice(people, len(people))
        rows = np.concatenate([np.flatnonzero(one.person == person) for person in drawn])
        columns = np.concatenate([np.flatnonzero(other.person == person) for person in drawn])
        same = one.person[rows][:, None] == other.person[columns]
        some = scores[np.ix_(rows, columns)]
        rates.append(equal_error_rate(some[same], some[~same])[0])
    low, high = np.percentile(rates, [5, 95])
    return float(low), float(high)


def calibration(one: Heard, other: Heard, scorer: Scorer) -> None:
    """Is a probability worth its name? As many pairs of one person as of strangers, by weight."""
    scores, same = ratios(one, other, scorer), pairs(one, other)
    chance = 1 / (1 + np.exp(-scores))
    weight = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    print("| probability, prior 1/2 | of them one person |\n|---|---:|")
    for low, high in itertools.pairwise((0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 1.0)):
        inside = (chance >= low) & ((chance < high) | (high == 1.0))
        if inside.any():
            print(f"| {low:.2f} to {high:.2f} | {np.average(same[inside], weights=weight[inside]):.0%} |")
    print()


def identification(one: Heard, other: Heard, scorer: Scorer) -> None:
    """Names for all voices of recordings of one half, from galleries of people of the other half, drawn at random."""
    config = NamingConfig()
    print("| enrolled | recordings of each | enrolled people: named right | wrong name | no name | strangers named |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size, num_voices in itertools.product(GALLERIES, (1, 2)):
        told = np.zeros(5)  # right, wrong, none; strangers named, strangers
        rng = np.random.default_rng(size)
        for _ in range(DRAWS):
            gallery = list(rng.choice(np.unique(one.person), size, replace=False))
            chances = probabilities(
                scorer.log_ratios(evidence(other, scorer), enrolled(one, gallery, num_voices, scorer)), 0.5
            )
            for recording in np.unique(other.recording):
                rows = np.flatnonzero(other.recording == recording)
                told += count(other.person[rows], gallery, chances[rows], config)
        known = told[:3].sum()
        print(
            f"| {size} | {'1' if num_voices == 1 else 'up to 2'} | {told[0] / known:.1%} | {told[1] / known:.1%} | "
            f"{told[2] / known:.1%} | {told[3] / told[4]:.2%} |"
        )
    print()


def enrolled(heard: Heard, gallery: list[str], num_voices: int, scorer: Scorer) -> Evidence:
    """What is known of the people of a gallery, each from the recordings with the most of their speech."""
    rows, owners = [], []
    for owner, person in enumerate(gallery):
        mine = np.flatnonzero(heard.person == person)
        mine = mine[np.argsort(-heard.seconds[mine])][:num_voices]
        rows += mine.tolist()
        owners += [owner] * len(mine)
    some = scorer.evidence(heard.embeddings[rows], heard.seconds[rows])
    return some.sums(np.array(owners), len(gallery))


def count(people: NDArray[np.str_], gallery: list[str], chances: Scores, config: NamingConfig) -> Scores:
    """Voices of one recording: named right, wrong, not; strangers named, strangers."""
    told = np.zeros(5)
    for person, row, best in zip(people, chances, one_to_one(chances), strict=True):
        next_best = max((row[i] for i in range(len(gallery)) if i != best), default=0.0)
        named = best is not None and row[best] >= config.probability and row[best] - next_best >= config.margin
        if person in gallery:
            told[2 if not named else 0 if gallery[best] == person else 1] += 1
        else:
            told[3] += named
            told[4] += 1
    return told


def linking(one: Heard, other: Heard, scorer: Scorer) -> None:
    """All recordings of both halves, linked: how pure labels are, how much of a person is under one label."""
    both = Heard(*(np.concatenate(parts) for parts in zip(vars(one).values(), vars(other).values(), strict=True)))
    half = np.repeat(["a", "b"], [len(one), len(other)])
    recordings = np.unique(np.char.add(half, both.recording), return_inverse=True)[1]
    voices = [Voice(e, s, MODEL) for e, s in zip(both.embeddings, both.seconds, strict=True)]
    print("| linked at probability | labels | people | links right (precision) | links found (recall) |")
    print("|---:|---:|---:|---:|---:|")
    for probability in (0.5, LinkConfig().probability, 0.99):
        labels = link(voices, recordings, scorer, LinkConfig(probability=probability)).labels
        apart = recordings[:, None] != recordings
        linked, same = (labels[:, None] == labels) & apart, pairs(both, both) & apart
        right, people = (linked & same).sum(), len(np.unique(both.person))
        precision, recall = right / max(linked.sum(), 1), right / same.sum()
        print(f"| {probability} | {labels.max() + 1} | {people} | {precision:.1%} | {recall:.1%} |")


def evidence(heard: Heard, scorer: Scorer) -> Evidence:
    return scorer.evidence(heard.embeddings, heard.seconds)


def ratios(one: Heard, other: Heard, scorer: Scorer) -> Scores:
    return scorer.log_ratios(evidence(one, scorer), evidence(other, scorer))


def source_of(heard: Heard) -> NDArray[np.str_]:
    """The collection that each voice's person is from: `vctk-p225` is of `vctk`."""
    return np.array([person.rpartition("-")[0] for person in heard.person])


if __name__ == "__main__":
    raise SystemExit(main())
