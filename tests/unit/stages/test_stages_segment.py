"""Cutting sound into chunks, and reading what both kinds of model say."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist.core.protocols import SegmentationSpec
from diarist.core.time import Axis
from diarist.errors import ConfigError
from diarist.stages import segment
from diarist.stages.powerset import mapping


def spec(num_local=3, most=2):
    return SegmentationSpec(chunk=10, num_frames=5, frames=Axis(2, 2), num_local=num_local, max_simultaneous=most)


@given(st.integers(0, 60), st.integers(0, 30), st.integers(1, 5), st.integers(1, 12), st.integers(1, 9))
def test_chunks_are_the_recording_then_silence(num_samples, first, num, size, step):
    recording = np.arange(1, num_samples + 1, dtype=np.float32)
    cut = segment.cut(recording, first, num, Axis(size, step))
    padded = np.concatenate([recording, np.zeros(200, np.float32)])
    assert cut.shape == (num, size) and cut.dtype == np.float32
    for index, row in enumerate(cut):
        np.testing.assert_array_equal(row, padded[first + index * step :][:size])


@given(st.floats(0.1, 10.0), st.sampled_from([270, 160, 320]))
def test_chunks_lie_on_whole_frames_near_the_step_asked_for(step, frame):
    seconds = SegmentationSpec(160_000, 589, Axis(991, frame), 3, 2)
    chunks = segment.axis(seconds, step)
    assert chunks.size == 160_000 and chunks.start == 0 and chunks.step >= frame
    assert chunks.step % frame == 0 and chunks.step <= 589 * frame  # no frame between two chunks
    assert abs(chunks.step - min(step * 16_000, 589 * frame)) <= frame / 2 + 1


def test_a_step_longer_than_a_chunk_would_leave_gaps():
    with pytest.raises(ConfigError, match=r"'segmentation\.step' must be at most 10 .*, not 10\.1"):
        segment.axis(SegmentationSpec(160_000, 589, Axis(991, 270), 3, 2), 10.1)


@given(st.integers(1, 3000), st.integers(1, 40), st.integers(1, 9), st.integers(1, 40))
def test_the_last_chunk_is_moved_so_that_it_ends_with_the_recording(total, num_frames, frame, frames_apart):
    heard = SegmentationSpec((num_frames + 2) * frame, num_frames, Axis(3 * frame, frame), 3, 2)
    chunks = Axis(heard.chunk, min(frames_apart, num_frames) * frame)
    last = chunks.first(chunks.count_covering(total) - 1)
    wanted = segment.num_frames(heard.frames, total)
    assert heard.frames.middle(wanted - 1) * 16_000 < total + frame or wanted == 1
    moved = segment.moved_inside(heard, chunks, total)
    if moved is None:
        assert total <= heard.chunk or last // frame + num_frames <= wanted or last - frame + heard.chunk < total
    else:
        assert last - chunks.step < moved < last and moved % frame == 0
        assert moved // frame + num_frames >= wanted and 0 <= moved + heard.chunk - total < 2 * frame + 1
        assert (moved - frame) // frame + num_frames < wanted or moved - frame + heard.chunk < total  # no further


@pytest.mark.parametrize("num_local, most", [(3, 2), (4, 2), (2, 2), (4, 3), (8, 2)])
def test_powerset_is_read_as_the_sets_that_it_names(num_local, most):
    """Brute force over a set of names: the winning set gives the bits, summed sets the probabilities."""
    sets = [s for size in range(most + 1) for s in itertools.combinations(range(num_local), size)]
    assert [tuple(np.flatnonzero(row)) for row in mapping(num_local, most)] == sets
    rng = np.random.default_rng(num_local)
    probability = rng.dirichlet(np.full(len(sets), 0.3), size=(2, 7))
    heard = segment.read(np.log(probability).astype(np.float32), spec(num_local, most))
    for batch, frame in np.ndindex(2, 7):
        p = probability[batch, frame]
        assert heard.bits[batch, frame] == sum(1 << local for local in sets[p.argmax()])
        assert heard.speech[batch, frame] == pytest.approx(1 - p[0], abs=1e-5)
        assert heard.overlap[batch, frame] == pytest.approx(
            sum(q for s, q in zip(sets, p, strict=True) if len(s) > 1), abs=1e-5
        )
    assert heard.bits.dtype == np.uint8


def test_independent_speakers_are_read_one_by_one():
    scores = np.array([[[0.9, 0.2, 0.6], [0.5, 0.1, 0.3], [0.0, 0.0, 0.51]]], np.float32)
    heard = segment.read(scores, spec(3, None))
    assert heard.bits.tolist() == [[0b101, 0, 0b100]]
    np.testing.assert_allclose(heard.speech, [[0.9, 0.5, 0.51]])
    np.testing.assert_allclose(heard.overlap, [[0.6, 0.3, 0.0]])


def test_a_model_of_one_speaker_never_overlaps():
    heard = segment.read(np.array([[[0.7], [0.1]]], np.float32), spec(1, None))
    assert heard.bits.tolist() == [[1, 0]] and heard.overlap.tolist() == [[0, 0]]
