"""The speaker cache keeps what the class of transformers keeps."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.stages.speaker_cache import Cached, CachePolicy, remember


def empty(hidden=5, num_speakers=3):
    none = np.zeros((0, hidden), np.float32)
    return Cached(none, np.zeros((0, num_speakers), np.float32), none)


def rows(num_frames, rng, num_speakers=3):
    """Embeddings that tell which frame they are of, and who talks: one of them, or two."""
    probs = np.clip(rng.beta(0.3, 0.6, (num_frames, num_speakers)), 0, 1).astype(np.float32)
    return rng.normal(size=(num_frames, 5)).astype(np.float32), probs


def test_nothing_moves_before_the_queue_is_full():
    policy = CachePolicy(fifo=10, period=6, num_speakers=3, length=12)
    embeds, probs = rows(10, np.random.default_rng(0))
    after = remember(empty(), embeds, probs, np.zeros(5, np.float32), policy)
    assert len(after.embeds) == 0 and not after.compressed
    np.testing.assert_array_equal(after.fifo, embeds)


def test_oldest_frames_move_first():
    policy = CachePolicy(fifo=4, period=3, num_speakers=3, length=12)
    embeds, probs = rows(6, np.random.default_rng(0))
    after = remember(empty(), embeds, probs, np.zeros(5, np.float32), policy)
    np.testing.assert_array_equal(after.embeds, embeds[:3])
    np.testing.assert_array_equal(after.probs, probs[:3])
    np.testing.assert_array_equal(after.fifo, embeds[3:])


def test_nobody_is_crowded_out():
    """Long after one has fallen silent, and through all that others say, frames of theirs are kept."""
    policy = CachePolicy(fifo=4, period=4, num_speakers=3, length=30)
    rng, cached = np.random.default_rng(1), empty()
    for step in range(60):
        chunk = rng.normal(size=(4, 5)).astype(np.float32)
        speaker = 0 if step < 4 else 1 + step % 2
        chunk[:, 0] = speaker
        now = np.full((4, 3), 0.02, np.float32)
        now[:, speaker] = rng.uniform(0.8, 0.99, 4)
        said = np.concatenate([np.full((len(cached.embeds) + len(cached.fifo), 3), 0.02, np.float32), now])
        known = np.concatenate([cached.embeds, cached.fifo])
        said[np.arange(len(known)), np.clip(known[:, 0], 0, 2).astype(int)] = 0.9
        cached = remember(cached, chunk, said, np.full(5, -1, np.float32), policy)
        assert len(cached.embeds) <= policy.length and len(cached.fifo) <= policy.fifo
    kept = cached.embeds[:, 0]
    assert cached.compressed
    assert min((kept == who).sum() for who in (0, 1, 2)) >= int(0.75 * policy.share)
    assert (kept == -1).sum() == policy.silence * policy.num_speakers
    assert list(kept[kept >= 0]) == sorted(kept[kept >= 0])  # by speaker


@pytest.mark.parametrize("seed", range(4))
def test_keeps_what_the_class_keeps(seed):
    pytest.importorskip("transformers.models.nemotron3_diarization")
    torch = pytest.importorskip("torch")
    from transformers import Nemotron3DiarizationStreamingConfig
    from transformers.models.nemotron3_diarization import modeling_nemotron3_diarization as theirs

    config = Nemotron3DiarizationStreamingConfig(
        fifo_length=9, speaker_cache_update_period=7, speaker_cache_length=20, num_speakers=3, subsampling_factor=1
    )
    policy = CachePolicy(fifo=9, period=7, num_speakers=3, length=20)
    memory = theirs.Nemotron3DiarizationSpeakerCache(config)
    rng, cached = np.random.default_rng(seed), empty()
    silence = rng.normal(size=5).astype(np.float32)
    for _ in range(25):
        chunk, _ = rows(int(rng.integers(1, 6)), rng)
        known = np.concatenate([cached.embeds, cached.fifo])
        _, probs = rows(len(known) + len(chunk), rng)
        with np.errstate(divide="ignore"):
            logits = np.log(probs) - np.log1p(-probs)
        logits = np.clip(logits, -12, 12).astype(np.float32)
        said = 1 / (1 + np.exp(-logits))
        given = torch.from_numpy(np.concatenate([known, chunk]))[None]
        memory.update(given, torch.from_numpy(logits)[None], torch.from_numpy(silence), len(chunk))
        cached = remember(cached, chunk, said, silence, policy)
        np.testing.assert_array_equal(cached.embeds, memory.embeds[0, : memory.num_cache_frames].numpy())
        np.testing.assert_array_equal(cached.fifo, memory.fifo[0, : memory.num_fifo_frames].numpy())
        np.testing.assert_allclose(cached.probs, memory.probs[0, : memory.num_cache_frames].numpy(), atol=1e-6)
        assert cached.compressed == memory.is_compressed
    assert cached.compressed
