"""ONNX Runtime, and files of somebody's own behind the ports.

A session is one thread, never spins, and gives the same bytes every time; to use more cores, call it from more threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import comb
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from diarist.core.protocols import EmbeddingSpec, SegmentationSpec
from diarist.core.time import SAMPLE_RATE, Axis
from diarist.core.types import Float32
from diarist.errors import MissingError, ModelFileError, UsageError
from diarist.models.checks import check_chunks, check_features, check_weights
from diarist.models.graph import Graph
from diarist.stages.powerset import MAX_LOCAL

PYANNOTE_FRAMES = Axis(size=991, step=270)
_PROBE = 10 * SAMPLE_RATE
MOST_FBANK = 1000  # frames of features that a network with weights runs on: a chunk


class Runner(Protocol):
    """What runs a graph of ours."""

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Inputs by name to the outputs of those names, in order."""
        ...


class Session(Runner, Protocol):
    """What runs an ONNX file too: ONNX Runtime's session, or another runtime behind the same methods."""

    def get_inputs(self) -> list[Any]:
        """What goes in: each has a `name`, a `shape` and a `type`."""
        ...

    def get_outputs(self) -> list[Any]:
        """What comes out."""
        ...

    def get_modelmeta(self) -> Any:
        """What the file says of itself, in `custom_metadata_map`."""
        ...


Open = Callable[[bytes | Path | Graph], Session]
"""Makes a session of a graph, of its bytes, or of a file."""

OpenGraph = Callable[[Graph], Runner]
"""Makes of a graph what runs it."""

PROVIDERS: Mapping[str, tuple[str, str]] = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "dml": ("DmlExecutionProvider", "onnxruntime-directml"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime"),
}
"""Devices of the backend `onnx`: ONNX Runtime's name for each, and the package that has it."""


def opener(device: str = "auto") -> Open:
    """What makes sessions on a device of `PROVIDERS` (`cuda:1` for the second GPU); `auto` is the processor.

    Raises `UsageError` for an unknown device, `MissingError` for one that this ONNX Runtime was not built for.
    """
    kind, _, number = ("cpu" if device == "auto" else device).partition(":")
    if kind not in PROVIDERS or (number and not number.isdecimal()):
        raise UsageError(f"the backend 'onnx' has no device '{device}'; known: auto, {', '.join(PROVIDERS)}")
    provider, package = PROVIDERS[kind]
    if provider not in onnxruntime.get_available_providers():
        raise MissingError(
            f"the ONNX Runtime that is installed has no {provider}, which the device '{device}' needs: "
            f"pip uninstall onnxruntime, then pip install {package}"
        )
    return partial(session, provider=provider, number=int(number or 0))


def session(
    model: bytes | Path | Graph, *, provider: str = "CPUExecutionProvider", number: int = 0
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session for a file, for the bytes of one, or for a graph, on the device `number` of a provider.

    Raises `WeightsError` where it is not a model, `MissingError` where the provider does not start.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    model = model.serialize() if isinstance(model, Graph) else model
    source = model if isinstance(model, bytes) else str(model)
    cpu = "CPUExecutionProvider"
    providers = [cpu] if provider == cpu else [(provider, {"device_id": number} if "CUDA" in provider else {}), cpu]
    try:
        made = onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:  # the classes of onnxruntime's errors are private, and differ between versions
        reason = str(error).strip().splitlines()[0][:200]
        if isinstance(model, bytes):
            raise ModelFileError(f"the checkpoint does not make a network that can be run ({reason})") from error
        raise ModelFileError(f"'{model}' is not an ONNX model that can be run ({reason})") from error
    if provider not in made.get_providers():  # it goes on without, and says so on standard error only
        raise MissingError(f"ONNX Runtime could not start {provider}: its libraries (CUDA and cuDNN) are not found")
    return made


class OnnxSegmentation:
    """A segmentation network `(batch, 1, num_samples) -> (batch, num_frames, num_classes)` from an ONNX file.

    What the file says of itself in `metadata_props` (the keys of sherpa-onnx) is believed; where it says nothing,
    it is tried out on ten seconds of silence. Rows of a batch run one by one. Raises `WeightsError` for a file that is
    no such network.
    """

    def __init__(self, path: Path, open: Open = session) -> None:
        self._session = open(path)
        self._input, self._output = _only(self._session, path)
        if len(self._input.shape) != 3 or len(self._output.shape or [0] * 3) != 3:
            raise ModelFileError(
                f"'{path}' is not a segmentation network: its input must be (batch, 1, num_samples) and its output "
                f"(batch, num_frames, num_classes), not {self._input.shape} and {self._output.shape}"
            )
        self.spec = self._facts(path)

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, num_samples)` to `(batch, num_frames, num_classes)`. Raises `UsageError` for another shape."""
        check_chunks(batch, self.spec)
        rows = [self._run(row) for row in batch]
        return np.concatenate(rows) if rows else self._run(np.zeros(self.spec.chunk, np.float32))[:0]

    def _run(self, row: Float32) -> Float32:
        feed = {self._input.name: np.ascontiguousarray(row, dtype=np.float32)[None, None]}
        return np.asarray(self._session.run([self._output.name], feed)[0])

    def _facts(self, path: Path) -> SegmentationSpec:
        said = self._session.get_modelmeta().custom_metadata_map
        number = {key: int(value) for key, value in said.items() if value.strip().isdigit()}
        if number.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE:
            raise ModelFileError(
                f"'{path}' takes sound at {number['sample_rate']} Hz: only {SAMPLE_RATE} Hz is offered"
            )
        fixed = self._input.shape[2]
        chunk = number.get("window_size") or (fixed if isinstance(fixed, int) else _PROBE)
        scores = _tried(self._run, np.zeros(chunk, np.float32), path)
        if scores.ndim != 3 or not scores.size:
            raise ModelFileError(f"'{path}' must give (batch, num_frames, num_classes), but gives {scores.shape}")
        if np.isnan(scores).any():
            raise ModelFileError(f"'{path}' is damaged: what it answers to silence is not a number")
        step = number.get("receptive_field_shift") or _likely_step(chunk, scores.shape[1])
        size = number.get("receptive_field_size") or (PYANNOTE_FRAMES.size if step == PYANNOTE_FRAMES.step else step)
        num_local, most = _speakers(number, scores, path)
        return SegmentationSpec(chunk, scores.shape[1], Axis(size, step), num_local, most)


class OnnxEmbedding:
    """A network `(batch, num_fbank, num_mels) -> (batch, dimension)` from an ONNX file (WeSpeaker, 3D-Speaker, ...).

    Such a file pools inside, so `frames` passes the features on, and `pool` runs the network for each speaker: on that
    speaker's features alone or, where the file takes weights `(batch, num_weights)` as a second input, on all of them
    with the speaker's weights in its pooling, as pyannote.audio does. Where it takes `weights` `(batch, num_local,
    num_fbank)`, as our own files do, it runs once for all speakers. What the features are made of is read from the
    metadata (`normalize_samples` and `framework` of sherpa-onnx, `window_type`); a file that does not say, and whose
    features are called `feats`, is taken for WeSpeaker's: a Hamming window, sound as 16-bit integers.
    """

    def __init__(self, path: Path, open: Open = session) -> None:
        self._session = open(path)
        self._input, self._weights, self._output = _features_and_weights(self._session, path)
        shape = self._input.shape
        if len(shape) != 3 or (isinstance(shape[2], int) and not 20 <= shape[2] <= 128):
            raise ModelFileError(
                f"'{path}' is not an embedding network: its input must be (batch, num_fbank, 80), not {shape}"
            )
        num_mels = shape[2] if isinstance(shape[2], int) else 80
        probe = _tried(lambda value: self._run(value, np.ones(len(value), "f4")), np.zeros((200, num_mels), "f4"), path)
        if probe.ndim != 1:
            raise ModelFileError(f"'{path}' is not an embedding network: its output must be (batch, dimension)")
        self._together = self._weights is not None and len(self._weights.shape) == 3
        window, scale = self._sound(path)
        self.spec = EmbeddingSpec(
            dimension=len(probe), min_frames=10, num_mels=num_mels, window=window, scale=scale, whole=True
        )

    def frames(self, fbank: Float32) -> Float32:
        """The features themselves, `(batch, num_fbank, num_mels)`."""
        check_features(fbank, self.spec)
        return fbank

    def pool(self, maps: Float32, weights: Float32) -> Float32:
        """Features `(batch, num_fbank, num_mels)` where weights are above a half to `(batch, num_local, dimension)`."""
        check_weights(maps, weights)
        embeddings = np.full((*weights.shape[:2], self.spec.dimension), np.nan, dtype=np.float32)
        enough = np.count_nonzero(weights > 0.5, axis=2) >= self.spec.min_frames
        for row in np.flatnonzero(enough.any(axis=1)):
            if self._together:
                embeddings[row, enough[row]] = self._run_together(maps[row], weights[row, enough[row]])
                continue
            for local in np.flatnonzero(enough[row]):
                embeddings[row, local] = self._run(maps[row], weights[row, local])
        return embeddings

    def _run_together(self, features: Float32, weights: Float32) -> Float32:
        """The embeddings of all speakers of `features` `(num_fbank, num_mels)`, `weights` `(num_local, num_fbank)`."""
        assert self._weights is not None
        heard = np.flatnonzero(weights.any(axis=0))
        span = slice(heard[0], heard[-1] + 1) if len(features) > MOST_FBANK else slice(None)
        given = {self._input.name: features[span], self._weights.name: weights[:, span]}
        batch = {name: np.ascontiguousarray(value, dtype=np.float32)[None] for name, value in given.items()}
        embeddings: Float32 = np.asarray(self._session.run([self._output.name], batch)[0])[0]
        return embeddings

    def _run(self, features: Float32, weights: Float32) -> Float32:
        """The embedding of one speaker of `features` `(num_fbank, num_mels)`, `weights` `(num_fbank,)`."""
        if self._weights is not None and len(self._weights.shape) == 3:
            return np.asarray(self._run_together(features, weights[None])[0])
        if self._weights is None:
            feed = {self._input.name: features[weights > 0.5]}
        else:
            features, weights = _fitted(features, weights, self._input.shape[1], self._weights.shape[1])
            feed = {self._input.name: features, self._weights.name: weights}
        batch = {name: np.ascontiguousarray(value, dtype=np.float32)[None] for name, value in feed.items()}
        embedding: Float32 = np.asarray(self._session.run([self._output.name], batch)[0])[0]
        return embedding

    def _sound(self, path: Path) -> tuple[Literal["povey", "hamming"], float]:
        """`(window, scale)` of the features."""
        said = self._session.get_modelmeta().custom_metadata_map
        if said.get("sample_rate", str(SAMPLE_RATE)) != str(SAMPLE_RATE):
            raise ModelFileError(f"'{path}' takes sound at {said['sample_rate']} Hz: only {SAMPLE_RATE} Hz is offered")
        wespeaker = said.get("framework", "wespeaker" if self._input.name == "feats" else "") == "wespeaker"
        scaled = said.get("normalize_samples", "0" if wespeaker else "1") == "0"
        window = said.get("window_type", "hamming" if wespeaker else "povey")
        if window not in ("povey", "hamming"):
            raise ModelFileError(f"'{path}' wants a window_type '{window}': only povey and hamming are offered")
        return window, 32768.0 if scaled else 1.0


def _fitted(features: Float32, weights: Float32, num_fbank: Any, num_weights: Any) -> tuple[Float32, Float32]:
    """Features and weights at the lengths that a file takes; where it takes any, at most `MOST_FBANK`.

    Features that are too long are cut to the stretch that has weights, then at the end; too short, they end in zeros.
    """
    fixed = num_fbank if isinstance(num_fbank, int) else None
    if len(features) > MOST_FBANK:
        heard = np.flatnonzero(weights)
        span = slice(heard[0], heard[-1] + 1)
        features, weights = features[span], weights[span]
    if fixed is not None:
        missing = max(0, fixed - len(features))
        features = np.pad(features[:fixed], ((0, missing), (0, 0)))
        weights = np.pad(weights[:fixed], (0, missing))
    if isinstance(num_weights, int):
        index = (2 * np.arange(num_weights) + 1) * len(weights) // (2 * num_weights)
        weights = weights[index]
    return features, weights


def _features_and_weights(loaded: Session, path: Path) -> tuple[Any, Any, Any]:
    """The input of features, that of weights or None, and the first output."""
    inputs = sorted(loaded.get_inputs(), key=lambda given: (-len(given.shape), given.name == "weights"))
    floats = {given.type for given in inputs} == {"tensor(float)"}
    ranks = [len(given.shape) for given in inputs]
    if floats and (ranks == [3, 2] or (ranks == [3, 3] and inputs[1].name == "weights")):
        return inputs[0], inputs[1], loaded.get_outputs()[0]
    features, output = _only(loaded, path)
    return features, None, output


def powerset_of(num_classes: int) -> tuple[int, int] | None:
    """`(num_local, 2)` where so many classes are the sets of at most two of three or more speakers."""
    return next(((n, 2) for n in range(3, MAX_LOCAL + 1) if num_classes == 1 + n + comb(n, 2)), None)


def _only(loaded: Session, path: Path) -> tuple[Any, Any]:
    """The one input, and the first output."""
    inputs, outputs = loaded.get_inputs(), loaded.get_outputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        taken = ", ".join(f"{i.name} {i.type}" for i in inputs)
        raise ModelFileError(f"'{path}' must take one float32 input, but takes: {taken}")
    return inputs[0], outputs[0]


def _likely_step(chunk: int, num_frames: int) -> int:
    """Samples from one frame to the next, for a file that does not say."""
    if PYANNOTE_FRAMES.count_inside(chunk) == num_frames:
        return PYANNOTE_FRAMES.step
    return max(1, round(chunk / max(1, num_frames)))


def _speakers(number: Mapping[str, int], scores: Float32, path: Path) -> tuple[int, int | None]:
    """`(num_local, max_simultaneous)`, as the file says or as its scores of silence `(1, num_frames, classes)` show."""
    num_classes = scores.shape[2]
    if "num_speakers" in number:
        num_local, most = number["num_speakers"], number.get("powerset_max_classes") or None
        if num_classes != (sum(comb(num_local, k) for k in range(most + 1)) if most else num_local):
            raise ModelFileError(
                f"'{path}' says {num_local} speakers, {most or 'all'} at once, for {num_classes} classes"
            )
    else:
        powerset = powerset_of(num_classes)
        if powerset and np.allclose(np.exp(scores.astype(np.float64)).sum(axis=2), 1.0, atol=1e-3):
            num_local, most = powerset
        elif scores.min() >= 0 and scores.max() <= 1:
            num_local, most = num_classes, None
        else:
            raise ModelFileError(
                f"'{path}' does not say what its {num_classes} classes are: "
                "set num_speakers and powerset_max_classes in its metadata"
            )
    if num_local > MAX_LOCAL:
        raise ModelFileError(
            f"'{path}' has {num_local} speakers in a chunk, more than the {MAX_LOCAL} that are possible"
        )
    return num_local, most


def _tried(run: Callable[[Float32], Float32], value: Float32, path: Path) -> Float32:
    """What a file makes of an input of the kind that it will get."""
    try:
        return run(value)
    except Exception as error:  # as in `session`
        reason = str(error).strip().splitlines()[0][:200]
        raise ModelFileError(f"'{path}' does not take an input of {value.shape} ({reason})") from error
