"""Listen once, decide many times: what the networks say of a recording is kept, and the rest is done again each trial.

Kept are the local speakers of every chunk, the means over chunks that the counting starts from, and the embedding
network's maps, all of them exactly as `frontend.Listener` made them. Counting, cutting windows and pooling voices are
cheap and are not approximated: what comes out for a configuration is, bit by bit, what a run with it would hear.

An hour takes about 360 MB on disk with CAM++ (512 float32 values every 20 ms), read through a memory map.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from diarist import __version__
from diarist.audio.decode import open_audio
from diarist.core.config import fingerprint, replace_from, to_dict
from diarist.core.digest import sha256
from diarist.core.events import Emitter, Hook
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Float32
from diarist.errors import InputError
from diarist.formats.writing import safe_name, write_aside
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Evidence, Listener
from diarist.pipelines.sections import SECTION, Section
from diarist.pipelines.short_voices import network_of
from diarist.pipelines.threads import single_threaded_algebra
from diarist.stages.activity import MovingMean

HEARD = ("segmentation", "embedding.model", "embedding.precision")
"""Parts of a configuration that change what the networks say: another value needs another listening."""

_VERSION = 1  # of what is kept on disk
_EVERYTHING = {"turns.count": "probability", "turns.onset": 0.0, "turns.offset": 0.0}  # no block is too quiet to hear


def heard_key(config: PipelineConfig) -> str:
    """Changes with any value that needs another listening."""
    part = {"segmentation": to_dict(config.segmentation), "model": config.embedding.model}
    return fingerprint({**part, "precision": config.embedding.precision, "version": [__version__, _VERSION]})


def evidence_key(config: PipelineConfig) -> str:
    """Changes with any value that changes the `Evidence`."""
    turns = config.turns
    counting = [turns.count, turns.onset, turns.offset, turns.overlap_onset]
    return fingerprint(config.segmentation, config.embedding, {"counting": counting, "second": network_of(config)})


def file_digest(path: Path) -> str:
    """Sixteen hexadecimal digits of a file's content. Raises `InputError` where it cannot be read."""
    try:
        return sha256(path)[:16]
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from error


@dataclass(frozen=True)
class Heard:
    """What the networks said of one recording.

    `local` `(num_chunks, num_chunk_frames)` as in `Evidence`; `means` `(num_frames, 3)`: probability of speech, of
    overlap, number of local speakers; `maps` `(num_maps, channels)`, zero where nobody could be talking.
    """

    num_samples: int
    local: NDArray[np.uint8]
    means: Float32
    maps: Float32


def hear(
    audio: Path,
    digest: str,
    cache: Path,
    config: PipelineConfig,
    models: tuple[SegmentationModel, EmbeddingModel],
    pool: ThreadPoolExecutor,
    uri: str,
    hooks: Iterable[Hook] = (),
) -> Heard:
    """What the networks say of a file, from the folder `cache` where it is there, else computed and put there.

    Each file of the folder is written aside and renamed, the small one last: several workers may do it at once.
    """
    stem = f"{safe_name(uri)[:60]}-{fingerprint({'audio': digest, 'heard': heard_key(config)})}"
    small, large = cache / f"{stem}.npz", cache / f"{stem}.maps"
    if not (small.exists() and large.exists()):
        emitter = Emitter(tuple(hooks), uri)
        with open_audio(audio, uri=uri) as reader, write_aside(large) as aside, aside.open("wb") as file:
            recorder = _Recorder(*models, config, pool, emitter, file)
            with single_threaded_algebra(), emitter.stage("listening"):
                told = recorder.record(reader.blocks(), reader.duration)
        with write_aside(small) as aside, aside.open("wb") as file:
            np.savez(file, **told)
    return _load(small, large)


def _load(small: Path, large: Path) -> Heard:
    try:
        with np.load(small) as kept:
            shape = tuple(int(n) for n in kept["shape"])
            maps = np.memmap(large, np.float32, "r", shape=shape) if all(shape) else np.zeros(shape, np.float32)
            return Heard(int(kept["num_samples"]), kept["local"], kept["means"], maps)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"'{small}' or its .maps is damaged: delete both ({error})") from error


def evidence(
    heard: Heard, config: PipelineConfig, models: tuple[SegmentationModel, EmbeddingModel], pool: ThreadPoolExecutor
) -> Evidence:
    """The evidence that a run with `config` would have; what was heard must be of the same `heard_key`."""
    return _Replay(*models, config, pool, Emitter(), heard=heard)(())


class _KeptMeans(MovingMean):
    """Remembers all that it hands out."""

    def __init__(self, num_values: int) -> None:
        super().__init__(num_values)
        self.taken = [np.zeros((0, num_values), dtype=np.float32)]

    def take(self, until: int) -> Float32:
        self.taken.append(super().take(until))
        return self.taken[-1]


class _Recorder(Listener):
    """Listens, writes the maps to a file as they come, and pools nothing."""

    def __init__(
        self,
        segmentation: SegmentationModel,
        embedding: EmbeddingModel,
        config: PipelineConfig,
        pool: ThreadPoolExecutor,
        emitter: Emitter,
        file: BinaryIO,
    ) -> None:
        super().__init__(segmentation, embedding, replace_from(config, _EVERYTHING), pool, emitter)
        self.mean: _KeptMeans = _KeptMeans(3)
        self._file = file
        self._shape = (0, 0)

    def record(self, blocks: Iterable[Float32], expected: float | None) -> dict[str, Any]:
        """Arrays for `Heard`, and the `shape` of the maps in the file."""
        evidence = self(blocks, expected)
        self._file.truncate(self._shape[0] * self._shape[1] * 4)
        return {
            "num_samples": evidence.num_samples,
            "local": evidence.local,
            "means": np.concatenate(self.mean.taken),
            "shape": self._shape,
        }

    def embed(self, section: Section) -> Float32:
        """Maps of the section, written down."""
        maps = super().embed(section)
        first = section.start // self.maps.step
        heard = bool(maps.any())  # where nothing was, the maps have no width yet
        channels = maps.shape[1] if heard else self._shape[1]
        if heard:
            self._file.seek(first * channels * 4)
            self._file.write(np.ascontiguousarray(maps, dtype=np.float32).data)
        self._shape = (first + len(maps), channels)
        return maps

    def pool_section_windows(self, section: Section, maps: Float32) -> None:
        """Not now: thresholds decide where windows lie."""

    def pool_section_local(self, section: Section) -> None:
        """Not now."""


class _Replay(Listener):
    """A listener that has heard it all before: only counting, windows and pooling are left to do."""

    def __init__(self, *arguments: Any, heard: Heard) -> None:
        super().__init__(*arguments)
        self._heard = heard
        self.mean = _Recalled(heard.means)
        self.local = [row[None] for row in heard.local]

    def listen(self, blocks: Iterable[Float32], expected: float | None) -> int:
        """Go through all sections, whatever the blocks; the number of samples."""
        total, size = self._heard.num_samples, SECTION * self.rate
        for start in range(0, total, size):
            end = min(start + size, total)
            positions: Any = np.arange(start, min(end + self.chunks.size, total))  # in place of sound: see trunk
            section = Section(start, end, positions, total)
            self.place_last(section)
            self.hear(section, [], expected)
        return total

    def trunk(self, samples: Float32, num_fbank: int) -> Float32:
        """Maps of a block that was heard before; `samples` hold their own positions."""
        first = int(samples[0]) // self.maps.step
        return self._heard.maps[first : first + num_fbank // self.embedding.spec.map_stride]


class _Recalled(MovingMean):
    """Means that are known already."""

    def __init__(self, means: Float32) -> None:
        super().__init__(means.shape[1])
        self._means = means

    @property
    def last(self) -> int:
        return len(self._means)

    def take(self, until: int) -> Float32:
        first, self.first = self.first, max(self.first, until)
        return self._means[first : self.first]
