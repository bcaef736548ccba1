"""Index arithmetic: what covers what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.time import Axis, to_samples, to_seconds

sizes = st.integers(1, 400)
axes = st.builds(Axis, size=sizes, step=sizes, start=st.integers(-50, 50))


@settings(deadline=None)
@given(axes, st.integers(0, 50))
def test_windows_are_a_regular_row(axis: Axis, index: int) -> None:
    first, past = axis.span(index)
    assert past - first == axis.size
    assert axis.span(index + 1)[0] - first == axis.step
    assert next(itertools.islice(axis, index, None)) == (first, past)
    assert axis.first(index) == first


@settings(deadline=None)
@given(axes, st.integers(1, 5_000))
def test_covering(axis: Axis, num_samples: int) -> None:
    num = axis.count_covering(num_samples)
    assert num >= 1
    assert axis.span(num - 1)[1] >= num_samples
    assert num == 1 or axis.span(num - 2)[1] < num_samples


@settings(deadline=None)
@given(axes, st.integers(0, 5_000))
def test_inside(axis: Axis, num_samples: int) -> None:
    num = axis.count_inside(num_samples)
    assert num == 0 or axis.span(num - 1)[1] <= num_samples
    assert axis.span(num)[1] > num_samples
    assert num <= axis.count_covering(num_samples) or num_samples == 0


def test_nothing_is_covered_by_nothing() -> None:
    assert Axis(160_000, 16_000).count_covering(0) == 0


@settings(deadline=None)
@given(axes, st.integers(0, 1_000))
def test_middles_find_their_window(axis: Axis, index: int) -> None:
    assert axis.closest(axis.middle(index)) == index
    assert axis.index_at(axis.first(index)) == index
    assert axis.middles(index + 1)[index] == pytest.approx(axis.middle(index))
    assert axis.middles(index).shape == (index,)


def test_the_frames_of_segmentation_3() -> None:
    frames = Axis(size=991, step=270)
    assert frames.count_inside(160_000) == 589
    assert frames.middle(0) == pytest.approx(991 / 2 / 16_000)
    assert frames.closest(5.0) == int(np.rint((80_000 - 495.5) / 270))


@pytest.mark.parametrize(("size", "step", "rate"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_an_axis_needs_positive_numbers(size: int, step: int, rate: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Axis(size, step, sample_rate=rate)


@settings(deadline=None)
@given(st.integers(0, 24 * 3600 * 16_000))
def test_a_day_of_samples_survives_seconds(samples: int) -> None:
    assert to_samples(to_seconds(samples)) == samples
