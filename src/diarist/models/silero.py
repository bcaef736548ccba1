"""Silero VAD on ONNX Runtime: a probability of speech for each 32 ms of sound.

Silero Team, "Silero VAD: pre-trained enterprise-grade voice activity detector", 2024. The network is recurrent: each
frame of 512 samples is heard with the last 64 samples before it and the state that the frames before it left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from diarist.core.time import Axis
from diarist.core.types import Float32
from diarist.errors import ModelFileError
from diarist.models.onnx import session

FRAME, CONTEXT, UNITS = 512, 64, 128
_MOST = 1024  # frames in one call of the network: 33 s


class SileroVad:
    """A `VoiceActivityModel` from a file of the package `silero-vad` for 16 kHz.

    Both layouts that the package ships are taken: the one that runs a row of frames in one call
    (`silero_vad_16k_sequence.onnx`), and the ones that run a frame a call (`silero_vad.onnx`, `..._op15.onnx`), which
    give the same probabilities at some ten times the cost. Raises `WeightsError` for another file.
    """

    frames = Axis(FRAME, FRAME)

    def __init__(self, path: Path) -> None:
        self._session = session(path)
        if not is_silero(self._session):
            names = ", ".join(i.name for i in self._session.get_inputs())
            raise ModelFileError(f"'{path}' is no file of silero-vad: its inputs are {names}")
        self._in_rows = "h" in {i.name for i in self._session.get_inputs()}

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` at 16 kHz to probabilities `(ceil(num_samples / 512),)`; silence follows the end."""
        return self.step(self.start(), samples)[1]

    def start(self) -> tuple[Float32, Float32]:
        """What is known before the first sample: the last 64 samples `(64,)` and the network's state `(2, 1, 128)`."""
        return np.zeros(CONTEXT, np.float32), np.zeros((2, 1, UNITS), np.float32)

    def step(self, state: tuple[Float32, Float32], samples: Float32) -> tuple[tuple[Float32, Float32], Float32]:
        """The next samples of a stream, a whole number of frames but at its end: `(state, probabilities)`."""
        context, hidden = state
        num_frames = -(-len(samples) // FRAME)
        probabilities = [np.zeros(0, np.float32)]
        for first in range(0, num_frames, _MOST):
            sound = np.zeros((min(_MOST, num_frames - first), FRAME), np.float32)
            piece = samples[first * FRAME : (first + len(sound)) * FRAME]
            sound.reshape(-1)[: len(piece)] = piece
            before = np.concatenate([context[None], sound[:-1, -CONTEXT:]])
            heard = np.concatenate([before, sound], axis=1)
            found, hidden = self._run(heard, hidden)
            context = sound[-1, -CONTEXT:].copy()
            probabilities.append(found)
        return (context, hidden), np.concatenate(probabilities)

    def _run(self, heard: Float32, state: Float32) -> tuple[Float32, Float32]:
        """Frames with their context `(num_frames, 576)` to probabilities `(num_frames,)` and the state after them."""
        if self._in_rows:
            feed: dict[str, Any] = {"input": heard, "h": state[:1], "c": state[1:]}
            found, hidden, cell = self._session.run(["speech_probs", "hn", "cn"], feed)
            return np.asarray(found, np.float32).reshape(-1), np.concatenate([hidden, cell])
        found = np.empty(len(heard), np.float32)
        for index, row in enumerate(heard):
            feed = {"input": row[None], "state": state, "sr": np.array(16_000, np.int64)}
            output, state = self._session.run(["output", "stateN"], feed)
            found[index] = output[0, 0]
        return found, state


def is_silero(loaded: onnxruntime.InferenceSession) -> bool:
    """Whether the inputs are those of a file of silero-vad."""
    return {i.name for i in loaded.get_inputs()} in ({"input", "h", "c"}, {"input", "state", "sr"})
