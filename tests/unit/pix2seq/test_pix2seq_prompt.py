"""Prompting, with a network that makes no mistakes: here a voice is a bit of the samples' value."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Turn
from diarist.pix2seq.config import PromptConfig
from diarist.pix2seq.prompt import Chain, Sound, Voices, alone, compose, within
from diarist.pix2seq.tokens import EOS, Given, Vocabulary, Written, check

VOCABULARY = Vocabulary(30.0, 0.02, 8)
CONFIG = PromptConfig()


def sound(turns: Sequence[Turn], seconds: float) -> np.ndarray:
    bits = np.zeros(round(seconds * SAMPLE_RATE), np.uint8)
    for turn in turns:
        bits[round(turn.start * SAMPLE_RATE) : round(turn.end * SAMPLE_RATE)] |= 1 << int(turn.speaker)
    return bits.astype(np.float32)


def blocks(samples: np.ndarray, size: int = 50_000) -> Iterator[np.ndarray]:
    return (samples[first : first + size] for first in range(0, len(samples), size))


class Ears:
    """Writes exactly who talks, by order of appearance, from `since` on; and remembers what it was asked."""

    def __init__(self) -> None:
        self.windows: list[np.ndarray] = []
        self.given: list[Given] = []
        self.most: list[int] = []

    def __call__(self, samples: np.ndarray, given: Given, most: int) -> Written:
        assert len(samples) <= VOCABULARY.max_seconds * SAMPLE_RATE
        self.windows.append(samples)
        self.given.append(given)
        self.most.append(most)
        known = VOCABULARY.decode([*given.ids, EOS])
        bits = samples.astype(np.uint8)
        said = {self._who(bits, turn): number for number, turn in enumerate(known)}
        assert len(said) == len(known)
        turns = [Turn(turn.start, turn.end, str(self._who(bits, turn))) for turn in known]
        first = round(given.since * SAMPLE_RATE)
        everybody = int(np.bitwise_or.reduce(bits[first:], initial=0))
        for who in (who for who in range(8) if everybody >> who & 1):
            on = np.pad(((bits[first:] >> who) & 1).astype(np.int8), 1)
            edges = np.flatnonzero(np.diff(on)).reshape(-1, 2)
            turns += [Turn((first + a) / SAMPLE_RATE, (first + b) / SAMPLE_RATE, str(who)) for a, b in edges]
        ids = VOCABULARY.encode(turns)
        numbers = (ids[2:-1:3] - VOCABULARY.first_label).tolist()
        kept = np.repeat(np.array(numbers, int) < most, 3)
        ids = np.append(ids[:-1][kept], EOS)
        assert ids[: len(given.ids)].tolist() == given.ids.tolist()
        check(VOCABULARY, ids)
        return Written(ids, np.ones(len(ids)), tuple(VOCABULARY.decode(ids)), True)

    @staticmethod
    def _who(bits: np.ndarray, turn: Turn) -> int:
        """The speaker of a given turn: who is heard alone in most of it."""
        counts = np.bincount(bits[round(turn.start * SAMPLE_RATE) : round(turn.end * SAMPLE_RATE)])
        value = int(counts[1:].argmax()) + 1
        assert counts[value] > 0.6 * counts.sum() and value & (value - 1) == 0
        return value.bit_length() - 1


def run(turns: Sequence[Turn], seconds: float, config: PromptConfig = CONFIG, most: int | None = None) -> Chain:
    chain = Chain(Ears(), VOCABULARY, config, most)
    done = list(chain(blocks(sound(turns, seconds))))
    assert done == sorted(done)
    assert chain.num_samples == round(seconds * SAMPLE_RATE)
    return chain


def talk(num_turns: int, people: Sequence[int], start: float = 0.5, seed: int = 0) -> list[Turn]:
    """Turns of 1.5 to 4 s of people in random order, one in five begun half a second early."""
    rng = np.random.default_rng(seed)
    turns: list[Turn] = []
    end, last = start, -1
    for _ in range(num_turns):
        who = int(rng.choice([p for p in people if p != last]))
        begin = end - 0.5 if turns and rng.random() < 0.2 else end + rng.uniform(0.1, 0.8)
        end = begin + rng.uniform(1.5, 4.0)
        turns.append(Turn(round(begin, 3), round(end, 3), str(who)))
        last = who
    return turns


def errors(found: Sequence[Turn], wanted: Sequence[Turn], seconds: float) -> float:
    """Share of 10 ms frames in which the speakers named are not those who talk, names by order of appearance."""
    at = np.arange(0, seconds, 0.01)
    rows = []
    for turns in (found, wanted):
        names = list(dict.fromkeys(t.speaker for t in sorted(turns)))
        bits = np.zeros(len(at), np.int64)
        for turn in turns:
            bits[slice(*np.searchsorted(at, [turn.start, turn.end]))] |= 1 << names.index(turn.speaker)
        rows.append(bits)
    return float(np.mean(rows[0] != rows[1]))


def test_a_window_is_five_seconds_of_each_and_silence_between() -> None:
    voices = {"Ann": np.full(5 * SAMPLE_RATE, 1, np.float32), "Bob": np.full(4 * SAMPLE_RATE, 2, np.float32)}
    window = compose(voices, np.full(SAMPLE_RATE, 3, np.float32))
    assert window.turns == (Turn(0.0, 5.0, "Ann"), Turn(5.2, 9.2, "Bob"))
    assert window.offset == pytest.approx(9.4)
    assert len(window.samples) == round(10.4 * SAMPLE_RATE) and window.samples.dtype == np.float32
    runs = np.flatnonzero(np.diff(window.samples)) + 1
    assert (runs / SAMPLE_RATE).tolist() == pytest.approx([5.0, 5.2, 9.2, 9.4])
    assert np.unique(window.samples).tolist() == [0, 1, 2, 3]


def test_without_voices_a_window_is_the_chunk() -> None:
    chunk = np.arange(10, dtype=np.float32)
    window = compose({}, chunk)
    assert window.samples.tolist() == chunk.tolist() and window.turns == () and window.offset == 0.0


def test_short_recordings_are_one_window() -> None:
    turns = talk(8, [2, 5])
    chain = run(turns, 29.9)
    assert chain.num_windows == 1 and errors(chain.turns, turns, 29.9) < 0.01


@pytest.mark.slow
def test_labels_stay_for_an_hour_and_people_come_later() -> None:
    turns = talk(920, [0, 1])
    turns += talk(150, [0, 1, 2], turns[-1].end + 1, seed=1)
    turns += talk(150, [2, 3, 1], turns[-1].end + 1, seed=2)
    seconds = turns[-1].end + 1
    assert seconds > 3600
    chain = run(turns, seconds)
    assert list(dict.fromkeys(t.speaker for t in chain.turns)) == [f"SPEAKER_0{i}" for i in range(4)]
    assert errors(chain.turns, turns, seconds) < 0.02
    assert chain.num_windows > 120 and chain.num_left_out == 0


def test_prompts_are_as_published() -> None:
    turns = talk(40, [0, 1])
    chain = run(turns, turns[-1].end)
    given = chain.write.given
    assert len(given[0].ids) == 0 and given[0].since == 0
    for one in given[2:]:
        first, second = VOCABULARY.decode([*one.ids, EOS])
        assert (first.start, first.duration, second.duration) == pytest.approx((0.0, 5.0, 5.0), abs=0.02)
        assert second.start == pytest.approx(5.2, abs=0.02) and one.since == pytest.approx(10.4, abs=0.02)


def test_a_turn_that_spans_windows_is_one_turn() -> None:
    turns = [Turn(1, 8, "0"), Turn(8.5, 14, "1"), Turn(14.5, 95, "0"), Turn(96, 99, "1")]
    chain = run(turns, 100)
    assert len(chain.turns) == 4
    for found, want in zip(chain.turns, turns, strict=True):
        assert (found.start, found.end) == pytest.approx((want.start, want.end), abs=0.02)


def test_whoever_is_never_alone_is_known_again_where_windows_meet() -> None:
    # speaker 1 talks only while 0 does, and across the seams of windows
    turns = [Turn(0, 120, "0"), Turn(20, 110, "1"), Turn(121, 128, "2")]
    chain = run(turns, 130)
    assert errors(chain.turns, turns, 130) < 0.01


@pytest.mark.parametrize("seconds", [31.0, 45.0, 58.0, 61.0, 100.3])
def test_no_window_is_a_tiny_rest(seconds: float) -> None:
    turns = talk(40, [0, 1])
    turns = [dataclasses.replace(t, end=min(t.end, seconds)) for t in turns if t.start < seconds]
    chain = run(turns, seconds)
    lengths = [len(w) / SAMPLE_RATE - g.since for w, g in zip(chain.write.windows, chain.write.given, strict=True)]
    assert min(lengths) > 7.0
    assert errors(chain.turns, turns, seconds) < 0.02


def test_many_speakers_get_less_each_and_the_longest_silent_are_left_out() -> None:
    turns = talk(60, range(6))
    chain = run(turns, turns[-1].end)
    assert max(len(g.ids) // 3 for g in chain.write.given) == 6 and chain.num_left_out == 0
    assert all(g.since <= 15.0 + 0.1 for g in chain.write.given)
    assert errors(chain.turns, turns, turns[-1].end) < 0.02
    tight = run(turns, turns[-1].end, dataclasses.replace(CONFIG, share=0.2))  # 6 s: 1 s and a silence fit five times
    assert max(len(g.ids) // 3 for g in tight.write.given) == 5 and tight.num_left_out > 0
    last = tight.write.given[-1]
    assert (
        len(
            {tight.write._who(tight.write.windows[-1].astype(np.uint8), t) for t in VOCABULARY.decode([*last.ids, EOS])}
        )
        == 5
    )


def test_without_prompts_windows_hang_together_by_what_they_share() -> None:
    config = dataclasses.replace(CONFIG, seconds=0.0, overlap=12.0)
    turns = talk(60, [0, 1])
    seconds = turns[-1].end
    chain = run(turns, seconds, config)
    assert all(len(g.ids) == 0 for g in chain.write.given) and chain.num_windows > 5
    assert errors(chain.turns, turns, seconds) < 0.02
    apart = run(turns, seconds, dataclasses.replace(config, overlap=0.0))
    assert len({t.speaker for t in apart.turns}) > 2  # nothing tells that they are the same


@pytest.mark.parametrize("most", [1, 2, 3])
def test_at_most_so_many_speakers(most: int) -> None:
    turns = talk(80, [0, 1, 2, 3])
    chain = run(turns, turns[-1].end, most=most)
    assert len({t.speaker for t in chain.turns}) == most
    assert max(chain.write.most) <= most


def test_a_new_speaker_of_half_a_second_is_asked_for_again() -> None:
    turns = [*talk(12, [0, 1]), Turn(45.0, 45.4, "2"), *talk(10, [0, 1], 46.0, seed=4)]
    chain = run(turns, 80)
    assert {t.speaker for t in chain.turns} == {"SPEAKER_00", "SPEAKER_01"}
    assert len(chain.write.given) == chain.num_windows + 1
    stays = run([*turns[:12], Turn(45.0, 46.5, "2"), *turns[13:]], 80)
    assert len({t.speaker for t in stays.turns}) == 3


@pytest.mark.parametrize("overlap", [0.0, 2.0, 60.0])
def test_any_overlap_comes_to_an_end(overlap: float) -> None:
    turns = talk(30, [0, 1])
    chain = run(turns, turns[-1].end, dataclasses.replace(CONFIG, overlap=overlap, share=0.9))
    assert errors(chain.turns, turns, turns[-1].end) < 0.02


@pytest.mark.parametrize("seconds", [0.0, 1 / SAMPLE_RATE, 0.01, 70.0])
def test_silence_of_any_length(seconds: float) -> None:
    assert run([], seconds).turns == []


def test_pieces_are_where_one_talks_alone() -> None:
    turns = [Turn(0, 10, "a"), Turn(2, 3, "b"), Turn(9, 12, "b")]
    found = [(t.speaker, t.start, t.end) for t in alone(turns)]
    assert found == [("a", 0, 2), ("a", 3, 9), ("b", 10, 12)]


@pytest.mark.parametrize(
    ("until", "speaker", "wanted"), [(10.0, "a", [(0.0, 1.0), (2.0, 3.5)]), (5.0, "b", [(4.0, 5.0)])]
)
def test_pieces_until_a_moment(until: float, speaker: str, wanted: list[tuple[float, float]]) -> None:
    turns = [Turn(0.0, 4.0, "a"), Turn(1.0, 2.0, "b"), Turn(3.5, 6.0, "b")]
    lone = alone(list(within(turns, 0.0, until)))
    assert [(t.start, t.end) for t in lone if t.speaker == speaker] == wanted


def test_of_a_voice_the_surest_stretches_are_kept() -> None:
    voices = Voices(1.0)
    samples = np.arange(20 * SAMPLE_RATE, dtype=np.float32)
    turns = [Turn(2.0 * i, 2.0 * i + 1.5, "a", 0.5 + 0.05 * i) for i in range(8)]
    voices.learn(turns, samples, 0.0)
    assert 4.0 <= voices.known("a") <= 5.5 and voices.known("b") == 0.0
    best = voices.of("a", 1.0)
    assert best[0] == 14 * SAMPLE_RATE and len(best) == SAMPLE_RATE
    two = voices.of("a", 2.5)
    assert two[0] == 12 * SAMPLE_RATE and len(two) == 2.5 * SAMPLE_RATE and two[-1] > 14 * SAMPLE_RATE


def test_sound_is_forgotten_as_it_is_used() -> None:
    samples = np.arange(1000, dtype=np.float32)
    heard = Sound(blocks(samples, 64))
    assert heard(0, 100).tolist() == samples[:100].tolist()
    assert heard(50, 300).tolist() == samples[50:300].tolist()
    assert len(heard.held) < 350
    assert heard(250, 2000).tolist() == samples[250:].tolist()
    assert len(heard(1000, 1001)) == 0
