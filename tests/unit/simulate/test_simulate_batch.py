import hashlib

import numpy as np
import pytest
import soundfile

from diarist.errors import InputError, UsageError
from diarist.simulate import batch
from diarist.simulate.batch import simulate_many
from diarist.simulate.config import SimulationConfig
from diarist.simulate.sources import find_speakers

CONFIG = SimulationConfig(speakers=(1, 3), duration=(15.0, 25.0))


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_bytes_do_not_depend_on_the_number_of_workers(folder, tmp_path):
    speakers = find_speakers([folder])
    for workers in (1, 2):
        made = list(simulate_many(speakers, tmp_path / str(workers), 4, CONFIG, seed=7, workers=workers))
        assert sorted(m.uri for m in made) == [f"sim_{i:05d}" for i in range(4)]
    one, two = hashes(tmp_path / "1"), hashes(tmp_path / "2")
    assert one == two and len(one) == 12
    assert len(set(one.values())) == 12


def test_the_files_agree(folder, tmp_path):
    (made,) = simulate_many(find_speakers([folder]), tmp_path, 1, CONFIG, prefix="talk")
    samples, rate = soundfile.read(tmp_path / "talk_00000.flac")
    assert rate == 16_000 and len(samples) == round(made.recipe["duration"] * 16_000)
    rows = [line.split() for line in (tmp_path / "talk_00000.rttm").read_text().splitlines()]
    assert all(row[0] == "SPEAKER" and row[1] == "talk_00000" for row in rows)
    told = [(t.start, t.speaker) for t in made.reference()]
    assert [(float(row[3]), row[7]) for row in rows] == [(round(s, 3), w) for s, w in told]
    assert max(float(r[3]) + float(r[4]) for r in rows) <= made.recipe["duration"] + 1e-6


def test_what_is_there_is_skipped_and_what_is_missing_is_made(folder, tmp_path):
    speakers = find_speakers([folder])
    list(simulate_many(speakers, tmp_path, 3, CONFIG))
    before = hashes(tmp_path)
    (tmp_path / "sim_00001.json").unlink()  # as if it had been stopped before the recipe
    (tmp_path / ".sim_00001.killed").mkdir()
    (tmp_path / ".sim_00001.killed" / "1.f32").write_bytes(b"left")
    made = {m.uri: m.skipped for m in simulate_many(speakers, tmp_path, 4, CONFIG)}
    assert made == {"sim_00000": True, "sim_00001": False, "sim_00002": True, "sim_00003": False}
    after = hashes(tmp_path)
    assert all(after[name] == before[name] for name in before) and len(after) == 12


def test_another_seed_does_not_go_into_the_same_folder(folder, tmp_path):
    speakers = find_speakers([folder])
    list(simulate_many(speakers, tmp_path, 1, CONFIG))
    with pytest.raises(UsageError, match="was made from another seed, configuration or speech"):
        simulate_many(speakers, tmp_path, 1, CONFIG, seed=1)
    with pytest.raises(UsageError, match="was made from another"):
        simulate_many(speakers[1:], tmp_path, 1, CONFIG)
    (made,) = simulate_many(speakers, tmp_path, 1, CONFIG, seed=1, overwrite=True)
    assert not made.skipped and made.recipe["seed"] == [1, 0]


def test_a_folder_that_holds_something_else(folder, tmp_path):
    (tmp_path / "sim_00000.json").write_text("[]")
    with pytest.raises(UsageError, match="is not a recipe"):
        simulate_many(find_speakers([folder]), tmp_path, 1, CONFIG)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        simulate_many(find_speakers([folder]), tmp_path / "file" / "x", 1, CONFIG)


def test_long_conversations_are_made_on_disk_and_are_the_same(folder, tmp_path, monkeypatch):
    speakers = find_speakers([folder])
    list(simulate_many(speakers, tmp_path / "memory", 2, CONFIG))
    monkeypatch.setattr(batch, "IN_MEMORY", 1.0)
    monkeypatch.setattr(batch, "InMemory", None)
    list(simulate_many(speakers, tmp_path / "disk", 2, CONFIG))
    assert hashes(tmp_path / "memory") == hashes(tmp_path / "disk")


def test_what_cannot_be_asked(folder, tmp_path):
    speakers = find_speakers([folder])
    with pytest.raises(UsageError, match="up to 9 speakers were asked for, but there are only 5"):
        simulate_many(speakers, tmp_path, 1, SimulationConfig(speakers=(2, 9)))
    with pytest.raises(UsageError, match="cannot make -1 conversations with 1 workers"):
        simulate_many(speakers, tmp_path, -1, CONFIG)
    with pytest.raises(UsageError, match="0 workers"):
        simulate_many(speakers, tmp_path, 1, CONFIG, workers=0)


def test_samples_are_sixteen_bit_and_not_silent(folder, tmp_path):
    list(simulate_many(find_speakers([folder]), tmp_path, 1, CONFIG))
    info = soundfile.info(tmp_path / "sim_00000.flac")
    assert (info.format, info.subtype, info.channels) == ("FLAC", "PCM_16", 1)
    samples, _ = soundfile.read(tmp_path / "sim_00000.flac")
    assert 0.01 < np.std(samples) < 0.5
