"""The network of the second pass, what it is told, and what is made of its answer."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diarist.errors import WeightsError
from diarist.stages.second_pass import (
    FIRST,
    LEAST,
    NAMES,
    NUM_SIGNS,
    STRIDE,
    TAPS,
    SecondPass,
    above_others,
    between,
    local_shares,
    relabelled,
    settle,
    signs_of,
)

WIDTH, LAYERS = 4, 2


def weights(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {
        "mean": (NUM_SIGNS,),
        "scale": (NUM_SIGNS,),
        "w_in": (NUM_SIGNS, WIDTH),
        "b_in": (WIDTH,),
        "w_time": (LAYERS, TAPS, WIDTH, WIDTH),
        "b_time": (LAYERS, WIDTH),
        "w_others": (LAYERS, 2 * WIDTH, WIDTH),
        "b_others": (LAYERS, WIDTH),
        "w_out": (WIDTH,),
        "b_out": (),
        "first": (),
    }
    drawn = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return {**drawn, "scale": np.ones(NUM_SIGNS, np.float32)}


def told(num_judged=60, num_speakers=3, seed=1):
    return np.random.default_rng(seed).normal(size=(num_judged, num_speakers, NUM_SIGNS)).astype(np.float32)


def frame_by_frame(net, signs):
    """The same network, written as it is thought of: one frame and one speaker at a time."""
    num_judged, num_speakers, _ = signs.shape
    x = np.maximum((signs - net.mean) / net.scale @ net.w_in + net.b_in, 0).astype(float)
    for layer in range(len(net.w_time)):
        new = np.zeros_like(x)
        for t in range(num_judged):
            for k in range(num_speakers):
                total = net.b_time[layer] + net.b_others[layer]
                for tap in range(TAPS):
                    at = t + (tap - TAPS // 2) * 2**layer
                    if 0 <= at < num_judged:
                        total = total + x[at, k] @ net.w_time[layer, tap]
                rest = [x[t, j] for j in range(num_speakers) if j != k]
                others = np.mean(rest, axis=0) if rest else np.zeros(WIDTH)
                new[t, k] = total + np.concatenate([x[t].max(axis=0), others]) @ net.w_others[layer]
        x = x + np.maximum(new, 0)
    return net.first * (2 * signs[..., FIRST] - 1) + x @ net.w_out + net.b_out


@pytest.mark.parametrize("num_speakers", [1, 2, 3])
def test_the_network_is_the_one_described(num_speakers):
    net, signs = SecondPass(**weights()), told(20, num_speakers)
    np.testing.assert_allclose(net(signs), frame_by_frame(net, signs), rtol=1e-4, atol=1e-4)


def test_speakers_may_come_in_any_order():
    net, signs, order = SecondPass(**weights()), told(), [2, 0, 1]
    np.testing.assert_allclose(net(signs[:, order]), net(signs)[:, order], rtol=1e-4, atol=1e-4)


def test_an_answer_depends_on_no_more_than_its_reach():
    net, signs = SecondPass(**weights()), told(80)
    assert net.reach == 6
    changed = signs.copy()
    changed[40] += 1
    apart = np.abs(net(changed) - net(signs)).max(axis=1) > 1e-6
    assert apart[40] and not apart[: 40 - net.reach].any() and not apart[41 + net.reach :].any()


def test_weights_are_read_back(tmp_path):
    np.savez(tmp_path / "net.npz", **weights())
    np.testing.assert_array_equal(SecondPass.load(tmp_path / "net.npz")(told()), SecondPass(**weights())(told()))


@pytest.mark.parametrize("name", NAMES)
def test_weights_of_other_shapes_are_refused(tmp_path, name):
    wrong = {**weights(), name: np.zeros((3, 5), np.float32)}
    np.savez(tmp_path / "net.npz", **wrong)
    with pytest.raises(WeightsError, match="no second pass"):
        SecondPass.load(tmp_path / "net.npz")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "net.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(WeightsError):
        SecondPass.load(tmp_path / "net.npz")


def test_a_local_speaker_is_whom_its_own_windows_name():
    active = np.zeros((200, 2), bool)
    active[:100, 0] = active[90:, 1] = True  # both at once from 90 to 100
    labels = np.where(np.arange(200) < 95, 0, 1)
    heard = local_shares(active, labels, 3)
    assert heard[50] == pytest.approx([1, 0, 0], abs=0.02)
    assert heard[95] == pytest.approx([1, 1, 0], abs=0.05)
    assert heard[150] == pytest.approx([0, 1, 0], abs=0.02)


def test_a_local_speaker_who_is_two_people_is_each_where_they_are():
    active = np.ones((400, 1), bool)
    labels = np.where(np.arange(400) < 200, 0, 1)
    heard = local_shares(active, labels, 2)
    assert heard[100] == pytest.approx([1, 0], abs=0.02)
    assert heard[300] == pytest.approx([0, 1], abs=0.02)
    assert heard[200] == pytest.approx([0.5, 0.5], abs=0.02)


def test_local_speakers_who_are_never_alone_are_nobody():
    assert not local_shares(np.ones((50, 2), bool), np.zeros(50, np.int64), 2).any()


def test_values_are_told_against_the_best_of_the_others():
    np.testing.assert_allclose(above_others(np.array([[0.5, 0.2, 0.4]])), [[0.1, -0.3, -0.1]])
    np.testing.assert_allclose(above_others(np.array([[0.3, 0.3]])), [[0.0, 0.0]])
    np.testing.assert_allclose(above_others(np.array([[0.7]])), [[0.0]])


def test_signs_are_the_same_whoever_comes_first():
    rng = np.random.default_rng(2)
    heard, cosines = rng.random((2, 30, 3)).astype(np.float32), rng.random((4, 30, 3)).astype(np.float32)
    first = np.stack([rng.integers(-1, 3, 30), np.full(30, -1)], axis=1).astype(np.int32)
    distance, speech = rng.random((2, 30)).astype(np.float32)
    signs = signs_of(tuple(heard), first, list(cosines), distance, speech)
    assert signs.shape == (30, 3, NUM_SIGNS) and np.isfinite(signs).all()
    order = [2, 0, 1]
    moved = np.where(first >= 0, np.argsort(order)[first], -1).astype(np.int32)
    other = signs_of(tuple(heard[..., order]), moved, list(cosines[..., order]), distance, speech)
    np.testing.assert_array_equal(other, signs[:, order])


def judged(rows):
    """Log-odds of judged frames, `STRIDE` frames each."""
    return np.array(rows, np.float32)


def frames(pattern):
    """Speakers of a first pass: a character a frame, `.` nobody, `a`, `b`, `c` one of three, `x` the first two."""
    names = {".": (-1, -1), "a": (0, -1), "b": (1, -1), "c": (2, -1), "x": (0, 1)}
    return np.array([names[c] for c in pattern], np.int32)


def test_who_talks_is_judged_anew():
    first = frames("a" * 9 + "." * 3 + "x" * 9 + "c" * 9 + "a" * 9)
    odds = judged([[-4, 4, -5]] * 4 + [[-4, 4, 5]] * 3 + [[-4, -5, 4]] * 3 + [[4, -5, -4]] * 3)
    chosen = relabelled(first, odds)
    assert chosen[:9].tolist() == [[1, -1]] * 9
    np.testing.assert_array_equal(chosen[9:12], first[9:12])
    assert chosen[12:20].tolist() == [[2, 1]] * 8
    assert chosen[21:29].tolist() == [[2, -1]] * 8 and chosen[30:].tolist() == [[0, -1]] * 9


def test_nobody_who_was_heard_is_lost():
    first = frames("a" * 12 + "b" * 9)
    odds = np.tile(np.array([2, -9], np.float32), (7, 1))
    np.testing.assert_array_equal(relabelled(first, odds), first)


@pytest.mark.parametrize("begins", [1, 2, 3, 4, 5])
def test_a_border_of_speech_leaves_no_frame_of_somebody_else(begins):
    """Judged frames end where they do, and speech begins and ends in the midst of them."""
    first = frames("." * begins + "a" * (30 - begins) + "." * 6 + "b" * 15)
    odds = judged([[-4, 4]] * 2 + [[4, -4]] * 8 + [[-4, 4]] * 7)
    chosen = relabelled(first, odds)
    assert chosen[begins:30, 0].tolist() == [0] * (30 - begins) if begins else True
    np.testing.assert_array_equal(chosen >= 0, first >= 0)


def test_what_the_first_pass_heard_stays_however_short():
    first = frames("a" * 12 + "b" * 3 + "a" * 12 + "x" * 2 + "a" * 10 + "b" * 9)
    odds = judged([[4, -4]] * 4 + [[-4, 4]] * 2 + [[4, -4]] * 3 + [[4, 3]] * 2 + [[4, -4]] * 2 + [[-4, 4]] * 3)
    chosen = relabelled(first, odds)
    assert chosen[12:15].tolist() == [[1, -1]] * 3
    assert (chosen[27:29] >= 0).all()


def stretches(speakers, who):
    talks = np.concatenate([[False], (speakers == who).any(axis=1), [False]])
    edges = np.flatnonzero(talks[1:] != talks[:-1]).reshape(-1, 2)
    return [tuple(edge) for edge in edges.tolist()]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(2 * LEAST, 70)), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(2 * LEAST // STRIDE, 25), st.integers(0, 2)), min_size=1, max_size=9),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_turn_is_made_that_is_too_short(speech, likely):
    """Pauses begin and end anywhere in judged frames, and so may be near to where the likeliest speaker changes."""
    first = frames("".join("." * pause + "a" * talk for pause, talk in speech))
    rows = [3 * (np.arange(3) == who) - 9 for long, who in likely for _ in range(long)]
    odds = judged((rows * (len(first) // STRIDE // len(rows) + 1))[: -(-len(first) // STRIDE)])
    whole = np.flatnonzero(np.diff(odds.argmax(axis=1)))  # a piece that was cut off, or repeated, may be short
    assume((np.diff(np.concatenate([[-1], whole, [len(odds) - 1]])) * STRIDE >= 2 * LEAST).all())
    chosen = relabelled(first, odds)
    np.testing.assert_array_equal(chosen >= 0, first >= 0)
    for who in range(3):
        assert all(end - begin >= LEAST for begin, end in stretches(chosen, who))


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_whatever_is_judged_as_many_talk_as_before_and_nobody_is_lost(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, 12)
    rows = [np.pad(rng.permutation(3)[:kind].astype(np.int32), (0, 2 - kind), constant_values=-1) for kind in kinds]
    first = np.repeat(np.array(rows, np.int32), rng.integers(1, 30, 12), axis=0)
    odds = rng.normal(0, 3, (-(-len(first) // STRIDE), 3)).astype(np.float32)
    chosen = relabelled(first, odds)
    np.testing.assert_array_equal((chosen >= 0).sum(axis=1), (first >= 0).sum(axis=1))
    assert set(chosen[chosen >= 0].tolist()) >= set(first[first >= 0].tolist())
    assert all(one != other for one, other in chosen.tolist() if other >= 0)


def test_settling_changes_nothing_that_is_long_enough():
    first = frames("a" * 40)
    chosen = frames("a" * 12 + "b" * LEAST + "a" * (28 - LEAST))
    judged_of = np.arange(40) // STRIDE
    settled = chosen.copy()
    settle(settled, first, np.zeros((14, 3), np.float32), judged_of)
    np.testing.assert_array_equal(settled, chosen)
    chosen = frames("a" * 12 + "b" * (LEAST - 1) + "a" * (29 - LEAST))
    settle(chosen, first, np.zeros((14, 3), np.float32), judged_of)
    np.testing.assert_array_equal(chosen, first)


def test_between_places_values_lie_on_a_line():
    values = np.array([[1.0, np.nan], [3.0, 2.0], [np.nan, np.nan]], np.float32)
    told = between(values, np.array([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 7.0]))
    np.testing.assert_allclose(told[:, 0], [1, 1, 2, 3, 3, 0, 0])
    np.testing.assert_allclose(told[:, 1], [0, 0, 2, 2, 2, 0, 0])
