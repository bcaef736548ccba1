"""WhisperX's diarization, on diarist's engines: the same names, the same arguments, the same table.

    from diarist.whisperx import DiarizationPipeline, assign_word_speakers

    diarize_model = DiarizationPipeline(device="cpu")
    diarize_segments = diarize_model("meeting.wav", min_speakers=2, max_speakers=4)
    result = assign_word_speakers(diarize_segments, result)

Both signatures in use are taken: that of WhisperX (`model_name, token, device, cache_dir`) and that of its NeMo branch
(`model_name, use_auth_token, device, vad_model, speaker_model, window_length_in_sec, shift_length_in_sec`). pandas is
needed, torch and whisperx are not.
"""

from __future__ import annotations

import os
import re
import string
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist.core.config import nearest, replace_from
from diarist.core.events import Event
from diarist.core.protocols import EmbeddingModel
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization
from diarist.errors import ExtraError, UsageError
from diarist.models import nemo
from diarist.models.catalog import CATALOG
from diarist.models.vad import NAMES
from diarist.pipelines import nemo_own_presets, nemo_presets, presets
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.nemo_style import NemoStyleDiarizer
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.voices import voices_of
from diarist.words.whisperx_dicts import assign_word_speakers

if TYPE_CHECKING:
    import pandas

__all__ = ["DiarizationPipeline", "Segment", "assign_word_speakers"]

COLUMNS = ["segment", "label", "speaker", "start", "end"]


class _Unsaid(str):
    """A default value, told from the same word said by the caller."""


VAD_MODEL, SPEAKER_MODEL, WINDOW, SHIFT = _Unsaid("vad_multilingual_marblenet"), _Unsaid("titanet_large"), 1.5, 0.75
NEMO_VADS = (*nemo.VADS, *nemo.ALIASES)
NEMO_SPEAKERS = nemo.SPEAKERS
# Thresholds that suit silero: those of NeMo's recipes, and of WhisperX's NeMo branch, were set for MarbleNet.
_SPEECH = {
    "vad": {
        "shift_length_in_sec": 0.01,
        "onset": 0.5,
        "offset": 0.1,
        "pad_onset": 0.1,
        "pad_offset": 0.0,
        "min_duration_on": 0.1,
        "min_duration_off": 0.2,
    },
    "clustering.sparse_search_volume": 30,
}

Scale = float | list[float] | tuple[float, ...]
ProgressCallback = Callable[[float], Any] | None


@dataclass(frozen=True)
class Segment:
    """A stretch of time, in seconds, and who talks in it."""

    start: float
    end: float
    speaker: str | None = None

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start

    def __str__(self) -> str:
        return f"[{self.start:.3f} --> {self.end:.3f}]"


class DiarizationPipeline:
    """Who spoke when, as a table.

    With nothing but defaults the default engine runs (`diarist run`). Windows or models of one's own ask for
    NeMo-style clustering (`diarist run --engine nemo-style`): `window_length_in_sec` and `shift_length_in_sec` are
    numbers, or lists from the longest scale to the shortest; several windows without shifts begin each half a window.
    `vad_model` is a voice activity model of ours (`silero`, `segmentation`, `marblenet`, an ONNX file), `speaker_model`
    an embedding model (`campplus-zh-en`, an ONNX file). NVIDIA's models, by name or as a `.nemo` file, are run by NeMo
    (extra `nemo`); where it is not installed their names stand for ours, with a warning unless they are the defaults.

    `model_name`: a preset of either engine (`fast`, `accurate`, `meeting`, ...), or `nemo`: NVIDIA's models with the
    recipe `general`; the name of a pyannote pipeline stands for the default engine, with a warning. Tokens are not
    needed and not used. `device`: `cpu`, or `cuda` where torch is installed and finds one; else the CPU, with a
    warning. `cache_dir`: where weights are kept, for the whole process from then on (in WhisperX's order of arguments,
    a fourth one that is a folder is taken for it too).

    Raises `UsageError` for names and values that cannot be meant, `MissingError` (when called) for missing weights.
    """

    def __init__(
        self,
        model_name: str | None = None,
        use_auth_token: str | bool | None = None,
        device: Any = "cpu",
        vad_model: str | Path | None = VAD_MODEL,
        speaker_model: str | Path | None = SPEAKER_MODEL,
        window_length_in_sec: Scale = WINDOW,
        shift_length_in_sec: Scale = SHIFT,
        *,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        del use_auth_token, token  # the weights are open
        self._given = {
            "model_name": model_name,
            "device": device,
            "vad_model": vad_model,
            "speaker_model": speaker_model,
            "window_length_in_sec": window_length_in_sec,
            "shift_length_in_sec": shift_length_in_sec,
            "cache_dir": cache_dir,
        }
        if _is_folder(vad_model):
            vad_model, cache_dir = VAD_MODEL, vad_model if cache_dir is None else cache_dir
        if cache_dir is not None:
            os.environ["DIARIST_CACHE"] = str(_path(cache_dir, "cache_dir").expanduser().absolute())
        runtime = _runtime(device)
        preset = _preset(model_name)
        models = {**(nemo_own_presets.MODELS if model_name == "nemo" else {}), **_models(vad_model, speaker_model)}
        scales = _scales(window_length_in_sec, shift_length_in_sec)
        own_scales = scales != nemo_presets.scales(WINDOW, SHIFT)
        self.model: Diarizer | NemoStyleDiarizer
        if preset in nemo_presets.PRESETS:
            changes = {**models, **({"speaker_embeddings": scales} if own_scales else {})}
            self.model = NemoStyleDiarizer(preset, config=changes, runtime=runtime)
        elif models or own_scales:
            if model_name is not None and preset != presets.DEFAULT:
                raise UsageError(
                    f"the preset '{preset}' has no models and windows to choose: leave out model_name, or vad_model, "
                    "speaker_model, window_length_in_sec and shift_length_in_sec"
                )
            speech = {} if nemo.is_nemo(models.get("vad.model", "")) else _SPEECH
            config = nemo_presets.resolve(changes={**speech, "speaker_embeddings": scales})
            config = replace_from(config, models)
            self.model = NemoStyleDiarizer(config=config, runtime=runtime)
        else:
            self.model = Diarizer(preset, runtime=runtime)

    def __call__(
        self,
        audio: Any,
        num_speakers: int | None = None,
        min_speakers: int | None = None,
        max_speakers: int | None = None,
        return_embeddings: bool = False,
        progress_callback: ProgressCallback = None,
    ) -> Any:
        """A pandas frame with the columns `segment, label, speaker, start, end`, a row a turn, in order of start.

        `audio` is a path, or samples at 16 kHz (`whisperx.load_audio`): an array or a tensor `(num_samples,)`, floats
        or integers; of several channels, `(num_channels, num_samples)`, the mean is heard. Speakers are `SPEAKER_00`,
        `SPEAKER_01`, ... With `return_embeddings`, a pair of that frame and a dictionary with the voice of each speaker
        in it, as a list of floats. `progress_callback` is told of the percentage done, rising to 100.

        Raises `AudioError` for what is not sound, `UsageError` for impossible bounds, `ExtraError` without pandas.
        """
        _pandas()
        sound, rate = _sound(audio)
        hooks = () if progress_callback is None else (_Percent(progress_callback),)
        result = self.model(
            sound,
            sample_rate=rate,
            num_speakers=num_speakers,
            min_speakers=min_speakers,
            max_speakers=max_speakers,
            hooks=hooks,
        )
        for warning in result.warnings:
            warnings.warn(f"{result.uri}: {warning}", stacklevel=2)
        frame = to_frame(result)
        voices = voices_of(result, sound, rate, self._embedding) if return_embeddings else {}
        if progress_callback is not None:
            progress_callback(100.0)
        if not return_embeddings:
            return frame
        return frame, {name: [float(value) for value in voice] for name, voice in voices.items()}

    def __getstate__(self) -> dict[str, Any]:
        """What it was made from; models are loaded again where it arrives."""
        return self._given

    def __setstate__(self, given: dict[str, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they have been said
            self.__init__(**given)  # type: ignore[misc]

    def _embedding(self) -> EmbeddingModel:
        return self.model.loaded()[1] if isinstance(self.model, Diarizer) else self.model.embedding_model()


def to_frame(diarization: Diarization) -> pandas.DataFrame:
    """A diarization as WhisperX's table. Raises `ExtraError` without pandas."""
    rows = [
        (Segment(turn.start, turn.end), _letters(index), turn.speaker, turn.start, turn.end)
        for index, turn in enumerate(diarization.turns)
    ]
    frame: pandas.DataFrame = _pandas().DataFrame(rows, columns=COLUMNS)
    return frame.astype({"start": "float64", "end": "float64"})


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ExtraError("pandas", "pandas", "diarist.whisperx") from error
    return pandas


def _letters(index: int) -> str:
    """`A`, ..., `Z`, `AA`, ...: pyannote's names of turns."""
    name = ""
    while index >= 0:
        name = string.ascii_uppercase[index % 26] + name
        index = index // 26 - 1
    return name


class _Percent:
    """A hook that tells a callback what share of the work is done; it never falls."""

    def __init__(self, callback: Callable[[float], Any]) -> None:
        self._callback, self._told = callback, 0.0

    def __call__(self, event: Event) -> None:
        if event.kind == "progress" and event.total:
            percent = min(99.0, 99.0 * event.done / event.total)
            if percent > self._told:
                self._told = percent
                self._callback(percent)


def _sound(audio: Any) -> tuple[Any, int | None]:
    """What an engine takes, and the sample rate of an array."""
    if isinstance(audio, (str, Path, bytes)) or hasattr(audio, "read"):
        return audio, None
    if hasattr(audio, "detach"):  # a tensor of torch
        audio = audio.detach().cpu().numpy()
    if not isinstance(audio, np.ndarray):
        raise UsageError(f"audio must be a path, or samples at {SAMPLE_RATE} Hz, not {type(audio).__name__}")
    if audio.dtype in (np.int64, np.uint64):  # 16-bit samples that numpy made wide would be silence on that scale
        raise UsageError(f"samples of {audio.dtype} have no known scale: give floats from -1 to 1, or int16")
    return (audio.T if audio.ndim == 2 and audio.shape[0] < audio.shape[1] else audio), SAMPLE_RATE


def _is_folder(value: Any) -> bool:
    """Whether a fourth argument is WhisperX's `cache_dir`, not a model."""
    if value is None or str(value) in (*NEMO_VADS, *NAMES, *CATALOG):
        return False
    path = _path(value, "vad_model").expanduser()
    if path.is_dir():
        return True
    said = isinstance(value, os.PathLike) or str(value).startswith(("/", "./", "../", "~"))
    return said and not path.suffix and not path.exists()


def _path(value: Any, name: str) -> Path:
    try:
        return Path(value)
    except TypeError:
        raise UsageError(f"{name} must be a name or a path, not {value!r}") from None


def _scales(window: Any, shift: Any) -> dict[str, Any]:
    """Values of `ScalesConfig`; several windows without shifts begin each half a window."""
    scales = nemo_presets.scales(window, shift)
    windows = scales["window_length_in_sec"]
    if len(windows) > 1 and scales["shift_length_in_sec"] == [SHIFT]:
        scales["shift_length_in_sec"] = [length / 2 for length in windows]
    return scales


def _preset(model_name: str | None) -> str:
    """The preset that a name stands for."""
    if model_name is None:
        return presets.DEFAULT
    name = nemo_own_presets.DEFAULT if model_name == "nemo" else str(model_name)
    if name in presets.PRESETS or name in nemo_presets.PRESETS:
        return name
    if name.removeprefix("nemo-") in nemo_presets.PRESETS:
        return name.removeprefix("nemo-")
    if name.startswith("pyannote/") or re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        _warn(f"'{name}' stands for diarist's default engine here (preset '{presets.DEFAULT}')")
        return presets.DEFAULT
    raise UsageError(f"unknown model_name '{name}'{nearest(name, [*presets.PRESETS, *nemo_presets.PRESETS])}")


def _models(vad_model: Any, speaker_model: Any) -> dict[str, Any]:
    """Changes to a configuration for models that are said; without NeMo, names of NVIDIA's stand for ours."""
    changes: dict[str, Any] = {}
    for given, default, key, ours in (
        (vad_model, VAD_MODEL, "vad.model", nemo_presets.VadConfig().model),
        (speaker_model, SPEAKER_MODEL, "embedding.model", nemo_presets.EmbeddingModelConfig().model),
    ):
        if given is None or isinstance(given, _Unsaid):
            continue
        name = str(given)
        if name in (*NEMO_VADS, *NEMO_SPEAKERS) and not nemo.installed():
            if name != default:
                _warn(f"NVIDIA's '{name}' is run by NeMo, which is not installed: '{ours}' runs in its place")
            continue
        changes[key] = name
    return changes


def _runtime(device: Any) -> RuntimeConfig:
    """Where networks run. Raises `UsageError` for what is no device."""
    name = str(device if device is not None else "cpu")
    if not re.fullmatch(r"(cpu|auto|cuda|mps|xpu|mlx)(:\d+)?", name):
        raise UsageError(f"device must be 'cpu', 'cuda', 'cuda:1' or 'mps', not {name!r}")
    if name.startswith(("cpu", "auto")):
        return RuntimeConfig()
    if _has(name):
        return RuntimeConfig(backend="torch", device=name)
    _warn(f"no device '{name}' that torch can use here: the CPU is used")
    return RuntimeConfig()


def _has(device: str) -> bool:
    """Whether torch is installed and finds a device."""
    try:
        import torch

        kind, _, index = device.partition(":")
        if kind == "mps":
            return bool(torch.backends.mps.is_available())
        return kind == "cuda" and bool(torch.cuda.is_available()) and int(index or 0) < torch.cuda.device_count()
    except (ImportError, AttributeError, OSError):
        return False


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
