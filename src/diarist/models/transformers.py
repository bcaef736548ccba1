"""Nemotron 3 Diarization as the package `transformers` (5.18 or newer) has it: its own classes, cache and all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.types import Float32
from diarist.errors import ExtraError, ModelFileError, UsageError, WeightsError
from diarist.models.endtoend import nearest_latency
from diarist.models.hub import HubId, from_hub
from diarist.models.nemotron import FACTOR, HOP, Mode
from diarist.models.torch import device_of
from diarist.stages.speaker_cache import Cached

_TYPE = "nemotron3_diarization"
_FILES = ("*.json", "*.safetensors")  # of a repository on the hub, which holds other formats too


@dataclass(frozen=True)
class Checkpoint:
    """A model as the package loads it, on the CPU; `modes` are those that it knows, by latency."""

    name: str
    config: Any
    extractor: Any
    network: Any
    modes: tuple[Mode, ...]


def read_checkpoint(model: str | Path, *, offline: bool = False) -> Checkpoint:
    """The checkpoint in a folder with `config.json`, `model.safetensors` and `processor_config.json`, or of an id of
    the hub. Nothing in it is run as a program: neither pickles nor code of the repository are read.

    Raises as `nemotron.load`.
    """
    config, processor, network = _loaded(_package(), model, offline)
    if (config.audio_config.subsampling_factor, processor.feature_extractor.hop_length) != (FACTOR, HOP):
        raise ModelFileError(f"'{model}' has other frames than Nemotron 3: {FACTOR} of {HOP} samples are expected")
    modes = _modes(config, processor)
    return Checkpoint(str(model), config, processor.feature_extractor, network.eval(), modes)


class TransformersNemotron:
    """The network of a checkpoint, at one of its latencies: a streaming mode of its processor, or the chunks in which a
    whole recording is heard (30.4 s). Raises `UsageError` for another latency, or a device that is not there."""

    def __init__(self, checkpoint: Checkpoint, latency: float, device: str = "auto") -> None:
        config = checkpoint.config
        offered = tuple(mode.latency for mode in checkpoint.modes)
        self.mode = checkpoint.modes[offered.index(nearest_latency(latency, offered, checkpoint.name))]
        self.num_speakers = int(config.head_config.num_speakers)
        self.hidden = int(config.audio_config.hidden_size)
        self._place = device_of(device)
        self._extractor, self._network = checkpoint.extractor, checkpoint.network.to(self._place)
        self._cache_class, self._cache_config = _package()["cache"], config.streaming_config

    def features(self, samples: Float32, *, first: bool, last: bool) -> Float32:
        """As `nemotron.Network` has it, by the checkpoint's own feature extractor."""
        found = self._extractor(
            np.ascontiguousarray(samples),
            sampling_rate=self._extractor.sampling_rate,
            center=first,
            is_last_audio_chunk=last,
            return_tensors="pt",
        )
        return np.asarray(found["input_features"][0][found["attention_mask"][0].bool()].numpy(), np.float32)

    def step(self, cache: Cached, features: Float32, ahead: int) -> tuple[Cached, Float32]:
        """As `nemotron.Network` has it, by the class's own forward."""
        import torch

        with torch.inference_mode():
            memory = self._memory(cache)
            given = torch.from_numpy(np.ascontiguousarray(features))[None].to(self._place)
            said = self._network(input_features=given, speaker_cache=memory, num_lookahead_frames=ahead)
            scores = np.asarray(said.logits[0].float().sigmoid().cpu().numpy(), np.float32)
            return _remembered(said.speaker_cache), scores

    def _memory(self, cache: Cached) -> Any:
        """The class's cache, with what is remembered in it."""
        import torch

        memory = self._cache_class(self._cache_config, self.mode.fifo, self.mode.period)
        memory.lazy_initialization(torch.zeros(1, 1, self.hidden, device=self._place))
        for kept, values in ((memory.embeds, cache.embeds), (memory.probs, cache.probs), (memory.fifo, cache.fifo)):
            kept[0, : len(values)] = torch.from_numpy(values).to(self._place)
        memory.num_cache_frames, memory.num_fifo_frames = len(cache.embeds), len(cache.fifo)
        memory.is_compressed = cache.compressed
        return memory


def _remembered(memory: Any) -> Cached:
    num_cached, num_newest = memory.num_cache_frames, memory.num_fifo_frames
    arrays = (memory.embeds[0, :num_cached], memory.probs[0, :num_cached], memory.fifo[0, :num_newest])
    embeds, probs, fifo = (np.array(array.float().cpu().numpy(), np.float32) for array in arrays)
    return Cached(embeds, probs, fifo, bool(memory.is_compressed))


def _modes(config: Any, processor: Any) -> tuple[Mode, ...]:
    """Those of the checkpoint: its streaming modes, then the chunks of its forward over a whole recording."""
    streaming = config.streaming_config
    found = [
        Mode(int(chunk), int(ahead), streaming.fifo_length, streaming.speaker_cache_update_period)
        for chunk, ahead in processor.streaming_modes.values()
    ]
    offline = (config.chunk_length, config.chunk_right_context, config.fifo_length, config.speaker_cache_update_period)
    if config.chunk_left_context:
        raise ModelFileError(f"the checkpoint looks back {config.chunk_left_context} frames: that is not offered")
    return (*sorted(found, key=lambda mode: mode.latency), Mode(*offline, whole=True))


def _package() -> Mapping[str, Any]:
    """The classes of the package. Raises `ExtraError` where it, torch or the classes are missing."""
    try:
        from transformers import (
            Nemotron3DiarizationConfig,
            Nemotron3DiarizationForAudioFrameClassification,
            Nemotron3DiarizationProcessor,
        )
        from transformers.models.nemotron3_diarization.modeling_nemotron3_diarization import (
            Nemotron3DiarizationSpeakerCache,
        )
    except ImportError as error:
        raise ExtraError("transformers>=5.18", "transformers", "Nemotron 3 Diarization") from error
    return {
        "config": Nemotron3DiarizationConfig,
        "processor": Nemotron3DiarizationProcessor,
        "network": Nemotron3DiarizationForAudioFrameClassification,
        "cache": Nemotron3DiarizationSpeakerCache,
    }


def _loaded(classes: Mapping[str, Any], model: str | Path, offline: bool) -> tuple[Any, Any, Any]:
    """Configuration, processor and network. Raises `UsageError` for a name that is none, `WeightsError`."""
    where, how = str(_folder(model, offline)), {"local_files_only": True}
    try:
        with _quiet():
            kind = classes["config"].get_config_dict(where, **how)[0].get("model_type")
            if kind != _TYPE:
                raise ModelFileError(f"'{model}' is of the type '{kind}', not {_TYPE}")
            config = classes["config"].from_pretrained(where, **how)
            processor = classes["processor"].from_pretrained(where, **how)
            network, report = classes["network"].from_pretrained(
                where, config=config, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **how
            )
    except WeightsError:
        raise
    except Exception as error:  # the package's own, safetensors', the system's
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelFileError(f"cannot load Nemotron from '{model}': {reason}") from error
    if report["missing_keys"] or report["mismatched_keys"]:
        names = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        raise ModelFileError(
            f"'{model}' lacks {len(names)} tensors of Nemotron ({names[0]}, ...): it is no such checkpoint"
        )
    return config, processor, network


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of the package about itself, and no bars of its own."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _folder(model: str | Path, offline: bool) -> Path:
    """Where the checkpoint lies; fetched where it is not on this machine yet. Raises `UsageError`, `WeightsError`."""
    path = Path(str(model))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise WeightsError(f"the folder '{model}' has no config.json: give one that from_pretrained() can load")
        return path
    if path.exists() or path.is_absolute() or str(model)[:1] in ".~":
        raise WeightsError(f"'{model}' is no folder with a checkpoint, and no ONNX file: check the path")
    found = HubId.parse(str(model))
    if found is None or found.file is not None:
        raise UsageError(f"'{model}' is neither a folder, nor an ONNX file, nor an id of the hub (org/name[@revision])")
    return from_hub(found, offline, _FILES)
