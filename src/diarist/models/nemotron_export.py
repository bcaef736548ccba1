"""A `transformers` checkpoint of Nemotron 3 Diarization as one ONNX file: see `nemotron_onnx` for what is in it."""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from diarist.errors import ExtraError, ModelFileError
from diarist.formats.writing import write_aside
from diarist.models.nemotron import FACTOR, empty
from diarist.models.nemotron_onnx import FACTS, OnnxNemotron
from diarist.models.transformers import Checkpoint, TransformersNemotron, read_checkpoint

OPSET = 17
CLOSE = 1e-3  # of probabilities, between the checkpoint and the file made of it


def export_onnx(model: str | Path, path: str | Path, *, offline: bool = False) -> Path:
    """Write the network of a folder or hub id to an ONNX file in float32, once it was seen to say the same.

    Raises `ExtraError` without transformers, torch or onnx, `WeightsError` as `nemotron.load` does and where the file
    would say something else than the checkpoint.
    """
    path = Path(path)
    checkpoint = read_checkpoint(model, offline=offline)
    made = _with_facts(_traced(checkpoint.network), facts_of(checkpoint))
    with write_aside(path) as aside:
        aside.write_bytes(made)
        _check(checkpoint, aside)
    return path


def facts_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """How a checkpoint was set up, as it stands in the file: its modes, and what its speaker cache keeps."""
    streaming = checkpoint.config.streaming_config
    return {
        "source": checkpoint.name,
        "modes": [dataclasses.asdict(mode) for mode in checkpoint.modes],
        "policy": {
            "length": streaming.speaker_cache_length,
            "silence": streaming.speaker_cache_silence_frames_per_speaker,
            "threshold": streaming.prediction_score_threshold,
            "latest_boost": streaming.latest_frames_score_boost,
            "strong_rate": streaming.strong_boost_rate,
            "weak_rate": streaming.weak_boost_rate,
            "positive_rate": streaming.min_positive_scores_rate,
        },
    }


def _traced(network: Any) -> bytes:
    """One step of the network as ONNX."""
    import torch

    config = network.config.audio_config

    class Step(torch.nn.Module):  # type: ignore[misc]
        """Features and what is remembered to logits."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_features: Any, cached_embeds: Any) -> tuple[Any, Any, Any]:
            chunk = self.network.model.audio_tower.embedder(input_features)
            heard = self.network.model(inputs_embeds=torch.cat([cached_embeds, chunk], dim=1))
            return self.network.classifier(heard.last_hidden_state), chunk, self.network.silence_embeds

    given = torch.zeros(1, 3 * FACTOR, config.num_mel_bins), torch.zeros(1, 5, config.hidden_size)
    file = io.BytesIO()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that traces is called old; it needs no further package
        torch.onnx.export(
            Step().eval(),
            given,
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=["input_features", "cached_embeds"],
            output_names=["logits", "chunk_embeds", "silence_embeds"],
            dynamic_axes={
                "input_features": {1: "num_mels"},
                "cached_embeds": {1: "num_cached"},
                "logits": {1: "num_logits"},
                "chunk_embeds": {1: "num_frames"},
            },
        )
    return file.getvalue()


def _with_facts(made: bytes, facts: dict[str, Any]) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise ExtraError("onnx", "transformers", "writing ONNX files") from error
    model = onnx.load_from_string(made)
    onnx.helper.set_model_props(model, {FACTS: json.dumps(facts)})
    return bytes(model.SerializeToString())


def _check(checkpoint: Checkpoint, path: Path) -> None:
    """Raise `WeightsError` unless file and checkpoint say the same of noise, with and without a memory."""
    latency = checkpoint.modes[0].latency
    one, other = TransformersNemotron(checkpoint, latency, "cpu"), OnnxNemotron(path, latency)
    rng, cache = np.random.default_rng(0), empty(one)
    for num_frames in (3, 1, 40):
        features = rng.normal(-6, 3, (num_frames * FACTOR, other.bins)).astype(np.float32)
        (after, wanted), (_, found) = one.step(cache, features, 0), other.step(cache, features, 0)
        apart = float(np.abs(wanted - found).max())
        if not apart <= CLOSE:
            raise ModelFileError(
                f"the ONNX file made of '{checkpoint.name}' says something else (by {apart:.2g}): it was not kept"
            )
        cache = after
