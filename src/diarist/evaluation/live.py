"""A live pipeline as something to benchmark: fed step by step, and timed step by step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from diarist.audio.decode import cut, open_audio
from diarist.core.config import to_dict
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, Turn
from diarist.evaluation.dataset import Item
from diarist.evaluation.distribution import Distribution
from diarist.evaluation.systems import AS_IS, RENAMED, SESSION, Answer, Clock, Work, model_marks
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.live_answer import join
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.streaming import LiveDiarizer, Stream


@dataclass(frozen=True)
class Live:
    """The live pipeline with a configuration; `segmentation` and `embedding` stand in for its models."""

    name: str
    config: LiveConfig = field(default_factory=LiveConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    segmentation: SegmentationModel | None = None
    embedding: EmbeddingModel | None = None
    batch_size: int = 1
    """Steps that are pushed at once: changes how fast it goes, not what comes out."""

    @property
    def variants(self) -> tuple[str, ...]:
        """What was settled on the way, the same for who renames speakers when told, and what was said at the end."""
        return (AS_IS, RENAMED, SESSION)

    def settings(self) -> dict[str, Any]:
        """The configuration, and the hash of models that are files."""
        marks = model_marks(self.config, self.segmentation, self.embedding)
        return {"engine": "live", "config": to_dict(self.config), **({"models": marks} if marks else {})}

    def start(self) -> Work:
        """Feeds each recording step by step, as fast as it goes; models are loaded off the clock."""
        diarizer = LiveDiarizer(
            config=self.config, runtime=self.runtime, segmentation=self.segmentation, embedding=self.embedding
        )
        size = self.batch_size * self.config.step_samples

        def answer(item: Item) -> Answer:
            stream = diarizer.start(item.uri)
            with open_audio(item.audio) as reader:
                return listen(stream, cut(reader.blocks(), size), self.batch_size)

        return answer


def listen(stream: Stream, blocks: Iterable[Float32], num_steps: int = 1) -> Answer:
    """All blocks, of so many steps each, through a stream: what was settled on the way, what was said at the end, and
    how long each step took. Whatever is loaded or computed once is so before the clock is started."""
    clock, settled, heard = Clock(), 0.0, 0
    final: list[Turn] = []
    renamed: dict[str, str] = {}
    times: list[float] = []
    delays: list[float] = []
    for block in blocks:
        begun = time.perf_counter()
        update = stream.push(block)
        times.append((time.perf_counter() - begun) / num_steps)
        heard += len(block)
        if update.settled > settled:
            delays.append(update.until - settled + times[-1])
        settled = update.settled
        final += update.final
        _rename(renamed, update.renamed)
    last = stream.finish()
    final += last.final
    _rename(renamed, last.renamed)
    seconds = heard / SAMPLE_RATE
    found = Diarization(turns=join(final), uri=stream.uri, duration=seconds)
    session = last.session or found
    cost = clock.cost(seconds, step=Distribution.of(times), delay=Distribution.of(delays))
    put_right = replace(found, turns=join([replace(t, speaker=renamed.get(t.speaker, t.speaker)) for t in final]))
    return Answer({AS_IS: found, RENAMED: put_right, SESSION: session}, cost)


def _rename(renamed: dict[str, str], news: Mapping[str, str]) -> None:
    """Add what an update says: whoever became somebody that is gone now is whom that one became."""
    for name, kept in renamed.items():
        renamed[name] = news.get(kept, kept)
    renamed.update(news)
