"""A Whisper in CTranslate2's format, made from nothing, that always says the same sentence.

One layer, 64 numbers wide, 1 MB. What it says stands in the decoder's position encodings: at each place they point at
the embedding of the token that comes next, far louder than everything else, whose weights are noise. It is loaded and
run by the real engine.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

WIDTH, NUM_FRAMES, NUM_PLACES, NUM_MELS = 64, 1500, 448, 80
SAID = [" Hello", " there", ".", " How", " are", " you", "?"]
SPLIT = 3  # words of the first segment
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"]
SPECIAL += ["<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]


def make(folder: Path) -> Path:
    """Write the model and its tokenizer."""
    from ctranslate2.specs import whisper_spec

    rng = np.random.default_rng(0)
    letters = _byte_letters()
    words = [text.replace(" ", "Ġ") for text in SAID if text.replace(" ", "Ġ") not in letters]
    tokens = [*letters, *words, *SPECIAL, *(f"<|{step * 0.02:.2f}|>" for step in range(1501))]
    embeddings = rng.normal(0, 1, (len(tokens), WIDTH)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)

    spec = whisper_spec.WhisperSpec(1, 1, 1, 1)
    _fill(spec.encoder, rng)
    _fill(spec.decoder, rng)
    spec.encoder.conv1.weight = rng.normal(0, 0.1, (WIDTH, NUM_MELS, 3)).astype(np.float32)
    spec.encoder.conv2.weight = rng.normal(0, 0.1, (WIDTH, WIDTH, 3)).astype(np.float32)
    spec.encoder.position_encodings.encodings = rng.normal(0, 1, (NUM_FRAMES, WIDTH)).astype(np.float32)
    places = np.zeros((NUM_PLACES, WIDTH), np.float32)
    for place, token in enumerate(_sentence(tokens)):
        places[place] = 100 * embeddings[token]
    places[len(_sentence(tokens)) :] = 100 * embeddings[tokens.index("<|endoftext|>")]
    spec.decoder.position_encodings.encodings = places
    spec.decoder.embeddings.weight = embeddings
    spec.decoder.projection.weight = 10 * embeddings
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.lang_ids = [], [], []
    spec.config.alignment_heads = [(0, 0)]
    spec.register_vocabulary(tokens)
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(tokens)), encoding="utf-8")
    return folder


def _sentence(tokens: list[str]) -> list[int]:
    """What follows the start: times around two segments, as Whisper writes them."""
    said = [tokens.index(text.replace(" ", "Ġ")) for text in SAID]
    times = [tokens.index(f"<|{time:.2f}|>") for time in (0.0, 1.0, 1.2, 3.0)]
    return [times[0], *said[:SPLIT], times[1], times[2], *said[SPLIT:], times[3]]


def _fill(spec, rng) -> None:
    """Noise for every weight of the layers, ones for what scales."""
    for norm in (spec.layer_norm, *_norms(spec.layer[0])):
        norm.gamma, norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    layer = spec.layer[0]
    _linear(layer.self_attention.linear, [(3 * WIDTH, WIDTH), (WIDTH, WIDTH)], rng)
    if hasattr(layer, "attention"):
        _linear(layer.attention.linear, [(WIDTH, WIDTH), (2 * WIDTH, WIDTH), (WIDTH, WIDTH)], rng)
    _linear([layer.ffn.linear_0, layer.ffn.linear_1], [(WIDTH, WIDTH), (WIDTH, WIDTH)], rng)
    for conv in (getattr(spec, "conv1", None), getattr(spec, "conv2", None)):
        if conv is not None:
            conv.bias = np.zeros(WIDTH, np.float32)


def _norms(layer):
    yield layer.self_attention.layer_norm
    yield layer.ffn.layer_norm
    if hasattr(layer, "attention"):
        yield layer.attention.layer_norm


def _linear(linears, shapes, rng) -> None:
    for linear, shape in zip(linears, shapes, strict=True):
        linear.weight = rng.normal(0, 0.05, shape).astype(np.float32)
        linear.bias = np.zeros(shape[0], np.float32)


def _byte_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    letters = {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(rest)}
    return [letters[byte] for byte in range(256)]


def _tokenizer(tokens: list[str]) -> dict:
    first = tokens.index(SPECIAL[0])
    bpe = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": place, "content": tokens[place], **added} for place in range(first, first + len(SPECIAL))
        ],
        "normalizer": None,
        "pre_tokenizer": bpe,
        "post_processor": bpe,
        "decoder": bpe,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: place for place, token in enumerate(tokens)},
            "merges": [],
        },
    }
