"""`diarist convert`, and the words that users of the MLX port know."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest

from diarist.cli.main import main
from diarist.models import npz
from diarist.models.load import load_embedding


@pytest.fixture
def weights(tmp_path, monkeypatch, resnet_tensors):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.npz").write_bytes(npz.dumps(resnet_tensors, {}))
    return "own.npz"


def test_onnx(weights, capsys):
    assert main(["convert", weights, "--to", "onnx", "--dtype", "fp16", "--output", "out", "--licence", "MIT"]) == 0
    told = capsys.readouterr()
    assert told.out == "out/model.onnx\n"
    assert "resnet34 embedding, fp16" in told.err and "licence MIT" in told.err and "smallest cosine" in told.err
    assert load_embedding("out/model.onnx").spec.dimension == 256


def test_show(weights, capsys):
    assert main(["convert", weights, "--show"]) == 0
    lines = dict(line.split(" = ") for line in capsys.readouterr().out.splitlines())
    assert lines["architecture"] == "resnet34" and lines["dtype"] == "float32" and lines["window_type"] == "hamming"
    assert int(lines["num_parameters"]) > 400_000


def test_words_of_the_mlx_port(weights, capsys):
    pytest.importorskip("mlx.core")
    assert main(["convert", "--repo-id", f"./{weights}", "--output", "models/custom_mlx", "--dtype", "float16"]) == 0
    assert capsys.readouterr().out == "models/custom_mlx/weights.npz\n"
    assert main(["convert", "--pytorch-path", weights, "--mlx-path", "m", "--model-type", "embedding"]) == 0
    assert capsys.readouterr().out == "m/weights.npz\n"


def test_a_pipeline_in_one_go(tmp_path, monkeypatch, capsys, pyannet_tensors, resnet_tensors):
    monkeypatch.chdir(tmp_path)
    for kind, tensors in (("segmentation", pyannet_tensors), ("embedding", resnet_tensors)):
        (tmp_path / "pipe" / kind).mkdir(parents=True)
        (tmp_path / "pipe" / kind / "model.npz").write_bytes(npz.dumps(tensors, {}))
    assert main(["convert", "pipe", "--output", "x"]) == 1
    assert "holds 2 models" in capsys.readouterr().err
    assert main(["convert", "pipe", "--model-type", "full", "--output", "x"]) == 0
    assert capsys.readouterr().out.splitlines() == ["x/segmentation/model.onnx", "x/embedding/model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "one SOURCE is needed", 2),
        (["own.npz", "--repo-id", "x"], "one SOURCE is needed", 2),
        (["own.npz"], "say where to: --output DIR", 2),
        (["own.npz", "--to", "mlx", "--dtype", "int8", "-o", "x"], "int8 is for ONNX Runtime", 2),
        (["no-such-model", "-o", "x"], "unknown model 'no-such-model'", 2),
        (["gone.bin", "-o", "x"], "there is no model at", 3),
        (["text.bin", "-o", "x"], "get it again", 1),
        (["own.nemo", "-o", "x"], "which NeMo runs as it is", 2),
        (["hostile.bin", "-o", "x"], "which is refused", 1),
        (["cut.npz", "-o", "x"], "or it is cut off", 1),
        (["objects.npz", "-o", "x"], "no npz file of plain numbers", 1),
    ],
)
def test_what_cannot_be(weights, tmp_path, capsys, arguments, message, code):
    (tmp_path / "text.bin").write_text("no model at all\n" * 99)
    (tmp_path / "own.nemo").write_text("a tar archive")
    (tmp_path / "cut.npz").write_bytes((tmp_path / weights).read_bytes()[:-99])
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "hostile.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": _Runs()}, protocol=2))
    assert main(["convert", *arguments]) == code
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1 and not told.out
    assert not (tmp_path / "x").exists() and not (tmp_path / "ran").exists()


class _Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)
