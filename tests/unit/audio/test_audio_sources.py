"""Files, pipes, iterators, and what can be done to blocks."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile

from diarist.audio.decode import load
from diarist.audio.sources import FileSource, IteratorSource, PcmSource, ReadAhead, open_source
from diarist.audio.sources.blocks import adjust_volume, paced, rechunk, resample
from diarist.audio.sources.opening import SourceOptions
from diarist.errors import AudioError, UsageError

RATE = 16_000


def tone(seconds, rate=RATE, hertz=440.0):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def whole(source):
    blocks = list(source)
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def level(samples):
    return float(np.sqrt(np.mean(np.square(samples))))


@pytest.fixture
def stereo(tmp_path):
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([tone(2.3, 44_100), tone(2.3, 44_100, 700)], axis=1), 44_100)
    return path


@pytest.mark.parametrize("block", [0.5, 0.013, 7.0])
def test_a_file_is_what_the_decoder_gives_in_blocks_of_any_length(stereo, block):
    source = FileSource(stereo, block=block)
    assert (source.uri, source.sample_rate, source.live) == ("call", RATE, False)
    blocks = list(source)
    assert {len(b) for b in blocks[:-1]} <= {round(block * RATE)}
    np.testing.assert_array_equal(np.concatenate(blocks), load(stereo).samples)


def test_a_file_can_be_cut_off(tmp_path, stereo):
    data = stereo.read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[: len(data) // 2 + 1])
    source = FileSource(tmp_path / "cut.wav")
    heard = whole(source)
    assert 1.1 < len(heard) / RATE < 1.2 and "cut off" in source.warnings[0]


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where somebody sleeps."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    monkeypatch.setattr("diarist.audio.sources.blocks.time", Clock())
    return sys.modules["diarist.audio.sources.blocks"].time


def test_a_paced_file_takes_its_time(clock):
    heard = whole(FileSource(tone(1.0), sample_rate=RATE, block=0.1, pace=4.0))
    assert clock.now == pytest.approx(0.25) and len(heard) == RATE
    with pytest.raises(UsageError, match="pace"):
        FileSource(tone(1.0), sample_rate=RATE, pace=0.0)


def test_a_block_comes_once_its_last_sample_would_have_been_heard(clock):
    times = []
    for index, _ in enumerate(paced([np.zeros(1600, np.float32)] * 4)):
        times.append(clock.now)
        if index == 1:
            clock.sleep(0.15)  # falls behind by half a block, and catches up
    assert times == pytest.approx([0.1, 0.2, 0.35, 0.4])


@pytest.mark.parametrize("cut", [1, 160, 4001])
def test_an_iterator_at_another_rate_is_one_sound(cut):
    sound = tone(1.7, 44_100)
    pieces = [sound[i : i + cut] for i in range(0, len(sound), cut)] if cut > 1 else [sound[:1], sound[1:]]
    heard = whole(IteratorSource(pieces, 44_100))
    np.testing.assert_allclose(heard, load(sound, sample_rate=44_100).samples, atol=1e-6)


def test_an_iterator_of_integers_of_two_channels():
    block = np.full((8000, 2), [16_384, 0], np.int16)
    heard = whole(IteratorSource(iter([block, block]), RATE))
    assert len(heard) == RATE and np.allclose(heard, 0.25)


def test_what_is_no_sound_is_refused_or_silenced():
    with pytest.raises(UsageError, match="must be of shape"):
        whole(IteratorSource([np.zeros((2, 2, 2))]))
    with pytest.raises(UsageError, match="integers or real"):
        whole(IteratorSource([np.array(["a"])]))
    with pytest.raises(UsageError, match="sample rate"):
        IteratorSource([], 5)
    with pytest.raises(UsageError, match="a block has"):
        IteratorSource([], block=0)
    bad = tone(1.0)
    bad[5], bad[9] = np.nan, np.inf
    source = IteratorSource([bad])
    assert np.isfinite(whole(source)).all() and source.warnings[0].startswith("2 samples are NaN")
    assert whole(IteratorSource([])).shape == (0,)


def test_rechunk_and_resample():
    blocks = list(rechunk([tone(0.3), tone(0.4)], 3000))
    assert [len(b) for b in blocks] == [3000, 3000, 3000, 2200]
    up = np.concatenate(list(resample([tone(0.5), tone(0.5)], RATE, 48_000)))
    assert len(up) == 48_000
    for call in (lambda: rechunk([], 0), lambda: resample([], 1, RATE), lambda: paced([], speed=-1)):
        with pytest.raises(UsageError):
            call()


def test_adjust_volume():
    quiet, silent = tone(1.0) * 0.01, np.zeros(100, np.float32)
    louder, still, clipped = adjust_volume([quiet, silent, tone(0.1)], -20.0), None, None
    louder, still, clipped = louder
    assert abs(level(louder) - 0.1) < 1e-4 and not still.any()
    assert abs(level(clipped) - 0.1) < 1e-4
    (loudest,) = adjust_volume([tone(0.1)], 10.0)
    assert abs(float(np.abs(loudest).max()) - 1) < 1e-6
    assert next(adjust_volume([np.zeros(0, np.float32)], 0.0)).shape == (0,)


class Dribble(io.RawIOBase):
    """A pipe that gives some bytes at a time."""

    def __init__(self, data, portion):
        self.data, self.portion = data, portion

    def readable(self):
        return True

    def read(self, size=-1):
        size = self.portion if size < 0 else min(self.portion, size)
        data, self.data = self.data[:size], self.data[size:]
        return data


@pytest.mark.parametrize("portion", [1, 3, 4097])
@pytest.mark.parametrize(
    ("encoding", "kind", "scale"),
    [("s16le", "<i2", 32_768), ("S16", "<i2", 32_768), ("s16be", ">i2", 32_768), ("f32", "<f4", 1), ("f64", "<f8", 1)],
)
def test_plain_samples_from_a_pipe(portion, encoding, kind, scale):
    sound = tone(0.05)
    source = PcmSource(Dribble((sound * scale).astype(kind).tobytes(), portion), RATE, encoding)
    heard = whole(source)
    assert len(heard) == len(sound) and np.abs(heard - sound).max() <= 1 / 32_768 and source.warnings == []


def test_half_a_sample_at_the_end_is_told():
    source = PcmSource(io.BytesIO(tone(0.1).astype("<f4").tobytes() + b"xy"), encoding="f32le")
    assert len(whole(source)) == 1600 and "the last 2 bytes" in source.warnings[0]


def test_two_channels_at_8000_hertz():
    stereo = np.repeat(tone(1.0, 8000)[:, None], 2, axis=1)
    assert len(whole(PcmSource(io.BytesIO(stereo.tobytes()), 8000, "f32le", 2))) == RATE


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG"])
def test_a_container_in_a_pipe_says_itself_what_it_is(stereo, format):
    samples, rate = soundfile.read(stereo)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format)
    heard = whole(PcmSource(Dribble(file.getvalue(), 5000)))
    expected = load(file.getvalue()).samples
    assert abs(len(heard) - len(expected)) <= 0.02 * RATE
    num = min(len(heard), len(expected))
    assert level(heard[:num] - expected[:num]) < 0.01 * level(expected)


def test_a_container_that_breaks_off(stereo):
    data = stereo.read_bytes()
    heard = whole(PcmSource(Dribble(data[: len(data) // 2], 5000)))
    assert 1.0 < len(heard) / RATE < 1.2


def test_pipes_that_hold_nothing_or_break():
    with pytest.raises(AudioError, match="empty"):
        whole(PcmSource(io.BytesIO(b"")))
    with pytest.raises(AudioError, match="cannot be decoded"):
        whole(PcmSource(io.BytesIO(b"RIFF" + b"\x00" * 200)))

    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    with pytest.raises(AudioError, match="Input/output error"):
        whole(PcmSource(Broken()))
    for bad in ({"encoding": "s17"}, {"sample_rate": 1}, {"num_channels": 0}):
        with pytest.raises(UsageError):
            PcmSource(io.BytesIO(b""), **bad)


def test_words_and_the_sources_they_mean(stereo, monkeypatch):
    pytest.importorskip("websockets")
    assert open_source(str(stereo)).uri == "call"
    assert open_source(f"file://{stereo}").uri == "call"
    assert open_source("http://example.org/radio/live.m3u8").uri == "live"
    assert open_source("rtsp://me:secret@camera.lan").uri == "camera_lan"
    assert open_source("wss://example.org").uri == "websocket"
    listening = open_source("listen://127.0.0.1:0")
    assert listening.port > 0
    listening.close()
    with pytest.raises(UsageError, match="own pace"):
        open_source("udp://127.0.0.1:9", SourceOptions(pace=1.0))
    with pytest.raises(UsageError, match="no address"):
        open_source("listen://here:port")
    with pytest.raises(AudioError, match="no such file"):
        open_source("nowhere.wav")
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(AudioError, match="pipe some in"):
        open_source("-")


def test_a_program_may_end_while_standard_input_is_still_open():
    script = (
        "from diarist.audio.sources import PcmSource, ReadAhead\n"
        "ahead = ReadAhead(PcmSource())\n"
        "for block in ahead:\n"
        "    ahead.stop()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(bytes(2 * RATE))
        process.stdin.flush()
        assert process.wait(30) == 0, process.stderr.read()


def test_read_ahead_gives_the_same_blocks_and_the_error_after_them(stereo):
    np.testing.assert_array_equal(whole(ReadAhead(FileSource(stereo))), load(stereo).samples)

    def breaks():
        yield tone(0.5)
        raise OSError("lost")

    heard = []
    with pytest.raises(OSError, match="lost"):
        heard.extend(iter(ReadAhead(IteratorSource(breaks(), block=0.25))))
    assert [len(block) for block in heard] == [4000, 4000]


def test_read_ahead_waits_for_a_slow_consumer():
    given = []

    def counted():
        for index in range(50):
            given.append(index)
            yield np.zeros(8000, np.float32)

    ahead = ReadAhead(IteratorSource(counted()), most=4)
    blocks = iter(ahead)
    next(blocks)
    deadline = time.monotonic() + 60
    while ahead.waiting < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # for more, if there were any
    assert ahead.waiting == 4 and len(given) <= 7
    blocks.close()
    ahead._thread.join(60)
    assert not ahead._thread.is_alive()


def test_a_stop_gives_out_what_a_live_source_has_heard():
    go_on = threading.Event()

    def heard():
        yield tone(0.7)  # a block and a tail
        go_on.wait(60)
        yield tone(0.5)

    ahead = ReadAhead(IteratorSource(heard()))
    blocks = iter(ahead)
    first = next(blocks)
    ahead.stop()
    go_on.set()
    rest = np.concatenate(list(blocks))
    assert len(first) == 8000 and len(rest) == 0.2 * RATE


def test_a_stop_does_not_wait_for_a_read_that_is_stuck():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        ahead = ReadAhead(PcmSource(pipe))
        threading.Timer(0.2, ahead.stop).start()
        assert list(ahead) == []  # would wait for ever
        os.close(writing)
        ahead._thread.join(60)


def test_a_stop_before_the_first_block(stereo):
    """A block of a file at most; nothing of what is only to come."""
    ahead = ReadAhead(FileSource(stereo))
    ahead.stop()
    assert len(list(ahead)) <= 1
    ahead = ReadAhead(IteratorSource(iter([tone(0.5)] * 9)))
    ahead.stop()
    assert list(ahead) == []
