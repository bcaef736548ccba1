"""What is no recording, or a broken one: one line that says what was given, or what can still be read."""

from __future__ import annotations

import gc
import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audio_samples import encode, sweep, write

from diarist.audio.decode import load, open_audio
from diarist.errors import AudioError, UsageError

WAV = write(sweep(1.0, 16_000), 16_000, "WAV", "PCM_16")


def read(source: Any, **options: Any) -> tuple[np.ndarray, list[str]]:
    with open_audio(source, **options) as reader:
        return np.concatenate([np.zeros(0, np.float32), *reader.blocks()]), reader.warnings


def patched(content: bytes, at: int, by: bytes) -> bytes:
    return content[:at] + by + content[at + len(by) :]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, this is a text\n" * 99, "looks like text"),
        ("\ufeffgrüße\r\n".encode() * 99, "looks like text"),
        (b"<!DOCTYPE html><html></html>", "looks like a web page"),
        (b'{"error": "not found"}', "looks like JSON"),
        (b"%PDF-1.4\n" + bytes(range(256)) * 9, "looks like a PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(999), "looks like a picture"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(999), "looks like a picture"),
        (b"PK\x03\x04" + bytes(999), "looks like a zip"),
        (b"#EXTM3U\n#EXTINF:3,\nhttp://localhost/a.ts\n", "looks like a play list"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "looks like text"),
        (np.random.default_rng(0).bytes(20_000), "format is unknown, or it is damaged"),
        (bytes(20_000), "format is unknown, or it is damaged"),
        (b"\0", "format is unknown, or it is damaged"),
        (b"\xff", "format is unknown, or it is damaged"),
        (WAV[:20], "Malformed 'fmt ' chunk"),
        (patched(WAV, 22, b"\0\0"), "Channel count is zero"),
        (patched(WAV, 24, b"\0\0\0\0"), "can be decoded: Internal error"),
        (patched(WAV, 24, b"\xff\xff\xff\x7f"), "sample rate of 2147483647 Hz"),
        (patched(WAV, 24, struct.pack("<I", 9)), "sample rate of 9 Hz"),
        (encode(sweep(2.0, 48_000), 48_000, "mp4", "aac")[:9_000], "without its index"),
    ],
    ids=lambda value: value[:12].decode("latin-1").strip() if isinstance(value, bytes) else None,
)
def test_no_recording(content: bytes, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "meeting.wav"
    path.write_bytes(content)
    for source, name in ((path, "meeting.wav"), (content, "the recording given")):
        with pytest.raises(AudioError) as caught:
            read(source)
        assert says in str(caught.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_random_bytes_never_decode() -> None:
    for seed in range(60):
        with pytest.raises(AudioError):
            read(np.random.default_rng(seed).bytes(3_000))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no such file: '.*gone.wav'"):
        open_audio(tmp_path / "gone.wav")


def test_url_is_a_missing_file() -> None:
    with pytest.raises(AudioError, match="no such file"):
        open_audio("http://localhost/a.wav")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is a folder, not a recording"):
        open_audio(tmp_path)


def test_odd_names_keep_to_one_line(tmp_path: Path) -> None:
    for name in ("a\nb.wav", "a\0b.wav", "x" * 300):
        with pytest.raises(AudioError) as caught:
            open_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_for_users(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(WAV)
    path.chmod(0)
    with pytest.raises(AudioError, match="permission denied"):
        open_audio(path)


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.wav"
    path.write_bytes(WAV)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError, match=r"secret.wav' cannot be read: permission denied"):
        open_audio(path)


def test_video_without_sound(tmp_path: Path) -> None:
    import av

    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p")
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(AudioError, match=r"silent.mp4' has no sound track"):
        open_audio(path)


def test_unsupported_codec() -> None:
    content = encode(sweep(1.0, 48_000), 48_000, "mov", "alac").replace(b"alac", b"zzzz")
    with pytest.raises(AudioError, match=r"cannot be decoded \(codec: unknown\)"):
        open_audio(content)


class TestTruncated:
    """What is there is read, and the missing part is told."""

    @pytest.mark.parametrize(("container", "subtype"), [("WAV", None), ("AIFF", None), ("W64", None), ("FLAC", None)])
    def test_half(self, container: str, subtype: str | None) -> None:
        noise = (0.2 * np.random.default_rng(0).standard_normal(64_000)).astype(np.float32)
        content = write(noise, 16_000, container, subtype)
        got, warnings = read(content[: len(content) // 2])
        assert 1.7 * 16_000 < len(got) <= 2 * 16_000
        np.testing.assert_allclose(got, noise[: len(got)], atol=1e-4)
        assert any("cut off: its header promises" in warning for warning in warnings)

    @pytest.mark.parametrize(
        "content",
        [
            write(sweep(20.0, 16_000), 16_000, "MP3"),
            encode(sweep(20.0, 44_100), 44_100, "mp3", "libmp3lame"),
            encode(sweep(20.0, 48_000), 48_000, "webm", "libopus"),
            encode(sweep(20.0, 48_000), 48_000, "matroska", "aac"),
        ],
        ids=["mp3", "lame", "webm", "mkv"],
    )
    def test_half_compressed(self, content: bytes) -> None:
        got, warnings = read(content[: len(content) // 2])
        assert 5 * 16_000 < len(got) < 15 * 16_000
        assert any("cut off" in warning for warning in warnings)

    def test_half_an_ogg(self) -> None:
        content = write(sweep(20.0, 16_000), 16_000, "OGG")
        got, _ = read(content[: len(content) // 2])  # an ogg does not say how long it is
        assert 5 * 16_000 < len(got) < 15 * 16_000

    def test_header_only(self) -> None:
        got, warnings = read(WAV[:44])
        assert len(got) == 0
        assert "cut off" in warnings[0]

    @pytest.mark.parametrize(
        ("container", "codec"), [("FLAC", None), ("MP3", None), ("mp4", "aac"), ("mpegts", "aac"), ("adts", "aac")]
    )
    def test_damage_in_the_middle_does_not_end_it(self, container: str, codec: str | None) -> None:
        noise = (0.2 * np.random.default_rng(0).standard_normal(96_000)).astype(np.float32)
        content = encode(noise, 16_000, container, codec) if codec else write(noise, 16_000, container)
        middle = len(content) // 2
        content = patched(content, middle, np.random.default_rng(1).bytes(300))
        got, _ = read(content)
        assert 5.0 * 16_000 < len(got) < 6.3 * 16_000


class TestLost:
    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
    @pytest.mark.parametrize("container", ["WAV", "FLAC"])
    def test_an_error_while_reading(self, container: str, tmp_path: Path) -> None:
        path = tmp_path / "a.x"
        path.write_bytes(write(np.random.default_rng(0).uniform(-1, 1, 480_000), 16_000, container))
        with open_audio(path) as reader:
            blocks = reader.blocks(1_000)
            next(blocks)
            folder = os.open(tmp_path, os.O_RDONLY)
            for link in Path("/proc/self/fd").iterdir():
                if link.exists() and link.readlink() == path:
                    os.dup2(folder, int(link.name))  # from now on the system refuses to read it
            os.close(folder)
            with pytest.raises(AudioError, match=r"a.x' was lost while it was read") as caught:
                list(blocks)
            assert "\n" not in str(caught.value)

    def test_an_error_at_once(self) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                if size:
                    raise OSError(5, "Input/output error")
                return b""

        with pytest.raises(AudioError, match="cannot be read: Input/output error"):
            open_audio(Broken(WAV))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
    def test_ctrl_c_is_not_lost(self, tmp_path: Path) -> None:
        path = tmp_path / "long.wav"
        with path.open("wb") as file:
            file.write(patched(patched(WAV, 4, struct.pack("<I", 3_200_000_036)), 40, struct.pack("<I", 3_200_000_000)))
            file.truncate(3_200_000_044)
        script = (
            "import os, signal, sys, threading; from diarist.audio.decode import open_audio\n"
            "with open_audio(sys.argv[1]) as reader:\n"
            "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
            "    for block in reader.blocks(): pass"
        )
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert done.stderr.strip().endswith("KeyboardInterrupt")
        assert "cffi" not in done.stderr

    def test_deleted_while_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(WAV)
        with open_audio(path) as reader:
            path.unlink()
            assert sum(map(len, reader.blocks())) == 16_000

    def test_shrinks_while_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(write(sweep(10.0, 16_000), 16_000, "WAV"))
        with open_audio(path) as reader:
            blocks = reader.blocks(16_000)
            next(blocks)
            os.truncate(path, 100_000)
            assert sum(map(len, blocks)) < 4 * 16_000
            assert "cut off" in reader.warnings[0]

    def test_closed_by_the_caller(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(WAV)
        for file in (path.open("rb"), io.BytesIO(WAV)):
            with open_audio(file) as reader:
                file.close()
                assert sum(map(len, reader.blocks())) == 16_000

    def test_closed_before(self) -> None:
        file = io.BytesIO(WAV)
        file.close()
        with pytest.raises(AudioError, match=r"cannot be read: .*closed file"):
            open_audio(file)


class TestSamples:
    def test_nan_and_infinite_become_silence(self) -> None:
        samples = sweep(1.0, 16_000)
        samples[5:8] = np.nan, np.inf, -np.inf
        got, warnings = read(write(samples, 16_000, "WAV", "FLOAT"))
        assert np.all(got[5:8] == 0)
        np.testing.assert_array_equal(np.delete(got, [5, 6, 7]), np.delete(samples, [5, 6, 7]))
        assert warnings == ["3 samples are NaN, infinite or absurd, and were read as 0"]

    def test_all_nan(self) -> None:
        got, warnings = read(np.full((9_000, 2), np.nan), sample_rate=44_100)
        assert np.all(got == 0)
        assert warnings == ["18000 samples are NaN, infinite or absurd, and were read as 0"]

    def test_one_nan_does_not_spread_through_the_resampler(self) -> None:
        samples = sweep(1.0, 48_000)
        samples[24_000] = np.nan
        got, _ = read(samples, sample_rate=48_000)
        assert np.isfinite(got).all()

    def test_clipped_and_dc_pass(self) -> None:
        samples = np.clip(5 * sweep(1.0, 16_000), -1, 1) * 0.5 + 0.5
        got, warnings = read(samples.astype(np.float32), sample_rate=16_000)
        np.testing.assert_array_equal(got, samples.astype(np.float32))
        assert warnings == []

    def test_floats_scaled_as_integers_are_told(self) -> None:
        _, warnings = read(sweep(1.0, 16_000) * 32768, sample_rate=16_000)
        assert "where full scale is 1" in warnings[0]

    def test_huge_doubles(self) -> None:
        got, warnings = read(np.array([1e300, 0.5, -1e300]), sample_rate=16_000)
        assert got.tolist() == [0, 0.5, 0]
        assert warnings[0].startswith("2 samples")


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        (np.zeros(9), {}, "needs its sample_rate"),
        (np.zeros(9), {"sample_rate": 0}, "whole number of Hz"),
        (np.zeros(9), {"sample_rate": float("nan")}, "whole number of Hz"),
        (np.zeros(9), {"sample_rate": 22050.5}, "whole number of Hz"),
        (np.zeros((2, 9_000)), {"sample_rate": 16_000}, "transpose it"),
        (np.zeros((2, 2, 2)), {"sample_rate": 16_000}, "shape"),
        (np.zeros(()), {"sample_rate": 16_000}, "shape"),
        (np.zeros(9, complex), {"sample_rate": 16_000}, "not complex128"),
        (np.zeros(9, bool), {"sample_rate": 16_000}, "not bool"),
        (np.array(["a"]), {"sample_rate": 16_000}, "not <U1"),
        (WAV, {"sample_rate": 16_000}, "a file says its own"),
        (WAV, {"channel": 1}, "has no channel 1: it has 1"),
        (WAV, {"channel": -1}, "has no channel -1"),
        (None, {}, "cannot read sound from a NoneType"),
        (7, {}, "cannot read sound from a int"),
        ([0.0, 1.0], {}, "cannot read sound from a list"),
        (io.StringIO("text"), {}, "binary mode"),
    ],
)
def test_calls_that_cannot_be_meant(source: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_audio(source, **options)
    assert says in str(caught.value)


def test_block_size_must_be_positive() -> None:
    with open_audio(WAV) as reader, pytest.raises(UsageError, match="at least 1 sample"):
        reader.blocks(0)


def test_stdin_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(AudioError, match="pipe one in"):
        open_audio("-")


def test_no_file_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "bad.wav"
    path.write_bytes(b"no sound")
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    gc.collect()  # what earlier tests left
    before = len(list(folder.iterdir()))
    for _ in range(5):
        with pytest.raises(AudioError):
            open_audio(path)
        load(WAV)
    assert len(list(folder.iterdir())) <= before
