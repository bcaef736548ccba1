"""The live diarizers of a server: one for each configuration that clients ask for, shared by all who ask for it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from diarist.core.config import replace_from
from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.errors import DiaristError, UsageError
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_networks import Networks, names
from diarist.pipelines.live_presets import live_preset
from diarist.pipelines.streaming import LiveDiarizer
from diarist.server.messages import Hello, Refusal

MOST_ENGINES = 16
"""Configurations that are loaded at once. Only steps of one configuration share a forward pass."""
MOST_IDLE = 4
"""Configurations that stay loaded once no session has them."""


class Engines:
    """What the server was started with, and what a hello may make of it.

    A client may choose a preset, the kind, the latency and thresholds, never the networks; with `fixed`, nothing.
    """

    def __init__(
        self,
        config: LiveConfig,
        *,
        kind: str = "diarization",
        runtime: RuntimeConfig | None = None,
        fixed: bool = False,
        segmentation: SegmentationModel | None = None,
        embedding: EmbeddingModel | None = None,
    ) -> None:
        self.config, self.kind, self.fixed = _plain(config), kind, fixed
        self._options: dict[str, Any] = {"runtime": runtime, "segmentation": segmentation, "embedding": embedding}
        self._lock = threading.Lock()
        self._engines: WeakValueDictionary[tuple[str, LiveConfig], LiveDiarizer] = WeakValueDictionary()
        self._recent: deque[LiveDiarizer] = deque(maxlen=MOST_IDLE)
        self._own: LiveDiarizer | None = None
        self._networks: dict[tuple[str, ...], Networks] = {}

    def load(self) -> None:
        """Load the networks now, and keep them. Raises what `LiveDiarizer` raises."""
        self._own = self._load(self.kind, self.config)

    def get(self, hello: Hello) -> LiveDiarizer:
        """The diarizer for a session; may take a second where it is the first to ask for its configuration.

        Safe from several threads. Raises `Refusal` for what cannot be, or may not.
        """
        kind, config = self._wanted(hello)
        if self.fixed and (kind, config) != (self.kind, self.config):
            raise Refusal("not_allowed", "this server lets nobody choose preset, kind, latency or thresholds")
        try:
            return self._load(kind, config)
        except UsageError as error:
            raise Refusal("bad_hello", str(error)) from error
        except DiaristError as error:
            raise Refusal("internal", str(error)) from error

    def _wanted(self, hello: Hello) -> tuple[str, LiveConfig]:
        config = self.config
        try:
            if hello.preset is not None:
                changes = {
                    "segmentation.model": config.segmentation.model,
                    "segmentation.precision": config.segmentation.precision,
                    "embedding.model": config.embedding.model,
                    "embedding.precision": config.embedding.precision,
                }
                config = replace_from(live_preset(hello.preset).config, changes)
            return hello.kind or self.kind, _plain(replace_from(config, hello.changes))
        except UsageError as error:
            raise Refusal("bad_hello", str(error)) from error

    def _load(self, kind: str, config: LiveConfig) -> LiveDiarizer:
        with self._lock:
            engine = self._engines.get((kind, config))
            if engine is None:
                if len(self._engines) >= MOST_ENGINES:
                    raise Refusal("not_allowed", f"{MOST_ENGINES} configurations are in use: take one that is")
                called = names(config, kind)  # a preset may take another voice activity model, or none
                engine = LiveDiarizer(config=config, kind=kind, networks=self._networks.get(called), **self._options)
                engine.parts()
                self._networks[called] = engine.networks()
                self._engines[kind, config] = engine
                self._recent.append(engine)
            return engine


def _plain(config: LiveConfig) -> LiveConfig:
    """The same configuration, however its latency was written."""
    return replace(config, latency=config.latency_seconds)
