"""What stands on a command line becomes a list of recordings, each with a name of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.audio.files import expand, unique_uris
from diarist.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.MP3", "notes.txt", ".hidden.wav", "a.rttm", "inner/c.flac", "odd.wav/x"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_is_its_recordings(folder: Path) -> None:
    assert expand([folder]) == [folder / "a.MP3", folder / "b.wav"]


def test_order_and_duplicates(folder: Path) -> None:
    given = [folder / "b.wav", "-", folder / "gone.wav", str(folder), folder / "notes.txt", "-"]
    assert expand(given) == [
        folder / "b.wav",
        Path("-"),
        folder / "gone.wav",
        folder / "a.MP3",
        folder / "notes.txt",
    ]


def test_patterns(folder: Path) -> None:
    assert expand([str(folder / "?.wav")]) == [folder / "b.wav"]
    assert expand([folder / "inne[r]"]) == [folder / "inner" / "c.flac"]
    with pytest.raises(InputError, match="no file matches"):
        expand([folder / "*.ogg"])


def test_a_name_that_looks_like_a_pattern(folder: Path) -> None:
    path = folder / "take [1].wav"
    path.touch()
    assert expand([path]) == [path]


def test_names_that_cannot_be_are_left_to_the_reader(tmp_path: Path) -> None:
    paths = [tmp_path / ("x" * 300), tmp_path / "a\0b.wav"]
    assert expand(paths) == paths


def test_a_folder_without_recordings(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no recordings in folder '.*empty'"):
        expand([folder / "empty"])


def test_an_unreadable_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        expand([folder])


@pytest.mark.parametrize(
    ("paths", "uris"),
    [
        (["a.wav", "b.wav"], ["a", "b"]),
        (["a.wav", "a.mp3", "b.wav"], ["a.wav", "a.mp3", "b"]),
        (["x/a.wav", "y/a.wav"], ["x_a.wav", "y_a.wav"]),
        (["x/1/a.wav", "y/1/a.wav"], ["x_1_a.wav", "y_1_a.wav"]),
        (["a.wav", "a.wav"], None),
        (["-", "stdin.wav"], None),
        (["/a.wav"], ["a"]),
        ([], []),
    ],
)
def test_uris(paths: list[str], uris: list[str] | None) -> None:
    got = unique_uris(paths)
    assert len(set(got)) == len(paths)
    assert uris is None or got == uris


@settings(deadline=None)
@given(st.lists(st.text("ab/.-_", min_size=1, max_size=6)))
def test_uris_are_always_unique(paths: list[str]) -> None:
    assert len(set(unique_uris(paths))) == len(paths)
