"""Pipelines with NeMo's models: presets without NeMo, whole runs with tiny `.nemo` files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diarist.engines import engine
from diarist.errors import UsageError
from diarist.models import nemo
from diarist.models.toy import ToySegmentation, conversation
from diarist.pipelines import nemo_own_presets, nemo_presets
from diarist.pipelines.nemo_embed import repeated, samples_of
from diarist.pipelines.nemo_style import NemoStyleDiarizer
from diarist.pipelines.offline import Diarizer


def test_presets_differ_in_the_models_alone():
    assert nemo_own_presets.PRESETS.keys() == nemo_presets.PRESETS.keys()
    for name, preset in nemo_own_presets.PRESETS.items():
        assert (preset.config.vad.model, preset.config.embedding.model) == (nemo.VADS[0], nemo.SPEAKERS[0])
        ours = nemo_presets.PRESETS[name].config
        vad = dataclasses.replace(preset.config.vad, model=ours.vad.model)
        assert dataclasses.replace(preset.config, vad=vad, embedding=ours.embedding) == ours


def test_values_of_a_file_and_of_the_call_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('preset = "meeting"\n[embedding]\nmodel = "mine.nemo"\n')
    config = engine("nemo").resolve("general", file, {"vad.model": "silero"})
    assert (config.vad.model, config.embedding.model, config.vad.onset) == ("silero", "mine.nemo", 0.9)
    assert engine("nemo").resolve("general", None, None).embedding.model == "titanet_large"
    with pytest.raises(UsageError, match="unknown preset 'meetin'"):
        engine("nemo").resolve("meetin", None, None)


@pytest.mark.parametrize(
    ("length", "expected"), [(3, [1, 2, 3]), (2, [1, 2, 3]), (7, [1, 2, 3, 1, 2, 3, 3]), (5, [1, 2, 3, 2, 3])]
)
def test_short_sound_is_repeated_as_nemo_does(length, expected):
    np.testing.assert_array_equal(repeated(np.array([1, 2, 3], np.float32), length), expected)


def test_nothing_repeated_is_silence():
    np.testing.assert_array_equal(repeated(np.zeros(0, np.float32), 3), [0, 0, 0])


def test_windows_are_cut_to_the_sample():
    assert samples_of(np.array([[0.625, 2.125], [1.25, 1.3]])) == [(10_000, 24_000), (20_000, 800)]


class Hears:
    """A speaker model of sound that says what it was given."""

    from diarist.core.protocols import EmbeddingSpec

    spec = EmbeddingSpec(dimension=2, min_frames=5, num_mels=160, window="raw", whole=True)

    def __init__(self):
        self.shapes = []

    def of_sound(self, batch):
        self.shapes.append(batch.shape)
        return np.stack([batch.std(axis=1), batch.mean(axis=1) + 1], axis=1).astype(np.float32)

    def frames(self, fbank):
        raise AssertionError("windows of a model of sound are cut from the sound")

    pool = frames


def test_nemo_style_cuts_windows_from_the_sound():
    model, samples = Hears(), conversation([(0.5, 6, "a"), (4, 9, "b"), (10, 16, "c")], 17.0)
    diarizer = NemoStyleDiarizer("meeting", embedding=model)
    result = diarizer(samples, sample_rate=16000, speech=[(0.5, 9.0), (10.0, 16.013)], num_speakers=2)
    assert len(result.labels) == 2
    assert {int(width) for _, width in model.shapes} == {int(16000 * w) for w in (3, 2.5, 2, 1.5, 1, 0.5)}
    assert max(num for num, _ in model.shapes) <= 64


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("nemo.collections.asr")
    house = pytest.importorskip("nemo_house")
    folder = tmp_path_factory.mktemp("nemo")
    return {name: str(house.build(name, folder / f"{name}.nemo")) for name in house.CONFIGS}


def valid(result, seconds):
    assert all(0 <= turn.start < turn.end <= seconds + 0.02 for turn in result.turns)
    assert [turn.start for turn in result.turns] == sorted(turn.start for turn in result.turns)


SAMPLES = conversation([(0.5, 4, "a"), (4.5, 9, "b"), (9.5, 12, "a")], 12.5)


@pytest.mark.parametrize("vad", ["marblenet", "frame-marblenet"])
@pytest.mark.parametrize("speaker", ["titanet", "ecapa", "speakernet"])
def test_engine_nemo(files, vad, speaker):
    config = {"vad.model": files[vad], "embedding.model": files[speaker], "vad.onset": 0.4}
    result = engine("nemo").build(config=config)(SAMPLES, sample_rate=16000)
    valid(result, 12.5)
    assert result.turns and result.extra["engine"] == "nemo"
    assert all(speaker.embedding.shape == (24,) for speaker in result.speakers.values())


@pytest.mark.parametrize("rows", ["windows", "chunks"])
def test_clustering_with_a_speaker_model_of_nemos(files, rows):
    config = {"segmentation.vad": "none", "embedding.model": files["titanet"], "embedding.rows": rows}
    config |= {"clustering.method": "agglomerative"}
    diarizer = Diarizer(config=config, segmentation=ToySegmentation(), device="cpu")
    valid(diarizer(SAMPLES, sample_rate=16000, num_speakers=2), 12.5)


def test_clustering_with_a_voice_activity_model_of_nemos(files):
    from diarist.models.fused import FusedSegmentation
    from diarist.models.vad import load_vad

    fused = FusedSegmentation(ToySegmentation(), load_vad(files["marblenet"], device="cpu"), weight=0.3, bias=0.0)
    assert np.isfinite(fused(SAMPLES[None, :160_000])).all()


def test_command_line(files, tmp_path, capsys):
    from diarist.cli.main import main
    from toy_house import write_wav

    wav = str(write_wav(tmp_path / "talk.wav", SAMPLES))
    flags = ["--vad", files["marblenet"], "--embedding-model", files["titanet"], "--device", "cpu", "--format", "rttm"]
    assert main(["run", wav, "--engine", "nemo", "--quiet", *flags]) == 0
    assert "SPEAKER talk 1" in capsys.readouterr().out
    assert main(["run", wav, "--engine", "nemo", "--quiet", "--embedding-model", files["marblenet"]]) == 3
    assert "is a voice activity model, not a speaker model" in capsys.readouterr().err


def test_engine_sortformer(files):
    for name in ("sortformer", "streaming-sortformer"):
        diarizer = engine("sortformer").build(config={"network.model": f"sortformer:{files[name]}"})
        valid(diarizer(SAMPLES, sample_rate=16000), 12.5)
