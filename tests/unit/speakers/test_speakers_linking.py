"""Linking: people are found again, never two in one recording, whatever the order."""

import numpy as np
import pytest

from diarist.speakers import linking
from diarist.speakers.config import LinkConfig
from diarist.speakers.linking import link
from diarist.speakers.scoring import Scorer
from diarist.speakers.voices import Voice

DIMENSION = 24
SCORER = Scorer(np.zeros(DIMENSION), np.eye(DIMENSION), np.full(DIMENSION, 1 / 24), np.full(DIMENSION, 0.05 / 24), 1.0)


def archive(num_people=12, num_recordings=30, seed=0, spread=0.2):
    """Voices, their recordings and their people: 1 to 4 different people talk in each recording."""
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((num_people, DIMENSION))
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    voices, recordings, owners = [], [], []
    for recording in range(num_recordings):
        for person in rng.choice(num_people, rng.integers(1, 5), replace=False):
            heard = people[person] + spread * rng.standard_normal(DIMENSION) / np.sqrt(DIMENSION)
            voices.append(Voice(heard.astype(np.float32), float(rng.uniform(5, 60)), "m", source=f"r{recording}"))
            recordings.append(recording)
            owners.append(int(person))
    return voices, np.array(recordings), np.array(owners)


def same(labels):
    return labels[:, None] == labels


def test_people_are_found_again():
    voices, recordings, owners = archive()
    links = link(voices, recordings, SCORER)
    np.testing.assert_array_equal(same(links.labels), same(owners))
    assert links.labels[0] == 0 and (np.diff(np.unique(links.labels)) == 1).all()
    assert (links.probability > 0.9).all()


def test_two_of_one_recording_are_never_one():
    voices, recordings, _ = archive(num_people=4, spread=1.5)  # hardly to be told apart
    links = link(voices, recordings, SCORER, LinkConfig(probability=0.001, known=0.999))
    for recording in np.unique(recordings):
        labels = links.labels[recordings == recording]
        assert len(set(labels)) == len(labels)
    one = [voices[0]] * 3
    assert link(one, np.array([0, 0, 0]), SCORER).labels.tolist() == [0, 1, 2]
    assert link(one, np.array([0, 1, 1]), SCORER).labels.max() == 1


def test_the_order_does_not_matter():
    voices, recordings, _ = archive(spread=0.6)
    order = np.random.default_rng(1).permutation(len(voices))
    straight = link(voices, recordings, SCORER).labels
    mixed = link([voices[i] for i in order], recordings[order], SCORER).labels
    np.testing.assert_array_equal(same(straight)[np.ix_(order, order)], same(mixed))


def test_few_neighbours_are_enough(monkeypatch):
    voices, recordings, owners = archive(num_people=20, num_recordings=120)
    monkeypatch.setattr(linking, "NEIGHBOURS", 4)
    monkeypatch.setattr(linking, "BLOCK", 7)
    np.testing.assert_array_equal(same(link(voices, recordings, SCORER).labels), same(owners))


def test_doubt_keeps_apart():
    voices, recordings, owners = archive(num_recordings=80, spread=1.2)
    unsure = Scorer(
        np.zeros(DIMENSION), np.eye(DIMENSION), np.full(DIMENSION, 0.4 / 24), np.full(DIMENSION, 0.6 / 24), 1.0
    )
    strict, lax = (link(voices, recordings, unsure, LinkConfig(probability=p)).labels for p in (0.999, 0.01))
    wrong = [(same(labels) & ~same(owners)).sum() for labels in (strict, lax)]
    assert strict.max() > lax.max() and wrong[0] < wrong[1]


@pytest.mark.parametrize("number", [0, 1])
def test_hardly_anybody(number):
    voices, recordings, _ = archive()
    links = link(voices[:number], recordings[:number], SCORER)
    assert links.labels.tolist() == [0] * number and links.probability.tolist() == [1.0] * number
