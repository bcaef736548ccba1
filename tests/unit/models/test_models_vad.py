import numpy as np
import pytest

from diarist.core.protocols import VoiceActivityModel
from diarist.core.time import Axis
from diarist.core.types import Turn
from diarist.errors import UsageError, WeightsError
from diarist.models import catalog, vad
from diarist.models.graph import Graph
from diarist.models.marblenet import BLOCK, OnnxVad
from diarist.models.silero import SileroVad
from diarist.models.toy import ToySegmentation, conversation
from diarist.models.vad import FrameClassifier, SegmentationVad, load_vad

RATE = 16_000


@pytest.fixture
def save(tmp_path):
    def save(graph, name="own.onnx"):
        path = tmp_path / name
        path.write_bytes(graph.serialize())
        return path

    return save


def loudness(step=320, *, length="num_samples", classes=1, rank=3, bias=-4.0):
    """Louder is likelier: mean absolute value of each frame, as a logit; with two classes, silence first."""
    graph = Graph("own")
    sound = graph.input("sound", (1,) * (rank - 1) + (length,))
    sound = graph.node("Reshape", sound, graph.constant(np.array([1, 1, -1]), np.int64))
    mean = graph.constant(np.full((1, 1, step), 100 / step))
    x = graph.node("Conv", graph.node("Abs", sound), mean, strides=[step])
    x = graph.node("Add", x, graph.constant(np.float32(bias)))
    if classes == 2:
        x = graph.node("Concat", graph.node("Neg", x), x, axis=1)
    if rank == 3:
        x = graph.node("Transpose", x, perm=[0, 2, 1])
        graph.output(x, "speech", (1, "num_frames", classes))
    else:
        graph.output(graph.node("Reshape", x, graph.constant(np.array([1, -1]), np.int64)), "speech", (1, "num_frames"))
    return graph


def sound(seconds=3.0, begin=1.0, end=2.0):
    samples = np.zeros(round(seconds * RATE), np.float32)
    samples[round(begin * RATE) : round(end * RATE)] = 0.3
    return samples


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("classes", [1, 2])
def test_any_frame_classifier_finds_what_is_loud(save, rank, classes):
    if rank < 3 and classes == 2:
        pytest.skip("two classes need an axis")
    model = OnnxVad(save(loudness(classes=classes, rank=rank)))
    assert model.frames == Axis(320, 320)
    assert isinstance(model, VoiceActivityModel)
    found = model(sound())
    assert found.shape == (150,)
    np.testing.assert_array_equal(found > 0.5, (np.arange(150) >= 50) & (np.arange(150) < 100))


def test_two_scores_are_the_odds_of_each_other(save):
    one = OnnxVad(save(loudness()))(sound())
    two = OnnxVad(save(loudness(classes=2), "two.onnx"))(sound())
    np.testing.assert_allclose(two, one**2 / (one**2 + (1 - one) ** 2), atol=1e-5)  # logits x and -x


def test_blocks_join_to_the_whole(save):
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.05, BLOCK + 12_345).astype(np.float32)
    model = OnnxVad(save(loudness()))
    found = model(samples)
    assert len(found) == -(-len(samples) // 320)
    np.testing.assert_allclose(found[:-1], model._run(samples)[: len(found) - 1], atol=1e-6)


def test_a_fixed_length_is_filled_with_silence(save):
    model = OnnxVad(save(loudness(length=16_000)))
    found = model(sound(2.5))
    assert found.shape == (125,)
    np.testing.assert_array_equal(found > 0.5, (np.arange(125) >= 50) & (np.arange(125) < 100))


def test_no_sound_is_no_frames(save):
    assert OnnxVad(save(loudness()))(np.zeros(0, np.float32)).shape == (0,)
    assert SegmentationVad(ToySegmentation())(np.zeros(0, np.float32)).shape == (0,)


def test_other_networks_are_refused(save):
    graph = Graph("own")
    x = graph.input("a", (1, "n"))
    graph.output(graph.node("Add", x, graph.input("b", (1, "n"))), "y", (1, "n"))
    with pytest.raises(WeightsError, match="not one tensor of samples"):
        OnnxVad(save(graph))
    graph = Graph("own")
    graph.output(graph.node("Abs", graph.input("a", (1, "n"))), "y", (1, "n"))
    with pytest.raises(WeightsError, match="not one a frame"):
        OnnxVad(save(graph))
    with pytest.raises(WeightsError, match="no file of silero-vad"):
        SileroVad(save(loudness()))


def test_segmentation_hears_speech():
    samples = conversation([Turn(2.0, 5.0, "a"), Turn(14.0, 16.0, "b")], 21.0)
    model = SegmentationVad(ToySegmentation())
    found = model(samples)
    times = model.frames.middles(len(found))
    inside = ((times > 2.1) & (times < 4.9)) | ((times > 14.1) & (times < 15.9))
    outside = (times < 1.9) | ((times > 5.1) & (times < 13.9)) | (times > 16.1)
    assert (found[inside] > 0.5).mean() > 0.95
    assert (found[outside] < 0.5).all()
    assert times[-1] > 20.9


def test_a_function_is_a_model():
    model = FrameClassifier(lambda samples: np.abs(samples[::160]), Axis(160, 160))
    assert load_vad(model) is model
    np.testing.assert_array_equal(model(sound())[[0, 150]], np.float32([0, 0.3]))
    with pytest.raises(UsageError, match="one probability a frame"):
        FrameClassifier(lambda samples: samples[None], Axis(1, 1))(sound())
    with pytest.raises(UsageError, match="FrameClassifier"):
        load_vad(len)


def test_a_file_is_told_by_what_it_takes(save):
    assert isinstance(load_vad(save(loudness())), OnnxVad)
    assert isinstance(load_vad(str(save(loudness()))), OnnxVad)


def test_names_are_told_apart():
    with pytest.raises(UsageError, match="kind embedding, not vad"):
        load_vad("campplus-zh-en")
    with pytest.raises(UsageError, match="did you mean 'silero-vad'"):
        load_vad("silero-vat")
    with pytest.raises(WeightsError, match="there is no model at"):
        load_vad("missing.onnx")


def test_an_unstated_licence_wants_a_word(monkeypatch):
    monkeypatch.delenv(vad.ACCEPT, raising=False)
    with pytest.raises(UsageError, match="does not state the licence of 'marblenet-vad'"):
        load_vad("marblenet")
    monkeypatch.setenv("DIARIST_OFFLINE", "1")
    monkeypatch.setenv("DIARIST_CACHE", "/nonexistent")
    with pytest.raises(WeightsError, match="may be fetched"):
        load_vad("marblenet", accept_licence=True)
    monkeypatch.setenv(vad.ACCEPT, "other, marblenet")
    with pytest.raises(WeightsError, match="may be fetched"):
        load_vad("marblenet-vad")


def test_only_marblenet_wants_one():
    assert [e.name for e in catalog.CATALOG.values() if e.licence == catalog.UNSTATED] == ["marblenet-vad"]


@pytest.mark.weights
def test_silero_is_the_same_in_pieces():
    model = load_vad("silero")
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    samples[4000:12_000] += conversation([Turn(0, 0.5, "a")])[:8000]
    whole = model(samples)
    assert whole.shape == (32,)
    state, parts = model.start(), []
    for first in range(0, len(samples), 512 * 5):
        state, found = model.step(state, samples[first : first + 512 * 5])
        parts.append(found)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
