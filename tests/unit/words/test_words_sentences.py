"""A vote by sentence."""

import numpy as np
import pytest

from diarist.core.types import Transcript, Turn, Utterance, Word
from diarist.words.sentences import MOST_WORDS, ends_sentence, sentences
from diarist.words.transcript import assign


def said(text, start=0.0, step=0.5):
    """A word each half second."""
    words = tuple(
        Word(word, start + step * place, start + step * (place + 1)) for place, word in enumerate(text.split())
    )
    return Utterance(text, words[0].start, words[-1].end, words=words)


@pytest.mark.parametrize(
    "word", ["done.", "really?", "no!", 'said."', "well…", "好。", "क्या।", "(yes.)", "let's.'", "end.”"]
)
def test_ends(word):
    assert ends_sentence(word)


@pytest.mark.parametrize("word", ["done", "3.5", "well,", "", '"', "a-"])
def test_does_not_end(word):
    assert not ends_sentence(word)


def found(texts, starts=None):
    starts = np.arange(len(texts), dtype=float) if starts is None else np.array(starts, float)
    return [(one.start, one.stop) for one in sentences(texts, starts, starts + 0.9)]


def test_sentences():
    assert found(["a", "b.", "c", "d?"]) == [(0, 2), (2, 4)]
    assert found(["a", "b.", "c", "d"]) == [(0, 2)]  # no full stop, no sentence
    assert found(["a", "b", "c."], [0, 10, 11]) == [(1, 3)]  # nor one with a long pause in it
    assert found(["a"] * MOST_WORDS + ["b."]) == []
    assert found(["a"] * (MOST_WORDS - 1) + ["b."]) == [(0, MOST_WORDS)]
    assert found([]) == []


def test_a_word_at_the_edge_goes_with_its_sentence():
    transcript = Transcript((said("Where do you live? In Ghent now."),))
    turns = [Turn(0.0, 1.5, "A"), Turn(1.5, 3.6, "B")]  # the last word of the question is in the answer's turn
    assert [word.speaker for word in assign(transcript, turns).words] == list("AAABBBB")
    kept = assign(transcript, turns, sentences=True)
    assert [word.speaker for word in kept.words] == list("AAAABBB")
    assert [word.confidence for word in kept.words] == [0.75] * 4 + [1.0] * 3
    assert kept.utterances[0].speaker == "A"  # who says most words of it


def test_a_long_piece_stays_where_only_short_ones_may_change():
    transcript = Transcript((said("One two three four five six seven."),))
    turns = [Turn(0, 0.5, "B"), Turn(0.5, 2.5, "A"), Turn(2.5, 3.5, "B")]
    assert [word.speaker for word in assign(transcript, turns, sentences=True).words] == list("AAAAAAA")
    kept = assign(transcript, turns, sentences=True, max_change=0.9)
    assert [word.speaker for word in kept.words] == list("AAAAABB")
    assert [word.confidence for word in kept.words] == [0.5714] * 5 + [1.0] * 2


def test_no_majority_no_change():
    transcript = Transcript((said("One two three four."),))
    turns = [Turn(0, 1, "A"), Turn(1, 2, "B")]
    assert [word.speaker for word in assign(transcript, turns, sentences=True).words] == list("AABB")


def test_words_of_nobody_follow_their_sentence():
    transcript = Transcript((said("One two three."),))
    named = assign(transcript, [Turn(0, 1, "A")], nearest=0.0, sentences=True)
    assert [word.speaker for word in named.words] == list("AAA")
    alone = assign(Transcript((said("One two three."),)), [], sentences=True)
    assert [word.speaker for word in alone.words] == [None] * 3


def test_sentences_go_on_over_utterances():
    first, second = said("It is the one"), said("that I want.", start=2.0)
    turns = [Turn(0, 2.5, "A"), Turn(2.5, 4, "B")]
    named = assign(Transcript((first, second)), turns, sentences=True)
    assert [word.speaker for word in named.words] == list("AAAAAAA")
    assert [utterance.speaker for utterance in named.utterances] == ["A", "A"]


def test_a_half_is_no_majority_however_it_is_rounded():
    times = [(9.45, 9.75), (9.8, 10.1), (10.3, 10.8), (10.8, 11.3)]  # 0.8 s each, but for the last bits
    words = tuple(Word(text, *pair) for text, pair in zip(["f", "g", "f", "h."], times, strict=True))
    turns = [Turn(9.4, 9.78, "A"), Turn(9.78, 10.8, "B"), Turn(10.8, 11.5, "A")]
    named = assign(Transcript((Utterance("f g f h.", 9.45, 11.3, words=words),)), turns, sentences=True)
    assert [word.speaker for word in named.words] == ["A", "B", "B", "A"]
