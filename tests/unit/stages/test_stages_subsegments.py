"""Windows cover what they should, and nothing else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.stages.subsegments import runs, windows

masks = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=8).map(
    lambda pieces: np.array([value for value, length in pieces for _ in range(length)], dtype=bool)
)


@given(masks)
def test_runs_are_maximal_and_spell_the_mask(mask):
    found = runs(mask)
    again = np.zeros_like(mask)
    for first, last in found:
        assert first < last and not again[first:last].any()
        assert (first == 0 or not mask[first - 1]) and (last == len(mask) or not mask[last])
        again[first:last] = True
    assert (again == mask).all()
    assert found.shape == (len(found), 2)


@settings(max_examples=200)
@given(masks, st.integers(1, 30), st.floats(0.3, 40), st.integers(1, 30))
def test_windows_cover_runs_within_size_and_hop(mask, size, hop, least):
    found = windows(mask, size=size, hop=hop, least=least)
    assert found.dtype == np.int64 and found.shape == (len(found), 2)
    for first, last in runs(mask):
        inside = found[(found[:, 0] >= first) & (found[:, 1] <= last)]
        if last - first <= size:
            assert inside.tolist() == ([[first, last]] if last - first >= least else [])
            continue
        assert inside[0, 0] == first and inside[-1, 1] == last
        assert (inside[:, 1] - inside[:, 0] == size).all()
        starts = np.diff(inside[:, 0])
        assert (starts <= np.ceil(hop)).all() and starts.max() - starts.min() <= 1  # evenly spread
        if hop <= size:
            covered = np.zeros(len(mask), bool)
            for low, high in inside:
                covered[low:high] = True
            assert covered[first:last].all()
    assert sum(mask[a:b].all() for a, b in found) == len(found)  # none reaches out of its run


def test_a_window_longer_than_its_run_by_one_gives_two():
    mask = np.zeros(40, bool)
    mask[5:20] = True  # 15 frames
    assert windows(mask, size=15, hop=4, least=1).tolist() == [[5, 20]]
    assert windows(mask, size=14, hop=4, least=1).tolist() == [[5, 19], [6, 20]]
    assert windows(mask, size=5, hop=5, least=1).tolist() == [[5, 10], [10, 15], [15, 20]]
