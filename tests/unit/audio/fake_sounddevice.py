"""A `sounddevice` whose devices are made here: the callback is called from a thread, as PortAudio does."""

from __future__ import annotations

import threading
import time
import types

import numpy as np


class PortAudioError(Exception):
    pass


class Status:
    def __init__(self, input_overflow=False):
        self.input_overflow = input_overflow


class InputStream:
    """Gives `signal` in blocks, `speed` times as fast as real time; then says what `then` says."""

    def __init__(self, module, samplerate, blocksize, device, channels, dtype, callback):
        if module.refuses_to_open:
            raise PortAudioError("Device unavailable [PaErrorCode -9985]")
        assert (channels, dtype) == (1, "float32")
        self.module, self.callback, self.blocksize, self.samplerate = module, callback, blocksize, samplerate
        self.active = self.closed = False

    def start(self):
        self.active = True
        self.thread = threading.Thread(target=self._play, daemon=True)
        self.thread.start()

    def _play(self):
        signal = self.module.signal
        for index in range(0, len(signal), self.blocksize):
            if not self.active:
                return
            self.module.before(index // self.blocksize)
            block = signal[index : index + self.blocksize, None]
            overflowed = index // self.blocksize in self.module.overflows
            self.callback(block, len(block), None, Status(overflowed))
            time.sleep(self.blocksize / self.samplerate / self.module.speed)
        if self.module.then == "unplugged":
            self.active = False
        elif self.module.then == "closed":  # as by somebody who has heard enough
            self.callback.__self__.close()

    def stop(self):
        self.active = False

    def close(self):
        self.active, self.closed = False, True
        self.module.num_closed += 1


def make(
    signal=None,
    *,
    speed=50.0,
    then="silent",
    rates=(16_000, 44_100),
    overflows=(),
    devices=("Built-in", "USB Mic", "USB Camera"),
    default=0,
    refuses_to_open=False,
    before=lambda index: None,
):
    module = types.ModuleType("sounddevice")
    module.signal = np.zeros(0, np.float32) if signal is None else signal
    module.speed, module.then, module.overflows, module.refuses_to_open = speed, then, overflows, refuses_to_open
    module.num_closed, module.before = 0, before
    module.PortAudioError = PortAudioError
    listed = [{"name": "Speakers", "max_input_channels": 0}, *({"name": n, "max_input_channels": 2} for n in devices)]
    module.query_devices = lambda: listed
    module.default = types.SimpleNamespace(device=(default + 1, 0))

    def check_input_settings(device, channels, dtype, samplerate):
        if samplerate not in rates:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    module.check_input_settings = check_input_settings
    module.InputStream = lambda **options: InputStream(module, **options)
    return module
