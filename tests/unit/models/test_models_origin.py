"""A copy of the catalogue's weights is known for what it is, and its voices are compared as those of its source."""

from __future__ import annotations

import dataclasses

import pytest

from diarist import Diarizer
from diarist.core.config import replace_from
from diarist.core.digest import sha256
from diarist.errors import ConfigError
from diarist.models import npz
from diarist.models.catalog import CATALOG
from diarist.models.export import convert
from diarist.models.fetch import fetch
from diarist.models.origin import origin
from diarist.pipelines.cluster import clustering_of
from diarist.pipelines.config import PipelineConfig

NAME = "campplus-zh-en"


@pytest.fixture
def catalogued(tmp_path, monkeypatch, campplus_tensors):
    """A file that is what the catalogue has under `NAME`."""
    path = tmp_path / "source.npz"
    path.write_bytes(npz.dumps(campplus_tensors, {}))
    monkeypatch.setitem(CATALOG, NAME, dataclasses.replace(CATALOG[NAME], sha256=sha256(path)))
    return path


def test_names_and_what_is_not_there_are_as_they_are(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    for name in (NAME, "titanet_large", "org/name", "gone.onnx", str(tmp_path / "text.onnx"), str(tmp_path)):
        assert origin(name) == name


def test_the_file_itself_and_copies_of_it(catalogued, tmp_path):
    assert origin(catalogued) == NAME
    for to in ("mlx", "onnx"):
        written = convert(str(catalogued), to=to, dtype="fp16", output=tmp_path / to).path
        assert origin(written) == origin(written.parent) == NAME


def test_other_weights_are_not_taken_for_it(catalogued, tmp_path, campplus_tensors):
    name = "xvector.tdnn.linear.weight"
    tuned = tmp_path / "tuned.npz"
    tuned.write_bytes(npz.dumps({**campplus_tensors, name: campplus_tensors[name] * 1.01}, {}))
    assert origin(tuned) == str(tuned)
    assert origin(catalogued, "segmentation") == str(catalogued)


def test_a_copy_has_the_plda_of_its_source(catalogued, tmp_path, campplus_tensors):
    copy = tmp_path / "copy.npz"
    copy.write_bytes(npz.dumps(campplus_tensors, {"source_sha256": CATALOG[NAME].sha256}))
    config = replace_from(PipelineConfig(), {"embedding.model": str(copy)})
    with pytest.raises(ConfigError, match=r"the PLDA of 'campplus-zh-en' takes 192 dimensions"):
        clustering_of(config, 256)
    clustering_of(config, 192)


@pytest.mark.weights
def test_the_same_turns_as_the_catalogues(tmp_path):
    sample = fetch("sample-wav")
    changes = {"segmentation.precision": "float32", "embedding.precision": "float32"}
    before = Diarizer(config=changes)(sample)
    copy = convert(NAME, to="torch", output=tmp_path / "copy").path
    after = Diarizer(config={**changes, "embedding.model": str(copy)})(sample)
    assert after.to_rttm() == before.to_rttm() and not after.warnings
