"""Groups of voices: right for voices that are apart, in order of appearance, and nothing where there is nothing."""

import numpy as np
import pytest

from diarist.pix2seq.frontends import grouping
from diarist.pix2seq.frontends.frames import NUM_VOICE, RANKS, FramesFrontEnd, _grouped

PLACES = {number: sum(n for n in grouping.NUMBERS if n < number) for number in grouping.NUMBERS}


def conversation(whom: list[int], seed: int = 0, noise: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activity, seconds and voices of tokens in which `whom` talks (-1: nobody), as a PLDA says voices are."""
    rng = np.random.default_rng(seed)
    psi = grouping.voice_plda().psi[:NUM_VOICE]
    unit = np.sqrt(np.mean(1 + psi))
    people = rng.normal(size=(max(whom) + 1, NUM_VOICE)) * np.sqrt(psi) / unit
    activity, seconds = np.zeros((2, len(whom), RANKS), np.float32)
    voices = np.zeros((len(whom), RANKS, NUM_VOICE), np.float32)
    for at, person in enumerate(whom):
        if person >= 0:
            activity[at, 0], seconds[at, 0] = 0.9, 2.0
            voices[at, 0] = people[person] + noise * rng.normal(size=NUM_VOICE) / unit
    return activity, seconds, voices


def of_cut(told: np.ndarray, number: int) -> np.ndarray:
    """Probabilities of each group of the first voice of each token."""
    return told[:, PLACES[number] : PLACES[number] + number]


def of_whole(told: np.ndarray) -> np.ndarray:
    return told[0, RANKS * grouping.CHANNELS[0] :].reshape(len(grouping.NUMBERS), grouping.SAID)


@pytest.mark.parametrize("number", grouping.NUMBERS)
def test_the_cut_of_the_right_number_tells_who_is_whom_in_order_of_appearance(number: int) -> None:
    rng = np.random.default_rng(number)
    whom = [*np.repeat(range(number), 4), *rng.integers(0, number, 60)]
    told = grouping.groups(*conversation(whom, seed=number))
    assert told.shape == (len(whom), RANKS * grouping.CHANNELS[0] + grouping.CHANNELS[1])
    assert np.array_equal(of_cut(told, number).argmax(axis=1), whom)
    assert of_cut(told, number).max(axis=1).min() > 0.9


def test_what_a_cut_explains_tells_two_people_from_one() -> None:
    one = of_whole(grouping.groups(*conversation([0] * 60)))
    two = of_whole(grouping.groups(*conversation([0, 0, 0, 1, 1] * 12)))
    assert two[0, 2] > 0.5 > one[0, 2]  # nats a voice, of the cut in two
    assert two[0, 1] == pytest.approx(0.4, abs=0.02)  # the smallest group's share
    assert two[0, 0] < one[0, 0] == grouping.FAR  # of one person, no second group is left


def test_who_does_not_talk_belongs_to_no_group() -> None:
    whom = [0, 0, -1, 1, 1, -1, 0, 1, 0, 0, 1, 1]
    told = grouping.groups(*conversation(whom))
    silent = np.array(whom) < 0
    assert not told[silent, : RANKS * grouping.CHANNELS[0]].any()
    assert np.allclose(of_cut(told, 2)[~silent].sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_hardly_anything_heard_says_nothing(length: int) -> None:
    told = grouping.groups(*(part[:length] for part in conversation([0, 1, 0, 1])))
    assert told.shape[0] == length and not told.any()


def test_voices_that_are_all_the_same_are_one_group() -> None:
    activity, seconds, voices = conversation([0] * 20, noise=0.0)
    told = grouping.groups(activity, seconds, voices)
    assert np.isfinite(told).all()
    assert np.allclose(of_cut(told, 2)[:, 0], 1)


def test_a_mirrored_space_of_voices_has_the_same_groups() -> None:
    activity, seconds, voices = conversation([0, 0, 1, 2, 2, 1, 0] * 8)
    signs = np.random.default_rng(1).choice(np.array([-1, 1], np.float32), NUM_VOICE)
    assert np.allclose(
        grouping.groups(activity, seconds, voices), grouping.groups(activity, seconds, voices * signs), atol=1e-3
    )


def test_long_windows_are_grouped_by_some_of_their_voices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MOST", 40)
    whom = [0] * 30 + [1] * 30 + [0, 1] * 30
    told = grouping.groups(*conversation(whom))
    assert np.array_equal(of_cut(told, 2).argmax(axis=1), whom)


def test_stretches_that_are_joined_are_grouped_together() -> None:
    activity, seconds, voices = conversation([0] * 10 + [1] * 10 + [0] * 10)
    tokens = np.zeros((30, FramesFrontEnd.alone), np.float32)
    gate = np.repeat(activity, 20, axis=1)
    tokens[:, :40] = gate
    tokens[:, 80:82] = np.log1p(seconds) * activity
    tokens[:, 82:] = (voices * activity[..., None]).reshape(30, -1)
    one, two = _grouped(tokens[:15]), _grouped(tokens[15:])
    joined = FramesFrontEnd().joined(one, two)
    assert joined.shape == (30, FramesFrontEnd.channels)
    assert np.allclose(joined, _grouped(tokens))
    cut = joined[:, FramesFrontEnd.alone :]
    assert np.array_equal(of_cut(cut, 2).argmax(axis=1), [0] * 10 + [1] * 10 + [0] * 10)
