"""The parts of the live pipeline by themselves, on voices that are tones."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.audio.sinks import Joiner
from diarist.core.time import Axis
from diarist.core.types import Track, Turn, Update
from diarist.errors import UsageError
from diarist.models import custom
from diarist.models.toy import VOICES, ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines.blocks import (
    Binarize,
    DelayedAggregation,
    EmbeddingNormalization,
    OnlineSpeakerClustering,
    OverlapAwareSpeakerEmbedding,
    OverlappedSpeechPenalty,
    Rolling,
    SpeakerEmbedding,
    SpeakerSegmentation,
    rolling,
)

RATE = 16_000
TALK = [Turn(0.5, 3.0, "a"), Turn(3.5, 6.0, "b"), Turn(6.5, 9.0, "a"), Turn(8.5, 11.0, "b")]


@pytest.fixture(scope="module")
def sound():
    return conversation(TALK, 12.0)


@pytest.mark.parametrize("size", [1000, 8000, 200_000])
def test_windows_come_every_step_and_the_tail_is_kept(size):
    sound = np.arange(1, 100_001, dtype=np.float32)
    windows = list(rolling((sound[i : i + size] for i in range(0, len(sound), size)), RATE, 2.0, 0.5))
    assert {len(window) for window in windows} == {32_000}
    assert [int(window[0]) for window in windows] == [1 + 8000 * i for i in range(10)]
    assert windows[-1].max() == 100_000 and windows[-1][-1] == 0


def test_windows_of_what_fits_exactly_or_is_too_short():
    assert len(list(rolling([np.ones(40_000, np.float32)], RATE, 2.0, 0.5))) == 2
    assert len(list(rolling([np.ones(100, np.float32)], RATE, 2.0, 0.5))) == 1
    assert list(rolling([], RATE)) == []
    for duration, step in ((1.0, 2.0), (1.0, 0.0)):
        with pytest.raises(UsageError, match="cannot come every"):
            Rolling(RATE, duration, step)


def test_segmentation_and_overlap_aware_embedding_as_in_diarts_readme(sound):
    segmentation = SpeakerSegmentation(ToySegmentation(), 10.0)
    embedding = OverlapAwareSpeakerEmbedding(ToyEmbedding())
    window = sound[: 10 * RATE]
    scores = segmentation(window)
    assert segmentation.sample_rate == RATE and scores.shape == (589, 3)
    assert 0.4 < (scores[:, 0] > 0.5).mean() < 0.55
    found = embedding(window, scores)
    assert found.shape == (3, 80) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found[:2], axis=1), 1, atol=1e-5)
    later = sound[2 * RATE : 12 * RATE]
    again = embedding(later, segmentation(later))
    assert found[0] @ again[0] > 0.95 and found[1] @ again[1] > 0.95 and found[0] @ again[1] < 0.85
    with pytest.raises(UsageError, match="at most 160000"):
        segmentation(sound)


def test_a_short_window_has_as_many_frames_as_a_whole_one(sound):
    model = custom.segmentation(lambda batch: np.ones((len(batch), 100, 2)) * 0.5, 5.0)
    assert SpeakerSegmentation(model, 2.5)(sound[:100]).shape == (50, 2)


def test_penalty_and_normalization():
    scores = np.array([[0.9, 0.1], [0.9, 0.9], [0.1, 0.0]], np.float32)
    weights = OverlappedSpeechPenalty()(scores)
    by_hand = (0.9 * np.exp(9.0) / (np.exp(9.0) + np.exp(1.0))) ** 3
    assert abs(weights[0, 0] - by_hand) < 1e-5 and weights[1, 0] < 0.1 < weights[0, 0]
    assert OverlappedSpeechPenalty(normalize=True)(scores)[:, 0].max() == 1
    rows = np.array([[3.0, 4.0], [np.nan, 1.0]], np.float32)
    scaled = EmbeddingNormalization(2.0)(rows)
    np.testing.assert_allclose(scaled[0], [1.2, 1.6])
    assert np.isnan(scaled[1]).any()
    with pytest.raises(UsageError):
        EmbeddingNormalization(0)


def test_an_embedding_of_a_whole_window_or_of_next_to_nothing(sound):
    embedding = SpeakerEmbedding(ToyEmbedding())
    assert embedding(sound[: 5 * RATE]).shape == (80,)
    assert np.isnan(embedding(sound[:100])).all()
    assert np.isnan(embedding(sound[:100], np.ones((10, 3), np.float32))).shape == (3, 80)


def test_the_same_voice_keeps_its_column_from_window_to_window():
    """Two people change places as local speakers; the columns stay theirs."""
    clustering = OnlineSpeakerClustering(max_speakers=3)
    talks = np.zeros((10, 2), np.float32)
    talks[:6, 0], talks[5:, 1] = 0.9, 0.8
    voices = np.eye(2, 4, dtype=np.float32)
    first = clustering(talks, voices)
    second = clustering(talks, voices[::-1])
    assert first.shape == (10, 3)
    np.testing.assert_array_equal(first[:, :2], talks)
    np.testing.assert_array_equal(second[:, [1, 0]], talks)
    before = clustering.known
    clustering(talks, voices)
    clustering.known = before  # a value: set it to go on from there
    np.testing.assert_array_equal(clustering(talks, voices)[:, :2], talks)


def test_more_speakers_than_there_is_room_for_in_the_first_window():
    clustering = OnlineSpeakerClustering(max_speakers=1)
    talks = np.full((10, 2), 0.9, np.float32)
    assert clustering(talks, np.eye(2, dtype=np.float32)).shape == (10, 1)
    assert len(clustering.known) == 1


@pytest.mark.parametrize("strategy", ["hamming", "mean", "first"])
@pytest.mark.parametrize("latency", [0.5, 1.5, 2.0])
def test_delayed_aggregation_tells_every_frame_once(strategy, latency):
    """Windows that agree are told as they are, from the beginning, a step at a time."""
    truth = np.random.default_rng(0).random((160, 2)).astype(np.float32)  # 8 s of 20 frames
    aggregation = DelayedAggregation(0.5, latency, 2.0, strategy)
    assert aggregation.finish() is None
    told = [aggregation(truth[10 * i : 10 * i + 40]) for i in range(13)]
    assert len(told[0].scores) == 50 - round(latency * 20)
    rest = aggregation.finish()
    assert (rest is None) == (latency == 0.5) and aggregation.finish() is None
    told += [] if rest is None else [rest]
    position = 0
    for track in told:
        assert track.frames.start == position * 800 and track.frames.step == 800
        np.testing.assert_allclose(track.scores, truth[position : position + len(track.scores)], atol=1e-6)
        position += len(track.scores)
    assert position == 160


def test_binarize():
    scores = np.zeros((20, 2), np.float32)
    scores[5:10, 0], scores[18:, 1] = 0.8, 0.6
    found = Binarize(0.5, "talk")(Track(scores, Axis(1600, 1600, 16_000)))
    assert found.uri == "talk"
    assert [(t.start, t.end, t.speaker) for t in found] == [(1.5, 2.0, "speaker0"), (2.8, 3.0, "speaker1")]


def test_the_blocks_together_find_who_spoke_when(sound):
    segmentation, embedding = SpeakerSegmentation(ToySegmentation(), 5.0), OverlapAwareSpeakerEmbedding(ToyEmbedding())
    clustering, aggregation, binarize = OnlineSpeakerClustering(), DelayedAggregation(0.5, 2.0), Binarize()
    joiner, turns = Joiner(gap=0.1), []
    for window in rolling(np.array_split(sound, 37)):
        scores = segmentation(window)
        track = aggregation(clustering(scores, embedding(window, scores)))
        end = (track.frames.start + track.frames.step * len(track.scores)) / RATE
        turns += joiner.take(Update(binarize(track).turns, (), end, end))
    turns += joiner.rest()
    kept = sorted(t for t in turns if t.duration > 0.2)
    assert [t.speaker for t in kept] == ["speaker0", "speaker1", "speaker0", "speaker1"]
    for turn, expected in zip(kept, TALK, strict=True):
        assert abs(turn.start - expected.start) < 0.25 and abs(turn.end - min(expected.end, 10.5)) < 0.3


def test_a_model_of_ones_own_in_a_block(sound):
    def network(waveform):
        times = np.arange(waveform.shape[1]) / RATE
        return np.abs(waveform @ np.exp(-2j * np.pi * VOICES[:, None] * times).T)

    found = OverlapAwareSpeakerEmbedding(custom.embedding(network))(
        sound[: 5 * RATE], SpeakerSegmentation(ToySegmentation())(sound[: 5 * RATE])
    )
    assert [int(np.argmax(row)) for row in found[:2]] == [0, 1]
