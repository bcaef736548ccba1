import argparse
import hashlib
import json
import os
import socket

import pytest

from diarist.cli import models as command
from diarist.errors import UsageError, WeightsError
from diarist.models import cache, catalog
from diarist.models.catalog import Entry

CONTENT = b"weights" * 10


@pytest.fixture(autouse=True)
def cached(monkeypatch, tmp_path):
    """A cache with the file of `toy`, in a catalogue that also has `absent`; sockets are refused."""

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    values = {
        "kind": "embedding",
        "package": "toy",
        "version": "1.0",
        "archives": ("toy-1.0.whl",),
        "member": "toy/voice.bin",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "num_bytes": len(CONTENT),
        "licence": "MIT",
        "origin": "made for this test",
    }
    monkeypatch.delenv("DIARIST_OFFLINE", raising=False)
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path))
    monkeypatch.setattr(socket, "socket", refuse)
    entries = [Entry(name="toy", **values, opt_in=False), Entry(name="absent", **values)]
    monkeypatch.setattr(catalog, "CATALOG", {entry.name: entry for entry in entries})
    path = cache.path_of(entries[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def call(*words):
    parser = argparse.ArgumentParser(prog="diarist models")
    command.configure(parser)
    return command.run(parser.parse_args(words))


def test_list(capsys):
    assert call("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "kind", "size", "state", "licence", "from"]
    assert lines[1].split() == ["toy", "embedding", "70", "B", "cached", "MIT", "toy==1.0"]
    assert lines[2].split() == ["absent", "embedding", "70", "B", "missing", "MIT", "toy==1.0"]


def test_list_as_json(capsys, cached):
    assert call("list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["name"] == "toy" and first["default"] and first["state"] == "cached"
    assert first["path"] == str(cached)
    assert second["state"] == "missing" and not second["default"]
    assert second["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_path_is_all_that_is_printed(capsys, cached):
    assert call("path", "toy", "--offline") == 0
    assert capsys.readouterr() == (f"{cached}\n", "")


def test_pull_says_where_on_stderr(capsys, cached):
    assert call("pull") == 0
    assert capsys.readouterr() == ("", f"toy: {cached}\n")


@pytest.mark.parametrize("action", ["path", "pull"])
def test_offline_without_the_file(action):
    with pytest.raises(WeightsError, match=r"'absent' are missing in the cache and nothing may be fetched"):
        call(action, "absent", "--offline")


def test_pull_checks_every_name_first(cached):
    cached.unlink()
    with pytest.raises(UsageError, match=r"unknown model 'toi'; did you mean 'toy'\?"):
        call("pull", "toy", "toi")


def test_verify(capsys, cached):
    assert call("verify") == 0
    assert capsys.readouterr().out == "toy: ok\n"  # what was never fetched is no fault
    assert call("verify", "toy", "--offline") == 0


def test_verify_finds_what_a_stamp_would_hide(capsys, cached, monkeypatch):
    call("verify")
    stat = cached.stat()
    cached.write_bytes(b"W" + CONTENT[1:])
    os.utime(cached, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(WeightsError, match=r"not as they should be: toy; run 'diarist models pull toy'"):
        call("verify")
    assert "toy: corrupt" in capsys.readouterr().out


def test_verify_of_a_missing_file_that_is_named(capsys):
    with pytest.raises(WeightsError, match="absent"):
        call("verify", "absent")
    assert capsys.readouterr().out == "absent: missing\n"


def test_progress_only_on_a_terminal(capsys, monkeypatch):
    assert command._progress() is None
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show = command._progress()
    show("toy", 500_000, 1_000_000)
    show("toy", 1_000_000, 1_000_000)
    assert capsys.readouterr().err == "\rtoy: 0.5 of 1.0 MB\rtoy: 1.0 of 1.0 MB\n"


@pytest.mark.parametrize("words", [[], ["path"], ["path", "a", "b"], ["fetch"]])
def test_usage(words, capsys):
    with pytest.raises(SystemExit) as caught:
        call(*words)
    assert caught.value.code == 2
    assert "usage: diarist models" in capsys.readouterr().err
