"""NeMo's own ClusteringDiarizer as an oracle: the same tiny `.nemo` models, the same sound, every stage compared.

Four things of NeMo's are set aside, since they are not the method. It runs its networks in bfloat16 on a CPU
(`autocast`): here both are float32. It writes probabilities with four digits. It cuts seconds off to samples, so that
1.2 - 1e-16 s are a sample less than 1.2 s: here it is given 1e-8 s more. And beyond 50 s it hears its voice activity
model in pieces, whose frames it joins with an offset (`test_nemo_moves_frames_beyond_its_pieces`).
"""

from __future__ import annotations

import contextlib
import json
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from diarist.models.toy import conversation
from diarist.pipelines import nemo_presets, nemo_style
from diarist.pipelines.nemo_style import NemoStyleDiarizer

torch = pytest.importorskip("torch")
pytest.importorskip("nemo.collections.asr")
soundfile = pytest.importorskip("soundfile")
house = pytest.importorskip("nemo_house")

TURNS = [(0.5, 6, "a"), (4, 9, "b"), (10, 16, "c"), (17, 20, "a"), (21, 27.3, "b"), (28, 33, "c"), (34, 36, "a")]
URI = "talk"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nemo")
    return {name: str(house.build(name, folder / f"{name}.nemo")) for name in (*house.SPEAKERS, *house.WINDOWED)}


def sound(seconds=20.123):
    quiet = conversation(TURNS, seconds)
    return quiet + 0.01 * np.random.default_rng(0).normal(size=len(quiet)).astype(np.float32)


def nemo_config(config, folder):
    """Our configuration as the file that NeMo's class wants."""
    from omegaconf import OmegaConf

    said = nemo_presets.as_nemo(config)["diarizer"]
    said["vad"] |= {"model_path": config.vad.model, "external_vad_manifest": None}
    said["speaker_embeddings"] |= {"model_path": config.embedding.model}
    for name, value in said["speaker_embeddings"]["parameters"].items():
        said["speaker_embeddings"]["parameters"][name] = list(value)
    said["speaker_embeddings"]["parameters"]["save_embeddings"] = False
    said |= {"manifest_filepath": str(folder / "manifest.json"), "out_dir": str(folder), "oracle_vad": False}
    said |= {"collar": 0.25, "ignore_overlap": True}
    whole = {"device": "cpu", "sample_rate": 16000, "batch_size": 64, "num_workers": 0, "verbose": False}
    return OmegaConf.create({**whole, "diarizer": said})


def theirs(config, samples, folder, monkeypatch, split=50):
    """What NeMo's class makes of a recording: its VAD frames, stretches, and for each scale embeddings and times."""
    from nemo.collections.asr.models import ClusteringDiarizer, clustering_diarizer
    from nemo.collections.asr.parts.preprocessing.segment import AudioSegment

    soundfile.write(folder / f"{URI}.wav", samples, 16000, subtype="FLOAT")
    line = {"audio_filepath": str(folder / f"{URI}.wav"), "offset": 0, "duration": None, "label": "infer", "text": "-"}
    (folder / "manifest.json").write_text(json.dumps({**line, "num_speakers": None, "rttm_filepath": None}) + "\n")
    prepare, cut = clustering_diarizer.prepare_manifest, AudioSegment.from_file

    def cut_evenly(path, *args, offset=0, duration=0, **options):
        return cut(path, *args, offset=offset + 1e-8, duration=duration + 1e-8 if duration else duration, **options)

    monkeypatch.setattr(AudioSegment, "from_file", cut_evenly)
    monkeypatch.setattr(torch.amp, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(
        clustering_diarizer, "prepare_manifest", lambda config: prepare({**config, "split_duration": split})
    )
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        diarizer = ClusteringDiarizer(nemo_config(config, folder))
        diarizer.diarize()
    monkeypatch.undo()
    scales = list(diarizer.multiscale_embeddings_and_timestamps.values())
    last = len(scales) - 1
    labels = (folder / "speaker_outputs" / f"subsegments_scale{last}_cluster.label").read_text().splitlines()
    speech = [json.loads(row) for row in (folder / "vad_outputs" / "vad_out.json").read_text().splitlines()]
    turns = [row.split() for row in (folder / "pred_rttms" / f"{URI}.rttm").read_text().splitlines()]
    return SimpleNamespace(
        probabilities=np.loadtxt(folder / "vad_outputs" / f"{URI}.frame"),
        speech=np.array([[s["offset"], s["offset"] + s["duration"]] for s in speech]),
        embeddings=[scale[0][URI].numpy() for scale in scales],
        times=[np.array(scale[1][URI]) for scale in scales],
        labels=np.array([int(row.rsplit("_", 1)[1]) for row in labels]),
        turns=[(float(t[3]), float(t[3]) + float(t[4]), t[7]) for t in turns],
    )


def ours(config, path, monkeypatch):
    """The same of our pipeline, and the rows of every scale that go into the clustering."""
    seen, rows = {}, []
    cluster = nemo_style._Session._labels

    def spy(self, embeddings, times, bounds):
        rows.append((embeddings, times))
        return cluster(self, embeddings, times, bounds)

    monkeypatch.setattr(nemo_style._Session, "_labels", spy)

    def hook(event):
        if event.arrays:
            seen.setdefault(event.stage, {}).update(event.arrays)

    result = NemoStyleDiarizer(config=config, device="cpu", hooks=(hook,))(path)
    monkeypatch.undo()
    return SimpleNamespace(
        probabilities=seen["speech"]["probabilities"],
        speech=seen["speech"]["speech"],
        embeddings=rows[0][0],
        times=rows[0][1],
        labels=seen["clustering"]["labels"],
        turns=[(t.start, t.end, t.speaker) for t in result.turns],
    )


def same_names(one, other):
    """Labels of `one` by those of `other`, in order of appearance; fails where they do not map one to one."""
    pairs = set(zip(one, other, strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


CASES = [
    ("general", "marblenet", "titanet"),
    ("meeting", "marblenet", "titanet"),
    ("telephonic", "marblenet", "titanet"),
    ("telephonic", "marblenet-mel", "ecapa"),
    ("general", "marblenet-mel", "speakernet"),
]


@pytest.mark.parametrize(("preset", "vad", "speaker"), CASES)
def test_every_stage_is_nemos(files, tmp_path, monkeypatch, preset, vad, speaker):
    changes = {"vad.model": files[vad], "embedding.model": files[speaker]}
    config = nemo_presets.resolve(preset, changes=changes)
    expected = theirs(config, sound(), tmp_path, monkeypatch)
    found = ours(config, tmp_path / f"{URI}.wav", monkeypatch)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=6e-5)  # four digits
    np.testing.assert_allclose(found.speech, expected.speech, atol=1e-9)
    assert len(found.times) == len(expected.times)
    for mine, other in zip(found.times, expected.times, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-9)
    for mine, other in zip(found.embeddings, expected.embeddings, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose([t[:2] for t in found.turns], [t[:2] for t in expected.turns], atol=5.1e-4)  # RTTM's ms
    same_names([t[2] for t in found.turns], [t[2] for t in expected.turns])


def test_nemo_moves_frames_beyond_its_pieces(files, tmp_path, monkeypatch):
    changes = {"vad.model": files["marblenet"], "embedding.model": files["titanet"]}
    config = nemo_presets.resolve("telephonic", changes={**changes, "speaker_embeddings.window_length_in_sec": [1.5]})
    samples = sound(12.0)
    whole = theirs(config, samples, tmp_path, monkeypatch).probabilities
    pieces = theirs(config, samples, tmp_path, monkeypatch, split=5).probabilities
    found = ours(config, tmp_path / f"{URI}.wav", monkeypatch).probabilities
    np.testing.assert_allclose(found, whole, atol=6e-5)
    np.testing.assert_allclose(pieces[:490], found[:490], atol=6e-5)
    np.testing.assert_allclose(pieces[510:980], found[509:979], atol=6e-5)  # one frame later
    assert not np.allclose(pieces[510:980], found[510:980], atol=6e-5)
