"""WDER by hand, cpWER and tcpWER as MeetEval has them."""

import math

import pytest

from diarist.core.types import Transcript, Utterance, Word
from diarist.errors import ExtraError, InputError
from diarist.words import scoring
from diarist.words.scoring import Errors, WordScore, plain, score_words

pytest.importorskip("meeteval")


def transcript(*utterances):
    """`(speaker, start, text)`: a word each half second."""
    made = []
    for speaker, start, text in utterances:
        words = tuple(Word(w, start + n / 2, start + n / 2 + 0.5, speaker) for n, w in enumerate(text.split()))
        made.append(Utterance(text, start, start + len(words) / 2, speaker, words=words))
    return Transcript(tuple(made))


def untimed(given):
    return Transcript(tuple(Utterance(u.text, speaker=u.speaker) for u in given.utterances))


REFERENCE = transcript(("A", 0.0, "Hello there, my friend."), ("B", 2.0, "Fine thanks you?"))
CASES = [
    # the hypothesis, aligned words, wrong speakers, cp errors (substitutions, deletions, insertions)
    (transcript(("x", 0.0, "hello there my friend"), ("y", 2.0, "fine thanks, you")), 7, 0, (0, 0, 0)),
    (transcript(("x", 0.0, "hello there my friend fine"), ("y", 2.5, "thanks you")), 7, 1, (0, 1, 1)),
    (transcript(("x", 0.0, "hello their my friend"), ("y", 2.0, "fine thanks you")), 7, 0, (1, 0, 0)),
    (transcript(("x", 0.0, "hello there my"), ("y", 2.0, "fine thanks you all")), 6, 0, (0, 1, 1)),
    (transcript(("x", 0.0, "hello there my friend fine thanks you")), 7, 3, (0, 3, 3)),
    (transcript(), 0, 0, (0, 7, 0)),
]


@pytest.mark.parametrize(("hypothesis", "aligned", "wrong", "errors"), CASES)
def test_by_hand(hypothesis, aligned, wrong, errors):
    for reference, other in ((REFERENCE, hypothesis), (untimed(REFERENCE), untimed(hypothesis))):
        score = score_words(reference, other)
        assert (score.aligned, score.misattributed) == (aligned, wrong)
        assert score.cp == Errors(7, *errors)
        assert score.tcp == (score.cp if reference is REFERENCE else None)
    assert (score.wder == wrong / aligned) if aligned else math.isnan(score.wder)


def test_a_word_without_a_speaker_is_wrong():
    words = (Word("hello", 0, 0.5, "x"), Word("there", 0.5, 1.0))
    hypothesis = Transcript((Utterance("hello there", 0, 1, words=words),))
    reference = transcript(("A", 0.0, "hello there"))
    assert score_words(reference, hypothesis).wder == 0.5


def test_words_too_far_apart_are_not_the_same():
    late = transcript(("x", 10.0, "hello there my friend"))
    reference = transcript(("A", 0.0, "hello there my friend"))
    score = score_words(reference, late)
    assert (score.cp.errors, score.tcp.errors, score.aligned) == (0, 8, 0)
    assert score_words(reference, late, collar=20.0).tcp.errors == 0


def test_exact():
    reference, hypothesis = transcript(("A", 0.0, "It's OK.")), transcript(("x", 0.0, "it’s ok"))
    assert score_words(reference, hypothesis).cp.errors == 0
    assert score_words(reference, hypothesis, exact=True).cp.errors == 2
    assert [plain(word) for word in ("“Don’t!”", "co-op,", "-", "ÜBER", "…")] == ["don't", "co-op", "", "über", ""]


def test_equals_meeteval_on_segments():
    import meeteval

    hypothesis = CASES[1][0]
    sides = [
        meeteval.io.SegLST(
            [
                {"session_id": "s", "speaker": u.speaker, "start_time": u.start, "end_time": u.end, "words": text}
                for u in given.utterances
                for text in [" ".join(plain(word) for word in u.text.split())]
            ]
        )
        for given in (REFERENCE, hypothesis)
    ]
    score = score_words(REFERENCE, hypothesis)
    assert score.cp.errors == meeteval.wer.cpwer(*sides)["s"].errors
    assert score.tcp.errors == meeteval.wer.tcpwer(*sides, collar=5)["s"].errors


def test_added_up():
    total = score_words(REFERENCE, CASES[1][0]) + score_words(untimed(REFERENCE), untimed(CASES[4][0]))
    assert total == WordScore(14, 4, Errors(14, 0, 4, 4), None)
    assert total.cp.rate == 8 / 14
    assert math.isnan(Errors().rate)


def test_nothing_said():
    assert score_words(Transcript(), Transcript()) == WordScore()
    assert score_words(Transcript(), REFERENCE).cp == Errors(0, 0, 0, 7)


def test_limits(monkeypatch):
    monkeypatch.setattr(scoring, "MOST_UNTIMED", 3)
    with pytest.raises(InputError, match="without times"):
        score_words(untimed(REFERENCE), untimed(REFERENCE))
    many = Transcript(tuple(Utterance("hi", n, n + 1, f"S{n}") for n in range(30)))
    with pytest.raises(InputError, match="speakers"):
        score_words(many, many)
    monkeypatch.setitem(__import__("sys").modules, "meeteval.io", None)
    with pytest.raises(ExtraError, match=r"diarist\[words\]"):
        score_words(REFERENCE, REFERENCE)
