"""Pooling from one map, with a model whose voices can be read off: the mean of what it is given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.core.protocols import EmbeddingSpec
from diarist.core.time import Axis
from diarist.stages.embed import at_maps, pool_local, pool_windows, unit_rows


class MeanModel:
    spec = EmbeddingSpec(dimension=3, min_frames=2)

    def frames(self, fbank):
        return fbank

    def pool(self, maps, weights):
        total = weights.sum(axis=2, keepdims=True)
        means = weights @ maps / np.maximum(total, 1)
        means[total[..., 0] < self.spec.min_frames] = np.nan
        return means.astype(np.float32)


@given(
    st.integers(1, 80), st.integers(0, 40), st.integers(0, 30), st.sampled_from([160, 320, 1280]), st.integers(0, 991)
)
def test_a_map_reads_the_frame_whose_middle_is_nearest(num_frames, first_map, num_maps, stride, start):
    frames = Axis(size=991, step=270, start=start)
    maps = Axis(size=400 + stride - 160, step=stride)
    read = at_maps(np.arange(num_frames), frames, maps, first_map, num_maps)
    middles = frames.middles(num_frames)
    assert len(read) == num_maps
    for index, frame in enumerate(read):
        distance = np.abs(middles - maps.middle(first_map + index))
        assert distance[frame] == pytest.approx(distance.min(), abs=1e-9)


def test_no_frames_read_as_nothing():
    read = at_maps(np.zeros(0, np.uint8), Axis(991, 270), Axis(400, 160), 5, 3)
    assert read.tolist() == [0, 0, 0] and read.dtype == np.uint8


def test_windows_pool_their_own_maps_under_the_mask():
    maps = np.zeros((30, 3), np.float32)
    maps[5:10, 0], maps[10:20, 1], maps[20:30, 2] = 4, 2, 1
    mask = np.ones(30, bool)
    mask[15:20] = False
    spans = np.array([[5, 10], [5, 15], [12, 20], [16, 20], [15, 25]])
    found = pool_windows(MeanModel(), maps, spans, mask)
    expected = [[1, 0, 0], np.array([20, 10, 0]) / 500**0.5, [0, 1, 0], [np.nan] * 3, [0, 0, 1]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


def test_local_voices_come_from_where_they_talk_alone_if_that_is_enough():
    maps = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)  # 12 maps: 4 of each direction
    active = np.zeros((12, 3), bool)
    active[:8, 0] = True  # alone in the first four
    active[4:9, 1] = True  # alone in one map only
    found = pool_local(MeanModel(), maps, active, least=2)
    np.testing.assert_allclose(found[0], [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1], np.array([0, 4, 1]) / 17**0.5, atol=1e-6)  # over all of its maps
    assert np.isnan(found[2]).all()


def test_unit_rows_keep_nan_and_zero():
    rows = unit_rows(np.array([[0, 2], [np.nan, 1], [0, 0]], np.float32))
    np.testing.assert_array_equal(rows, [[0, 1], [np.nan, np.nan], [0, 0]])
