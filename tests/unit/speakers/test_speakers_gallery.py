"""The gallery: what goes in comes out, nothing is left of who is forgotten, and no file can break it."""

import multiprocessing
import signal
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from diarist.errors import DiaristError, FormatError, InputError, MissingError, UsageError
from diarist.speakers import gallery as module
from diarist.speakers.gallery import Gallery, Person, default_path
from diarist.speakers.voices import Voice, checked_name, key_of

MODEL = "campplus-zh-en int8"


def voice(seed=0, *, model=MODEL, dimension=16, source="monday", seconds=30.0):
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return Voice(vector / np.linalg.norm(vector), seconds, model, 0.9, source)


@pytest.fixture
def gallery(tmp_path):
    return Gallery(tmp_path / "gallery.sqlite")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def left_in(folder):
    """All bytes of all files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_voices_come_out_as_they_went_in(gallery):
    first, second = voice(1), voice(2, source="tuesday", seconds=3.25)
    assert (
        gallery.add("Anna", [first]) == 1 and gallery.add("Anna", [second]) == 1 and gallery.add("Bo", [voice(3)]) == 1
    )
    anna, bo = gallery.people()
    assert (anna.name, bo.name, gallery.model) == ("Anna", "Bo", MODEL)
    for before, after in zip((first, second), anna.voices, strict=True):
        assert before.embedding.tobytes() == after.embedding.tobytes()
        assert (before.seconds, before.quality, before.source, before.model) == (
            after.seconds,
            after.quality,
            after.source,
            after.model,
        )
    assert anna.seconds == 33.25 and all(date.startswith("20") for date in anna.enrolled)


def test_only_its_owner_may_read_it(gallery):
    gallery.add("Anna", [voice()])
    assert stat.S_IMODE(gallery.path.stat().st_mode) == 0o600
    assert names_in(gallery.path.parent) == ["gallery.sqlite"]


def test_a_name_is_one_person_however_it_is_spelled(gallery):
    gallery.add("  Zoe\u0308   Faye ", [voice(1)])
    gallery.add("zo\u00eb_FAYE".replace("_", " "), [voice(2)])
    (person,) = gallery.people()
    assert person.name == "Zo\u00eb Faye" and len(person.voices) == 2
    assert gallery.person("ZO\u00cb FAYE").name == person.name and gallery.person("Zo") is None
    assert key_of("Anna Lee") == key_of("anna_lee")


def test_the_same_voice_is_kept_once(gallery):
    assert gallery.add("Anna", [voice(1), voice(1)]) == 1
    assert gallery.add("Anna", [voice(1)]) == 0 and len(gallery.people()[0].voices) == 1


@pytest.mark.parametrize(
    "name", ["", "  ", "a\x00b", "x" * 201, "SPEAKER_00", "speaker3", "VOICE_012", "<NA>", "a\nb\x07"]
)
def test_what_is_no_name(name, gallery):
    with pytest.raises(UsageError):
        gallery.add(name, [voice()])
    assert not gallery.exists()


def test_names_of_all_kinds(gallery):
    for index, name in enumerate(["Ева Őri", "O'Neil; DROP TABLE person", "%s", "田中", "🙂", '"quoted"']):
        gallery.add(name, [voice(index)])
        assert gallery.person(name).name == checked_name(name)
    assert len(gallery.people()) == 6


def test_voices_of_another_model_are_refused_and_nothing_is_half_done(gallery):
    gallery.add("Anna", [voice(1)])
    with pytest.raises(UsageError, match=r"campplus-zh-en int8, these by campplus-zh-en float32.*--gallery"):
        gallery.add("Bo", [voice(2, model="campplus-zh-en float32")])
    with pytest.raises(UsageError, match="16 numbers, not of 8"):
        gallery.add_people([Person("Cy", (voice(3), voice(4, dimension=8)))])
    with pytest.raises(UsageError, match="no voice"):
        gallery.add_people([Person("Di", (voice(5),)), Person("Ed", ())])
    assert [person.name for person in gallery.people()] == ["Anna"]


def test_nothing_is_left_of_whom_is_forgotten(gallery):
    others = [
        Person(f"Somebody Else {i}", tuple(voice(100 * i + j, dimension=192) for j in range(1, 9))) for i in range(5)
    ]
    gallery.add_people(others)
    gone = [voice(9000 + j, dimension=192, source="secret-recording") for j in range(20)]
    gallery.add("Annabel Unique", gone)
    assert b"Annabel Unique" in left_in(gallery.path.parent) and gone[3].embedding.tobytes() in left_in(
        gallery.path.parent
    )
    gallery.forget(["annabel unique"])
    left = left_in(gallery.path.parent)
    assert names_in(gallery.path.parent) == ["gallery.sqlite"]
    for trace in (
        b"Annabel",
        b"annabel",
        b"secret-recording",
        *(v.embedding.tobytes()[i : i + 16] for v in gone for i in (0, 400)),
    ):
        assert trace not in left
    assert [person.name for person in gallery.people()] == [person.name for person in others]
    assert others[2].voices[3].embedding.tobytes() in left


def test_forgetting_also_holds_where_somebody_had_a_write_ahead_log(gallery):
    gallery.add("Bo", [voice(2)])
    db = sqlite3.connect(gallery.path)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    gallery.add("Annabel", [voice(1)])
    gallery.forget(["Annabel"])
    assert b"nnabel" not in left_in(gallery.path.parent) and voice(1).embedding.tobytes() not in left_in(
        gallery.path.parent
    )


def test_forgetting_the_last_one_makes_room_for_another_model(gallery):
    gallery.add("Anna", [voice(1)])
    gallery.forget(["Anna"])
    assert gallery.people() == [] and gallery.model is None
    assert gallery.add("Bo", [voice(2, model="other float32", dimension=4)]) == 1


def test_nobody_is_forgotten_where_one_is_unknown(gallery):
    gallery.add_people([Person("Anna", (voice(1),)), Person("Bo", (voice(2),))])
    with pytest.raises(UsageError, match="did you mean 'Anna'"):
        gallery.forget(["Bo", "Anne"])
    assert len(gallery.people()) == 2


def test_reading_makes_no_file(gallery):
    for read in (gallery.people, lambda: gallery.model, lambda: gallery.forget(["Anna"])):
        with pytest.raises(MissingError, match="enrol"):
            read()
    assert names_in(gallery.path.parent) == []


def test_foreign_and_broken_files_are_told(gallery, tmp_path):
    gallery.path.write_bytes(b"RIFF and so on, no database at all, long enough for a header" * 100)
    before = gallery.path.read_bytes()
    for use in (gallery.people, lambda: gallery.add("Anna", [voice()])):
        with pytest.raises(FormatError, match="no gallery"):
            use()
    assert gallery.path.read_bytes() == before
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE person (name)")
    foreign.commit()
    foreign.close()
    for use in (
        Gallery(tmp_path / "foreign.sqlite").people,
        lambda: Gallery(tmp_path / "foreign.sqlite").add("A", [voice()]),
    ):
        with pytest.raises(FormatError, match="no gallery"):
            use()
    (tmp_path / "empty").touch()
    assert not Gallery(tmp_path / "empty").exists()  # as a first enrolment that was stopped leaves it
    with pytest.raises(MissingError, match="enrol' makes one"):
        Gallery(tmp_path / "empty").people()
    assert Gallery(tmp_path / "empty").add("Anna", [voice()]) == 1
    assert Gallery(tmp_path / "empty").exists()
    with pytest.raises(MissingError, match="no file"):
        Gallery(tmp_path).people()
    with pytest.raises(DiaristError, match="folder"):
        Gallery(tmp_path).add("Anna", [voice()])
    with pytest.raises(DiaristError, match="cannot write"):
        Gallery(tmp_path / "empty" / "below").add("Anna", [voice()])


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_is_an_error_of_ours_or_does_no_harm(gallery, seed):
    gallery.add_people(
        [Person(f"Person {i}", tuple(voice(10 * i + j, dimension=192) for j in range(4))) for i in range(6)]
    )
    content = bytearray(gallery.path.read_bytes())
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        content = content[: int(rng.integers(len(content)))]
    else:
        start = int(rng.integers(len(content) - 300))
        content[start : start + 300] = rng.bytes(300)
    gallery.path.write_bytes(content)
    try:
        assert all(np.isfinite(v.embedding).all() for person in gallery.people() for v in person.voices)
    except DiaristError as error:
        assert str(gallery.path) in str(error)


def test_a_newer_gallery_is_not_touched(gallery):
    gallery.add("Anna", [voice()])
    db = sqlite3.connect(gallery.path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(FormatError, match="version 99"):
        gallery.add("Bo", [voice(1)])


def test_a_voice_that_is_no_vector_is_damage(gallery):
    gallery.add("Anna", [voice()])
    db = sqlite3.connect(gallery.path)
    db.execute("UPDATE voice SET embedding = ?", (np.full(16, np.nan, "f4").tobytes(),))
    db.commit()
    db.close()
    with pytest.raises(FormatError, match="damaged"):
        gallery.people()


def _enrol(arguments):
    path, number = arguments
    for turn in range(5):
        Gallery(path).add(f"Person {number}", [voice(100 * number + turn)])
        assert any(person.name == f"Person {number}" for person in Gallery(path).people())


def test_processes_at_once(gallery):
    """Six processes begin with no file at all: every voice of each is there at the end."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_enrol, [(gallery.path, number) for number in range(6)], chunksize=1)
    assert [(person.name, len(person.voices)) for person in gallery.people()] == [(f"Person {i}", 5) for i in range(6)]


def test_one_that_is_held_too_long_is_told(gallery, monkeypatch):
    gallery.add("Anna", [voice()])
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    holder = sqlite3.connect(gallery.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DiaristError, match="another process"):
        gallery.add("Bo", [voice(1)])
    holder.execute("ROLLBACK")
    holder.close()
    assert gallery.add("Bo", [voice(1)]) == 1


def test_a_transaction_that_a_full_disk_has_ended_tells_of_the_disk(gallery):
    gallery.add("Anna", [voice()])
    with (
        pytest.raises(DiaristError, match="database or disk is full"),
        gallery._open() as db,
        module._changing(db),
    ):
        db.execute("ROLLBACK")  # as SQLite does by itself
        raise sqlite3.OperationalError("database or disk is full")
    assert [person.name for person in gallery.people()] == ["Anna"]


def _forget_without_room(path, names, told):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = Path(path).stat().st_size // 2  # room for a journal of some of its pages, not for one of all
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        Gallery(path).forget(names)
    except DiaristError as error:
        told.put(str(error))
    else:
        told.put("forgotten")


def test_nobody_is_half_forgotten_where_there_is_no_room_to_write_the_file_anew(gallery):
    """Nobody deleted, and nobody told so, whose bytes are still in the file."""
    pytest.importorskip("resource")
    gallery.add("Annabel", [voice(1, dimension=192)])  # first in the file
    gallery.add_people(
        [Person(f"Person {i}", tuple(voice(100 * i + j, dimension=192) for j in range(40))) for i in (1, 2)]
    )
    start = multiprocessing.get_context("spawn")
    told = start.SimpleQueue()
    process = start.Process(target=_forget_without_room, args=(gallery.path, ["Annabel"], told))
    process.start()
    process.join()
    assert "cannot use the gallery" in told.get()
    assert [person.name for person in gallery.people()] == ["Annabel", "Person 1", "Person 2"]
    gallery.forget(["Annabel"])
    assert b"nnabel" not in left_in(gallery.path.parent)


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("DIARIST_GALLERY", str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine"
    monkeypatch.delenv("DIARIST_GALLERY")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "diarist" / "gallery.sqlite" == Gallery().path


@pytest.mark.parametrize(
    "embedding, seconds, quality",
    [
        ([0.0, 0.0], 1, 1),
        ([np.nan, 1], 1, 1),
        ([], 1, 1),
        ([[1.0]], 1, 1),
        ([1.0], 0, 1),
        ([1.0], np.inf, 1),
        ([1.0], 1, 2),
    ],
)
def test_what_is_no_voice(embedding, seconds, quality):
    with pytest.raises(InputError):
        Voice(np.array(embedding, np.float32), seconds, MODEL, quality)


def test_a_voice_has_length_one():
    assert Voice(np.array([3, 4], np.float32), 1.0, MODEL).embedding.tolist() == pytest.approx([0.6, 0.8])
