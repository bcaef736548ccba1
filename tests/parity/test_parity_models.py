"""The ONNX graphs against torch, and eight bits against float32."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from diarist.models import mlx, torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.fetch import fetch
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.onnx import OnnxSegmentation
from diarist.models.pyannet import PyanNet
from diarist.models.torchfile import read_state_dict
from diarist.models.verify import compare, compare_segmentation
from diarist.stages.fbank import fbank, remove_mean

PARITY = 1e-3


@pytest.fixture(scope="session")
def networks():
    pytest.importorskip("torch")
    import torch_networks

    return torch_networks


@pytest.fixture(scope="session")
def real_campplus():
    return read_state_dict(fetch("campplus-zh-en"))


@pytest.fixture(scope="session")
def speech():
    """The 30 s conversation, `(num_samples,)`."""
    soundfile = pytest.importorskip("soundfile")
    samples, _ = soundfile.read(fetch("sample-wav"), dtype="float32")
    return samples


def in_torch(function, tensors, *arrays):
    """Call with tensors of torch, get an array of numpy."""
    import torch

    with torch.inference_mode():
        held = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        return function(held, *(torch.from_numpy(np.array(a)) for a in arrays)).numpy()


def check_campplus(networks, tensors, features):
    model = CamPlusPlus(tensors)
    maps = model.frames(features)
    theirs = in_torch(networks.campplus, tensors, features)
    scale = np.abs(theirs).max()
    assert compare(maps / scale, theirs.transpose(0, 2, 1) / scale).largest < 1e-5
    chosen = np.random.default_rng(0).random(maps.shape[1]) < 0.3
    ours = model.pool(maps, chosen[None, None].astype(np.float32))[:, 0]
    reference = in_torch(networks.campplus_embedding, tensors, theirs[:, :, chosen])
    assert compare(ours / np.abs(reference).max(), reference / np.abs(reference).max()).largest < PARITY


def test_campplus_random_weights(networks, campplus_tensors):
    check_campplus(networks, campplus_tensors, np.random.default_rng(1).normal(0, 3, (1, 400, 80)).astype(np.float32))


def test_pyannet_random_weights(networks, pyannet_tensors):
    sound = np.random.default_rng(1).normal(0.02, 0.1, (2, 160_000)).astype(np.float32)
    model = PyanNet(pyannet_tensors)
    assert compare(model(sound), in_torch(networks.pyannet, pyannet_tensors, sound)).largest < PARITY


BACKENDS = {"torch": torch, "mlx": mlx}


@pytest.mark.parametrize("backend", BACKENDS)
def test_segmentation_of_backend_random_weights(backend, pyannet_tensors):
    pytest.importorskip(backend)
    sound = np.random.default_rng(1).normal(0.02, 0.1, (2, 32_000)).astype(np.float32)
    ours = BACKENDS[backend].segmentation(pyannet_tensors).resized(32_000)
    assert compare(ours(sound), PyanNet(pyannet_tensors).resized(32_000)(sound)).largest < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_embedding_of_backend_random_weights(backend, campplus_tensors):
    pytest.importorskip(backend)
    features = np.random.default_rng(1).normal(0, 3, (2, 233, 80)).astype(np.float32)  # no multiple of 200
    maps = CamPlusPlus(campplus_tensors).frames(features)
    theirs = BACKENDS[backend].embedding(campplus_tensors).frames(features)
    scale = np.abs(maps).max()
    assert compare(theirs / scale, maps / scale).largest < 1e-5


@pytest.mark.weights
def test_campplus(networks, real_campplus, speech):
    check_campplus(networks, real_campplus, remove_mean(fbank(speech[:160_240]))[None])


@pytest.mark.weights
def test_pyannet(networks, speech):
    tensors = read_state_dict(fetch("segmentation-3.0"))
    sound = sliding_window_view(speech, 160_000)[::39_960]
    assert compare(PyanNet(tensors)(sound), in_torch(networks.pyannet, tensors, sound)).largest < PARITY


@pytest.mark.weights
def test_pyannet_is_the_onnx_file(speech):
    sound = sliding_window_view(speech, 160_000)[::39_960]
    ours, file = load_segmentation(precision="float32"), OnnxSegmentation(fetch("segmentation-3.0-onnx"))
    assert ours.spec == file.spec
    assert compare_segmentation(ours, file, sound).largest < PARITY


@pytest.mark.weights
def test_segmentation_in_eight_bits(speech):
    sound = sliding_window_view(speech, 160_000)[::39_960]
    difference = compare_segmentation(load_segmentation(), load_segmentation(precision="float32"), sound)
    assert difference.agreement > 0.98


@pytest.mark.weights
def test_embedding_in_eight_bits(speech):
    ours, theirs = load_embedding(), load_embedding(precision="float32")
    whole = fbank(speech)
    features = np.stack([remove_mean(whole[first : first + 1000]) for first in (0, 999, 1998)])
    windows = np.kron(np.eye(6), np.ones(75)).astype(np.float32)  # 1.5 s each
    weights = np.repeat(np.pad(windows, ((0, 0), (0, 50)))[None], len(features), axis=0)
    pooled = [model.pool(model.frames(features), weights) for model in (ours, theirs)]
    cosines = [compare(a[None], b[None]).cosine for a, b in zip(*(p.reshape(-1, 192) for p in pooled), strict=True)]
    assert np.mean(cosines) > 0.98
    assert np.min(cosines) > 0.9
