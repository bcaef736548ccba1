"""A voice activity model from its name: silero, the segmentation network, MarbleNet, or a file of your own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diarist.core.protocols import SegmentationModel, VoiceActivityModel
from diarist.core.time import Axis
from diarist.core.types import Float32
from diarist.errors import UsageError, WeightsError
from diarist.models import nemo, nemo_vad
from diarist.models.catalog import CATALOG, UNSTATED
from diarist.models.hub import resolve
from diarist.models.load import Precision, load_segmentation
from diarist.models.marblenet import OnnxVad
from diarist.models.onnx import session
from diarist.models.silero import SileroVad, is_silero
from diarist.stages.heard import hear

NAMES = {"silero": "silero-vad", "segmentation": "segmentation-3.0", "marblenet": "marblenet-vad"}
"""Short names, and what they stand for in the catalogue."""

ACCEPT = "DIARIST_ACCEPT_LICENCE"
"""Environment variable: names of weights, parted by commas, whose unstated licence the user has cleared."""

_STEP = 2.5  # seconds from one chunk of a segmentation network to the next


class FrameClassifier:
    """A `VoiceActivityModel` from any function: sound `(num_samples,)` to probabilities `(num_frames,)` at `frames`."""

    def __init__(self, function: Callable[[Float32], Float32], frames: Axis) -> None:
        self.function, self.frames = function, frames

    def __call__(self, samples: Float32) -> Float32:
        """Probabilities `(num_frames,)`. Raises `UsageError` where the function gives something else."""
        found = np.asarray(self.function(samples), np.float32)
        if found.ndim != 1:
            raise UsageError(f"a frame classifier must give one probability a frame, not an array {found.shape}")
        return found


class SegmentationVad:
    """Speech where a segmentation network hears anybody: overlapping chunks, averaged."""

    def __init__(self, model: SegmentationModel) -> None:
        self._model = model
        self.frames = model.spec.frames

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` to the probability that anybody talks `(num_frames,)`."""
        return hear(samples, self._model, _STEP).speech


def load_vad(
    model: str | Path | Callable[[Float32], Float32] = "silero",
    *,
    precision: Precision = "int8",
    device: str = "auto",
    offline: bool = False,
    accept_licence: bool = False,
) -> VoiceActivityModel:
    """A voice activity model.

    `model`: `silero`, `segmentation` or `marblenet`; a name of the catalogue; an ONNX file of silero-vad, of a frame
    classifier (see `OnnxVad`) or of a segmentation network; a checkpoint of a segmentation network, run at `precision`;
    a `.nemo` file or a name of NeMo's (`vad_multilingual_marblenet`), which NeMo runs on `device`; or an object that
    has `frames` and is called with samples. Weights whose licence their package does not state are loaded only with
    `accept_licence`, or where `DIARIST_ACCEPT_LICENCE` names them.

    Raises `UsageError` for what cannot be meant, `WeightsError` for weights that are missing or are no such model.
    """
    if not isinstance(model, (str, Path)):
        if not isinstance(model, VoiceActivityModel):
            raise UsageError("a voice activity model has `frames`: wrap a plain function in FrameClassifier")
        return model
    name = NAMES.get(str(model), str(model)) if isinstance(model, str) else str(model)
    entry = CATALOG.get(name)
    if entry is not None and entry.kind not in ("vad", "segmentation"):
        raise UsageError(f"'{model}' is a model of the kind {entry.kind}, not vad")
    if entry is not None and entry.licence == UNSTATED and not (accept_licence or name in accepted()):
        raise UsageError(
            f"{entry.package} does not state the licence of '{name}': where you have cleared it for your use, say so "
            f"with --accept-licence, accept_licence=True or {ACCEPT}={name}; '--vad silero' (MIT) needs no such word"
        )
    if entry is not None and entry.kind == "segmentation":
        return SegmentationVad(load_segmentation(name, precision=precision, offline=offline))
    if nemo.is_nemo(name):
        return nemo_vad.load(name, device=device, offline=offline)
    path = resolve(name, offline=offline)
    return _from_file(path, precision, offline)


def accepted() -> set[str]:
    """Names of weights that `DIARIST_ACCEPT_LICENCE` lists."""
    return {NAMES.get(name.strip(), name.strip()) for name in os.environ.get(ACCEPT, "").split(",")}


def _from_file(path: Path, precision: Precision, offline: bool) -> VoiceActivityModel:
    if path.suffix.lower() != ".onnx":
        return SegmentationVad(load_segmentation(path, precision=precision, offline=offline))
    loaded = session(path)
    if is_silero(loaded):
        return SileroVad(path)
    classes = (loaded.get_outputs()[0].shape or [None])[-1]
    if len(loaded.get_outputs()[0].shape or []) == 3 and isinstance(classes, int) and classes > 2:
        return SegmentationVad(load_segmentation(path, offline=offline))
    try:
        return OnnxVad(path)
    except WeightsError as error:
        try:
            return SegmentationVad(load_segmentation(path, offline=offline))
        except WeightsError:
            raise error from None
