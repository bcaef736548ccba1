"""A model by whatever somebody calls it: a name of the catalogue, a file or folder, an id of the Hugging Face hub.

The hub is the second source, for those who have it: it needs the package `huggingface_hub` (extra `hub`), which also
finds the token (`HF_TOKEN`, or a login on this machine), the cache and the mirror (`HF_ENDPOINT`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diarist.core.config import nearest
from diarist.errors import ExtraError, UsageError, WeightsError
from diarist.models import catalog
from diarist.models.fetch import Progress, fetch, offline_by_environment

_ID = re.compile(r"(?P<repo>[\w][\w.-]*/[\w][\w.-]*)(?:@(?P<revision>[^:@]+))?(?::(?P<file>[^:]+))?")
_MODEL_SUFFIXES = (".onnx", ".pt", ".pth", ".bin", ".ckpt", ".nemo", ".npz", ".safetensors", ".jit")
# What the hub's exceptions mean, by the name of their class: their module has moved between versions.
_MEANINGS = {
    "GatedRepoError": "it is gated: accept its terms on its page, then set HF_TOKEN to a token of that account",
    "LocalEntryNotFoundError": "it is not in the hub's cache and the hub cannot be reached: check the network, or give "
    "the path of a local copy",
    "OfflineModeIsEnabled": "it is not in the hub's cache and HF_HUB_OFFLINE is set",
    "RevisionNotFoundError": "it has no such revision",
    "EntryNotFoundError": "it has no such file",
    "RepositoryNotFoundError": "there is no such repository, or it is private: check the name, and set HF_TOKEN to a "
    "token that may read it",
    "HFValidationError": "that is no valid id: write org/name[@revision][:file]",
}


@dataclass(frozen=True)
class HubId:
    """`[hf:]org/name[@revision][:file]`; without a file the whole repository is meant."""

    repo: str
    revision: str | None = None
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubId | None:
        """None where the text has another form."""
        found = _ID.fullmatch(text.removeprefix("hf:"))
        return cls(found["repo"], found["revision"], found["file"]) if found else None

    def __str__(self) -> str:
        return self.repo + (f"@{self.revision}" if self.revision else "") + (f":{self.file}" if self.file else "")


def resolve(
    model: str | Path, *, offline: bool = False, cache_dir: str | Path | None = None, progress: Progress | None = None
) -> Path:
    """The file or folder of a model; fetched where it is not on this machine yet.

    In order: a name of the catalogue; with `hf:` in front, an id of the hub; a file or folder that exists; anything
    else of the form `org/name` is an id of the hub. `./name` is always a path. With `offline` (or `DIARIST_OFFLINE=1`)
    no socket is opened. Raises `UsageError` for a word that is nothing of those, `WeightsError` where the model cannot
    be had, `ExtraError` without `huggingface_hub`.
    """
    text = str(model)
    if isinstance(model, str) and text in catalog.CATALOG:
        return fetch(text, offline=offline, cache_dir=cache_dir, progress=progress)
    path = Path(text)
    if not text.startswith("hf:"):
        if path.exists():
            return path
        if isinstance(model, Path) or path.suffix.lower() in _MODEL_SUFFIXES or path.is_absolute() or text[:1] in ".~":
            raise WeightsError(f"there is no model at '{text}': check the path")
    hub_id = HubId.parse(text)
    if hub_id is not None:
        return from_hub(hub_id, offline)
    if text.startswith("hf:"):
        raise UsageError(f"'{text}' is no id of the hub: write hf:org/name[@revision][:file]")
    models = [name for name, weights in catalog.CATALOG.items() if weights.kind in ("segmentation", "embedding", "vad")]
    raise UsageError(f"unknown model '{text}'{nearest(text, models)}")


def from_hub(hub_id: HubId, offline: bool = False, patterns: Sequence[str] | None = None) -> Path:
    """The file of an id, or the folder of its repository, of which only files that match `patterns` are fetched.

    Raises `WeightsError` where it cannot be had, `ExtraError` without `huggingface_hub`.
    """
    offline = offline or offline_by_environment()
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise ExtraError("huggingface_hub", "hub", f"the model '{hub_id}'") from error
    try:
        if hub_id.file is None:
            wanted = {} if patterns is None else {"allow_patterns": list(patterns)}
            return Path(
                hub.snapshot_download(hub_id.repo, revision=hub_id.revision, local_files_only=offline, **wanted)
            )
        return Path(hub.hf_hub_download(hub_id.repo, hub_id.file, revision=hub_id.revision, local_files_only=offline))
    except Exception as error:  # the hub's own, its HTTP library's, the system's
        raise WeightsError(f"cannot get '{hub_id}' from the hub: {_meaning(error, offline)}") from error


def _meaning(error: Exception, offline: bool) -> str:
    names = [kind.__name__ for kind in type(error).__mro__]
    if offline and "LocalEntryNotFoundError" in names:
        return "it is not in the hub's cache and nothing may be fetched (offline): fetch it once without --offline"
    for name in names:
        if name in _MEANINGS:
            return _MEANINGS[name]
    lines = str(error).split("\n")
    return f"{type(error).__name__}: {lines[0].strip()}" if lines[0].strip() else type(error).__name__
