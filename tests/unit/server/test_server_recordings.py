"""Whole recordings by HTTP: the answer of the engine, and everything that is wrong said in a line."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from diarist.core.events import Event
from diarist.errors import Cancelled, WeightsError
from server_house import call, house, sound
from toy_house import diarizer, write_wav

for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("sound") / "talk.wav", sound()).read_bytes()


@pytest.fixture(scope="module")
def home():
    with house(method=diarizer()) as running:
        yield running


def post(home, body, query="", **headers):
    """`(status, text)` of what is answered."""
    request = urllib.request.Request(f"{home.web}/v1/recordings{query}", body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_answer_is_the_engines(home, wav):
    status, text = post(home, wav, "?uri=talk&num_speakers=2")
    expected = diarizer()(sound(), sample_rate=16_000, num_speakers=2)
    told = json.loads(text)
    assert status == 200 and told["uri"] == "talk" and told["num_speakers"] == 2
    turns = [(round(turn["start"], 3), round(turn["end"], 3), turn["speaker"]) for turn in told["turns"]]
    assert turns == [(round(t.start, 3), round(t.end, 3), t.speaker) for t in expected]


def test_other_formats(home, wav):
    status, text = post(home, wav, "?format=rttm&uri=talk")
    assert status == 200 and text.startswith("SPEAKER talk 1 ")


@pytest.mark.parametrize(
    ("body", "query", "status", "message"),
    [
        (b"no sound at all", "", 422, "recording"),
        (b"", "", 422, "the file given is empty"),
        (b"x", "?format=docx", 400, "unknown format 'docx'"),
        (b"x", "?num_speaker=2", 400, "did you mean 'num_speakers'"),
        (b"x", "?num_speakers=two", 400, "is a whole number, not 'two'"),
        (b"x", "?min_speakers=3&max_speakers=2", 400, "speakers"),
    ],
)
def test_what_cannot_be(home, body, query, status, message):
    code, text = post(home, body, query)
    assert code == status and message in json.loads(text)["error"] and "\n" not in text


def test_too_large_no_token_and_another_origin(wav):
    with house(method=diarizer(), token="secret", max_upload=2048) as home:
        assert post(home, wav)[0] == 401
        assert post(home, wav, Authorization="Bearer secret")[0] == 413
        assert post(home, wav, Authorization="Bearer secret", Origin="https://example.org")[0] == 403
        assert post(home, b"x", Authorization="Bearer secret")[0] == 422


def test_weights_that_are_missing_are_told(wav):
    def nothing(file, **options):
        raise WeightsError("it is not here: fetch it")

    with house(method=nothing) as home:
        assert post(home, wav) == (500, '{"error": "it is not here: fetch it"}')


def test_one_is_heard_at_a_time_and_only_so_many_wait(wav):
    begun, go_on = threading.Event(), threading.Event()

    def slow(file, **options):
        begun.set()
        assert go_on.wait(60)
        return diarizer()(np.zeros(1600, np.float32), sample_rate=16_000)

    with house(method=slow, max_waiting=0) as home:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(post(home, wav)[0]))
        thread.start()
        try:
            assert begun.wait(60)
            code, text = post(home, wav)
            assert code == 503 and "try again later" in text
        finally:
            go_on.set()
            thread.join(60)
        assert answers == [200]


def test_a_server_that_stops_does_not_wait_for_ever(wav):
    begun = threading.Event()

    def endless(file, hooks, **options):
        begun.set()
        while hooks[0](Event("segmentation", "progress")):
            threading.Event().wait(0.01)
        raise Cancelled("stopped")

    answers = []
    with house(method=endless, drain=0.2) as home:
        thread = threading.Thread(target=lambda: answers.append(post(home, wav)[0]))
        thread.start()
        assert begun.wait(60)
    thread.join(60)
    assert answers == [503]


def test_an_engine_without_streams_says_so():
    async def refused(home):
        async with call(home.url) as caller:
            return await caller.hello(sample_rate=16_000)

    with house(method=diarizer(), engine="nemo-style") as home:
        told = asyncio.run(refused(home))
    assert told["code"] == "not_allowed" and "--engine nemo-style, for whole recordings only" in told["message"]
