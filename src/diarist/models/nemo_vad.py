"""NVIDIA's MarbleNet, run by NeMo: voice activity of windows, and of frames.

Jia et al., "MarbleNet: Deep 1D time-channel separable convolutional neural network for voice activity detection",
ICASSP 2021. Files of both kinds (`EncDecClassificationModel`, `EncDecFrameClassificationModel`) tell silence from
speech; those that tell words apart are refused.
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32
from diarist.errors import ModelFileError, UsageError
from diarist.models.nemo import FRAMEWISE, WINDOWS, restored

WINDOW, SHIFT = 0.63, 0.08  # seconds: those of NeMo's recipe `general`
BATCH = 256  # windows that are heard at once
LEAST = SAMPLE_RATE // 20  # samples: NeMo does not take much shorter sound
BLOCK, MARGIN = 60 * SAMPLE_RATE, 2 * SAMPLE_RATE  # samples that a frame classifier hears at once, and more around them


def load(model: str | Path, *, device: str = "auto", offline: bool = False) -> NemoWindowVad | NemoFrameVad:
    """The voice activity model of that name or file. Raises as `nemo.embedding`."""
    network, archive = restored(model, (WINDOWS, FRAMEWISE), device=device, offline=offline)
    labels = archive.part("labels")
    if isinstance(labels, list) and len(labels) != 2:
        raise ModelFileError(f"'{model}' tells {len(labels)} classes apart, not silence from speech")
    try:
        return NemoWindowVad(network) if archive.kind == WINDOWS else NemoFrameVad(network)
    except Exception as error:  # whatever a network does that fits no sound
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelFileError(f"'{model}' does not hear speech in sound ({reason})") from error


class NemoWindowVad:
    """A `VoiceActivityModel` of windows: probability `i` is that of the window around `i * shift` seconds, silence
    added at both ends of the recording, as NeMo's clustering diarizer cuts it."""

    def __init__(self, network: Any, window: float = WINDOW, shift: float = SHIFT) -> None:
        self._network, self._one_at_a_time = network, threading.Lock()  # NeMo's convolutions keep masks
        self._place = next(network.parameters()).device
        self._cut(window, shift)
        self._run(np.zeros((1, self.frames.size), np.float32))

    def at(self, window: float, shift: float) -> NemoWindowVad:
        """The same network for windows of `window` seconds, one each `shift` seconds. Raises `UsageError`."""
        other = copy.copy(self)
        other._cut(window, shift)
        return other

    def _cut(self, window: float, shift: float) -> None:
        size, step = int(SAMPLE_RATE * window + 1e-6), int(SAMPLE_RATE * shift + 1e-6)
        if step < 1 or size < LEAST:
            raise UsageError(
                f"windows last 0.05 s or more, and come each 0.001 s or more, not {window:g} and {shift:g}"
            )
        self.frames = Axis(size, step, -(size // 2))

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` at 16 kHz to probabilities of speech `(num_frames,)`, a frame for each whole shift."""
        num = len(samples) // self.frames.step
        if num == 0:
            return np.zeros(0, np.float32)
        size = min(self.frames.size, max(LEAST, len(samples)))
        padded = np.pad(np.asarray(samples, np.float32), (size // 2, size - size // 2))
        windows = sliding_window_view(padded, size)[:: self.frames.step][:num]
        parts = [self._run(windows[first : first + BATCH]) for first in range(0, num, BATCH)]
        return np.concatenate(parts)

    def _run(self, batch: Float32) -> Float32:
        import torch

        with self._one_at_a_time, torch.inference_mode():
            sound = torch.from_numpy(np.array(batch, dtype=np.float32)).to(self._place)
            lengths = torch.full((len(batch),), batch.shape[1], device=self._place)
            scores = self._network.forward(input_signal=sound, input_signal_length=lengths)
            return _speech(scores)


class NemoFrameVad:
    """A `VoiceActivityModel` of frames, 20 ms each in NVIDIA's; frame `i` stands at `i` times its step.

    Long sound is heard in blocks of a minute, with two seconds more at both ends. Raises `ValueError` for a network
    that gives no frames.
    """

    def __init__(self, network: Any) -> None:
        self._network, self._one_at_a_time = network, threading.Lock()  # NeMo's convolutions keep masks
        self._place = next(network.parameters()).device
        probe = 10 * SAMPLE_RATE
        num = len(self._run(np.zeros(probe, np.float32)))
        if not 2 < num <= 1100:
            raise ValueError(f"it gives {num} frames for 10 s")
        step = round(probe / num / 160) * 160
        self.frames = Axis(step, step, -(step // 2))

    def __call__(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` at 16 kHz to probabilities of speech `(num_frames,)`."""
        step = self.frames.step
        block, margin = BLOCK // step * step, MARGIN // step * step
        found = [np.zeros(0, np.float32)]
        for first in range(0, len(samples), block):
            before = min(first, margin)
            num = -(-min(block, len(samples) - first) // step)
            scores = self._run(samples[first - before : first + block + margin])[before // step :][:num]
            found.append(np.pad(scores, (0, num - len(scores)), mode="edge" if len(scores) else "constant"))
        return np.concatenate(found)

    def _run(self, samples: Float32) -> Float32:
        """Probabilities of one stretch; silence is added to one that is too short."""
        import torch

        with self._one_at_a_time, torch.inference_mode():
            sound = np.pad(np.asarray(samples, np.float32), (0, max(0, LEAST - len(samples))))
            lengths = torch.tensor([len(sound)], device=self._place)
            batch = torch.from_numpy(sound)[None].to(self._place)
            return _speech(self._network.forward(input_signal=batch, input_signal_length=lengths)[0])


def _speech(scores: Any) -> Float32:
    """The probability of the second class of scores `(..., 2)`. Raises `ValueError` for other classes."""
    if scores.ndim != 2 or scores.shape[-1] != 2:
        raise ValueError(f"it gives scores {tuple(scores.shape)}, not two classes")
    return np.asarray(scores.float().softmax(dim=-1)[:, 1].cpu().numpy(), dtype=np.float32)
