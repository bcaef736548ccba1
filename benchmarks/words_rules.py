"""How often each rule gives a word the wrong speaker, on real recordings with simulated words.

    python benchmarks/words_rules.py RECORDINGS --reference RTTM_DIR [--answers JSON_DIR]

No corpus here has words with their times, so words are made: each reference turn is filled with words of 0.1 to
0.9 s in sentences of about ten; a turn ends its sentence, or only so often as `--full-stops` says. Their times are
moved by an aligner's error (normal, 60 ms). The turns that the words are given to are real answers of `diarist run`.
What is counted is the WDER of a transcript without recognition errors: it tells rules apart, not recognisers.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diarist import formats
from diarist.core.types import Diarization, Transcript, Utterance, Word
from diarist.words.scoring import _misattributed
from diarist.words.transcript import assign, assign_strictly

ALIGNER = 0.06  # seconds, standard deviation of a word's edges
SENTENCE = 10  # words, mean

RULES: dict[str, Callable[[Transcript, Diarization], Transcript]] = {
    "WhisperX 3.7, fill_nearest": lambda t, d: assign_strictly(t, d, "3.7", fill_nearest=True),
    "WhisperX 3.8": lambda t, d: assign_strictly(t, d, "3.8"),
    "WhisperX 3.8, fill_nearest": lambda t, d: assign_strictly(t, d, "3.8", fill_nearest=True),
    "diarist": lambda t, d: assign(t, d),
    "diarist --exclusive": lambda t, d: assign(t, d, exclusive=True),
    "diarist --sentences": lambda t, d: assign(t, d, sentences=True),
    "diarist --sentences --max-change 1": lambda t, d: assign(t, d, sentences=True, max_change=1.0),
    "diarist --sentences --exclusive": lambda t, d: assign(t, d, sentences=True, exclusive=True),
}


def spoken(reference: Diarization, rng: np.random.Generator, full_stops: float) -> tuple[Transcript, list[str]]:
    """A transcript that fills the reference's turns, and whose each word is."""
    utterances, speakers = [], []
    for turn in reference:
        words: list[Word] = []
        at = turn.start
        while at < turn.end - 0.08:
            end = min(turn.end, at + float(np.clip(rng.lognormal(np.log(0.26), 0.45), 0.1, 0.9)))
            shift = rng.normal(0.0, ALIGNER, 2)
            stop = "." if rng.random() < 1 / SENTENCE else ""
            start = max(0.0, at + shift[0])
            words.append(Word(f"w{stop}", start, max(start, end + shift[1])))
            at = end + float(rng.exponential(0.04))
        if words:
            last = "w." if rng.random() < full_stops else "w"
            words[-1] = Word(last, words[-1].start, words[-1].end)
            utterances.append(Utterance("", turn.start, turn.end, words=tuple(words)))
            speakers += [turn.speaker] * len(words)
    return Transcript(tuple(utterances)), speakers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", type=Path, nargs="+", help="recordings, each with an RTTM of the same name")
    parser.add_argument("--answers", type=Path, required=True, help="folder of what `diarist run --format json` said")
    parser.add_argument("--full-stops", type=float, default=1.0, help="share of turns that end their sentence")
    args = parser.parse_args()
    wrong, nobody = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0)
    total, trust, right = 0, [], []
    for number, path in enumerate(sorted(args.recordings)):
        reference = formats.read(path.with_suffix(".rttm"))[0]
        transcript, speakers = spoken(reference, np.random.default_rng(number), args.full_stops)
        answer = formats.read(args.answers / f"{path.stem}.json")[0]
        total += len(speakers)
        for name, rule in RULES.items():
            words = rule(transcript, answer).words
            pairs = list(zip(speakers, (word.speaker or "(nobody)" for word in words), strict=True))
            wrong[name] += _misattributed(pairs)
            nobody[name] += sum(word.speaker is None for word in words)
            if name == "diarist":
                trust += [word.confidence or 0.0 for word in words]
                right += _right(pairs)
    print(f"{len(args.recordings)} recordings, {total} words")
    for name in RULES:
        rates = 100 * wrong[name] / total, 100 * nobody[name] / total
        print(f"{name:36s} WDER {rates[0]:6.2f} %   without a speaker {rates[1]:5.2f} %")
    print("confidence   words   share right")
    for low, high in itertools.pairwise((0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)):
        inside = [r for c, r in zip(trust, right, strict=True) if low <= c < high]
        if inside:
            print(f"{low:.2f}-{min(high, 1):.2f}   {len(inside):7d}   {np.mean(inside):.3f}")


def _right(pairs: list[tuple[str, str]]) -> list[bool]:
    """Whether each word has the speaker that its own is matched with."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    together = np.zeros((len(rows), len(columns)))
    for one, other in pairs:
        together[rows.index(one), columns.index(other)] += 1
    matched = {(rows[a], columns[b]) for a, b in zip(*linear_sum_assignment(together, maximize=True), strict=True)}
    return [pair in matched for pair in pairs]


if __name__ == "__main__":
    main()
