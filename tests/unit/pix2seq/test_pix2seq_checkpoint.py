from __future__ import annotations

import dataclasses
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import safetensors.torch
import torch

from diarist.errors import DiaristError, ExtraError, WeightsError
from diarist.pix2seq import checkpoint
from diarist.pix2seq.config import AudioSpec, ModelConfig
from diarist.pix2seq.model import Pix2Seq

SMALL = ModelConfig(max_seconds=10.0, time_step=0.1, num_speakers=3, layers=1, d_model=16, heads=2, frequencies=4)


@pytest.fixture
def model() -> Pix2Seq:
    torch.manual_seed(0)
    return Pix2Seq(SMALL, AudioSpec(12, 0.1, 0.05))


@pytest.fixture
def path(tmp_path: Path, model: Pix2Seq) -> Path:
    path = tmp_path / "toy.safetensors"
    checkpoint.save(path, model, licence="MIT", hours_seen=1.5, step=7, notes={"data": "tones"})
    return path


def test_what_was_saved_comes_back(path: Path, model: Pix2Seq) -> None:
    found, facts = checkpoint.load(path)
    assert not found.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    assert (facts.model, facts.audio) == (SMALL, model.audio)
    assert (facts.licence, facts.hours_seen, facts.step, facts.notes) == ("MIT", 1.5, 7, {"data": "tones"})
    assert facts.vocabulary == model.vocabulary
    assert checkpoint.read_facts(path) == facts


def test_half_is_half_and_nearly_the_same(tmp_path: Path, path: Path, model: Pix2Seq) -> None:
    half = tmp_path / "half.safetensors"
    checkpoint.save(half, model, licence="MIT", hours_seen=1.5, half=True)
    assert half.stat().st_size < 0.7 * path.stat().st_size
    found, _ = checkpoint.load(half)
    for name, tensor in model.state_dict().items():
        assert found.state_dict()[name].dtype == torch.float32
        torch.testing.assert_close(found.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)


def changed(path: Path, change: Callable[[dict[str, str]], object]) -> Path:
    """The file with another header."""
    tensors = safetensors.torch.load_file(path)
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))["__metadata__"]
    change(header)
    path.write_bytes(safetensors.torch.save(tensors, header))
    return path


CHANGES = {
    "is not a Pix2Seq checkpoint": lambda h: h.update(format='"other"'),
    "is of version 2, this diarist reads 1": lambda h: h.update(version="2"),
    "counts its tokens in another way": lambda h: h.update(vocabulary='{"pad": 3}'),
    "unknown key 'layerz'; did you mean 'layers'": lambda h: h.update(model='{"layerz": 2}'),
    "is damaged: 'licence'": lambda h: h.pop("licence"),
    "is damaged: .*size mismatch": lambda h: h.update(audio='{"channels": 13, "step": 0.1}'),
    "is damaged: .*Missing key": lambda h: h.update(
        model=json.dumps({**json.loads(h["model"]), "layers": 2}),
    ),
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_header_that_says_something_else(path: Path, message: str) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        checkpoint.load(changed(path, CHANGES[message]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"hello, world" * 10, b"\xff" * 100, b"\x02" + bytes(7) + b"{}"])
def test_files_that_are_something_else(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(content)
    with pytest.raises(WeightsError, match="is not a Pix2Seq checkpoint of diarist"):
        checkpoint.load(other)


def test_a_file_of_other_tensors(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(3)}, other)
    with pytest.raises(WeightsError, match="is not a Pix2Seq checkpoint of diarist"):
        checkpoint.load(other)


def test_a_file_that_was_cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="is damaged"):
        checkpoint.load(path)


def test_weights_that_are_no_numbers(tmp_path: Path, model: Pix2Seq) -> None:
    with torch.no_grad():
        model.norm.weight[0] = torch.nan
    checkpoint.save(tmp_path / "nan.safetensors", model, licence="MIT", hours_seen=0)
    with pytest.raises(WeightsError, match="not all numbers"):
        checkpoint.load(tmp_path / "nan.safetensors")


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path, model: Pix2Seq) -> None:
    with pytest.raises(DiaristError, match="cannot write"):
        checkpoint.save(tmp_path / "no" / "such.safetensors", model, licence="MIT", hours_seen=0)
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"there is no checkpoint '.*gone\.safetensors'"):
        checkpoint.load(tmp_path / "gone.safetensors")
    monkeypatch.setattr(checkpoint, "MODELS", tmp_path)
    with pytest.raises(WeightsError, match=r"there is no Pix2Seq model 'framez'$"):
        checkpoint.find("framez")
    (tmp_path / "frames.safetensors").touch()
    assert checkpoint.find("frames") == tmp_path / "frames.safetensors"
    with pytest.raises(WeightsError, match="no Pix2Seq model 'framez'; did you mean 'frames'"):
        checkpoint.find("framez")


@pytest.mark.parametrize("package", ["torch", "safetensors.torch"])
def test_without_the_packages(path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[pix2seq\]'"):
        checkpoint.load(path)
    assert dataclasses.is_dataclass(checkpoint.read_facts(path))
