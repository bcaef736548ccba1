"""Hooks hear everything, in order, and can stop a run."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from diarist.core.events import Emitter, Event
from diarist.errors import Cancelled


def test_a_stage_is_announced_timed_and_ended() -> None:
    heard: list[Event] = []
    emitter = Emitter([heard.append], uri="x")
    with emitter.stage("embed"):
        emitter.progress("embed", 3.0, 9.0)
        emitter.arrays("embed", maps=np.ones(2))
    assert [(e.stage, e.kind, e.uri) for e in heard] == [
        ("embed", k, "x") for k in ("start", "progress", "array", "end")
    ]
    assert (heard[1].done, heard[1].total) == (3.0, 9.0)
    assert heard[2].arrays["maps"].tolist() == [1, 1]
    assert emitter.timings == {"embed": heard[3].seconds}
    assert heard[3].seconds >= 0


def test_every_hook_hears() -> None:
    first: list[Event] = []
    second: list[Event] = []
    Emitter([first.append, second.append]).progress("a", 1.0)
    assert first == second != []


@pytest.mark.parametrize(("answer", "stops"), [(False, True), (None, False), (0, False), ("", False), (True, False)])
def test_only_false_cancels(answer: object, stops: bool) -> None:
    emitter = Emitter([lambda event: answer])
    if stops:
        with pytest.raises(Cancelled, match="cancelled in stage 'segment'"):
            emitter.progress("segment", 1.0)
    else:
        emitter.progress("segment", 1.0)


def test_an_error_in_a_stage_passes_and_has_no_end() -> None:
    heard: list[Event] = []
    emitter = Emitter([heard.append])
    with pytest.raises(RuntimeError, match="broken"), emitter.stage("embed"):
        raise RuntimeError("broken")
    assert [event.kind for event in heard] == ["start"]


def test_pieces_add_up_over_threads() -> None:
    emitter = Emitter()
    threads = [threading.Thread(target=lambda: [emitter.add("x", 0.5) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emitter.timings == {"x": 400.0}
