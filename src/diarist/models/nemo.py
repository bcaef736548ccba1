"""NVIDIA's speaker models, run by NeMo: `.nemo` files, and the names that NeMo fetches by itself.

    load_embedding("titanet_large")        # from NVIDIA's server, by NeMo
    load_embedding("finetuned.nemo")       # a file of your own
    load_embedding("nvidia/speakerverification_en_titanet_large")  # from the Hugging Face hub

TitaNet, ECAPA-TDNN and SpeakerNet are `EncDecSpeakerLabelModel`s. A file is read and checked by `nemo_file` before NeMo
sees it, its tensors are read without running the pickle around them, and what NeMo builds from its configuration is
held to NeMo's own classes. Networks run in float32, on the device asked for.
"""

from __future__ import annotations

import importlib.util
import logging
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.core.protocols import EmbeddingSpec
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.errors import ExtraError, ModelFileError, UsageError, WeightsError
from diarist.models.checks import check_features, check_weights
from diarist.models.fetch import offline_by_environment
from diarist.models.hub import HubId, resolve
from diarist.models.nemo_file import NemoArchive, opened
from diarist.models.torch import device_of
from diarist.stages.fbank import FRAMES

if TYPE_CHECKING:
    import torch

SPEAKERS = ("titanet_large", "titanet_small", "ecapa_tdnn", "speakerverification_speakernet")
VADS = ("vad_multilingual_marblenet", "vad_marblenet", "vad_telephony_marblenet", "vad_multilingual_frame_marblenet")
ALIASES = {"vad_telephonic_marblenet": "vad_telephony_marblenet"}
"""Names that are about, of models that NeMo knows by another one."""

SPEAKER, WINDOWS, FRAMEWISE, SORTFORMER = (
    "EncDecSpeakerLabelModel",
    "EncDecClassificationModel",
    "EncDecFrameClassificationModel",
    "SortformerEncLabelModel",
)
"""Classes of NeMo's that are run here."""

WHAT = {
    SPEAKER: "a speaker model",
    WINDOWS: "a voice activity model",
    FRAMEWISE: "a voice activity model",
    SORTFORMER: "an end-to-end diarizer",
}
BATCH = 64  # stretches that are heard at once, at most
LEAST = 5  # frames of 10 ms
_TALKS = 0.5  # weight from which on a frame is a speaker's
_RESTORING = threading.Lock()  # NeMo changes the working directory and random states while it restores


def is_nemo(model: str | Path) -> bool:
    """Whether a model is NeMo's: a name of `SPEAKERS` or `VADS`, a `.nemo` file, or an id of NVIDIA's on the hub."""
    text = str(model)
    if text in (*SPEAKERS, *VADS, *ALIASES) or text.lower().endswith(".nemo"):
        return True
    return text.removeprefix("hf:").startswith("nvidia/") and ":" not in text[3:] and not Path(text).exists()


def installed() -> bool:
    """Whether NeMo is there; it is not imported, which takes seconds."""
    return importlib.util.find_spec("nemo") is not None


def embedding(model: str | Path, *, device: str = "auto", offline: bool = False) -> NemoEmbedding:
    """The speaker model of that name or file.

    Raises `ExtraError` without NeMo, `WeightsError` for a file that cannot be had, is refused or is of another kind,
    `UsageError` for a device that is not there.
    """
    network, archive = restored(model, (SPEAKER,), device=device, offline=offline)
    try:
        return NemoEmbedding(network)
    except Exception as error:  # whatever a network does that fits no sound
        raise ModelFileError(f"'{archive.path}' does not embed sound ({_line(error)})") from error


class NemoEmbedding:
    """TitaNet, ECAPA-TDNN, SpeakerNet: `(batch, num_samples)` sound to `(batch, dimension)`, NeMo's `infer_segment`.

    Such a network looks at all of a stretch at once (features are normalised over it, squeeze-and-excitation reaches
    over it), so that a speaker's mask cannot wait until the pooling: `frames` passes sound on in rows of 10 ms, and the
    network runs in `pool`, on the rows of one speaker cut together. Threads wait for one another: NeMo's convolutions
    keep the mask of the last length they saw.
    """

    def __init__(self, network: Any) -> None:
        self._network, self._one_at_a_time = network, threading.Lock()
        self._place = next(network.parameters()).device
        probe = self._run(np.zeros((1, SAMPLE_RATE), np.float32))
        if probe.ndim != 2 or len(probe) != 1:
            raise ValueError(f"it gives {probe.shape}, not (batch, dimension)")
        self.spec = EmbeddingSpec(
            dimension=probe.shape[1], min_frames=LEAST, num_mels=FRAMES.step, window="raw", whole=True
        )

    def frames(self, fbank: Float32) -> Float32:
        """Sound in rows of 10 ms `(batch, num_rows, 160)`, as it is. Raises `UsageError` for another shape."""
        check_features(fbank, self.spec)
        return np.ascontiguousarray(fbank, dtype=np.float32)

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """Sound `(batch, num_rows, 160)` where weights `(batch, num_local, num_rows)` are above a half, cut together,
        to `(batch, num_local, dimension)`; NaN for less than `spec.min_frames` rows. Stretches of one length are
        heard together."""
        check_weights(maps, weights)
        embeddings = np.full((*weights.shape[:2], self.spec.dimension), np.nan, dtype=np.float32)
        talks = weights > _TALKS
        counts = np.count_nonzero(talks, axis=2)
        for count in np.unique(counts[counts >= self.spec.min_frames]).tolist():
            chosen = np.argwhere(counts == count)
            for first in range(0, len(chosen), BATCH):
                rows, local = chosen[first : first + BATCH].T
                sound = [maps[row][talks[row, speaker]] for row, speaker in zip(rows, local, strict=True)]
                embeddings[rows, local] = self.of_sound(np.asarray(sound, np.float32).reshape(len(sound), -1))
        return embeddings

    def of_sound(self, batch: Float32) -> Float32:
        """Stretches of sound of one length `(batch, num_samples)` to embeddings `(batch, dimension)`, of the network's
        own length; NaN for less than 50 ms. Raises `UsageError` for another shape."""
        if batch.ndim != 2:
            raise UsageError(f"a speaker model takes (batch, num_samples) sound, not {batch.shape}")
        if not len(batch) or batch.shape[1] < self.spec.min_frames * FRAMES.step:
            return np.full((len(batch), self.spec.dimension), np.nan, np.float32)
        return self._run(np.ascontiguousarray(batch, dtype=np.float32))

    def _run(self, batch: Float32) -> Float32:
        import torch

        with self._one_at_a_time, torch.inference_mode():
            sound = torch.from_numpy(batch).to(self._place)
            lengths = torch.full((len(batch),), batch.shape[1], device=self._place)
            found = self._network.forward(input_signal=sound, input_signal_length=lengths)[1]
            return np.asarray(found.float().cpu().numpy(), dtype=np.float32)


def restored(
    model: str | Path, kinds: tuple[str, ...], *, device: str = "auto", offline: bool = False
) -> tuple[Any, NemoArchive]:
    """A network of NeMo's in evaluation mode on its device, and what its file says. `kinds` are the classes wanted.

    Raises as `embedding`.
    """
    if not installed():
        raise ExtraError("nemo_toolkit", "nemo", f"the model '{model}'")
    place = device_of(device)
    path = _file(model, kinds, offline)
    with opened(path) as archive:
        if archive.kind not in kinds:
            what = WHAT.get(archive.kind, f"a model of the class '{archive.kind}'")
            raise ModelFileError(f"'{model}' is {what}, not {WHAT[kinds[0]]}")
        rate = archive.part("preprocessor", "sample_rate") or archive.part("sample_rate") or SAMPLE_RATE
        if rate != SAMPLE_RATE:
            raise ModelFileError(f"'{model}' takes sound at {rate} Hz: only {SAMPLE_RATE} Hz is offered")
        return _built(archive, place), archive


def _built(archive: NemoArchive, place: torch.device) -> Any:
    """The network, made by NeMo from the unpacked archive; tensors are those that have been read already."""
    with _quiet():
        import torch

        models = _models()
        from nemo.core.connectors.save_restore_connector import SaveRestoreConnector

    class Connector(SaveRestoreConnector):  # type: ignore[misc]
        """NeMo's, but for the checkpoint, which is not unpickled again."""

        def _load_state_dict_from_disk(self, *_: Any, **__: Any) -> dict[str, Any]:
            return {name: torch.from_numpy(np.array(value)) for name, value in archive.tensors.items()}

    connector = Connector()
    connector.model_extracted_dir = str(archive.folder)
    with _RESTORING, _quiet(), torch.random.fork_rng(devices=[]):
        chance = random.getstate()
        try:
            network = getattr(models, archive.kind).restore_from(
                str(archive.path), map_location=place, save_restore_connector=connector
            )
        except Exception as error:  # of many kinds: a shape, a missing tensor, a value of the configuration
            raise ModelFileError(f"NeMo cannot build '{archive.path}' ({_line(error)})") from error
        finally:
            random.setstate(chance)
    network.freeze()
    return network.to(place).eval()


def _file(model: str | Path, kinds: tuple[str, ...], offline: bool) -> Path:
    """The `.nemo` file of a model. Raises `WeightsError` where it is not on this machine and cannot be fetched."""
    text = ALIASES.get(str(model), str(model))
    if text in (*SPEAKERS, *VADS):
        return _from_nvidia(text, kinds, offline or offline_by_environment())
    hub_id = HubId.parse(text)
    if hub_id is not None and hub_id.file is None and not Path(text).exists():
        text = f"hf:{hub_id}:{hub_id.repo.partition('/')[2]}.nemo"
    path = resolve(text if text.startswith("hf:") else model, offline=offline)
    if path.is_dir():
        raise ModelFileError(f"'{path}' is a folder: give the .nemo file in it")
    return path


def _from_nvidia(name: str, kinds: tuple[str, ...], offline: bool) -> Path:
    """The file that NeMo keeps of a name, which NeMo fetches where it has none."""
    with _quiet():
        models = _models()
        from nemo.utils.model_utils import resolve_cache_dir
    for kind in kinds:
        owner = getattr(models, kind)
        for known in owner.list_available_models() or []:
            if known.pretrained_model_name != name:
                continue
            file = str(known.location).rpartition("/")[2]
            kept = sorted((Path(resolve_cache_dir()) / file.removesuffix(".nemo")).glob(f"*/{file}"))
            if kept:
                return kept[-1]
            ways = f"put {file} on this machine and give its path"
            if offline:
                raise WeightsError(f"'{name}' is not in NeMo's cache, and nothing is fetched offline: {ways}")
            try:
                with _quiet():
                    return Path(owner.from_pretrained(name, return_model_file=True))
            except Exception as error:  # NeMo's, the system's, an HTTP library's
                raise WeightsError(
                    f"NeMo cannot fetch '{name}' from NVIDIA's server ({_line(error)}): check the network, or {ways}"
                ) from error
    raise UsageError(f"'{name}' is no name of {WHAT[kinds[0]]}")


def _models() -> Any:
    """NeMo's models. Raises `ExtraError` where NeMo, or its part for speech, is not installed."""
    try:
        from nemo.collections.asr import models
    except ImportError as error:
        raise ExtraError("nemo_toolkit[asr]", "nemo", f"a model of NeMo's ({_line(error)})") from error
    return models


@contextmanager
def _quiet() -> Iterator[None]:
    """NeMo says much while it is imported and restores: nothing of it is an error of ours."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
