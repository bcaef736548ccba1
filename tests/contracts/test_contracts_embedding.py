"""What every `EmbeddingModel` owes its callers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist.core.protocols import EmbeddingModel
from diarist.errors import UsageError
from diarist.models.native import NativeCamPlusPlus, NativeResNet34
from diarist.models.nemo import NemoEmbedding
from diarist.models.toy import conversation
from diarist.stages.fbank import fbank, remove_mean

NUM_FBANK = 400


@pytest.fixture(scope="module")
def features(embedding):
    samples = conversation([(0, 2.5, "a"), (2, 5, "b"), (6, 8.5, "c")], 8.5)
    whole = fbank(samples, window="raw" if embedding.spec.window == "raw" else "povey")
    return np.stack([remove_mean(whole[first : first + NUM_FBANK]) for first in (0, 200, 400)])


@pytest.fixture(scope="module")
def maps(embedding, features):
    return embedding.frames(features)


@pytest.fixture(scope="module")
def weights(embedding, maps):
    weights = np.zeros((len(maps), 3, maps.shape[1]), np.float32)
    weights[:, 0, : maps.shape[1] // 2] = 1
    weights[:, 1, maps.shape[1] // 4 :] = 1
    weights[:, 2, : embedding.spec.min_frames - 1] = 1  # too short
    return weights


@pytest.fixture(scope="module")
def embeddings(embedding, maps, weights):
    return embedding.pool(maps, weights)


def test_is_an_embedding_model(embedding):
    assert isinstance(embedding, EmbeddingModel)


def test_shapes_and_dtypes(embedding, features, maps, embeddings):
    assert maps.shape[:2] == (len(features), NUM_FBANK // embedding.spec.map_stride)
    assert embeddings.shape == (len(features), 3, embedding.spec.dimension)
    assert maps.dtype == embeddings.dtype == np.float32
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("num_fbank", [1, 2, 3, 199, 200, 201])
def test_any_length(embedding, features, num_fbank):
    maps = embedding.frames(features[:1, :num_fbank])
    assert maps.shape[:2] == (1, -(-num_fbank // embedding.spec.map_stride))
    assert np.isfinite(maps).all()


def test_too_short_is_nan_and_the_rest_is_not(embeddings):
    assert np.isnan(embeddings[:, 2]).all()
    assert np.isfinite(embeddings[:, :2]).all()


def test_shortest_is_a_number(embedding, maps):
    weights = np.zeros((1, 1, maps.shape[1]), np.float32)
    weights[..., : embedding.spec.min_frames] = 1
    assert np.isfinite(embedding.pool(maps[:1], weights)).all()


def test_nothing_in_nothing_out(embedding, maps):
    num_mels, dimension = embedding.spec.num_mels, embedding.spec.dimension
    assert embedding.frames(np.zeros((0, NUM_FBANK, num_mels), np.float32)).shape[0] == 0
    assert embedding.frames(np.zeros((2, 0, num_mels), np.float32)).shape[:2] == (2, 0)
    assert embedding.pool(maps[:0], np.zeros((0, 3, maps.shape[1]), np.float32)).shape == (0, 3, dimension)
    assert embedding.pool(maps, np.zeros((len(maps), 0, maps.shape[1]), np.float32)).shape == (len(maps), 0, dimension)
    assert np.isnan(embedding.pool(maps[:, :0], np.zeros((len(maps), 1, 0), np.float32))).all()


@pytest.mark.parametrize("level", [0.0, -15.9, 20.0])
def test_flat_features_give_numbers(embedding, level):
    maps = embedding.frames(np.full((1, NUM_FBANK, embedding.spec.num_mels), level, np.float32))
    assert np.isfinite(embedding.pool(maps, np.ones((1, 1, maps.shape[1]), np.float32))).all()


@pytest.mark.parametrize("shape", [(400, 80), (1, 400, 79), (1, 1, 400, 80)])
def test_other_features_are_refused(embedding, shape):
    with pytest.raises(UsageError, match=rf"takes \(batch, num_fbank, {embedding.spec.num_mels}\) features, not"):
        embedding.frames(np.zeros(shape, np.float32))


@pytest.mark.parametrize("cut", [np.s_[:1], np.s_[:, :, 1:], np.s_[0]])
def test_weights_that_do_not_fit_are_refused(embedding, maps, weights, cut):
    with pytest.raises(UsageError, match="do not fit maps"):
        embedding.pool(maps, weights[cut])


def test_same_bytes_from_threads_at_once(embedding, features, maps, weights, embeddings):
    def run(_):
        again = embedding.frames(features)
        return again, embedding.pool(again, weights)

    with ThreadPoolExecutor(4) as pool:
        for again, pooled in pool.map(run, range(4)):
            np.testing.assert_array_equal(again, maps)
            np.testing.assert_array_equal(pooled, embeddings)


def test_rows_are_independent(embedding, features, maps, weights, embeddings):
    for row in range(len(features)):
        alone = embedding.frames(features[row : row + 1])
        rounding = (
            1e-3 if isinstance(embedding, (NativeCamPlusPlus, NativeResNet34, NemoEmbedding)) else 0
        )  # torch adds up as the batch decides
        np.testing.assert_allclose(alone[0], maps[row], rtol=0, atol=rounding)
        pooled = embedding.pool(alone, weights[row : row + 1])[0]
        np.testing.assert_allclose(pooled, embeddings[row], rtol=1e-5, atol=10 * rounding)


def test_speakers_are_independent(embedding, maps, weights, embeddings):
    for local in range(2):
        alone = embedding.pool(maps, weights[:, local : local + 1])
        np.testing.assert_allclose(alone[:, 0], embeddings[:, local], rtol=1e-3, atol=1e-3)


def test_weights_choose_maps(embedding, maps):
    chosen = np.random.default_rng(0).random(maps.shape[1]) < 0.5
    masked = embedding.pool(maps[:1], chosen[None, None].astype(np.float32))
    cut = embedding.pool(maps[:1, chosen], np.ones((1, 1, chosen.sum()), np.float32))
    np.testing.assert_allclose(masked, cut, rtol=1e-3, atol=1e-3)


def test_inputs_are_left_alone(embedding, features, maps, weights):
    before = [array.copy() for array in (features, maps, weights)]
    embedding.pool(embedding.frames(features), weights)
    for array, copy in zip((features, maps, weights), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_deterministic(embedding, features, maps, weights, embeddings):
    np.testing.assert_array_equal(embedding.frames(features), maps)
    np.testing.assert_array_equal(embedding.pool(maps, weights), embeddings)


def test_other_types_are_taken_as_numbers(embedding, features, weights):
    for other in (features.astype(np.float64), np.rint(features).astype(np.int16)):
        single = other.astype(np.float32)
        np.testing.assert_array_equal(embedding.frames(other), embedding.frames(single))
        one, two = (embedding.pool(embedding.frames(x), weights) for x in (other, single))
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
        assert one.dtype == np.float32


def test_what_is_no_number_stays_in_its_own_row(embedding, features, weights, embeddings):
    spoilt = features.copy()
    spoilt[0, 100] = np.nan
    found = embedding.pool(embedding.frames(spoilt), weights)
    assert found.shape == embeddings.shape
    np.testing.assert_allclose(found[1:], embeddings[1:], rtol=1e-5, atol=1e-3)
