"""Runs on disk: our own, what pyannote.audio computed of community-1, and the text files of the C++ port.

- Ours: `run.json`, with the facts and the configuration, and a `.npy` for each stage.
- Community-1: `segmentations.npz`, `raw_embeddings.npz`, `ahc_init_labels.npy`, `plda_embeddings.npz`,
  `vbx_state.npz`, `clustering.npz`, `reconstruction.npz`, `reference.rttm`; those that are there are taken.
- The C++ port's: `cpp_count.txt`, `py_embeddings0.txt`, ...: what a side dumped, numbers parted by commas and lines.

Nothing that is read can run anything: arrays of objects are refused.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist import formats
from diarist.errors import DiaristError, InputError, UsageError
from diarist.evaluation.stagewise import EXACT, Tolerance
from diarist.pipelines.record import Run
from diarist.stages.assign import NOBODY, unit

FACTS = "run.json"
SIDES = ("cpp", "py")
_FORM, _VERSION = "diarist run", 1

DUMPS: Mapping[str, Tolerance] = {
    name: EXACT if exact else Tolerance("close", np.inf, 1.0)
    for exact, names in (
        (False, "segmentations batch_masks"),
        (True, "wav_lens signals masks imasks"),
        (False, "binarize_score"),
        (True, "on same_as samples well_defined_idx initial_state"),
        (False, "binarized_segmentations binary_ndarray final_wav_lens clean_segmentations trimmed sum_trimmed"),
        (False, "count_data"),
        (True, "count"),
        (False, "embeddings filtered_embeddings norm_embeddings"),
        (True, "clusters"),
        (False, "dist clusterRes soft_clusters hard_clusters clustered_segmentations aggregated_output"),
        (False, "aggregated_mask overlapping_chunk_count scores_in_aggregate masks_in_aggregate"),
        (False, "to_diarization_activations cropped_activations cropped_count sorted_speakers discrete_diarization"),
    )
    for name in names.split()
}
"""Stages of the C++ port in its order: those that its own check wants the same, and those within 1e-3 and 1e-4."""

_COMMUNITY1: Mapping[str, tuple[str, str]] = {
    "binarized": ("segmentations.npz", "segmentations"),
    "local_embeddings": ("raw_embeddings.npz", "embeddings"),
    "count": ("reconstruction.npz", "count"),
    "seeds": ("ahc_init_labels.npy", ""),
    "plda": ("plda_embeddings.npz", "post_plda"),
    "responsibilities": ("vbx_state.npz", "q_final"),
    "voices": ("clustering.npz", "centroids"),
    "likeness": ("clustering.npz", "soft_clusters"),
    "clusters": ("clustering.npz", "hard_clusters"),
    "stitched": ("reconstruction.npz", "discrete_diarization"),
}
_VALUES = {
    "clustering.threshold": ("ahc_state.npz", "threshold"),
    "clustering.Fa": ("vbx_state.npz", "fa"),
    "clustering.Fb": ("vbx_state.npz", "fb"),
    "turns.min_duration_off": ("reconstruction.npz", "min_duration_off"),
}


def save(run: Run, folder: str | Path) -> None:
    """Write a run into a folder, whole or not at all; an earlier run there is replaced.

    Raises `UsageError` where the folder holds something else, `DiaristError` where the system refuses.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file: a run goes into a folder of its own")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise UsageError(f"'{folder}' holds something that is no run: name a folder that is empty or not there yet")
    aside = folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(4)}")
    try:
        aside.mkdir(parents=True)
        for name, array in run.arrays.items():
            np.save(aside / f"{name}.npy", array, allow_pickle=False)
        told = {"form": _FORM, "version": _VERSION, **run.facts, "arrays": sorted(run.arrays)}
        (aside / FACTS).write_text(json.dumps(told, indent=1), encoding="utf-8")
        if folder.exists():
            folder.rename(old := folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(4)}"))
            aside.rename(folder)
            shutil.rmtree(old)
        else:
            aside.rename(folder)
    except OSError as error:
        raise DiaristError(f"cannot write '{folder}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load(folder: str | Path, side: str = SIDES[0]) -> Run:
    """A run from a folder of any of the forms; of the C++ port's files, those of a `side`.

    Raises `InputError` for a folder that holds no run, or a damaged one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"'{folder}' is no folder: a stored run is one (diarist verify AUDIO --record DIR)")
    if (folder / FACTS).is_file():
        return _own(folder)
    if any((folder / file).is_file() for file, _ in _COMMUNITY1.values()):
        return _community1(folder)
    if sides(folder):
        return _dumps(folder, side if side in sides(folder) else sides(folder)[0])
    raise InputError(
        f"'{folder}' holds no run: neither {FACTS}, nor pyannote's segmentations.npz and the like, nor cpp_*.txt"
    )


def sides(folder: str | Path) -> list[str]:
    """Which sides of the C++ port's comparison a folder holds files of."""
    return [side for side in SIDES if any(Path(folder).glob(f"{side}_*.txt"))]


def _own(folder: Path) -> Run:
    try:
        told = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder / FACTS}' cannot be read: {error}") from error
    if not isinstance(told, dict) or told.get("form") != _FORM:
        raise InputError(f"'{folder / FACTS}' does not say that it is a {_FORM}")
    if told.get("version") != _VERSION:
        raise InputError(f"'{folder}' is a run of version {told.get('version')}: this diarist reads {_VERSION}")
    names = told.pop("arrays", None)
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise InputError(f"'{folder / FACTS}' names no arrays")
    return Run({name: _array(folder / f"{name}.npy") for name in names}, told)


def _array(path: Path, key: str = "") -> NDArray[Any]:
    """An array of numbers from a file, or from the part of an archive that is called `key`."""
    if not path.is_file():
        raise InputError(f"the stored run lacks '{path}'")
    try:
        if key:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                found = np.asarray(archive[key])
        else:
            found = np.load(path, allow_pickle=False, mmap_mode="r")  # a header that promises too much is refused
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' holds no array {key or 'of numbers'}: {' '.join(str(error).split())}") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "buif":
        raise InputError(f"'{path}' holds no array {key or 'of numbers'}")
    return found


def _community1(folder: Path) -> Run:
    arrays = {
        name: _array(folder / file, key) for name, (file, key) in _COMMUNITY1.items() if (folder / file).is_file()
    }
    derived = []
    if "local_embeddings" in arrays:
        voices = arrays["local_embeddings"]
        if voices.ndim != 3:
            raise InputError(f"'{folder}': raw embeddings must be (num_chunks, num_local, dimension)")
        owners = np.argwhere(~np.isnan(voices).any(axis=2))
        arrays |= {"local_chunks": np.arange(len(voices)), "owners": owners, "embeddings": voices[tuple(owners.T)]}
        derived = ["embeddings"]
    if "clusters" in arrays:
        arrays["clusters"] = np.where(arrays["clusters"] < 0, NOBODY, arrays["clusters"].astype(np.int64))
        if "binarized" in arrays and arrays["binarized"].shape[::2] == arrays["clusters"].shape:
            arrays["clusters"][arrays["binarized"].sum(axis=1) == 0] = NOBODY
    if "voices" in arrays:
        arrays["voices"] = unit(arrays["voices"])
    if "count" in arrays:
        arrays["count"] = arrays["count"].reshape(-1)
    if (folder / "reference.rttm").is_file():
        arrays["turns"] = _turns(folder / "reference.rttm")
    changes: dict[str, Any] = {
        name: float(_array(folder / file, key)) for name, (file, key) in _VALUES.items() if (folder / file).is_file()
    }
    plda = next((p for p in (folder, folder / "plda", folder.parent / "plda") if (p / "plda.npz").is_file()), None)
    if plda is not None:
        changes["clustering.plda"] = str(plda)
    facts: dict[str, Any] = {"uri": folder.name, "preset": "community-1", "changes": changes, "derived": derived}
    if (folder / "reconstruction.npz").is_file():
        seconds = (float(_array(folder / "reconstruction.npz", f"chunk_{part}")) for part in ("duration", "step"))
        facts["chunks"] = [round(16_000 * value) for value in seconds]
    return Run(arrays, facts)


def _turns(path: Path) -> NDArray[Any]:
    """Turns of an RTTM, speakers numbered in order of appearance."""
    found = formats.read(path)
    if len(found) > 1:
        raise InputError(f"'{path}' holds {len(found)} recordings: a run is of one")
    turns = found[0].turns if found else ()
    numbers = dict(zip(dict.fromkeys(turn.speaker for turn in turns), count(), strict=False))
    return np.array([(turn.start, turn.end, numbers[turn.speaker]) for turn in turns], np.float64).reshape(-1, 3)


def _dumps(folder: Path, side: str) -> Run:
    parts: dict[str, list[tuple[int, Path]]] = {}
    for path in folder.glob(f"{side}_*.txt"):
        found = re.fullmatch(rf"{side}_(\D+?)(\d*)\.txt", path.name)
        if found:
            parts.setdefault(found[1], []).append((int(found[2] or -1), path))
    arrays = {name: np.concatenate([_numbers(path) for _, path in sorted(files)]) for name, files in parts.items()}
    return Run(arrays, {"uri": folder.name, "side": side})


def _numbers(path: Path) -> NDArray[Any]:
    words = formats.read_text(path).replace(",", " ").split()
    logical = {"true": "1", "false": "0"}
    try:
        return np.array([float(logical.get(word.lower(), word)) for word in words], np.float64)
    except ValueError as error:
        raise InputError(f"'{path}' holds something that is no number: {error}") from error
