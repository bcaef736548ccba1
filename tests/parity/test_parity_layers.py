"""The networks in torch and in MLX, layer by layer and as a whole: the same names, the same numbers.

Held: each layer within 1e-4 on the same input, correlation above .9999 of whole networks on real speech, a cosine above
.999 in half precision. ResNet34 is held against pyannote's own formulas as well, weights of the pooling included.
"""

from __future__ import annotations

import numpy as np
import pytest

from diarist.models import mlx, torch
from diarist.models.campplus import CamPlusPlus
from diarist.models.checkpoint import read
from diarist.models.fetch import fetch
from diarist.models.pyannet import PyanNet
from diarist.models.resnet import ResNet34
from diarist.models.verify import compare
from diarist.stages.fbank import fbank, remove_mean

PER_LAYER = 1e-4
CORRELATION = 0.9999
HALF = 0.999


@pytest.fixture(scope="module")
def both():
    """`(torch, mlx.core)`, where both are installed."""
    return pytest.importorskip("torch"), pytest.importorskip("mlx.core")


@pytest.fixture(scope="module")
def speech():
    """The 30 s conversation, `(num_samples,)`."""
    soundfile = pytest.importorskip("soundfile")
    samples, _ = soundfile.read(fetch("sample-wav"), dtype="float32")
    return samples


def in_torch(tensors):
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}


def networks(kind, tensors):
    """The torch and the MLX network of the same class name, with the same tensors."""
    import importlib

    theirs, ours = (importlib.import_module(f"diarist.models.nets.{library}.{kind}") for library in ("torch", "mlx"))
    name = {"pyannet": "PyanNet", "campplus": "CamPlusPlus", "resnet": "ResNet34"}[kind]
    reference, port = getattr(theirs, name), getattr(ours, name)
    if kind == "campplus":
        network = reference()
        network.load_state_dict(in_torch(tensors), strict=False)
    else:
        network = reference.like(in_torch(tensors))
    return network.eval(), port.like(tensors)


def recorded(network, run):
    """Inputs and outputs of every layer that has weights, by name."""
    import torch

    seen, hooks = {}, []

    def keep(name):
        def hook(_, given, made):
            seen[name] = given[0], made  # nothing is returned: that would take the output's place

        return hook

    for name, module in network.named_modules():
        if name.endswith("filterbank"):  # the convolution around it is the layer
            name = name.rpartition(".")[0]
            hooks.append(network.get_submodule(name).register_forward_hook(keep(name)))
        elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
            hooks.append(module.register_forward_hook(keep(name)))
    with torch.inference_mode():
        run(network)
    for hook in hooks:
        hook.remove()
    return {n: (x.numpy(), (y[0] if isinstance(y, tuple) else y).numpy()) for n, (x, y) in seen.items()}


def found(port, name):
    """The layer of that name in MLX, whose sequences are lists."""
    for part in name.split("."):
        port = port[int(part)] if part.isdigit() else port[part] if part in port else getattr(port, part)
    return port


def check_layers(port, layers, least):
    import mlx.core as mx
    from mlx.utils import tree_flatten

    assert len(layers) >= least
    for name, (given, expected) in layers.items():
        layer = found(port, name)
        last = name.startswith(("lstm", "linear", "classifier", "seg_1"))  # channels are last in torch too
        x = given if last else np.moveaxis(given, 1, -1)
        y = np.array(layer(mx.array(x)))
        y = y if last else np.moveaxis(y, -1, 1)
        # what rounding does grows with the values: held in units of the largest, where that is above one
        assert np.abs(y - expected).max() <= PER_LAYER * max(1.0, np.abs(expected).max()), name
    names = {name for name, _ in tree_flatten(port.parameters())}
    return names


def test_pyannet_layer_by_layer(both, pyannet_tensors):
    reference, port = networks("pyannet", pyannet_tensors)
    sound = np.random.default_rng(1).normal(0.02, 0.1, (1, 16_000)).astype(np.float32)
    layers = recorded(reference, lambda network: network(both[0].from_numpy(sound)))
    assert check_layers(port, layers, least=11) == set(reference.state_dict())


def test_campplus_layer_by_layer(both, campplus_tensors):
    reference, port = networks("campplus", campplus_tensors)
    features = np.random.default_rng(1).normal(0, 3, (1, 200, 80)).astype(np.float32)

    def run(network):
        maps = network.frames(both[0].from_numpy(features))
        network(both[0].cat([maps.mean(dim=1), maps.std(dim=1)], dim=1))

    names = check_layers(port, recorded(reference, run), least=300)
    assert names == {name for name in reference.state_dict() if not name.endswith("num_batches_tracked")}


def test_resnet34_layer_by_layer(both, resnet_tensors):
    reference, port = networks("resnet", resnet_tensors)
    features = np.random.default_rng(1).normal(0, 3, (1, 40, 80)).astype(np.float32)
    layers = recorded(reference, lambda network: network(both[0].from_numpy(features)))
    names = check_layers(port, layers, least=70)
    assert names == {name for name in reference.state_dict() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("backend", ["onnx", "torch", "mlx"])
def test_resnet34_is_pyannotes(both, backend, resnet_tensors):
    """Maps once, then any weights: what pyannote computes with the weights in its pooling."""
    import torch_networks

    build = {"onnx": ResNet34, "torch": lambda t: torch.resnet34(t, "cpu"), "mlx": mlx.resnet34}
    model = build[backend](resnet_tensors)
    features = np.random.default_rng(2).normal(0, 3, (2, 61, 80)).astype(np.float32)
    weights = np.random.default_rng(3).random((2, 3, 8)).astype(np.float32)
    t, x = in_torch(resnet_tensors), both[0].from_numpy(features)
    maps = model.frames(features)
    assert maps.shape == (2, 8, 640)
    alike = model.pool(maps, np.ones((2, 1, 8), np.float32))[:, 0]
    assert compare(alike, torch_networks.resnet34(t, x).numpy()).largest < PER_LAYER
    pooled = model.pool(maps, weights)
    for local in range(3):
        theirs = torch_networks.resnet34(t, x, both[0].from_numpy(weights[:, local])).numpy()
        assert compare(pooled[:, local], theirs).largest < PER_LAYER


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_the_older_segmentation(both, backend, old_pyannet_tensors):
    """Three classes that are speakers: probabilities, of chunks of five seconds."""
    sound = np.random.default_rng(1).normal(0.02, 0.1, (2, 80_000)).astype(np.float32)
    reference = PyanNet(old_pyannet_tensors)
    build = {"torch": lambda t: torch.segmentation(t, "cpu"), "mlx": mlx.segmentation}
    model = build[backend](old_pyannet_tensors)
    assert model.spec == reference.spec and model.spec.chunk == 80_000 and model.spec.max_simultaneous is None
    scores = model(sound)
    assert scores.shape == (2, 293, 3) and 0 < scores.min() and scores.max() < 1
    assert compare(scores, reference(sound)).largest < PER_LAYER


@pytest.mark.parametrize("backend", ["torch", "mlx"])
def test_other_sizes(both, backend, pyannet_tensors):
    """Two layers of forty units in one direction, one dense layer, four speakers at most two at once."""
    rng, t = np.random.default_rng(4), {n: v for n, v in pyannet_tensors.items() if n.startswith("sincnet")}
    for layer in range(2):
        for kind, width in (("ih", 40 if layer else 60), ("hh", 40)):
            t[f"lstm.weight_{kind}_l{layer}"] = rng.uniform(-0.3, 0.3, (160, width)).astype(np.float32)
            t[f"lstm.bias_{kind}_l{layer}"] = rng.uniform(-0.3, 0.3, 160).astype(np.float32)
    for name, shape in (("linear.0", (24, 40)), ("classifier", (11, 24))):
        t[f"{name}.weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        t[f"{name}.bias"] = rng.normal(0, 0.3, shape[0]).astype(np.float32)
    build = {"torch": lambda t: torch.segmentation(t, "cpu"), "mlx": mlx.segmentation}
    sound = rng.normal(0, 0.1, (1, 32_000)).astype(np.float32)
    ours, theirs = build[backend](t).resized(32_000), PyanNet(t).resized(32_000)
    assert (ours.spec.num_local, ours.spec.max_simultaneous) == (4, 2)
    assert compare(ours(sound), theirs(sound)).largest < PER_LAYER
    assert np.isfinite(PyanNet(t, int8=True).resized(32_000)(sound)).all()


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


@pytest.mark.weights
@pytest.mark.parametrize("library", ["torch", "mlx"])
def test_segmentation_on_real_speech(both, library, speech):
    tensors = read(fetch("segmentation-3.0")).tensors
    chunk = speech[160_000:320_000][None]
    build = {"torch": lambda t: torch.segmentation(t, "cpu"), "mlx": mlx.segmentation}
    assert correlation(build[library](tensors)(chunk), PyanNet(tensors)(chunk)) > CORRELATION


@pytest.mark.weights
def test_resnet34_on_real_speech(both, speech, resnet_tensors):
    features = remove_mean(fbank(speech[160_000:176_000], window="hamming", scale=32768.0))[None]
    weights = np.ones((1, 1, -(-features.shape[1] // 8)), np.float32)
    embeddings = [
        model.pool(model.frames(features), weights)
        for model in (ResNet34(resnet_tensors), torch.resnet34(resnet_tensors, "cpu"), mlx.resnet34(resnet_tensors))
    ]
    assert correlation(embeddings[0], embeddings[1]) > CORRELATION
    assert correlation(embeddings[0], embeddings[2]) > CORRELATION


@pytest.mark.weights
def test_half_precision_on_real_speech(both, speech, resnet_tensors):
    """Weights and sums in float16, in MLX."""
    from diarist.models.nets.mlx.pyannet import PyanNet as MlxPyanNet
    from diarist.models.nets.mlx.resnet import ResNet34 as MlxResNet34

    mx, tensors = both[1], read(fetch("segmentation-3.0")).tensors
    chunk = speech[160_000:240_000][None]
    half = np.array(MlxPyanNet.like(tensors, mx.float16)(mx.array(chunk).astype(mx.float16)))
    assert compare(half, PyanNet(tensors).resized(80_000)(chunk)).cosine > HALF
    features = remove_mean(fbank(speech[160_000:168_000], window="hamming", scale=32768.0))[None]
    network = MlxResNet34.like(resnet_tensors, mx.float16)
    half = np.array(network(mx.array(features).astype(mx.float16)).astype(mx.float32))
    model = ResNet34(resnet_tensors)
    whole = model.pool(model.frames(features), np.ones((1, 1, -(-features.shape[1] // 8)), np.float32))[:, 0]
    assert compare(half, whole).cosine > HALF


@pytest.mark.weights
def test_campplus_on_real_speech(both, speech):
    """Trained weights; float32 in torch and MLX, and half precision in MLX."""
    from diarist.models.nets.mlx.campplus import CamPlusPlus as MlxCamPlusPlus

    mx, tensors = both[1], read(fetch("campplus-zh-en")).tensors
    features = remove_mean(fbank(speech[160_000:192_240]))[None]
    reference = CamPlusPlus(tensors)
    maps = reference.frames(features)
    weights = np.ones((1, 1, maps.shape[1]), np.float32)
    embedding = reference.pool(maps, weights)
    for model in (torch.embedding(tensors, "cpu"), mlx.embedding(tensors)):
        ours = model.frames(features)
        assert correlation(ours, maps) > CORRELATION
        assert compare(model.pool(ours, weights), embedding).cosine > CORRELATION
    network = MlxCamPlusPlus.like(tensors, mx.float16)
    half = np.array(network.frames(mx.array(features).astype(mx.float16)).astype(mx.float32))
    assert compare(reference.pool(half, weights), embedding).cosine > HALF
