"""An end-to-end model as something to tune: it listens once, and its turns are made anew for each trial."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist import __version__
from diarist.audio.decode import open_audio
from diarist.core.config import fingerprint, to_dict
from diarist.core.events import Emitter, Hook
from diarist.core.time import Axis
from diarist.core.types import Diarization, SpeakerBounds
from diarist.errors import InputError
from diarist.evaluation.tune_judge import Judge
from diarist.evaluation.tune_plan import Plan
from diarist.formats.writing import safe_name, write_aside
from diarist.pipelines.endtoend import EndToEndDiarizer, answer
from diarist.pipelines.endtoend_listen import Heard, Memory
from diarist.pipelines.endtoend_presets import EndToEndConfig

_ARRAYS = ("scores", "before", "voices", "seconds")


def heard_key(config: EndToEndConfig) -> str:
    """Changes with any value that needs another listening."""
    voices = config.embedding
    return fingerprint({"network": to_dict(config.network), "voices": [voices.model, voices.precision, __version__]})


class EndToEndJudge(Judge):
    """Of an end-to-end engine: joining memories and decoding are done for each trial."""

    def __init__(self, wanted: Plan) -> None:
        super().__init__(wanted)
        self._diarizers: dict[str, EndToEndDiarizer] = {}
        self._latest: dict[int, tuple[str, Heard]] = {}

    def listen(self, hooks: Sequence[Hook] = ()) -> None:
        """Hear what was not heard yet with the configuration at the start."""
        for index in range(len(self.plan.items)):
            self._heard(index, self.plan.base, hooks)

    def answer(self, config: EndToEndConfig, index: int) -> Diarization:
        """What a configuration says of a recording."""
        return answer(self._heard(index, config), config, SpeakerBounds(), self.plan.items[index].uri)

    def _heard(self, index: int, config: Any, hooks: Sequence[Hook] = ()) -> Heard:
        """What the model says of a recording, from the folder of what was heard or by listening."""
        key = heard_key(config)
        if index not in self._latest or self._latest[index][0] != key:
            item = self.plan.items[index]
            mark = fingerprint({"audio": self.digest(index), "heard": key})
            path = self.cache() / f"{safe_name(item.uri)[:60]}-{mark}.npz"
            if not path.exists():
                diarizer = self._of(config, key)
                emitter = Emitter(hooks, item.uri)
                with open_audio(item.audio, uri=item.uri) as reader, emitter.stage("listening"):
                    write(diarizer.heard(reader, emitter), path)
            self._latest[index] = key, read(path)
        return self._latest[index][1]

    def _of(self, config: EndToEndConfig, key: str) -> EndToEndDiarizer:
        if key not in self._diarizers:
            model, embedding = self.plan.end_to_end or (None, None)
            self._diarizers[key] = EndToEndDiarizer(
                config=config, runtime=self.runtime, model=model, embedding=embedding
            )
        return self._diarizers[key]


def write(heard: Heard, path: Path) -> None:
    """Keep what was heard. Raises `DiaristError` where the file cannot be written."""
    frames = heard.frames
    facts = [heard.num_samples, frames.size, frames.step, frames.start, frames.sample_rate]
    arrays: dict[str, NDArray[Any]] = {"facts": np.array(facts, np.int64)}
    arrays["firsts"] = np.array([memory.first for memory in heard.memories], np.int64)
    for number, memory in enumerate(heard.memories):
        arrays |= {f"{name}{number}": getattr(memory, name) for name in _ARRAYS}
    with write_aside(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> Heard:
    """What was kept. Raises `InputError` for a damaged file."""
    try:
        with path.open("rb") as file, np.load(file) as kept:
            memories = tuple(
                Memory(int(first), **{name: kept[f"{name}{number}"] for name in _ARRAYS})
                for number, first in enumerate(kept["firsts"])
            )
            num_samples, *axis = (int(value) for value in kept["facts"])
            return Heard(memories, Axis(*axis), num_samples)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' is damaged: delete it ({error})") from error
