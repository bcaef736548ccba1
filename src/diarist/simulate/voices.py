"""Who takes part in a conversation, and what the room and the microphone do to each voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import signal

from diarist.core.types import Float32, Float64
from diarist.errors import AudioError, InputError, UsageError
from diarist.simulate.config import Acoustics
from diarist.simulate.effects import DELAY, equaliser, long_term_spectrum
from diarist.simulate.excerpts import Excerpt, Tape
from diarist.simulate.plan import FPS, Plan, planned
from diarist.simulate.reading import duration_of
from diarist.simulate.room import draw_position, draw_room, impulse_response
from diarist.simulate.sources import Speech

PREVIEW = 3000
"""Frames of each voice that its spectrum and its power are measured on."""


@dataclass
class Voice:
    """A speaker of one conversation: a tape, and the filter (that delays by `delay` samples) and gain put on it."""

    tape: Tape
    sample: Float32
    gain: float = 1.0
    delay: int = 0
    filter: Float32 | None = None
    recipe: dict[str, Any] = field(default_factory=dict)

    def say(self, excerpt: Excerpt) -> tuple[int, Float32]:
        """The sound of an excerpt, and how many samples before its first frame it begins."""
        sound = np.concatenate((excerpt.before, excerpt.samples, excerpt.after)) * np.float32(self.gain)
        if self.filter is not None:
            sound = np.asarray(signal.oaconvolve(sound, self.filter), dtype=np.float32)
        return len(excerpt.before) + self.delay, sound

    def apply(self, taps: Float32) -> None:
        """Put one more filter on the voice."""
        self.filter = taps if self.filter is None else signal.oaconvolve(self.filter, taps).astype(np.float32)


def cast(
    speakers: Sequence[Speech], plan: Plan, reuse: bool, rng: np.random.Generator, warnings: list[str]
) -> list[Voice]:
    """A voice for each speaker of a plan, at random among those with enough to say (where there are any).

    Speakers whose files hold no speech are left out, and named in `warnings`. Raises `UsageError` where too few
    speakers were given, `InputError` where too few of them can be heard.
    """
    pool = list(speakers)
    if len(pool) < plan.num_speakers:
        raise UsageError(
            f"a conversation of {plan.num_speakers} speakers was asked for, but there are only {len(pool)}"
        )
    while len(pool) >= plan.num_speakers:
        chosen = _choose(pool, plan, rng)
        voices = [_voice(pool[i], seed, reuse) for i, seed in zip(chosen, _seeds(rng, len(chosen)), strict=True)]
        mute = [i for i, voice in zip(chosen, voices, strict=True) if not len(voice.sample)]
        warnings += [w for voice in voices if not len(voice.sample) for w in voice.tape.warnings]
        if not mute:
            return voices
        pool = [speech for i, speech in enumerate(pool) if i not in mute]
    raise InputError(
        f"a conversation of {plan.num_speakers} speakers was asked for, but of {len(speakers)} only {len(pool)} can be "
        f"heard ({warnings[0]})"
    )


def _seeds(rng: np.random.Generator, num: int) -> list[np.random.SeedSequence]:
    return [np.random.SeedSequence(int(rng.integers(1 << 62))) for _ in range(num)]


def needs(plan: Plan) -> Float64:
    """Seconds of recording that each speaker of a plan needs, pauses included. Shape `(num_speakers,)`."""
    spoken = planned(plan)
    seconds = np.bincount([s.speaker for s in spoken], [s.end - s.start for s in spoken], plan.num_speakers) / FPS
    return np.asarray(1.6 * seconds + 1.0)


def lengths(speakers: Sequence[Speech]) -> Float64:
    """Seconds of recording, pauses included, that each speaker has; files that cannot be read count as none."""
    return np.array([sum(map(_length, speech.utterances)) for speech in speakers])


def _length(utterance: Any) -> float:
    try:
        return duration_of(utterance)
    except AudioError:
        return 0.0


def _choose(pool: Sequence[Speech], plan: Plan, rng: np.random.Generator) -> list[int]:
    """Indices into the pool, the one with most to say for the role that needs most; the least short of 200 draws."""
    have, need = lengths(pool), needs(plan)
    roles = np.argsort(-need, kind="stable")
    best: list[int] = []
    least = np.inf
    for _ in range(200):
        drawn = rng.choice(len(pool), plan.num_speakers, replace=False)
        drawn = drawn[np.argsort(-have[drawn], kind="stable")]
        short = float(np.maximum(need[roles] - have[drawn], 0).sum())
        if short < least:
            best, least = drawn[np.argsort(roles, kind="stable")].tolist(), short
        if short == 0:
            break
    return best


def _voice(speech: Speech, seed: np.random.SeedSequence, reuse: bool) -> Voice:
    tape = Tape(speech, seed, reuse=reuse)
    return Voice(tape, tape.preview(PREVIEW), recipe={"speaker": speech.speaker})


def set_acoustics(voices: Sequence[Voice], config: Acoustics, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the levels, the spectra and the room of a conversation and put them on the voices; a recipe of them.

    Filters keep the power of a voice: its level is what was drawn, in any room.
    """
    chances = rng.random(2)
    equalised, reverberant = bool(chances[0] < config.equalise) and len(voices) > 1, bool(chances[1] < config.reverb)
    for voice, level in zip(voices, rng.normal(0, config.level_spread, len(voices)).tolist(), strict=True):
        voice.recipe["level"] = round(level, 2)
    if equalised:
        _equalise(voices)
    room = _reverberate(voices, config, rng) if reverberant else None
    for voice in voices:
        voice.gain = 10 ** (voice.recipe["level"] / 20) / _gain_of(voice)
    return {"equalised": equalised, "room": room}


def _equalise(voices: Sequence[Voice]) -> None:
    """Give all voices the geometric mean of their long-term spectra."""
    spectra = [long_term_spectrum(voice.sample) for voice in voices]
    target = np.exp(np.mean(np.log(np.maximum(spectra, 1e-14)), axis=0))
    for voice, spectrum in zip(voices, spectra, strict=True):
        voice.apply(equaliser(spectrum, target))
        voice.delay = DELAY


def _reverberate(voices: Sequence[Voice], config: Acoustics, rng: np.random.Generator) -> dict[str, Any]:
    room = draw_room(float(rng.uniform(config.rt60[0], config.rt60[-1])), rng)
    for voice in voices:
        position = draw_position(room, rng)
        voice.apply(impulse_response(room, position))
        voice.recipe["position"] = _rounded(position)
    return {"size": _rounded(room.size), "rt60": round(room.rt60, 3), "microphone": _rounded(room.microphone)}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]


def _gain_of(voice: Voice) -> float:
    """By how much the filter of a voice changes its RMS."""
    if voice.filter is None:
        return 1.0
    before = np.sum(voice.sample.astype(np.float64) ** 2)
    after = np.sum(signal.oaconvolve(voice.sample, voice.filter).astype(np.float64) ** 2)
    return float(np.sqrt(after / before))
