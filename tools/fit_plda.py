"""Remake the PLDAs of short windows that speakers are counted with, from nothing but speech of single people.

    python tools/fit_plda.py permissive ../shared/data --work work -o src/diarist/models/plda/NAME.npz

Conversations are simulated from single speakers (another fold of the speakers is left for judging), heard by the
front end that ships, and every window that belongs to one speaker by more than 95 % of its reference speech is kept.
A class is a speaker in one conversation, so that what is learned is how one voice varies *within* a recording. The
method: "Plda.fit" in `diarist/stages/plda.py`. All is seeded: the same speech, package versions and processor give the
same file. What is made on the way stays in --work, and a second run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diarist import formats
from diarist.audio.decode import open_audio
from diarist.audio.files import expand
from diarist.core.events import Emitter
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Diarization, Float32, Float64
from diarist.errors import DiaristError
from diarist.formats.writing import write_aside
from diarist.models.load import load_embedding, load_segmentation
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Evidence, Listener
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import num_cores
from diarist.simulate.batch import simulate_many
from diarist.simulate.config import SimulationConfig, TurnTaking
from diarist.simulate.kokoro import make_voices
from diarist.simulate.sources import Speech, find_noise, find_speakers, in_fold
from diarist.stages.plda import Plda

PURITY = 0.95
RANK = 100
SHRINK = 0.3
SEED = 77
JUDGED = (0, 4)  # the fold of the speakers that no fit may hear
KINDS = {  # of conversations, by the prefix of their names
    "sim": SimulationConfig(speakers=(1, 8), duration=(60.0, 180.0)),
    "few": SimulationConfig(speakers=(1, 2), duration=(30.0, 300.0), turns=TurnTaking(hold=0.6)),
}


@dataclass(frozen=True)
class Recipe:
    """What is heard: folders below `speech/` and `noise/` of the data, so many conversations of each kind, and so many
    voices of a network, which say `voice_seconds` each."""

    speech: tuple[str, ...]
    noise: tuple[str, ...] = ()
    conversations: tuple[int, ...] = (130, 80)
    voices: int = 0
    voice_seconds: float = 16.0


RECIPES = {
    "all": Recipe(speech=("",), noise=("",)),
    "permissive": Recipe(
        speech=("librispeech_deepspeaker", "librispeech_resemblyzer", "vctk_malaya"), conversations=(70, 40), voices=40
    ),
}


@dataclass(frozen=True)
class Conversation:
    """What was heard of one: windows `(num_windows, dimension)` in order of their middles `times`, seconds, and whose
    they are: the speaker who says most of each (`None` for nobody), and whether nobody else says anything in it."""

    name: str
    embeddings: Float32
    times: Float64
    owners: tuple[str | None, ...]
    pure: NDArray[np.bool_]
    duration: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES, help="what to hear: all that there is, or permissive sources only")
    parser.add_argument("data", type=Path, help="folder with speech/SOURCE/SPEAKER/* and noise/*")
    parser.add_argument("--output", "-o", type=Path, required=True, help="the npz file to write")
    parser.add_argument("--work", type=Path, required=True, help="where voices and conversations are kept")
    parser.add_argument("--most", "-n", type=int, default=1000, help="at most so many conversations of a kind")
    parser.add_argument("--workers", type=int, default=1, help="processes that simulate; the same bytes with any")
    parser.add_argument("--rank", type=int, default=RANK, help=f"dimensions to keep (default: {RANK})")
    args = parser.parse_args(arguments)
    try:
        folder = simulate(RECIPES[args.recipe], args.data, args.work / args.recipe, args.most, args.workers)
        heard = listen(folder)
        plda = fit(heard, args.rank)
    except DiaristError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    with write_aside(args.output) as aside, aside.open("wb") as file:
        plda.save(file)
    print(json.dumps(told(args.recipe, heard, plda)))
    return 0


def speakers_of(recipe: Recipe, data: Path, work: Path, workers: int = 1) -> list[Speech]:
    """The speakers of a recipe, less those of the fold that is left for judging."""
    speakers = [
        Speech(f"{source}-{one.speaker}" if source else one.speaker, one.utterances)
        for source in recipe.speech
        for one in find_speakers([data / "speech" / source])
    ]
    if recipe.voices:
        speakers += make_voices(
            recipe.voices,
            work / "voices",
            seconds=recipe.voice_seconds,
            seed=SEED,
            workers=workers,
            done=lambda name: print(f"{name} has spoken", file=sys.stderr),
        )
    return [one for one in speakers if not in_fold(one.speaker, *JUDGED)]


def simulate(recipe: Recipe, data: Path, work: Path, most: int = 1000, workers: int = 1) -> Path:
    """The folder with the conversations of a recipe, at most so many of a kind; what is there already stays."""
    folder = work / "conversations"
    noise = find_noise([data / "noise" / name for name in recipe.noise])
    speakers = speakers_of(recipe, data, work, workers)
    for seed, (kind, number) in enumerate(zip(KINDS, recipe.conversations, strict=True), SEED):
        number = min(number, most)
        made = simulate_many(
            speakers, folder, number, KINDS[kind], seed=seed, noise=noise, workers=workers, prefix=kind
        )
        for index, one in enumerate(made, 1):
            print(f"{index}/{number} {one.uri} {one.recipe['duration']:.0f} s", file=sys.stderr)
    return folder


def listen(folder: Path) -> list[Conversation]:
    """All conversations of a folder, as the front end hears them; what has been heard lies beside the recording."""
    heard = []
    with ThreadPoolExecutor(num_cores()) as pool, single_threaded_algebra():
        for path in expand([folder]):
            cache = path.with_suffix(".npz")
            if not cache.is_file():
                evidence = hear(path, pool)
                with write_aside(cache) as aside, aside.open("wb") as file:
                    np.savez(file, embeddings=evidence.embeddings, times=evidence.times, duration=evidence.duration)
            with np.load(cache) as found:
                heard.append(conversation(path, found["embeddings"], found["times"], float(found["duration"])))
            print(f"{path.stem}: {heard[-1].pure.sum()} of {len(heard[-1].pure)} windows", file=sys.stderr, flush=True)
    return heard


def hear(path: Path, pool: ThreadPoolExecutor) -> Evidence:
    """A recording through the networks that ship."""
    segmentation, embedding = networks()
    with open_audio(path) as reader:
        return Listener(segmentation, embedding, PipelineConfig(), pool, Emitter())(reader.blocks())


@lru_cache(maxsize=1)
def networks() -> tuple[SegmentationModel, EmbeddingModel]:
    """Those of the default configuration."""
    config = PipelineConfig()
    return (
        load_segmentation(config.segmentation.model, precision=config.segmentation.precision),  # type: ignore[arg-type]
        load_embedding(config.embedding.model, precision=config.embedding.precision),  # type: ignore[arg-type]
    )


def conversation(path: Path, embeddings: Float32, times: Float64, duration: float) -> Conversation:
    """What was heard beside who is said to speak."""
    (reference,) = formats.read(path.with_suffix(".rttm"))
    whose = [owner(reference, time, PipelineConfig().embedding.window) for time in times.tolist()]
    owners = tuple(name for name, _ in whose)
    return Conversation(
        path.stem, embeddings, times, owners, np.array([share > PURITY for _, share in whose]), duration
    )


def owner(reference: Diarization, middle: float, length: float) -> tuple[str | None, float]:
    """Who says most in the window around `middle`, and which share of its speech."""
    spoken = reference.crop(middle - length / 2, middle + length / 2).talk_time()
    if not spoken:
        return None, 0.0
    name = max(spoken, key=lambda speaker: spoken[speaker])
    return name, spoken[name] / sum(spoken.values())


def fit(heard: Sequence[Conversation], rank: int = RANK, without: Container[str] = ()) -> Plda:
    """The PLDA of conversations, less some speakers. Raises `UsageError` where they are too few."""
    rows, classes = [], []
    for one in heard:
        keep = [i for i, name in enumerate(one.owners) if one.pure[i] and name not in without]
        rows.append(one.embeddings[keep])
        classes += [f"{one.name}/{one.owners[i]}" for i in keep]
    members = np.unique(classes, return_inverse=True)[1]
    return Plda.fit(np.concatenate(rows), members, rank=rank, shrink=SHRINK, rectify=True)


def told(recipe: str, heard: Sequence[Conversation], plda: Plda) -> dict[str, object]:
    """What the model card says of a fit."""
    names = {(one.name, name) for one in heard for name, pure in zip(one.owners, one.pure, strict=True) if pure}
    return {
        "recipe": recipe,
        "hours": round(sum(one.duration for one in heard) / 3600, 2),
        "conversations": len(heard),
        "speakers": len({name for _, name in names}),
        "classes": len(names),
        "windows": int(sum(one.pure.sum() for one in heard)),
        "seed": SEED,
        "psi": [round(float(value), 2) for value in plda.psi[:: max(1, len(plda.psi) // 10)]],
    }


if __name__ == "__main__":
    raise SystemExit(main())
