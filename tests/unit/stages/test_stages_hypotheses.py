"""Of many answers the right one is chosen, for planted people; and what an answer is told by."""

from importlib import resources

import numpy as np
import pytest

from diarist.core.types import SpeakerBounds
from diarist.errors import WeightsError
from diarist.pipelines.config import ClusteringConfig
from diarist.stages.hypotheses import FEATURES, LONGEST, Choice, different, features_of, merges
from diarist.stages.pieces import Pieces, marginal, stretches
from diarist.stages.plda import Plda
from diarist.stages.window_vbx import CHOSEN_WINDOWS, WindowVbx, offset


def shipped(name):
    with resources.as_file(resources.files("diarist.models") / "plda" / name) as path:
        return path


PLDA = Plda.load(shipped("campplus-zh-en-windows.npz"))
CHOICE = Choice.load(shipped("campplus-zh-en-windows-choice.npz"))


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
    return features_of(labels, stretches(times), np.asarray(embeddings, np.float64), projected, PLDA.psi)


def clusterer(choice=CHOICE):
    names = ("threshold", "Fa", "Fb", "loop", "centring", "min_cluster_size")
    return WindowVbx(PLDA, **{name: getattr(ClusteringConfig(), name) for name in names}, choice=choice)


def answer(embeddings, times, least=1, most=None, choice=CHOICE):
    labels, sure = clusterer(choice).answer(embeddings, SpeakerBounds(least, most), times)
    assert sorted(set(labels.tolist())) == list(range(labels.max() + 1))
    assert sure is None or 0 < sure <= 1
    return int(labels.max()) + 1, sure


def favouring(name, weight):
    weights = np.zeros(len(FEATURES))
    weights[FEATURES.index(name)] = weight
    return Choice(weights)


def test_stretches_are_parted_by_pauses():
    assert stretches(np.array([0.75, 1.25, 1.75, 3.0, 3.5, 9.0])).tolist() == [0, 0, 0, 1, 1, 2]
    assert stretches(np.array([3.0])).tolist() == [0]


@pytest.mark.parametrize("num_speakers", [1, 2, 4, 7])
def test_planted_speakers_are_counted_and_the_count_is_sure(num_speakers):
    for seed in range(3):
        embeddings, times, _ = conversation(talk(num_speakers, 30, seed), seed)
        found, sure = answer(embeddings, times)
        assert found == num_speakers and sure > 0.5


@pytest.mark.parametrize("num_speakers", [1, 2, 3])
def test_short_recordings_too(num_speakers):
    for seed in range(3):
        embeddings, times, _ = conversation(talk(num_speakers, 9, 20 + seed), seed)
        assert CHOSEN_WINDOWS[0] <= len(times) < 75
        assert answer(embeddings, times)[0] == num_speakers


def test_confidence_is_of_the_number_and_known_where_it_was_chosen():
    embeddings, times, _ = conversation(talk(3, 30, 4), 4)
    assert answer(embeddings, times)[1] > 0.5
    assert answer(embeddings, times, 3, 3) == (3, 1.0)
    assert answer(embeddings, times, choice=None)[1] is None
    assert answer(embeddings[:5], times[:5])[1] is None
    assert answer(embeddings, times[::-1])[1] is None


def test_bounds_are_kept_whatever_the_choice_would_like():
    embeddings, times, _ = conversation(talk(3, 30, 4), 4)
    for asked in (1, 2, 3, 5):
        assert answer(embeddings, times, asked, asked)[0] == asked
    few, many = favouring("speakers", -99.0), favouring("speakers", 99.0)
    assert answer(embeddings, times, choice=few)[0] == 1
    assert answer(embeddings, times, least=2, choice=few)[0] == 2
    assert answer(embeddings, times, most=2, choice=many)[0] == 2


@pytest.mark.parametrize("likely, num_windows, found", [(0.7, 20, 2), (0.8, 20, 1), (0.7, 100, 1), (0.4, 100, 2)])
def test_a_short_recording_has_one_speaker_only_where_that_is_sure(likely, num_windows, found):
    answers = [np.zeros(num_windows, np.int64), np.arange(num_windows) % 2]
    features = np.zeros((2, len(FEATURES)))
    features[0, FEATURES.index("one speaker")] = 1
    labels, sure = clusterer(favouring("one speaker", np.log(likely / (1 - likely))))._chosen(answers, features)
    assert labels.max() + 1 == found
    assert sure == pytest.approx(likely if found == 1 else 1 - likely)


def test_features_are_finite_and_do_not_know_the_speakers_names():
    embeddings, times, owners = conversation(talk(5, 40, 3), 3)
    found = features(owners, times, embeddings)
    assert found.shape == (len(FEATURES),) and np.isfinite(found).all()
    np.testing.assert_allclose(features(np.array([3, 0, 4, 1, 2])[owners], times, embeddings), found)
    alone = features(np.zeros_like(owners), times, embeddings)
    assert np.isfinite(alone).all() and alone[FEATURES.index("one speaker")] == 1
    assert alone[FEATURES.index("margin")] == 0


def test_evidence_stops_growing_at_the_longest_that_the_weights_know():
    embeddings, times, owners = conversation(talk(3, 40, 3), 3)
    told = []
    for again in (1, 3, 6, 12):
        late = np.concatenate([times + k * (times[-1] + 10) for k in range(again)])
        found = features(np.tile(owners, again), late, np.tile(embeddings, (again, 1)))
        told.append(dict(zip(FEATURES, found, strict=True)))
    number = len(owners)
    assert 3 * number < 1.5 * LONGEST < 6 * number
    same, grown = told[2], told[3]
    for name in ("likely", "likely a root", "plain", "plain a root", "least windows", "entropy", "cosine", "changes"):
        assert grown[name] == pytest.approx(same[name], rel=0.05), name
    assert told[0]["likely"] < 0.5 * told[1]["likely"]
    assert grown["least windows"] == pytest.approx(np.log(grown["least share"] * LONGEST))


@pytest.mark.parametrize("num_speakers", [1, 3])
def test_long_recordings_are_chosen_among_answers_too(num_speakers):
    embeddings, times, owners = conversation(talk(num_speakers, 300, 8), 8)
    assert len(times) > 2 * LONGEST
    labels, sure = clusterer().answer(embeddings, SpeakerBounds(), times)
    assert labels.max() + 1 == num_speakers and sure > 0.5
    assert all(len(set(labels[owners == speaker].tolist())) == 1 for speaker in range(num_speakers))


def test_the_truth_is_likelier_than_people_merged_or_split():
    embeddings, times, owners = conversation(talk(4, 40, 6), 6)
    halves = np.where((owners == 0) & (stretches(times) % 2 == 0), 4, owners)
    likely = [features(labels, times, embeddings)[FEATURES.index("likely")] for labels in (owners, owners // 2, halves)]
    assert likely[0] > max(likely[1:])
    chosen = CHOICE(np.stack([features(labels, times, embeddings) for labels in (owners, owners // 2, halves)]))
    assert chosen.argmax() == 0 and chosen.sum() == pytest.approx(1)


def test_merges_go_down_to_one_and_join_halves_of_a_person_first():
    embeddings, times, owners = conversation(talk(4, 40, 7), 7)
    halves = np.where((owners == 2) & (stretches(times) % 2 == 0), 4, owners)
    projected = PLDA.project(PLDA.center(np.asarray(embeddings, np.float64)))
    found = merges(halves, stretches(times), projected, PLDA.psi)
    assert [int(labels.max()) + 1 for labels in found] == [4, 3, 2, 1]
    assert len(different([found[0], owners])) == 1
    assert sorted(set(found[1].tolist())) == [0, 1, 2]
    assert merges(np.zeros_like(owners), stretches(times), projected, PLDA.psi) == []


def test_the_marginal_is_that_of_a_normal_distribution():
    rng = np.random.default_rng(0)
    psi, rows = np.array([2.0, 0.5]), rng.normal(size=(3, 2))
    found = marginal(np.array([3.0]), rows.sum(axis=0)[None], psi)[0]
    covariance = [np.eye(3) + np.full((3, 3), p) for p in psi]
    exact = sum(
        -0.5 * (np.linalg.slogdet(c)[1] + x @ np.linalg.solve(c, x) - x @ x)
        for c, x in zip(covariance, rows.T, strict=True)
    )
    assert found == pytest.approx(exact)


def test_pieces_end_where_the_speaker_changes():
    pieces = Pieces(np.array([0, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1]), np.eye(5)[:, :2], np.ones(2))
    assert sorted(zip(pieces.speaker.tolist(), pieces.windows.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 1),
        (1, 1),
    ]
    own, each = pieces.likelihood()
    assert own.shape == (4,) and each.shape == (4, 2)


def test_answers_that_differ_in_names_only_are_one():
    found = different([np.array([1, 1, 0]), np.array([0, 0, 2]), np.array([0, 1, 1])])
    assert [labels.tolist() for labels in found] == [[0, 0, 1], [0, 1, 1]]


def test_a_choice_is_read_as_it_was_written(tmp_path):
    CHOICE.save(tmp_path / "choice.npz")
    again = Choice.load(tmp_path / "choice.npz")
    found = np.random.default_rng(0).normal(size=(4, len(FEATURES)))
    np.testing.assert_array_equal(again(found), CHOICE(found))
    Choice(np.zeros(3)).save(tmp_path / "short.npz")
    with pytest.raises(WeightsError, match="weighs 3 features, not 18"):
        Choice.load(tmp_path / "short.npz")
    with pytest.raises(WeightsError, match="not an npz file"):
        Choice.load(tmp_path / "none.npz")
