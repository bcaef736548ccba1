"""Files that can be read, and whose network is of no use: they are refused before anything is made of them."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import UsageError, WeightsError
from diarist.models import npz, safetensors
from diarist.models.checkpoint import read
from diarist.models.export import convert
from diarist.models.load import load_embedding, load_segmentation


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_weights_that_overflow(tmp_path, pyannet_tensors, campplus_tensors, backend):
    pytest.importorskip("torch")
    path = tmp_path / "huge.npz"
    for loader, tensors in ((load_segmentation, pyannet_tensors), (load_embedding, campplus_tensors)):
        path.write_bytes(npz.dumps({name: tensor * np.float32(1e30) for name, tensor in tensors.items()}, {}))
        with pytest.raises(WeightsError, match="not finite"):
            loader(path, backend=backend, precision="float32")
        with pytest.raises(WeightsError, match="not finite"):
            convert(str(path), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [1, 100])
def test_an_end_that_is_cut_off(tmp_path, pyannet_tensors, cut):
    path = tmp_path / "weights.npz"
    raw = npz.dumps(pyannet_tensors, {"licence": "MIT", "source": "x" * 200})
    path.write_bytes(raw)
    assert read(path).said["licence"] == "MIT"
    path.write_bytes(raw[:-cut])
    with pytest.raises(WeightsError, match="it ends early"):
        read(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_frames", "12"),
        ("receptive_field_shift", "1"),
        ("receptive_field_size", "x"),
        ("architecture", "campplus"),
        ("kind", "embedding"),
    ],
)
def test_what_a_file_of_ours_says(tmp_path, pyannet_tensors, key, value):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.dumps(pyannet_tensors, {key: value}, frozenset()))
    read(path)  # of others: not their words
    path.write_bytes(safetensors.dumps(pyannet_tensors, {key: value, "diarist_format": "1"}, frozenset()))
    with pytest.raises(WeightsError, match=f"says {key} '{value}', and its tensors show"):
        read(path)


def test_mlx_has_one_device(tmp_path, pyannet_tensors):
    pytest.importorskip("mlx.core")
    path = tmp_path / "weights.npz"
    path.write_bytes(npz.dumps(pyannet_tensors, {}))
    with pytest.raises(UsageError, match="MLX has no device 'cuda' here; it offers: auto, "):
        load_segmentation(path, backend="mlx", device="cuda")
