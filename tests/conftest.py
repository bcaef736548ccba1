"""What all tests share: the same answer each time, and networks with random weights, of the true shapes, so that what
needs no trained ones is tested without a download.

Examples of Hypothesis are the same in every run; `--hypothesis-profile=explore` looks for new ones. A slow or busy
machine fails no test.
"""

from __future__ import annotations

import contextlib
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("same")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, whose children would ignore Ctrl-C
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _norm(tensors, rng, name, channels, *, affine=True):
    if affine:
        tensors[f"{name}.weight"] = rng.uniform(0.5, 1.5, channels)
        tensors[f"{name}.bias"] = rng.normal(0, 0.3, channels)
    tensors[f"{name}.running_mean"] = rng.normal(0, 0.3, channels)
    tensors[f"{name}.running_var"] = rng.uniform(0.5, 1.5, channels)


def _weight(tensors, rng, name, *shape, bias=False):
    tensors[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    if bias:
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, shape[0])


@pytest.fixture(scope="session")
def campplus_tensors():
    """A CAM++ checkpoint, random."""
    rng, t = np.random.default_rng(0), {}
    for name, channels in (("1", 1), ("2", 32)):
        _weight(t, rng, f"head.conv{name}", 32, channels, 3, 3)
        _norm(t, rng, f"head.bn{name}", 32)
    for block in ("layer1.0", "layer1.1", "layer2.0", "layer2.1"):
        for number in (1, 2):
            _weight(t, rng, f"head.{block}.conv{number}", 32, 32, 3, 3)
            _norm(t, rng, f"head.{block}.bn{number}", 32)
        if block.endswith("0"):
            _weight(t, rng, f"head.{block}.shortcut.0", 32, 32, 1, 1)
            _norm(t, rng, f"head.{block}.shortcut.1", 32)
    _weight(t, rng, "xvector.tdnn.linear", 128, 320, 5)
    _norm(t, rng, "xvector.tdnn.nonlinear.batchnorm", 128)
    channels = 128
    for number, num_layers in enumerate((12, 24, 16), start=1):
        for layer in range(1, num_layers + 1):
            name = f"xvector.block{number}.tdnnd{layer}"
            _norm(t, rng, f"{name}.nonlinear1.batchnorm", channels)
            _weight(t, rng, f"{name}.linear1", 128, channels, 1)
            _norm(t, rng, f"{name}.nonlinear2.batchnorm", 128)
            _weight(t, rng, f"{name}.cam_layer.linear_local", 32, 128, 3)
            _weight(t, rng, f"{name}.cam_layer.linear1", 64, 128, 1, bias=True)
            _weight(t, rng, f"{name}.cam_layer.linear2", 32, 64, 1, bias=True)
            channels += 32
        _norm(t, rng, f"xvector.transit{number}.nonlinear.batchnorm", channels)
        _weight(t, rng, f"xvector.transit{number}.linear", channels // 2, channels, 1)
        channels //= 2
    _norm(t, rng, "xvector.out_nonlinear.batchnorm", 512)
    _weight(t, rng, "xvector.dense.linear", 192, 1024, 1)
    _norm(t, rng, "xvector.dense.nonlinear.batchnorm", 192, affine=False)
    return {name: tensor.astype(np.float32) for name, tensor in t.items()}


@pytest.fixture(scope="session")
def pyannet_tensors():
    """A segmentation-3.0 checkpoint, random."""
    rng, t = np.random.default_rng(0), {}
    filters = "sincnet.conv1d.0.filterbank"
    edges = 700 * (np.exp(np.linspace(np.log1p(30 / 700), np.log1p(7900 / 700), 41)) - 1)
    t[f"{filters}.low_hz_"], t[f"{filters}.band_hz_"] = edges[:-1, None], np.diff(edges)[:, None]
    t[f"{filters}.n_"] = 2 * np.pi * np.arange(-125, 0.0)[None] / 16_000
    t[f"{filters}.window_"] = 0.54 - 0.46 * np.cos(2 * np.pi * np.linspace(0, 124.5, 125) / 251)
    t["sincnet.wav_norm1d.weight"], t["sincnet.wav_norm1d.bias"] = np.array([0.01]), np.array([0.045])
    for number, channels in ((0, 80), (1, 60), (2, 60)):
        t[f"sincnet.norm1d.{number}.weight"] = rng.uniform(0.5, 1.5, channels)
        t[f"sincnet.norm1d.{number}.bias"] = rng.normal(0, 0.3, channels)
    _weight(t, rng, "sincnet.conv1d.1", 60, 80, 5, bias=True)
    _weight(t, rng, "sincnet.conv1d.2", 60, 60, 5, bias=True)
    for layer in range(4):
        for suffix in (f"l{layer}", f"l{layer}_reverse"):
            for kind, width in (("ih", 256 if layer else 60), ("hh", 128)):
                t[f"lstm.weight_{kind}_{suffix}"] = rng.uniform(-0.15, 0.15, (512, width))
                t[f"lstm.bias_{kind}_{suffix}"] = rng.uniform(-0.15, 0.15, 512)
    _weight(t, rng, "linear.0", 128, 256, bias=True)
    _weight(t, rng, "linear.1", 128, 128, bias=True)
    _weight(t, rng, "classifier", 7, 128, bias=True)
    return {name: tensor.astype(np.float32) for name, tensor in t.items()}


@pytest.fixture(scope="session")
def resnet_tensors():
    """A ResNet34 checkpoint of WeSpeaker, random, and a quarter as wide: it runs sooner."""
    rng, t, width = np.random.default_rng(0), {}, 8
    _weight(t, rng, "conv1", width, 1, 3, 3)
    _norm(t, rng, "bn1", width)
    given = width
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        wide = width * 2**stage
        for number in range(num_blocks):
            name = f"layer{stage + 1}.{number}"
            for conv, channels in ((1, given), (2, wide)):
                _weight(t, rng, f"{name}.conv{conv}", wide, channels, 3, 3)
                _norm(t, rng, f"{name}.bn{conv}", wide)
            t[f"{name}.bn2.weight"] *= 0.2  # as trained ones are: what is added up does not grow out of hand
            if given != wide:
                _weight(t, rng, f"{name}.shortcut.0", wide, given, 1, 1)
                _norm(t, rng, f"{name}.shortcut.1", wide)
            given = wide
    _weight(t, rng, "seg_1", 256, 2 * given * 10, bias=True)
    return {name: tensor.astype(np.float32) for name, tensor in t.items()}


@pytest.fixture(scope="session")
def old_pyannet_tensors(pyannet_tensors):
    """A checkpoint of pyannote/segmentation, random: three speakers, each a class of its own."""
    rng, t = np.random.default_rng(1), dict(pyannet_tensors)
    _weight(t, rng, "classifier", 3, 128, bias=True)
    return {name: tensor.astype(np.float32) for name, tensor in t.items()}
