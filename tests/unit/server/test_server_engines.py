"""What a hello may make of the server's configuration."""

import gc

import pytest

from diarist.core.config import replace_from
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.live_presets import resolve_live
from diarist.server import engines
from diarist.server.engines import Engines
from diarist.server.messages import Hello, Refusal

CONFIG = replace_from(resolve_live(), {"segmentation.model": "mine.onnx", "tau_active": 0.3})


def made(**options):
    return Engines(CONFIG, segmentation=ToySegmentation(), embedding=ToyEmbedding(), **options)


def test_who_asks_for_nothing_gets_the_servers_own():
    known = made()
    known.load()
    first = known.get(Hello())
    assert first.config == replace_from(CONFIG, {"latency": CONFIG.step}) and first.kind == "diarization"
    assert (
        known.get(Hello(latency="min")) is known.get(Hello(latency=CONFIG.step)) is known.get(Hello(uri="b")) is first
    )


def test_a_preset_changes_all_but_the_networks():
    config = made().get(Hello(preset="ami", delta_new=0.5, kind="speech")).config
    assert (config.tau_active, config.delta_new, config.segmentation.model) == (0.507, 0.5, "mine.onnx")


@pytest.mark.parametrize(
    ("hello", "code", "words"),
    [
        (Hello(preset="amy"), "bad_hello", "did you mean 'ami'"),
        (Hello(latency=9.0), "bad_hello", "'latency' must be between"),
        (Hello(latency="soon"), "bad_hello", "'latency' must be seconds"),
        (Hello(tau_active=2.0), "bad_hello", "'tau_active' must be between"),
    ],
)
def test_what_cannot_be_is_refused(hello, code, words):
    with pytest.raises(Refusal, match=words) as error:
        made().get(hello)
    assert error.value.code == code


def test_a_fixed_server_lets_nobody_choose():
    known = made(fixed=True)
    assert known.get(Hello()) is known.get(Hello(tau_active=0.3, kind="diarization"))
    for hello in (Hello(latency=2.0), Hello(kind="speech"), Hello(preset="ami")):
        with pytest.raises(Refusal, match="lets nobody choose") as error:
            known.get(hello)
        assert error.value.code == "not_allowed"


def test_there_are_only_so_many_and_who_has_one_keeps_it(monkeypatch):
    monkeypatch.setattr(engines, "MOST_ENGINES", 2)
    monkeypatch.setattr(engines, "MOST_IDLE", 1)
    known = made()
    known.load()
    held = known.get(Hello(latency=1.0))
    with pytest.raises(Refusal, match="2 configurations are in use"):
        known.get(Hello(latency=2.0))
    assert known.get(Hello(latency=1.0)) is held


def test_those_that_nobody_has_make_room(monkeypatch):
    monkeypatch.setattr(engines, "MOST_ENGINES", 4)
    monkeypatch.setattr(engines, "MOST_IDLE", 2)
    known = made()
    known.load()
    own = known.get(Hello())
    for step in range(2, 10):
        known.get(Hello(latency=step / 2))
        gc.collect()
    assert known.get(Hello()) is own


def test_missing_weights_are_told_and_not_remembered():
    known = Engines(replace_from(CONFIG, {"segmentation.model": "/nowhere/mine.onnx"}))
    for _ in range(2):
        with pytest.raises(Refusal, match="nowhere"):
            known.get(Hello())
