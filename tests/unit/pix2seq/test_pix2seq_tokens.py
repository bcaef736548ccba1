from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Turn
from diarist.errors import UsageError
from diarist.pix2seq.tokens import EOS, FIRST_TIME, PAD, START, Grammar, Vocabulary, check, masks

vocabularies = st.builds(
    Vocabulary,
    max_seconds=st.sampled_from([1.0, 7.5, 15.0, 30.0]),
    time_step=st.sampled_from([0.01, 0.02, 0.04, 0.0591, 0.12]),
    num_speakers=st.integers(1, 8),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Vocabulary, list[Turn]]:
    """A vocabulary, and turns that it can hold: any length from nothing on, touching, overlapping, unsorted."""
    vocabulary = draw(vocabularies)
    times = st.floats(0, vocabulary.max_seconds, allow_nan=False)
    names = st.sampled_from([f"speaker {i}" for i in range(vocabulary.num_speakers)])
    spans = draw(st.lists(st.tuples(times, times, names), max_size=12))
    if spans and draw(st.booleans()):  # one that begins where another ends
        start, end, name = spans[0]
        spans.append((max(start, end), vocabulary.max_seconds, name))
    return vocabulary, [Turn(min(a, b), max(a, b), name) for a, b, name in spans]


def activity(turns: list[Turn], at: np.ndarray) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for turn in turns:
        now = (at >= turn.start) & (at < turn.end)
        found[turn.speaker] = found.get(turn.speaker, np.zeros(len(at), bool)) | now
    return found


@given(vocabularies)
def test_no_two_meanings_share_an_id(vocabulary: Vocabulary) -> None:
    ids = [PAD, EOS, START, *range(*vocabulary.times.indices(10**6)), *range(*vocabulary.labels.indices(10**6))]
    assert len(set(ids)) == len(ids) == vocabulary.size
    assert ids == list(range(vocabulary.size))


def test_the_last_moment_is_a_time_and_no_speaker() -> None:
    vocabulary = Vocabulary(30.0, 0.02, 8)  # in nanodrz, 30 s was the token of its last speaker
    start, end, speaker, stop = vocabulary.encode([Turn(0.0, 30.0, "Ann")])
    assert (start, end, speaker, stop) == (FIRST_TIME, vocabulary.first_label - 1, vocabulary.first_label, EOS)
    assert vocabulary.seconds(end) == pytest.approx(30.0)
    assert vocabulary.size == 3 + 1501 + 8


@given(vocabularies, st.floats(0, 1))
def test_a_time_is_wrong_by_half_a_step_at_most(vocabulary: Vocabulary, share: float) -> None:
    time = share * vocabulary.max_seconds
    ids = vocabulary.encode([Turn(0.0, time, "Ann")])
    if len(ids) == 1:  # too short for a turn
        assert time <= vocabulary.time_step / 2 + 1e-9
        return
    assert abs(vocabulary.decode(ids)[0].end - time) <= vocabulary.time_step / 2 + 1e-9


@given(conversations())
def test_whoever_talks_a_step_away_from_every_edge_still_does(case: tuple[Vocabulary, list[Turn]]) -> None:
    vocabulary, turns = case
    found = vocabulary.decode(vocabulary.encode(turns))
    at = np.linspace(0, vocabulary.max_seconds, 500)
    edges = np.array([edge for t in turns for edge in (t.start, t.end)])
    clear = np.array([len(edges) == 0 or np.abs(edges - t).min() > vocabulary.time_step for t in at])
    before, after = activity(turns, at[clear]), activity(found, at[clear])
    talk = {name: mask for name, mask in before.items() if mask.any()}
    heard = {name: mask for name, mask in after.items() if mask.any()}
    assert sorted(map(bytes, talk.values())) == sorted(map(bytes, heard.values()))


@given(conversations())
def test_what_is_encoded_keeps_to_the_grammar_and_comes_back_the_same(case: tuple[Vocabulary, list[Turn]]) -> None:
    vocabulary, turns = case
    ids = vocabulary.encode(turns)
    check(vocabulary, ids)
    assert ids[-1] == EOS and (ids[:-1] != EOS).all()
    assert np.array_equal(vocabulary.encode(vocabulary.decode(ids)), ids)


@given(conversations())
def test_speakers_are_numbered_as_they_appear(case: tuple[Vocabulary, list[Turn]]) -> None:
    vocabulary, turns = case
    numbers = (vocabulary.encode(turns)[2:-1:3] - vocabulary.first_label).tolist()
    assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers))))


@settings(deadline=None, max_examples=40)
@given(vocabularies, st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 9), st.integers(1, 9))
def test_every_walk_that_the_mask_allows_ends_in_turns(
    vocabulary: Vocabulary, seed: int, hasty: bool, most: int, together: int
) -> None:
    rng = np.random.default_rng(seed)
    batch = 4
    grammar = Grammar(vocabulary, batch, most, together=together)
    said: list[np.ndarray] = []
    longest = 3 * (vocabulary.num_steps + 1) * vocabulary.num_speakers
    while not grammar.ended.all():
        allowed = grammar.allowed()
        assert allowed.any(axis=1).all()
        weights = np.where(allowed, rng.random(allowed.shape), 0.0)
        if not hasty:  # an end only where nothing else is left
            weights[:, EOS] = np.where(allowed.sum(axis=1) == 1, weights[:, EOS], 0.0)
        ids = weights.argmax(axis=1)
        grammar.advance(ids)
        said.append(ids)
        assert len(said) <= longest + 1
    for row in np.stack(said, axis=1):
        check(vocabulary, row)
        turns = vocabulary.decode(row)
        assert all(0 <= t.start < t.end <= vocabulary.num_steps * vocabulary.time_step + 1e-9 for t in turns)
        assert [t.start for t in turns] == sorted(t.start for t in turns)
        assert len({t.speaker for t in turns}) <= most
        assert all(sum(o.start <= t.start < o.end - 1e-9 for o in turns) <= together for t in turns)
        for name in {t.speaker for t in turns}:
            own = [t for t in turns if t.speaker == name]
            assert all(one.end < next_.start for one, next_ in itertools.pairwise(own))


def test_an_end_can_be_written_at_the_start_of_every_turn_and_nowhere_else() -> None:
    vocabulary = Vocabulary(10.0, 0.5, 2)
    ids = vocabulary.encode([Turn(0, 1, "a"), Turn(1, 3, "b"), Turn(2, 4, "a")])
    allowed = masks(vocabulary, ids)[0]
    assert allowed[:, EOS].tolist() == [True, False, False] * 3 + [True]


BROKEN = {
    "a start before the last one": ([3, 5, 24, 2], 3),
    "an end before its start": ([8, 6], 1),
    "an end at its start": ([8, 8], 1),
    "the second speaker first": ([3, 5, 25], 2),
    "a speaker over himself": ([3, 8, 24, 5, 9, 24], 5),
    "an end within a turn": ([3, EOS], 1),
    "more after the end": ([EOS, 3], 1),
    "an id that is none": ([26], 0),
    "a negative id": ([-1], 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_target_that_breaks_the_grammar(name: str) -> None:
    vocabulary = Vocabulary(10.0, 0.5, 2)
    ids, _ = BROKEN[name]
    assert vocabulary.first_label == 24
    with pytest.raises(UsageError, match="breaks the grammar"):
        check(vocabulary, np.array(ids))


def test_a_target_without_an_end() -> None:
    with pytest.raises(UsageError, match="sequence 1 has no end token"):
        check(Vocabulary(10.0, 0.5, 2), np.array([[EOS, PAD, PAD], [3, 5, 24]]))


def test_padding_after_the_end_is_allowed() -> None:
    check(Vocabulary(10.0, 0.5, 2), np.array([[EOS, PAD, PAD, PAD], [3, 5, 24, EOS]]))


def test_more_speakers_than_labels() -> None:
    turns = [Turn(i, i + 1, f"s{i}") for i in range(3)]
    with pytest.raises(UsageError, match="3 speakers in a window, but the model has 2 labels"):
        Vocabulary(10.0, 0.5, 2).encode(turns)


@pytest.mark.parametrize("turn", [Turn(-1, 2, "a"), Turn(2, 11, "a"), Turn(float("nan"), 2, "a"), Turn(3, 2, "a")])
def test_turns_that_are_not_in_the_window(turn: Turn) -> None:
    with pytest.raises(UsageError, match="turns must lie within 0 and 10 s"):
        Vocabulary(10.0, 0.5, 2).encode([turn])


@pytest.mark.parametrize("ids", [[3], [3, 5], [3, 24, 5], [24, 25, 26]])
def test_ids_that_are_no_turns(ids: list[int]) -> None:
    with pytest.raises(UsageError, match="triplets"):
        Vocabulary(10.0, 0.5, 2).decode(ids)


def test_rows_are_chosen_and_are_copies() -> None:
    vocabulary = Vocabulary(10.0, 0.5, 2)
    grammar = Grammar(vocabulary, 2)
    grammar.advance(np.array([5, EOS]))
    copy = grammar.select(np.array([1, 0, 0]))
    assert copy.ended.tolist() == [True, False, False]
    copy.advance(np.array([PAD, 9, 10]))
    copy.advance(np.array([PAD, 24, 24]))
    assert copy.until[1:, 0].tolist() == [6, 7] and grammar.until.max() == -1


def test_a_vocabulary_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="no vocabulary"):
        Vocabulary(1.0, 2.0)
