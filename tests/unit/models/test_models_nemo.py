"""NeMo's models behind our ports, on tiny `.nemo` files with random weights."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from diarist.core.protocols import EmbeddingModel, VoiceActivityModel
from diarist.errors import ExtraError, UsageError, WeightsError
from diarist.models import nemo
from diarist.models.load import load_embedding
from diarist.models.toy import conversation
from diarist.models.vad import load_vad

WITHOUT = pytest.mark.skipif(nemo.installed(), reason="NeMo is installed")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("titanet_large", True),
        ("vad_telephonic_marblenet", True),
        ("mine.nemo", True),
        (Path("mine.NEMO"), True),
        ("nvidia/speakerverification_en_titanet_large", True),
        ("hf:nvidia/speakerverification_en_titanet_large:x.nemo", True),
        ("nvidia/thing:model.onnx", False),
        ("campplus-zh-en", False),
        ("pyannote/segmentation-3.0", False),
        ("mine.onnx", False),
    ],
)
def test_what_is_nemos(model, expected):
    assert nemo.is_nemo(model) is expected


@WITHOUT
@pytest.mark.parametrize("model", ["titanet_large", "mine.nemo"])
def test_without_nemo_the_pip_line_is_said(model):
    for load in (load_embedding, load_vad):
        with pytest.raises(ExtraError, match=r"needs the package 'nemo_toolkit': pip install 'diarist\[nemo\]'"):
            load(model)


@pytest.fixture(scope="module")
def house():
    pytest.importorskip("nemo.collections.asr")
    return pytest.importorskip("nemo_house")


@pytest.fixture(scope="module")
def files(house, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nemo")
    return {name: house.build(name, folder / f"{name}.nemo") for name in house.CONFIGS}


@pytest.fixture(scope="module")
def samples():
    return conversation([(0.2, 3, "a"), (2.5, 6, "b"), (6.3, 9, "c"), (9.2, 11, "a")], 12.0)


@pytest.fixture(scope="module")
def speakers(house, files):
    return {name: load_embedding(files[name], device="cpu") for name in house.SPEAKERS}


def theirs(model, segment):
    return model._network.infer_segment(segment)[0].numpy()[0]


@pytest.mark.parametrize("name", ["titanet", "ecapa", "speakernet"])
def test_embeddings_are_nemos_own(speakers, samples, name):
    model = speakers[name]
    assert isinstance(model, EmbeddingModel)
    for num in (5, 50, 150, 300):
        segment = samples[16000 : 16000 + num * 160]
        maps = model.frames(segment.reshape(1, -1, 160))
        found = model.pool(maps, np.ones((1, 1, num), np.float32))[0, 0]
        np.testing.assert_allclose(found, theirs(model, segment), atol=1e-4)
        np.testing.assert_allclose(model.of_sound(segment[None])[0], theirs(model, segment), atol=1e-4)


def test_a_file_is_read_as_nemo_reads_it(files, samples, tmp_path):
    from nemo.collections.asr.models import EncDecSpeakerLabelModel

    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    expected = EncDecSpeakerLabelModel.restore_from(str(files["titanet"])).get_embedding(str(tmp_path / "a.wav"))
    found = load_embedding(files["titanet"], device="cpu").of_sound(samples[None])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["titanet", "ecapa", "speakernet"])
def test_speakers_are_cut_together(speakers, samples, name):
    model = speakers[name]
    maps = samples[:64000].reshape(2, 200, 160)
    weights = np.zeros((2, 4, 200), np.float32)
    weights[0, 0, 20:80] = weights[0, 0, 120:160] = 1
    weights[1, 1, :100] = 0.9
    weights[1, 2] = 0.4  # hardly there
    weights[0, 3, : model.spec.min_frames - 1] = 1  # too short
    found = model.pool(maps, weights)
    cut = maps[0][weights[0, 0] > 0.5].reshape(-1)
    np.testing.assert_allclose(found[0, 0], theirs(model, cut), atol=1e-4)
    np.testing.assert_allclose(found[1, 1], theirs(model, maps[1, :100].reshape(-1)), atol=1e-4)
    known = ~np.isnan(found).any(axis=2)
    assert known.tolist() == [[True, False, False, False], [False, True, False, False]]


def test_threads_at_once_hear_what_one_hears(speakers, samples):
    model = speakers["titanet"]
    segments = [samples[None, : 16000 * seconds] for seconds in (1, 3, 2, 5, 1, 4, 2, 6)]
    alone = [model.of_sound(segment) for segment in segments]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(model.of_sound, segments), alone, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_silence_and_shapes(speakers):
    model = speakers["titanet"]
    assert np.isfinite(model.of_sound(np.zeros((2, 16000), np.float32))).all()
    assert np.isnan(model.of_sound(np.zeros((2, 799), np.float32))).all()
    assert model.of_sound(np.zeros((0, 16000), np.float32)).shape == (0, 24)
    with pytest.raises(UsageError, match=r"takes \(batch, num_samples\)"):
        model.of_sound(np.zeros(16000, np.float32))
    with pytest.raises(UsageError, match=r"\(batch, num_fbank, 160\)"):
        model.frames(np.zeros((1, 10, 80), np.float32))


@pytest.mark.parametrize("name", ["marblenet", "marblenet-mel"])
def test_windows_are_cut_as_nemo_cuts_them(files, samples, name):
    import torch
    from nemo.collections.asr.data.audio_to_label import _vad_frame_seq_collate_fn

    model = load_vad(files[name], device="cpu").at(0.63, 0.04)
    assert isinstance(model, VoiceActivityModel)

    class Cut:
        class featurizer:
            sample_rate = 16000

        window_length_in_sec, shift_length_in_sec, normalize_audio = 0.63, 0.04, False

    item = (torch.from_numpy(samples.copy()), torch.tensor(len(samples)), torch.tensor(0), torch.tensor(1))
    batch, lengths, _, _ = _vad_frame_seq_collate_fn(Cut, [item])
    with torch.inference_mode():
        scores = model._network.forward(input_signal=batch, input_signal_length=lengths)
    np.testing.assert_allclose(model(samples), scores.softmax(-1)[:, 1].numpy(), atol=1e-5)
    assert model.frames.middle(0) == 0
    assert model(samples).std() > 0.1


def test_frames_of_the_frame_model(files, samples):
    import torch

    model = load_vad(files["frame-marblenet"], device="cpu")
    with torch.inference_mode():
        given = {"input_signal": torch.from_numpy(samples)[None], "input_signal_length": torch.tensor([len(samples)])}
        whole = model._network.forward(**given)[0].softmax(-1)[:, 1].numpy()
    found = model(samples)
    assert (len(found), model.frames.step, model.frames.middle(1)) == (600, 320, 0.02)
    np.testing.assert_allclose(found, whole[:600], atol=1e-5)
    long = np.tile(samples, 12)  # blocks of a minute, which are heard with what lies around them
    with torch.inference_mode():
        given = {"input_signal": torch.from_numpy(long)[None], "input_signal_length": torch.tensor([len(long)])}
        whole = model._network.forward(**given)[0].softmax(-1)[:, 1].numpy()
    np.testing.assert_allclose(model(long), whole[: len(long) // 320], atol=1e-4)


@pytest.mark.parametrize("name", ["marblenet", "frame-marblenet"])
@pytest.mark.parametrize("num", [0, 1, 159, 400, 800, 5000, 16000])
def test_sound_of_any_length(files, name, num):
    model = load_vad(files[name], device="cpu")
    found = model(np.zeros(num, np.float32))
    assert abs(len(found) - num / model.frames.step) <= 1
    assert np.isfinite(found).all()


def test_windows_that_cannot_be(files):
    with pytest.raises(UsageError, match=r"windows last 0\.05 s or more"):
        load_vad(files["marblenet"], device="cpu").at(0.01, 0.01)


def test_models_of_another_kind_are_told(files):
    with pytest.raises(WeightsError, match="is a voice activity model, not a speaker model"):
        load_embedding(files["marblenet"])
    with pytest.raises(WeightsError, match="is a speaker model, not a voice activity model"):
        load_vad(files["titanet"])
    with pytest.raises(WeightsError, match="is an end-to-end diarizer, not a speaker model"):
        load_embedding(files["sortformer"])
    with pytest.raises(UsageError, match="torch finds no device 'tpu' here"):
        load_embedding(files["titanet"], device="tpu")
    with pytest.raises(WeightsError, match=r"there is no model at 'nowhere\.nemo'"):
        load_embedding("nowhere.nemo")
    with pytest.raises(UsageError, match="'titanet_large' is no name of a voice activity model"):
        load_vad("titanet_large")


def test_weights_of_another_shape_are_told(house, files, tmp_path):
    import tarfile

    mixed = tmp_path / "mixed.nemo"
    with tarfile.open(files["titanet"]) as one, tarfile.open(files["ecapa"]) as other, tarfile.open(mixed, "w") as out:
        for archive, name in ((one, "./model_config.yaml"), (other, "./model_weights.ckpt")):
            out.addfile(archive.getmember(name), archive.extractfile(name))
    with pytest.raises(WeightsError, match="NeMo cannot build") as caught:
        load_embedding(mixed, device="cpu")
    assert "\n" not in str(caught.value)


def test_names_without_a_network(monkeypatch, tmp_path):
    pytest.importorskip("nemo.collections.asr")
    monkeypatch.setenv("NEMO_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match="'titanet_large' is not in NeMo's cache, and nothing is fetched offline: put"
    ):
        load_embedding("titanet_large", offline=True)
    monkeypatch.setenv("DIARIST_OFFLINE", "1")
    with pytest.raises(WeightsError, match="nothing is fetched offline"):
        load_vad("vad_telephonic_marblenet")
    with pytest.raises(WeightsError, match="it is not in the hub's cache"):
        load_embedding("nvidia/speakerverification_en_titanet_large")


def test_a_name_that_nemo_has_fetched(files, monkeypatch, tmp_path):
    folder = tmp_path / "titanet-s" / "0123abcd"
    folder.mkdir(parents=True)
    shutil.copy(files["titanet"], folder / "titanet-s.nemo")
    monkeypatch.setenv("NEMO_CACHE_DIR", str(tmp_path))
    assert load_embedding("titanet_small", device="cpu", offline=True).spec.dimension == 24


def test_nothing_is_left_changed(files):
    import random

    import torch

    def state():
        return random.getstate(), torch.random.get_rng_state().tolist(), Path.cwd()

    before = state()
    load_embedding(files["titanet"], device="cpu")
    nemo.restored(files["sortformer"], (nemo.SORTFORMER,), device="cpu")
    assert state() == before


def test_the_cpu_allocates_no_cuda(files, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)  # NeMo asks for its number, whatever the device
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("CUDA was asked for"))
    network, _ = nemo.restored(files["titanet"], (nemo.SPEAKER,), device="cpu")
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


def test_core_does_not_import_nemo():
    import subprocess

    code = "import sys, diarist.models.load, diarist.models.vad, diarist.engines; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code + "; assert 'nemo' not in sys.modules"], check=True)
