"""The network of the second pass, what it is told, and what is made of its answer."""

import numpy as np
import pytest

from diarist.errors import WeightsError
from diarist.stages.second_pass import (
    FIRST,
    NAMES,
    NUM_SIGNS,
    STRIDE,
    TAPS,
    SecondPass,
    above_others,
    local_shares,
    relabelled,
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
    heard, cosines = rng.random((2, 30, 3)).astype(np.float32), rng.random((2, 30, 3)).astype(np.float32)
    first = np.stack([rng.integers(-1, 3, 30), np.full(30, -1)], axis=1).astype(np.int32)
    distance, speech = rng.random((2, 30)).astype(np.float32)
    signs = signs_of(tuple(heard), first, tuple(cosines), distance, speech)
    assert signs.shape == (30, 3, NUM_SIGNS) and np.isfinite(signs).all()
    order = [2, 0, 1]
    moved = np.where(first >= 0, np.argsort(order)[first], -1).astype(np.int32)
    other = signs_of(tuple(heard[..., order]), moved, tuple(cosines[..., order]), distance, speech)
    np.testing.assert_array_equal(other, signs[:, order])


def test_as_many_talk_as_before():
    first = np.array([[0, -1]] * 9 + [[-1, -1]] * 3 + [[0, 1]] * 9 + [[2, -1]] * 3, np.int32)
    odds = np.zeros((len(first) // STRIDE, 3), np.float32)
    odds[:3] = [0, 2, 1]
    odds[3:7] = [0, 1, 2]
    odds[7:] = [2, 1, 0]
    chosen = relabelled(first, odds)
    np.testing.assert_array_equal((chosen >= 0).sum(axis=1), (first >= 0).sum(axis=1))
    assert chosen[:4].tolist() == [[1, -1]] * 4
    assert chosen[14:20].tolist() == [[2, 1]] * 6


def test_nobody_who_was_heard_is_lost():
    first = np.array([[0, -1]] * 12 + [[1, -1]] * 3, np.int32)
    odds = np.tile(np.array([2, 1], np.float32), (5, 1))
    np.testing.assert_array_equal(relabelled(first, odds), first)
