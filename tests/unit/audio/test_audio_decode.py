"""Every kind of recording comes out as the sound that went in, at 16 kHz, on time."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.signal
import soxr
from audio_samples import encode, sweep, write

from diarist.audio import pcm
from diarist.audio.decode import load, open_audio
from diarist.core.types import Waveform
from diarist.errors import AudioError, UsageError

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
LOSSLESS = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE")]
LOSSLESS += [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"), ("W64", "PCM_16"), ("CAF", "PCM_16")]
LOSSLESS += [("RF64", "PCM_16"), ("NIST", "PCM_16"), ("AU", "PCM_16"), ("WAVEX", "PCM_16")]


def at_16k(samples: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(samples, rate, 16_000)


def assert_alike(got: np.ndarray, expected: np.ndarray, least: float = 0.99, spare: int = 800) -> None:
    """Correlated without any shift, of the same loudness, and no more than `spare` samples longer or shorter."""
    assert got.dtype == np.float32
    assert abs(len(got) - len(expected)) <= spare
    num = min(len(got), len(expected))
    assert np.corrcoef(got[:num], expected[:num])[0, 1] > least
    assert np.isclose(got[:num].std(), expected[:num].std(), rtol=0.05)


def lag(got: np.ndarray, expected: np.ndarray) -> int:
    """By how many samples `got` is late."""
    return int(np.argmax(scipy.signal.correlate(got, expected, method="fft"))) - len(expected) + 1


@pytest.mark.parametrize("rate", RATES)
def test_every_rate(rate: int) -> None:
    samples = sweep(1.0, rate)
    with open_audio(write(samples, rate, "WAV", "FLOAT")) as reader:
        got = np.concatenate(list(reader.blocks()))
        assert (reader.source_rate, reader.num_channels) == (rate, 1)
        assert reader.duration == pytest.approx(1.0)
        assert reader.warnings == []
    np.testing.assert_allclose(got, at_16k(samples, rate), atol=1e-6)


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
def test_plain_samples_are_exact(container: str, subtype: str) -> None:
    samples = sweep(0.7, 16_000)
    np.testing.assert_allclose(load(write(samples, 16_000, container, subtype)).samples, samples, atol=3.1e-5)


@pytest.mark.parametrize("subtype", ["PCM_U8", "ULAW", "ALAW", "MS_ADPCM"])
def test_coarse_samples(subtype: str) -> None:
    samples = sweep(0.7, 16_000)
    assert_alike(load(write(samples, 16_000, "WAV", subtype)).samples, samples, 0.998, spare=1100)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("container", ["MP3", "OGG"])
def test_mp3_and_vorbis(container: str, rate: int) -> None:
    samples = sweep(2.0, rate)
    assert_alike(load(write(samples, rate, container)).samples, at_16k(samples, rate))


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_opus(rate: int) -> None:
    samples = sweep(2.0, rate)
    assert_alike(load(write(samples, rate, "OGG", "OPUS")).samples, at_16k(samples, rate))


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("ipod", "aac", 16_000),
        ("mp4", "aac", 44_100),
        ("mp4", "aac", 48_000),
        ("mov", "alac", 48_000),
        ("webm", "libopus", 48_000),
        ("matroska", "aac", 44_100),
        ("ogg", "libopus", 48_000),
        ("mp3", "libmp3lame", 44_100),
        ("avi", "pcm_s16le", 44_100),
    ],
)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_containers(container: str, codec: str, rate: int, num_channels: int) -> None:
    samples = sweep(2.0, rate)
    content = encode(np.stack([samples] * num_channels, axis=1), rate, container, codec)
    with open_audio(content) as reader:
        assert reader.num_channels == num_channels
        assert reader.duration == pytest.approx(2.0, abs=0.1)
        got = np.concatenate(list(reader.blocks()))
    assert_alike(got, at_16k(samples, rate))


def test_padding_beyond_the_end_of_an_mp4_is_dropped() -> None:
    samples = sweep(1.003, 44_100)
    assert len(load(encode(samples, 44_100, "mp4", "aac")).samples) == pytest.approx(1.003 * 16_000, abs=20)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("matroska", "aac")])
def test_video(container: str, codec: str) -> None:
    samples = sweep(2.0, 48_000)
    assert_alike(load(encode(samples, 48_000, container, codec, video=50)).samples, at_16k(samples, 48_000))


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_sound_that_begins_after_the_picture_keeps_its_time(container: str) -> None:
    samples = sweep(2.0, 48_000)
    got = load(encode(samples, 48_000, container, "aac", video=75, delay=0.5)).samples
    expected = np.concatenate([np.zeros(8_000, np.float32), at_16k(samples, 48_000)])
    assert abs(lag(got, expected)) <= 16  # mp4 counts in milliseconds here
    assert np.abs(got[:7_500]).max() < 1e-3


def test_a_hole_in_the_time_stamps_is_filled_with_silence() -> None:
    samples = sweep(2.0, 48_000)
    file = io.BytesIO()
    with av.open(io.BytesIO(encode(samples, 48_000, "webm", "libopus"))) as whole, av.open(file, "w", "webm") as holed:
        stream = holed.add_stream_from_template(whole.streams.audio[0])
        for packet in whole.demux(audio=0):
            if packet.dts is None:
                break
            if packet.pts * packet.time_base >= 1:
                packet.pts = packet.dts = packet.pts + round(3 / packet.time_base)
            packet.stream = stream
            holed.mux(packet)
    got = load(file.getvalue()).samples
    assert len(got) == pytest.approx(5 * 16_000, abs=800)
    assert np.abs(got[17_000:63_000]).max() < 1e-3
    assert abs(lag(got[64_000:], at_16k(samples, 48_000)[16_000:])) <= 160


def test_an_empty_sound_track_is_an_empty_recording() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as output:
        stream = output.add_stream("flac", rate=16_000, layout="mono")
        output.mux(stream.encode(None))
    assert len(load(file.getvalue()).samples) == 0


@pytest.mark.parametrize("name", ["wrong.mp3", "wrong.txt", "none", "x.raw", "x.vox", "x.gsm"])
def test_content_decides_not_the_extension(tmp_path: Path, name: str) -> None:
    samples = sweep(0.5, 16_000)
    path = tmp_path / name
    path.write_bytes(write(samples, 16_000, "WAV", "FLOAT"))
    np.testing.assert_array_equal(load(path).samples, samples)


def test_tags_in_any_encoding() -> None:
    samples = sweep(1.0, 16_000)
    tag = b"TAG" + b"Caf\xe9 \xff\xfe".ljust(125, b"\0")
    assert_alike(load(write(samples, 16_000, "MP3") + tag).samples, samples)


def test_mp3s_leave_stderr_alone(capfd: pytest.CaptureFixture[str]) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)
    load(write(noise, 16_000, "MP3"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("container", "codec"), [("WAV", None), ("FLAC", None), ("MP3", None), ("mp4", "aac"), ("webm", "libopus")]
)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_block_sizes_do_not_change_a_bit(container: str, codec: str | None, num_channels: int) -> None:
    samples = np.stack([sweep(3.0, 48_000)] * num_channels, axis=1)
    content = encode(samples, 48_000, container, codec) if codec else write(samples, 48_000, container)
    whole = load(content).samples
    for size in (1_001, 16_000, 160_000, 10**9):
        with open_audio(content) as reader:
            blocks = list(reader.blocks(size))
        assert all(len(block) == size for block in blocks[:-1])
        assert 0 < len(blocks[-1]) <= size
        np.testing.assert_array_equal(np.concatenate(blocks), whole)


class TestSources:
    samples = sweep(0.5, 16_000)

    @property
    def content(self) -> bytes:
        return write(self.samples, 16_000, "WAV", "FLOAT")

    def test_path_and_uri(self, tmp_path: Path) -> None:
        path = tmp_path / "Monday 9:00 – über.wav"
        path.write_bytes(self.content)
        with open_audio(str(path)) as reader:
            assert reader.uri == "Monday 9:00 – über"
        with open_audio(path, uri="other") as reader:
            assert reader.uri == "other"

    @pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
    def test_a_name_that_is_no_unicode(self, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
        path.write_bytes(self.content)
        with open_audio(path) as reader:
            assert reader.uri == "caf\ufffd"
        path.write_bytes(b"")
        with pytest.raises(AudioError) as caught:
            open_audio(path)
        str(caught.value).encode()

    def test_files_stay_open_and_are_read_from_the_start(self) -> None:
        file = io.BytesIO(self.content)
        file.seek(20)
        np.testing.assert_array_equal(load(file).samples, self.samples)
        assert not file.closed

    def test_an_archive_is_unpacked(self, tmp_path: Path) -> None:
        import gzip

        (tmp_path / "a.wav.gz").write_bytes(gzip.compress(self.content))
        with gzip.open(tmp_path / "a.wav.gz") as file:
            np.testing.assert_array_equal(load(file).samples, self.samples)

    def test_without_descriptors(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pcm, "_BY_DESCRIPTOR", False)
        np.testing.assert_array_equal(load(self.content).samples, self.samples)

    def test_stdin_pipe(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, writing = os.pipe()
        content = encode(self.samples, 16_000, "mp4", "aac")  # needs seeking
        thread = threading.Thread(target=lambda: [os.write(writing, content), os.close(writing)])
        thread.start()
        with os.fdopen(reading, "r") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with open_audio("-") as reader:
                assert reader.uri == "stdin"
                assert_alike(np.concatenate(list(reader.blocks())), self.samples)
        thread.join()

    def test_named_pipe(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe"
        os.mkfifo(path)
        thread = threading.Thread(target=path.write_bytes, args=(self.content,))
        thread.start()
        np.testing.assert_array_equal(load(path).samples, self.samples)
        thread.join()

    def test_waveform(self) -> None:
        again = load(Waveform(self.samples, 16_000, "mine"))
        assert again.uri == "mine"
        np.testing.assert_array_equal(again.samples, self.samples)

    @pytest.mark.parametrize(
        "dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float64", ">i2"]
    )
    def test_arrays_of_every_type(self, dtype: str) -> None:
        kind = np.dtype(dtype)
        values = self.samples.astype(np.float64)
        if kind.kind in "iu":
            half = 2.0 ** (8 * kind.itemsize - 1)
            values = np.round(values * half) + (half if kind.kind == "u" else 0)
        tolerance = {1: 1e-2, 2: 1e-3}.get(kind.itemsize, 1e-6)
        np.testing.assert_allclose(load(values.astype(kind), sample_rate=16_000).samples, self.samples, atol=tolerance)

    def test_array_channels(self) -> None:
        both = np.stack([self.samples, np.zeros_like(self.samples)], axis=1)
        np.testing.assert_array_equal(load(both, sample_rate=16_000).samples, self.samples / 2)
        np.testing.assert_array_equal(load(both, sample_rate=16_000, channel=0).samples, self.samples)
        np.testing.assert_array_equal(load(both, sample_rate=16_000, channel=1).samples, 0)

    def test_the_array_given_is_not_shared(self) -> None:
        mine = self.samples.copy()
        got = load(mine, sample_rate=16_000).samples
        got[:] = 9
        np.testing.assert_array_equal(mine, self.samples)

    def test_twelve_channels(self) -> None:
        many = np.zeros((8_000, 12), np.float32)
        many[:, 7] = self.samples
        content = write(many, 16_000, "WAV", "FLOAT")
        np.testing.assert_array_equal(load(content, channel=7).samples, self.samples)
        np.testing.assert_allclose(load(content).samples, self.samples / 12, atol=1e-6)

    def test_read_once(self) -> None:
        with open_audio(self.content) as reader:
            list(reader.blocks())
            with pytest.raises(UsageError, match="read already"):
                reader.blocks()


class TestShort:
    @pytest.mark.parametrize("container", ["WAV", "AIFF", "CAF"])
    def test_no_samples(self, container: str) -> None:
        with open_audio(write(np.zeros(0, np.float32), 16_000, container)) as reader:
            assert list(reader.blocks()) == []
            assert reader.warnings == []

    def test_empty_array(self) -> None:
        assert len(load(np.zeros(0, np.float32), sample_rate=44_100).samples) == 0
        assert len(load(np.zeros((0, 2)), sample_rate=44_100).samples) == 0

    @pytest.mark.parametrize("container", ["WAV", "FLAC"])
    def test_one_sample(self, container: str) -> None:
        assert len(load(write(np.full(1, 0.5, np.float32), 16_000, container)).samples) == 1

    @pytest.mark.parametrize("rate", RATES)
    def test_few_samples_at_every_rate(self, rate: int) -> None:
        got = load(write(np.zeros(5, np.float32), rate, "WAV")).samples
        assert len(got) == pytest.approx(5 * 16_000 / rate, abs=1)


class TestWrongSizes:
    def header(self, size: int, riff: int | None = None, extra: bytes = b"") -> bytes:
        wave = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16) + extra
        riff = 4 + len(wave) + 8 + size if riff is None else riff
        return b"RIFF" + struct.pack("<I", riff & 0xFFFFFFFF) + wave + b"data" + struct.pack("<I", size & 0xFFFFFFFF)

    samples = np.round(sweep(1.0, 16_000) * 32767).astype("<i2")

    def test_a_stream_that_did_not_know_its_length(self) -> None:
        content = self.header(0xFFFFFFFF, 0xFFFFFFFF) + self.samples.tobytes()
        with open_audio(content) as reader:
            got = np.concatenate(list(reader.blocks()))
            assert reader.warnings == []
        np.testing.assert_allclose(got * 32768, self.samples)

    def test_a_header_that_was_never_completed(self) -> None:
        content = self.header(0, 0, extra=b"LIST" + struct.pack("<I", 3) + b"abc\0") + self.samples.tobytes()
        with open_audio(content) as reader:
            got = np.concatenate(list(reader.blocks()))
            assert "wrong size" in reader.warnings[0]
            assert reader.duration == 1.0
        np.testing.assert_allclose(got * 32768, self.samples)

    @pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_a_header_that_was_never_completed_of_every_type(self, subtype: str) -> None:
        stereo = np.stack([sweep(0.5, 16_000), -0.5 * sweep(0.5, 16_000)], axis=1)
        content = bytearray(write(stereo, 16_000, "WAV", subtype))
        data = content.index(b"data")
        content[4:8] = content[data + 4 : data + 8] = bytes(4)
        for channel in (0, 1):
            whole = load(write(stereo, 16_000, "WAV", subtype), channel=channel).samples
            np.testing.assert_array_equal(load(bytes(content), channel=channel).samples[: len(whole)], whole)

    def test_no_samples_but_much_else_is_empty(self) -> None:
        content = self.header(0, 36 + 8 + 6000) + b"LIST" + struct.pack("<I", 6000) + bytes(6000)
        with open_audio(content) as reader:
            assert list(reader.blocks()) == []

    def test_beyond_four_gigabytes(self, tmp_path: Path) -> None:
        path, size = tmp_path / "day.wav", 40 * 3600 * 32_000
        with path.open("wb") as file:
            file.write(self.header(size) + self.samples.tobytes())
            file.truncate(44 + size)  # sparse: takes no room on the disk
        with open_audio(path) as reader:
            assert reader.duration == 40 * 3600
            np.testing.assert_allclose(next(reader.blocks(16_000)) * 32768, self.samples)
