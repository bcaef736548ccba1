"""Nemotron 3 Diarization from an ONNX file: nothing but ONNX Runtime and numpy.

The file holds one step of the network, under the names that exports on the hub have. In: `input_features (1, num_mels,
bins)` and `cached_embeds (1, num_cached, hidden)`, maybe an `attention_mask (1, num_cached + num_frames)`. Out: `logits
(1, 8 * (num_cached + num_frames), num_speakers)`, `chunk_embeds (1, num_frames, hidden)`, `silence_embeds (hidden,)`.
Features and the speaker cache are ours (`stages.mel`, `stages.speaker_cache`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from diarist.core.types import Float32
from diarist.errors import ModelFileError, WeightsError
from diarist.models.endtoend import nearest_latency
from diarist.models.nemotron import BEFORE, FACTOR, HOP, MODES, Mode
from diarist.models.onnx import session
from diarist.stages.mel import log_mel
from diarist.stages.speaker_cache import Cached, CachePolicy, remember

FACTS = "diarist.nemotron"  # where our exports say how the model was set up; others are taken for the published model
_INPUTS = ("input_features", "cached_embeds")
_OUTPUTS = ("logits", "chunk_embeds", "silence_embeds")


class OnnxNemotron:
    """The network of an ONNX file, or of the one in a folder. Raises `WeightsError` for a file that is no such network,
    `UsageError` for a latency that it does not have."""

    def __init__(self, path: Path, latency: float) -> None:
        path = _file(path)
        self._session = session(path)
        inputs = {one.name: one for one in self._session.get_inputs()}
        outputs = [one.name for one in self._session.get_outputs()]
        if not (set(_INPUTS) <= set(inputs) <= {*_INPUTS, "attention_mask"} and set(_OUTPUTS) <= set(outputs)):
            raise ModelFileError(
                f"'{path}' is not Nemotron 3 Diarization: it takes {', '.join(inputs)} and gives {', '.join(outputs)}, "
                f"not {', '.join(_INPUTS)} and {', '.join(_OUTPUTS)}"
            )
        self._mask = inputs.get("attention_mask")
        bins, hidden = inputs["input_features"].shape[2], inputs["cached_embeds"].shape[2]
        if not (isinstance(bins, int) and isinstance(hidden, int)):
            raise ModelFileError(f"'{path}' does not say how many mel bins and channels it has: it cannot be used")
        self.bins, self.hidden = bins, hidden
        facts = self._facts(path)
        modes = tuple(Mode(**mode) for mode in facts["modes"]) if "modes" in facts else MODES
        chosen = nearest_latency(latency, tuple(mode.latency for mode in modes), path)
        self.mode = next(mode for mode in modes if mode.latency == chosen)
        logits, _, self._silence = self._run(np.zeros((FACTOR, bins), np.float32), np.zeros((0, hidden), np.float32))
        self.num_speakers = logits.shape[1]
        policy = {"num_speakers": self.num_speakers, **facts.get("policy", {})}
        self._policy = CachePolicy(self.mode.fifo, self.mode.period, **policy)
        if logits.shape[0] != FACTOR or self._silence.shape != (hidden,):
            raise ModelFileError(f"'{path}' gives {logits.shape} for one frame of {FACTOR}: it is not Nemotron 3")

    def features(self, samples: Float32, *, first: bool, last: bool) -> Float32:
        """As `nemotron.Network` has it."""
        before, after = (BEFORE if first else 0), (BEFORE if first else BEFORE - HOP if last else 0)
        found = log_mel(samples, self.bins, before=before, after=after)
        return found[: len(samples) // HOP] if first else found  # a frame that begins after the end is none

    def step(self, cache: Cached, features: Float32, ahead: int) -> tuple[Cached, Float32]:
        """As `nemotron.Network` has it."""
        known = np.concatenate([cache.embeds, cache.fifo])
        padded = np.pad(features, ((0, -len(features) % FACTOR), (0, 0)))
        logits, chunk, _ = self._run(padded, known)
        scores = expit(logits)
        num_frames = len(chunk) - ahead
        pooled = scores.reshape(-1, FACTOR, self.num_speakers).mean(axis=1)
        after = remember(cache, chunk[:num_frames], pooled, self._silence, self._policy)
        end = len(features) - ahead * FACTOR if ahead else len(features)
        own = scores[len(known) * FACTOR :][:end]
        return after, own

    def _run(self, features: Float32, known: Float32) -> tuple[Float32, Float32, Float32]:
        """Logits `(num_frames * FACTOR, num_speakers)` of all frames, embeddings of the new ones, and of silence."""
        feed: dict[str, Any] = {"input_features": features[None], "cached_embeds": known[None]}
        if self._mask is not None:
            kind = np.bool_ if self._mask.type == "tensor(bool)" else np.int64
            feed["attention_mask"] = np.ones((1, len(known) + len(features) // FACTOR), kind)
        logits, chunk, silence = self._session.run(list(_OUTPUTS), feed)
        return (
            np.asarray(logits[0], np.float32),
            np.asarray(chunk[0], np.float32),
            np.asarray(silence, np.float32).reshape(-1),
        )

    def _facts(self, path: Path) -> dict[str, Any]:
        said = self._session.get_modelmeta().custom_metadata_map.get(FACTS, "{}")
        try:
            facts = json.loads(said)
            return dict(facts)
        except (ValueError, TypeError) as error:
            raise ModelFileError(f"'{path}' says of itself what cannot be read ({error})") from error


def _file(path: Path) -> Path:
    if not path.is_dir():
        if not path.is_file():
            raise WeightsError(f"there is no model at '{path}': check the path")
        return path
    found = sorted(path.glob("*.onnx"))
    if len(found) != 1:
        raise ModelFileError(f"'{path}' must hold one ONNX file, not {len(found)}: name the file")
    return found[0]
