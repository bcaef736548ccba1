"""Words to utterances, and utterances cut and joined."""

import dataclasses

from diarist.core.types import Transcript, Utterance, Word
from diarist.words.utterances import by_speaker, group, paragraphs, shortened, spoken_words, timed_words


def words(text, *speakers, start=0.0):
    return tuple(
        Word(word, start + place, start + place + 0.8, speaker)
        for place, (word, speaker) in enumerate(zip(text.split(), speakers, strict=True))
    )


def pieces(transcript):
    return [(u.speaker, u.text, u.start, u.end) for u in transcript.utterances]


def test_group_by_pause_and_speaker():
    found = group([*words("a b", "A", "A"), *words("c d", "A", "B", start=5.0), Word("e")])
    assert [u.text for u in found] == ["a b", "c", "d", "e"]
    assert [(u.start, u.end, u.speaker) for u in found] == [
        (0, 1.8, "A"),
        (5, 5.8, "A"),
        (6, 6.8, "B"),
        (None, None, None),
    ]


def test_cut_where_the_speaker_changes_with_the_text_as_written():
    said = Utterance("So - a  b!? And c.", 0.0, 9.0, "A", words=words("a b!? And c.", "A", "A", "B", "B"))
    cut = by_speaker(Transcript((said,)))
    assert pieces(cut) == [("A", "So - a  b!?", 0.0, 1.8), ("B", "And c.", 2.0, 3.8)]


def test_words_of_nobody_stay_with_those_before():
    said = Utterance("a b c", 0, 3, words=words("a b c", None, "A", None))
    assert pieces(by_speaker(Transcript((said,)))) == [("A", "a b c", 0, 3)]


def test_a_text_that_differs_from_its_words():
    said = Utterance("something else", 0, 3, words=words("a b", "A", "B"))
    assert [u.text for u in by_speaker(Transcript((said,))).utterances] == ["a", "b"]
    chinese = by_speaker(Transcript((Utterance("", 0, 3, words=words("你 好 吗", "A", "A", "B")),), language="zh"))
    assert [u.text for u in chinese.utterances] == ["你好", "吗"]


def test_edges_of_words_without_times_are_those_of_the_utterance():
    said = (Word("a", speaker="A"), Word("b", 1, 2, "A"), Word("c", 2, speaker="B"))
    cut = by_speaker(Transcript((Utterance("a b c", 0.5, 4.0, words=said),)))
    assert pieces(cut) == [("A", "a b", 0.5, 2), ("B", "c", 2, 4.0)]


def test_order_of_start():
    late, early = Utterance("late", 5, 6), Utterance("early", 1, 2)
    unknown = Utterance("unknown")
    found = by_speaker(Transcript((late, unknown, early)))
    assert [u.text for u in found.utterances] == ["early", "late", "unknown"]


def test_paragraphs():
    first = Utterance("One.", 0, 1, "A", 0.9, words("One.", "A"))
    second = Utterance("Two.", 1, 2, "A", 0.8, words("Two.", "A", start=1.0))
    third = Utterance("Three.", 2, 3, "B")
    joined = paragraphs(Transcript((first, second, third)))
    assert pieces(joined) == [("A", "One. Two.", 0, 2), ("B", "Three.", 2, 3)]
    assert len(joined.utterances[0].words) == 2


def test_shortened():
    long = Utterance("aaaa bbbb cccc dddd", 0, 4, "A", words=words("aaaa bbbb cccc dddd", *"AAAA"))
    assert [u.text for u in shortened(Transcript((long,)), 9).utterances] == ["aaaa bbbb", "cccc dddd"]
    untimed = dataclasses.replace(long, words=())
    assert shortened(Transcript((untimed,)), 9).utterances == (untimed,)


def test_words_of_an_utterance_without_any():
    found = timed_words(Utterance("ab cdef", 1.0, 4.0, "A", 0.5))
    assert found == (Word("ab", 1.0, 2.0, "A", 0.5), Word("cdef", 2.0, 4.0, "A", 0.5))
    assert timed_words(Utterance("ab")) == (Word("ab"),)
    assert timed_words(Utterance("")) == ()


def test_speakers_of_words_are_the_utterances_where_none_has_one():
    plain = (Word("a", 0, 1), Word("b"))
    assert [w.speaker for w in spoken_words(Utterance("a b", 0, 2, "A", words=plain))] == ["A", "A"]
    some = (Word("a", 0, 1, "B"), Word("b"))
    assert [w.speaker for w in spoken_words(Utterance("a b", 0, 2, "A", words=some))] == ["B", None]
