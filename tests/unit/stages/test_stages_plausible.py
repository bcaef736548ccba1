"""What tells a speaker from none: planted people stay, a person in two parts and a mixture of two look doubtful."""

from importlib import resources

import numpy as np
import pytest

from diarist.core.types import SpeakerBounds
from diarist.errors import WeightsError
from diarist.pipelines.config import ClusteringConfig
from diarist.stages.plausible import FEATURES, SpeakerTest, drop, features_of, stretches
from diarist.stages.plda import Plda
from diarist.stages.window_vbx import TESTED_WINDOWS, WindowVbx, offset


def shipped(name):
    with resources.as_file(resources.files("diarist.models") / "plda" / name) as path:
        return path


PLDA = Plda.load(shipped("campplus-zh-en-windows.npz"))
TEST = SpeakerTest.load(shipped("campplus-zh-en-windows-test.npz"))


def conversation(lengths, seed=0, noise=1.0):
    """Stretches `(speaker, windows)` drawn from the PLDA: unit embeddings, times (pauses between them), owners."""
    rng = np.random.default_rng(seed)
    owners = np.repeat([speaker for speaker, _ in lengths], [number for _, number in lengths])
    stretch = np.repeat(np.arange(len(lengths)), [number for _, number in lengths])
    means = rng.normal(size=(owners.max() + 1, len(PLDA.psi))) * np.sqrt(PLDA.psi)
    common = 0.5 * rng.normal(size=(len(lengths), len(PLDA.psi)))[stretch]  # what a stretch says alike
    rows = means[owners] + common + noise * rng.normal(size=(len(owners), len(PLDA.psi)))
    x = PLDA.mu + rows @ np.linalg.pinv(PLDA.projection)
    times = 0.75 + 0.5 * np.arange(len(owners)) + 1.0 * stretch
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), times, owners


def talk(num_speakers, num_stretches, seed):
    rng = np.random.default_rng(seed)
    speakers = [*range(num_speakers), *rng.integers(num_speakers, size=num_stretches - num_speakers)]
    return [(int(speaker), int(rng.integers(2, 8))) for speaker in speakers]


def features(labels, times, embeddings):
    centered = PLDA.center(np.asarray(embeddings, np.float64))
    projected = PLDA.project(centered, offset(labels, centered, 3.0))
    return features_of(labels, times, np.asarray(embeddings, np.float64), projected, PLDA.psi)


def clusterer(test=TEST):
    names = ("threshold", "Fa", "Fb", "loop", "centring", "min_cluster_size")
    return WindowVbx(PLDA, **{name: getattr(ClusteringConfig(), name) for name in names}, test=test)


def count(embeddings, times, least=1, most=None, test=TEST):
    labels = clusterer(test)(embeddings, np.full(len(times), -1), SpeakerBounds(least, most), times)
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))
    return labels.max() + 1


def test_stretches_are_parted_by_pauses():
    assert stretches(np.array([0.75, 1.25, 1.75, 3.0, 3.5, 9.0])).tolist() == [0, 0, 0, 1, 1, 2]
    assert stretches(np.array([3.0])).tolist() == [0]


def test_a_dropped_speaker_goes_to_the_nearest_voice():
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.4]])
    assert drop(np.array([0, 0, 1, 1, 2]), 2, rows).tolist() == [0, 0, 1, 1, 0]
    assert drop(np.array([0, 0, 1, 1, 2]), 0, rows).tolist() == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("num_speakers", [1, 2, 4, 7])
def test_planted_speakers_are_counted(num_speakers):
    for seed in range(3):
        embeddings, times, _ = conversation(talk(num_speakers, 30, seed), seed)
        assert TESTED_WINDOWS[0] <= len(times) <= TESTED_WINDOWS[1]
        assert count(embeddings, times) == num_speakers


def test_half_a_person_is_doubtful_and_a_whole_one_is_not():
    embeddings, times, owners = conversation(talk(3, 40, 1), 1)
    whole = TEST(features(owners, times, embeddings))
    halves = owners.copy()
    halves[(owners == 0) & (stretches(times) % 2 == 0)] = 3
    parted = TEST(features(halves, times, embeddings))
    assert whole.max() < 0.2
    assert min(parted[0], parted[3]) > 0.8 and max(parted[1], parted[2]) < 0.2


def test_a_mixture_of_two_voices_lies_between_them():
    embeddings, times, owners = conversation(talk(3, 40, 2), 2)
    mixed = owners == 2
    rng = np.random.default_rng(0)
    first, second = (rng.choice(np.flatnonzero(owners == one), mixed.sum()) for one in (0, 1))
    embeddings[mixed] = embeddings[first] + embeddings[second]
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    column = features(owners, times, embeddings)[:, FEATURES.index("mixture to nearest")]
    assert column[2] < 0.5 * column[:2].min()


def test_features_are_finite_and_follow_the_speakers_names():
    embeddings, times, owners = conversation(talk(5, 40, 3), 3)
    found = features(owners, times, embeddings)
    assert found.shape == (5, len(FEATURES)) and np.isfinite(found).all()
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(features(order[owners], times, embeddings)[order], found)
    pair = features(np.minimum(owners, 1), times, embeddings)
    assert pair.shape == (2, len(FEATURES)) and np.isfinite(pair).all()


def test_bounds_are_kept_and_what_the_test_says_nothing_of_is_left_alone():
    embeddings, times, _ = conversation(talk(3, 30, 4), 4)
    for asked in (1, 2, 3, 5):
        assert count(embeddings, times, asked, asked) == asked
    never = SpeakerTest(np.zeros(len(FEATURES)), np.ones(len(FEATURES)), np.zeros(len(FEATURES)), 99.0)
    assert count(embeddings, times, test=never) == 1
    assert count(embeddings, times, least=2, test=never) == 2
    few = embeddings[: TESTED_WINDOWS[0] - 1], times[: TESTED_WINDOWS[0] - 1]
    assert count(*few, test=never) == count(*few, test=None) > 1
    assert count(embeddings, times[::-1], test=never) == count(embeddings, times, test=None) > 1


def test_a_test_is_read_as_it_was_written(tmp_path):
    TEST.save(tmp_path / "test.npz")
    again = SpeakerTest.load(tmp_path / "test.npz")
    found = np.random.default_rng(0).normal(size=(4, len(FEATURES)))
    np.testing.assert_array_equal(again(found), TEST(found))
    SpeakerTest(*[np.zeros(3)] * 3, 0.0).save(tmp_path / "short.npz")
    with pytest.raises(WeightsError, match="a test of 3 features, not 18"):
        SpeakerTest.load(tmp_path / "short.npz")
    with pytest.raises(WeightsError, match="not an npz file"):
        SpeakerTest.load(tmp_path / "none.npz")
