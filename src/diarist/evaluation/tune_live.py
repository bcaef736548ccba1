"""A live pipeline as something to tune: its networks run once over each recording, and are remembered.

What a network says depends on what it is given, and on nothing that is tuned; so its answers are kept by a digest of
what it was given. A trial is the stream itself, fed step by step, on networks that look their answers up.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist import __version__
from diarist.audio.decode import cut, load
from diarist.core.config import fingerprint, to_dict
from diarist.core.events import Event, Hook
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.types import Diarization, Float32
from diarist.errors import InputError
from diarist.evaluation.live import listen
from diarist.evaluation.systems import AS_IS
from diarist.evaluation.tune_judge import Judge
from diarist.evaluation.tune_plan import Plan
from diarist.evaluation.tune_space import LIVE_HEARD
from diarist.formats.writing import safe_name, write_aside
from diarist.pipelines import live_networks
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_networks import Networks
from diarist.pipelines.streaming import LiveDiarizer

STEPS = 20  # pushed at once: the answer is the same


class Memory:
    """Arrays by digest; what was said is written to a file, and mapped from it."""

    def __init__(self) -> None:
        self._known: dict[bytes, Float32] = {}
        self._said: dict[bytes, Float32] = {}
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Float32 | None:
        """What is known under a key."""
        return self._known.get(key, self._said.get(key))

    def put(self, key: bytes, value: Float32) -> None:
        """Remember."""
        with self._lock:
            self._said[key] = value

    def forget(self) -> None:
        """Know nothing."""
        self._known, self._said = {}, {}

    def read(self, path: Path) -> None:
        """Know what another memory has written, and nothing else. Raises `InputError` for a damaged file."""
        try:
            held = np.load(path, mmap_mode="r")
            facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            self._known = {
                bytes.fromhex(key): held[first : first + int(np.prod(shape))].reshape(shape)
                for key, first, shape in facts
            }
            self._said = {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"'{path}' or its .json is damaged: delete both ({error})") from error

    def write(self, path: Path) -> None:
        """All that was said, aside and then in place, the small file last."""
        facts: list[list[Any]] = []
        first = 0
        for key, value in self._said.items():
            facts.append([key.hex(), first, list(value.shape)])
            first += value.size
        whole = np.concatenate([np.zeros(0, np.float32), *(value.ravel() for value in self._said.values())])
        with write_aside(path) as aside, aside.open("wb") as file:
            np.save(file, whole)
        with write_aside(path.with_suffix(".json")) as aside:
            aside.write_text(json.dumps(facts), encoding="utf-8")


class RememberingSegmentation:
    """A segmentation network that is asked only what it has not been asked before."""

    def __init__(self, model: SegmentationModel, memory: Memory) -> None:
        self._model, self._memory = model, memory
        self.spec = model.spec

    def __call__(self, batch: Float32) -> Float32:
        """As the network, row by row."""
        rows = [_recalled(self._memory, row, lambda one: self._model(one[None])[0]) for row in batch]
        return np.stack(rows) if rows else self._model(batch)

    def resized(self, chunk: int) -> RememberingSegmentation:
        """For chunks of another number of samples; raises `AttributeError` where the network cannot."""
        return RememberingSegmentation(self._model.resized(chunk), self._memory)  # type: ignore[attr-defined]


class RememberingEmbedding:
    """An embedding network whose costly part is asked only what it has not been asked before."""

    def __init__(self, model: EmbeddingModel, memory: Memory) -> None:
        self._model, self._memory = model, memory
        self.spec = model.spec

    def frames(self, fbank: Float32) -> Float32:
        """As the network, row by row."""
        rows = [_recalled(self._memory, row, lambda one: self._model.frames(one[None])[0]) for row in fbank]
        return np.stack(rows) if rows else self._model.frames(fbank)

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """As the network."""
        return self._model.pool(maps, weights)


def _recalled(memory: Memory, given: NDArray[Any], ask: Any) -> Float32:
    key = hashlib.blake2b(np.ascontiguousarray(given).data, digest_size=12, salt=given.ndim.to_bytes(1, "big")).digest()
    known = memory.get(key)
    if known is None:
        known = np.asarray(ask(given), np.float32)
        memory.put(key, known)
    return known


def live_key(config: LiveConfig) -> str:
    """Changes with any value that changes what the networks are asked, or say."""
    asked = {name: value for name, value in to_dict(config).items() if name in LIVE_HEARD}
    return fingerprint(asked, {"version": __version__})


class LiveJudge(Judge):
    """Of a live pipeline: what is judged is what it settled on the way, at its own step and latency."""

    def __init__(self, wanted: Plan) -> None:
        super().__init__(wanted)
        self._memory = Memory()
        self._networks: dict[str, Networks] = {}
        self._sound: dict[int, Float32] = {}
        self._latest = ""

    def listen(self, hooks: Sequence[Hook] = ()) -> None:
        """Hear what was not heard yet with the configuration at the start."""
        total = len(self.plan.items)
        for index in range(total):
            self._remember(self.plan.base, index)
            for hook in hooks:
                hook(Event("listening", "progress", done=index + 1, total=total))

    def answer(self, config: LiveConfig, index: int) -> Diarization:
        """What a configuration settles of a recording."""
        self._remember(config, index)
        return self._run(config, index)

    def _run(self, config: LiveConfig, index: int) -> Diarization:
        diarizer = LiveDiarizer(config=config, runtime=self.runtime, networks=self._of(config))
        if index not in self._sound:
            self._sound = {index: load(self.plan.items[index].audio).samples}
        stream = diarizer.start(self.plan.items[index].uri)
        blocks = cut(iter([self._sound[index]]), STEPS * config.step_samples)
        return listen(stream, blocks, STEPS).found[AS_IS]

    def _remember(self, config: Any, index: int) -> None:
        """Have in memory what the networks say of a recording, from the folder of what was heard or by listening."""
        item = self.plan.items[index]
        mark = fingerprint({"audio": self.digest(index), "heard": live_key(config)})
        path = self.cache() / f"{safe_name(item.uri)[:60]}-{mark}.npy"
        if self._latest == path.name:
            return
        if not path.with_suffix(".json").exists():
            self._memory.forget()
            self._run(config, index)
            self._memory.write(path)
        self._memory.read(path)
        self._latest = path.name

    def _of(self, config: LiveConfig) -> Networks:
        key = live_key(config)
        if key not in self._networks:
            segmentation, embedding = self.plan.models or (None, None)
            loaded = live_networks.load(config, "diarization", self.runtime, segmentation, embedding)
            assert loaded.embedding is not None
            self._networks[key] = replace(
                loaded,
                segmentation=RememberingSegmentation(loaded.segmentation, self._memory),
                embedding=RememberingEmbedding(loaded.embedding, self._memory),
            )
        return self._networks[key]
