import errno
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from package_server import CONTENT, toy_entry

from diarist.errors import WeightsError
from diarist.models import cache


@pytest.fixture
def stored(machine):
    """`(entry, path)` of a file that lies in the cache as it should."""
    entry = toy_entry()
    path = cache.path_of(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return entry, path


@pytest.fixture
def hashed(monkeypatch):
    """The paths that were hashed."""
    real, paths = cache.sha256, []
    monkeypatch.setattr(cache, "sha256", lambda path: paths.append(path) or real(path))
    return paths


def test_root_by_the_environment(machine, tmp_path):
    assert cache.root(tmp_path / "given") == tmp_path / "given"
    assert cache.root() == tmp_path / "cache"
    machine.setenv("DIARIST_CACHE", "~/mine")
    assert cache.root() == tmp_path / "home" / "mine"
    machine.setenv("DIARIST_CACHE", "")
    machine.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "diarist"


@pytest.mark.parametrize(
    ("platform", "below_home"),
    [("linux", ".cache/diarist"), ("darwin", "Library/Caches/diarist"), ("win32", "AppData/Local/diarist/Cache")],
)
def test_root_by_the_system(machine, tmp_path, platform, below_home):
    machine.delenv("DIARIST_CACHE")
    machine.delenv("LOCALAPPDATA", raising=False)
    machine.setattr(sys, "platform", platform)
    assert cache.root() == tmp_path / "home" / below_home


def test_root_without_a_home(machine):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    machine.delenv("DIARIST_CACHE")
    machine.setattr(Path, "home", homeless)
    with pytest.raises(WeightsError, match=r"no home folder.*set DIARIST_CACHE"):
        cache.root()


def test_a_file_is_hashed_once(stored, hashed):
    entry, path = stored
    assert [cache.state_of(entry, path) for _ in range(3)] == ["cached"] * 3
    assert hashed == [path]


def test_thorough_hashes_again(stored, hashed):
    entry, path = stored
    for _ in range(2):
        assert cache.state_of(entry, path, thorough=True) == "cached"
    assert hashed == [path, path]


def test_changed_bytes_of_the_same_length_are_found(stored):
    entry, path = stored
    assert cache.state_of(entry, path) == "cached"
    stat = path.stat()
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    assert cache.state_of(entry, path) == "corrupt"


def test_rot_that_leaves_the_time_is_found_by_verify(stored):
    entry, path = stored
    assert cache.state_of(entry, path) == "cached"
    stat = path.stat()
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cache.state_of(entry, path) == "cached"  # the price of not hashing 28 MB at each start
    assert cache.state_of(entry, path, thorough=True) == "corrupt"


def test_length_is_looked_at_first(stored, hashed):
    entry, path = stored
    path.write_bytes(CONTENT[:-1])
    assert cache.state_of(entry, path) == "corrupt"
    assert hashed == []


@pytest.mark.parametrize("stamp", [b"", b"\xff\xfe", b'["wrong", 1, 2]'])
def test_stamp_that_is_wrong(stored, hashed, stamp):
    entry, path = stored
    path.with_name(path.name + ".verified").write_bytes(stamp)
    assert [cache.state_of(entry, path) for _ in range(2)] == ["cached"] * 2
    assert hashed == [path]


def test_missing_and_not_a_file(machine, tmp_path):
    entry = toy_entry()
    path = cache.path_of(entry)
    assert cache.state_of(entry, path) == "missing"
    path.mkdir(parents=True)
    assert cache.state_of(entry, path) == "corrupt"


def test_a_cache_that_cannot_be_written_serves_what_it_has(stored, hashed, monkeypatch):
    entry, path = stored
    real = Path.open

    def read_only(self, mode="r", *args, **kwargs):
        if set(mode) & set("wxa+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return real(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", read_only)
    assert [cache.state_of(entry, path) for _ in range(2)] == ["cached"] * 2
    assert hashed == [path, path]
    with pytest.raises(WeightsError, match=r"Read-only file system.*set DIARIST_CACHE"):
        with cache.lock(path):
            pytest.fail("the lock was taken")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs permissions that hold for this user")
def test_folder_without_permission(stored):
    entry, path = stored
    path.parent.chmod(0o500)
    try:
        assert cache.state_of(entry, path) == "cached"
        with pytest.raises(WeightsError, match="set DIARIST_CACHE"), cache.replacing(path) as aside:
            aside.write_bytes(CONTENT)
    finally:
        path.parent.chmod(0o700)


def test_replacing_leaves_the_old_file_where_it_fails(machine, tmp_path):
    path = tmp_path / "new" / "file"
    with cache.replacing(path) as aside:
        aside.write_text("old")
        assert not path.exists()
    with pytest.raises(ValueError), cache.replacing(path) as aside:
        aside.write_text("half")
        raise ValueError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_replacing_tells_a_full_disk(machine, tmp_path):
    with pytest.raises(WeightsError, match=r"No space left on device.*free some space there, or set DIARIST_CACHE"):
        with cache.replacing(tmp_path / "file"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_derived_lies_in_the_cache(machine, tmp_path):
    assert cache.derived("campplus-92f29b94-v1.onnx") == tmp_path / "cache" / "derived" / "campplus-92f29b94-v1.onnx"
    assert cache.derived("x", tmp_path) == tmp_path / "derived" / "x"


def test_one_at_a_time(machine, tmp_path):
    path, inside, most = tmp_path / "file", [], []

    def work():
        with cache.lock(path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_what_a_killed_process_left_is_removed(machine, tmp_path):
    path = tmp_path / "file"
    old, new = tmp_path / ".file.1-abc.part", tmp_path / ".file.2-def.part"
    for part in (old, new):
        part.write_bytes(b"x")
    os.utime(old, (time.time() - 2 * cache.ABANDONED,) * 2)
    with cache.lock(path):
        pass
    assert not old.exists()
    assert new.exists()
