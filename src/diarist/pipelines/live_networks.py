"""The networks of a live pipeline, loaded once however many configurations use them."""

from __future__ import annotations

from dataclasses import dataclass

from diarist.core.protocols import EmbeddingModel, SegmentationModel, VoiceActivityModel
from diarist.models.load import load_embedding, load_segmentation
from diarist.models.vad import load_vad
from diarist.pipelines.config import RuntimeConfig
from diarist.pipelines.live_config import LiveConfig

SPEECH = "speech"  # the kind of stream in which nobody is told apart


@dataclass(frozen=True)
class Networks:
    """What a stream hears with: `embedding` is None where nobody is told apart, `vad` where there is no second opinion.

    `own` are the types of a segmentation and an embedding network that the caller has given, "" for those that the
    configuration names.
    """

    segmentation: SegmentationModel
    embedding: EmbeddingModel | None
    vad: VoiceActivityModel | None
    own: tuple[str, str] = ("", "")


def names(config: LiveConfig, kind: str) -> tuple[str, ...]:
    """Two configurations with the same names can share their networks."""
    segmentation, embedding = config.segmentation, config.embedding
    heard = (segmentation.model, segmentation.precision, segmentation.vad)
    return heard if kind == SPEECH else (*heard, embedding.model, embedding.precision)


def load(
    config: LiveConfig,
    kind: str,
    runtime: RuntimeConfig,
    segmentation: SegmentationModel | None = None,
    embedding: EmbeddingModel | None = None,
) -> Networks:
    """Those that a configuration names, but for the ones given. Raises `MissingError` where weights are not there."""
    own = (_type(segmentation), _type(embedding))
    vad = None
    if segmentation is None and config.segmentation.vad != "none":
        vad = load_vad(config.segmentation.vad, device=runtime.device, offline=runtime.offline)
    segmentation = segmentation or load_segmentation(
        config.segmentation.model,
        precision=config.segmentation.precision,  # type: ignore[arg-type]
        backend=runtime.backend,
        device=runtime.device,
        offline=runtime.offline,
    )
    if kind == SPEECH:
        return Networks(segmentation, None, vad, own)
    embedding = embedding or load_embedding(
        config.embedding.model,
        precision=config.embedding.precision,  # type: ignore[arg-type]
        backend=runtime.backend,
        device=runtime.device,
        offline=runtime.offline,
    )
    return Networks(segmentation, embedding, vad, own)


def _type(model: object | None) -> str:
    return "" if model is None else type(model).__qualname__
