"""The real networks, of random weights, in streams: no stream depends on its neighbours, or on how it was fed."""

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.models.campplus import CamPlusPlus
from diarist.models.fused import LEAST, FusedSegmentation
from diarist.models.pyannet import PyanNet
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_listen import Ears
from diarist.pipelines.live_networks import Networks
from diarist.pipelines.live_stream import Parts, Stream, step

RATE = 16_000
SOUND = conversation([(0.2, 3.0, "a"), (2.8, 6.0, "b")], 6.3, noise=0.02)
CONFIG = LiveConfig(latency=1.0, recluster=2.0)


class Loudness:
    """A voice activity model with a state: how loud 32 ms are, compared with all before."""

    frames = Axis(512, 512)

    def start(self):
        return np.zeros(1, np.float32), np.zeros(1, np.float32)

    def step(self, state, samples):
        total, num = state
        found = []
        for frame in samples.reshape(-1, 512):
            level = np.abs(frame).mean()
            total, num = total + level, num + 1
            found.append(1 / (1 + np.exp(-20 * (level - 0.5 * total[0] / num[0]))))
        return (total.astype(np.float32), num.astype(np.float32)), np.array(found, np.float32)

    def __call__(self, samples):
        whole = len(samples) // 512 * 512
        return self.step(self.start(), samples[:whole])[1]


class Stateless:
    """The same without a state to be had."""

    frames = Loudness.frames

    def __call__(self, samples):
        return Loudness()(samples)


@pytest.fixture(scope="module", params=["int8", "float32"])
def parts(request, pyannet_tensors, campplus_tensors):
    int8 = request.param == "int8"
    models = PyanNet(pyannet_tensors, int8=int8), CamPlusPlus(campplus_tensors, int8=int8)
    return Parts(CONFIG, Networks(*models, Loudness(), ("own", "own")), True)


def hear(parts, sound, sizes, restart=()):
    stream, first, number, final = Stream(parts, "x"), 0, 0, []
    while first < len(sound):
        size = sizes[number % len(sizes)]
        final += stream.push(sound[first : first + size]).final
        first, number = first + size, number + 1
        if number in restart:
            stream = Stream.restored(parts, stream.state())
    last = stream.finish()
    return [*final, *last.final], last.session


def test_streams_answer_alike_however_they_are_fed_restored_and_batched(parts):
    usual = hear(parts, SOUND, [8000])
    assert hear(parts, SOUND, [3001, 41_000], restart=(2, 4)) == usual
    streams = [Stream(parts, "x") for _ in range(2)]
    for index, stream in enumerate(streams):
        stream.feed(SOUND[3000 * index :])
    final = []
    while any(stream.waiting for stream in streams):
        ready = [stream for stream in streams if stream.waiting]
        updates = step(ready)
        if ready[0] is streams[0]:
            final += updates[0].final
    last = streams[0].finish()
    assert ([*final, *last.final], last.session) == usual


@pytest.mark.parametrize("int8", [True, False])
def test_rows_of_a_network_for_streams_do_not_see_each_other(pyannet_tensors, int8):
    model = PyanNet(pyannet_tensors, int8=int8).resized(5 * RATE)
    assert model.spec.chunk == 5 * RATE and model.spec.num_frames == 293
    batch = np.stack([SOUND[k * 5000 : k * 5000 + 5 * RATE] for k in range(5)])
    together = model(batch)
    for row, scores in zip(batch, together, strict=True):
        np.testing.assert_array_equal(model(row[None])[0], scores)


@pytest.mark.parametrize("int8", [True, False])
def test_pools_of_new_sound_only_give_the_same_scores(pyannet_tensors, int8):
    """Each look of a stream, against the network on the window itself."""
    model = PyanNet(pyannet_tensors, int8=int8)
    ears = Ears(CONFIG, model, None)
    alone = model.resized(5 * RATE)
    sound = ears.start()
    for number in range(12):
        ears._take(sound, SOUND[number * 8000 : (number + 1) * 8000])
        first = ears._start(sound)
        window = sound.piece(first * 270, 5 * RATE)
        (scores,) = ears.hear(ears.segmentation, [sound], [first])
        np.testing.assert_allclose(scores, alone(window[None])[0], atol=2e-3 if int8 else 2e-5)
    assert sound.last_pool - sound.first_pool <= (ears.keep + 5 * RATE) // 30 + 600


def test_an_embedding_network_for_short_stretches(campplus_tensors):
    rng = np.random.default_rng(0)
    for int8 in (True, False):
        model = CamPlusPlus(campplus_tensors, int8=int8)
        two_seconds = rng.standard_normal((1, 200, 80)).astype(np.float32)
        np.testing.assert_array_equal(model.resized(200).frames(two_seconds), model.frames(two_seconds))
        np.testing.assert_array_equal(model.resized(600).frames(two_seconds), model.frames(two_seconds))
        short = model.resized(100)
        assert short.frames(two_seconds[:, :100]).shape == (1, 50, 512)
        assert short.frames(two_seconds[:, :30]).shape == (1, 15, 512)
        twice = np.concatenate([two_seconds[:, :100]] * 2, axis=1)
        same = short.frames(twice)  # two segments, both alike
        assert same.shape == (1, 100, 512)


def test_a_second_opinion_that_comes_as_it_is_heard_is_that_of_the_whole_sound():
    ears = Ears(CONFIG, ToySegmentation(), ToyEmbedding(), Loudness())
    sound = ears.start()
    for first in range(0, len(SOUND), 3001):
        ears._take(sound, SOUND[first : first + 3001])
    expected = Loudness()(SOUND).clip(LEAST, 1 - LEAST)
    np.testing.assert_allclose(
        sound.opinion.odds, np.log(expected / (1 - expected))[-len(sound.opinion.odds) :], rtol=1e-4
    )
    assert sound.opinion.num == len(SOUND) // 512


def test_a_second_opinion_without_a_state_is_heard_window_by_window():
    ears = Ears(CONFIG, ToySegmentation(), ToyEmbedding(), Stateless())
    assert isinstance(ears.segmentation, FusedSegmentation) and ears.opinion is None
    (look,) = ears.look([ears.start()], [SOUND[:8000]])
    (plain,) = Ears(CONFIG, ToySegmentation(), ToyEmbedding()).look(
        [Ears(CONFIG, ToySegmentation(), ToyEmbedding()).start()], [SOUND[:8000]]
    )
    assert look.activity.shape == plain.activity.shape and not np.array_equal(look.speech, plain.speech)


def test_the_embedding_network_waits_for_a_hop_and_hears_the_tail():
    config = LiveConfig(
        segmentation=CONFIG.segmentation, embedding=type(CONFIG.embedding)(context=0.0, hop=1.0), latency=0.5
    )
    ears = Ears(config, ToySegmentation(), ToyEmbedding())
    sound, maps = ears.start(), []
    for number in range(6):
        ears.look([sound], [SOUND[number * 8000 : (number + 1) * 8000]])
        maps.append(sound.last_map)
    assert maps == [0, 49, 49, 99, 99, 149]
    ears.look([sound], [SOUND[48_000:52_000]])
    assert sound.last_map == (52_000 - 400) // 160 // 2


def test_the_window_can_be_shorter_than_the_duration():
    config = LiveConfig(segmentation=type(CONFIG.segmentation)(window=3.0), latency="max")
    ears = Ears(config, ToySegmentation(), ToyEmbedding())
    assert ears.segmentation.spec.chunk == 48_000 and config.num_windows == 10
    for asked, window in ((0.2, 0.5), (6.0, 5.0)):
        assert LiveConfig(segmentation=type(CONFIG.segmentation)(window=asked)).window == window


def test_a_stream_that_is_restored_again_and_again_remembers_no_more(parts):
    stream, restored = Stream(parts, "x"), Stream(parts, "x")
    sound = np.tile(SOUND, 4)
    for first in range(0, len(sound), RATE):
        stream.push(sound[first : first + RATE])
        restored.push(sound[first : first + RATE])
        restored = Stream.restored(parts, restored.state())
    assert len(restored.state()) <= len(stream.state())
