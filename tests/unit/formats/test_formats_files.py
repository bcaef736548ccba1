"""Files of turns: found by suffix or content, read whole, written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist import formats
from diarist.core.types import Diarization, Turn
from diarist.errors import DiaristError, FormatError, InputError, UsageError
from diarist.formats.writing import safe_name, write_aside, write_text

ONE = Diarization((Turn(0, 1, "A"),), uri="one")


class TestRead:
    @pytest.mark.parametrize("name", ["x.txt", "x", "x.RTTM", "x.ref"])
    def test_rttm_under_any_name(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text(";; c\n" + ONE.to_rttm())
        assert formats.read(tmp_path / name) == [ONE]

    def test_utf16(self, tmp_path: Path) -> None:
        text = formats.dumps(Diarization((Turn(0, 1, "Łukasz"),)), "textgrid")
        (tmp_path / "a.TextGrid").write_bytes(text.encode("utf-16"))
        assert formats.read(tmp_path / "a.TextGrid")[0].labels == ["Łukasz"]

    def test_folder(self, tmp_path: Path) -> None:
        for uri in ("b", "a"):
            for format in ("rttm", "json", "srt"):
                path = formats.output_path(tmp_path, uri, format)
                formats.write(Diarization(ONE.turns, uri), path)
        (tmp_path / "notes.txt").write_text("hello")
        (tmp_path / ".c.rttm").write_text("hello")
        assert [d.uri for d in formats.read(tmp_path)] == ["a", "b"]

    def test_folder_without_any(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no diarizations in folder"):
            formats.read(tmp_path)

    def test_empty_file(self, tmp_path: Path) -> None:
        for name in ("quiet.rttm", "quiet.txt"):
            (tmp_path / name).write_text("\n")
            assert formats.read(tmp_path / name) == [Diarization(uri="quiet")]

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no such file: '.*gone.rttm'"):
            formats.read(tmp_path / "gone.rttm")

    def test_not_a_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.rttm").write_bytes(b"SPEAKER \xff\xfe")
        with pytest.raises(FormatError, match=r"is not a text in UTF-8 \(byte 8\)"):
            formats.read(tmp_path / "a.rttm")

    def test_unknown_content(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("hello\n")
        with pytest.raises(FormatError, match="is in no format known here"):
            formats.read(tmp_path / "a.txt")

    def test_errors_name_file_and_line(self, tmp_path: Path) -> None:
        (tmp_path / "a.rttm").write_text("SPEAKER a\n")
        with pytest.raises(FormatError, match=r"a\.rttm:1: "):
            formats.read(tmp_path / "a.rttm")

    def test_unreadable(self, tmp_path: Path) -> None:
        for path in (tmp_path / "a\0b.rttm", tmp_path / ("x" * 300)):
            with pytest.raises(InputError) as caught:
                formats.read(path)
            assert "\n" not in str(caught.value)


class TestWrite:
    def test_suffix_decides(self, tmp_path: Path) -> None:
        for name, start in (("a.vtt", "WEBVTT"), ("a.TextGrid", "File type"), ("a.txt", "["), ("a.audacity.txt", "0.")):
            formats.write(ONE, tmp_path / name)
            assert (tmp_path / name).read_text().startswith(start)
        with pytest.raises(UsageError, match="names no format"):
            formats.write(ONE, tmp_path / "a.xyz")

    def test_replaces_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "a.rttm"
        path.write_text("old")
        formats.write(ONE, path)
        assert path.read_text() == ONE.to_rttm()
        assert [p.name for p in tmp_path.iterdir()] == ["a.rttm"]

    def test_permissions_are_those_of_a_new_file(self, tmp_path: Path) -> None:
        (tmp_path / "plain").touch()
        formats.write(ONE, tmp_path / "a.rttm")
        assert stat.S_IMODE((tmp_path / "a.rttm").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)

    def test_a_failure_keeps_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.rttm"
        path.write_text("old")
        with pytest.raises(RuntimeError, match="boom"), write_aside(path) as aside:
            aside.write_text("half")
            raise RuntimeError("boom")
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["a.rttm"]

    def test_disk_full(self, tmp_path: Path) -> None:
        with pytest.raises(DiaristError) as caught, write_aside(tmp_path / "a.rttm"):
            raise OSError(28, "No space left on device")
        assert str(caught.value) == f"cannot write {str(tmp_path / 'a.rttm')!r}: No space left on device"

    def test_nowhere_to_write(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for path in (
            tmp_path / "gone" / "a.rttm",
            tmp_path / "file" / "a.rttm",
            tmp_path,
            tmp_path / ("x" * 300 + ".rttm"),
        ):
            with pytest.raises(DiaristError, match="cannot write") as caught:
                formats.write(ONE, path, "rttm")
            assert "\n" not in str(caught.value)

    def test_links_stay(self, tmp_path: Path) -> None:
        (tmp_path / "target").touch()
        (tmp_path / "link.rttm").symlink_to(tmp_path / "target")
        formats.write(ONE, tmp_path / "link.rttm")
        assert (tmp_path / "link.rttm").is_symlink()
        assert (tmp_path / "target").read_text() == ONE.to_rttm()

    @pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="no /dev/null")
    def test_devices_are_written_to_not_replaced(self) -> None:
        formats.write(ONE, "/dev/null", "rttm")
        assert Path("/dev/null").is_char_device()

    @pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd")
    def test_a_link_to_a_pipe_is_written_to(self) -> None:
        reader, writer = os.pipe()
        with os.fdopen(reader, encoding="utf-8") as end:
            formats.write(ONE, f"/dev/fd/{writer}", "rttm")
            os.close(writer)
            assert end.read() == ONE.to_rttm()

    def test_names_that_are_no_unicode(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a.txt", "caf\udce9")
        assert (tmp_path / "a.txt").read_text() == "caf?"


class TestNames:
    @pytest.mark.parametrize(
        ("uri", "name"),
        [
            ("meeting", "meeting"),
            ("2024-01-01 Zoë.v2", "2024-01-01 Zoë.v2"),
            ("a/b\\c:d", "a_b_c_d"),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("..", "audio"),
            (".hidden", "_.hidden"),
            ("", "audio"),
            ("  ", "audio"),
            ("a\nb\0", "a_b_"),
            ("CON", "_CON"),
            ("nul.x", "_nul.x"),
            ("console", "console"),
            ("end. ", "end"),
        ],
    )
    def test_known(self, uri: str, name: str) -> None:
        assert safe_name(uri) == name

    @settings(deadline=None)
    @given(st.text())
    def test_always_one_file_in_the_folder(self, uri: str) -> None:
        name = safe_name(uri)
        assert name
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert name not in (".", "..")
        assert len(name.encode("utf-8", "replace")) <= 200

    def test_long_names_stay_apart(self) -> None:
        assert safe_name("é" * 300 + "1") != safe_name("é" * 300 + "2")
        assert len(safe_name("é" * 300).encode()) <= 200

    def test_output_path(self, tmp_path: Path) -> None:
        assert formats.output_path(tmp_path, "a/b", "json") == tmp_path / "a_b.json"
        with pytest.raises(UsageError, match="unknown format"):
            formats.output_path(tmp_path, "a", "xml")


def test_formats_are_loaded_when_used() -> None:
    code = "import sys, diarist.formats; print(*sorted(m for m in sys.modules if m.startswith('diarist.formats.')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["diarist.formats.fields", "diarist.formats.writing"]
