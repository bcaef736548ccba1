"""From evidence to labels: the clusterer that the configuration names, and how certain it is."""

from types import SimpleNamespace

import numpy as np
import pytest

from diarist.core.config import replace_from
from diarist.core.types import SpeakerBounds
from diarist.errors import ConfigError
from diarist.pipelines.cluster import (
    CALIBRATIONS,
    CERTAINTY_BIAS,
    CHOSEN,
    certainty,
    choice_of_answers,
    clustering_of,
    window_plda,
)
from diarist.pipelines.config import CALIBRATIONS as config_calibrations
from diarist.pipelines.config import PipelineConfig
from diarist.stages.assign import unit


def config(**values):
    return replace_from(PipelineConfig(), {name.replace("__", "."): value for name, value in values.items()})


def evidence(num, num_speakers, dimension=192, seed=0):
    """Rows of clearly different people, and who they are."""
    rng = np.random.default_rng(seed)
    speakers = np.sort(rng.integers(num_speakers, size=num))
    rows = unit(rng.normal(size=(num_speakers, dimension))[speakers] + 0.3 * rng.normal(size=(num, dimension)))
    times = 0.75 + 0.5 * np.arange(num)
    return SimpleNamespace(embeddings=rows.astype(np.float32), owners=np.full((num, 2), -1), times=times), speakers


@pytest.mark.parametrize("method", ["agglomerative", "nme-sc"])
@pytest.mark.parametrize("num_speakers", [2, 4])
def test_methods_that_need_no_plda(method, num_speakers):
    heard, speakers = evidence(120, num_speakers, dimension=64)
    clusters = clustering_of(config(clustering__method=method, clustering__threshold=0.7), 64)(heard, SpeakerBounds())
    assert len(clusters.voices) == num_speakers == clusters.labels.max() + 1
    assert len(set(zip(clusters.labels.tolist(), speakers.tolist(), strict=True))) == num_speakers
    assert (clusters.certainty > 0.9).all() and clusters.warnings == ()
    np.testing.assert_allclose(np.linalg.norm(clusters.voices, axis=1), 1)


@pytest.mark.parametrize("method", ["vbx-windows", "agglomerative", "nme-sc"])
@pytest.mark.parametrize("num", [0, 1, 2, 30])
def test_few_rows_and_exact_counts(method, num):
    heard, _ = evidence(num, 2) if num else evidence(2, 1)
    if not num:
        heard.embeddings, heard.owners, heard.times = heard.embeddings[:0], heard.owners[:0], heard.times[:0]
    for asked in (1, 2, 3):
        clusters = clustering_of(config(clustering__method=method), 192)(heard, SpeakerBounds(asked, asked))
        assert len(clusters.voices) == min(asked, num) and len(clusters.labels) == len(clusters.certainty) == num


def test_a_model_without_a_plda_falls_back_and_says_so():
    heard, _ = evidence(60, 3, dimension=32)
    clusters = clustering_of(config(embedding__model="my.onnx"), 32)(heard, SpeakerBounds())
    assert "no PLDA ships for the embedding model 'my.onnx'" in clusters.warnings[0]
    assert len(clusters.voices) == 3


def test_parts_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match=r"'vbx-windows' needs embedding\.rows 'windows'"):
        clustering_of(config(embedding__rows="chunks"), 192)
    with pytest.raises(ConfigError, match="takes 192 dimensions and the embedding model given makes 256"):
        clustering_of(config(), 256)
    with pytest.raises(ConfigError, match="not for 'mine'"):
        window_plda("mine")


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_a_plda_ships_for_the_default_model(calibration):
    plda = window_plda(PipelineConfig().embedding.model, calibration)
    assert (np.diff(plda.psi) <= 0).all() and plda.psi[-1] > 0 and np.isfinite(plda.projection).all()


def test_calibrations_are_of_different_speech_and_only_one_chooses_answers():
    model = PipelineConfig().embedding.model
    assert set(CALIBRATIONS) == set(config_calibrations) and PipelineConfig().clustering.calibration in CHOSEN
    assert not np.allclose(window_plda(model, "all").mu, window_plda(model, "permissive").mu)
    assert choice_of_answers(model, "all") is not None and choice_of_answers(model, "permissive") is None
    heard, _ = evidence(200, 3)
    for calibration in CALIBRATIONS:
        chosen = clustering_of(config(clustering__calibration=calibration), 192)
        found = chosen(heard, SpeakerBounds())
        assert found.labels.shape == (200,) and (found.count_confidence is not None) == (calibration in CHOSEN)
        assert found.count_confidence is None or 0 < found.count_confidence <= 1


def test_certainty_follows_the_margin_between_the_two_nearest_voices():
    voices = np.eye(3)
    rows = unit(np.array([[1, 0, 0], [1, 0.9, 0], [1, 1, 0], [0.2, 1, 0]])).astype(np.float32)
    sure = certainty(rows, np.zeros(4, int), voices)
    assert sure[0] > 0.99 and sure[2] == pytest.approx(1 / (1 + np.exp(-CERTAINTY_BIAS)), abs=1e-6) and sure[3] < 0.01
    assert (np.diff(sure) < 0).all()
    assert certainty(rows, np.zeros(4, int), voices[:1]).tolist() == [1, 1, 1, 1]
    assert certainty(rows[:0], np.zeros(0, int), voices).shape == (0,)
    assert certainty(rows, np.array([0, -1, 0, -1]), voices)[[1, 3]].tolist() == [0, 0]  # nobody


@pytest.mark.parametrize("num_rows, counts", [(30, 2), (200, 1)])
def test_of_local_speakers_a_tenth_is_a_cluster_however_many_one_takes(num_rows, counts):
    """As in pyannote.audio 3.1: where there are few, fewer than `min_cluster_size` do."""
    few = np.tile(np.eye(8)[0], (5, 1))
    many = np.tile(np.eye(8)[1], (num_rows - 5, 1))
    rows = np.concatenate([few, many]).astype(np.float32)
    owners = np.column_stack([np.arange(num_rows), np.zeros(num_rows, int)])
    heard = SimpleNamespace(embeddings=rows, owners=owners)
    chosen = config(embedding__rows="chunks", clustering__method="agglomerative", clustering__min_cluster_size=12)
    assert len(clustering_of(chosen, 8)(heard, SpeakerBounds()).voices) == counts


def test_rows_of_one_chunk_are_never_one_speaker():
    heard, _ = evidence(40, 2)
    heard.owners = np.stack([np.arange(40) // 2, np.arange(40) % 2], axis=1)  # two of each chunk, often one person
    chosen = config(clustering__method="agglomerative", embedding__rows="chunks")
    labels = clustering_of(chosen, 192)(heard, SpeakerBounds()).labels
    assert (labels[::2] != labels[1::2]).all()


ENDS = [("Fa", 0.0), ("Fa", 1e6), ("Fb", 0.01), ("Fb", 1e6), ("loop", 0.0), ("loop", 0.9999), ("centring", 0.0)]
ENDS += [("threshold", 0.0), ("threshold", 2.0), ("min_cluster_size", 1), ("min_cluster_size", 10**6)]


@pytest.mark.parametrize("name, value", ENDS)
def test_the_ends_of_the_ranges_of_vbx(name, value):
    heard, _ = evidence(60, 3)
    chosen = clustering_of(config(**{f"clustering__{name}": value}), 192)
    for asked in (None, 1, 5):
        clusters = chosen(heard, SpeakerBounds(asked or 1, asked))
        assert np.isfinite(clusters.voices).all() and (asked is None or len(clusters.voices) == asked)


def test_no_pull_at_all_would_divide_by_nothing():
    with pytest.raises(ConfigError, match=r"'clustering\.Fb' must be >= 0\.01, not 0"):
        config(clustering__Fb=0.0)
