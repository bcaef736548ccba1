"""What users of the MLX port of segmentation-3.0 call."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from diarist import formats
from diarist.errors import WeightsError
from diarist.mlx import load_pyannote_model, load_resnet34_embedding, main
from diarist.models import npz
from diarist.models.fetch import fetch
from diarist.models.pyannet import PyanNet


@pytest.fixture
def mx():
    return pytest.importorskip("mlx.core")


@pytest.fixture
def weights(tmp_path, monkeypatch, pyannet_tensors):
    """Where the port has its weights, and in its form: torch's names and layout."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models" / "segmentation_mlx" / "weights.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(npz.dumps(pyannet_tensors, {}))
    return path


def test_the_example_of_its_readme(mx, weights, pyannet_tensors):
    model = load_pyannote_model("models/segmentation_mlx/weights.npz")
    waveform = np.random.default_rng(0).normal(0, 0.1, (1, 32_000)).astype(np.float32)
    audio_mx = mx.array(waveform, dtype=mx.float32)
    logits = model(audio_mx)
    probs = mx.softmax(logits, axis=-1)
    predictions = mx.argmax(probs, axis=-1)
    assert logits.shape == (1, 115, 7) and predictions.shape == (1, 115)
    expected = PyanNet(pyannet_tensors).resized(32_000)(waveform)
    np.testing.assert_allclose(np.array(logits), expected, atol=1e-4)
    np.testing.assert_array_equal(np.array(predictions), expected.argmax(axis=-1))
    np.testing.assert_array_equal(np.array(model(audio_mx[:, None])), np.array(logits))  # (batch, 1, num_samples)


def test_embedding(mx, tmp_path, resnet_tensors):
    path = tmp_path / "weights.npz"
    path.write_bytes(
        npz.dumps({f"resnet.{n}": np.moveaxis(v, 1, -1) if v.ndim > 2 else v for n, v in resnet_tensors.items()}, {})
    )
    embeddings = load_resnet34_embedding(path)(mx.array(np.ones((2, 40, 80), np.float32)))
    assert embeddings.shape == (2, 256)


def test_other_weights(mx, tmp_path, weights, resnet_tensors):
    with pytest.raises(WeightsError, match="is a checkpoint of PyanNet, not of ResNet34"):
        load_resnet34_embedding(weights)
    with pytest.raises(WeightsError, match="there is no model at"):
        load_pyannote_model("models/gone.npz")
    (tmp_path / "x.npz").write_bytes(npz.dumps({n: v for n, v in resnet_tensors.items() if n != "bn1.weight"}, {}))
    with pytest.raises(WeightsError, match=r"is no checkpoint of ResNet34 \(no tensor 'bn1.weight'\)"):
        load_resnet34_embedding(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["gone.wav"], "there is no recording at 'gone.wav'", 2),
        (["x.wav", "--chunk-size", "99"], "--chunk-size 99: chunks have 16000 to 960000 samples", 2),
        (["x.wav", "--model", "gone.npz", "--backend", "onnx"], "there is no model at 'gone.npz'", 3),
    ],
)
def test_what_cannot_be(tmp_path, monkeypatch, capsys, arguments, message, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.wav").write_bytes(b"")
    assert main(arguments) == code
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1


@pytest.mark.weights
def test_command(tmp_path, monkeypatch, capsys):
    """RTTM beside the recording, by default, of turns that are long enough."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meeting.wav").write_bytes(fetch("sample-wav").read_bytes())
    assert main(["meeting.wav", "--backend", "onnx", "--min-duration", "0.5", "--chunk-size", "80000"]) == 0
    told = capsys.readouterr().out
    assert "meeting: 30.0 s" in told and "SPEAKER_01" in told and "wrote meeting.rttm" in told
    (heard,) = formats.read(tmp_path / "meeting.rttm")
    assert len({turn.speaker for turn in heard.turns}) == 2
    assert all(turn.end - turn.start >= 0.5 for turn in heard.turns)


IN_A_WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from diarist.models.load import load_segmentation
network = load_segmentation(sys.argv[1], backend="mlx").resized(16_000)
ThreadPoolExecutor(1).submit(network, np.zeros((1, 16_000), np.float32)).result()
"""


@pytest.mark.slow
def test_a_process_ends_well_whose_workers_ran_networks(mx, weights):
    """MLX took the streams of workers apart as the process did, which aborted two processes in five."""
    for _ in range(8):
        ended = subprocess.run([sys.executable, "-c", IN_A_WORKER, str(weights)], capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")
