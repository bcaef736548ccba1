"""One voice a channel: leaks taken out, names by channel, and what cannot be told apart said."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarist.core.types import Diarization
from diarist.errors import AudioError, Cancelled, UsageError
from diarist.evaluation.score import score
from diarist.models.toy import conversation
from toy_house import CONFIG, RATE, diarizer, talk


def call(num_turns=30, leak_db=None, seconds=None):
    """Two people, each on a channel; turns by channel."""
    turns = talk(num_turns, 2)
    seconds = seconds or turns[-1].end + 0.5
    one, other = (conversation([t for t in turns if t.speaker == s], seconds, noise=1e-4) for s in ("S0", "S1"))
    if leak_db is not None:
        gain = 10 ** (-leak_db / 20)
        one, other = one + gain * other, other + gain * one
    return np.stack([one, other], axis=1).astype(np.float32), Diarization(tuple(turns))


@pytest.mark.parametrize("leak_db", [None, 40, 20, 15])
def test_each_channel_is_a_speaker_and_leaks_are_not_heard(leak_db):
    samples, reference = call(leak_db=leak_db)
    result = diarizer().by_channel(samples, sample_rate=RATE, uri="call")
    assert sorted(result.labels) == ["SPEAKER_00", "SPEAKER_01"] and result.warnings == () and result.uri == "call"
    names = {"SPEAKER_00": "S0", "SPEAKER_01": "S1"}
    errors = score(reference, result.rename(names))
    assert errors.der < 0.06
    for name, label in names.items():  # by name, not by the best mapping
        own = Diarization(tuple(t for t in reference if t.speaker == label))
        assert score(own, Diarization(tuple(t for t in result if t.speaker == name))).der < 0.06
    assert sum(b - a for a, b in result.overlaps()) == pytest.approx(
        sum(b - a for a, b in reference.overlaps()), abs=1.5
    )


def test_a_channel_keeps_its_number_whoever_talks_first():
    samples = np.zeros((20 * RATE, 4), np.float32)
    samples[:, 2] = conversation([(1, 4, "a")], 20.0)
    samples[:, 1] = conversation([(8, 12, "a")], 20.0)
    result = diarizer().by_channel(samples, sample_rate=RATE)
    assert [t.speaker for t in result] == ["SPEAKER_02", "SPEAKER_01"]
    assert result.duration == 20.0 and all(0 <= t.confidence <= 1 for t in result)


@pytest.mark.parametrize("num_channels", [2, 3])
def test_copies_are_warned_of(num_channels):
    samples = np.stack([conversation(talk(10, 2))] * num_channels, axis=1)
    samples *= np.linspace(1, 0.4, num_channels, dtype=np.float32)
    result = diarizer().by_channel(samples, sample_rate=RATE)
    assert "the channels carry the same sound" in result.warnings[0]


def test_a_silent_channel_is_no_copy_and_nobody():
    samples, _ = call(10)
    for silent in (0, 1):
        only = samples.copy()
        only[:, silent] = 0
        result = diarizer().by_channel(only, sample_rate=RATE)
        assert result.labels == [f"SPEAKER_{1 - silent:02d}"] and result.warnings == ()
    nobody = diarizer().by_channel(np.zeros_like(samples), sample_rate=RATE)
    assert nobody.turns == () and nobody.duration == pytest.approx(len(samples) / RATE)


def test_one_channel_is_not_several():
    for samples in (np.zeros(100), np.zeros((100, 1))):
        with pytest.raises(UsageError, match=r"'mono' has one channel"):
            diarizer().by_channel(samples, sample_rate=RATE, uri="mono")


@pytest.mark.parametrize("num_samples", [1, 300, 8000, 60 * RATE, 60 * RATE + 1, 130 * RATE])
def test_recordings_of_any_length(num_samples):
    samples = np.stack([conversation([(0, 200, "a")], 131.0), np.zeros(131 * RATE, np.float32)], axis=1)[:num_samples]
    result = diarizer().by_channel(samples, sample_rate=RATE)
    assert result.duration == pytest.approx(num_samples / RATE)
    assert all(0 <= t.start < t.end <= result.duration for t in result)
    if num_samples >= 8000:
        assert sum(t.duration for t in result) == pytest.approx(result.duration, rel=0.02)


def test_files_bytes_and_streams_are_read_once_for_each_channel(tmp_path):
    samples, _ = call(10)
    path = tmp_path / "call.wav"
    soundfile.write(path, samples, RATE)
    expected = diarizer().by_channel(path)
    assert expected.uri == "call" and expected.num_speakers == 2

    class Pipe(io.RawIOBase):
        """It can be read once."""

        def __init__(self):
            self.rest = io.BytesIO(path.read_bytes())

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.rest.readinto(buffer)

    assert diarizer().by_channel(path.read_bytes()).turns == expected.turns
    assert diarizer().by_channel(io.BytesIO(path.read_bytes())).turns == expected.turns
    assert diarizer().by_channel(Pipe()).turns == expected.turns


def test_standard_input_is_read_once_for_each_channel(tmp_path):
    samples, _ = call(10)
    path = tmp_path / "call.wav"
    soundfile.write(path, samples, RATE)
    house = Path(__file__).parents[2] / "toy_house.py"
    command = [sys.executable, house, "run", "-", "--channels-are-speakers"]
    done = subprocess.run(command, input=path.read_bytes(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == diarizer().by_channel(path, uri="stdin").to_rttm()


def test_progress_grows_over_all_channels_and_cancels():
    samples, _ = call(60)
    events = []
    diarizer().by_channel(samples, sample_rate=RATE, hooks=[events.append])
    done = [e.done for e in events if e.kind == "progress"]
    assert done == sorted(done) and done[-1] == pytest.approx(len(samples) / RATE)
    assert {e.total for e in events if e.kind == "progress"} == {len(samples) / RATE}
    with pytest.raises(Cancelled):
        diarizer().by_channel(samples, sample_rate=RATE, hooks=[lambda event: event.kind != "progress"])


def test_short_turns_and_pauses_follow_the_configuration():
    samples, _ = call(20)
    coarse = diarizer(config={**CONFIG, "turns.min_duration_off": 5.0})
    assert len(coarse.by_channel(samples, sample_rate=RATE)) < len(diarizer().by_channel(samples, sample_rate=RATE))


def test_what_is_no_recording_is_an_audio_error(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        diarizer().by_channel(tmp_path / "none.wav")
