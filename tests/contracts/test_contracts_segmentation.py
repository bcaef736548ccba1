"""What every `SegmentationModel` owes its callers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from diarist.core.protocols import SegmentationModel
from diarist.errors import UsageError
from diarist.models.fused import FusedSegmentation
from diarist.models.native import NativePyanNet
from diarist.models.toy import conversation
from diarist.stages.powerset import mapping

STEP = 39_960  # frames and filters of neighbouring chunks fall together


@pytest.fixture(scope="module")
def samples():
    return conversation([(0, 6, "a"), (4, 9, "b"), (10, 16, "c")], 10 + 4 * STEP / 16_000)


@pytest.fixture(scope="module")
def chunks(samples, segmentation):
    return np.ascontiguousarray(sliding_window_view(samples, segmentation.spec.chunk)[::STEP])


@pytest.fixture(scope="module")
def scores(chunks, segmentation):
    return segmentation(chunks)


def _hears_rows_alone(segmentation):
    if isinstance(segmentation, FusedSegmentation):
        pytest.skip("a voice activity model that remembers hears a sliding view as one recording, and copies apart")


def test_is_a_segmentation_model(segmentation):
    assert isinstance(segmentation, SegmentationModel)


def test_spec_fits_itself(segmentation):
    spec = segmentation.spec
    first, last = spec.frames.first(0), spec.frames.span(spec.num_frames - 1)[1]
    assert first >= -spec.frames.size
    assert last <= spec.chunk + spec.frames.size
    assert spec.max_simultaneous is None or spec.max_simultaneous <= spec.num_local


def test_shape_and_dtype(segmentation, chunks, scores):
    spec = segmentation.spec
    num_classes = len(mapping(spec.num_local, spec.max_simultaneous)) if spec.max_simultaneous else spec.num_local
    assert scores.shape == (len(chunks), spec.num_frames, num_classes)
    assert scores.dtype == np.float32


def test_powerset_scores_are_log_probabilities(segmentation, scores):
    if segmentation.spec.max_simultaneous is None:
        assert 0 <= scores.min() and scores.max() <= 1
    else:
        np.testing.assert_allclose(np.exp(scores.astype(np.float64)).sum(axis=-1), 1, atol=1e-4)


def test_empty_batch(segmentation, scores):
    assert segmentation(np.zeros((0, segmentation.spec.chunk), np.float32)).shape == (0, *scores.shape[1:])


@pytest.mark.parametrize("level", [0.0, 1e-20, 0.5, -1.0], ids=["silence", "denormal", "constant", "floor"])
def test_flat_sound_gives_numbers(segmentation, level):
    assert np.isfinite(segmentation(np.full((1, segmentation.spec.chunk), level, np.float32))).all()


def test_clipped_noise_gives_numbers(segmentation):
    noise = np.sign(np.random.default_rng(0).normal(size=(1, segmentation.spec.chunk))).astype(np.float32)
    assert np.isfinite(segmentation(noise)).all()


@pytest.mark.parametrize("cut", [np.s_[0], np.s_[:, None], np.s_[:, 1:], np.s_[:, :0]])
def test_other_shapes_are_refused(segmentation, cut):
    chunk = segmentation.spec.chunk
    with pytest.raises(UsageError, match=rf"takes \(batch, {chunk}\) samples, not"):
        segmentation(np.zeros((2, chunk), np.float32)[cut])


def test_same_bytes_from_threads_at_once(segmentation, chunks, scores):
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(segmentation, [chunks] * 4):
            np.testing.assert_array_equal(again, scores)


def test_sliding_view_gives_what_copies_give(segmentation, samples, scores):
    _hears_rows_alone(segmentation)
    view = sliding_window_view(samples, segmentation.spec.chunk)[::STEP]
    assert view.strides[0] == STEP * 4
    np.testing.assert_array_equal(segmentation(view), scores)


def test_other_strides_give_what_copies_give(segmentation, samples):
    _hears_rows_alone(segmentation)
    for view in (
        sliding_window_view(samples, segmentation.spec.chunk)[:4000:2001],  # a step that the filters do not have
        sliding_window_view(samples[::-1], segmentation.spec.chunk)[: 2 * STEP : STEP],  # back in time
        np.broadcast_to(samples[: segmentation.spec.chunk], (2, segmentation.spec.chunk)),  # a step of none
        sliding_window_view(samples.astype(np.float64), segmentation.spec.chunk)[: 2 * STEP : STEP],
    ):
        np.testing.assert_array_equal(segmentation(view), segmentation(np.array(view, dtype=np.float32)))


def test_groups_of_four_rows_are_independent(segmentation, chunks, scores):
    rounding = (
        1e-5 if isinstance(segmentation, NativePyanNet) else 0
    )  # torch adds up in an order that the batch decides
    np.testing.assert_allclose(segmentation(chunks[4:]), scores[4:], rtol=0, atol=rounding)
    np.testing.assert_allclose(segmentation(chunks[:4]), scores[:4], rtol=0, atol=rounding)


def test_rows_are_nearly_independent(segmentation, chunks, scores):
    alone = np.concatenate([segmentation(chunk[None]) for chunk in chunks])
    np.testing.assert_allclose(np.exp(alone), np.exp(scores), atol=0.1)
    assert (alone.argmax(axis=-1) == scores.argmax(axis=-1)).mean() > 0.97


def test_input_is_left_alone(segmentation, chunks):
    before = chunks.copy()
    segmentation(chunks)
    np.testing.assert_array_equal(chunks, before)


def test_deterministic(segmentation, chunks, scores):
    np.testing.assert_array_equal(segmentation(chunks), scores)


def test_other_types_are_taken_as_numbers(segmentation, chunks):
    for other in (chunks[:1].astype(np.float64), np.rint(100 * chunks[:1]).astype(np.int16)):
        np.testing.assert_array_equal(segmentation(other), segmentation(other.astype(np.float32)))


def test_what_is_no_number_stays_in_its_own_four_rows(segmentation, chunks, scores):
    spoilt = chunks.copy()
    spoilt[0, 1000] = np.nan
    found = segmentation(spoilt)
    assert found.shape == scores.shape
    np.testing.assert_allclose(np.exp(found[4:]), np.exp(scores[4:]), rtol=0, atol=1e-4)
