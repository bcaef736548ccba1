"""Tiny `.nemo` files of every kind that diarist runs, made by NeMo itself from configurations: weights are random."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

RATE = 16_000
MODELS = "nemo.collections.asr.models"
MODULES = "nemo.collections.asr.modules"


def mel(features: int = 32, normalize: str = "per_feature", pad_to: int = 16) -> dict[str, Any]:
    return {
        "_target_": f"{MODULES}.AudioToMelSpectrogramPreprocessor",
        "sample_rate": RATE,
        "window_size": 0.025,
        "window_stride": 0.01,
        "window": "hann",
        "normalize": normalize,
        "features": features,
        "n_fft": 512,
        "frame_splicing": 1,
        "dither": 1e-5,
        "pad_to": pad_to,
    }


def block(filters: int, kernel: int, *, stride: int = 1, repeat: int = 1, se: bool = False) -> dict[str, Any]:
    return {
        "filters": filters,
        "repeat": repeat,
        "kernel": [kernel],
        "stride": [stride],
        "dilation": [1],
        "dropout": 0.0,
        "residual": repeat > 1,
        "separable": True,
        "se": se,
        "se_context_size": -1,
    }


def conv(feat_in: int, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {
        "_target_": f"{MODULES}.ConvASREncoder",
        "feat_in": feat_in,
        "activation": "relu",
        "conv_mask": True,
        "jasper": list(blocks),
    }


def _speaker(encoder: dict[str, Any], feat_in: int, pooling: str, features: int = 32) -> dict[str, Any]:
    return {
        "target": f"{MODELS}.label_models.EncDecSpeakerLabelModel",
        "sample_rate": RATE,
        "preprocessor": mel(features),
        "encoder": encoder,
        "decoder": {
            "_target_": f"{MODULES}.SpeakerDecoder",
            "feat_in": feat_in,
            "num_classes": 7,
            "pool_mode": pooling,
            "emb_sizes": 24,
            "angular": True,
        },
        "loss": {"_target_": "nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss", "scale": 30, "margin": 0.2},
        "optim": {"name": "sgd", "lr": 0.1},
        "train_ds": {"manifest_filepath": None, "sample_rate": RATE, "labels": None, "batch_size": 4, "shuffle": True},
    }


def _vad(preprocessor: dict[str, Any], features: int) -> dict[str, Any]:
    return {
        "target": f"{MODELS}.classification_models.EncDecClassificationModel",
        "sample_rate": RATE,
        "labels": ["background", "speech"],
        "preprocessor": preprocessor,
        "encoder": conv(features, block(16, 11), block(24, 13, repeat=2), block(32, 1)),
        "decoder": {
            "_target_": f"{MODULES}.ConvASRDecoderClassification",
            "feat_in": 32,
            "num_classes": 2,
            "return_logits": True,
            "pooling_type": "avg",
        },
    }


def _frame_vad() -> dict[str, Any]:
    return {
        "target": f"{MODELS}.classification_models.EncDecFrameClassificationModel",
        "sample_rate": RATE,
        "labels": ["0", "1"],
        "preprocessor": mel(32, normalize="None", pad_to=2),
        "encoder": conv(32, block(16, 11, stride=2), block(24, 13, repeat=2), block(32, 1)),
        "decoder": {
            "_target_": "nemo.collections.common.parts.MultiLayerPerceptron",
            "hidden_size": 32,
            "num_classes": 2,
            "num_layers": 1,
            "activation": "relu",
            "log_softmax": False,
        },
    }


def _sortformer(streaming: bool) -> dict[str, Any]:
    return {
        "target": f"{MODELS}.sortformer_diar_models.SortformerEncLabelModel",
        "sample_rate": RATE,
        "max_num_of_spks": 4,
        "pil_weight": 0.5,
        "ats_weight": 0.5,
        "streaming_mode": streaming,
        "async_streaming": False,
        "model_defaults": {"fc_d_model": 32, "tf_d_model": 16},
        "preprocessor": mel(32, normalize="NA" if streaming else "per_feature", pad_to=0 if streaming else 16),
        "sortformer_modules": {
            "_target_": f"{MODULES}.sortformer_modules.SortformerModules",
            "num_spks": 4,
            "dropout_rate": 0.5,
            "fc_d_model": 32,
            "tf_d_model": 16,
            "subsampling_factor": 8,
            "spkcache_len": 30,
            "fifo_len": 10,
            "chunk_len": 12,
            "spkcache_update_period": 12,
            "chunk_left_context": 1,
            "chunk_right_context": 2,
        },
        "encoder": {
            "_target_": f"{MODULES}.ConformerEncoder",
            "feat_in": 32,
            "feat_out": -1,
            "n_layers": 2,
            "d_model": 32,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 16,
            "causal_downsampling": False,
            "ff_expansion_factor": 2,
            "self_attention_model": "rel_pos",
            "n_heads": 4,
            "att_context_size": [-1, -1],
            "conv_kernel_size": 9,
            "conv_norm_type": "batch_norm",
            "dropout": 0.1,
            "dropout_emb": 0.0,
            "dropout_att": 0.1,
        },
        "transformer_encoder": {
            "_target_": f"{MODULES}.transformer.transformer_encoders.TransformerEncoder",
            "num_layers": 2,
            "hidden_size": 16,
            "inner_size": 32,
            "num_attention_heads": 4,
            "attn_score_dropout": 0.5,
            "attn_layer_dropout": 0.5,
            "ffn_dropout": 0.5,
            "hidden_act": "relu",
            "pre_ln": False,
            "pre_ln_final_layer_norm": True,
        },
        "loss": {"_target_": "nemo.collections.asr.losses.bce_loss.BCELoss", "weight": None, "reduction": "mean"},
    }


MFCC = {
    "_target_": f"{MODULES}.AudioToMFCCPreprocessor",
    "window_size": 0.025,
    "window_stride": 0.01,
    "window": "hann",
    "n_mels": 64,
    "n_mfcc": 32,
    "n_fft": 512,
}
TITANET = conv(32, block(16, 3, se=True), block(24, 7, repeat=3, se=True), block(48, 1, se=True))
SPEAKERNET = conv(32, block(16, 3), block(24, 7, repeat=2), block(48, 1))
ECAPA = {
    "_target_": f"{MODULES}.ECAPAEncoder",
    "feat_in": 32,
    "filters": [16, 16, 16, 16, 48],
    "kernel_sizes": [5, 3, 3, 3, 1],
    "dilations": [1, 1, 1, 1, 1],
    "scale": 4,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "titanet": _speaker(TITANET, 48, "attention"),
    "ecapa": _speaker(ECAPA, 48, "attention"),
    "speakernet": _speaker(SPEAKERNET, 48, "xvector"),
    "marblenet": _vad(MFCC, 32),
    "marblenet-mel": _vad(mel(32), 32),
    "frame-marblenet": _frame_vad(),
    "sortformer": _sortformer(streaming=False),
    "streaming-sortformer": _sortformer(streaming=True),
}
SPEAKERS = ("titanet", "ecapa", "speakernet")
WINDOWED = ("marblenet", "marblenet-mel")


def build(name: str, path: Path, seed: int = 0) -> Path:
    """Write the model `name` of `CONFIGS`, with weights that depend on `seed` alone, as a `.nemo` file."""
    import torch
    from nemo.core.classes import ModelPT
    from nemo.utils import logging
    from omegaconf import OmegaConf

    logging.setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.random.fork_rng(), torch.no_grad():
        warnings.simplefilter("ignore")  # NeMo's, and torch's of NeMo
        torch.manual_seed(seed)
        model = ModelPT.from_config_dict(OmegaConf.create(CONFIGS[name])).eval()
        for module in model.modules():  # statistics that a trained network would have
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        if "marblenet" in name:
            _opinionated(model)
        elif "sortformer" not in name:
            _discerning(model)
        model.save_to(str(path))
    return path


def _pieces(length: int) -> Any:
    """A conversation of three in pieces `(num_pieces, length)`, and their lengths."""
    import numpy as np
    import torch

    from diarist.models.toy import conversation

    sound = conversation([(1, 3, "a"), (4, 6, "b"), (7, 9, "c")], 10)
    pieces = torch.from_numpy(sound[: len(sound) // length * length].reshape(-1, length).astype(np.float32))
    return {"input_signal": pieces, "input_signal_length": torch.full((len(pieces),), length)}


def _opinionated(model: Any) -> None:
    """Stretch the scores of a voice activity model, so that some windows of a conversation are speech."""
    import torch

    scores = model.forward(**_pieces(10080))
    odds = (scores[..., 1] - scores[..., 0]).flatten()
    last = [module for module in model.decoder.modules() if isinstance(module, torch.nn.Linear)][-1]
    gain = 2 / odds.std()
    last.weight *= gain
    last.bias *= gain
    last.bias[1] -= gain * odds.median()


def _discerning(model: Any) -> None:
    """Give the last normalisation of a speaker model the statistics of a conversation, so that voices are unlike."""
    import torch

    (last,) = (layer for layer in model.decoder.emb_layers[-1] if isinstance(layer, torch.nn.BatchNorm1d))
    seen: list[Any] = []
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.forward(**_pieces(16000))
    hook.remove()
    values = seen[0].flatten(1)
    last.running_mean.copy_(values.mean(dim=0))
    last.running_var.copy_(values.var(dim=0) + 1e-4)
