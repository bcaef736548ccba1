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
from diarist.stages.plausible import FEATURES, SpeakerTest
from diarist.stages.plda import Plda

TOOLS = Path(__file__).parents[3] / "tools"
NAMES = "abcdefgh"


@pytest.fixture(scope="module")
def tools():
    sys.path.insert(0, str(TOOLS))
    try:
        import fit_plda
        import fit_speaker_test

        yield fit_plda, fit_speaker_test
    finally:
        sys.path.remove(str(TOOLS))


@pytest.fixture
def furnished(tools, monkeypatch, tmp_path):
    """The scripts with toy networks and short conversations; a folder of eight people who hum, two of them unheard."""
    fit_plda, fit_speaker_test = tools
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
    yield fit_plda, fit_speaker_test
    fit_plda.networks.cache_clear()


def arguments(tmp_path, name):
    return ["toys", str(tmp_path / "data"), "--work", str(tmp_path / "work"), "-o", str(tmp_path / name), "--rank", "2"]


def test_a_plda_and_a_test_of_speakers_are_made_and_made_again(furnished, tmp_path, capsys, monkeypatch):
    fit_plda, fit_speaker_test = furnished
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

    monkeypatch.setattr(fit_speaker_test, "fit", few)
    folder = str(tmp_path / "work" / "toys" / "conversations")
    assert fit_speaker_test.main([folder, "-o", str(tmp_path / "test.npz")]) == 0
    test = SpeakerTest.load(tmp_path / "test.npz")
    assert np.isfinite(test.weights).all() and set(json.loads(capsys.readouterr().out.splitlines()[-1])) == set(
        FEATURES
    )


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


def test_the_logistic_function_learns_what_tells(furnished):
    _, fit_speaker_test = furnished
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, len(FEATURES)))
    right = (features[:, 3] - features[:, 7] > 0).astype(float)
    test = fit_speaker_test.fitted(features, right, np.ones(len(right)))
    assert ((test(features) > 0.5) == right).mean() > 0.95
    rest = np.delete(np.abs(test.weights), [3, 7])
    assert test.weights[3] > 5 * rest.max() and -test.weights[7] > 5 * rest.max()
