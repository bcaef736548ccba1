"""Recordings made on the spot: a sweep that no delay, channel swap or rate error leaves unchanged."""

from __future__ import annotations

import io

import av
import numpy as np
import soundfile

SAMPLE_FORMATS = {"aac": "fltp", "libopus": "flt", "libmp3lame": "fltp", "alac": "s16p", "pcm_s16le": "s16"}


def sweep(seconds: float, rate: int, first: float = 200.0, last: float = 2500.0) -> np.ndarray:
    """A sweep that fades in and out: `(num_samples,)`."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (first * time + (last - first) / (2 * seconds) * time**2)
    return (0.4 * np.sin(phase) * np.sin(np.pi * time / seconds)).astype(np.float32)


def encode(samples: np.ndarray, rate: int, container: str, codec: str, *, video: int = 0, delay: float = 0.0) -> bytes:
    """`samples` `(num_samples,)` or `(num_samples, 2)` through FFmpeg; with `video` black frames (25 a second) before
    it, and the sound `delay` seconds late."""
    file = io.BytesIO()
    columns = samples.reshape(len(samples), -1)
    layout = "mono" if columns.shape[1] == 1 else "stereo"
    with av.open(file, "w", format=container) as output:
        picture = output.add_stream("mpeg4", rate=25, width=64, height=48, pix_fmt="yuv420p") if video else None
        sound = output.add_stream(codec, rate=rate, layout=layout)
        for index in range(video):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts = index
            output.mux(picture.encode(frame))
        if picture:
            output.mux(picture.encode(None))
        for start in range(0, len(columns), 1024):
            output.mux(sound.encode(_frame(columns[start : start + 1024], rate, layout, codec, start, delay)))
        output.mux(sound.encode(None))
    return file.getvalue()


def _frame(block: np.ndarray, rate: int, layout: str, codec: str, start: int, delay: float) -> av.AudioFrame:
    kind = SAMPLE_FORMATS[codec]
    block = block if kind.startswith("flt") else np.round(block * 32767).astype(np.int16)
    array = block.T if kind.endswith("p") else block.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(array), format=kind, layout=layout)
    frame.sample_rate, frame.pts = rate, start + round(delay * rate)
    return frame


def write(samples: np.ndarray, rate: int, container: str, subtype: str | None = None) -> bytes:
    """`samples` through libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=subtype)
    return file.getvalue()
