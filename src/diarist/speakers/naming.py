"""Names for the voices of a recording, from a gallery: with a probability, a margin, and in doubt none.

Before anything is heard, a voice belongs to somebody in the gallery with the probability `known`, each person as likely
as the other; the log likelihood ratios of `scoring` turn that into the probability of each person and of nobody. Names
are then given one to one: the assignment of voices to people, or to nobody, that is the most probable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from diarist.core.types import Diarization, Float64, Match, Speaker
from diarist.speakers.config import NamingConfig
from diarist.speakers.gallery import Person
from diarist.speakers.scoring import Scorer, evidence_of
from diarist.speakers.voices import Voice, voices_in

NUM_MATCHES = 3  # people that a voice may be who are told of
WORTH_TELLING = 0.01  # probability


def probabilities(log_ratios: Float64, known: float) -> Float64:
    """Log likelihood ratios `(num_voices, num_people)` to the probability of each person and, last, of nobody:
    `(num_voices, num_people + 1)`; rows sum to 1."""
    num_voices, num_people = log_ratios.shape
    logs = np.full((num_voices, num_people + 1), np.log1p(-known))
    logs[:, :-1] = log_ratios + np.log(known / max(num_people, 1))
    logs -= logs.max(axis=1, keepdims=True, initial=-np.inf)
    values = np.exp(logs)
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def one_to_one(chances: Float64) -> list[int | None]:
    """A person for each voice, or None, no person twice: the most probable of all such assignments.

    `chances` `(num_voices, num_people + 1)` as `probabilities` gives them.
    """
    num_voices, num_people = len(chances), chances.shape[1] - 1
    logs = np.log(np.maximum(chances, 1e-300))
    nobody = np.repeat(logs[:, -1:], num_voices, axis=1)  # as many of those as there are voices
    rows, columns = linear_sum_assignment(-np.concatenate([logs[:, :-1], nobody], axis=1))
    chosen: list[int | None] = [None] * num_voices
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        chosen[row] = column if column < num_people else None
    return chosen


def name_speakers(
    result: Diarization, people: Sequence[Person], scorer: Scorer, config: NamingConfig | None = None
) -> Diarization:
    """A recording with the names of those of `people` who are in it; each speaker with a voice gets its `matches`.

    Voices that are too short, too unsure or too much like two people keep their labels. A name is given to one speaker
    at most; where another one sounds like that person too, `warnings` says so. Raises `InputError` where the result
    does not say what made its voices.
    """
    config = config or NamingConfig()
    voices = voices_in(result)
    if not voices or not people:
        return result
    chances = chances_of(list(voices.values()), people, scorer, config.known)
    chosen = one_to_one(chances)
    names: dict[str, str] = {}
    speakers: dict[str, Speaker] = dict(result.speakers)
    warnings = list(result.warnings)
    for row, label in enumerate(voices):
        matches = _matches(chances[row], people)
        speakers[label] = replace(speakers[label], matches=matches)
        best = chosen[row]
        if best is not None and _sure(chances[row], best, config):
            names[label] = people[best].name
    for row, label in enumerate(voices):
        best = int(chances[row, :-1].argmax())
        if label not in names and people[best].name in names.values() and _sure(chances[row], best, config):
            warnings.append(f"{label} sounds like {people[best].name} too, but a name is given once in a recording")
    return replace(result, speakers=speakers, warnings=tuple(warnings)).rename(names)


def chances_of(voices: Sequence[Voice], people: Sequence[Person], scorer: Scorer, known: float) -> Float64:
    """The probability that each voice is each person's and, last, nobody's: `(num_voices, num_people + 1)`."""
    heard = evidence_of(scorer, [[voice] for voice in voices])
    enrolled = evidence_of(scorer, [person.voices for person in people])
    return probabilities(scorer.log_ratios(heard, enrolled), known)


def _sure(row: Float64, best: int, config: NamingConfig) -> bool:
    others = np.delete(row[:-1], best)
    return bool(row[best] >= config.probability and row[best] - others.max(initial=0.0) >= config.margin)


def _matches(row: Float64, people: Sequence[Person]) -> tuple[Match, ...]:
    order = np.argsort(-row[:-1], kind="stable")[:NUM_MATCHES]
    return tuple(Match(people[i].name, round(float(row[i]), 4)) for i in order if row[i] >= WORTH_TELLING)
