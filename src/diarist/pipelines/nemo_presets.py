"""NeMo's clustering diarizer, in numbers: what its recipes `general`, `meeting` and `telephonic` say.

Fields have the names and the values of `diar_infer_general.yaml`, `diar_infer_meeting.yaml` and
`diar_infer_telephonic.yaml` (NVIDIA NeMo, examples/speaker_tasks/diarization/conf/inference). What those files say of
models is not here, since the models are others: a voice activity model and an embedding model of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diarist.core.config import nearest, option, read_preset, replace_from, to_dict
from diarist.errors import ConfigError, UsageError
from diarist.pipelines.config import PRECISIONS

DEFAULT = "general"


@dataclass(frozen=True)
class VadConfig:
    """Where anybody talks."""

    model: str = option(
        "silero", "silero, segmentation, marblenet, a name of NeMo, an ONNX or .nemo file that hears speech"
    )
    window_length_in_sec: float = option(0.63, "seconds that a probability is smoothed over", low=0.01, high=10.0)
    shift_length_in_sec: float = option(0.08, "seconds from one probability to the next", low=0.01, high=1.0)
    smoothing: str = option("none", "how windows that overlap are joined", choices=("none", "mean", "median"))
    overlap: float = option(0.5, "share of a window that neighbours have in common", low=0.0, high=0.99)
    onset: float = option(0.5, "speech begins above this probability", low=0.0, high=1.0)
    offset: float = option(0.3, "speech ends below this probability", low=0.0, high=1.0)
    pad_onset: float = option(0.2, "seconds by which speech begins earlier", low=-1.0, high=5.0)
    pad_offset: float = option(0.2, "seconds by which speech ends later", low=-1.0, high=5.0)
    min_duration_on: float = option(0.5, "shorter speech is dropped, seconds", low=0.0)
    min_duration_off: float = option(0.5, "shorter gaps are closed, seconds", low=0.0)
    filter_speech_first: bool = option(True, "short speech is dropped before gaps are closed")


@dataclass(frozen=True)
class ScalesConfig:
    """How speech is cut into sub-segments, the longest scale first; turns are made of the last one."""

    window_length_in_sec: tuple[float, ...] = option((1.9, 1.2, 0.5), "seconds in a sub-segment, for each scale")
    shift_length_in_sec: tuple[float, ...] = option((0.95, 0.6, 0.25), "seconds from one to the next, for each scale")
    multiscale_weights: tuple[float, ...] = option((1.0, 1.0, 1.0), "how much each scale says; none: all the same")


@dataclass(frozen=True)
class CountingConfig:
    """Which sub-segments are the same person, and how many people there are (NME-SC)."""

    oracle_num_speakers: bool = option(False, "take the number of speakers from the manifest")
    max_num_speakers: int = option(8, "at most so many speakers where none are asked for", low=1)
    enhanced_count_thres: int = option(80, "with no more sub-segments, speakers are counted with anchors", low=0)
    max_rp_threshold: float = option(0.25, "largest share of the rows that a row is tied to", low=0.01, high=1.0)
    sparse_search_volume: int = option(10, "numbers of ties that are tried", low=2)
    maj_vote_spk_count: bool = option(False, "the count most frequent over all numbers of ties")
    fixed_thres: float | None = option(
        None, "share of the rows that a row is tied to, where none is searched for", low=0.0, high=1.0
    )
    embeddings_per_chunk: int = option(10_000, "longer recordings are clustered in chunks of so many", low=100)


@dataclass(frozen=True)
class EmbeddingModelConfig:
    """What a voice sounds like."""

    model: str = option("campplus-zh-en", "name, ONNX or .nemo file, or hub id of the embedding model")
    precision: str = option("int8", "arithmetic of the embedding model", choices=PRECISIONS)


@dataclass(frozen=True)
class SegmentationModelConfig:
    """Who talks at once, where overlap is added (and who talks at all, for the voice activity model of that name)."""

    model: str = option("segmentation-3.0", "catalogue name, ONNX file or hub id of the segmentation model")
    precision: str = option("int8", "arithmetic of the segmentation model", choices=PRECISIONS)
    step: float = option(2.5, "seconds between the starts of two chunks", low=0.1, high=60.0)
    overlap: bool = option(False, "add the second speaker where the segmentation model hears two, which NeMo lacks")


@dataclass(frozen=True)
class NemoStyleConfig:
    """Everything that changes the answer of the `nemo-style` engine."""

    vad: VadConfig = field(default_factory=VadConfig)
    speaker_embeddings: ScalesConfig = field(default_factory=ScalesConfig)
    clustering: CountingConfig = field(default_factory=CountingConfig)
    embedding: EmbeddingModelConfig = field(default_factory=EmbeddingModelConfig)
    segmentation: SegmentationModelConfig = field(default_factory=SegmentationModelConfig)

    def __post_init__(self) -> None:
        check_scales(self.speaker_embeddings)


@dataclass(frozen=True)
class NemoPreset:
    """A recipe of NeMo's, and when its makers say to take it."""

    name: str
    summary: str
    source: str
    config: NemoStyleConfig


def scales(window: float | list[float] | tuple[float, ...], shift: Any, weights: Any = None) -> dict[str, Any]:
    """Values of `ScalesConfig` from numbers or lists, as NeMo's users write them; no weights means equal ones."""
    windows, shifts = _listed(window, "window"), _listed(shift, "shift")
    return {
        "window_length_in_sec": windows,
        "shift_length_in_sec": shifts,
        "multiscale_weights": [1.0] * len(windows) if weights is None else _listed(weights, "weight"),
    }


def check_scales(config: ScalesConfig) -> None:
    """Raise `ConfigError` unless scales go from the longest to the shortest, each longer than its shift."""
    windows, shifts, weights = config.window_length_in_sec, config.shift_length_in_sec, config.multiscale_weights
    if not len(windows) == len(shifts) == len(weights) or not windows:
        raise ConfigError(
            f"each scale needs a window, a shift and a weight: {len(windows)} windows, {len(shifts)} shifts and "
            f"{len(weights)} weights are given"
        )
    if list(windows) != sorted(windows, reverse=True) or list(shifts) != sorted(shifts, reverse=True):
        raise ConfigError(f"scales must go from the longest to the shortest, not {_said(windows)} and {_said(shifts)}")
    for window, shift in zip(windows, shifts, strict=True):
        if not 0 < shift < window or window > 60 or window < 0.1:
            raise ConfigError(
                f"a window of {window:g} s with a shift of {shift:g} s cannot be: windows last 0.1 to 60 s, and their "
                "shift is above 0 and shorter"
            )
    if min(weights) < 0 or sum(weights) <= 0:
        raise ConfigError(f"weights of scales must be 0 or more, and not all 0: {_said(weights)}")


def _listed(value: Any, what: str) -> list[float]:
    value = value.tolist() if hasattr(value, "tolist") else value
    values = value if isinstance(value, (list, tuple)) else [value]
    try:
        if any(isinstance(number, (bool, str)) for number in values):
            raise TypeError
        return [float(number) for number in values]
    except (TypeError, ValueError):
        raise UsageError(f"the {what} of each scale must be a number or a list of numbers, not {value!r}") from None


def _said(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _preset(name: str, summary: str, changes: Mapping[str, Any]) -> NemoPreset:
    source = f"NVIDIA NeMo, diar_infer_{name}.yaml"
    return NemoPreset(name, summary, source, replace_from(NemoStyleConfig(), changes))


PRESETS: Mapping[str, NemoPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            _preset("general", "balanced over many kinds of recordings (tuned on DIHARD 3)", {}),
            _preset(
                "meeting",
                "three to five people in a meeting",
                {
                    "vad": {
                        "shift_length_in_sec": 0.01,
                        "onset": 0.9,
                        "offset": 0.5,
                        "pad_onset": 0.0,
                        "pad_offset": 0.0,
                        "min_duration_on": 0.0,
                        "min_duration_off": 0.6,
                    },
                    "speaker_embeddings": scales([3.0, 2.5, 2.0, 1.5, 1.0, 0.5], [1.5, 1.25, 1.0, 0.75, 0.5, 0.25]),
                    "clustering.sparse_search_volume": 30,
                },
            ),
            _preset(
                "telephonic",
                "two to eight people on the telephone",
                {
                    "vad": {
                        "window_length_in_sec": 0.15,
                        "shift_length_in_sec": 0.01,
                        "smoothing": "median",
                        "onset": 0.1,
                        "offset": 0.1,
                        "pad_onset": 0.1,
                        "pad_offset": 0.0,
                        "min_duration_on": 0.0,
                        "min_duration_off": 0.2,
                    },
                    "speaker_embeddings": scales([1.5, 1.25, 1.0, 0.75, 0.5], [0.75, 0.625, 0.5, 0.375, 0.25]),
                    "clustering.sparse_search_volume": 30,
                },
            ),
        )
    }
)


def preset(name: str) -> NemoPreset:
    """The preset of that name. Raises `UsageError` naming the nearest."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset '{name}' of nemo-style{nearest(name, PRESETS)}")
    return PRESETS[name]


def resolve(
    name: str = DEFAULT,
    file: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    models: Mapping[str, Any] | None = None,
) -> NemoStyleConfig:
    """A preset, changed by `models`, a preset file (TOML or JSON), and single values; later ones win.

    A file may name the preset it starts from. Windows given without weights weigh the same, and without shifts begin
    each half a window. Raises `UsageError`, `ConfigError`.
    """
    base, values = read_preset(file, name)
    config = preset(base).config
    for given in (models or {}, values, changes or {}):
        config = replace_from(config, _weighed(given))
    return config


def _weighed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, with equal weights and shifts of half a window where there are windows and none of those."""
    flat, key = dict(values), "speaker_embeddings"
    table = flat.get(key)
    given = dict(table) if isinstance(table, Mapping) else {}
    given |= {name.partition(".")[2]: flat.pop(name) for name in list(flat) if name.startswith(f"{key}.")}
    windows = given.get("window_length_in_sec")
    if isinstance(windows, (list, tuple)):
        given.setdefault("multiscale_weights", [1.0] * len(windows))
        if all(isinstance(window, (int, float)) for window in windows):
            given.setdefault("shift_length_in_sec", [window / 2 for window in windows])
    return {**flat, key: given} if given else flat


def as_nemo(config: NemoStyleConfig) -> dict[str, Any]:
    """The configuration in the shape and the words of NeMo's files, without models: to lay beside them."""
    vad = {name: value for name, value in to_dict(config.vad).items() if name != "model"}
    vad["smoothing"] = False if config.vad.smoothing == "none" else config.vad.smoothing
    ours = ("fixed_thres", "embeddings_per_chunk")
    clustering = {name: value for name, value in to_dict(config.clustering).items() if name not in ours}
    return {
        "diarizer": {
            "vad": {"parameters": vad},
            "speaker_embeddings": {"parameters": to_dict(config.speaker_embeddings)},
            "clustering": {"parameters": clustering},
        }
    }
