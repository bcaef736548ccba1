import numpy as np
import pytest
import soundfile
from scipy import signal

from diarist.simulate.effects import (
    DELAY,
    ColouredNoise,
    FileNoise,
    Telephone,
    equaliser,
    long_term_spectrum,
    mu_law,
)


def rng(number=0):
    return np.random.default_rng(number)


@pytest.mark.parametrize("slope", [0.0, 3.0, 6.0])
def test_coloured_noise_has_power_one_and_its_slope(slope):
    noise = ColouredNoise(slope, rng())
    samples = np.concatenate([noise.read(50_000) for _ in range(6)])
    assert np.mean(samples**2) == pytest.approx(1.0, rel=0.06)
    frequencies, power = signal.welch(samples.astype(float), 16_000, nperseg=2048)
    band = (frequencies > 300) & (frequencies < 6000)
    fitted = np.polyfit(np.log2(frequencies[band]), 10 * np.log10(power[band]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.3)


def test_noise_does_not_depend_on_the_blocks():
    whole, parts = ColouredNoise(3.0, rng(5)), ColouredNoise(3.0, rng(5))
    assert np.concatenate([parts.read(n) for n in (100, 900, 4000)]) == pytest.approx(whole.read(5000), abs=1e-5)


def test_noise_of_files(tmp_path):
    for k in range(2):
        soundfile.write(tmp_path / f"{k}.wav", 0.01 * (k + 1) * rng(k).standard_normal(24_000) + 0.1, 16_000)
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    noise = FileNoise(sorted(tmp_path.iterdir()), rng())
    samples = np.concatenate([noise.read(7000) for _ in range(40)])
    assert np.mean(samples.astype(float) ** 2) == pytest.approx(1.0, rel=0.1)
    assert abs(np.mean(samples)) < 0.02
    assert len(noise.warnings) == 2 and any("bad.wav" in w for w in noise.warnings)
    windows = samples[: len(samples) // 800 * 800].reshape(-1, 800).std(axis=1)
    assert windows.min() > 0.7  # no holes where clips meet


def test_noise_without_a_usable_file_is_silent(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    noise = FileNoise([tmp_path / "bad.wav"], rng())
    assert not noise.read(1000).any() and not noise.read(1000).any() and noise.warnings


def test_an_equaliser_gives_one_voice_the_spectrum_of_another():
    bright = ColouredNoise(0.0, rng(1)).read(160_000)
    dark = signal.lfilter(*signal.butter(1, 1500, fs=16_000), bright).astype(np.float32)
    taps = equaliser(long_term_spectrum(dark), long_term_spectrum(bright))
    mended = signal.oaconvolve(dark, taps)[DELAY : DELAY + len(dark)]
    levels = [10 * np.log10(long_term_spectrum(x)[8:200]) for x in (bright, dark, mended)]
    before, after = (np.std(x - levels[0]) for x in levels[1:])
    assert before > 3 and after < 1
    lags = signal.correlate(mended[:8000], dark[:8000], "full", "fft")
    assert np.argmax(lags) - 7999 == 0


def test_the_telephone_keeps_its_band_and_the_time():
    phone = Telephone()
    time = np.arange(32_000) / 16_000
    gains = {}
    for frequency in (100, 1000, 2000, 5000):
        phone = Telephone()
        tone = (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
        heard = np.concatenate((phone(tone[:7000]), phone(tone[7000:]), phone.finish()))
        assert len(heard) == len(tone)
        gains[frequency] = 20 * np.log10(np.std(heard[4000:-4000]) / np.std(tone))
        if frequency == 1000:
            assert np.max(np.abs(heard[4000:-4000] - tone[4000:-4000])) < 0.02  # not delayed, quantised
    assert gains[1000] == pytest.approx(0, abs=0.5) and gains[2000] == pytest.approx(0, abs=0.5)
    assert gains[100] < -25 and gains[5000] < -30


def test_mu_law_has_256_steps_and_a_relative_error():
    samples = np.linspace(-1, 1, 100_001)
    coded = mu_law(samples)
    assert len(np.unique(np.round(coded, 12))) == 256
    loud = np.abs(samples) > 0.01
    assert np.max(np.abs(coded - samples)[loud] / np.abs(samples)[loud]) < 0.045
