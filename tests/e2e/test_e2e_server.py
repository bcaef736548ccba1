"""The server with real sockets: many clients at once, some of them dropped, some bad, some slow."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diarist import formats
from diarist.models.toy import ToySegmentation
from diarist.server.client import LiveClient, ServerError
from server_house import alone, call, finals, house, rounded, same, sound

for package in ("fastapi", "uvicorn", "websockets", "prometheus_client", "jsonschema", "yaml"):
    pytest.importorskip(package)

SHORT = sound(4)


class Slow(ToySegmentation):
    """Every pass takes a while."""

    def __init__(self, seconds=0.05, *chunk):
        super().__init__(*chunk)
        self.seconds = seconds

    def resized(self, chunk):
        return Slow(self.seconds, chunk)

    def __call__(self, batch):
        time.sleep(self.seconds)
        return super().__call__(batch)


async def whole(url, samples, block=1000, **hello):
    """A well-behaved client from its hello to its close."""
    async with call(url) as caller:
        await caller.hello(**hello)
        await caller.send(samples, block)
        await caller.say("end")
        assert await caller.end(60) == 1000
        return caller


async def dropped(url, samples, block, after):
    """A client whose line breaks within a word, without a close frame, as often as `after` says."""
    updates, welcome, sent = [], None, 0
    for limit in (*after, len(samples)):
        async with call(url) as caller:
            if welcome is None:
                welcome = await caller.hello(uri="dropped")
            else:
                again = await caller.resume(welcome, len(updates))
                assert again["resumed"] and again["received"] <= sent
                sent = again["received"]
            while sent < limit:
                await caller.socket.send(samples[sent : min(limit, sent + block)].tobytes())
                sent = min(limit, sent + block)
            if limit == len(samples):
                await caller.say("end")
                assert await caller.end(60) == 1000
            else:
                await asyncio.sleep(0.05)
                caller.socket.transport.abort()
            updates += caller.updates
    return updates


HELLO = {"type": "hello", "version": 1}
NAN = np.full(100, np.nan, np.float32).tobytes()
BAD_FIRST = {
    "sound": (b"\0" * 64, "unexpected_binary", 1003),
    "no json": ("{hello", "bad_json", 1007),
    "deep json": ('{"type":' + "[" * 100_000, "bad_json", 1007),
    "no number": ('{"type": "hello", "version": 1, "latency": NaN}', "bad_json", 1007),
    "no object": ("[1]", "bad_hello", 4400),
    "no hello": ({"type": "bye"}, "bad_hello", 4400),
    "no version": ({"type": "hello"}, "unsupported_version", 4400),
    "wrong version": ({"type": "hello", "version": 2}, "unsupported_version", 4400),
    "wrong rate": ({**HELLO, "sample_rate": 7000}, "bad_hello", 4400),
    "wrong key": ({**HELLO, "rate": 16_000}, "bad_hello", 4400),
    "wrong latency": ({**HELLO, "latency": 9}, "bad_hello", 4400),
    "wrong preset": ({**HELLO, "preset": "best"}, "bad_hello", 4400),
    "wrong uri": ({**HELLO, "uri": "a\nb"}, "bad_hello", 4400),
    "wrong session": ({"type": "resume", "version": 1, "id": "x", "secret": "y"}, "unknown_session", 4404),
}
BAD_LATER = {
    "nan": (NAN, "bad_audio", 1007),
    "huge": (bytes(1_200_000), "message_too_big", 1009),
    "gigantic": (bytes(3_000_000), None, 1009),
    "hello again": (HELLO, "bad_message", 4400),
    "base64": ("AAAA", "bad_json", 1007),
}
BAD = {**BAD_FIRST, **BAD_LATER}


async def garbage(url, kind):
    """Somebody who breaks the rules; the code of the error and that of the close frame."""
    data = BAD[kind][0]
    async with call(url) as caller:
        if kind in BAD_LATER:
            await caller.hello()
            await caller.send(SHORT[:20_000])
        await caller.socket.send(json.dumps(data) if isinstance(data, dict) else data)
        code = await caller.end()
        return data, next((m["code"] for m in caller.messages if m["type"] == "error"), None), code


def test_twenty_at_once_say_what_each_would_say_alone_whoever_else_is_dropped_or_bad():
    recordings = {seed: sound(5, seed) for seed in range(4)}
    expected = {seed: alone(samples) for seed, samples in recordings.items()}
    blocks = (1, 7, 333, 1000, 4001, 16_000, 99_991)

    async def everybody(url):
        good = [
            whole(url, recordings[i % 4][: None if i % 7 else 9_000], blocks[i % 7], uri=f"s{i}") for i in range(13)
        ]
        lost = [
            dropped(url, recordings[i % 4], blocks[1 + i % 6], after)
            for i, after in enumerate(
                [(40_001,), (1,), (24_000, 90_013), (60_000, 60_000), (100_000,), (8001, 16_002), (5,)]
            )
        ]
        bad = [garbage(url, kind) for kind in BAD]
        return await asyncio.gather(asyncio.gather(*good), asyncio.gather(*lost), asyncio.gather(*bad))

    with house() as there:
        good, lost, bad = asyncio.run(everybody(there.url))
        text = there.hub.metrics.text().decode()
    for i, caller in enumerate(good):
        same(caller.updates, expected[i % 4] if i % 7 else alone(recordings[i % 4][:9_000]))
        assert caller.updates[-1]["session"]["uri"] == f"s{i}"
    for i, updates in enumerate(lost):
        same(updates, expected[i % 4])
    assert dict(zip(BAD, bad, strict=True)) == BAD
    assert "diarist_sessions_resumed_total 10.0" in text
    sizes = float(text.split("diarist_batch_size_sum ")[1].split()[0])
    assert sizes > float(text.split("diarist_batch_size_count ")[1].split()[0])  # they shared passes


def test_sound_that_is_cut_within_samples():
    data, expected = SHORT.tobytes(), alone(SHORT)

    async def one(url):
        async with call(url) as caller:
            await caller.hello()
            for first in range(0, len(data), 4001):
                await caller.socket.send(data[first : first + 4001])
            await caller.say("end")
            assert await caller.end() == 1000
            return caller.updates

    with house() as there:
        same(asyncio.run(one(there.url)), expected)


@pytest.mark.parametrize(
    ("rate", "encoding", "channels"),
    [(8000, "s16le", 1), (44_100, "f32", 2), (192_000, "s16le", 1), (16_000, "s16le", 3)],
)
def test_any_rate_and_encoding(rate, encoding, channels):
    import soxr

    samples = np.repeat(soxr.resample(SHORT, 16_000, rate)[:, None], channels, axis=1)
    data = (samples * 32767).astype("<i2") if encoding == "s16le" else samples.astype("<f4")
    expected = alone(SHORT)

    async def one(url):
        return await whole(url, data, 1777, sample_rate=rate, encoding=encoding, channels=channels)

    with house() as there:
        caller = asyncio.run(one(there.url))
    turns, known = caller.updates[-1]["session"]["turns"], expected.session.turns
    assert len(turns) == len(known)
    assert all(
        abs(t["start"] - k.start) < 0.06 and abs(t["end"] - k.end) < 0.06 for t, k in zip(turns, known, strict=True)
    )


def test_rttm_lines_and_the_session_at_the_end_and_after_a_drop():
    expected = alone(SHORT)

    async def one(url):
        lines = []
        async with call(url) as caller:
            welcome = await caller.hello(output="rttm", uri="a b")
            await caller.send(SHORT)
            while not caller.lines:
                await asyncio.sleep(0.01)
            caller.socket.transport.abort()
            await caller.end()
            lines += caller.lines
        async with call(url) as caller:
            again = await caller.resume(welcome, len(lines))
            await caller.send(SHORT[again["received"] :])
            await caller.say("end")
            assert await caller.end() == 1000
            return lines + caller.lines, caller.messages[-1]

    with house() as there:
        lines, last = asyncio.run(one(there.url))
    (heard,) = formats.loads("".join(lines), "rttm")
    assert heard.uri == "a_b"
    assert [t.speaker for t in heard] == [t.speaker for t in sorted(expected.final)]
    assert last["type"] == "session" and last["seq"] == len(lines) + 1
    assert last["rttm"].replace(" a_b ", " stream ") == expected.session.to_rttm()


def test_each_client_chooses_its_kind_latency_and_output():
    async def go(url):
        return await asyncio.gather(
            whole(url, SHORT, output="rttm"),
            whole(url, SHORT, kind="speech"),
            whole(url, SHORT, latency=2.0),
            whole(url, SHORT, preset="ami", latency="max"),
        )

    with house(grace=0) as there:
        lines, speech, late, preset = asyncio.run(go(there.url))
    assert lines.messages[-1]["rttm"] == alone(SHORT).session.to_rttm()
    assert {turn.speaker for turn in speech.final} == {"speech"}
    assert speech.messages[0]["grace"] == 0
    assert late.messages[0]["latency"] == 2.0 and preset.messages[0]["latency"] == 5.0
    for caller, latency in ((late, 2.0), (preset, 5.0)):
        behind = [u["until"] - u["settled"] for u in caller.updates if u["until"] > latency and u["session"] is None]
        assert set(np.round(behind, 3)) == {latency - caller.messages[0]["step"]}


def test_a_client_of_diarts():
    import base64

    expected = alone(SHORT)

    async def one(url):
        async with call(url.replace("/v1/stream", "/")) as caller:
            for first in range(0, len(SHORT), 8000):
                await caller.socket.send(base64.b64encode(SHORT[first : first + 8000].tobytes()).decode())
            while not caller.lines or "".join(caller.lines).count("\n") < len(expected.final) - 4:
                await asyncio.sleep(0.02)
            return "".join(caller.lines)

    with house() as there:
        text = asyncio.run(one(there.url))
        assert len(there.hub.sessions) <= 1
    heard = [rounded(turn) for turn in formats.loads(text, "rttm")[0]]
    assert [speaker for _, _, speaker in heard] == [turn.speaker for turn in expected.final][: len(heard)]


def test_the_session_of_a_client_of_diarts_is_written_when_its_socket_ends(tmp_path):
    import base64

    async def one(url):
        async with call(url.replace("/v1/stream", "/")) as caller:
            await caller.socket.send(base64.b64encode(SHORT.tobytes()).decode())

    with house(output=tmp_path) as there:
        asyncio.run(one(there.url))
    (path,) = tmp_path.iterdir()
    assert path.read_text() == alone(SHORT).session.to_rttm()


def test_a_flooding_writer_is_told_then_cut_and_nobody_else_feels_it():
    async def flood(url):
        async with call(url) as caller:
            await caller.hello()
            with pytest.raises(Exception, match="4429"):
                for _ in range(10_000):
                    await caller.send(SHORT, 16_000)
            await caller.end()
            return caller

    async def paced(url):
        """Somebody in real time: the longest wait for an update."""
        async with call(url) as caller:
            await caller.hello()
            for first in range(0, 64_000, 4000):
                await caller.socket.send(SHORT[first : first + 4000].tobytes())
                await asyncio.sleep(0.25)
            behind = 4.0 - caller.updates[-1]["until"]
            await caller.say("end")
            await caller.end()
            return behind

    async def both(url):
        return await asyncio.gather(flood(url), paced(url))

    with house(segmentation=Slow(), warn_buffered=5, max_buffered=60) as there:
        flooder, behind = asyncio.run(both(there.url))
    codes = [m.get("code") for m in flooder.messages if m["type"] in ("warning", "error")]
    assert codes == ["too_fast", "too_fast"] and flooder.socket.close_code == 4429
    assert behind <= 2.0  # without turns, the flood of a minute would come first


def test_our_client_is_never_too_fast():
    client_said = []

    with house(segmentation=Slow(), warn_buffered=3, max_buffered=8, max_message=100_000) as there:
        client = LiveClient(there.url)
        answer = client.run((SHORT[i : i + 3000] for i in range(0, len(SHORT), 3000)), client_said.append)
        text = there.hub.metrics.text().decode()
    assert "diarist_warnings_total{" not in text
    assert [rounded(t) for t in answer] == [rounded(t) for t in alone(SHORT).session]


def test_a_writer_who_waits_when_told_is_not_cut():
    async def go(url):
        async with call(url) as caller:
            await caller.hello()
            for first in range(0, len(SHORT), 4000):
                await caller.send(SHORT[first : first + 4000], 4000)
                await asyncio.sleep(0.01)
                told = [m["type"] for m in caller.messages if m.get("code") == "too_fast" or m["type"] == "ready"]
                if told and told[-1] == "warning":
                    await asyncio.wait_for(again(caller, told.count("ready")), 20)
            await caller.say("end")
            assert await caller.end() == 1000
            return caller

    async def again(caller, times):
        while sum(m["type"] == "ready" for m in caller.messages) <= times:
            await asyncio.sleep(0.01)

    with house(segmentation=Slow(0.15), warn_buffered=2, max_buffered=6) as there:
        caller = asyncio.run(go(there.url))
    same(caller.updates, alone(SHORT))
    assert {m["type"] for m in caller.messages} == {"welcome", "update", "warning", "ready"}


def raw_client(port):
    """A socket that reads nothing by itself."""
    websocket = pytest.importorskip("websocket")
    small = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)
    return websocket.create_connection(
        f"ws://127.0.0.1:{port}/v1/stream", sockopt=small, timeout=20, suppress_origin=True
    )


def test_a_slow_reader_is_told_then_cut_and_may_come_back_for_the_rest():
    samples = np.tile(sound(6), 3)
    expected = alone(samples)

    async def others(url):
        return await asyncio.gather(*(whole(url, SHORT) for _ in range(3)))

    def fat(hub):
        """Updates that fill the system's buffers soon."""
        begin = hub.open

        async def open_(*args, **options):
            session = await begin(*args, **options)
            texts = session._texts
            session._texts = lambda update: [text + " " * 20_000 for text in texts(update)]
            return session

        hub.open = open_

    with house(warn_unread=0.3, max_unread=1.0, warn_buffered=200, on_hub=fat) as there:
        slow = raw_client(there.port)
        slow.send(json.dumps({"type": "hello", "version": 1, "encoding": "f32le"}))
        welcome = json.loads(slow.recv())
        for first in range(0, len(samples), 8000):
            slow.send_binary(samples[first : first + 8000].tobytes())
        slow.send('{"type": "end"}')
        for caller in asyncio.run(others(there.url)):
            same(caller.updates, alone(SHORT))
        deadline = time.monotonic() + 60
        while 'diarist_refusals_total{code="slow_reader"} 1.0' not in there.hub.metrics.text().decode():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        messages, closed = [], None
        while closed is None:
            opcode, data = slow.recv_data()
            if opcode == 8:
                closed = int.from_bytes(data[:2], "big")
            else:
                messages.append(json.loads(data))
        slow.sock.close()
        assert [m["code"] for m in messages if m["type"] in ("warning", "error")] == ["slow_reader", "slow_reader"]
        assert closed == 4430
        updates = [m for m in messages if m["type"] == "update"]

        async def rest():
            async with call(there.url) as caller:
                await caller.resume(welcome, len(updates))
                await caller.end()
                return caller.updates

        same(updates + asyncio.run(rest()), expected)


def test_too_many_sessions_and_too_long():
    async def go(url):
        async with call(url) as first, call(url) as second, call(url) as third:
            await first.hello()
            await second.hello()
            assert (await third.hello())["code"] == "too_many_sessions"
            assert await third.end() == 1013
            await first.send(SHORT[: 16_000 * 5])  # a second more than allowed
            assert await first.end() == 4413
            assert first.updates[-1]["session"]["duration"] == 4.0

    with house(max_sessions=2, max_length=4.0) as there:
        asyncio.run(go(there.url))


def test_idle_and_no_hello():
    async def idle(url):
        async with call(url) as caller:
            await caller.hello()
            await caller.send(SHORT[:20_000], 20_000)
            assert await caller.end() == 4408
            assert caller.updates[-1]["session"]["duration"] == 1.25

    async def silent(url):
        async with call(url) as caller:
            assert await caller.end() == 4408
            assert caller.messages[-1]["code"] == "hello_timeout"

    with house(idle=1.5) as there:
        asyncio.run(idle(there.url))
    with house(hello_timeout=0.5) as there:
        asyncio.run(silent(there.url))


def test_after_the_grace_time_a_session_is_gone_and_its_answer_is_written(tmp_path):
    async def gone(hub):
        while hub.sessions:
            await asyncio.sleep(0.01)

    async def go(url, hub):
        async with call(url) as caller:
            welcome = await caller.hello(uri="../me")
            await caller.send(SHORT[:40_000])
        await gone(hub)
        async with call(url) as caller:
            assert (await caller.resume(welcome, 0))["code"] == "unknown_session"
            assert await caller.end() == 4404
        async with call(url) as caller:
            assert (await caller.resume({**welcome, "secret": "no"}, 0))["code"] == "unknown_session"

    with house(grace=0.3, output=tmp_path) as there:
        asyncio.run(asyncio.wait_for(go(there.url, there.hub), 60))
    (path,) = tmp_path.iterdir()
    assert path.name == "_.._me.rttm" and path.read_text().count("SPEAKER") == len(alone(SHORT[:40_000]).session)


def test_who_resumes_takes_over_and_must_know_the_secret():
    async def go(url):
        async with call(url) as first, call(url) as second, call(url) as thief:
            welcome = await first.hello()
            await first.send(SHORT[:30_000])
            assert (await thief.resume({**welcome, "secret": "x"}, 0))["code"] == "unknown_session"
            while not first.updates:
                await asyncio.sleep(0.01)
            again = await second.resume(welcome, 0)
            assert await first.end() == 4409
            await second.send(SHORT[again["received"] :])
            await second.say("end")
            assert await second.end() == 1000
            same(second.updates, alone(SHORT))

    with house() as there:
        asyncio.run(go(there.url))


def test_a_line_that_drops_at_the_very_end_still_gives_the_answer():
    async def go(url):
        async with call(url) as caller:
            welcome = await caller.hello()
            await caller.send(SHORT)
            await caller.say("end")
            assert await caller.end() == 1000
            had = caller.updates
        async with call(url) as caller:  # as if the last two had been lost on the way
            await caller.resume(welcome, len(had) - 2)
            assert await caller.end() == 1000
            assert caller.updates == had[-2:]

    with house() as there:
        asyncio.run(go(there.url))


def test_tokens():
    import urllib.error
    import urllib.request

    async def go(url):
        async with call(url) as caller:
            assert (await caller.hello())["code"] == "unauthorized"
            assert await caller.end() == 4401
        async with call(url) as caller:
            assert (await caller.hello(token="wrong"))["code"] == "unauthorized"
        async with call(url) as caller:
            assert (await caller.hello(token="s3cret"))["type"] == "welcome"
        async with call(url, additional_headers={"Authorization": "Bearer s3cret"}) as caller:
            welcome = await caller.hello()
            assert welcome["type"] == "welcome"
        async with call(url) as caller:
            assert (await caller.resume(welcome, 0))["code"] == "unauthorized"

    with house(token="s3cret") as there:
        asyncio.run(go(there.url))
        assert urllib.request.urlopen(f"{there.web}/health").status == 200
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(f"{there.web}/metrics")
        refused.value.close()
        asked = urllib.request.Request(f"{there.web}/metrics", headers={"Authorization": "Bearer s3cret"})
        assert b"diarist_sessions" in urllib.request.urlopen(asked).read()


def test_origins(caplog):
    from websockets.exceptions import InvalidStatus

    async def status(url, origin):
        try:
            async with call(url, origin=origin) as caller:
                return (await caller.hello())["type"]
        except InvalidStatus as refused:
            return refused.response.status_code

    with house() as there:
        ours = there.web
        assert asyncio.run(status(there.url, ours)) == "welcome"
        assert asyncio.run(status(there.url, "https://evil.example")) == 403
    with house(origins=("https://good.example",)) as there:
        assert asyncio.run(status(there.url, "https://good.example")) == "welcome"
        assert asyncio.run(status(there.url, "https://evil.example")) == 403
        assert asyncio.run(status(there.url, None)) == "welcome"
    assert caplog.text == ""


def test_health_says_when_it_stops_and_nobody_comes_in_then():
    import urllib.error
    import urllib.request

    from websockets.exceptions import InvalidStatus

    async def refused(url):
        with pytest.raises(InvalidStatus) as error:
            async with call(url):
                pass
        return error.value.response.status_code

    async def during(there):
        async with call(there.url) as caller:
            await caller.hello()
            return json.load(await asyncio.to_thread(urllib.request.urlopen, f"{there.web}/health"))

    with house() as there:
        facts = asyncio.run(during(there))
        assert (facts["status"], facts["sessions"], facts["protocol"], facts["max_sessions"]) == ("ok", 1, 1, 64)
        with pytest.raises(urllib.error.HTTPError, match="404") as nothing:
            urllib.request.urlopen(f"{there.web}/docs")
        nothing.value.close()
        there.hub.draining = True
        with pytest.raises(urllib.error.HTTPError, match="503") as stopping:
            urllib.request.urlopen(f"{there.web}/health")
        assert json.load(stopping.value)["status"] == "stopping"
        stopping.value.close()
        assert asyncio.run(refused(there.url)) == 503


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl")
    return cert, key


def test_tls(certificate):
    import ssl

    with house(certificate=certificate) as there:
        trusting = ssl.create_default_context(cafile=certificate[0])
        answer = LiveClient(there.url, tls=trusting).run([SHORT], lambda update: None)
        assert [rounded(t) for t in answer] == [rounded(t) for t in alone(SHORT).session]
        with pytest.raises(ServerError, match=r"(?i)certificate.verify.failed"):
            LiveClient(there.url, tls=ssl.create_default_context()).run([SHORT], lambda update: None)


def test_our_client_goes_on_where_it_was_when_the_line_drops():
    samples = np.tile(sound(6), 2)
    said, told = [], []

    def blocks(there):
        for number, first in enumerate(range(0, len(samples), 5000)):
            yield samples[first : first + 5000]
            if number in (10, 11, 30):
                time.sleep(0.2)
                for session in list(there.hub.sessions.values()):
                    if session.wire is not None:
                        session._loop.call_soon_threadsafe(session.wire._line.transport.abort)

    with house() as there:
        answer = LiveClient(there.url, warned=told.append).run(blocks(there), said.append)
    expected = alone(samples)
    assert [rounded(t) for u in said for t in u.final] == [rounded(t) for t in expected.final]
    assert [rounded(t) for t in answer] == [rounded(t) for t in expected.session]
    assert sum("dropped" in text for text in told) == 3


def test_our_client_says_what_is_wrong():
    with house(token="x") as there:
        with pytest.raises(ServerError, match="asks for a token") as refused:
            LiveClient(there.url).run([SHORT], lambda update: None)
        assert refused.value.code == "unauthorized"
        with pytest.raises(ServerError, match="preset"):
            LiveClient(there.url, token="x", options={"preset": "best"}).run([SHORT], lambda update: None)
    with pytest.raises(ServerError, match=r"cannot connect to .*refused"):
        LiveClient(there.url).run([SHORT], lambda update: None)

    def broken():
        yield SHORT[:40_000]
        raise OSError("the microphone was pulled out")

    with house() as there:
        client = LiveClient(there.url)
        with pytest.raises(OSError, match="pulled out"):
            client.run(broken(), lambda update: None)
        assert client.answer.duration == 2.5


SERVER_HOUSE = Path(__file__).parents[1] / "server_house.py"


class Process:
    """`diarist serve` in a process of its own."""

    def __init__(self, folder, *words):
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            command = [sys.executable, str(SERVER_HOUSE), "serve", "--port", "0", *words]
            env = {**os.environ, "PYTHONWARNINGS": "error"}
            self.process = subprocess.Popen(command, cwd=folder, stderr=log, stdout=log, env=env)
        deadline = time.monotonic() + 60
        while "listening on" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        self.url = self.log.read_text().split("listening on ")[1].split()[0]
        self.port = self.url.rpartition(":")[2].partition("/")[0]

    def stop(self, number=signal.SIGTERM):
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        return code, self.log.read_text().split("\n")[1:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_has_every_session_get_its_answer(tmp_path, number):
    server = Process(tmp_path, "--output", "out", "--hello-timeout", "60")

    async def go():
        async with call(server.url) as caller, call(server.url) as lost, call(server.url) as mute:
            await lost.hello(uri="lost")
            await lost.send(SHORT)
            lost.socket.transport.abort()
            await caller.hello(uri="here")
            await caller.send(SHORT)
            while not caller.updates or caller.updates[-1]["until"] < len(SHORT) // 8000 / 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # for what is less than a step
            server.process.send_signal(number)
            assert await caller.end(60) == 1012
            assert await mute.end(60) == 1012
            return caller

    caller = asyncio.run(go())
    code, log = server.stop(None)
    expected = alone(SHORT)
    same(caller.updates, expected)
    assert [m["code"] for m in caller.messages if m["type"] in ("warning", "error")] == ["shutdown", "shutdown"]
    assert (code, log) == (0, [""])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["here.rttm", "lost.rttm"]
    assert (tmp_path / "out" / "here.rttm").read_text().count("\n") == len(expected.session)


def test_sound_after_the_end_is_refused():
    async def go(url):
        async with call(url) as caller:
            await caller.hello()
            await caller.say("end")
            await caller.socket.send(SHORT[:1000].tobytes())
            return await caller.end(), caller.messages[-1]

    with house(segmentation=Slow()) as there:
        code, last = asyncio.run(go(there.url))
    assert (code, last["code"]) in ((4400, "bad_message"), (1000, None)) or last["type"] == "update"


def test_the_commands_together(tmp_path, shell):
    from toy_house import write_wav

    write_wav(tmp_path / "meeting.wav", SHORT)
    (tmp_path / "token").write_text("abc\n")
    server = Process(tmp_path, "--token-file", "token", "--step", "0.25")
    there = ("--host", "127.0.0.1", "--port", server.port)
    try:
        refused = shell.run(shell.real("client", "meeting.wav", *there))
        assert refused.returncode == 1 and refused.stderr.count("\n") == 1 and "asks for a token" in refused.stderr
        done = shell.run(shell.real("client", "meeting.wav", *there, "--token", "abc", "--step", "0.3", "-o", "a.rttm"))
        assert done.returncode == 0 and done.stderr.count("\n") == 1 and "no PLDA" in done.stderr
        wide = shell.run(
            shell.real(
                "client",
                "meeting.wav",
                *there,
                "--token-file",
                "token",
                "-sr",
                "44100",
                "--latency",
                "2",
                "--format",
                "jsonl",
            )
        )
        assert wide.returncode == 0
    finally:
        assert server.stop() == (0, [""])
    (heard,) = formats.loads(done.stdout, "rttm")
    (kept,) = formats.read(tmp_path / "a.rttm")
    assert heard.uri == kept.uri == "meeting" and len(heard) > len(kept) > 2
    updates = [json.loads(line) for line in wide.stdout.splitlines()]
    assert updates[-1]["session"]["uri"] == "meeting" and finals(updates)


def test_the_client_of_the_guide(tmp_path, shell):
    from toy_house import write_wav

    guide = Path(__file__).parents[2] / "docs" / "guide" / "server.md"
    (tmp_path / "mine.py").write_text(guide.read_text().split("```python\n")[1].split("```")[0])
    write_wav(tmp_path / "meeting.wav", SHORT)
    with house(warn_buffered=2) as there:
        done = shell.run([sys.executable, "mine.py", "meeting.wav", there.url])
    assert (done.returncode, done.stderr) == (0, "")
    expected = alone((SHORT * 32768).round().clip(-32768, 32767).astype("<i2").astype(np.float32) / 32768)
    *turns, last = done.stdout.splitlines()
    assert turns == [f"{t.start} {t.end} {t.speaker}" for t in expected.final]
    assert last == f"{len(expected.session)} turns in the end"


def test_ctrl_c_ends_the_source_and_not_the_answer_and_a_server_that_is_gone_is_said_to_be(tmp_path, shell):
    from toy_house import write_wav

    write_wav(tmp_path / "meeting.wav", SHORT)
    server = Process(tmp_path)

    def client(name, *words):
        there = ("--port", server.port, "--real-time", "-o", name)
        process = shell.start(shell.real("client", "meeting.wav", *there, *words))
        begun = process.stdout.readline()  # somebody has spoken
        assert begun.startswith(b"SPEAKER meeting 1 0.")
        return process

    stopped, lost = client("stopped.rttm"), client("lost.rttm", "--patience", "0.4")
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=30)
    assert stopped.returncode == 130 and b"Traceback" not in err
    (heard,) = formats.read(tmp_path / "stopped.rttm")
    assert 0 < max(turn.end for turn in heard) < 10
    server.process.kill()
    server.process.wait()
    _, err = lost.communicate(timeout=30)
    assert lost.returncode == 1
    dropped_line, error = err.decode().splitlines()
    assert "the line dropped" in dropped_line and error.startswith("diarist: error: cannot connect to")
    (heard,) = formats.read(tmp_path / "lost.rttm")
    assert len(heard) >= 1
