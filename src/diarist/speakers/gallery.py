"""The gallery: who has been enrolled, with voices from any number of recordings, in one SQLite file.

It is made when somebody enrols somebody and at no other time. It keeps names, mean voices (no sound), their seconds of
speech, quality, the recordings' names and dates. All voices come from one embedding model at one precision: others
are refused. Several processes may use it at once: each change is one transaction, and who comes second waits.

The rollback journal is used, not a write-ahead log, so that nothing stays beside the file; `secure_delete` zeroes what
is deleted and VACUUM writes the file anew, so that after `forget` no byte of a person is left in it.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import numpy as np

from diarist.core.config import nearest
from diarist.errors import DiaristError, FormatError, InputError, MissingError, UsageError
from diarist.speakers.voices import Voice, checked_name, key_of

SCHEMA = 1
"""Version of the tables, in the file's `user_version`."""

APPLICATION = 0x64726973
"""`dris`, in the file's `application_id`: tells a gallery from other SQLite files."""

PATIENCE = 30.0
"""Seconds to wait for another process that is changing the gallery."""

_TABLES = """
CREATE TABLE gallery (model TEXT NOT NULL);
CREATE TABLE person (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
);
CREATE TABLE voice (
    id INTEGER PRIMARY KEY,
    person INTEGER NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    embedding BLOB NOT NULL,
    seconds REAL NOT NULL,
    quality REAL NOT NULL,
    source TEXT NOT NULL,
    enrolled TEXT NOT NULL,
    UNIQUE (person, embedding)
);
"""


@dataclass(frozen=True)
class Person:
    """Somebody enrolled: a `name`, and a voice from each recording, oldest first; `enrolled` are their dates."""

    name: str
    voices: tuple[Voice, ...]
    enrolled: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Speech that the voices come from, in all."""
        return sum(voice.seconds for voice in self.voices)


def default_path() -> Path:
    """`$DIARIST_GALLERY`, else `gallery.sqlite` in the user's data folder. Raises `MissingError` without a home."""
    given = os.environ.get("DIARIST_GALLERY")
    try:
        return Path(given).expanduser() if given else _data_folder() / "diarist" / "gallery.sqlite"
    except RuntimeError as error:
        raise MissingError("there is no home folder to keep a gallery in: set DIARIST_GALLERY to a file") from error


class Gallery:
    """Enrolled people in the SQLite file `path`. Holds no connection between calls: share it, fork, as you like.

    Whatever reads raises `MissingError` where there is no file, `FormatError` where it is no gallery or is damaged;
    whatever writes makes the file, readable by its owner only. `DiaristError` where the system refuses.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = default_path() if path is None else Path(path)

    def exists(self) -> bool:
        """Whether there is a file with something in it: an enrolment that was stopped may leave an empty one."""
        return self.path.exists() and not _is_empty(self.path)

    @property
    def model(self) -> str | None:
        """What made the voices; None while there are none."""
        with self._open() as db:
            return _model(db)

    def people(self) -> list[Person]:
        """Everybody enrolled, in order of name."""
        with self._open() as db:
            model = _model(db) or ""
            rows = db.execute(
                "SELECT name, embedding, seconds, quality, source, enrolled FROM person JOIN voice "
                "ON voice.person = person.id ORDER BY key, voice.id"
            ).fetchall()
        found: dict[str, list[tuple[Voice, str]]] = {}
        for name, blob, seconds, quality, source, enrolled in rows:
            found.setdefault(str(name), []).append((self._voice(blob, seconds, model, quality, source), str(enrolled)))
        return [Person(name, *(tuple(parts) for parts in zip(*voices, strict=True))) for name, voices in found.items()]

    def person(self, name: str) -> Person | None:
        """Who is enrolled under that name, however it is spelled."""
        key = key_of(name)
        return next((person for person in self.people() if key_of(person.name) == key), None)

    def add(self, name: str, voices: Sequence[Voice]) -> int:
        """Enrol voices of one person; see `add_people`."""
        return self.add_people([Person(name, tuple(voices))])

    def add_people(self, people: Sequence[Person]) -> int:
        """Enrol people under their names, known or new, all or none; how many voices were new.

        A voice that its person has already is not kept twice. Raises `UsageError` for a bad name, a person without a
        voice, or voices of another model than the gallery's.
        """
        named = [(key_of(person.name), checked_name(person.name), person) for person in people]
        for _, name, person in named:
            if not person.voices:
                raise UsageError(f"no voice was given for '{name}': nobody is enrolled without one")
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self._open(create=True) as db, _changing(db):
            added = 0
            for key, name, person in named:
                db.execute("INSERT INTO person (key, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (key, name))
                (number,) = db.execute("SELECT id FROM person WHERE key = ?", (key,)).fetchone()
                for voice, date in zip(person.voices, person.enrolled or [now] * len(person.voices), strict=True):
                    added += self._insert(db, number, voice, date)
            return added

    def _insert(self, db: sqlite3.Connection, person: int, voice: Voice, date: str) -> int:
        self._check_model(db, voice.model, len(voice.embedding))
        values = (person, _blob(voice), voice.seconds, voice.quality, voice.source, date)
        return db.execute(
            "INSERT INTO voice (person, embedding, seconds, quality, source, enrolled) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            values,
        ).rowcount

    def forget(self, names: Sequence[str]) -> None:
        """Delete people and every trace of them in the file, all or none. Raises `UsageError` for an unknown name."""
        with self._open() as db:
            db.execute("VACUUM")  # where the disk has no room to write the file anew, nobody is half forgotten
            with _changing(db):
                known = dict(db.execute("SELECT key, name FROM person").fetchall())
                for name in names:
                    if key_of(name) not in known:
                        raise UsageError(f"nobody is enrolled as '{name}'{_nearest(name, known)}")
                    db.execute("DELETE FROM person WHERE key = ?", (key_of(name),))
                if not db.execute("SELECT 1 FROM person").fetchone():
                    db.execute("DELETE FROM gallery")  # whoever comes next may use another model
            db.execute("VACUUM")

    def _check_model(self, db: sqlite3.Connection, model: str, dimension: int) -> None:
        """Voices of one model, of one length."""
        known = _model(db)
        if known is None:
            db.execute("INSERT INTO gallery (model) VALUES (?)", (model,))
        elif known != model:
            raise UsageError(different_models(self.path, known, model))
        row = db.execute("SELECT length(embedding) FROM voice LIMIT 1").fetchone()
        if row is not None and row[0] != 4 * dimension:
            raise UsageError(
                f"the gallery '{self.path}' holds voices of {row[0] // 4} numbers, not of {dimension}: "
                f"give the other model a name of its own in embedding.model"
            )

    def _voice(self, blob: object, seconds: object, model: str, quality: object, source: object) -> Voice:
        try:
            if not (isinstance(blob, bytes) and isinstance(seconds, float) and isinstance(quality, float)):
                raise ValueError
            vector = np.frombuffer(blob, "<f4").astype(np.float64)
            if not abs(np.linalg.norm(vector) - 1) < 1e-3:  # as every voice is: bytes that changed on the disk show
                raise ValueError
            return Voice(vector.astype(np.float32), seconds, model, quality, str(source))
        except (ValueError, InputError) as error:
            raise FormatError(f"the gallery '{self.path}' is damaged: a voice in it cannot be read") from error

    @contextmanager
    def _open(self, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection to a whole gallery; what goes wrong with it is told as `DiaristError`."""
        if create:
            _make_file(self.path)
        elif not self.path.is_file() or _is_empty(self.path):
            what = "it is no file" if self.exists() else "'diarist speakers enrol' makes one"
            raise MissingError(f"there is no gallery '{self.path}': {what}")
        where = f"file:{quote(os.fsencode(self.path.absolute()))}?mode=rw"
        try:
            with closing(sqlite3.connect(where, uri=True, timeout=PATIENCE, isolation_level=None)) as db:
                db.execute("PRAGMA secure_delete = ON").fetchall()
                db.execute("PRAGMA foreign_keys = ON")
                db.execute("PRAGMA temp_store = MEMORY")  # VACUUM leaves no copy in another folder
                self._check(db, create)
                yield db
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _check(self, db: sqlite3.Connection, create: bool) -> None:
        """Make the tables of a new file; refuse what is no gallery."""
        (empty,) = db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()
        if empty and create:
            with _changing(db):
                if db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0]:  # still, now that we are alone
                    for statement in _TABLES.split(";"):
                        db.execute(statement)
                    db.execute(f"PRAGMA application_id = {APPLICATION}")
                    db.execute(f"PRAGMA user_version = {SCHEMA}")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise FormatError(f"'{self.path}' is no gallery of diarist: name another file")
        if version != SCHEMA:
            raise FormatError(f"the gallery '{self.path}' is of version {version}; this diarist reads {SCHEMA}")
        (state,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise FormatError(f"the gallery '{self.path}' is damaged ({' '.join(str(state).split())})")
        db.execute("PRAGMA journal_mode = DELETE").fetchall()

    def _told(self, error: sqlite3.Error) -> DiaristError:
        """What an error of SQLite means, in our words."""
        text = str(error)
        if "not a database" in text:
            return FormatError(f"'{self.path}' is no gallery of diarist: name another file")
        if "locked" in text or "busy" in text:
            return DiaristError(f"the gallery '{self.path}' is in use by another process: try again")
        if isinstance(error, sqlite3.OperationalError) and "no such" not in text:
            return DiaristError(f"cannot use the gallery '{self.path}': {text}")
        return FormatError(f"the gallery '{self.path}' is damaged ({text})")


def different_models(path: Path | str, known: str, model: str) -> str:
    """Why voices of two models cannot be in one gallery, and what to do."""
    return (
        f"the voices of '{path}' were made by {known}, these by {model}, and cannot be compared: use the same preset, "
        f"or another gallery (--gallery FILE)"
    )


def _model(db: sqlite3.Connection) -> str | None:
    row = db.execute("SELECT model FROM gallery").fetchone()
    return None if row is None else str(row[0])


def _blob(voice: Voice) -> bytes:
    return voice.embedding.astype("<f4").tobytes()


@contextmanager
def _changing(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction, alone from its beginning."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk has ended it
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _nearest(name: str, known: dict[str, str]) -> str:
    if not known:
        return ": the gallery is empty"
    shown = {unicodedata.normalize("NFC", shown): None for shown in known.values()}
    return nearest(name, shown)


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def _make_file(path: Path) -> None:
    """An empty file that only its owner may read, where there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise DiaristError(f"cannot write the gallery '{path}': it is a folder")
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except (OSError, ValueError) as error:
        raise DiaristError(f"cannot write the gallery '{path}': {getattr(error, 'strerror', None) or error}") from error


def _data_folder() -> Path:
    if os.environ.get("XDG_DATA_HOME"):
        return Path(os.environ["XDG_DATA_HOME"]).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path.home() / ".local" / "share"
