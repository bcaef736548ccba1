"""What changes the answer of a stream (`LiveConfig`). Names and meanings are diart's where it has them."""

from __future__ import annotations

from dataclasses import dataclass, field

from diarist.core.config import option
from diarist.core.time import SAMPLE_RATE, to_samples
from diarist.errors import ConfigError
from diarist.pipelines.config import PRECISIONS
from diarist.stages.aggregate import STRATEGIES

KINDS = ("diarization", "speech")


@dataclass(frozen=True)
class LiveSegmentation:
    """Who could be talking, locally."""

    model: str = option("segmentation-3.0", "catalogue name, ONNX file or hub id of the segmentation model")
    precision: str = option("int8", "arithmetic of the segmentation model", choices=PRECISIONS)
    window: float | None = option(
        None,
        "seconds that the model hears in each step; at least a step, at most (and if not given) the duration",
        low=0.1,
        high=30.0,
    )
    vad: str = option("silero", "a voice activity model that is heard too: silero, marblenet, an ONNX file, or none")
    vad_weight: float = option(0.3, "its share in the log-odds of speech", low=0.0, high=1.0)
    vad_bias: float = option(0.5, "added to the log-odds of speech where it is heard", low=-5.0, high=5.0)


@dataclass(frozen=True)
class LiveEmbedding:
    """What each voice sounds like."""

    model: str = option("campplus-zh-en", "catalogue name, ONNX file or hub id of the embedding model")
    precision: str = option("int8", "arithmetic of the embedding model", choices=PRECISIONS)
    context: float = option(0.5, "seconds before new sound that the network sees with it", low=0.0, high=10.0)
    hop: float = option(0.0, "seconds of new sound that the network waits for; at least a step", low=0.0, high=10.0)


@dataclass(frozen=True)
class LiveConfig:
    """Everything that changes the answer of a stream. Raises `ConfigError` for values that do not go together.

    `latency`: seconds between a sound and its final answer, from `step` (`None` and "min") to `duration` ("max"). It is
    a whole number of steps: what lies between is taken to the nearest one, halves up, and never less than one step.
    """

    segmentation: LiveSegmentation = field(default_factory=LiveSegmentation)
    embedding: LiveEmbedding = field(default_factory=LiveEmbedding)
    duration: float = option(5.0, "seconds of sound that are looked at in each step", low=1.0, high=30.0)
    step: float = option(0.5, "seconds from one look to the next", low=0.1, high=10.0)
    latency: float | str | None = option(
        None, "seconds from a sound to its final answer: step ('min', the default) to duration ('max')"
    )
    aggregation: str = option("hamming", "how looks at the same sound are put together", choices=STRATEGIES)
    tau_active: float = option(0.5, "who is likelier than this talks", low=0.0, high=1.0, tune=(0.0, 1.0))
    rho_update: float = option(
        0.3, "share of a look that one must talk to be new, or to move a centre", low=0.0, high=1.0, tune=(0.0, 1.0)
    )
    delta_new: float = option(
        0.8, "cosine distance from which a voice is nobody known", low=0.0, high=2.0, tune=(0.0, 2.0)
    )
    least_new: float = option(0.0, "seconds of voice that it takes to be somebody new", low=0.0, tune=(0.0, 1.0))
    gamma: float = option(3.0, "how steeply unsure frames lose weight in an embedding", low=0.0)
    beta: float = option(10.0, "how steeply overlapped frames lose weight in an embedding", low=0.0)
    max_speakers: int = option(20, "at most so many speakers are known at once, and found in the session", low=1)
    normalize_embedding_weights: bool = option(False, "weights reach from 0 to 1, for models that take a mask")
    recluster: float = option(
        20.0, "seconds between two revisions, in which the session is clustered anew; 0 for none", low=0.0
    )
    evidence: float = option(
        2.5, "seconds between the starts of two chunks from which the session is clustered", low=0.1, high=60.0
    )
    rows: int = option(4000, "at most so many embeddings stand for the session", low=100, high=20000)

    def __post_init__(self) -> None:
        if self.step > self.duration:
            raise ConfigError(f"'step' must be at most 'duration' ({self.duration:g} s), not {self.step:g}")
        latency = self.latency_seconds
        if not self.step - 1e-6 <= latency <= self.duration + 1e-6:
            raise ConfigError(
                f"'latency' must be between the step ({self.step:g} s) and the duration ({self.duration:g} s), "
                f"not {latency:g}"
            )

    @property
    def latency_seconds(self) -> float:
        """The latency asked for. Raises `ConfigError` for a word that is not one."""
        if self.latency is None or self.latency == "min":
            return self.step
        if self.latency == "max":
            return self.duration
        try:
            return float(self.latency)
        except ValueError:
            raise ConfigError(f"'latency' must be seconds, 'min' or 'max', not '{self.latency}'") from None

    @property
    def num_windows(self) -> int:
        """Looks that have heard a sound when its answer is final: the latency in steps."""
        return max(1, min(int(self.latency_seconds / self.step + 0.5), int(self.duration / self.step + 1e-6)))

    @property
    def step_samples(self) -> int:
        """The step in samples at 16 kHz."""
        return to_samples(self.step, SAMPLE_RATE)

    @property
    def window(self) -> float:
        """Seconds that the segmentation model hears in each step."""
        asked = self.segmentation.window
        return self.duration if asked is None else min(self.duration, max(self.step, asked))

    @property
    def window_samples(self) -> int:
        """The window in samples at 16 kHz."""
        return to_samples(self.window, SAMPLE_RATE)
