import dataclasses
import itertools
import json

import numpy as np
import pytest
import soundfile

from diarist.core.types import Waveform
from diarist.errors import InputError, UsageError
from diarist.simulate.config import Acoustics, SimulationConfig, TurnTaking
from diarist.simulate.conversation import simulate
from diarist.simulate.sources import Speech, find_noise, find_speakers


def heard(samples, tone):
    """Frames in which the tone of a voice sounds, from a discrete Fourier transform of each frame (bins of 100 Hz)."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return 2 * np.abs(np.fft.rfft(frames, axis=1))[:, 5 * (tone + 1)] / 160 > 0.012


def spans(active, bridge):
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(int), [0])))).reshape(-1, 2).tolist()
    merged = []
    for start, end in edges:
        if merged and start - merged[-1][1] < bridge:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    return merged


@pytest.mark.parametrize("seed", range(6))
def test_the_reference_is_exact_to_one_frame(folder, dry, seed):
    """Every voice is a tone of its own, so that who sounds in a frame can be read off the sound alone."""
    config = SimulationConfig(speakers=(2, 5), duration=(50.0, 70.0), acoustics=dry)
    sound, said, _ = simulate(find_speakers([folder]), config, seed)
    for tone in range(5):
        told = [[round(100 * t.start), round(100 * t.end)] for t in said if t.speaker == f"tone{tone}"]
        measured = spans(heard(sound.samples, tone), 30)
        measured = [m for m in measured if m[1] - m[0] > 2]  # a frame in which another voice begins leaks
        assert len(measured) == len(told)
        for (a, b), (c, d) in zip(measured, told, strict=True):
            assert abs(a - c) <= 1 and abs(b - d) <= 1


def test_a_room_does_not_move_the_reference(folder, dry):
    """The same seed with and without room, noise and telephone: the same turns; and the sound begins when they say."""
    plain = SimulationConfig(speakers=(3,), duration=(40.0,), acoustics=dry)
    wet = dataclasses.replace(
        plain, acoustics=dataclasses.replace(dry, reverb=1.0, rt60=(0.5,), equalise=1.0, phone=1.0)
    )
    speakers = find_speakers([folder])
    _, said, _ = simulate(speakers, plain, 8)
    sound, also, recipe = simulate(speakers, wet, 8)
    assert said.turns == also.turns and recipe["room"]["rt60"] == 0.5 and recipe["phone"]
    levels = 10 * np.log10(np.mean(sound.samples.reshape(-1, 160).astype(float) ** 2, axis=1) + 1e-12)
    starts = [round(100 * t.start) for t in said]
    quiet = [s for s in starts if levels[max(s - 6, 0) : s - 2].max(initial=-120) < -65 and s > 6]
    assert quiet  # the first turn at least
    assert all(levels[s + 2] > levels[s - 4] + 20 for s in quiet)


def test_the_same_seed_gives_the_same_sound(folder):
    speakers = find_speakers([folder])
    config = SimulationConfig(duration=(20.0, 40.0))
    one, two, other = (simulate(speakers, config, seed) for seed in (3, 3, 4))
    assert (one[0].samples == two[0].samples).all() and one[1] == two[1] and one[2] == two[2]
    assert one[1].turns != other[1].turns
    json.dumps(one[2])


def test_a_recipe_says_what_was_done(folder):
    config = SimulationConfig(
        speakers=(2,), duration=(30.0,), acoustics=Acoustics(reverb=1.0, noise=1.0, phone=1.0, equalise=1.0)
    )
    sound, said, recipe = simulate(find_speakers([folder]), config, 11, uri="talk")
    assert sound.uri == said.uri == recipe["uri"] == "talk"
    assert recipe["seed"] == 11 and recipe["duration"] == said.duration == sound.duration == 30.0
    assert {p["speaker"] for p in recipe["speakers"]} == set(said.labels)
    assert all(len(p["position"]) == 3 for p in recipe["speakers"])
    assert recipe["equalised"] and recipe["phone"] and recipe["noise"]["kind"] == "coloured"
    assert recipe["config"]["acoustics"]["snr"] == [5.0, 22.0]
    assert sum(p["talk_time"] for p in recipe["speakers"]) == pytest.approx(sum(t.duration for t in said), abs=0.1)
    for turn in recipe["turns"]:
        assert turn["sources"] and turn["kind"] in ("stretch", "backchannel")


@pytest.mark.parametrize("files", [False, True])
def test_noise_is_at_the_level_asked_for(folder, dry, tmp_path, files):
    if files:
        soundfile.write(tmp_path / "n.wav", 0.02 * np.random.default_rng(0).standard_normal(80_000), 16_000)
    plain = SimulationConfig(speakers=(2,), duration=(60.0,), acoustics=dry)
    noisy = dataclasses.replace(plain, acoustics=dataclasses.replace(dry, noise=1.0, snr=(12.0,)))
    noise = find_noise([tmp_path]) if files else []
    clean = simulate(find_speakers([folder]), plain, 5)[0].samples.astype(float)
    sound, said, recipe = simulate(find_speakers([folder]), noisy, 5, noise=noise)
    added = sound.samples.astype(float) - clean
    active = np.zeros(len(clean), bool)
    for turn in said:
        active[round(16_000 * turn.start) : round(16_000 * turn.end)] = True
    assert recipe["noise"]["kind"] == ("files" if files else "coloured") and recipe["gain"] == 0.0
    assert 10 * np.log10(np.mean(clean[active] ** 2) / np.mean(added**2)) == pytest.approx(12.0, abs=0.1)


def test_levels_differ_by_what_the_recipe_says(folder, dry):
    config = SimulationConfig(
        speakers=(2,),
        duration=(60.0,),
        turns=TurnTaking(overlap_changes=(0.0,), backchannels=0.0),
        acoustics=dataclasses.replace(dry, level_spread=6.0),
    )
    sound, said, recipe = simulate(find_speakers([folder]), config, 2)
    for person in recipe["speakers"]:
        parts = [
            sound.samples[round(16_000 * t.start) : round(16_000 * t.end)]
            for t in said
            if t.speaker == person["speaker"]
        ]
        frames = np.concatenate([p[: len(p) // 160 * 160] for p in parts]).reshape(-1, 160).astype(float)
        power = np.mean(frames**2, axis=1)
        level = 10 * np.log10(np.mean(power[power > 1e-6]))
        assert level - recipe["gain"] == pytest.approx(-26 + person["level"], abs=0.3)


def test_nothing_clips(dry):
    loud = np.zeros(16_000 * 40, np.float32)
    loud[::400] = 1.0  # pulses: the peak is 26 dB over the level
    loud += 0.001 * np.random.default_rng(0).standard_normal(len(loud)).astype(np.float32)
    speakers = [Speech(n, (Waveform(loud, uri=n),)) for n in "ab"]
    sound, _, recipe = simulate(speakers, SimulationConfig(speakers=(2,), duration=(30.0,), acoustics=dry), 1)
    assert np.abs(sound.samples).max() == pytest.approx(0.9, abs=1e-3) or recipe["gain"] == 0.0
    assert np.abs(sound.samples).max() <= 0.9001


def test_without_reuse_a_conversation_is_shorter_and_nothing_is_said_twice(folder, dry):
    speakers = find_speakers([folder])
    long = SimulationConfig(speakers=(2,), duration=(600.0,), acoustics=dry)
    _, said, recipe = simulate(speakers, long, 1)
    assert said.duration == 600.0 and recipe["said_again"]
    sound, said, recipe = simulate(speakers, dataclasses.replace(long, reuse=False), 1)
    assert 30 < said.duration < 200 and recipe["said_again"] == [] and said.num_speakers == 2
    assert sound.duration == said.duration == recipe["duration"]
    places = sorted((source, second) for t in recipe["turns"] for source, second in t["sources"])
    assert all(a != b for a, b in itertools.pairwise(places))


def test_speakers_with_more_to_say_get_the_longer_roles(folder, dry, tmp_path):
    short = [
        Speech(f"short{k}", (Waveform(next(iter(_pieces(folder, k)))[:80_000], uri=f"short{k}"),)) for k in range(3)
    ]
    config = SimulationConfig(speakers=(2,), duration=(60.0,), acoustics=dry, turns=TurnTaking(evenness=50.0))
    for seed in range(4):
        _, _, recipe = simulate([*short, *find_speakers([folder])], config, seed)
        assert recipe["said_again"] == []


def _pieces(folder, tone):
    for path in sorted((folder / f"tone{tone}").iterdir()):
        yield soundfile.read(path, dtype="float32")[0]


def test_too_few_speakers_is_an_error_that_says_how_many_there_are(folder):
    with pytest.raises(UsageError, match="conversation of 9 speakers was asked for, but there are only 5"):
        simulate(find_speakers([folder]), SimulationConfig(speakers=(9,), duration=(60.0,)))


def test_speakers_that_cannot_be_heard_are_left_out(folder, tmp_path, dry):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    mute = [Speech(f"mute{k}", (tmp_path / "bad.wav",)) for k in range(4)]
    config = SimulationConfig(speakers=(3,), duration=(30.0,), acoustics=dry)
    _, said, recipe = simulate([*mute, *find_speakers([folder])], config, 0)
    assert said.num_speakers == 3 and all("bad.wav" in w for w in recipe["warnings"])
    with pytest.raises(InputError, match="of 5 only 1 can be heard"):
        simulate([*mute, find_speakers([folder])[0]], config, 0)
