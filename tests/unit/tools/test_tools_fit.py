"""The scripts that remake what speakers are counted with: on tones, in seconds, the same bytes again."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.simulate.config import Acoustics, SimulationConfig
from diarist.simulate.sources import in_fold
from diarist.stages.hypotheses import FEATURES, Choice
from diarist.stages.plda import Plda

TOOLS = Path(__file__).parents[3] / "tools"
NAMES = "abcdefgh"


@pytest.fixture(scope="module")
def tools():
    sys.path.insert(0, str(TOOLS))
    try:
        import fit_choice
        import fit_plda

        yield fit_plda, fit_choice
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture
def furnished(tools, monkeypatch, tmp_path):
    """The scripts with toy networks and short conversations; a folder of eight people who hum, two of them unheard."""
    fit_plda, fit_choice = tools
    fit_plda.networks.cache_clear()
    monkeypatch.setattr(fit_plda, "load_segmentation", lambda *_, **__: ToySegmentation())
    monkeypatch.setattr(fit_plda, "load_embedding", lambda *_, **__: ToyEmbedding())
    clean = Acoustics(reverb=0.0, noise=0.0, phone=0.0, equalise=0.0)
    kinds = {"sim": SimulationConfig(speakers=(2, 3), duration=(15.0, 25.0), acoustics=clean)}
    monkeypatch.setattr(fit_plda, "KINDS", {**kinds, "few": replace(kinds["sim"], speakers=(1, 2))})
    recipe = fit_plda.Recipe(speech=("hum",), conversations=(4, 2))
    monkeypatch.setattr(fit_plda, "RECIPES", {"toys": recipe})
    for index, name in enumerate(NAMES):
        folder = tmp_path / "data" / "speech" / "hum" / name
        folder.mkdir(parents=True)
        silent = [(0.0, 0.0, other) for other in NAMES]
        for take in range(2):
            sound = conversation([*silent, (0.2, 6.0 + take, name)], 7.5, seed=10 * index + take)
            soundfile.write(folder / f"{take}.wav", sound, 16_000)
    (tmp_path / "data" / "noise").mkdir()
    yield fit_plda, fit_choice
    fit_plda.networks.cache_clear()


def arguments(tmp_path, name):
    return ["toys", str(tmp_path / "data"), "--work", str(tmp_path / "work"), "-o", str(tmp_path / name), "--rank", "2"]


def test_a_plda_and_a_choice_of_answers_are_made_and_made_again(furnished, tmp_path, capsys, monkeypatch):
    fit_plda, fit_choice = furnished
    assert fit_plda.main(arguments(tmp_path, "one.npz")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"] == "toys" and told["conversations"] == 6 and told["windows"] > 50 and told["classes"] > 6
    plda = Plda.load(tmp_path / "one.npz")
    assert plda.projection.shape == (80, 2) and plda.psi.min() > 0 and plda.rectify
    heard = fit_plda.listen(tmp_path / "work" / "toys" / "conversations")
    unheard = {f"hum-{name}" for name in NAMES if in_fold(f"hum-{name}", *fit_plda.JUDGED)}
    assert unheard and not unheard & {name for one in heard for name in one.owners}

    assert fit_plda.main(arguments(tmp_path, "two.npz")) == 0  # from what was heard
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()

    def few(conversations, rank=2, without=()):  # too few people to leave some out
        return fit_plda.fit(conversations, rank)

    monkeypatch.setattr(fit_choice, "fit", few)
    monkeypatch.setattr(fit_choice, "networks", lambda: (ToySegmentation(), ToyEmbedding()))
    folder = str(tmp_path / "work" / "toys" / "conversations")
    assert fit_choice.main([folder, "-o", str(tmp_path / "choice.npz")]) == 0
    choice = Choice.load(tmp_path / "choice.npz")
    assert np.isfinite(choice.weights).all() and choice.weights.any()
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])) == set(FEATURES)
    assert fit_choice.main([folder, "-o", str(tmp_path / "again.npz")]) == 0  # from what was heard
    assert (tmp_path / "choice.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_a_folder_that_is_not_there_is_told(furnished, tmp_path, capsys):
    fit_plda, _ = furnished
    words = ["toys", str(tmp_path / "nowhere"), "--work", str(tmp_path), "-o", str(tmp_path / "x.npz")]
    assert fit_plda.main(words) != 0
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "x.npz").exists()


def test_whose_a_window_is(furnished):
    from diarist.core.types import Diarization, Turn

    fit_plda, _ = furnished
    reference = Diarization((Turn(0.0, 2.0, "a"), Turn(1.5, 4.0, "b")))
    assert fit_plda.owner(reference, 0.75, 1.5) == ("a", 1.0)
    assert fit_plda.owner(reference, 2.2, 1.5) == ("b", pytest.approx(1.45 / 2.0))
    assert fit_plda.owner(reference, 9.0, 1.5) == (None, 0.0)


def test_the_weights_learn_what_tells(furnished):
    _, fit_choice = furnished
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        features = rng.normal(size=(8, len(FEATURES)))
        found.append(fit_choice.Sample(features, 0.1 * (features[:, 7] - features[:, 3] + 10)))
    choice = fit_choice.fitted(found)
    assert all(choice(one.features).argmax() == one.wrong.argmin() for one in found[:50])
    rest = np.delete(np.abs(choice.weights), [3, 7])
    assert choice.weights[3] > 5 * rest.max() and -choice.weights[7] > 5 * rest.max()


def test_a_part_of_a_recording(furnished):
    _, fit_choice = furnished
    whole = fit_choice.Heard(np.eye(4, dtype="f4"), np.arange(4.0), np.array([0, 1, -1, 1]), ("a", "b"))
    part = fit_choice.part_of(whole, np.array([False, True, False, True]))
    assert part.owners.tolist() == [1, 1] and part.times.tolist() == [1.0, 3.0] and part.embeddings.shape == (2, 4)
    assert fit_choice.num_right(np.array([0, 0, 1, 1]), whole.owners) == 2
