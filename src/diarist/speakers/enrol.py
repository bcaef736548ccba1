"""Which voice of a recording is to be enrolled, and whether it can be.

A recording that is said to be one person's is diarized first: where somebody else speaks too, a person has to say who
is meant, so that nobody is enrolled by accident under another's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diarist.core.config import nearest
from diarist.core.types import Diarization
from diarist.errors import InputError, UsageError
from diarist.speakers.gallery import Person
from diarist.speakers.scoring import Scorer, evidence_of
from diarist.speakers.voices import Voice, key_of, voices_in

DOMINANT = 0.9  # share of the talk time above which a recording is one person's
LEAST_SECONDS = 2.0  # of speech
GOOD_SECONDS = 10.0
STRANGER = 0.05  # probability below which a voice is not the person's who was enrolled before
SAME = 0.9  # probability above which it is somebody else's in the gallery


@dataclass(frozen=True)
class Enrolment:
    """A voice that can be enrolled, whose label in its recording it was, and what is odd about it, in words."""

    voice: Voice
    label: str
    warnings: tuple[str, ...] = ()


def voice_to_enrol(result: Diarization, speaker: str | None = None, *, source: str | None = None) -> Enrolment:
    """The voice of `speaker` or, without one, of whoever has the recording nearly alone; `source` is kept with it.

    Raises `InputError` where nobody talks, nobody long enough, or several people do and none was named; `UsageError`
    for a speaker who is not in the recording.
    """
    shown = f"'{source or result.uri}'"
    voices = voices_in(result)
    if not voices:
        raise InputError(
            f"nobody speaks{' alone long enough' if len(result) else ''} in {shown}: give another recording"
        )
    if speaker is not None and speaker not in voices:
        raise UsageError(f"there is no speaker '{speaker}' in {shown}{nearest(speaker, voices)}")
    label = speaker or max(voices, key=lambda name: voices[name].seconds)
    warnings = []
    talk = result.talk_time()
    if speaker is None and talk[label] < DOMINANT * sum(talk.values()):
        people = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in talk.items())
        raise InputError(
            f"{len(talk)} people speak in {shown} ({people}): choose one with --speaker, or a stretch with --start and "
            f"--end; or say --alone, where it is one person after all"
        )
    if speaker is None and len(talk) > 1:
        warnings.append(f"{len(talk)} people speak in {shown}: {label}, who speaks most, is taken")
    seconds = voices[label].seconds
    if seconds < LEAST_SECONDS:
        raise InputError(
            f"only {seconds:.1f} s of speech of {label} in {shown}: {LEAST_SECONDS:.0f} s at least are needed"
        )
    if seconds < GOOD_SECONDS:
        warnings.append(f"only {seconds:.0f} s of speech of {label} in {shown}: more make names surer")
    return Enrolment(replace(voices[label], source=source or result.uri), label, tuple(warnings))


def doubts(name: str, voice: Voice, people: Sequence[Person], scorer: Scorer) -> tuple[str | None, tuple[str, ...]]:
    """Why `voice` may not be the voice of `name`, as far as a gallery can tell: an objection, and warnings.

    An objection where the person was enrolled before and sounds different; a warning for each other person who sounds
    the same.
    """
    if not people:
        return None, ()
    heard = evidence_of(scorer, [[voice]])
    ratios = scorer.log_ratios(heard, evidence_of(scorer, [person.voices for person in people]))[0]
    chances = 1 / (1 + np.exp(-np.clip(ratios, -500, 500)))  # either way as likely, before it is heard
    objection, warnings = None, []
    for person, chance in zip(people, chances.tolist(), strict=True):
        if key_of(person.name) == key_of(name):
            if chance < STRANGER:
                objection = f"'{voice.source}' does not sound like {person.name} as enrolled before (p = {chance:.3f})"
        elif chance >= SAME:
            warnings.append(f"'{voice.source}' sounds like {person.name}, who is enrolled too (p = {chance:.3f})")
    return objection, tuple(warnings)
