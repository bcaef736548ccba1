"""What changes the answer (`PipelineConfig`), apart from what changes the speed (`RuntimeConfig`).

Every default of a pipeline exists here and nowhere else; presets are named, frozen changes to it (`presets.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from diarist.core.config import option

DECODINGS = ("neutral", "words", "turns")
CALIBRATIONS = ("all", "permissive")
METHODS = ("vbx-windows", "agglomerative", "nme-sc", "vbx")
PRECISIONS = ("int8", "bfloat16", "float32")


@dataclass(frozen=True)
class SegmentationConfig:
    """Who could be talking, locally."""

    model: str = option("segmentation-3.0", "catalogue name, ONNX file or hub id of the segmentation model")
    precision: str = option("int8", "arithmetic of the segmentation model", choices=PRECISIONS)
    step: float = option(2.5, "seconds between the starts of two chunks", low=0.1, high=60.0)
    tail: str = option(
        "inside",
        "the last chunk ends where the recording does, or keeps to the step and is padded with silence",
        choices=("inside", "padded"),
    )
    vad: str = option("silero", "a voice activity model that is heard too: silero, marblenet, an ONNX file, or none")
    vad_weight: float = option(0.3, "its share in the log-odds of speech", low=0.0, high=1.0)
    vad_bias: float = option(0.5, "added to the log-odds of speech where it is heard", low=-5.0, high=5.0)


@dataclass(frozen=True)
class EmbeddingConfig:
    """What each voice sounds like."""

    model: str = option("campplus-zh-en", "name, ONNX or .nemo file, or hub id of the embedding model")
    precision: str = option("int8", "arithmetic of the embedding model", choices=PRECISIONS)
    rows: str = option(
        "windows",
        "what is clustered: short windows of single-speaker audio, or one voice a chunk and local speaker",
        choices=("windows", "chunks"),
    )
    window: float = option(1.5, "seconds in a window", low=0.2, high=10.0)
    hop: float = option(0.5, "at most so many seconds between the starts of two windows", low=0.05, high=10.0)
    least: float = option(
        0.5, "a window, or a local speaker, with fewer seconds of voice is not clustered", low=0.02, high=10.0
    )


@dataclass(frozen=True)
class ClusteringConfig:
    """Which voices are the same person."""

    method: str = option("vbx-windows", "how voices are clustered", choices=METHODS)
    linkage: str = option("average", "linkage of agglomerative clustering", choices=("average", "centroid", "complete"))
    threshold: float = option(
        0.55, "cosine distance at which the dendrogram is cut (the start of vbx)", low=0.0, high=2.0, tune=(0.3, 0.8)
    )
    min_cluster_size: int = option(3, "smaller clusters go to the nearest larger one", low=1, tune=(1, 20))
    calibration: str = option(
        "all",
        "the speech that the PLDA of windows was fitted to: all sources, or permissive licences only (vbx-windows)",
        choices=CALIBRATIONS,
    )
    plda: str | None = option(
        None, "folder or hub id with xvec_transform.npz and plda.npz (vbx), which ship with no package"
    )
    Fa: float = option(0.3, "scale of the acoustic evidence (vbx)", low=0.0, tune=(0.05, 1.0))
    Fb: float = option(11.0, "speaker regularisation: more gives fewer speakers (vbx)", low=0.01, tune=(0.5, 25.0))
    loop: float = option(0.9, "chance to stay with the speaker from one window to the next (vbx)", low=0.0, high=0.9999)
    centring: float = option(
        3.0, "how many speakers it takes to trust the recording's own mean voice half (vbx-windows)", low=0.0
    )
    max_ties: float = option(
        0.25, "largest share of the rows that a row is tied to (nme-sc)", low=0.01, high=1.0, tune=(0.05, 0.5)
    )
    max_speakers: int = option(20, "at most so many speakers where none are asked for (nme-sc)", low=1)


@dataclass(frozen=True)
class TurnsConfig:
    """From frames to turns."""

    count: str = option(
        "probability",
        "how many talk in a frame: thresholds on probabilities (onset, ...), or what chunks say on average, rounded",
        choices=("probability", "mean"),
    )
    edges: str = option(
        "between", "a turn begins half-way between two frames, or in the middle of one", choices=("between", "middle")
    )
    onset: float = option(0.5, "speech begins above this probability", low=0.0, high=1.0, tune=(0.2, 0.8))
    offset: float = option(0.5, "speech ends below this probability", low=0.0, high=1.0, tune=(0.2, 0.8))
    overlap_onset: float = option(0.5, "two talk above this probability", low=0.0, high=1.0, tune=(0.3, 0.9))
    min_duration_on: float = option(0.0, "shorter turns are dropped, seconds", low=0.0, tune=(0.0, 0.5))
    min_duration_off: float = option(0.0, "shorter pauses of a speaker are closed, seconds", low=0.0, tune=(0.0, 1.0))
    second_pass: bool = option(
        True, "who talks in a frame is judged anew by a small network, given the speakers found (vbx-windows)"
    )
    pad_onset: float = option(0.0, "turns begin so many seconds earlier, before pauses are closed", low=-1.0, high=5.0)
    pad_offset: float = option(0.0, "turns end so many seconds later, before pauses are closed", low=-1.0, high=5.0)


@dataclass(frozen=True)
class PipelineConfig:
    """Everything that changes the answer of the `clustering` engine.

    `decoding` is a name for values of `turns`, which `presets.resolve` puts there; `turns` is what counts.
    """

    segmentation: SegmentationConfig = field(default_factory=SegmentationConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    clustering: ClusteringConfig = field(default_factory=ClusteringConfig)
    turns: TurnsConfig = field(default_factory=TurnsConfig)
    decoding: str = option(
        "neutral",
        "what counts as a turn: words, with pauses cut out, turns, with pauses of up to a second in them, or between",
        choices=DECODINGS,
    )


@dataclass(frozen=True)
class RuntimeConfig:
    """Everything that changes only the speed, or where things are kept."""

    backend: str = option(
        "onnx",
        "what runs the networks: the answer is the same, the speed is not",
        choices=("onnx", "torch", "mlx", "openvino"),
    )
    device: str = option(
        "auto",
        "where it runs: cpu, cuda (or cuda:1), for torch also mps, for openvino what it finds; auto is the best there "
        "is, for onnx always cpu",
    )
    num_threads: int = option(0, "threads; 0 means one for every core this process may use, 8 at most", low=0)
    offline: bool = option(False, "never open a socket; weights must be in the cache")
