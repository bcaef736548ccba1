import itertools

import numpy as np
import pytest

from diarist.simulate.room import Room, decay_time, draw_position, draw_room, impulse_response, room_of

SIZE, MICROPHONE, MOUTH = (5.0, 4.0, 3.0), (2.1, 1.7, 1.2), (3.4, 2.9, 1.6)


def test_early_arrivals_equal_the_equation_summed_by_hand():
    """Allen & Berkley's eight-fold sum over images, image by image, against the response's running sum."""
    room = Room(SIZE, 0.05, MICROPHONE, 0.8)
    direct = np.linalg.norm(np.subtract(MOUTH, MICROPHONE))
    arrivals = []
    for n in itertools.product(range(-4, 5), repeat=3):
        for p in itertools.product((0, 1), repeat=3):
            image = [(1 - 2 * p[i]) * MOUTH[i] + 2 * n[i] * SIZE[i] for i in range(3)]
            distance = np.linalg.norm(np.subtract(image, MICROPHONE))
            order = sum(abs(n[i] - p[i]) + abs(n[i]) for i in range(3))
            arrivals.append(((distance - direct) / 343.0, 0.8**order * direct / distance))
    response = np.cumsum(impulse_response(room, MOUTH).astype(float))
    from scipy import signal

    numerator, denominator = signal.butter(2, 50, "highpass", fs=16_000)
    for sample in (30, 120, 300, 600):
        clicks = np.zeros(sample + 1)
        for time, weight in arrivals:
            if time * 16_000 <= sample:
                clicks[round(time * 16_000)] += weight
        wanted = np.cumsum(signal.lfilter(numerator, denominator, clicks))[sample]
        assert response[sample] == pytest.approx(wanted, abs=0.35)


def test_the_direct_sound_comes_first_and_is_not_delayed():
    response = impulse_response(room_of(SIZE, 0.4, MICROPHONE), MOUTH)
    assert np.argmax(np.abs(response)) == 0
    assert response[0] == pytest.approx(1.0, abs=0.05)
    assert len(response) == pytest.approx(0.4 * 16_000, abs=2)


@pytest.mark.parametrize("rt60", [0.3, 0.5, 0.8])
def test_the_reverberation_time_is_what_was_asked(rt60):
    rng = np.random.default_rng(1)
    times = []
    for _ in range(4):
        room = draw_room(rt60, rng)
        response = impulse_response(room, draw_position(room, rng)).astype(float)
        energy = np.cumsum(response[::-1] ** 2)[::-1]
        fall = 10 * np.log10(energy / energy[0] + 1e-12)
        region = (fall < -5) & (fall > -25)
        slope = np.polyfit(np.flatnonzero(region) / 16_000, fall[region], 1)[0]
        times.append(-60 / slope)
    assert np.mean(times) == pytest.approx(rt60, rel=0.15)


def test_decay_time_of_an_exponential():
    noise = np.random.default_rng(0).standard_normal(16_000)
    decay = noise * 10 ** (-3 * np.arange(16_000) / 16_000 / 0.45)
    assert decay_time(decay.astype(np.float32)) == pytest.approx(0.45, rel=0.05)


def test_positions_lie_in_the_room_and_differ():
    rng = np.random.default_rng(3)
    for _ in range(30):
        room = draw_room(0.3, rng)
        places = np.array([draw_position(room, rng) for _ in range(3)])
        assert (places > 0.25).all() and (places < np.array(room.size) - 0.25).all()
        assert (0.2 < np.array(room.microphone)).all() and (np.array(room.microphone) < room.size).all()
        assert len(np.unique(places, axis=0)) == 3
