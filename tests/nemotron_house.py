"""A tiny Nemotron with random weights, saved as its publisher's is."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def tiny(seed: int = 0) -> tuple[Any, Any]:
    """A network and its processor: 4 speakers, short memories, weights large enough for speakers to come and go."""
    import torch
    from transformers import (
        Nemotron3DiarizationAudioConfig,
        Nemotron3DiarizationConfig,
        Nemotron3DiarizationForAudioFrameClassification,
        Nemotron3DiarizationHeadConfig,
        Nemotron3DiarizationProcessor,
        Nemotron3DiarizationStreamingConfig,
        NemotronAsrStreamingFeatureExtractor,
    )

    config = Nemotron3DiarizationConfig(
        audio_config=Nemotron3DiarizationAudioConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_mel_bins=16
        ),
        head_config=Nemotron3DiarizationHeadConfig(hidden_size=24, num_speakers=4, audio_hidden_size=32),
        streaming_config=Nemotron3DiarizationStreamingConfig(
            fifo_length=12, speaker_cache_update_period=10, speaker_cache_length=24, num_speakers=4
        ),
        chunk_length=20,
        chunk_right_context=5,
        fifo_length=6,
        speaker_cache_update_period=15,
    )
    torch.manual_seed(seed)
    network = Nemotron3DiarizationForAudioFrameClassification(config).eval()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and "upsampler" not in name:
                weight.copy_(torch.randn_like(weight) * 1.5 / weight.shape[1] ** 0.5)
        network.silence_embeds.copy_(torch.randn_like(network.silence_embeds))
        network.classifier.out_proj.weight.mul_(2.0)
    extractor = NemotronAsrStreamingFeatureExtractor(feature_size=16)
    return network, Nemotron3DiarizationProcessor(extractor)


def saved(folder: Path, seed: int = 0) -> Path:
    """A folder as `from_pretrained` takes it."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    network, processor = tiny(seed)
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
