"""What tells one run of a benchmark from another: fingerprints of systems."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from diarist.core.config import replace_from
from diarist.evaluation import systems
from diarist.evaluation.live import Live
from diarist.evaluation.systems import Offline, Whole, fingerprint_of
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.config import PipelineConfig
from diarist.pix2seq.config import Pix2SeqConfig


def pix2seq(checkpoint: str | Path) -> Whole:
    return Whole("own", "pix2seq", replace_from(Pix2SeqConfig(), {"checkpoint": str(checkpoint)}))


def test_another_network_of_the_same_file_name_is_another_system(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one network")
    before = fingerprint_of(pix2seq(file))
    os.utime(file, ns=(1, 1))
    assert fingerprint_of(pix2seq(file)) == before  # as old as it likes to be
    file.write_bytes(b"two network")  # as long as the other
    assert fingerprint_of(pix2seq(file)) != before


def test_a_network_that_ships_is_its_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "MODELS", tmp_path)
    prints = {fingerprint_of(pix2seq("mine"))}
    for said in (b"1", b"2"):
        (tmp_path / "mine.safetensors").write_bytes(said)
        prints.add(fingerprint_of(pix2seq("mine")))
    assert len(prints) == 3


@pytest.mark.parametrize("kind", ["segmentation", "embedding"])
def test_so_is_a_file_of_the_pipelines(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "own.onnx"
    config = replace_from(PipelineConfig(), {f"{kind}.model": str(file)})
    prints = set()
    for said in (b"1", b"2"):
        file.write_bytes(said)
        prints.add(fingerprint_of(Offline("own", config)))
        assert Offline("own", config).settings()["models"].keys() == {kind}
    assert len(prints) == 2


def test_what_stands_in_for_a_model_is_named() -> None:
    toy = {"segmentation": ToySegmentation(), "embedding": ToyEmbedding()}
    told = {"segmentation": "ToySegmentation", "embedding": "ToyEmbedding"}
    assert Offline("toy", **toy).settings()["models"] == told
    assert Live("toy", **toy).settings()["models"] == told
    assert "models" not in Offline("plain").settings()
