"""Who spoke when, as a Pix2Seq network writes it.

    diarizer = Pix2SeqDiarizer()
    result = diarizer("meeting.m4a", num_speakers=2)

One window of sound after the other is written under the grammar, those who are known by then in front of each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist.audio.decode import AudioReader
from diarist.core.events import Emitter, Hook
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, SpeakerBounds, Turn
from diarist.errors import WeightsError
from diarist.models.identity import embedding_identity
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.method import Reading
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pix2seq import presets
from diarist.pix2seq.checkpoint import load
from diarist.pix2seq.config import DecodeConfig, Pix2SeqConfig
from diarist.pix2seq.frontends import front_end
from diarist.pix2seq.prompt import Chain
from diarist.pix2seq.tokens import Given, Vocabulary, Written
from diarist.stages.turns import label

if TYPE_CHECKING:
    from diarist.pix2seq.model import Pix2Seq

NEWCOMERS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # added to the log-odds of a new speaker until there are enough
REMEMBERED = 64  # windows whose features are kept, where a recording may be gone through again

Hears = Callable[[Float32], NDArray[Any]]
"""A front end: sound `(num_samples,)` at 16 kHz to `(num_features, channels)`."""


class Pix2SeqDiarizer(Reading[Pix2SeqConfig]):
    """The engine `pix2seq`: reusable, and safe to call from several threads at once.

    `preset` is a name of `diarist.pix2seq.presets`; `config` a whole `Pix2SeqConfig`, or a mapping of single changes
    such as `{"decode.method": "beam"}`. `runtime` changes the speed only. The checkpoint is read at the first call;
    `model` stands in for it, and `hears` for the front end that it was trained with. A most number of speakers is kept
    by the grammar; for a least number, new speakers are made ever more likely until there are enough. A call raises
    `ExtraError` without torch.
    """

    def __init__(
        self,
        preset: str = presets.DEFAULT,
        *,
        config: Pix2SeqConfig | Mapping[str, Any] | None = None,
        runtime: RuntimeConfig | None = None,
        hooks: Sequence[Hook] = (),
        model: Pix2Seq | None = None,
        hears: Hears | None = None,
        **runtime_changes: Any,
    ) -> None:
        whole = config if isinstance(config, Pix2SeqConfig) else presets.resolve(preset, changes=config)
        super().__init__("pix2seq", preset, whole, runtime, runtime_changes, hooks)
        self._model, self._hears = model, hears

    def _run(self, reader: AudioReader, bounds: SpeakerBounds, hooks: Sequence[Hook]) -> Diarization:
        emitter = Emitter(hooks, reader.uri)
        with emitter.stage("models"):
            model, hears = self.loaded()
        again = bounds.least > 1
        hearing = _Memory(hears, REMEMBERED if again else 1)
        sound: Iterable[Float32] = reader.blocks()
        chains: list[Chain] = []
        with single_threaded_algebra(), _THREADS.limited(self.runtime.num_threads or 1), emitter.stage("writing"):
            sound = list(sound) if again else sound
            for newcomer in NEWCOMERS if again else NEWCOMERS[:1]:
                write = _Writes(model, hearing, self.config.decode, newcomer)
                most = bounds.least if newcomer else bounds.most  # newcomers are helped until there are enough
                chains.append(Chain(write, model.vocabulary, self.config.prompt, most))
                for seconds in chains[-1](sound):
                    emitter.progress("writing", seconds, reader.duration)
                if _num_speakers(chains[-1]) >= bounds.least:
                    break
        chain = max(chains, key=_num_speakers)  # the first one of those with the most
        duration = chain.num_samples / SAMPLE_RATE
        return Diarization(
            turns=tuple(_named(chain.turns, duration)),
            uri=reader.uri,
            duration=duration,
            warnings=(*reader.warnings, *_doubts(chain, bounds, model.vocabulary)),
            extra=self._extra(emitter, chain),
        )

    def _extra(self, emitter: Emitter, chain: Chain) -> dict[str, Any]:
        checkpoint = embedding_identity(self.config.checkpoint, "float32")
        return self.provenance(emitter, checkpoint=checkpoint, windows=chain.num_windows)

    def loaded(self) -> tuple[Pix2Seq, Hears]:
        """The network and its front end, which every call shares; loaded at the first one.

        Raises `WeightsError` for a checkpoint that is not there or damaged, `ExtraError` without torch.
        """
        with self._lock:
            if self._model is None:
                self._model = self._load()
            if self._hears is None:
                self._hears = _hears(self._model, self.config.checkpoint, self.runtime.offline)
            return self._model, self._hears

    def _load(self) -> Pix2Seq:
        model, _ = load(self.config.checkpoint)
        from diarist.models.torch import device_of

        return model.to(device_of(self.runtime.device))


def _hears(model: Pix2Seq, checkpoint: str, offline: bool) -> Hears:
    """The front end of a network, for whole windows. Raises `WeightsError` where it is not what it was trained with."""
    front = front_end(model.config.frontend, around=model.config.around, offline=offline)
    if front.spec != model.audio:
        raise WeightsError(
            f"the network '{checkpoint}' was trained with another front end '{front.name}' than this diarist has "
            f"({model.audio.channels} values at a time, not {front.spec.channels}): train it again"
        )
    front.hear(np.zeros(SAMPLE_RATE, np.float32))  # so that its networks are loaded
    return lambda samples: np.asarray(front.window(front.hear(samples), 0, len(samples)))


class _Threads:
    """Threads of torch while somebody writes: one token at a time is too little work to be shared by several."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = self._before = 0

    @contextmanager
    def limited(self, num: int) -> Iterator[None]:
        """The limit is the process's: taken by the first recording at work, given back by the last."""
        import torch

        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = torch.get_num_threads()
                torch.set_num_threads(num)
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    torch.set_num_threads(self._before)


_THREADS = _Threads()


class _Memory:
    """A front end that remembers what it heard last."""

    def __init__(self, hears: Hears, most: int) -> None:
        self.hears, self.most = hears, most
        self.heard: dict[bytes, NDArray[Any]] = {}

    def __call__(self, samples: Float32) -> NDArray[Any]:
        key = samples.tobytes()
        if key not in self.heard:
            if len(self.heard) >= self.most:
                del self.heard[next(iter(self.heard))]
            self.heard[key] = self.hears(samples)
        return self.heard[key]


@dataclass(frozen=True)
class _Writes:
    """What writes one window."""

    model: Pix2Seq
    hears: Hears
    config: DecodeConfig
    newcomer: float

    def __call__(self, samples: Float32, given: Given, most: int) -> Written:
        from diarist.pix2seq.generate import generate

        features = self.hears(samples)[None]
        lengths = np.array([features.shape[1]])
        options: Any = {"given": [given], "most": most, "newcomer": self.newcomer}
        return generate(self.model, features, lengths, self.config, **options)[0]


def _named(turns: Sequence[Turn], duration: float) -> list[Turn]:
    """Turns in order of start, speakers numbered by first turn, confidences to four digits."""
    names: dict[str, str] = {}
    return [
        replace(
            turn,
            start=round(turn.start, 6),
            end=min(round(turn.end, 6), duration),
            speaker=names.setdefault(turn.speaker, label(len(names))),
            confidence=round(turn.confidence, 4),
        )
        for turn in sorted(turns)
    ]


def _num_speakers(chain: Chain) -> int:
    return len({turn.speaker for turn in chain.turns})


def _doubts(chain: Chain, bounds: SpeakerBounds, vocabulary: Vocabulary) -> list[str]:
    """Where the answer differs from what was asked, or may."""
    found, doubts = _num_speakers(chain), []
    if 0 < found < bounds.least:
        doubts.append(f"{found} found, {bounds.least} asked for: the network hears no others")
    if chain.num_unended:
        doubts.append(f"{chain.num_unended} of {chain.num_windows} windows were cut off before their end token")
    if chain.num_left_out:
        doubts.append(
            f"more speakers than fit in front of a window of {vocabulary.max_seconds:g} s: whoever is silent for long "
            "may come back under another label (--engine clustering has no such limit)"
        )
    return doubts
