"""Batches of examples as tensors, in a fixed order. Needs torch."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diarist.core.types import Float32
from diarist.pix2seq.config import AudioSpec
from diarist.pix2seq.data import Example, Examples
from diarist.pix2seq.tokens import PAD, START, Vocabulary, masks


@dataclass(frozen=True)
class Batch:
    """`features` `(batch, num_features, channels)` of which the first `lengths` `(batch,)` count; `ids` `(batch,
    num_tokens)` that go in, `targets` that come out and which ids the grammar `allowed` there; who `talks` `(batch,
    num_features, num_speakers)`; `seconds` of sound."""

    features: Tensor
    lengths: Tensor
    ids: Tensor
    targets: Tensor
    allowed: Tensor
    talks: Tensor
    seconds: float

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)})


def collate(examples: Sequence[Example], vocabulary: Vocabulary, audio: AudioSpec) -> Batch:
    """Examples as one batch. The grammar is checked: raises `UsageError` for targets that break it."""
    sequences = [vocabulary.encode(example.turns) for example in examples]
    targets = np.full((len(examples), max(map(len, sequences))), PAD, dtype=np.int64)
    for row, sequence in zip(targets, sequences, strict=True):
        row[: len(sequence)] = sequence
    lengths = np.array([len(example.features) for example in examples])
    kind = np.int64 if audio.codes else np.float32
    features = np.zeros((len(examples), max(int(lengths.max()), 1), audio.channels), dtype=kind)
    talks = np.zeros((len(examples), features.shape[1], vocabulary.num_speakers), dtype=np.float32)
    for row, who, example in zip(features, talks, examples, strict=True):
        row[: len(example.features)] = example.features
        who[: len(example.features)] = talking(example, vocabulary, audio)
    ids = np.concatenate([np.full((len(examples), 1), START), targets[:, :-1]], axis=1)
    seconds = sum(example.seconds for example in examples)
    arrays = (features, lengths, ids, targets, masks(vocabulary, targets), talks)
    sound, long, said, wanted, allowed, who = map(torch.from_numpy, arrays)
    return Batch(sound, long, said, wanted, allowed, who, seconds)


def talking(example: Example, vocabulary: Vocabulary, audio: AudioSpec) -> Float32:
    """The share of each feature's time in which each speaker, in order of appearance, talks."""
    num = len(example.features)
    edges = audio.first + (np.arange(num + 1) - 0.5) * audio.step
    talks = np.zeros((num, vocabulary.num_speakers), dtype=np.float32)
    numbers: dict[str, int] = {}
    for turn in vocabulary.decode(vocabulary.encode(example.turns)):  # as the targets name them
        number = numbers.setdefault(turn.speaker, int(turn.speaker.rpartition("_")[2]))
        inside = np.minimum(edges[1:], turn.end) - np.maximum(edges[:-1], turn.start)
        talks[:, number] += np.maximum(inside, 0) / audio.step
    return np.minimum(talks, 1.0)


class Batches(torch.utils.data.Dataset[Batch]):
    """Batch `number` of process `rank` of `world`: examples one after another, shared out among the processes."""

    def __init__(
        self, examples: Examples, vocabulary: Vocabulary, audio: AudioSpec, size: int, rank: int = 0, world: int = 1
    ) -> None:
        self.examples, self.vocabulary, self.audio = examples, vocabulary, audio
        self.size, self.rank, self.world = size, rank, world

    def __getitem__(self, number: int) -> Batch:
        """A batch by its number."""
        first = (number * self.world + self.rank) * self.size
        return collate([self.examples[first + i] for i in range(self.size)], self.vocabulary, self.audio)

    def since(self, first: int, workers: int) -> Generator[Batch, None, None]:
        """Batches from number `first` on, without end, made by `workers` processes ahead of time (0: by the caller).

        To be closed, which ends the processes.
        """
        if workers:
            loader: Any = torch.utils.data.DataLoader(
                self,
                batch_size=None,
                sampler=_Counting(first),
                num_workers=workers,
                prefetch_factor=4,
                multiprocessing_context="spawn",
                persistent_workers=True,
            )
            made: Any = iter(loader)
            try:
                yield from made
            finally:  # not whenever the iterator is collected; a process that dies of being ended is no matter
                with contextlib.suppress(RuntimeError):
                    made._shutdown_workers()
        number = first
        while True:
            yield self[number]
            number += 1


class _Counting(torch.utils.data.Sampler[int]):
    """first, first + 1, ... without end."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        number = self._first
        while True:
            yield number
            number += 1
