"""What a server counts, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diarist.server.extra import require

_LAG = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds
_STEP = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)  # seconds
_BATCH = (1, 2, 4, 8, 12, 16, 24, 32, 64)


class Metrics:
    """Counters and histograms in a registry of their own. Raises `ExtraError` without the extra `serve`."""

    def __init__(self) -> None:
        require()
        import prometheus_client as prometheus

        self._prometheus = prometheus
        registry = self.registry = prometheus.CollectorRegistry()
        counter, histogram, gauge = prometheus.Counter, prometheus.Histogram, prometheus.Gauge
        self.sessions: Any = gauge("diarist_sessions", "Sessions that are open", ["state"], registry=registry)
        self.opened: Any = counter("diarist_sessions_opened", "Sessions begun", registry=registry)
        self.ended: Any = counter("diarist_sessions_ended", "Sessions over, by why", ["reason"], registry=registry)
        self.resumed: Any = counter("diarist_sessions_resumed", "Sessions gone on with", registry=registry)
        self.dropped: Any = counter("diarist_connections_dropped", "Sockets lost mid-way", registry=registry)
        self.refused: Any = counter("diarist_refusals", "Sockets closed, by why", ["code"], registry=registry)
        self.warned: Any = counter("diarist_warnings", "Warnings given, by kind", ["code"], registry=registry)
        self.steps: Any = counter("diarist_steps", "Steps of sessions", registry=registry)
        self.batch: Any = histogram("diarist_batch_size", "Steps in a pass", buckets=_BATCH, registry=registry)
        self.pass_seconds: Any = histogram(
            "diarist_pass_seconds", "Time of a forward pass of steps", buckets=_STEP, registry=registry
        )
        self.finish_seconds: Any = histogram(
            "diarist_finish_seconds", "Time to end a session", buckets=_LAG, registry=registry
        )
        self.lag: Any = histogram(
            "diarist_lag_seconds", "From a step's last sample coming in to its update", buckets=_LAG, registry=registry
        )
        self.received: Any = counter("diarist_received_bytes", "Sound and messages taken in", registry=registry)
        self.sent: Any = counter("diarist_sent_bytes", "Messages given out", registry=registry)
        self.sound: Any = counter("diarist_sound_seconds", "Sound taken in", registry=registry)
        self.buffered: Any = gauge("diarist_buffered_seconds", "Sound that waits, all sessions", registry=registry)

    def watch(self, open_: Callable[[], float], detached: Callable[[], float], buffered: Callable[[], float]) -> None:
        """Where the gauges look when somebody asks."""
        self.sessions.labels("connected").set_function(open_)
        self.sessions.labels("dropped").set_function(detached)
        self.buffered.set_function(buffered)

    def text(self) -> bytes:
        """All of it."""
        return bytes(self._prometheus.generate_latest(self.registry))
