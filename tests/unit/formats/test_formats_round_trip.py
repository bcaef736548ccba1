"""What is written is read back, for every format that can be read, whatever the names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diarist import formats
from diarist.core.types import Diarization, Speaker, Turn
from diarist.formats import uem

MILLISECONDS = {"rttm", "lab", "text", "csv", "vtt"}
KEEPS_URI = {"rttm", "json", "csv"}
KEEPS_CONFIDENCE = {"json", "csv"}
ONE_WORD = {"rttm"}
ONE_LINE = {"lab", "text", "audacity", "vtt"}

letters = st.characters(codec="utf-8", exclude_characters="\0")
names = st.one_of(
    st.sampled_from(
        [
            "SPEAKER_00",
            "A",
            'say "hi"',
            "a,b;c",
            "a\tb",
            "x --> y",
            "<v B>",
            "&lt;",
            "!",
            "[1]:",
            "¡Ana!",
            "1.5",
            "<NA>",
        ]
    ),
    st.text(letters, min_size=1, max_size=8),
)


def one_word(name: str) -> str:
    """What a format with fields parted by white space makes of a name; `<NA>` is nobody's there."""
    word = "_".join(name.split()) or "_"
    return "NA" if word == "<NA>" else word


@st.composite
def diarizations(draw: st.DrawFn) -> Diarization:
    people = draw(st.lists(names, min_size=1, max_size=4, unique_by=one_word))
    turns = []
    for _ in range(draw(st.integers(0, 8))):
        start, length = draw(st.integers(0, 90_000_000)), draw(st.integers(1, 100_000))
        confidence = draw(st.integers(0, 10_000)) / 10_000
        turns.append(Turn(start / 1000, (start + length) / 1000, draw(st.sampled_from(people)), confidence))
    return Diarization(tuple(turns), uri=draw(names))


def expected(diarization: Diarization, format: str) -> list[tuple[float, float, str]]:
    """Turns as the format can tell them."""
    clean = dict.fromkeys(ONE_WORD, one_word)
    clean |= {line: (lambda name: " ".join(name.split())) for line in ONE_LINE}
    clean["lab"] = lambda name: " ".join(name.split()) or "_"
    change = clean.get(format, lambda name: name)
    return sorted((t.start, t.end, change(t.speaker)) for t in diarization)


@pytest.mark.parametrize("format", formats.READABLE)
@settings(deadline=None)
@given(diarization=diarizations())
def test_round_trip(format: str, diarization: Diarization) -> None:
    found = formats.loads(formats.dumps(diarization, format), format, name="meeting.x")
    turns = [turn for one in found for turn in one]
    want = expected(diarization, format)
    assert [t.speaker for t in turns] == [speaker for _, _, speaker in want]
    got = np.array([(t.start, t.end) for t in turns]).reshape(-1, 2)
    np.testing.assert_allclose(got, np.array([w[:2] for w in want]).reshape(-1, 2), atol=1.1e-3 / 2)
    if turns and format in KEEPS_URI:
        assert [one.uri for one in found] == [one_word(diarization.uri) if format == "rttm" else diarization.uri]
    if turns and format not in KEEPS_URI:
        assert [one.uri for one in found] == ["meeting"]
    if format in KEEPS_CONFIDENCE:
        assert [t.confidence for t in turns] == [t.confidence for t in diarization]


@pytest.mark.parametrize("format", formats.READABLE)
@settings(deadline=None)
@given(diarization=diarizations())
def test_writing_what_was_read_changes_nothing(format: str, diarization: Diarization) -> None:
    assume(diarization.turns)
    once = formats.dumps(diarization if format in KEEPS_URI else replace(diarization, uri="meeting"), format)
    twice = "".join(formats.dumps(one, format) for one in formats.loads(once, format, name="meeting.x"))
    assert sorted(twice.split("\n")) == sorted(once.split("\n"))  # names that lost their blanks may sort otherwise


@settings(deadline=None)
@given(diarizations(), diarizations())
def test_several_recordings_in_one_text(one: Diarization, two: Diarization) -> None:
    both = [replace(one, uri="one"), replace(two, uri="two")]
    for format in ("rttm", "json"):
        found = formats.loads("".join(formats.dumps(d, format) for d in both), format)
        assert [(d.uri, len(d)) for d in found] == [(d.uri, len(d)) for d in both if len(d) or format == "json"]


@settings(deadline=None)
@given(
    diarizations(),
    st.one_of(st.none(), st.integers(0, 10**9).map(lambda us: us / 1e6)),
    st.lists(st.floats(width=32), max_size=5),
    st.lists(st.text(letters), max_size=2),
)
def test_json_keeps_everything(
    diarization: Diarization, duration: float | None, embedding: list[float], warnings: list[str]
) -> None:
    vector = np.array(embedding, np.float32)
    whole = replace(
        diarization,
        duration=duration,
        warnings=tuple(warnings),
        speakers={"silent": Speaker("silent", vector)},
        extra={"fingerprint": "abc", "preset": {"name": "fast", "sizes": [1, 2]}},
    )
    (again,) = formats.loads(formats.dumps(whole, "json"), "json")
    assert replace(again, speakers={}) == replace(whole, speakers={})
    assert set(again.speakers) == set(whole.speakers)
    finite = np.where(np.isfinite(vector), vector, np.nan)
    np.testing.assert_array_equal(again.speakers["silent"].embedding, finite)
    assert again.speakers["silent"].embedding.dtype == np.float32


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**7), st.integers(1, 10**7))))
def test_uem_round_trip(regions: list[tuple[str, int, int]]) -> None:
    given = [(uri, start / 1000, (start + length) / 1000) for uri, start, length in regions]
    assert uem.loads(uem.dumps(given)) == given


@pytest.mark.parametrize("format", formats.READABLE)
def test_files(tmp_path: Path, format: str) -> None:
    diarization = Diarization((Turn(0.5, 2.25, "A"), Turn(1.0, 3.0, "B")), uri="meeting")
    path = formats.output_path(tmp_path, diarization.uri, format)
    formats.write(diarization, path, format)
    (again,) = formats.read(path)
    assert (again.turns, again.uri) == (diarization.turns, "meeting")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    unnamed = tmp_path / "meeting"
    unnamed.write_bytes(path.read_bytes())
    (again,) = formats.read(unnamed)
    assert (again.turns, again.uri) == (diarization.turns, "meeting")


@pytest.mark.parametrize("format", formats.READABLE)
def test_no_turns(tmp_path: Path, format: str) -> None:
    path = formats.output_path(tmp_path, "quiet", format)
    formats.write(Diarization(uri="quiet"), path, format)
    (again,) = formats.read(path)
    assert (again.turns, again.uri) == ((), "quiet")
