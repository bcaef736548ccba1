"""Turns from scores, against the loop that the vectors replace."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.time import Axis
from diarist.core.types import Track
from diarist.stages.binarize import binarize, fill_gaps, regions

FRAMES = Axis(991, 270)
pyannote = pytest.importorskip("pyannote.core")


def loop(scores, onset, offset, min_on, min_off, pad_onset, pad_offset):
    """Frame by frame, and `Annotation.support()` for gaps and touching turns."""
    middles = FRAMES.middles(len(scores))
    annotation = pyannote.Annotation()
    for column in range(scores.shape[1]):
        start, active = middles[0], scores[0, column] > onset
        for time, score in zip(middles[1:], scores[1:, column], strict=True):
            if active and score < offset:
                annotation[pyannote.Segment(start - pad_onset, time + pad_offset), column] = f"SPEAKER_{column:02d}"
                active = False
            elif not active and score > onset:
                start, active = time, True
        if active and middles[-1] > start:
            annotation[pyannote.Segment(start - pad_onset, middles[-1] + pad_offset), column] = f"SPEAKER_{column:02d}"
    if pad_onset or pad_offset or min_off:
        annotation = annotation.support(collar=min_off)
    turns = [(s.start, s.end, k) for s, _, k in annotation.itertracks(yield_label=True) if s.duration >= min_on]
    return sorted((max(start, 0), end, k) for start, end, k in turns)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 80),
    st.integers(1, 3),
    st.integers(0, 999),
    st.sampled_from([(0.5, 0.5), (0.7, 0.3), (0.6, 0.4)]),
    st.sampled_from([0.0, 0.03, 0.1]),
    st.sampled_from([0.0, 0.03, 0.06]),
    st.sampled_from([(0.0, 0.0), (0.02, 0.05), (0.0, 0.01)]),
)
def test_equals_the_loop(num_frames, num_speakers, seed, thresholds, min_on, min_off, pads):
    scores = np.random.default_rng(seed).random((num_frames, num_speakers)).astype(np.float32)
    turns = binarize(
        Track(scores, FRAMES),
        onset=thresholds[0],
        offset=thresholds[1],
        min_duration_on=min_on,
        min_duration_off=min_off,
        pad_onset=pads[0],
        pad_offset=pads[1],
    )
    expected = loop(scores, *thresholds, min_on, min_off, *pads)
    assert [t.speaker for t in turns] == [k for *_, k in expected]
    np.testing.assert_allclose([(t.start, t.end) for t in turns], [(s, e) for s, e, _ in expected], atol=1e-9)


def test_a_turn_runs_from_middle_to_middle():
    scores = np.zeros((10, 1), np.float32)
    scores[2:5] = 1
    (turn,) = binarize(Track(scores, FRAMES), onset=0.5, offset=0.5)
    assert (turn.start, turn.end) == pytest.approx((FRAMES.middle(2), FRAMES.middle(5)))
    scores[7:] = 1
    *_, last = binarize(Track(scores, FRAMES), onset=0.5, offset=0.5)
    assert last.end == pytest.approx(FRAMES.middle(9))


def test_a_last_frame_alone_is_no_turn():
    assert len(regions(np.array([False, True]), FRAMES)) == 0
    assert len(regions(np.array([True]), FRAMES)) == 0
    assert len(regions(np.zeros(5, bool), FRAMES)) == 0


def test_nothing_gives_nothing():
    for shape in ((0, 2), (5, 0), (0, 0), (4, 2)):
        assert binarize(Track(np.zeros(shape, np.float32), FRAMES), onset=0.5, offset=0.5) == []


def test_gaps():
    spans = np.array([[0.0, 1.0], [1.2, 2.0], [2.0, 3.0], [3.5, 4.0]])
    assert fill_gaps(spans, 0.0).tolist() == [[0, 1], [1.2, 3], [3.5, 4]]
    assert fill_gaps(spans, 0.3).tolist() == [[0, 3], [3.5, 4]]
    assert fill_gaps(spans, 9).tolist() == [[0, 4]]
