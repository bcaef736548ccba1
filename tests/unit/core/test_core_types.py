"""Turns, and what can be done with them; times in hypothesis are whole seconds, so that sums are exact."""

from __future__ import annotations

import builtins
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Diarization, Speaker, SpeakerBounds, Turn, Waveform
from diarist.errors import ExtraError, UsageError


@st.composite
def some_turns(draw: st.DrawFn, zero: bool = True) -> tuple[Turn, ...]:
    turns = []
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, 20))
        length = draw(st.integers(0 if zero else 1, 8))
        speaker, confidence = draw(st.sampled_from("ABC")), draw(st.sampled_from([0.25, 0.5, 1.0]))
        turns.append(Turn(float(start), float(start + length), speaker, confidence))
    return tuple(turns)


def talking(turns: Any) -> list[set[str]]:
    """Who talks in each second."""
    return [{t.speaker for t in turns if t.start <= second < t.end} for second in range(30)]


def test_turns_are_in_order_and_speakers_known() -> None:
    late, early = Turn(3, 4, "B"), Turn(1, 2, "A")
    diarization = Diarization((late, early), speakers={"C": Speaker("C", np.ones(2, np.float32))})
    assert diarization.turns == (early, late)
    assert list(diarization) == [early, late]
    assert len(diarization) == 2
    assert set(diarization.speakers) == {"A", "B", "C"}
    assert diarization.labels == ["A", "B"]
    assert diarization.num_speakers == 2


def test_durations_and_talk_time() -> None:
    diarization = Diarization((Turn(0, 2, "B"), Turn(1, 4, "A"), Turn(5, 6, "B")))
    assert diarization.talk_time() == {"B": 3.0, "A": 3.0}
    assert [t.duration for t in diarization] == [2, 3, 1]
    assert Waveform(np.zeros(8_000, np.float32)).duration == 0.5


class TestRename:
    def test_names(self) -> None:
        speakers = {"A": Speaker("A", np.ones(2, np.float32))}
        got = Diarization((Turn(0, 1, "A", 0.5), Turn(1, 2, "B")), speakers=speakers).rename({"A": "Ann", "X": "Y"})
        assert [(t.speaker, t.confidence) for t in got] == [("Ann", 0.5), ("B", 1.0)]
        assert got.speakers["Ann"].label == "Ann"
        np.testing.assert_array_equal(got.speakers["Ann"].embedding, np.ones(2))
        assert set(got.speakers) == {"Ann", "B"}

    def test_swap(self) -> None:
        got = Diarization((Turn(0, 1, "A"), Turn(1, 2, "B"))).rename({"A": "B", "B": "A"})
        assert [t.speaker for t in got] == ["B", "A"]

    @settings(deadline=None)
    @given(some_turns())
    def test_there_and_back(self, turns: tuple[Turn, ...]) -> None:
        diarization = Diarization(turns)
        assert diarization.rename({"A": "x"}).rename({"x": "A"}) == diarization


class TestCrop:
    @settings(deadline=None)
    @given(some_turns(), st.integers(0, 30), st.integers(0, 30))
    def test_what_lies_within(self, turns: tuple[Turn, ...], start: int, end: int) -> None:
        got = Diarization(turns).crop(start, end)
        assert all(start <= t.start < t.end <= end for t in got)
        expected = [who if start <= second < end else set() for second, who in enumerate(talking(turns))]
        assert talking(got) == expected

    def test_the_rest_stays(self) -> None:
        whole = Diarization((Turn(0, 4, "A", 0.5),), uri="x", duration=9.0, warnings=("w",))
        assert whole.crop(1, 2) == Diarization((Turn(1, 2, "A"),), uri="x", duration=9.0, warnings=("w",))
        assert whole.crop(1, 2).turns[0].confidence == 0.5


class TestExclusive:
    @settings(deadline=None)
    @given(some_turns())
    def test_one_at_a_time_and_nobody_invented_or_lost(self, turns: tuple[Turn, ...]) -> None:
        got = Diarization(turns).exclusive()
        assert all(a.end <= b.start for a, b in itertools.pairwise(got))
        assert all(t.end > t.start for t in got)
        for before, after in zip(talking(turns), talking(got), strict=True):
            assert after <= before
            assert len(after) == min(1, len(before))

    @settings(deadline=None)
    @given(some_turns())
    def test_the_most_confident_stays(self, turns: tuple[Turn, ...]) -> None:
        for turn in Diarization(turns).exclusive():
            rivals = [t.confidence for t in turns if t.start < turn.end and turn.start < t.end]
            assert turn.confidence == max(rivals) or all(
                t.confidence <= turn.confidence for t in turns if t.start <= turn.start < t.end
            )

    @settings(deadline=None)
    @given(some_turns(zero=False))
    def test_twice_is_once(self, turns: tuple[Turn, ...]) -> None:
        once = Diarization(turns).exclusive()
        assert once.exclusive() == once

    def test_interrupted(self) -> None:
        got = Diarization((Turn(0, 9, "A", 0.5), Turn(3, 4, "B", 0.9))).exclusive()
        assert [(t.start, t.end, t.speaker) for t in got] == [(0, 3, "A"), (3, 4, "B"), (4, 9, "A")]

    def test_equal_confidence_the_longer_stays(self) -> None:
        got = Diarization((Turn(0, 9, "A"), Turn(3, 4, "B"))).exclusive()
        assert got.turns == (Turn(0, 9, "A"),)

    def test_a_turn_of_no_length_is_not_stretched(self) -> None:
        got = Diarization((Turn(2, 2, "B", 1.0), Turn(0, 4, "A", 0.5), Turn(6, 6, "C"), Turn(8, 9, "A"))).exclusive()
        assert talking(got)[:10] == [{"A"}] * 4 + [set()] * 4 + [{"A"}] + [set()]


class TestOverlaps:
    @settings(deadline=None)
    @given(some_turns())
    def test_second_by_second(self, turns: tuple[Turn, ...]) -> None:
        spans = Diarization(turns).overlaps()
        together = [any(start <= second < end for start, end in spans) for second in range(30)]
        assert together == [len(who) > 1 for who in talking(turns)]
        assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))
        assert all(end > start for start, end in spans)

    def test_as_long_as_they_can_be(self) -> None:
        turns = (Turn(0, 10, "A"), Turn(2, 5, "B"), Turn(5, 8, "C"))
        assert Diarization(turns).overlaps() == [(2, 8)]

    def test_nobody_overlaps_with_himself(self) -> None:
        assert Diarization((Turn(0, 5, "A"), Turn(3, 8, "A"))).overlaps() == []

    def test_touching_is_not_overlap(self) -> None:
        assert Diarization((Turn(0, 5, "A"), Turn(5, 8, "B"))).overlaps() == []


class TestBounds:
    def test_of(self) -> None:
        assert SpeakerBounds.of() == SpeakerBounds(1, None)
        assert SpeakerBounds.of(3) == SpeakerBounds(3, 3)
        assert SpeakerBounds.of(3).exact == 3
        assert SpeakerBounds.of(3, 2, 4).exact == 3
        assert SpeakerBounds.of(least=2, most=4).exact is None
        assert SpeakerBounds.of(np.int64(2)) == SpeakerBounds.of(2.0) == SpeakerBounds(2, 2)

    @pytest.mark.parametrize(
        "given",
        [
            {"num": 0},
            {"num": -1},
            {"least": 0},
            {"most": 0},
            {"least": 3, "most": 2},
            {"num": 2, "least": 3},
            {"num": 4, "most": 3},
            {"num": "2"},
            {"num": 2.5},
            {"num": True},
            {"least": float("nan")},
            {"most": float("inf")},
            {"most": [2]},
        ],
    )
    def test_impossible(self, given: dict[str, Any]) -> None:
        with pytest.raises(UsageError) as caught:
            SpeakerBounds.of(**given)
        assert "\n" not in str(caught.value)

    @settings(deadline=None)
    @given(st.integers(1, 9), st.integers(0, 9), st.integers(-5, 30))
    def test_clip(self, least: int, more: int, count: int) -> None:
        bounds = SpeakerBounds(least, least + more)
        assert bounds.clip(count) == min(max(count, least), least + more)
        assert SpeakerBounds(least).clip(count) == max(count, least)


class TestExports:
    def test_rttm(self) -> None:
        diarization = Diarization((Turn(1.25, 3, "Ann B"),), uri="my meeting")
        assert diarization.to_rttm() == "SPEAKER my_meeting 1 1.250 1.750 <NA> <NA> Ann_B <NA> <NA>\n"
        assert Diarization((Turn(0, 1, ""),), uri=" ").to_rttm().split() == (
            "SPEAKER _ 1 0.000 1.000 <NA> <NA> _ <NA> <NA>".split()
        )
        assert Diarization().to_rttm() == ""

    def test_dataframe(self) -> None:
        pytest.importorskip("pandas")
        frame = Diarization((Turn(0, 1, "A", 0.5),)).to_dataframe()
        assert frame.to_dict("list") == {"start": [0], "end": [1], "speaker": ["A"], "confidence": [0.5]}
        assert list(Diarization().to_dataframe().columns) == ["start", "end", "speaker", "confidence"]

    def test_annotation(self) -> None:
        pytest.importorskip("pyannote.core")
        turns = (Turn(0, 2, "A"), Turn(0, 2, "B"), Turn(3, 4, "A"))
        annotation = Diarization(turns, uri="x").to_annotation()
        assert annotation.uri == "x"
        assert [(s.start, s.end, label) for s, _, label in annotation.itertracks(yield_label=True)] == [
            (t.start, t.end, t.speaker) for t in turns
        ]

    @pytest.mark.parametrize(("method", "package"), [("to_dataframe", "pandas"), ("to_annotation", "pyannote.core")])
    def test_without_the_extra(self, method: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def refuse(name: str, *rest: Any, **more: Any) -> Any:
            if name == package:
                raise ImportError(name)
            return real(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(ExtraError, match="pip install 'diarist"):
            getattr(Diarization(), method)()
