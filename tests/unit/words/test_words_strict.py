"""WhisperX's rules, against the same rules written out word by word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Turn
from diarist.words.strict import whisperx_speakers


def rule_38(start, end, turns, fill_nearest):
    """Sums by speaker in order of start; else the nearest middle."""
    ordered = sorted(turns, key=lambda turn: turn.start)
    sums: dict[str, float] = {}
    for turn in ordered:
        both = min(turn.end, end) - max(turn.start, start)
        if turn.start < end and turn.end > start and both > 0:
            sums[turn.speaker] = sums.get(turn.speaker, 0.0) + both
    if sums:
        return max(sums, key=lambda name: sums[name])
    if not fill_nearest or not turns:
        return None
    return min(ordered, key=lambda turn: abs((turn.start + turn.end) / 2 - (start + end) / 2)).speaker


def rule_37(start, end, turns, fill_nearest):
    """Sums by speaker of the overlaps, of negative ones too where the nearest is asked for."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([(t.start, t.end, t.speaker) for t in turns], columns=["start", "end", "speaker"])
    both = np.minimum(frame["end"], end) - np.maximum(frame["start"], start)
    chosen = frame.assign(both=both) if fill_nearest else frame.assign(both=both)[both > 0]
    if chosen.empty:
        return None
    return chosen.groupby("speaker")["both"].sum().sort_values(ascending=False).index[0]


TIME = st.integers(0, 60).map(lambda step: step / 10)
TURNS = st.lists(st.builds(lambda s, d, who: Turn(s, s + d, who), TIME, TIME, st.sampled_from("BCA")), max_size=8)
SPANS = st.lists(st.tuples(TIME, TIME).map(lambda pair: (pair[0], pair[0] + pair[1] / 4)), min_size=1, max_size=4)


@pytest.mark.parametrize(("rules", "rule", "examples"), [("3.8", rule_38, 300), ("3.7", rule_37, 60)])
@pytest.mark.parametrize("fill_nearest", [False, True])
def test_word_by_word(rules, rule, examples, fill_nearest):
    @settings(max_examples=examples, deadline=None)
    @given(TURNS, SPANS)
    def equal(turns, spans):
        starts, ends = np.array(spans, np.float64).T
        found = whisperx_speakers(starts, ends, turns, fill_nearest=fill_nearest, rules=rules)
        assert found == [rule(s, e, turns, fill_nearest) for s, e in spans]

    equal()


def test_times_that_are_no_numbers_overlap_nothing():
    turns = [Turn(0, 1, "A"), Turn(2, 3, "B")]
    times = np.array([np.nan]), np.array([np.nan])
    assert whisperx_speakers(*times, turns, fill_nearest=False) == [None]
    assert whisperx_speakers(*times, turns, fill_nearest=True) == ["A"]
