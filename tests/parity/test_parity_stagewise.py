"""Our stages beside pyannote's own of community-1, each fed with what pyannote had before it; and our backends beside
each other on real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diarist.core.config import replace_from
from diarist.evaluation import runs
from diarist.evaluation.stagewise import verify
from diarist.models.fetch import fetch
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.presets import preset
from diarist.pipelines.record import NoEmbedding, Run

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "reference" / "community1"
SAMPLE = REFERENCE / "02_pyannote_sample"
EMBEDDED = dict.fromkeys(("fbank", "masks", "local_embeddings", "embeddings"), "no weights")
COMPARED = {"binarized", "count", "seeds", "plda", "responsibilities", "voices", "likeness", "clusters", "stitched"}

stored = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no reference arrays in {REFERENCE}")


def against(reference):
    config = replace_from(preset("community-1").config, reference.facts["changes"])
    ours = Diarizer("community-1", config=config, embedding=NoEmbedding(256))
    return verify(fetch("sample-wav"), ours, reference, missing=EMBEDDED)[0]


@stored
@pytest.mark.weights
def test_every_stage_is_pyannotes():
    report = against(runs.load(SAMPLE))
    assert report.first is None
    assert {stage.name for stage in report.stages if stage.ok} == COMPARED | {"turns"}


@stored
@pytest.mark.weights
@pytest.mark.parametrize("name", sorted(COMPARED))
def test_a_changed_stage_is_named(name):
    reference = runs.load(SAMPLE)
    array = np.array(reference.arrays[name])
    flat = array.reshape(-1)
    place = np.flatnonzero(~np.isnan(flat.astype(np.float64)) & (flat >= 0))[5]
    flat[place] = flat[place] + 0.3 if name in ("plda", "responsibilities", "voices", "likeness") else 1 - flat[place]
    assert against(Run({**reference.arrays, name: array}, reference.facts)).first == name


@pytest.mark.weights
@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("name", ["balanced", "pyannote-3.1-style"])
def test_backends_agree_on_real_speech(backend, name):
    pytest.importorskip(backend)
    changes = {"segmentation.precision": "float32", "embedding.precision": "float32", "segmentation.step": 2.5}
    one, other = (Diarizer(name, config=changes, backend=b) for b in (backend, "onnx"))
    report, _ = verify(fetch("sample-wav"), one, other)
    assert report.ok and report.drifted in (None, "distances", "dendrogram") and report.der < 0.005
