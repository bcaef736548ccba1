"""One conversation, from a seed: sound, reference and recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.config import fingerprint, to_dict
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Waveform
from diarist.simulate.config import Acoustics, SimulationConfig, TurnTaking
from diarist.simulate.effects import ColouredNoise, FileNoise, Telephone
from diarist.simulate.excerpts import FRAME, Excerpt
from diarist.simulate.plan import FPS, Plan, Spoken, make_plan, perform, reference
from diarist.simulate.sources import Speech
from diarist.simulate.statistics import calibrated, statistics_of
from diarist.simulate.tracks import InMemory, Track, add, blocks
from diarist.simulate.voices import Voice, cast, lengths, needs, set_acoustics

PEAK = 0.9
"""Louder recordings are turned down to this: nothing clips."""

NewTrack = Callable[[int], Track]
"""Makes a track of a number of samples."""


@dataclass(frozen=True)
class Simulated:
    """A finished conversation: its sound at 16 kHz, who spoke when, and how it was made."""

    track: Track
    reference: Diarization
    recipe: dict[str, Any]


def simulate(
    speakers: Sequence[Speech],
    config: SimulationConfig | None = None,
    seed: int | Sequence[int] = 0,
    *,
    noise: Sequence[Path] = (),
    uri: str = "simulated",
) -> tuple[Waveform, Diarization, dict[str, Any]]:
    """A conversation between some of `speakers`: its sound, its reference and its recipe. The same seed gives the same.

    `noise` are recordings of noise; without any, noise is coloured (white, pink or brown). The reference says where
    an excerpt of speech is active by itself (`excerpts.activity`), before the room, on a grid of 10 ms: reverberation
    delays no beginning and its tail is nobody's speech. Speakers have the names that they were given.

    Raises `UsageError` where there are too few speakers, `InputError` where too few of them can be heard, `ConfigError`
    where the turn-taking asked for cannot be had.
    """
    made = make(speakers, config or SimulationConfig(), seed, noise=noise, uri=uri)
    return Waveform(made.track.read(0, made.track.num_samples), SAMPLE_RATE, uri), made.reference, made.recipe


def make(
    speakers: Sequence[Speech],
    config: SimulationConfig,
    seed: int | Sequence[int],
    *,
    noise: Sequence[Path] = (),
    uri: str = "simulated",
    turns: TurnTaking | None = None,
    new_track: NewTrack = InMemory,
) -> Simulated:
    """As `simulate`, on a track that need not be in memory. `turns` are `config.turns`, calibrated before."""
    planning, casting, acoustic, noisy = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    turns = turns or calibrated(config.turns)
    plan = _plan(speakers, config, turns, planning)
    warnings: list[str] = []
    voices = cast(speakers, plan, config.reuse, casting, warnings)
    recipe = set_acoustics(voices, config.acoustics, acoustic)
    track, spoken = _speak(plan, voices, new_track)
    names = [voice.tape.speech.speaker for voice in voices]
    duration = track.num_samples // FRAME
    said = reference(spoken, names, turns.bridge, uri, duration)
    source, recipe["noise"] = _draw_noise(noise, config.acoustics, noisy)
    _add_noise(track, said, source, float(recipe["noise"]["snr"]), new_track(track.num_samples))
    recipe["phone"] = bool(noisy.random() < config.acoustics.phone)
    if recipe["phone"]:
        _telephone(track)
    recipe["gain"] = round(20 * float(np.log10(_turn_down(track))), 2)
    if isinstance(source, FileNoise):
        warnings += source.warnings
    head = {"uri": uri, "seed": seed if isinstance(seed, int) else list(seed), "fingerprint": fingerprint(config)}
    tail = {
        "statistics": statistics_of([said]).summary(),
        "said_again": sorted({names[s.speaker] for s in spoken if s.piece.again}),
        "warnings": warnings + [w for voice in voices for w in voice.tape.warnings],
        "turns": [_told(s, names) for s in sorted(spoken, key=lambda s: s.start)],
        "config": to_dict(config),
    }
    shares = {name: round(seconds, 2) for name, seconds in said.talk_time().items()}
    people = [{**v.recipe, "talk_time": shares.get(v.tape.speech.speaker, 0.0)} for v in voices]
    return Simulated(track, said, {**head, "duration": duration / FPS, "speakers": people, **recipe, **tail})


def _plan(speakers: Sequence[Speech], config: SimulationConfig, turns: TurnTaking, rng: np.random.Generator) -> Plan:
    """The turn-taking; where nothing may be said twice, no longer than what the speakers have lasts."""
    num = int(rng.integers(config.speakers[0], config.speakers[-1] + 1))
    duration = float(rng.uniform(config.duration[0], config.duration[-1]))
    plan = make_plan(num, duration, turns, rng)
    if not config.reuse and len(speakers) >= num:
        have = np.sort(lengths(speakers))[::-1][:num]
        fits = float(np.min(have / np.sort(needs(plan))[::-1]))
        if fits < 1:
            plan = make_plan(num, max(duration * fits, num * 3 * turns.stretch_least), turns, rng)
    return plan


def _speak(plan: Plan, voices: Sequence[Voice], new_track: NewTrack) -> tuple[Track, list[Spoken[Excerpt]]]:
    """The voices alone, and what was said without its sound."""
    track = new_track(plan.duration * FRAME)
    spoken: list[Spoken[Excerpt]] = []
    for s in perform(plan, lambda speaker, length: voices[speaker].tape.take(length)):
        before, sound = voices[s.speaker].say(s.piece)
        add(track, s.start * FRAME - before, sound)
        spoken.append(replace(s, piece=s.piece.silent()))
    last = max((s.end for s in spoken), default=0)
    if plan.duration - last > 10 * FPS:  # nothing was left to say
        track.num_samples = (last + FPS // 2) * FRAME
    return track, spoken


def _told(spoken: Spoken[Excerpt], names: Sequence[str]) -> dict[str, Any]:
    sources = [[name, round(second, 2)] for name, second in spoken.piece.sources]
    kind = "backchannel" if spoken.backchannel else "stretch"
    times = {"start": spoken.start / FPS, "end": spoken.end / FPS}
    return {**times, "speaker": names[spoken.speaker], "kind": kind, "sources": sources}


def _draw_noise(
    files: Sequence[Path], config: Acoustics, rng: np.random.Generator
) -> tuple[ColouredNoise | FileNoise, dict[str, Any]]:
    if rng.random() >= config.noise:
        hiss = ColouredNoise(3.0, rng)
        return hiss, {"kind": "hiss", "snr": round(float(rng.uniform(config.quiet[0], config.quiet[-1])), 2)}
    snr = round(float(rng.uniform(config.snr[0], config.snr[-1])), 2)
    if files:
        num = min(len(files), int(rng.integers(1, 4)))
        chosen = [files[i] for i in rng.choice(len(files), num, replace=False)]
        return FileNoise(chosen, rng), {"kind": "files", "snr": snr, "files": [str(path) for path in chosen]}
    slope = float(rng.choice([0.0, 3.0, 6.0]))
    return ColouredNoise(slope, rng), {"kind": "coloured", "snr": snr, "slope": slope}


def _add_noise(track: Track, said: Diarization, source: ColouredNoise | FileNoise, snr: float, noise: Track) -> None:
    """Add noise whose power is `snr` dB under the power of the voices where somebody talks; `noise` is for work."""
    talk = np.zeros(track.num_samples // FRAME + 1, np.int32)
    for turn in said.turns:
        talk[round(turn.start * FPS)] += 1
        talk[round(turn.end * FPS)] -= 1
    active = np.cumsum(talk)[:-1] > 0
    heard, total = 0.0, 0.0
    for at, block in blocks(track):
        frames = np.sum(block.reshape(-1, FRAME).astype(np.float64) ** 2, axis=1)
        heard += float(frames[active[at // FRAME : at // FRAME + len(frames)]].sum())
        added = source.read(len(block))
        noise.write(at, added)
        total += float(np.sum(added.astype(np.float64) ** 2))
    if not active.any() or total == 0:
        return
    gain = np.sqrt(heard / (active.sum() * FRAME) / (total / track.num_samples) * 10 ** (-snr / 10))
    for at, block in blocks(track):
        track.write(at, block + np.float32(gain) * noise.read(at, len(block)))


def _telephone(track: Track) -> None:
    """Send everything through a telephone, in place."""
    telephone = Telephone()
    done = 0
    for _, block in blocks(track):
        heard = telephone(block)
        track.write(done, heard)
        done += len(heard)
    track.write(done, telephone.finish()[: track.num_samples - done])


def _turn_down(track: Track) -> float:
    """Scale in place so that no sample is over `PEAK`; by how much."""
    peak = max((float(np.abs(block).max()) for _, block in blocks(track)), default=0.0)
    if peak <= PEAK:
        return 1.0
    for at, block in blocks(track):
        track.write(at, block * np.float32(PEAK / peak))
    return PEAK / peak
