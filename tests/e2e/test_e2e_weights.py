"""The default engine with its real weights, on the sample conversation; and what happens where weights are missing."""

import shutil
import sys

import numpy as np
import pytest
import soundfile

from diarist import Diarization, Diarizer, Turn, formats
from diarist.evaluation.score import compare, score
from toy_house import RATE, recording, write_wav

NO_NETWORK = """
import socket, sys
def refuse(*_, **__):
    print("A SOCKET WAS OPENED", file=sys.stderr)
    sys.exit(99)
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import subprocess
subprocess.Popen.__init__ = refuse
from diarist.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def meeting(tmp_path):
    return write_wav(tmp_path / "meeting.wav", recording(3, 1)[0])


def without_network(shell, *words):
    return shell.run([sys.executable, "-c", NO_NETWORK, "run", "meeting.wav", *words])


def test_offline_with_an_empty_cache_says_what_to_do_and_opens_no_socket(shell, meeting):
    for way in (("--offline",), ()):
        if not way:
            shell.env["DIARIST_OFFLINE"] = "1"
        done = without_network(shell, *way)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.count("\n") == 1 and "segmentation-3.0" in done.stderr and "(offline)" in done.stderr
        assert str(shell.folder / "cache") in done.stderr  # where to put the file by hand


def test_a_missing_recording_is_told_before_weights_are_asked_for(shell):
    done = shell.run([sys.executable, "-c", NO_NETWORK, "run", "none.wav"])
    assert done.returncode == 1 and done.stderr == "diarist: error: no such file: 'none.wav'\n"


def test_a_cache_that_cannot_be_made(shell, meeting):
    (shell.folder / "file").write_text("in the way")
    shell.env["DIARIST_CACHE"] = str(shell.folder / "file" / "cache")
    done = without_network(shell, "--offline")
    assert done.returncode == 3 and done.stderr.count("\n") == 1
    done = shell.run(shell.real("run", "meeting.wav"))
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "file" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_of_ones_own_that_are_none(shell, meeting):
    (shell.folder / "my.onnx").write_text("no model")
    for flag in ("--segmentation-model", "--embedding-model"):
        done = shell.run(shell.real("run", "meeting.wav", flag, "nowhere.onnx", "--offline"))
        assert done.returncode in (2, 3) and done.stderr.count("\n") == 1
    done = shell.run(shell.real("run", "meeting.wav", "--segmentation-model", "my.onnx", "--offline"))
    assert done.returncode == 1 and "'my.onnx' is not an ONNX model" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.weights
def test_a_corrupt_cache_is_told_offline_and_healed_online(shell, meeting):
    from diarist.models import cache, catalog
    from diarist.models.fetch import fetch

    names = ("segmentation-3.0", "silero-vad", "campplus-zh-en")
    for name in names:
        place = cache.path_of(catalog.get(name), shell.folder / "cache")
        place.parent.mkdir(parents=True)
        shutil.copy(fetch(name), place)
    whole = without_network(shell, "--offline")
    assert whole.returncode == 0
    place.write_bytes(place.read_bytes()[:-1000])
    done = without_network(shell, "--offline")
    assert done.returncode == 3 and "campplus-zh-en' are corrupt" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.weights
def test_the_sample_conversation_is_told_apart(shell, sample):
    wav, rttm = sample
    reference = formats.read(rttm)[0]
    shell.env.pop("DIARIST_CACHE")
    done = shell.run(shell.real("run", wav))
    assert (done.returncode, done.stderr) == (0, "")
    found = formats.loads(done.stdout, "rttm")[0]
    assert found.num_speakers == 2 and score(reference, found).der < 0.15
    again = shell.run(shell.real("run", wav, "--num-threads", "3"))
    assert again.stdout == done.stdout


@pytest.fixture(scope="module")
def engine():
    return Diarizer()


@pytest.mark.weights
@pytest.mark.parametrize("name", ["fast", "balanced", "accurate"])
def test_every_preset_on_the_sample(sample, name):
    wav, rttm = sample
    result = Diarizer(name)(wav)
    assert score(formats.read(rttm)[0], result).der < (0.25 if name == "fast" else 0.15)
    assert 2 <= result.num_speakers <= (3 if name == "fast" else 2)
    assert result.speakers["SPEAKER_00"].embedding.shape == (192,)


@pytest.mark.weights
@pytest.mark.parametrize("asked", [1, 2, 3, 4])
def test_the_count_asked_for_on_the_sample(engine, sample, asked):
    assert engine(sample[0], num_speakers=asked).num_speakers == asked


@pytest.mark.weights
@pytest.mark.parametrize("rate, channels, subtype", [(8000, 1, "PCM_16"), (48000, 12, "FLOAT"), (16000, 2, "PCM_24")])
def test_the_sample_at_other_rates_and_channels(engine, sample, tmp_path, rate, channels, subtype):
    import soxr

    samples = soxr.resample(soundfile.read(sample[0])[0], RATE, rate)
    soundfile.write(tmp_path / "a.wav", np.repeat(samples[:, None], channels, axis=1), rate, subtype)
    result = engine(tmp_path / "a.wav")
    assert result.num_speakers == 2 and score(formats.read(sample[1])[0], result).der < 0.2


@pytest.mark.weights
@pytest.mark.parametrize("kind", ["nothing", "one sample", "shorter than a frame", "silence", "dc", "hum", "clipped"])
def test_odd_sound_with_real_networks(engine, sample, kind):
    spoken = soundfile.read(sample[0])[0]
    samples = {
        "nothing": np.zeros(0),
        "one sample": np.ones(1),
        "shorter than a frame": spoken[RATE * 8 : RATE * 8 + 300],
        "silence": np.zeros(25 * RATE),
        "dc": np.full(12 * RATE, 0.5),
        "hum": 0.3 * np.sin(2 * np.pi * 50 * np.arange(12 * RATE) / RATE),
        "clipped": np.clip(spoken * 10, -1, 1),
    }[kind]
    result = engine(samples, sample_rate=RATE)
    assert all(0 <= t.start < t.end <= result.duration and 0 <= t.confidence <= 1 for t in result)
    if kind == "clipped":
        assert score(formats.read(sample[1])[0], result).der < 0.2
    elif kind != "shorter than a frame":
        assert result.turns == ()


@pytest.mark.weights
def test_a_day_begins_like_an_hour(engine, sample):
    """The sample again and again: whoever talks in the first is the same person in the last."""
    spoken = soundfile.read(sample[0])[0]
    result = engine(np.tile(spoken, 6), sample_rate=RATE)
    first, last = result.crop(30.0, 60.0), result.crop(150.0, 180.0)
    moved = Diarization(tuple(Turn(t.start - 120, t.end - 120, t.speaker) for t in last))
    assert 2 <= result.num_speakers <= 3 and set(first.labels) == set(moved.labels) == set(result.labels)
    comparison = compare(first, moved)
    assert comparison.errors.der < 0.05 and all(one == other for one, other in comparison.mapping.items())
