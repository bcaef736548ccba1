"""Sound over web sockets and URLs, between this machine and itself."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import socket
import threading
import time

import av
import numpy as np
import pytest
import soundfile

from diarist.audio.sources import UrlSource, WebSocketServerSource, WebSocketSource
from diarist.audio.sources.urls import uri_of, without_password
from diarist.errors import AudioError, UsageError

RATE = 16_000


def tone(seconds, rate=RATE, hertz=440.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def whole(source):
    return np.concatenate([np.zeros(0, np.float32), *source])


@pytest.fixture
def web(tmp_path):
    """A web server of a folder; its address."""
    handler = type(
        "Quiet",
        (http.server.SimpleHTTPRequestHandler,),
        {"log_message": lambda *_: None, "__init__": _in_folder(tmp_path)},
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    in_thread(server.serve_forever)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _in_folder(folder):
    def init(self, *arguments):
        http.server.SimpleHTTPRequestHandler.__init__(self, *arguments, directory=str(folder))

    return init


def encoded(samples, rate, format, codec):
    """A container with one sound track, as bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((samples * 32_767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        for one in (*av.AudioResampler(stream.format or "s16", "mono", rate).resample(frame), None):
            container.mux(stream.encode(one))
    return file.getvalue()


@pytest.mark.parametrize("name", ["call.wav", "call.flac", "call.ogg"])
def test_a_recording_on_a_web_server(web, tmp_path, name):
    soundfile.write(tmp_path / name, tone(3.0, 44_100), 44_100)
    source = UrlSource(f"{web}/{name}")
    heard = whole(source)
    assert source.uri == "call" and abs(len(heard) / RATE - 3.0) < 0.05 and source.warnings == []
    assert abs(float(np.sqrt(np.mean(heard**2))) - 0.212) < 0.01


def test_a_play_list_of_pieces(web, tmp_path):
    """HLS: pieces that each are a file of their own."""
    for index in range(3):
        with av.open(str(tmp_path / f"{index}.ts"), "w", format="mpegts") as container:
            stream = container.add_stream("mp2", rate=RATE * 3)
            stream.layout = "mono"
            sound = (tone(1.0, RATE * 3) * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE * 3, index * RATE * 3
            resampler = av.AudioResampler("s16", "mono", RATE * 3, frame_size=1152)
            for one in (*resampler.resample(frame), *resampler.resample(None), None):
                container.mux(stream.encode(one))
    (tmp_path / "live.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + "".join(f"#EXTINF:1.0,\n{i}.ts\n" for i in range(3)) + "#EXT-X-ENDLIST\n"
    )
    heard = whole(UrlSource(f"{web}/live.m3u8"))
    assert abs(len(heard) / RATE - 3.0) < 0.2


def test_a_play_list_opens_no_files(web, tmp_path):
    soundfile.write(tmp_path / "secret.wav", tone(1.0), RATE)
    (tmp_path / "bad.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(AudioError):
        whole(UrlSource(f"{web}/bad.m3u8"))


def test_urls_that_lead_nowhere(web, tmp_path):
    (tmp_path / "page.html").write_text("<html>hello</html>")
    with pytest.raises(AudioError, match=r"cannot be opened: .*404"):
        whole(UrlSource(f"{web}/nothing.wav"))
    with pytest.raises(AudioError, match="cannot be opened: Invalid data"):
        whole(UrlSource(f"{web}/page.html"))
    with pytest.raises(AudioError, match=r"'http://127\.0\.0\.1:9/x' cannot be opened: .*refused"):
        whole(UrlSource("http://me:secret@127.0.0.1:9/x"))
    with pytest.raises(AudioError, match="cannot be opened"):
        whole(UrlSource("nosuch://127.0.0.1/x"))


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(AudioError, match=r"nothing came for 0\.5 s"):
            whole(UrlSource(f"http://127.0.0.1:{silent.getsockname()[1]}/x", timeout=0.5))
        assert time.monotonic() - begun < 20


def test_samples_over_tcp_as_another_ffmpeg_sends_them():
    data = encoded(tone(2.0), RATE, "wav", "pcm_s16le")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                for start in range(0, len(data), 4000):
                    connection.sendall(data[start : start + 4000])

        in_thread(serve)
        heard = whole(UrlSource(f"tcp://127.0.0.1:{server.getsockname()[1]}"))
    assert abs(len(heard) / RATE - 2.0) < 0.05


def until_somebody_listens(sender):
    """Sends empty packets of a transport stream: where nobody listens, the next one is refused."""
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            for _ in range(2):
                sender.send(b"\x47\x1f\xff\x10" + bytes(184))
                time.sleep(0.02)
            return


def test_a_transport_stream_over_udp():
    """A sender that stops: what came is heard, and the silence told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("mp2", rate=48_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(
            (tone(4.0, 48_000) * 32_767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = 48_000, 0
        resampler = av.AudioResampler("s16", "mono", 48_000, frame_size=1152)
        for one in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(one))
    data = file.getvalue()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect(("127.0.0.1", port))
            until_somebody_listens(sender)
            for start in range(0, len(data), 1316):
                sender.send(data[start : start + 1316])
                time.sleep(0.005)

    in_thread(send)
    blocks = []
    with pytest.raises(AudioError, match="broke off: nothing came for 1 s"):
        blocks.extend(UrlSource(f"udp://127.0.0.1:{port}", timeout=1.0))
    assert 2.5 < sum(map(len, blocks)) / RATE <= 4.05


def test_names_and_passwords_of_urls():
    assert uri_of("rtsp://me:secret@camera-1.lan:554/") == "camera_1_lan"
    assert uri_of("http://radio.example/live/news.mp3?x=1") == "news" and uri_of("udp://@:1234") == "stream"
    assert without_password("rtsp://me:se@cret@host/x") == "rtsp://host/x" and without_password("a@b") == "a@b"


@pytest.mark.parametrize("encoding", ["s16le", "f32le"])
def test_a_client_sends_sound_to_a_listening_source(encoding):
    client = pytest.importorskip("websockets.sync.client")
    source = WebSocketServerSource("127.0.0.1", 0, 8000, encoding)
    sound = tone(1.3, 8000)
    data = (sound * 32_768).astype("<i2").tobytes() if encoding == "s16le" else sound.tobytes()
    replies = []

    def send():
        with client.connect(f"ws://127.0.0.1:{source.port}") as socket:
            for start in range(0, len(data), 1001):  # cut within samples
                socket.send(data[start : start + 1001])
            replies.append(socket.recv())

    thread = in_thread(send)
    blocks = iter(source)
    heard = [next(blocks)]
    source.send("SPEAKER ...")
    heard += list(blocks)
    thread.join(5)
    assert replies == ["SPEAKER ..."] and sum(map(len, heard)) == 1.3 * RATE and source.warnings == []


def test_diarts_client_sends_base64_of_float32():
    client = pytest.importorskip("websockets.sync.client")
    source = WebSocketServerSource("127.0.0.1", 0)

    def send():
        with client.connect(f"ws://127.0.0.1:{source.port}") as socket:
            for start in range(0, RATE, 8000):
                socket.send(base64.b64encode(tone(1.0)[start : start + 8000].tobytes()).decode())

    in_thread(send)
    np.testing.assert_array_equal(whole(source), tone(1.0))


def test_a_second_client_is_turned_away_and_garbage_is_told():
    client = pytest.importorskip("websockets.sync.client")
    from websockets.exceptions import ConnectionClosedError

    source = WebSocketServerSource("127.0.0.1", 0)
    codes = []

    def send():
        address = f"ws://127.0.0.1:{source.port}"
        with client.connect(address) as first:
            first.send(tone(0.5).astype("<i2").tobytes())
            time.sleep(0.2)
            with client.connect(address) as second:
                try:
                    second.recv()
                except ConnectionClosedError as closed:
                    codes.append(closed.rcvd.code)
            first.send("this is no sound!")
            time.sleep(0.2)

    thread = in_thread(send)
    blocks = []
    with pytest.raises(AudioError, match="must be base64"):
        blocks.extend(source)
    thread.join(5)
    assert codes == [1013] and len(blocks) == 1


def test_a_client_that_breaks_off():
    client = pytest.importorskip("websockets.sync.client")
    source = WebSocketServerSource("127.0.0.1", 0)

    def send():
        with client.connect(f"ws://127.0.0.1:{source.port}") as connection:
            connection.send(bytes(16_001))
            time.sleep(0.2)
            connection.socket.shutdown(socket.SHUT_RDWR)

    in_thread(send)
    blocks = []
    with pytest.raises(AudioError, match="the connection broke"):
        blocks.extend(source)
    assert [len(block) for block in blocks] == [8000]


def test_a_source_that_calls():
    server = pytest.importorskip("websockets.sync.server")
    said = []

    def talk(connection):
        connection.send((tone(0.7) * 32_768).astype("<i2").tobytes())
        said.append(connection.recv())

    with server.serve(talk, "127.0.0.1", 0) as running:
        in_thread(running.serve_forever)
        source = WebSocketSource(f"ws://127.0.0.1:{running.socket.getsockname()[1]}")
        source.send("nobody is there yet")
        blocks = iter(source)
        first = next(blocks)
        source.send("thanks")
        rest = list(blocks)
        assert len(first) + sum(map(len, rest)) == 0.7 * RATE and said == ["thanks"]
        running.shutdown()


def test_web_sockets_that_cannot_be(tmp_path):
    pytest.importorskip("websockets")
    with pytest.raises(AudioError, match="cannot be reached"):
        whole(WebSocketSource("ws://127.0.0.1:9"))
    taken = WebSocketServerSource("127.0.0.1", 0)
    with pytest.raises(AudioError, match=f"cannot listen on 127.0.0.1:{taken.port}: Address already in use"):
        WebSocketServerSource("127.0.0.1", taken.port)
    taken.close()
    (tmp_path / "no.pem").write_text("no")
    for bad in ({"certificate": str(tmp_path / "no.pem")}, {"encoding": "x"}, {"sample_rate": 1}):
        with pytest.raises(UsageError):
            WebSocketServerSource("127.0.0.1", 0, **bad)


def test_nobody_calls():
    pytest.importorskip("websockets")
    source = WebSocketServerSource("127.0.0.1", 0)
    threading.Timer(0.3, source.close).start()
    assert list(source) == []
