"""Log mel energies of NVIDIA's models."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.stages.mel import FFT, HOP, filters, log_mel


def test_frames_of_hops():
    assert log_mel(np.zeros(16_000, np.float32), 80, before=256, after=256).shape == (101, 80)
    assert log_mel(np.zeros(FFT - 1, np.float32), 80, before=0, after=0).shape == (0, 80)
    assert log_mel(np.zeros(FFT + HOP, np.float32), 80, before=0, after=0).shape == (2, 80)


def test_silence_is_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(800, np.float32), 40, before=0, after=0), -24 * np.log(2), rtol=1e-6)


def test_a_tone_is_in_its_filter():
    hertz, bank = 1000.0, filters(80)
    tone = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000).astype(np.float32)
    found = log_mel(tone, 80, before=0, after=0).mean(axis=0)
    assert abs(found.argmax() - bank[round(hertz / 16_000 * FFT)].argmax()) <= 1


def test_filters_are_of_equal_area():
    hertz = 16_000 / FFT
    areas = filters(40).sum(axis=0) * hertz  # wide enough for the transform's lines
    np.testing.assert_allclose(areas[15:], 1, rtol=0.02)


@pytest.mark.parametrize("num_mels", [16, 80, 128])
def test_is_the_feature_extractor_of_transformers(num_mels):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers.models.nemotron_asr_streaming")
    extractor = transformers.NemotronAsrStreamingFeatureExtractor(feature_size=num_mels)
    samples = np.random.default_rng(0).normal(0, 0.1, 16_123).astype(np.float32)
    wanted = extractor(samples, sampling_rate=16_000, return_tensors="pt")
    found = log_mel(samples, num_mels, before=256, after=256)[: len(samples) // HOP]
    np.testing.assert_allclose(found, wanted["input_features"][0, : len(found)].numpy(), atol=1e-3)
