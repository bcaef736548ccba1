"""The methods by name: what `--engine` picks, what each is told, and what makes it.

diarizer = engine("nemo-style").build("meeting")
result = diarizer("meeting.m4a")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from diarist.core.config import by_name
from diarist.core.events import Hook
from diarist.pipelines import auto_presets, nemo_own_presets, nemo_presets, presets
from diarist.pipelines.auto_presets import AutoConfig
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.endtoend_presets import NEMOTRON, NO_VOICES, SORTFORMER, EndToEndConfig, Presets
from diarist.pipelines.nemo_presets import NemoStyleConfig
from diarist.pix2seq import presets as pix2seq_presets
from diarist.pix2seq.config import Pix2SeqConfig

if TYPE_CHECKING:
    from diarist.pipelines.method import Method


class Named(Protocol):
    """A preset, as lists of them show it."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def summary(self) -> str:
        """When to take it."""
        ...


@dataclass(frozen=True)
class Engine:
    """A method: `config` is its configuration's class, `presets` names of frozen ones, the default one among them.

    `resolve(preset, file, changes)` gives a configuration, `make(preset, config=..., runtime=...)` a diarizer;
    `weights(config)` what it runs, names of the catalogue among them. `extra` is what has to be installed for it.
    `hears_speech`: its diarizer may be told where there is speech, and of a part of a recording.
    """

    name: str
    summary: str
    config: type[Any]
    presets: Mapping[str, Named]
    default: str
    resolve: Callable[[str, str | Path | None, Mapping[str, Any] | None], Any]
    make: Callable[..., Method[Any]]
    weights: Callable[[Any], Sequence[str]]
    extra: str | None = None
    hears_speech: bool = False

    def build(
        self,
        preset: str | None = None,
        *,
        config: Any = None,
        runtime: RuntimeConfig | None = None,
        hooks: Sequence[Hook] = (),
    ) -> Method[Any]:
        """A diarizer; models are loaded at its first call. `config` is a whole one, or a mapping of changes."""
        preset = preset or self.default
        whole = config if isinstance(config, self.config) else self.resolve(preset, None, config)
        return self.make(preset, config=whole, runtime=runtime, hooks=hooks)


def engine(name: str) -> Engine:
    """The engine of that name. Raises `UsageError` naming the nearest."""
    return by_name(ENGINES, name, "engine")


def _clustering(preset: str, **options: Any) -> Method[Any]:
    from diarist.pipelines.offline import Diarizer

    return Diarizer(preset, **options)


def _clustering_weights(config: PipelineConfig) -> list[str]:
    return [config.segmentation.model, _vad(config.segmentation.vad), config.embedding.model]


def _nemo_style(preset: str, **options: Any) -> Method[Any]:
    from diarist.pipelines.nemo_style import NemoStyleDiarizer

    return NemoStyleDiarizer(preset, **options)


def _nemo_style_weights(config: NemoStyleConfig) -> list[str]:
    heard = [config.segmentation.model] if config.segmentation.overlap else []
    return [*heard, _vad(config.vad.model), config.embedding.model]


def _end_to_end(name: str, presets: Presets) -> Engine:
    """An engine around an end-to-end model."""

    def make(preset: str, **options: Any) -> Method[Any]:
        from diarist.pipelines.endtoend import EndToEndDiarizer

        return EndToEndDiarizer(preset, presets=presets, engine=name, **options)

    summary, extra = _END_TO_END[name]
    return Engine(
        name,
        summary,
        EndToEndConfig,
        presets.presets,
        presets.default,
        presets.resolve,
        make,
        _end_to_end_weights,
        extra=extra,
    )


def _end_to_end_weights(config: EndToEndConfig) -> list[str]:
    from diarist.models.endtoend import parts

    voices = config.embedding.model
    return [parts(config.network.model)[1], *([] if voices == NO_VOICES else [voices])]


_END_TO_END = {
    "nemotron": ("one network for everything, up to eight speakers: Nemotron 3 Diarization", "transformers"),
    "sortformer": ("one network for everything, up to four speakers: Streaming Sortformer", "nemo"),
}


def _auto(preset: str, **options: Any) -> Method[Any]:
    from diarist.pipelines.auto import AutoDiarizer

    return AutoDiarizer(preset, **options)


def _auto_weights(config: AutoConfig) -> list[str]:
    return [*_clustering_weights(presets.resolve(config.router.clustering)), config.embedding.model]


def _pix2seq(preset: str, **options: Any) -> Method[Any]:
    from diarist.pix2seq.engine import Pix2SeqDiarizer

    return Pix2SeqDiarizer(preset, **options)


def _pix2seq_weights(config: Pix2SeqConfig) -> list[str]:
    from diarist.pix2seq.checkpoint import weights_of

    return weights_of(config.checkpoint)


def _vad(name: str) -> str:
    from diarist.models.vad import NAMES

    return NAMES.get(name, name)


ENGINES: Mapping[str, Engine] = MappingProxyType(
    {
        engine.name: engine
        for engine in (
            Engine(
                "clustering",
                "segmentation, voices, VBx on windows: the default",
                PipelineConfig,
                presets.PRESETS,
                presets.DEFAULT,
                presets.resolve,
                _clustering,
                _clustering_weights,
            ),
            Engine(
                "nemo-style",
                "voice activity, voices at several scales, NME-SC",
                NemoStyleConfig,
                nemo_presets.PRESETS,
                nemo_presets.DEFAULT,
                nemo_presets.resolve,
                _nemo_style,
                _nemo_style_weights,
                hears_speech=True,
            ),
            Engine(
                "nemo",
                "nemo-style with NVIDIA's own models, run by NeMo: MarbleNet and TitaNet",
                NemoStyleConfig,
                nemo_own_presets.PRESETS,
                nemo_own_presets.DEFAULT,
                nemo_own_presets.resolve,
                partial(_nemo_style, engine="nemo"),
                _nemo_style_weights,
                extra="nemo",
                hears_speech=True,
            ),
            _end_to_end("nemotron", NEMOTRON),
            _end_to_end("sortformer", SORTFORMER),
            Engine(
                "auto",
                "an end-to-end model up to as many speakers as it tells apart, clustering beyond, by a quick count",
                AutoConfig,
                auto_presets.PRESETS,
                auto_presets.DEFAULT,
                auto_presets.resolve,
                _auto,
                _auto_weights,
            ),
            Engine(
                "pix2seq",
                "a transformer of diarist's own writes turns as tokens",
                Pix2SeqConfig,
                pix2seq_presets.PRESETS,
                pix2seq_presets.DEFAULT,
                pix2seq_presets.resolve,
                _pix2seq,
                _pix2seq_weights,
                extra="pix2seq",
            ),
        )
    }
)
"""Every engine, the default one first."""

DEFAULT = next(iter(ENGINES))
