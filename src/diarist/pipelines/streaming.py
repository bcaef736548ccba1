"""Who speaks when in a stream: push sound, get updates.

    live = LiveDiarizer("balanced")
    stream = live.start("meeting")
    for block in microphone:
        update = stream.push(block)
    session = stream.finish().session

A stream takes its sound in steps of half a second. In each step it looks at the last five: `live_listen.py` says who
could be talking and what each sounds like, `stages/online.py` who that is, `stages/aggregate.py` puts together what the
looks within the latency say. `live_session.py` keeps what it takes to cluster the session anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from diarist.audio.decode import AudioSource, open_audio
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Update
from diarist.errors import UsageError
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.live_answer import join
from diarist.pipelines.live_config import KINDS, LiveConfig
from diarist.pipelines.live_networks import Networks, load
from diarist.pipelines.live_presets import DEFAULT, resolve_live
from diarist.pipelines.live_stream import Parts, Stream, step

__all__ = ["LiveDiarizer", "Stream", "join"]

TOGETHER = 32  # streams in one forward pass


class LiveDiarizer:
    """The live pipeline: models loaded once, shared by all streams and threads.

    `preset` is a name of `diarist.pipelines.live_presets`, `config` a whole `LiveConfig` or a mapping of single changes
    to the preset. `kind` "speech" tells when anybody talks, and nobody apart. `segmentation` and `embedding` stand in
    for the configuration's models, `networks` are those of another `LiveDiarizer` of the same kind (its `networks()`).
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        preset: str = DEFAULT,
        *,
        config: LiveConfig | Mapping[str, Any] | None = None,
        segmentation: SegmentationModel | None = None,
        embedding: EmbeddingModel | None = None,
        runtime: RuntimeConfig | None = None,
        kind: str = "diarization",
        networks: Networks | None = None,
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"a stream is of the kind {' or '.join(KINDS)}, not '{kind}'")
        self.preset, self.kind = preset, kind
        self.config = config if isinstance(config, LiveConfig) else resolve_live(preset, changes=config)
        self.runtime = runtime or RuntimeConfig()
        self._segmentation, self._embedding = segmentation, embedding
        self._lock = threading.Lock()
        self._parts: Parts | None = None
        self._networks = networks

    def start(self, uri: str = "stream") -> Stream:
        """A stream before its first sample. Raises `MissingError` for weights that are not there."""
        return Stream(self.parts(), uri)

    def advance(self, streams: Sequence[Stream]) -> list[Update | None]:
        """At most one waiting step of each stream, all in one forward pass; None where nothing waited.

        Safe from several threads at once for streams that are not the same. Raises `UsageError` where one stream is
        given twice, or belongs to another `LiveDiarizer`.
        """
        if len({id(stream) for stream in streams}) < len(streams):
            raise UsageError("a stream was given twice: it can only take one step at a time")
        if any(stream.parts is not self._parts for stream in streams):
            raise UsageError("a stream belongs to another LiveDiarizer: advance it there")
        ready = [index for index, stream in enumerate(streams) if stream.waiting]
        updates: list[Update | None] = [None] * len(streams)
        for low in range(0, len(ready), TOGETHER):
            some = ready[low : low + TOGETHER]
            for index, update in zip(some, step([streams[i] for i in some]), strict=True):
                updates[index] = update
        return updates

    def restore(self, state: bytes) -> Stream:
        """The stream that gave this `Stream.state()`, in any process; it goes on bit for bit.

        Raises `UsageError` for bytes that are no state, or one of another version, configuration or model.
        """
        return Stream.restored(self.parts(), state)

    def diarize(self, audio: AudioSource, *, sample_rate: int | None = None, uri: str | None = None) -> Diarization:
        """A whole recording through a stream: the session at its end. Raises `AudioError` for what is not sound."""
        with open_audio(audio, sample_rate=sample_rate, uri=uri) as reader:
            stream = self.start(reader.uri)
            for block in reader.blocks():
                stream.push(block)
            session = stream.finish().session
        assert session is not None
        return session

    def parts(self) -> Parts:
        """Models and clustering, loaded at the first call. Raises `MissingError` for weights that are not there."""
        with self._lock:
            if self._parts is None:
                self._parts = Parts(self.config, self._loaded(), self.runtime.offline)
            return self._parts

    def networks(self) -> Networks:
        """The networks, loaded at the first call; another `LiveDiarizer` whose configuration names the same ones can be
        made with them. Raises as `parts()` does."""
        with self._lock:
            return self._loaded()

    def _loaded(self) -> Networks:
        if self._networks is None:
            self._networks = load(self.config, self.kind, self.runtime, self._segmentation, self._embedding)
        return self._networks
