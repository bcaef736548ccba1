import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from diarist.errors import ExtraError, UsageError, WeightsError
from diarist.models.hub import HubId, resolve


class RepositoryNotFoundError(Exception):
    """Stands in for the hub's exception of that name, as the others below do."""


class GatedRepoError(RepositoryNotFoundError): ...


class EntryNotFoundError(Exception): ...


class LocalEntryNotFoundError(EntryNotFoundError, FileNotFoundError, ValueError): ...


class RevisionNotFoundError(Exception): ...


class OfflineModeIsEnabled(ConnectionError): ...


@pytest.fixture
def fake_hub(monkeypatch, machine, tmp_path):
    """A module `huggingface_hub` with one repository, a small model folder; `calls` has what was asked of it."""
    repo = tmp_path / "hub" / "someone--voices"
    repo.mkdir(parents=True)
    (repo / "config.json").write_text('{"sample_rate": 16000}')
    np.savez(repo / "weights.npz", low=np.arange(3.0))
    module = types.ModuleType("huggingface_hub")
    module.calls, module.error = [], None

    def answer(name, path, **options):
        module.calls.append((name, options))
        if module.error is not None:
            raise module.error
        if not path.exists():
            raise EntryNotFoundError("404 Client Error.\nEntry Not Found")
        return str(path)

    module.snapshot_download = lambda repo_id, **options: answer(repo_id, repo, **options)
    module.hf_hub_download = lambda repo_id, filename, **options: answer(repo_id, repo / filename, **options)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("someone/voices", HubId("someone/voices")),
        ("hf:someone/voices", HubId("someone/voices")),
        ("some-one/voices.v2_x@v1.0", HubId("some-one/voices.v2_x", "v1.0")),
        ("hf:someone/voices@refs/pr/1:sub/weights.npz", HubId("someone/voices", "refs/pr/1", "sub/weights.npz")),
        ("someone/voices:weights.npz", HubId("someone/voices", None, "weights.npz")),
        ("voices", None),
        ("a/b/c", None),
        ("someone/voices@", None),
        ("someone/voices:", None),
        ("https://example.com/x", None),
        ("C:\\models\\x", None),
        ("", None),
    ],
)
def test_ids(text, parsed):
    assert HubId.parse(text) == parsed


def test_id_as_text():
    assert str(HubId("a/b", "v1", "c.onnx")) == "a/b@v1:c.onnx"
    assert str(HubId("a/b")) == "a/b"


def test_names_of_the_catalogue_are_fetched(server, toy):
    path = resolve("toy")
    assert path.name == "voice.bin"
    assert resolve("toy", offline=True) == path


def test_files_and_folders_are_themselves(fake_hub, tmp_path, machine):
    machine.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.onnx").write_bytes(b"x")
    for text in ("mine", "./mine", "mine/model.onnx", str(tmp_path / "mine")):
        assert resolve(text) == Path(text)
    assert resolve(tmp_path / "mine") == tmp_path / "mine"
    assert fake_hub.calls == []


@pytest.mark.parametrize("text", ["mine/model.onnx", "./mine", "../a/b", "~/voices", "/nowhere/voices", "voices.pt"])
def test_paths_that_are_not_there(fake_hub, machine, tmp_path, text):
    machine.chdir(tmp_path)
    with pytest.raises(WeightsError, match="there is no model at"):
        resolve(text)
    with pytest.raises(WeightsError, match="there is no model at"):
        resolve(Path("someone/voices"))
    assert fake_hub.calls == []


@pytest.mark.parametrize("text", ["campplus", "hf:voices", "hf:", "a/b/c/d", "what is this"])
def test_words_that_are_nothing(fake_hub, text):
    with pytest.raises(UsageError):
        resolve(text)
    assert fake_hub.calls == []


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_whole_repository(fake_hub, prefix):
    folder = resolve(f"{prefix}someone/voices")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "weights.npz"]
    assert fake_hub.calls == [("someone/voices", {"revision": None, "local_files_only": False})]


def test_one_file_of_a_revision(fake_hub):
    path = resolve("hf:someone/voices@v1:weights.npz")
    np.testing.assert_array_equal(np.load(path)["low"], [0.0, 1.0, 2.0])
    assert fake_hub.calls == [("someone/voices", {"revision": "v1", "local_files_only": False})]


def test_offline_asks_for_local_files_only(fake_hub, machine):
    resolve("someone/voices", offline=True)
    machine.setenv("DIARIST_OFFLINE", "yes")
    resolve("someone/voices:config.json")
    assert [options["local_files_only"] for _, options in fake_hub.calls] == [True, True]


@pytest.mark.parametrize(
    ("error", "offline", "told"),
    [
        (GatedRepoError("403 Client Error"), False, "it is gated: accept its terms.*HF_TOKEN"),
        (RepositoryNotFoundError("401 Client Error.\nYou"), False, "no such repository, or it is private.*HF_TOKEN"),
        (RevisionNotFoundError("404"), False, "no such revision"),
        (EntryNotFoundError("404"), False, "no such file"),
        (LocalEntryNotFoundError("cannot find"), False, "the hub cannot be reached"),
        (LocalEntryNotFoundError("cannot find"), True, "nothing may be fetched"),
        (OfflineModeIsEnabled("offline"), False, "HF_HUB_OFFLINE is set"),
        (OSError(28, "No space left on device"), False, "No space left on device"),
        (RuntimeError("first line\nsecond line"), False, "RuntimeError: first line$"),
        (RuntimeError(), False, "RuntimeError$"),
    ],
)
def test_what_the_hub_says_is_told_on_one_line(fake_hub, error, offline, told):
    fake_hub.error = error
    with pytest.raises(WeightsError, match=f"cannot get 'someone/voices@v1' from the hub: .*{told}") as caught:
        resolve("someone/voices@v1", offline=offline)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_without_the_package(machine):
    machine.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ExtraError, match=r"'someone/voices' needs the package .*diarist\[hub\]"):
        resolve("someone/voices")


def test_the_package_is_loaded_only_when_needed():
    code = "import sys, diarist.models.hub; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_with_the_real_package_and_nobody_to_ask(machine, tmp_path):
    """In a process of its own: the package reads its environment once."""
    pytest.importorskip("huggingface_hub")
    code = (
        "import sys\nfrom diarist.errors import WeightsError\nfrom diarist.models.hub import resolve\n"
        "try:\n    resolve('hf:someone/voices:config.json', offline=sys.argv[1] == 'offline')\n"
        "except WeightsError as error:\n    print(error)\n"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    for mode, told in (("offline", "nothing may be fetched"), ("online", "not in the hub's cache")):
        done = subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, env=env, check=True)
        assert told in done.stdout
    cached = tmp_path / "hf" / "hub" / "models--someone--voices"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("a" * 40)
    (cached / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (cached / "snapshots" / ("a" * 40) / "config.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", code + "else:\n    print('found')", "offline"],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    assert done.stdout.strip() == "found"
