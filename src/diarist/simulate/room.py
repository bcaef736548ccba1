"""Rooms: impulse responses of a shoe box by the image source method (Allen & Berkley, JASA 65(4), 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Float64, Int64

SPEED_OF_SOUND = 343.0
Point = tuple[float, float, float]
"""A place in a room, in metres."""

OVERSAMPLING = 4
"""Arrival times are rounded to a quarter of a sample."""


@dataclass(frozen=True)
class Room:
    """A shoe box: `size` in metres, `rt60` in seconds, where the `microphone` is, `reflection` of the walls."""

    size: Point
    rt60: float
    microphone: Point
    reflection: float


def draw_room(rt60: float, rng: np.random.Generator) -> Room:
    """A room of 3 to 8 by 3 to 6 by 2.4 to 3.5 metres with the microphone at table height, not at a wall."""
    size = rng.uniform([3.0, 3.0, 2.4], [8.0, 6.0, 3.5])
    microphone = rng.uniform([0.3, 0.3, 0.0], [0.7, 0.7, 0.5]) * [size[0], size[1], 1.0] + [0.0, 0.0, 0.7]
    return room_of(_point(size), rt60, _point(microphone))


def room_of(size: Point, rt60: float, microphone: Point) -> Room:
    """The room whose walls reflect as much as it takes for a reverberation time.

    Eyring's formula is for sound that comes from everywhere; between parallel mirrors it dies away more slowly. So the
    formula is given a shorter time, until the decay measured at one place is the one asked for.
    """
    formula = rt60
    for _ in range(3):
        room = Room(size, rt60, microphone, _eyring(size, formula))
        response = impulse_response(room, _point(np.array(size) * [0.31, 0.62, 0.57]))
        formula *= float(np.clip(rt60 / decay_time(response), 0.7, 1.4))
    return Room(size, rt60, microphone, _eyring(size, formula))


def _eyring(size: Point, rt60: float) -> float:
    x, y, z = size
    surface = 2 * (x * y + y * z + x * z)
    return float(np.exp(-12 * np.log(10) / SPEED_OF_SOUND * x * y * z / (surface * rt60)))


def decay_time(response: Float32) -> float:
    """Seconds in which a response falls by 60 dB: three times its fall from -5 to -25 dB (Schroeder's integral)."""
    energy = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    fall = 10 * np.log10(np.maximum(energy / energy[0], 1e-12))
    return float(3 * (np.argmax(fall < -25) - np.argmax(fall < -5) + 1) / SAMPLE_RATE)


def draw_position(room: Room, rng: np.random.Generator) -> Point:
    """A mouth 0.5 to 3 metres from the microphone and at least 0.3 metres from the walls."""
    size, microphone = np.array(room.size), np.array(room.microphone)
    for _ in range(1000):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 3.0)
        height = rng.uniform(1.1, 1.8) - microphone[2]
        flat = np.sqrt(max(distance**2 - height**2, 0.04))
        place = microphone + np.array([flat * np.cos(angle), flat * np.sin(angle), height])
        if np.all(place > 0.3) and np.all(place < size - 0.3):
            return _point(place)
    return _point(size / 2 + [0.5, 0.5, 0.0])


def _point(values: Float64) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def impulse_response(room: Room, source: Point) -> Float32:
    """What the microphone hears of a click at `source`, from the direct sound on, at 16 kHz. Shape `(num_taps,)`.

    The direct sound is at tap 0 with amplitude about 1, so that the response delays nothing; it is `room.rt60` long.
    Every image within that time counts (no maximal order).
    """
    origin = np.array(room.microphone)
    direct = float(np.linalg.norm(np.array(source) - origin))
    reach = direct + SPEED_OF_SOUND * room.rt60
    axes = [_images(room.size[i], source[i], origin[i], reach) for i in range(3)]
    rate = SAMPLE_RATE * OVERSAMPLING
    num = int(room.rt60 * rate) + 1
    response = np.zeros(num)
    (dx, ox), (dy, oy), (dz, oz) = axes
    yz = (dy[:, None] ** 2 + dz[None, :] ** 2).ravel()
    yz_order = (oy[:, None] + oz[None, :]).ravel()
    keep = yz <= reach**2
    yz, yz_order = yz[keep], yz_order[keep]
    for d, order in zip(dx, ox, strict=True):
        near = yz <= reach**2 - d**2
        distance = np.sqrt(yz[near] + d**2)
        tap = np.rint((distance - direct) / SPEED_OF_SOUND * rate).astype(np.int64)
        weight = room.reflection ** (yz_order[near] + order) * (direct / distance)
        response += np.bincount(np.clip(tap, 0, num), weight, num + 1)[:num]
    response = signal.resample_poly(response, 1, OVERSAMPLING) * OVERSAMPLING
    return np.asarray(_without_rumble(response), dtype=np.float32)


def _images(size: float, source: float, microphone: float, reach: float) -> tuple[Float64, Int64]:
    """Distances along one axis from the microphone to the images of a source, and how often each was reflected."""
    most = int(np.ceil(reach / (2 * size))) + 1
    n = np.arange(-most, most + 1)
    distance = np.concatenate((2 * n * size + source, 2 * n * size - source)) - microphone
    order = np.concatenate((np.abs(2 * n), np.abs(n - 1) + np.abs(n)))
    near = np.abs(distance) <= reach
    return distance[near], order[near]


def _without_rumble(response: Float64) -> Float64:
    """High-pass at 50 Hz: the images are all positive, which leaves an offset (Allen & Berkley, section III)."""
    numerator, denominator = signal.butter(2, 50, "highpass", fs=SAMPLE_RATE)
    return np.asarray(signal.lfilter(numerator, denominator, response))
