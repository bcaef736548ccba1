"""Community-1 and the style of pyannote 3.1 as presets, on toy voices. The parity with pyannote is in tests/parity."""

import numpy as np
import pytest

import diarist
from diarist.core.config import replace_from
from diarist.core.types import SpeakerBounds
from diarist.errors import ConfigError, UsageError, WeightsError
from diarist.evaluation.score import score
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines.cluster import chunk_plda, clustering_of
from diarist.pipelines.presets import WESPEAKER, preset
from diarist.stages.fbank import fbank, remove_mean
from toy_house import RATE, recording

COMMUNITY = preset("community-1").config


@pytest.fixture(scope="module")
def plda(tmp_path_factory):
    """A folder as the hub's, for toy voices: a rotation, and speakers far apart."""
    folder = tmp_path_factory.mktemp("hub") / "plda"
    folder.mkdir()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(80, 80)))[0][:, :40]
    np.savez(folder / "xvec_transform.npz", mean1=np.zeros(80), mean2=np.zeros(40), lda=rotation)
    np.savez(folder / "plda.npz", mu=np.zeros(40), tr=3 * np.eye(40), psi=np.linspace(9, 2, 40))
    return folder.parent


def diarizer(name, plda=None, **changes):
    config = {"clustering.plda": str(plda)} if plda else {}
    return diarist.Diarizer(
        name, segmentation=ToySegmentation(), embedding=ToyEmbedding(), config={**config, **changes}
    )


@pytest.mark.parametrize("num_speakers", [2, 4])
@pytest.mark.parametrize("name", ["community-1", "pyannote-3.1-style"])
def test_toy_conversations_come_out_right(name, num_speakers, plda):
    samples, reference = recording(50, num_speakers, seed=num_speakers)
    result = diarizer(name, plda)(samples, sample_rate=RATE)
    errors = score(reference, result)
    assert result.num_speakers == num_speakers and errors.der < 0.08
    assert all(t.confidence > 0.4 for t in result if t.duration > 1)
    voices = np.array([speaker.embedding for speaker in result.speakers.values()])
    np.testing.assert_allclose(np.linalg.norm(voices, axis=1), 1, atol=1e-5)
    # a turn begins in the middle of a frame
    frames = np.array([t.start for t in result]) * RATE - 495.5
    np.testing.assert_allclose(frames / 270, np.rint(frames / 270), atol=1e-4)


def test_a_second_speaker_whom_nobody_heard(plda):
    """As in pyannote.audio, the number at once outweighs the clustering; that speaker has no voice."""
    samples, reference = recording(50, 1, seed=1)
    result = diarizer("community-1", plda)(samples, sample_rate=RATE)
    assert result.num_speakers == 2 and result.talk_time()["SPEAKER_01"] < 3  # where the toy hears two for a moment
    assert result.speakers["SPEAKER_01"].embedding is None
    one = diarizer("community-1", plda)(samples, sample_rate=RATE, max_speakers=1)
    assert one.num_speakers == 1 and score(reference, one).der < 0.05


@pytest.mark.parametrize("name", ["community-1", "pyannote-3.1-style"])
@pytest.mark.parametrize("asked", [1, 2, 3, 5])
def test_as_many_speakers_as_asked_for(name, asked, plda):
    samples, _ = recording(50, 3, seed=1)
    tool = diarizer(name, plda)
    assert tool(samples, sample_rate=RATE, num_speakers=asked).num_speakers == asked
    assert tool(samples, sample_rate=RATE, max_speakers=2).num_speakers == 2
    assert tool(samples, sample_rate=RATE, min_speakers=4).num_speakers >= 4


def test_silence_and_a_word_are_answers(plda):
    for name in ("community-1", "pyannote-3.1-style"):
        tool = diarizer(name, plda)
        assert len(tool(np.zeros(5 * RATE, np.float32), sample_rate=RATE)) == 0
        assert tool(recording(1, 1)[0][: RATE // 2], sample_rate=RATE).num_speakers <= 1


def test_without_its_networks_it_says_where_they_are():
    tool = diarist.Diarizer("community-1", segmentation=ToySegmentation())
    with pytest.raises(WeightsError, match=r"--embedding-model.*pytorch_model\.bin.*community-1") as error:
        tool(np.zeros(RATE, np.float32), sample_rate=RATE)
    assert "\n" not in str(error.value) and COMMUNITY.embedding.model == WESPEAKER


def test_without_its_plda_it_says_where_that_is(tmp_path, plda):
    with pytest.raises(WeightsError, match=r"--clustering-plda.*xvec_transform"):
        diarizer("community-1")(np.zeros(RATE, np.float32), sample_rate=RATE)
    with pytest.raises(WeightsError, match=r"holds no xvec_transform\.npz and no plda\.npz"):
        chunk_plda(str(tmp_path))
    with pytest.raises(WeightsError, match="there is no model at"):
        chunk_plda(str(tmp_path / "gone"))
    with pytest.raises(UsageError):
        chunk_plda("gone")
    (tmp_path / "plda.npz").write_bytes((plda / "plda" / "plda.npz").read_bytes())
    (tmp_path / "xvec_transform.npz").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"xvec_transform\.npz' is not an npz file"):
        chunk_plda(str(tmp_path))
    assert chunk_plda(str(plda / "plda" / "plda.npz")).lda.shape == (80, 40)  # a file means its folder


def test_parts_that_do_not_fit_are_told(plda):
    chosen = replace_from(COMMUNITY, {"clustering.plda": str(plda)})
    with pytest.raises(ConfigError, match=r"80 dimensions.*makes 192"):
        clustering_of(chosen, 192)
    with pytest.raises(ConfigError, match=r"'vbx' needs embedding\.rows 'chunks'"):
        clustering_of(replace_from(chosen, {"embedding.rows": "windows"}), 80)


class Whole(ToyEmbedding):
    """A network that pools inside, and remembers what it was given."""

    spec = replace_from(ToyEmbedding.spec, {"map_stride": 1, "whole": True, "window": "hamming", "scale": 32768.0})

    def __init__(self):
        self.seen = []

    def frames(self, fbank):
        return fbank

    def pool(self, maps, weights):
        self.seen.append(maps[0])
        return super().pool(maps, weights)


def test_a_whole_network_gets_its_own_features_less_the_mean_of_the_chunk(plda):
    samples, reference = recording(12, 2)
    samples[: 15 * RATE] *= 4  # louder: so that the mean of a chunk is not that of the block
    config = {"clustering.plda": str(plda)}
    model = Whole()
    result = diarist.Diarizer("community-1", segmentation=ToySegmentation(), embedding=model, config=config)(
        samples, sample_rate=RATE
    )
    assert score(reference, result).der < 0.1
    features = fbank(samples, window="hamming", scale=32768.0)
    step = 59 * 270
    given = {len(maps): maps for maps in model.seen}
    assert len(model.seen) > 5 and 1000 in given
    expected = [remove_mean(features[chunk * step // 160 :][:1000]) for chunk in range(len(samples) // step)]
    for maps in model.seen:
        assert any(e.shape == maps.shape and np.allclose(e, maps, atol=1e-3) for e in expected)


def test_a_voice_of_one_chunk_that_the_others_outvote(plda):
    """It is nobody's turn, but it has a voice: the sound is embedded for it alone."""

    class Lonely(ToySegmentation):
        def __call__(self, batch):
            scores = np.log(np.tile([0.94] + [0.01] * 6, (len(batch), 589, 1))).astype(np.float32)
            heard = np.abs(batch[:, :16_000]).max(axis=1) < 0.02  # silence at first,
            heard &= np.abs(batch[:, 16_000:24_000]).max(axis=1) > 0.02  # then a hum at once
            scores[heard, 200:400] = np.roll(scores[0, 0], 1)
            return scores

    samples = conversation([(12.2, 30.0, "a")], 40.0)
    for name in ("community-1", "pyannote-3.1-style"):
        events = []
        config = {"clustering.plda": str(plda)}
        tool = diarist.Diarizer(name, segmentation=Lonely(), embedding=ToyEmbedding(), config=config)
        assert len(tool(samples, sample_rate=RATE, hooks=[events.append])) == 0
        assert events[-1].stage == "decoding"


def test_a_voice_that_no_one_has_is_nobodys(plda):
    """More local speakers in a chunk than people: the one left over is nobody, and certain of nothing."""
    config = replace_from(COMMUNITY, {"clustering.plda": str(plda)})
    rows = np.repeat(np.eye(80, dtype=np.float32)[:1], 12, axis=0) + 0.01
    owners = np.array([(chunk, local) for chunk in range(6) for local in range(2)])
    from diarist.core.time import Axis
    from diarist.pipelines.frontend import Evidence

    local = np.zeros((6, 589), np.uint8)
    local[:, :300], local[:, 300:] = 1, 2
    heard = Evidence(
        160_000 + 5 * 15_930, local, 3, Axis(160_000, 15_930), Axis(991, 270), np.ones(884, np.float32),
        np.ones(884, np.uint8), rows, np.full(12, np.nan), owners, {},
    )  # fmt: skip
    clusters = clustering_of(config, 80)(heard, SpeakerBounds(1, 1))
    assert clusters.local is not None and len(clusters.voices) == 1
    assert sorted(set(clusters.local.ravel().tolist())) == [-1, 0]
    assert (clusters.certainty == (clusters.labels >= 0)).all()
