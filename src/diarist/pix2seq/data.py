"""Examples without end: windows of conversations that are simulated, and of real recordings, from a seed.

Example `n` depends on the configuration, on the seed and on `n`, and on nothing else: not on the number of processes
that make examples, nor on where a training was interrupted.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diarist.audio.decode import load
from diarist.audio.files import EXTENSIONS
from diarist.core.config import fingerprint
from diarist.core.time import SAMPLE_RATE, to_samples
from diarist.core.types import Float32, Turn
from diarist.errors import InputError, UsageError
from diarist.formats import rttm
from diarist.pix2seq.augment import augment
from diarist.pix2seq.config import AudioSpec, ModelConfig, PromptConfig
from diarist.pix2seq.frontends import recast
from diarist.pix2seq.frontends.disturbance import Disturbance
from diarist.pix2seq.prompt import alone, compose, within
from diarist.pix2seq.train_config import DataConfig
from diarist.simulate.config import SimulationConfig
from diarist.simulate.conversation import simulate
from diarist.simulate.sources import Speech, find_noise, find_speakers, in_fold

VARIANTS = 4  # windows that are made of a conversation with known speakers put first
KEPT = 4096  # items that a process keeps in memory
LEAST = 0.1  # seconds: what is left of a turn that a window cuts shorter than this is none
Heard = dict[str, NDArray[Any]]


class FrontEnd(Protocol):
    """What data needs of a front end; see `frontends`."""

    name: str

    @property
    def spec(self) -> AudioSpec:
        """What it gives."""
        ...

    def hear(self, samples: Float32) -> Heard:
        """The part that can be kept."""
        ...

    def window(self, heard: Heard, start: int, num_samples: int, disturbance: Disturbance | None = None) -> Any:
        """Tokens of a window, as they are or disturbed."""
        ...

    def joined(self, before: Any, after: Any) -> Any:
        """Tokens of two stretches of sound as those of one."""
        ...


@dataclass(frozen=True)
class Part:
    """A stretch of sound that windows can be cut from: what was heard, who talks, how many samples it has; the mean
    voices of its speakers, where they may be recast, and whether known speakers are put first."""

    heard: Heard
    turns: tuple[Turn, ...]
    num_samples: int
    means: Mapping[str, Float32] | None = None
    prompted: bool = False


@dataclass(frozen=True)
class Example:
    """Tokens of a window `(num_audio, channels)`, its turns in seconds from its start, and its length in seconds."""

    features: NDArray[Any]
    turns: tuple[Turn, ...]
    seconds: float


class Examples:
    """Examples by their number; conversations are made when they are first needed, and kept in a folder.

    Raises `UsageError` or `InputError` where there is nothing to make them of.
    """

    def __init__(self, config: DataConfig, model: ModelConfig, front: FrontEnd, cache: Path, seed: int) -> None:
        self.config, self.model, self.front, self.seed = config, model, front, seed
        self.speakers = speakers_of(config)
        self.noise = find_noise(config.noise)
        self.recordings = find_recordings(config.rttm)
        if len(self.speakers) < config.speakers[-1] and not (self.recordings and config.real >= 1):
            raise UsageError(
                f"conversations of up to {config.speakers[-1]} speakers need as many, not {len(self.speakers)}: "
                "name folders of single speakers in data.speech"
            )
        self._cache = cache / self._mark()
        self._kept: OrderedDict[str, tuple[Part, ...]] = OrderedDict()

    def place(self, cache: Path) -> None:
        """Keep what is heard under another folder."""
        self._cache = cache / self._cache.name

    def __getitem__(self, number: int) -> Example:
        """Example `number`."""
        rng = np.random.default_rng([self.seed, 2, number])
        plain = bool(self.config.plain) and number >= self.config.plain
        spliced, recast_share = (0.0, 0.0) if plain else (self.config.spliced, self.config.recast)
        while True:
            real = bool(self.recordings) and rng.random() < self.config.real
            made = self.num_made(number)
            oldest = max(0, made - self.config.recent) if self.config.recent else 0
            if real:
                parts = self.recording(int(rng.integers(len(self.recordings))), int(rng.integers(VARIANTS)))
            else:
                parts = self.conversation(int(rng.integers(oldest, made)))
            example = self._cut(parts[int(rng.integers(len(parts)))], self._length(rng), rng, recast_share)
            if not real and rng.random() < spliced:
                after = self.conversation(int(rng.integers(oldest, made)))
                example = self._spliced(example, after[int(rng.integers(len(after)))], rng, recast_share)
            if len({turn.speaker for turn in example.turns}) <= self.model.num_speakers:
                return example

    def num_made(self, number: int) -> int:
        """How many conversations example `number` is drawn from, if all are kept."""
        made = self.config.first + number // self.config.reuse
        return min(made, self.config.most) if self.config.most else made

    def prepare(self, index: int) -> None:
        """Make conversation `index` and keep it in the folder, not in memory."""
        self.conversation(index)
        self._kept.clear()

    def conversation(self, index: int) -> tuple[Part, ...]:
        """What conversation `index` gives: all of it, or several windows with known speakers put first."""
        return self._once(f"conversation-{index:06d}", lambda: self._simulated(index))

    def recording(self, index: int, variant: int) -> tuple[Part, ...]:
        """A real recording, augmented in one of a few ways."""
        return self._once(f"recording-{index:06d}-{variant}", lambda: self._read(index, variant))

    def _simulated(self, index: int) -> tuple[Part, ...]:
        rng = np.random.default_rng([self.seed, 1, index])
        prompted = bool(rng.random() < self.config.prompted)
        kind = drawn(self.config, rng)
        sound, said, _ = simulate(self.speakers, kind, [self.seed, index], noise=self.noise)
        samples, turns = augment(sound.samples, said.turns, self.config.augment, rng, self.noise)
        if not prompted:
            return (Part(self.front.hear(samples), turns, len(samples)),)
        length = round(self.model.max_seconds * SAMPLE_RATE)
        made = [with_known(samples, turns, length, PromptConfig(), rng) for _ in range(VARIANTS)]
        return tuple(Part(self.front.hear(part), said, len(part)) for part, said in made)

    def _read(self, index: int, variant: int) -> tuple[Part, ...]:
        rng = np.random.default_rng([self.seed, 3, index, variant])
        audio, turns = self.recordings[index]
        samples = load(audio).samples
        if variant:
            samples, turns = augment(samples, turns, _always(self.config), rng, self.noise)
        return (Part(self.front.hear(samples), tuple(turns), len(samples)),)

    def _once(self, name: str, make: Any) -> tuple[Part, ...]:
        """From memory, or from the folder, or made and kept in both."""
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        path = self._cache / f"{name}.npz"
        parts: tuple[Part, ...] | None = read_parts(path)
        if parts is None:
            parts = make()
            write_parts(path, parts)
        self._kept[name] = parts = self._with_means(parts)
        most = min(KEPT, 2 * self.config.recent or KEPT)
        while len(self._kept) > most:
            old, _ = self._kept.popitem(last=False)
            if self.config.recent:
                (self._cache / f"{old}.npz").unlink(missing_ok=True)
        return parts

    def _with_means(self, parts: Sequence[Part]) -> tuple[Part, ...]:
        """With what they need to be recast, where they may be."""
        if not self.config.recast or self.front.name != "frames":
            return tuple(parts)
        return tuple(replace(p, means=recast.means(p.heard, p.turns), prompted=len(parts) > 1) for p in parts)

    def _length(self, rng: np.random.Generator) -> int:
        """Samples of a window."""
        longest = self.model.max_seconds
        if rng.random() >= self.config.shorter:
            return round(longest * SAMPLE_RATE)
        return round(float(rng.uniform(min(self.config.min_seconds, longest), longest)) * SAMPLE_RATE)

    def _cut(self, part: Part, length: int, rng: np.random.Generator, recast_share: float) -> Example:
        """A window of a part, at random, played faster or slower."""
        low, high = self.config.tempo[0], self.config.tempo[-1]
        speed = math.exp(rng.uniform(math.log(low), math.log(high))) if rng.random() < 0.8 else 1.0
        length = min(length, int(part.num_samples / speed))
        start = int(rng.integers(part.num_samples - int(length * speed) + 1))
        seconds = length / SAMPLE_RATE
        if part.means is not None and rng.random() < recast_share:
            heard, given = recast.recast(part.heard, part.turns, part.means, rng, by_speaker=part.prompted)
            part = replace(part, heard=dict(heard), turns=given)
        turns = cropped(part.turns, start / SAMPLE_RATE, min(seconds, self.model.max_seconds) * speed)
        moved = tuple(replace(turn, start=turn.start / speed, end=turn.end / speed) for turn in turns)
        heard = self.front.window(part.heard, start, length, Disturbance(rng, self.config.voice_noise, speed))
        return Example(heard, moved, seconds)

    def _spliced(self, before: Example, part: Part, rng: np.random.Generator, recast_share: float) -> Example:
        """The beginning of an example, and then another conversation."""
        num = len(before.features)
        first = int(rng.integers(num // 4, num - num // 4)) if num >= 4 else num
        at = first * before.seconds / num
        left = round((before.seconds - at) * SAMPLE_RATE)
        after = self._cut(part, left, rng, recast_share)
        turns = [replace(t, start=t.start + at, end=t.end + at) for t in after.turns]
        sound = self.front.joined(before.features[:first], after.features[: num - first])
        return Example(sound, tuple(sorted([*cropped(before.turns, 0.0, at), *turns])), at + after.seconds)

    def _mark(self) -> str:
        """A name for all that changes what is kept."""
        drawn = {"reuse": 1, "first": 1, "most": 0, "recent": 0, "cache": "", "real": 0.0}
        cut = {
            "shorter": 0.0,
            "min_seconds": 1.0,
            "tempo": (1.0,),
            "spliced": 0.0,
            "voice_noise": 0.0,
            "recast": 0.0,
            "plain": 0,
        }
        kept: Any = replace(self.config, **drawn, **cut)  # type: ignore[arg-type]
        heard = {"front": self.front.name, "around": self.model.around}
        where = {"seed": self.seed, "seconds": self.model.max_seconds, **heard}
        return f"{self.front.name}-{fingerprint(kept, where)}"


def drawn(config: DataConfig, rng: np.random.Generator) -> SimulationConfig:
    """The kind of one conversation: as difficult as the ranges say."""
    base = config.simulation
    low, high = max(config.silence[0], 0.01), max(config.silence[-1], 0.01)
    stretch = float(rng.uniform(config.stretch[0], config.stretch[-1]))
    turns = replace(
        base.turns,
        overlap_changes=config.interruptions,
        gap_median=math.exp(rng.uniform(math.log(low), math.log(high))),
        stretch_median=max(stretch, base.turns.stretch_least),
        hold=float(rng.uniform(config.hold[0], config.hold[-1])),
        backchannels=float(rng.uniform(config.backchannels[0], config.backchannels[-1])),
    )
    acoustics = replace(
        base.acoustics,
        noise=config.noisy,
        level_spread=float(rng.uniform(config.loudness[0], config.loudness[-1])),
    )
    speakers = (1,) if rng.random() < config.alone else config.speakers
    return replace(base, speakers=speakers, duration=config.conversation, turns=turns, acoustics=acoustics)


def cropped(turns: Iterable[Turn], start: float, seconds: float) -> tuple[Turn, ...]:
    """Turns within a window, in seconds from its start; what is left of a turn must not be too short to be heard."""
    kept = []
    for turn in turns:
        left, right = max(turn.start - start, 0.0), min(turn.end - start, seconds)
        if right - left >= min(LEAST, turn.duration) and right > left:
            kept.append(replace(turn, start=left, end=right))
    return tuple(sorted(kept))


def with_known(
    samples: Float32, turns: Sequence[Turn], length: int, config: PromptConfig, rng: np.random.Generator
) -> tuple[Float32, tuple[Turn, ...]]:
    """A window of `length` samples that begins with some seconds of each speaker known so far, alone, and silence.

    What follows begins at a random time of the recording, `samples` with `turns`, after the first of those seconds.
    """
    total = len(samples) / SAMPLE_RATE
    at = float(rng.uniform(0.15, 0.7)) * total
    heard = list(within(sorted(turns), 0.0, at))
    stretches: dict[str, list[Turn]] = {turn.speaker: [] for turn in heard}
    for turn in alone(heard):
        stretches[turn.speaker].append(turn)
    known = [name for name, lone in stretches.items() if sum(turn.duration for turn in lone) >= config.least]
    each = min(config.seconds, config.share * length / SAMPLE_RATE / max(len(known), 1) - config.silence)
    voices: dict[str, Float32] = {}
    for name in known:
        seconds = each if rng.random() < 0.7 else float(rng.uniform(config.least, each))
        voices[name] = _clip(samples, stretches[name], seconds)
    first = round(at * SAMPLE_RATE)
    left = length - sum(len(voice) + to_samples(config.silence) for voice in voices.values())
    window = compose(voices, samples[first : first + left], config.silence)
    after = cropped(turns, at, left / SAMPLE_RATE)
    moved = [replace(t, start=t.start + window.offset, end=t.end + window.offset) for t in after]
    return window.samples, tuple(sorted([*window.turns, *moved]))


def find_recordings(folders: Iterable[str | Path]) -> list[tuple[Path, tuple[Turn, ...]]]:
    """Recordings under folders that have an RTTM of the same name beside them, and their turns, in order of path.

    Raises `InputError` where a folder is missing or has none.
    """
    found: list[tuple[Path, tuple[Turn, ...]]] = []
    for folder in map(Path, folders):
        before = len(found)
        for path in sorted(folder.rglob("*.rttm")):
            audio = next((a for s in sorted(EXTENSIONS) if (a := path.with_suffix(s)).is_file()), None)
            if audio is not None:
                said = rttm.loads(path.read_text(encoding="utf-8"), name=str(path))
                found.append((audio, tuple(turn for one in said for turn in one.turns)))
        if len(found) == before:
            raise InputError(f"'{folder}' holds no recording with an RTTM of the same name")
    return found


def write_parts(path: Path, parts: Sequence[Part]) -> None:
    """Keep what was heard, aside and then renamed."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, part in enumerate(parts):
        arrays |= {f"{number}/{key}": value for key, value in part.heard.items()}
        times = np.array([(t.start, t.end) for t in part.turns], dtype=np.float64).reshape(-1, 2)
        names = np.array([t.speaker for t in part.turns], dtype=np.str_)
        arrays |= {f"{number}:times": times, f"{number}:names": names, f"{number}:size": np.array(part.num_samples)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{id(buffer):x}")
        aside.write_bytes(buffer.getvalue())
        aside.replace(path)
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror}") from error


def read_parts(path: Path) -> tuple[Part, ...] | None:
    """What `write_parts` kept; None where it is not there or cannot be read."""
    try:
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError):
        return None
    parts = []
    for number in range(sum(key.endswith(":size") for key in arrays)):
        heard = {key.partition("/")[2]: value for key, value in arrays.items() if key.startswith(f"{number}/")}
        times, names = arrays[f"{number}:times"].tolist(), arrays[f"{number}:names"].tolist()
        turns = tuple(Turn(start, end, name) for (start, end), name in zip(times, names, strict=True))
        parts.append(Part(heard, turns, int(arrays[f"{number}:size"])))
    return tuple(parts)


def _clip(samples: Float32, stretches: Sequence[Turn], seconds: float) -> Float32:
    """So many seconds of a speaker alone, the longest stretches first."""
    pieces, left = [], round(seconds * SAMPLE_RATE)
    for turn in sorted(stretches, key=lambda turn: -turn.duration):
        first = to_samples(turn.start)
        pieces.append(samples[first : first + min(to_samples(turn.duration), left)])
        left -= len(pieces[-1])
        if left <= 0:
            break
    return np.concatenate(pieces)


def speakers_of(config: DataConfig) -> list[Speech]:
    """The speakers to draw from, by folder and fold."""
    found = find_speakers(config.speech)
    for fold, wanted in ((config.fold, True), (config.without_fold, False)):
        if fold:
            number, total = map(int, fold.split("/"))
            found = [speech for speech in found if in_fold(speech.speaker, number, total) is wanted]
    return found


def _always(config: DataConfig) -> Any:
    """For real recordings, which no simulator has put anywhere: the same chances for rooms, noise and telephones."""
    acoustics = config.simulation.acoustics
    return replace(config.augment, room=acoustics.reverb / 2, noise=config.noisy / 2, phone=acoustics.phone / 2)
