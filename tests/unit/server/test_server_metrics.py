"""Counts for Prometheus."""

import pytest

from diarist.server.metrics import Metrics

for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
    pytest.importorskip(package)


def test_gauges_look_when_asked_and_registries_are_apart():
    first, second, waiting = Metrics(), Metrics(), [1.5]
    first.watch(lambda: 2, lambda: 1, lambda: waiting[0])
    waiting[0] = 2.5
    first.lag.observe(0.3)
    first.refused.labels("too_fast").inc()
    text = first.text().decode()
    assert 'diarist_sessions{state="connected"} 2.0' in text and 'diarist_sessions{state="dropped"} 1.0' in text
    assert "diarist_buffered_seconds 2.5" in text and 'diarist_lag_seconds_bucket{le="0.5"} 1.0' in text
    assert 'diarist_refusals_total{code="too_fast"} 1.0' in text
    assert "too_fast" not in second.text().decode()


def test_it_is_what_prometheus_reads():
    from prometheus_client.parser import text_string_to_metric_families

    names = {family.name for family in text_string_to_metric_families(Metrics().text().decode())}
    assert {"diarist_steps", "diarist_batch_size", "diarist_lag_seconds", "diarist_received_bytes"} <= names
