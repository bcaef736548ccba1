"""From labelled rows to turns, on evidence made by hand: ten frames a second, chunks of three seconds."""

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.pipelines.cluster import Clusters
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.decode import confidence, decode
from diarist.pipelines.frontend import Evidence
from diarist.stages.powerset import pack

FRAMES = Axis(1600, 1600)
CHUNKS = Axis(48_000, 16_000)
A, B, C = np.eye(3)


def evidence(active, *, windows=None, voices=None, owners=None, speech=None):
    """`active` `(num_frames, num_people)` as every chunk hears it, local speakers in the order of people."""
    active = np.asarray(active, bool)
    num_frames, num_people = active.shape
    local = np.zeros((max(1, num_frames // 10 - 2), 30, num_people), bool)
    for chunk, row in enumerate(local):
        piece = active[chunk * 10 : chunk * 10 + 30]
        row[: len(piece)] = piece
    windows = [] if windows is None else windows
    rows = [] if voices is None or owners is None else [voices[chunk][who] for chunk, who in owners]
    return Evidence(
        num_samples=num_frames * 1600,
        local=pack(local),
        num_local=num_people,
        chunks=CHUNKS,
        frames=FRAMES,
        speech=np.ones(num_frames, np.float32) if speech is None else np.asarray(speech, np.float32),
        count=active.sum(axis=1).astype(np.uint8),
        embeddings=np.asarray(rows if owners else np.zeros((len(windows), 3)), np.float32).reshape(-1, 3),
        times=np.asarray(windows, float),
        owners=np.asarray(owners) if owners else np.full((len(windows), 2), -1),
        voices={} if voices is None else voices,
    )


def clusters(labels, certainty=None):
    labels = np.asarray(labels, np.int64)
    sure = np.ones(len(labels), np.float32) if certainty is None else np.asarray(certainty, np.float32)
    return Clusters(labels, np.eye(3)[: labels.max() + 1 if len(labels) else 0], sure)


def spoken(turns):
    return [(t.speaker, round(t.start, 6), round(t.end, 6)) for t in turns]


def pattern(text):
    """`a`: the first talks, `b`: the second, `x`: both, `.`: nobody; a character a tenth of a second."""
    return [[c in "ax", c in "bx"] for c in text]


def test_the_nearest_window_names_a_lone_speaker():
    heard = evidence(pattern("..aaaaaaaabbbbbbbbbb.........."), windows=[0.6, 1.4])
    turns, order = decode(heard, clusters([1, 0]), PipelineConfig())
    assert spoken(turns) == [("SPEAKER_00", 0.2, 1.0), ("SPEAKER_01", 1.0, 2.0)]
    assert order == {"SPEAKER_00": 1, "SPEAKER_01": 0}


def test_local_speakers_name_two_at_once():
    text = "aaaaaaaaaaxxxxxbbbbbbbbbb....."
    heard = evidence(pattern(text), windows=[0.5, 2.0], voices={0: np.array([A, B], np.float32)})
    turns, _ = decode(heard, clusters([0, 1]), PipelineConfig())
    assert spoken(turns) == [("SPEAKER_00", 0.0, 1.5), ("SPEAKER_01", 1.0, 2.5)]


def test_where_voices_were_never_asked_for_only_one_talks():
    heard = evidence(pattern("aaaaaaaaaaxxxxxaaaaaaaaaa....."), windows=[0.5, 2.0])
    turns, _ = decode(heard, clusters([0, 1]), PipelineConfig())
    assert spoken(turns) == [("SPEAKER_00", 0.0, 1.3), ("SPEAKER_01", 1.3, 2.5)]


def test_a_turn_is_as_sure_as_its_frames():
    speech = np.full(30, 0.9)
    heard = evidence(pattern("aaaaaaaaaabbbbbbbbbb.........."), windows=[0.5, 1.5], speech=speech)
    turns, _ = decode(heard, clusters([0, 1], [1.0, 0.5]), PipelineConfig())
    assert [t.confidence for t in turns] == [0.9, 0.45]
    assert confidence(np.float32([0.5, 1]), np.float32([0.5, 1])).tolist() == [0.25, 1.0]


def test_no_rows_mean_one_speaker_or_none():
    nothing = clusters([])
    turns, order = decode(evidence(pattern("..aa..x..." + "." * 20)), nothing, PipelineConfig())
    assert spoken(turns) == [("SPEAKER_00", 0.2, 0.4), ("SPEAKER_00", 0.6, 0.7)] and order == {}
    assert decode(evidence(pattern("." * 30)), nothing, PipelineConfig()) == ([], {})


@pytest.mark.parametrize("text", ["aaaaaaaaaaxxxxxbbbbbbbbbb.....", "aaaaaaaaaa.....bbbbbbbbbbbbbbb"])
def test_local_speakers_of_chunks_are_heard_where_they_talk(text):
    voices = {0: np.array([A, B], np.float32)}
    heard = evidence(pattern(text), voices=voices, owners=[(0, 0), (0, 1)])
    turns, order = decode(heard, clusters([0, 1]), PipelineConfig())
    assert order == {"SPEAKER_00": 0, "SPEAKER_01": 1}
    ends = {"x": [("SPEAKER_00", 0.0, 1.5), ("SPEAKER_01", 1.0, 2.5)]}
    assert spoken(turns) == ends.get(text[10], [("SPEAKER_00", 0.0, 1.0), ("SPEAKER_01", 1.5, 3.0)])


def test_a_local_speaker_too_short_to_be_clustered_joins_the_nearest_voice_that_is_left():
    """In the second chunk the second local speaker has a voice and no row."""
    text = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbaaaaaaaaaaaaaaaaaaaaaaaaaaaabb"
    active = pattern(text)
    voices = {0: np.array([[np.nan] * 3, B], np.float32), 3: np.array([A, B], np.float32)}
    heard = evidence(active, voices=voices, owners=[(0, 1), (3, 0)])
    turns, _ = decode(heard, clusters([1, 0]), PipelineConfig())
    assert spoken(turns)[-1] == ("SPEAKER_00", 5.8, 6.0) and spoken(turns)[0] == ("SPEAKER_00", 0.0, 3.0)
