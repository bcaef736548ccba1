"""A Pix2Seq network that has learned a few conversations of toys by heart: voices are tones, heard as mels."""

from __future__ import annotations

import numpy as np
import torch

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Turn
from diarist.models.toy import conversation
from diarist.pix2seq.config import AudioSpec, ModelConfig
from diarist.pix2seq.losses import activity_loss, loss
from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import PAD, START, masks
from diarist.stages.fbank import fbank

SECONDS = 20.0
STEP = 0.2
SPEC = AudioSpec(24, STEP, STEP / 2)
CONFIG = ModelConfig(max_seconds=SECONDS, time_step=0.05, num_speakers=3, layers=2, d_model=64, heads=4, frequencies=32)


def hear(samples: np.ndarray) -> np.ndarray:
    """Mel energies, five a second: `(num_samples,)` to `(num_features, 24)`."""
    mels = fbank(np.pad(samples, (0, SAMPLE_RATE // 5)).astype(np.float32), num_mels=SPEC.channels)
    num = max(1, -(-len(samples) // int(STEP * SAMPLE_RATE)))
    return np.stack([part.mean(axis=0) for part in np.array_split(mels[: 20 * num], num)]) / 4 + 2.5


def conversations(num: int, seed: int = 0) -> list[tuple[np.ndarray, Diarization]]:
    """Sound of 20 s and who hums when: two or three voices of eight, one change in three overlaps."""
    found = []
    rng = np.random.default_rng(seed)
    for _ in range(num):
        voices = rng.choice(8, size=int(rng.integers(2, 4)), replace=False)
        turns: list[Turn] = []
        end, last = rng.uniform(0.2, 1.0), -1
        while end < SECONDS - 1.5:
            voice = int(rng.choice([v for v in voices if v != last]))
            start = end - 0.5 if turns and rng.random() < 0.3 else end + rng.uniform(0.1, 0.6)
            end = min(start + rng.uniform(1.2, 3.5), SECONDS)
            turns.append(Turn(start, end, f"voice {voice}"))
            last = voice
        hummed = [(t.start, t.end, t.speaker) for t in turns]
        everybody = [(0.0, 0.0, f"voice {v}") for v in range(8)]  # so that each has its own tone
        found.append((conversation([*hummed, *everybody], SECONDS), Diarization(tuple(turns))))
    return found


def learned(heard: list[tuple[np.ndarray, Diarization]], steps: int) -> Pix2Seq:
    """A small network after so many steps on the same batch."""
    torch.manual_seed(0)
    model = Pix2Seq(CONFIG, SPEC)
    vocabulary = model.vocabulary
    features = torch.from_numpy(np.stack([hear(samples) for samples, _ in heard]))
    said = [vocabulary.encode(reference.turns) for _, reference in heard]
    longest = max(map(len, said))
    targets = np.stack([np.pad(ids, (0, longest - len(ids)), constant_values=PAD) for ids in said])
    allowed = torch.from_numpy(masks(vocabulary, targets))
    ids = torch.from_numpy(np.concatenate([np.full((len(said), 1), START), targets[:, :-1]], axis=1))
    wanted, lengths = torch.from_numpy(targets), torch.full((len(said),), features.shape[1])
    talks = torch.from_numpy(np.stack([_talks(reference) for _, reference in heard]))
    optimizer = model.configure_optimizer(3e-3, 0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 20)
        output = model(features, lengths, ids)
        cost = loss(vocabulary, output.logits, wanted, allowed, spread=0.05)
        cost = cost + activity_loss(model, output.activity, talks, lengths)
        optimizer.zero_grad()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def _talks(reference: Diarization) -> np.ndarray:
    """Share of each feature in which each speaker, in order of appearance, talks: `(num_features, 3)`."""
    edges = np.arange(round(SECONDS / STEP) + 1) * STEP
    found = np.zeros((len(edges) - 1, CONFIG.num_speakers), np.float32)
    for turn in reference:
        shared = np.minimum(edges[1:], turn.end) - np.maximum(edges[:-1], turn.start)
        found[:, reference.labels.index(turn.speaker)] += np.clip(shared, 0, None) / STEP
    return found
