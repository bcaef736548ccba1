"""Speakers from nothing: Kokoro-82M reads sentences in as many voices as wanted.

The network (hexgrad's Kokoro-82M v1.0, int8 ONNX, Apache-2.0) and its style vectors come out of packages, as all
weights do: see `diarist.models.catalog`. What it reads are the sentences of `sentences.tsv`, whose phonemes are written
beside them, so that no text has to be turned into phonemes here.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
import soxr

from diarist.core.config import nearest
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.errors import InputError, UsageError
from diarist.formats.writing import write_aside
from diarist.models.fetch import fetch
from diarist.models.onnx import session
from diarist.simulate.sources import Speech
from diarist.simulate.voice_packs import PACKS, load_pack

MODEL = ("kokoro-82m-1", "kokoro-82m-2", "kokoro-82m-3", "kokoro-82m-4")
VOCABULARY = "kokoro-vocabulary"
NATIVE_RATE = 24_000
"""Samples a second that the network makes."""

PEAK = 0.5
"""What the loudest sample of every sentence becomes."""

_ON_INTERRUPT = (signal.SIGINT, signal.SIG_DFL)  # of workers: Ctrl-C is told by the first process, once

Styles = Mapping[str, Float32]


class Kokoro:
    """The network, loaded. Fetches what is not in the cache; raises `WeightsError` where that fails."""

    def __init__(self, *, offline: bool = False) -> None:
        self._session = session(b"".join(fetch(name, offline=offline).read_bytes() for name in MODEL))
        self._ids: dict[str, int] = json.loads(fetch(VOCABULARY, offline=offline).read_bytes())["vocab"]

    def say(self, phonemes: str, style: Float32, size: float = 1.0) -> Float32:
        """Phonemes (IPA) in a style `(510, 256)`, as 16 kHz samples; what the vocabulary does not have is left out.

        `size` over 1 plays the voice faster by as much, after it spoke slower: a shorter vocal tract.
        """
        ids = [self._ids[sign] for sign in phonemes if sign in self._ids][: len(style)]
        feed = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": style[len(ids) - 1][None].astype(np.float32),
            "speed": np.array([1 / size], np.float32),
        }
        sound = np.asarray(self._session.run(None, feed)[0], np.float32).ravel()
        return np.asarray(soxr.resample(sound, NATIVE_RATE * size, SAMPLE_RATE), dtype=np.float32)


@dataclass(frozen=True)
class VoiceRecipe:
    """A speaker that does not exist: known voices by their share in it, and the `size` of `Kokoro.say`."""

    name: str
    parts: tuple[tuple[str, float], ...]
    size: float

    def style(self, styles: Styles) -> Float32:
        """Its style vectors `(510, 256)`."""
        return np.asarray(sum(share * styles[part] for part, share in self.parts), dtype=np.float32)


def design(index: int, known: Sequence[str], seed: int) -> VoiceRecipe:
    """Voice `index` of a seed: first the known voices, in a random order; then mixtures of two of one sex, resized.

    Two known voices that are mixed half and half are like either (CAM++ cosine about 0.7, where a voice is 0.9 like
    itself and 0.2 like another); a size of 0.9 or 1.1 brings that to 0.5.
    """
    name = f"kokoro_{seed}_{index:03d}"
    order = np.random.default_rng([seed, 1]).permutation(sorted(known))
    if index < len(order):
        return VoiceRecipe(name, ((str(order[index]), 1.0),), 1.0)
    rng = np.random.default_rng([seed, 2, index])
    first = str(order[rng.integers(len(order))])
    others = [str(voice) for voice in order if voice[1] == first[1] and voice != first]
    share = round(float(rng.uniform(0.35, 0.65)), 3) if others else 1.0
    parts = ((first, share), *((str(rng.choice(others)), round(1 - share, 3)) for _ in others[:1]))
    size = round(float(rng.uniform(0.06, 0.14)), 3)
    return VoiceRecipe(name, parts, 1 + size if rng.random() < 0.5 else 1 - size)


@lru_cache(maxsize=1)
def sentences() -> tuple[str, ...]:
    """The phonemes of what there is to say."""
    text = files("diarist.simulate").joinpath("sentences.tsv").read_text(encoding="utf-8")
    return tuple(line.split("\t")[0] for line in text.splitlines())


def make_voices(
    num_voices: int,
    folder: str | Path,
    *,
    seconds: float = 30.0,
    seed: int = 0,
    pack: str = "kokoro-js",
    workers: int = 1,
    done: Callable[[str], object] = lambda name: None,
) -> list[Speech]:
    """Let `num_voices` speakers say about `seconds` each, as `folder/NAME/000.flac` and so on; what is there stays.

    `done(name)` is called after each speaker. The same seed gives the same speakers, whatever their number. Raises
    `UsageError` for an unknown pack, `WeightsError` where the network or the voices cannot be had, `InputError` where
    the folder cannot be written.
    """
    if pack not in PACKS:
        raise UsageError(f"unknown voice pack '{pack}'{nearest(pack, PACKS)}")
    if num_voices < 1 or not 0 < seconds <= 600:
        raise UsageError(f"cannot make {num_voices} voices of {seconds:g} s: at least 1, of at most 600 s")
    folder = Path(folder)
    styles = load_pack(pack)
    recipes = [design(index, list(styles), seed) for index in range(num_voices)]
    missing = [recipe for recipe in recipes if not (folder / recipe.name / "done.json").is_file()]
    if missing:
        for name in (*MODEL, VOCABULARY):
            fetch(name)  # once, before the workers
    _speak_all(missing, styles, folder, seconds, workers, done)
    return [Speech(r.name, tuple(sorted((folder / r.name).glob("*.flac")))) for r in recipes]


def _speak_all(
    recipes: Sequence[VoiceRecipe],
    styles: Styles,
    folder: Path,
    seconds: float,
    workers: int,
    done: Callable[[str], object],
) -> None:
    if workers == 1 or len(recipes) < 2:
        kokoro = Kokoro() if recipes else None
        for recipe in recipes:
            assert kokoro is not None
            _speak(kokoro, recipe, recipe.style(styles), folder, seconds)
            done(recipe.name)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(recipes)), context, signal.signal, _ON_INTERRUPT) as pool:
        waiting = [pool.submit(_work, recipe, recipe.style(styles), folder, seconds) for recipe in recipes]
        for future in waiting:
            done(future.result())


@lru_cache(maxsize=1)
def _kokoro() -> Kokoro:
    return Kokoro(offline=True)


def _work(recipe: VoiceRecipe, style: Float32, folder: Path, seconds: float) -> str:
    _speak(_kokoro(), recipe, style, folder, seconds)
    return recipe.name


def _speak(kokoro: Kokoro, recipe: VoiceRecipe, style: Float32, folder: Path, seconds: float) -> None:
    """Sentences in an order of the voice's own, until there are enough seconds; the marker comes last."""
    rng = np.random.default_rng(list(recipe.name.encode()))
    own = folder / recipe.name
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder '{own}': {error.strerror}") from error
    said = 0.0
    for number, sentence in enumerate(rng.permutation(len(sentences())).tolist()):
        sound = kokoro.say(sentences()[sentence], style, recipe.size)
        sound *= np.float32(PEAK / max(float(np.abs(sound).max(initial=0.0)), 1e-9))
        with write_aside(own / f"{number:03d}.flac") as aside:
            soundfile.write(aside, sound, SAMPLE_RATE, "PCM_16", format="FLAC")
        said += len(sound) / SAMPLE_RATE
        if said >= seconds:
            break
    told = {"parts": recipe.parts, "size": recipe.size, "seconds": round(said, 2)}
    with write_aside(own / "done.json") as aside:
        aside.write_text(json.dumps(told) + "\n", encoding="utf-8")
