"""Remake the PLDA of short windows that `balanced` counts speakers with.

    diarist simulate SPEECH --without-fold 0/4 --noise-dir NOISE -o sim --seed 77 -n 130 --speakers 1-8 \
        --duration 60-180
    python tools/fit_plda.py sim src/diarist/models/plda/campplus-zh-en-windows.npz

Conversations are simulated from single speakers (another fold of the speakers is left for judging), heard by the
front end that ships, and every window that belongs to one speaker by more than 95 % of its reference speech is kept.
A class is a speaker in one conversation, so that what is learned is how one voice varies *within* a recording. The
method: "Plda.fit" in `diarist/stages/plda.py`.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from diarist import formats
from diarist.audio.decode import open_audio
from diarist.audio.files import expand
from diarist.core.events import Emitter
from diarist.core.types import Diarization, Float32
from diarist.models.load import load_embedding, load_segmentation
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Listener
from diarist.pipelines.offline import num_cores
from diarist.pipelines.threads import single_threaded_algebra
from diarist.stages.plda import Plda

PURITY = 0.95
RANK = 100
SHRINK = 0.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conversations", type=Path, help="folder of recordings with RTTMs of the same name")
    parser.add_argument("output", type=Path, help="the npz file to write")
    args = parser.parse_args()
    config = PipelineConfig()
    segmentation = load_segmentation(config.segmentation.model, precision=config.segmentation.precision)
    embedding = load_embedding(config.embedding.model, precision=config.embedding.precision)
    rows: list[Float32] = []
    classes: list[str] = []
    with ThreadPoolExecutor(num_cores()) as pool, single_threaded_algebra():
        for path in expand([args.conversations]):
            (reference,) = formats.read(path.with_suffix(".rttm"))
            with open_audio(path) as reader:
                evidence = Listener(segmentation, embedding, config, pool, Emitter())(reader.blocks())
            speakers = [owner(reference, time, config.embedding.window) for time in evidence.times]
            keep = [index for index, speaker in enumerate(speakers) if speaker is not None]
            rows.append(evidence.embeddings[keep])
            classes += [f"{path.stem}/{speakers[index]}" for index in keep]
            print(f"{path.stem}: {len(keep)} of {len(speakers)} windows", flush=True)
    embeddings = np.concatenate(rows)
    members = np.unique(classes, return_inverse=True)[1]
    plda = Plda.fit(embeddings, members, rank=RANK, shrink=SHRINK, rectify=True)
    plda.save(args.output)
    strongest = ", ".join(f"{value:.1f}" for value in plda.psi[[0, 1, 10, 30, 60]])
    print(f"{len(embeddings)} windows, {members.max() + 1} classes; psi at ranks 1, 2, 11, 31, 61: {strongest}")


def owner(reference: Diarization, middle: float, length: float) -> str | None:
    """Who speaks in the window around `middle`, where it is one person."""
    spoken = reference.crop(middle - length / 2, middle + length / 2).talk_time()
    if not spoken:
        return None
    name = max(spoken, key=lambda speaker: spoken[speaker])
    return name if spoken[name] > PURITY * sum(spoken.values()) else None


if __name__ == "__main__":
    main()
