import numpy as np
import pytest
import soundfile
from toy_speech import bursts

from diarist.core.types import Waveform
from diarist.simulate.excerpts import FRAME, LEVEL, PAUSE, Tape, activity, compact, frame_levels, runs
from diarist.simulate.sources import Speech


def seed(number=0):
    return np.random.SeedSequence(number)


def waveform(samples, name="w", rate=16_000):
    return Waveform(samples.astype(np.float32), rate, name)


def test_levels_are_decibels_of_whole_frames():
    samples = np.concatenate((np.full(160, 0.1), np.zeros(160), np.full(100, 1.0))).astype(np.float32)
    assert frame_levels(samples) == pytest.approx([-20.0, -120.0], abs=1e-5)


def test_activity_by_its_definition():
    levels = np.full(300, -80.0)
    levels[50:150] = -20.0  # speech
    levels[100:103] = -80.0  # a stop closure: filled
    levels[110:120] = -80.0  # a pause: stays
    levels[200:205] = -20.0  # a click: removed
    levels[150:160] = -49.0  # within 30 dB of the speech level
    levels[160:170] = -51.0  # below
    wanted = np.zeros(300, bool)
    wanted[50:110] = wanted[120:160] = True
    assert (activity(levels) == wanted).all()


def test_activity_over_a_loud_floor():
    rng = np.random.default_rng(0)
    levels = rng.normal(-40, 1, 400)
    levels[100:200] = -18.0
    assert runs(activity(levels)).tolist() == [[100, 200]]


def test_silence_is_not_speech():
    assert not activity(np.full(100, -100.0)).any()
    assert activity(np.zeros(0)).shape == (0,)
    assert compact(np.zeros(16_000, np.float32)) is None
    assert compact(np.zeros(0, np.float32)) is None


def test_compact_shortens_pauses_and_sets_the_level():
    stretch = compact(bursts(500, 20.0, 1))
    quiet = runs(~stretch.active)
    inner = [b - a for a, b in quiet if a > 0 and b < len(stretch)]
    assert max(inner) <= PAUSE
    power = np.mean(stretch.frames[stretch.active].astype(float) ** 2)
    assert 10 * np.log10(power) == pytest.approx(LEVEL, abs=0.05)


@pytest.mark.parametrize("length", [40, 200, 700])
def test_excerpts_begin_and_end_in_speech_and_are_as_long_as_asked(length):
    speech = Speech("s", tuple(waveform(bursts(500, 30.0, k), f"w{k}") for k in range(6)))
    tape = Tape(speech, seed(), reuse=True)
    excerpts = [tape.take(length) for _ in range(40)]
    for excerpt in excerpts:
        levels = frame_levels(excerpt.samples)
        assert len(excerpt.samples) == excerpt.num_frames * FRAME
        assert levels[0] > -70 and levels[-1] > -70
        assert abs(excerpt.num_frames - length) <= max(length // 4, PAUSE)
        silent = runs(levels < -70)
        assert max((b - a for a, b in silent), default=0) <= PAUSE + 2
        assert np.abs(excerpt.before).max(initial=0) < 0.2 and len(excerpt.before) <= 3 * FRAME
    assert np.mean([e.num_frames for e in excerpts]) == pytest.approx(length, rel=0.05 if length > 100 else 0.1)


def test_without_reuse_everything_is_said_once():
    samples = bursts(500, 20.0, 3)
    total = activity(frame_levels(samples)).sum()
    tape = Tape(Speech("s", (waveform(samples),)), seed(), reuse=False)
    frames = 0
    while (excerpt := tape.take(150)) is not None:
        assert not excerpt.again
        frames += int((frame_levels(excerpt.samples) > -70).sum())
    assert frames == pytest.approx(total, abs=3)
    assert tape.take(150) is None


def test_with_reuse_what_is_said_again_is_told():
    tape = Tape(Speech("s", (waveform(bursts(500, 10.0, 3)),)), seed(), reuse=True)
    again = [tape.take(200).again for _ in range(12)]
    assert not again[0] and again[-1] and again == sorted(again)


def test_the_same_seed_gives_the_same_tape_and_a_preview_takes_nothing():
    speech = Speech("s", tuple(waveform(bursts(500, 9.0, k), f"w{k}") for k in range(5)))
    first, second = Tape(speech, seed(4)), Tape(speech, seed(4))
    shown = first.preview(1000)
    assert len(shown) > 900 * FRAME
    a, b = ([tape.take(120) for _ in range(8)] for tape in (first, second))
    assert all((x.samples == y.samples).all() and x.sources == y.sources for x, y in zip(a, b, strict=True))
    other = Tape(speech, seed(5)).take(120)
    assert other.sources != a[0].sources or not np.array_equal(other.samples, a[0].samples)


def test_sources_say_where_an_excerpt_was_cut():
    samples = np.zeros(16_000 * 8, np.float32)
    samples[32_000:64_000] = 0.3 * np.sin(2 * np.pi * 500 * np.arange(32_000) / 16_000)
    excerpt = Tape(Speech("s", (waveform(samples, "here"),)), seed()).take(100)
    assert excerpt.sources == (("here", 2.0),)


def test_files_that_cannot_be_used_are_left_out_and_named(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"not a recording at all")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "good.wav", bursts(500, 8.0, 1), 16_000)
    tape = Tape(Speech("s", tuple(tmp_path / f"{n}.wav" for n in ("bad", "silent", "good"))), seed())
    assert all(tape.take(300) is not None for _ in range(6))
    assert sorted("bad.wav" in w for w in tape.warnings) == [False, True]
    assert any("no speech found in" in w and "silent.wav" in w for w in tape.warnings)
    assert Tape(Speech("s", (tmp_path / "bad.wav", tmp_path / "silent.wav")), seed()).take(100) is None


def test_long_files_are_read_in_sections(tmp_path):
    """Nothing is lost or said twice where a section ends, whether the decoder can seek or not."""
    samples = bursts(500, 310.0, 8)
    soundfile.write(tmp_path / "long.flac", samples, 16_000)
    total = activity(frame_levels(samples)).sum() / 100
    for source in (tmp_path / "long.flac", waveform(samples)):
        tape = Tape(Speech("s", (source,)), seed(), reuse=False)
        seconds, places = 0.0, []
        while (excerpt := tape.take(400)) is not None:
            seconds += (frame_levels(excerpt.samples) > -70).sum() / 100
            places += [second for _, second in excerpt.sources]
        assert seconds == pytest.approx(total, rel=0.01)
        assert max(places) > 240 and min(places) < 30


def test_other_rates_and_channels(tmp_path):
    left = bursts(500, 10.0, 2, rate=44_100)
    soundfile.write(tmp_path / "stereo.wav", np.stack((left, left), axis=1), 44_100)
    excerpt = Tape(Speech("s", (tmp_path / "stereo.wav",)), seed()).take(100)
    spectrum = np.abs(np.fft.rfft(excerpt.samples[: 100 * FRAME]))
    assert np.argmax(spectrum) / 100 * 100 == pytest.approx(500 * len(excerpt.samples[: 100 * FRAME]) / 16_000, abs=2)
