"""What a converted model says of itself, inside its file, in strings: keys of sherpa-onnx where it has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from diarist.core.digest import sha256
from diarist.core.protocols import EmbeddingSpec, SegmentationSpec
from diarist.models.catalog import CATALOG
from diarist.models.checkpoint import Checkpoint

FORMAT = "1"
UNSTATED = "not stated"
_LICENCE = re.compile(r"^license:\s*[\"']?([\w .+-]+?)[\"']?\s*$", re.MULTILINE)
_FRAMEWORKS = {"campplus": "3d-speaker", "resnet34": "wespeaker", "pyannet": "pyannote"}


def facts_of(found: Checkpoint, source: str, dtype: str, licence: str | None = None) -> dict[str, str]:
    """All that is written: the network, what it takes and gives, where it is from, its licence and its arithmetic.

    `source` is what the user called it; the licence is the one given, else the file's own, the catalogue's, or that of
    a `README.md` beside the file, as hubs have it.
    """
    spec = found.spec
    about = _segmentation(spec) if isinstance(spec, SegmentationSpec) else _embedding(spec)
    entry = CATALOG.get(source)
    licences = (licence, found.said.get("licence"), entry.licence if entry else None, _licence_beside(found.path))
    return {
        "diarist_format": FORMAT,
        "kind": found.kind,
        "architecture": found.architecture,
        "framework": _FRAMEWORKS[found.architecture],
        **about,
        "dtype": dtype,
        "licence": next((known for known in licences if known and known != UNSTATED), UNSTATED),
        "source": found.said.get("source") or (f"{source}: {entry.origin}" if entry else _last(source)),
        "source_sha256": found.said.get("source_sha256") or sha256(found.path),
    }


def _segmentation(spec: SegmentationSpec) -> Mapping[str, str]:
    return {
        "sample_rate": str(spec.sample_rate),
        "window_size": str(spec.chunk),
        "num_frames": str(spec.num_frames),
        "receptive_field_size": str(spec.frames.size),
        "receptive_field_shift": str(spec.frames.step),
        "num_speakers": str(spec.num_local),
        "powerset_max_classes": str(spec.max_simultaneous or 0),
    }


def _embedding(spec: EmbeddingSpec) -> Mapping[str, str]:
    return {
        "sample_rate": str(spec.sample_rate),
        "output_dim": str(spec.dimension),
        "num_mels": str(spec.num_mels),
        "window_type": spec.window,
        "normalize_samples": "0" if spec.scale > 1 else "1",
        "feature_normalize_type": "global-mean",
    }


def _licence_beside(path: Path) -> str | None:
    card = path.parent / "README.md"
    try:
        head = card.read_text(encoding="utf-8", errors="replace")[:4096] if card.is_file() else ""
    except OSError:
        return None
    found = _LICENCE.search(head.partition("---\n")[2].partition("\n---")[0])
    return found[1] if found else None


def _last(source: str) -> str:
    """Without the folders of a path, which say something of the user and nothing of the model."""
    return Path(source).name if Path(source).exists() else source
