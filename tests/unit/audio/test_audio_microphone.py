"""Input devices, on a sounddevice of our own."""

from __future__ import annotations

import builtins
import sys
import threading

import fake_sounddevice
import numpy as np
import pytest

from diarist.audio.sources import MicrophoneSource, ReadAhead, microphone, open_source
from diarist.errors import AudioError, ExtraError, MissingError, UsageError

RATE = 16_000


@pytest.fixture
def plug(monkeypatch):
    def plug_in(*arguments, **options):
        module = fake_sounddevice.make(*arguments, **options)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        return module

    return plug_in


def tone(seconds, rate=RATE):
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_it_gives_what_the_device_hears_until_it_is_closed(plug):
    module = plug(tone(1.2), then="closed")
    source = MicrophoneSource()
    assert (source.uri, source.live, source.device_name, source.device_rate) == ("microphone", True, "Built-in", RATE)
    np.testing.assert_array_equal(np.concatenate(list(source)), tone(1.2))
    assert module.num_closed == 1 and source.warnings == []


def test_a_device_at_another_rate_is_resampled(plug):
    plug(tone(1.0, 44_100), rates=(44_100,), then="closed")
    source = MicrophoneSource()
    heard = np.concatenate(list(source))
    assert source.device_rate == 44_100 and len(heard) == RATE
    assert np.abs(heard[200:-200] - tone(1.0)[200:-200]).max() < 0.01


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("microphone", "USB Mic"),
        ("microphone:1", "Built-in"),
        ("microphone:built-in", "Built-in"),
        ("microphone:cam", "USB Camera"),
    ],
)
def test_devices_by_number_name_or_part_of_it(plug, word, name):
    plug(default=1)
    assert open_source(word).device_name == name


@pytest.mark.parametrize("word", ["microphone:0", "microphone:9", "microphone:usb", "microphone:nobody"])
def test_a_device_that_is_not_there_is_answered_with_those_that_are(plug, word):
    plug()
    with pytest.raises(UsageError, match="there are 1 Built-in; 2 USB Mic; 3 USB Camera"):
        open_source(word)


def test_a_device_that_is_unplugged_is_told_after_what_was_heard(plug):
    module = plug(tone(0.8), then="unplugged")
    blocks = []
    with pytest.raises(AudioError, match="'Built-in' gives no more sound"):
        blocks.extend(iter(ReadAhead(MicrophoneSource())))
    assert sum(map(len, blocks)) == 8000 and module.num_closed == 1


def test_a_device_that_falls_silent_is_taken_to_be_gone(plug, monkeypatch):
    plug(tone(0.3))
    monkeypatch.setattr(microphone, "_SILENT", 0.3)
    with pytest.raises(AudioError, match="unplugged"):
        list(MicrophoneSource())


def test_an_overflow_is_told_once(plug):
    plug(tone(1.0), overflows=(2, 3), then="closed")
    source = MicrophoneSource()
    list(source)
    assert len(source.warnings) == 1 and "overflow" in source.warnings[0]


def test_what_a_slow_consumer_misses_is_silence_in_its_place_and_told(plug, monkeypatch):
    used, over, again = threading.Event(), threading.Event(), threading.Event()

    def before(index):
        if index == 1:
            used.wait(60)
        if index == 11:
            over.set()
            again.wait(60)

    plug(tone(1.5), before=before, then="closed")
    monkeypatch.setattr(microphone, "_MOST_WAITING", 0.45)
    source = MicrophoneSource(block=0.1)
    blocks = iter(source)
    heard = [next(blocks)]
    used.set()
    assert over.wait(60)  # a second of sound, of which half has room
    heard += [next(blocks) for _ in range(5)]
    again.set()
    heard += list(blocks)
    sound = np.concatenate(heard)
    lost = np.flatnonzero(~sound.reshape(-1, 1600).any(axis=1))
    assert f"{len(lost) / 10:.1f} s of sound were lost" in source.warnings[0] and 2 <= len(lost) <= 8
    assert (np.diff(lost) == 1).all() and lost[0] >= 5
    kept = np.setdiff1d(np.arange(15), lost)
    np.testing.assert_array_equal(sound.reshape(-1, 1600)[kept], tone(1.5).reshape(-1, 1600)[kept])


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"devices": ()}, MissingError, "no input device"),
        ({"rates": ()}, AudioError, "cannot be used: Invalid sample rate"),
    ],
)
def test_machines_that_cannot_record(plug, options, error, said):
    plug(**options)
    with pytest.raises(error, match=said):
        MicrophoneSource()


def test_a_device_that_is_taken(plug):
    plug(refuses_to_open=True)
    with pytest.raises(AudioError, match="cannot be started: Device unavailable"):
        list(MicrophoneSource())


@pytest.mark.parametrize(
    ("raised", "error", "said"),
    [
        (ImportError("no"), ExtraError, r"pip install 'diarist\[mic\]'"),
        (OSError("PortAudio library not found"), MissingError, "libportaudio2"),
    ],
)
def test_what_is_not_installed(monkeypatch, raised, error, said):
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "sounddevice":
            raise raised
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(error, match=said):
        MicrophoneSource()
