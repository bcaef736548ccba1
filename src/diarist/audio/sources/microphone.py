"""An input device, through sounddevice (PortAudio)."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from diarist.audio.pcm import Stretch
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.core.types import Float32
from diarist.errors import AudioError, ExtraError, MissingError, UsageError

RATES = (16_000, 32_000, 44_100, 48_000)
"""Tried in this order; the first that the device can is re-sampled where it must be."""

_MOST_WAITING = 60.0  # seconds of sound that wait for a slow consumer; beyond, it is lost
_SILENT = 5.0  # seconds without a sample after which the device is taken to be gone
_PATIENCE = 0.1
_PORTION = 0.1  # seconds that the device hands over at a time


class MicrophoneSource(BlockSource):
    """The default input device, or the one with a number or a part of its name.

    The device is looked up here and started when first iterated. Sound waits for the consumer for up to a minute;
    what is lost beyond that, or inside the device, is taken for silence, so that time stays true, and told in
    `warnings`.

    Raises `ExtraError` without sounddevice, `MissingError` without PortAudio, `UsageError` for a device that is not
    there (the message lists those that are), `AudioError` where it cannot be started or goes away.
    """

    def __init__(self, device: int | str | None = None, *, block: float = BLOCK, uri: str = "microphone") -> None:
        super().__init__(uri, block)
        self._sounddevice = _sounddevice()
        self._device, self.device_name = find_device(self._sounddevice, device)
        self.device_rate = self._supported_rate()
        self._queue: queue.Queue[tuple[int, Float32]] = queue.Queue()  # samples lost before a block, and the block
        self._waiting = self._lost = self._gap = 0  # samples
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def stretches(self) -> Iterator[Stretch]:
        """A tenth of a second at a time, `(num_samples, 1)`."""
        try:
            stream = self._sounddevice.InputStream(
                samplerate=self.device_rate,
                blocksize=round(_PORTION * self.device_rate),
                device=self._device,
                channels=1,
                dtype="float32",
                callback=self._take,
            )
            stream.start()
        except self._sounddevice.PortAudioError as error:
            raise AudioError(f"the microphone '{self.device_name}' cannot be started: {_reason(error)}") from error
        try:
            yield from self._received(stream)
        finally:
            stream.close()
            if self._lost:
                self.warnings.append(
                    f"{self._lost / self.device_rate:.1f} s of sound were lost, as they were not used in time"
                )

    def close(self) -> None:
        """Stop recording; what was heard is still given out."""
        self._closed.set()

    def _take(self, samples: Any, _num: int, _time: Any, status: Any) -> None:
        """Called by PortAudio, in its own thread."""
        block = np.array(samples, dtype=np.float32)
        with self._lock:
            if self._waiting > _MOST_WAITING * self.device_rate:
                self._lost += len(block)
                self._gap += len(block)
                return
            self._waiting += len(block)
            gap, self._gap = self._gap, 0
        if getattr(status, "input_overflow", False) and "overflow" not in "".join(self.warnings):
            self.warnings.append("the device reports an overflow: some sound was lost inside it")
        self._queue.put((gap, block))

    def _received(self, stream: Any) -> Iterator[Stretch]:
        last = time.monotonic()
        while True:
            try:
                gap, block = self._queue.get(timeout=_PATIENCE)
            except queue.Empty:
                if self._closed.is_set():
                    return
                if not stream.active or time.monotonic() - last > _SILENT:
                    raise AudioError(
                        f"the microphone '{self.device_name}' gives no more sound: was it unplugged?"
                    ) from None
                continue
            last = time.monotonic()
            if self._closed.is_set() and stream.active:
                stream.stop()
            with self._lock:
                self._waiting -= len(block)
            if gap:
                yield self.device_rate, np.zeros((gap, 1), np.float32)
            yield self.device_rate, block.reshape(len(block), -1)[:, :1]

    def _supported_rate(self) -> int:
        error: Exception | None = None
        for rate in RATES:
            try:
                self._sounddevice.check_input_settings(
                    device=self._device, channels=1, dtype="float32", samplerate=rate
                )
                return rate
            except (self._sounddevice.PortAudioError, ValueError) as refused:
                error = refused
        raise AudioError(f"the microphone '{self.device_name}' cannot be used: {_reason(error)}") from error


def find_device(sounddevice: Any, wanted: int | str | None) -> tuple[int, str]:
    """Number and name of an input device by number, name or a part of it that only one has; None is the default.

    Raises `UsageError` listing the input devices there are, `MissingError` where there are none.
    """
    try:
        inputs = {i: str(d["name"]) for i, d in enumerate(sounddevice.query_devices()) if d["max_input_channels"] > 0}
    except sounddevice.PortAudioError as error:
        raise AudioError(f"the sound system cannot be asked for its devices: {_reason(error)}") from error
    if not inputs:
        raise MissingError("no microphone: this machine has no input device that PortAudio can see")
    if wanted is None:
        default = sounddevice.default.device
        number = default[0] if hasattr(default, "__getitem__") else default
        chosen = [number if number in inputs else min(inputs)]
    elif isinstance(wanted, int) or re.fullmatch(r"\d+", wanted):
        chosen = [number for number in inputs if number == int(wanted)]
    else:
        words = wanted.casefold()
        chosen = [n for n, name in inputs.items() if name.casefold() == words]
        chosen = chosen or [n for n, name in inputs.items() if words in name.casefold()]
    if len(chosen) == 1:
        return chosen[0], inputs[chosen[0]]
    listed = "; ".join(f"{number} {name}" for number, name in inputs.items())
    what = "several input devices fit" if chosen else "no input device"
    raise UsageError(f"{what} '{wanted}': there are {listed}")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise ExtraError("sounddevice", "mic", "a microphone") from error
    except OSError as error:
        raise MissingError(
            "a microphone needs the library PortAudio, which is not installed: apt install libportaudio2, "
            "brew install portaudio or conda install portaudio"
        ) from error
    return sounddevice


def _reason(error: Exception | None) -> str:
    return str(error).split("[")[0].strip() or type(error).__name__
