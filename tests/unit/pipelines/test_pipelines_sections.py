"""Sections tile a recording, and every chunk is cut from one of them."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from diarist.core.protocols import SegmentationSpec
from diarist.core.time import Axis
from diarist.pipelines import sections as module
from diarist.pipelines.sections import batches, sections
from diarist.stages import segment


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 25), st.integers(1, 12))
def test_sections_tile_the_recording_and_see_ahead(lengths, size, lookahead):
    whole = np.arange(sum(lengths), dtype=np.float32)
    cut = list(sections(iter(np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []), size, lookahead))
    assert [s.start for s in cut] == list(range(0, len(whole), size))
    assert [s.end for s in cut] == [min(s.start + size, len(whole)) for s in cut]
    assert [s.last for s in cut] == [False] * (len(cut) - 1) + [True] * bool(len(whole))
    for section in cut:
        np.testing.assert_array_equal(section.samples, whole[section.start : section.start + size + lookahead])
        assert section.total in (None, len(whole))


@given(
    st.integers(1, 500),
    st.integers(5, 60),
    st.integers(1, 40),
    st.integers(1, 90),
    st.sampled_from([1, 3, 16]),
    st.booleans(),
)
@example(7, 6, 1, 1, 1, True)  # the last chunk would have begun in a section that knows no end
def test_every_chunk_is_in_one_batch_of_the_section_in_which_it_begins(total, size, step, section_size, most, inside):
    chunks = Axis(size, min(step, size))
    spec = SegmentationSpec(size, size // 2, Axis(2, 2), 3, 2)
    moved = segment.moved_inside(spec, chunks, total) if inside else None
    original, module.SEGMENTATION_BATCH = module.SEGMENTATION_BATCH, most
    try:
        seen, starts = [], []
        for section in sections([np.zeros(total, np.float32)], section_size, size):
            for first, start, num in batches(section, chunks, moved):
                assert 1 <= num <= most
                seen += range(first, first + num)
                starts += [start + i * chunks.step for i in range(num)]
                assert section.start <= start <= starts[-1] < section.end
                past = section.start + len(section.samples)
                assert starts[-1] + size <= past or past == total  # nothing that there is goes unheard
    finally:
        module.SEGMENTATION_BATCH = original
    assert seen == list(range(chunks.count_covering(total)))
    assert starts[:-1] == [chunks.first(i) for i in seen[:-1]]
    assert starts[-1] == (chunks.first(seen[-1]) if moved is None else moved)
