"""Networks of somebody's own: callables, classes, torch modules, at any rate."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.core.protocols import EmbeddingModel, SegmentationModel
from diarist.core.time import Axis
from diarist.errors import UsageError
from diarist.evaluation.score import score
from diarist.models import custom
from diarist.models.toy import VOICES, ToySegmentation
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.streaming import LiveDiarizer
from toy_house import CONFIG, recording

RATE = 16_000


def spectrum(waveform):
    """`(batch, num_samples)` to the level of each toy voice: `(batch, 8)`."""
    times = np.arange(waveform.shape[1]) / RATE
    waves = np.exp(-2j * np.pi * VOICES[:, None] * times)
    return np.abs(waveform @ waves.T) / waveform.shape[1]


class LoudAndQuiet:
    """Two local speakers by level: silence and not, in frames of 0.1 s."""

    def __call__(self, sound):
        frames = np.abs(sound[:, : sound.shape[1] // 1600 * 1600]).reshape(len(sound), -1, 1600).max(axis=2)
        return np.stack([frames > 0.05, frames > 0.5], axis=2).astype(np.float32)


def test_segmentation_from_a_callable():
    model = custom.segmentation(LoudAndQuiet(), 5.0)
    assert isinstance(model, SegmentationModel)
    spec = model.spec
    assert (spec.chunk, spec.num_frames, spec.num_local, spec.max_simultaneous) == (80_000, 50, 2, None)
    assert spec.frames == Axis(1600, 1600)
    sound = np.zeros((2, 80_000), np.float32)
    sound[1, 1600:3200] = 0.3
    scores = model(sound)
    assert scores.shape == (2, 50, 2) and scores.sum() == 1 and scores[1, 1, 0] == 1
    with pytest.raises(UsageError, match="80000"):
        model(sound[:, :-1])


def test_segmentation_at_another_rate_with_a_channel():
    shapes = []

    def network(sound):
        shapes.append(sound.shape)
        return np.zeros((len(sound), 10, 3), np.float32)

    model = custom.segmentation(network, 2.0, sample_rate=8000, channels=True)
    model(np.zeros((4, 32_000), np.float32))
    assert shapes == [(1, 1, 16_000), (4, 1, 16_000)]


def test_segmentation_in_a_powerset():
    toy = ToySegmentation()
    model = custom.segmentation(toy, 10.0, num_local=3, max_simultaneous=2, frames=toy.spec.frames)
    assert model.spec == toy.spec


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no", "a callable, not a str"),
        (lambda sound: sound, r"\(batch, num_frames, num_classes\), not \(1, 80000\)"),
        (lambda sound: np.full((1, 5, 2), 2.0), "probabilities from 0 to 1, not 2"),
        (lambda sound: np.full((1, 5, 7), -1.0), "num_local=3, max_simultaneous=2"),
        (lambda sound: np.zeros((1, 5, 99)), "1 to"),
    ],
)
def test_what_is_no_segmentation(function, said):
    with pytest.raises(UsageError, match=said):
        custom.segmentation(function)


def test_embedding_from_a_callable_hears_only_the_speaker():
    lengths = []

    def network(waveform):
        lengths.append(waveform.shape)
        return spectrum(waveform)

    model = custom.embedding(network, min_duration=0.1)
    assert isinstance(model, EmbeddingModel)
    assert (model.spec.dimension, model.spec.window, model.spec.num_mels) == (8, "raw", 160)
    times = np.arange(RATE) / RATE
    sound = np.where(times < 0.5, np.sin(2 * np.pi * VOICES[0] * times), np.sin(2 * np.pi * VOICES[3] * times))
    maps = model.frames(sound.astype(np.float32).reshape(1, 100, 160))
    weights = np.zeros((1, 3, 100), np.float32)
    weights[0, 0, :50], weights[0, 1, 50:], weights[0, 2, :5] = 1, 0.9, 1
    found = model.pool(maps, weights)
    assert found.shape == (1, 3, 8) and [int(np.argmax(row)) for row in found[0, :2]] == [0, 3]
    assert np.isnan(found[0, 2]).all() and lengths[1:] == [(1, 8000), (1, 8000)]


def test_embedding_with_weights_of_its_own():
    seen = []

    class Network:
        def __call__(self, waveform, weights):
            seen.append((waveform.shape, weights.shape, weights.max()))
            return np.ones((1, 4))

    model = custom.embedding(Network())
    weights = np.zeros((1, 1, 6000), np.float32)
    weights[0, 0, 3000:3100] = 0.75
    model.pool(np.zeros((1, 6000, 160), np.float32), weights)
    model.pool(np.zeros((1, 500, 160), np.float32), weights[..., 2700:3200])
    assert seen[1:] == [((1, 16_000), (1, 100), 0.75), ((1, 80_000), (1, 500), 0.75)]


def test_embedding_of_features_and_at_another_rate():
    shapes = []

    def network(given):
        shapes.append(given.shape)
        return np.ones((1, 16))

    model = custom.embedding(network, takes="features", num_mels=64, window="hamming", scale=32_768.0)
    assert (model.spec.num_mels, model.spec.window, model.spec.scale) == (64, "hamming", 32_768.0)
    custom.embedding(network, sample_rate=8000)
    assert shapes == [(1, 300, 64), (1, 24_000)]


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (None, {}, "a callable, not a NoneType"),
        (lambda w: np.ones(3), {}, r"not \(3,\)"),
        (lambda w: np.ones((1, 3)), {"takes": "mfcc"}, "'waveform' or 'features'"),
        (lambda w: np.ones((1, 3)), {"takes": "features", "num_mels": 160}, "20 to 128 bands"),
        (lambda w: np.ones((1, 3)), {"sample_rate": 10}, "sample rate"),
    ],
)
def test_what_is_no_embedding(function, options, said):
    with pytest.raises(UsageError, match=said):
        custom.embedding(function, **options)


def test_torch_modules():
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.float32))

        def forward(self, waveform, weights):
            assert waveform.dtype == torch.float32 and not torch.is_grad_enabled()
            return self.scale * waveform.square().mean(dim=1, keepdim=True).repeat(1, 5).to(torch.bfloat16)

    model = custom.embedding(Network())
    assert model.spec.dimension == 5 and model._weighted
    found = model.pool(np.ones((1, 100, 160), np.float32), np.ones((1, 1, 100), np.float32))
    assert found.dtype == np.float32 and abs(found[0, 0, 0] - 1) < 0.01


def test_a_recording_diarized_with_a_callable_of_sound():
    """The tones that are voices are found by a network that knows nothing of log mel energies."""
    samples, reference = recording(20, 2)

    def network(waveform):
        return spectrum(waveform)

    diarizer = Diarizer(segmentation=ToySegmentation(), embedding=custom.embedding(network), config=CONFIG)
    found = diarizer(samples, sample_rate=RATE)
    assert found.num_speakers == 2
    expected = sorted(reference.talk_time().values())
    assert np.allclose(sorted(found.talk_time().values()), expected, rtol=0.1)


def test_streams_of_callables_alone():
    """Neither network is of a kind that is known here: probabilities of two tones, and a spectrum of the sound."""
    samples, reference = recording(6, 2, seed=2)

    def tones(batch):
        times = np.arange(400) / RATE
        waves = np.exp(-2j * np.pi * VOICES[:2, None] * times) * np.hanning(400)
        frames = batch[:, : batch.shape[1] // 400 * 400].reshape(len(batch), -1, 400)
        return (np.abs(frames @ waves.T) / 100 > 0.004).astype(np.float32) * 0.98 + 0.01

    live = LiveDiarizer(
        segmentation=custom.segmentation(tones, 5.0), embedding=custom.embedding(spectrum), config={"latency": 2.0}
    )
    found = live.diarize(samples, sample_rate=RATE)
    assert found.num_speakers == 2 and score(reference, found).der < 0.3


def test_a_stream_of_an_onnx_file(tmp_path):
    """A network of features that pools by itself: the mean of what it hears."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("ReduceMean", ["feats"], ["embs"], axes=[1], keepdims=0)
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("feats", floats, ["batch", "frames", 80])],
        [helper.make_tensor_value_info("embs", floats, ["batch", 80])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "mine.onnx")
    samples, _ = recording(6, 2, seed=2)
    live = LiveDiarizer(
        segmentation=ToySegmentation(), config={"embedding.model": str(tmp_path / "mine.onnx"), "latency": 2.0}
    )
    found = live.diarize(samples, sample_rate=RATE)
    assert len(found) > 3 and all(speaker.embedding.shape == (80,) for speaker in found.speakers.values())
