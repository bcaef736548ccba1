from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from diarist.core.types import Turn
from diarist.errors import UsageError
from diarist.pix2seq.config import AudioSpec, DecodeConfig, ModelConfig
from diarist.pix2seq.generate import Given, _OverTime, generate, near, peaks
from diarist.pix2seq.model import Pix2Seq
from diarist.pix2seq.tokens import EOS, START, Grammar, Vocabulary, Written, check

SMALL = ModelConfig(max_seconds=10.0, time_step=0.1, num_speakers=3, layers=2, d_model=32, heads=2, frequencies=8)
DECODE = DecodeConfig(max_turns=6, activity=0.0, together=3)
METHODS = {
    "greedy": DECODE,
    "beam": dataclasses.replace(DECODE, method="beam", beams=3),
    "sample": dataclasses.replace(DECODE, method="sample", temperature=1.5, seed=3),
    "top-k": dataclasses.replace(DECODE, method="sample", top_k=20, seed=1),
    "top-p": dataclasses.replace(DECODE, method="sample", top_p=0.7, seed=2),
}


@pytest.fixture(scope="module")
def model() -> Pix2Seq:
    torch.manual_seed(5)
    model = Pix2Seq(SMALL, AudioSpec(12, 0.1, 0.05))
    with torch.no_grad():  # so that it is sure of something, and differs from sound to sound
        for name, weight in model.named_parameters():
            weight.mul_(
                20.0 if name.startswith(("say", "embed")) else 10.0 if ".qkv" in name or "attended" in name else 1
            )
        model.say_other.weight[EOS] *= 4
    return model


def sound(batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, 60, 12)).astype(np.float32), np.array([60, 45, 60])[:batch]


def written_without_cache(model: Pix2Seq, features: np.ndarray, most: int | None = None) -> list[int]:
    """The definition of greedy decoding, from the network as it is trained."""
    model.eval()
    grammar = Grammar(model.vocabulary, 1, most)
    ids = [START]
    while not grammar.ended[0] and len(ids) <= 3 * DECODE.max_turns:
        with torch.inference_mode():
            logits = model(torch.from_numpy(features), torch.tensor([features.shape[1]]), torch.tensor([ids])).logits
        logits = logits[0, -1].masked_fill(~torch.from_numpy(grammar.allowed()[0]), float("-inf"))
        probabilities = logits.softmax(dim=-1)
        probabilities[EOS] = 2.0 if probabilities[EOS] >= 0.5 else 0.0
        ids.append(int(probabilities.argmax()))
        grammar.advance(np.array(ids[-1:]))
    return ids[1:]


def test_greedy_decoding_is_that_of_the_network_without_a_cache(model: Pix2Seq) -> None:
    features, lengths = sound()
    found = generate(model, features, lengths, DECODE)
    for row, length in enumerate(lengths):
        want = written_without_cache(model, features[row : row + 1, :length])
        assert found[row].ids[: len(want)].tolist() == want
    assert len({tuple(one.ids) for one in found}) > 1  # they hear something


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_to_the_grammar_and_ends(model: Pix2Seq, method: str) -> None:
    features, lengths = sound()
    for one in generate(model, features, lengths, METHODS[method], most=2):
        check(model.vocabulary, one.ids)
        assert one.ids[-1] == EOS and len(one.turns) == len(one.ids) // 3 <= DECODE.max_turns
        assert len({t.speaker for t in one.turns}) <= 2
        assert ((one.certainty >= 0) & (one.certainty <= 1)).all()
        for number, turn in enumerate(one.turns):
            assert turn.confidence == pytest.approx(one.certainty[3 * number : 3 * number + 3].prod())


@pytest.mark.parametrize("method", METHODS)
def test_a_window_does_not_depend_on_the_others_of_its_batch(model: Pix2Seq, method: str) -> None:
    features, lengths = sound()
    both = generate(model, features, lengths, METHODS[method])
    alone = generate(model, features[:1], lengths[:1], METHODS[method])
    assert both[0].ids.tolist() == alone[0].ids.tolist()
    np.testing.assert_allclose(both[0].certainty, alone[0].certainty, atol=1e-4)


def test_random_numbers_are_those_of_the_seed(model: Pix2Seq) -> None:
    features, lengths = sound()
    config = METHODS["sample"]
    once, again = (generate(model, features, lengths, config) for _ in range(2))
    other = generate(model, features, lengths, dataclasses.replace(config, seed=4))
    assert [o.ids.tolist() for o in once] == [o.ids.tolist() for o in again]
    assert [o.ids.tolist() for o in once] != [o.ids.tolist() for o in other]


def test_the_likeliest_of_one_token_is_always_the_same(model: Pix2Seq) -> None:
    features, lengths = sound()
    found = [
        generate(model, features, lengths, dataclasses.replace(DECODE, method="sample", seed=seed, **left))
        for seed in range(2)
        for left in ({"top_k": 1}, {"top_p": 0.0})
    ]
    assert len({tuple(map(tuple, (o.ids for o in answer))) for answer in found}) == 1


def score(model: Pix2Seq, features: np.ndarray, ids: np.ndarray) -> float:
    """Logarithm of what a beam adds up, from the network without a cache."""
    grammar, total = Grammar(model.vocabulary, 1), 0.0
    read = torch.from_numpy(np.concatenate([[START], ids[:-1]]))[None]
    with torch.inference_mode():
        logits = model(torch.from_numpy(features), torch.tensor([features.shape[1]]), read).logits[0]
    for place, one in enumerate(ids):
        allowed = torch.from_numpy(grammar.allowed()[0])
        probabilities = logits[place].masked_fill(~allowed, float("-inf")).softmax(dim=-1).double().numpy()
        total += np.log(near(probabilities[None], model.vocabulary)[0, one])
        grammar.advance(np.array([one]))
    return float(total)


def test_a_beam_finds_what_is_likelier(model: Pix2Seq) -> None:
    features, _ = sound(1)
    lengths = np.array([60])
    scores = {}
    for beams in (1, 2, 16):
        config = dataclasses.replace(DECODE, method="beam", beams=beams)
        (found,) = generate(model, features, lengths, config)
        scores[beams] = score(model, features, found.ids)
        assert scores[beams] == pytest.approx(np.log(found.certainty).sum(), abs=1e-3)
    assert scores[1] <= scores[2] + 1e-9 and scores[2] <= scores[16] + 1e-9 and scores[1] < scores[16]


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_what_is_known_comes_first(model: Pix2Seq, method: str) -> None:
    features, lengths = sound()
    vocabulary = model.vocabulary
    known = vocabulary.encode([Turn(0, 2, "Ann"), Turn(2.2, 4, "Bob")])[:-1]
    given = [Given(known, since=4.2, until=6.0), Given(known[:3], since=2.2, until=4.5), Given(known[:0])]
    found = generate(model, features, lengths, METHODS[method], given=given)
    for one, want in zip(found, given, strict=True):
        assert one.ids[: len(want.ids)].tolist() == want.ids.tolist()
        assert (one.certainty[: len(want.ids)] == 1).all()
        new = one.turns[len(want.ids) // 3 :]
        assert all(want.since - 1e-9 <= t.start and t.end <= (want.until or 10.0) + 1e-9 for t in new)
    assert any(len(one.turns) > 2 for one in found)


def test_what_is_known_must_keep_to_the_grammar(model: Pix2Seq) -> None:
    features, lengths = sound(1)
    broken = Given(np.array([model.vocabulary.first_label]))
    with pytest.raises(UsageError, match="breaks the grammar"):
        generate(model, features, lengths, DECODE, given=[broken])
    turns = [Turn(i, i + 0.5, "a") for i in range(9)]
    with pytest.raises(UsageError, match="9 turns are given, which leaves no room in 6"):
        generate(model, features, lengths, DECODE, given=[Given(model.vocabulary.encode(turns)[:-1])])


def test_the_audio_tokens_have_a_say_in_who_it_is(model: Pix2Seq) -> None:
    features, lengths = np.random.default_rng(1).normal(size=(6, 100, 12)).astype(np.float32), np.full(6, 100)
    heard = Pix2Seq(SMALL, model.audio)
    heard.load_state_dict(model.state_dict())
    with torch.no_grad():
        heard.say_activity.weight.zero_()
        heard.say_activity.bias.copy_(torch.tensor([-30.0, 30.0, 30.0]))  # never the first one, where another can be
    plain = [generate(one, features, lengths, DECODE) for one in (model, heard)]
    told = generate(heard, features, lengths, dataclasses.replace(DECODE, activity=10.0))
    assert [o.ids.tolist() for o in plain[0]] == [o.ids.tolist() for o in plain[1]]

    def share(written: list[Written]) -> float:
        names = [t.speaker for one in written for t in one.turns[1:]]
        return sum(name == "SPEAKER_00" for name in names) / len(names)

    assert share(told) < share(plain[0])


def test_turns_without_speech_are_dropped(model: Pix2Seq, monkeypatch: pytest.MonkeyPatch) -> None:
    features, lengths = sound()
    known = Given(model.vocabulary.encode([Turn(0, 0.5, "Ann")])[:-1], since=0.7)
    given = [known] * 3
    plain = generate(model, features, lengths, DECODE, given=given)
    late = (np.arange(60) >= 30).astype(float)  # speech from second 3 on
    monkeypatch.setattr("diarist.pix2seq.generate.speech_of", lambda name, heard: np.tile(late, (len(heard), 1)))
    told = generate(model, features, lengths, DECODE, given=given)
    for one, all_ in zip(told, plain, strict=True):
        assert one.ids.tolist() == all_.ids.tolist()
        spoken = [t for t in all_.turns if (t.end - max(t.start, 3.0)) / t.duration >= 0.5]
        assert list(one.turns) == [all_.turns[0], *(t for t in spoken if t.end <= 6.0)]
    assert sum(len(one.turns) for one in told) < sum(len(one.turns) for one in plain)


def test_what_audio_tokens_say_of_a_turn_is_their_mean(model: Pix2Seq) -> None:
    activity = torch.zeros(1, 10, 3)
    activity[0, 4:6, 1] = 50.0
    say = _OverTime(model, torch.nn.functional.logsigmoid(activity).double().numpy())
    never, half, sure = (say(0, *span)[1] for span in ((0.0, 0.4), (0.3, 0.5), (0.42, 0.58)))
    assert (never, half, sure) == pytest.approx((-np.log(2), -np.log(2) / 2, 0.0))
    assert say(0, 0.1, 0.9)[0] == pytest.approx(-np.log(2))


def test_newcomers_are_as_likely_as_one_says(model: Pix2Seq) -> None:
    features, lengths = sound()

    def speakers(newcomer: float) -> int:  # of the first two turns, which do not overlap
        return len({t.speaker for t in generate(model, features, lengths, DECODE, newcomer=newcomer)[0].turns[:2]})

    assert (speakers(-1e3), speakers(1e3)) == (1, 2)


def test_a_model_that_never_ends_is_stopped(model: Pix2Seq) -> None:
    features, lengths = sound(2)
    endless = Pix2Seq(SMALL, model.audio)
    endless.load_state_dict(model.state_dict())
    endless.norm.register_forward_hook(lambda *_: None)
    with torch.no_grad():
        endless.say_other.weight[EOS] = 0.0
        endless.say_time.weight.mul_(0.0)  # every time is as likely, so the end is one of a hundred
    for method in ("greedy", "beam"):
        for one in generate(endless, features, lengths, METHODS[method]):
            check(model.vocabulary, one.ids)
            assert one.ended == (len(one.turns) < DECODE.max_turns)
    assert any(not one.ended for one in generate(endless, features, lengths, DECODE))


def test_training_goes_on_afterwards(model: Pix2Seq) -> None:
    model.train()
    generate(model, *sound(1), DECODE)
    assert model.training


def test_probabilities_of_what_lies_near() -> None:
    vocabulary = Vocabulary(2.0, 0.05, 1)  # 0.1 s are two steps
    probabilities = np.zeros((1, vocabulary.size))
    probabilities[0, [1, 3, 4, 13, 14, 15]] = [0.3, 0.1, 0.2, 0.1, 0.2, 0.1]
    found = near(probabilities, vocabulary)[0]
    assert found[1] == 0.3
    np.testing.assert_allclose(found[3:8], [0.3, 0.3, 0.3, 0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(found[11:18], [0.1, 0.3, 0.4, 0.4, 0.4, 0.3, 0.1], atol=1e-12)
    assert np.flatnonzero(peaks(probabilities, vocabulary)[0]).tolist() == [1, 4, 14]
