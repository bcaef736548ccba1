"""Sound as clients send it."""

import numpy as np
import pytest
import soxr

from diarist.server.messages import Hello, Refusal
from diarist.server.pcm import PcmDecoder

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000).astype(np.float32)


def decoded(hello, data, block):
    decoder = PcmDecoder(hello)
    size = block * hello.frame_size
    parts = [decoder(data[at : at + size]) for at in range(0, len(data), size)]
    return np.concatenate([*parts, decoder(b"", last=True)])


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_block_sizes_do_not_matter_and_the_length_is_right(rate, channels):
    hello = Hello(sample_rate=rate, encoding="f32le", channels=channels)
    data = NOISE.tobytes()
    whole = decoded(hello, data, 30_000)
    assert whole.dtype == np.float32
    assert abs(len(whole) - len(NOISE) / channels * 16_000 / rate) <= 1
    for block in (1000, 777, 61):
        np.testing.assert_array_equal(decoded(hello, data, block), whole)


def test_a_sample_at_a_time():
    hello = Hello(sample_rate=8000)
    data = (NOISE[:500] * 32767).astype("<i2").tobytes()
    np.testing.assert_array_equal(decoded(hello, data, 1), decoded(hello, data, 500))


def test_sixteen_bits():
    samples = np.array([-32768, 0, 16384], "<i2")
    np.testing.assert_array_equal(PcmDecoder(Hello())(samples.tobytes()), np.array([-1, 0, 0.5], np.float32))


def test_one_rate_to_another_is_soxrs():
    hello = Hello(sample_rate=48_000, encoding="f32")
    expected = soxr.resample(NOISE, 48_000, 16_000)
    np.testing.assert_allclose(decoded(hello, NOISE.tobytes(), 480), expected, atol=1e-4)


def test_channels_are_mixed_minding_polarity():
    hello = Hello(encoding="f32le", channels=2)
    stereo = np.stack([NOISE, NOISE / 2], axis=1)
    np.testing.assert_allclose(decoded(hello, stereo.tobytes(), 700), NOISE * 0.75, atol=1e-6)
    turned = np.stack([NOISE, -NOISE], axis=1)
    np.testing.assert_allclose(np.abs(decoded(hello, turned.tobytes(), 700)), np.abs(NOISE), atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
def test_what_is_no_number_is_refused(bad):
    samples = NOISE.copy()
    samples[77] = bad
    with pytest.raises(Refusal, match="NaN, infinite or absurd") as error:
        PcmDecoder(Hello(encoding="f32le"))(samples.tobytes())
    assert error.value.code == "bad_audio"


def test_samples_scaled_as_integers_are_noticed():
    decoder = PcmDecoder(Hello(encoding="f32le"))
    decoder(NOISE.tobytes())
    assert decoder.too_loud == ""
    decoder((NOISE * 32768).tobytes())
    assert "full scale is 1" in decoder.too_loud
