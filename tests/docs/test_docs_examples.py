"""What the documentation shows is run: python blocks marked `run`, examples, and command lines as far as they parse.

Voices are tones here, and the microphone hears a recording.
"""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import sys
import threading
from pathlib import Path

import pytest

import toy_house
from diarist import formats
from diarist.cli import main as cli

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "unit" / "audio"))
import fake_sounddevice  # noqa: E402

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAMPLES, REFERENCE = toy_house.recording(8, 2, seed=2)


def blocks(page, kind):
    """Line number and text of the blocks of a page whose first line satisfies `kind`."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        if kind(match[1].split()):
            yield text[: match.start()].count("\n") + 2, match[2]


@pytest.fixture
def house(monkeypatch, tmp_path):
    """A folder with recordings, toy networks, and somebody talking into the microphone."""
    toy_house.furnish(monkeypatch.setattr)
    for module in ("diarist.pipelines.blocks",):
        monkeypatch.setattr(f"{module}.load_segmentation", lambda *_, **__: toy_house.ToySegmentation())
        monkeypatch.setattr(f"{module}.load_embedding", lambda *_, **__: toy_house.ToyEmbedding())
    monkeypatch.setitem(sys.modules, "sounddevice", fake_sounddevice.make(SAMPLES, speed=500.0, then="closed"))
    monkeypatch.chdir(tmp_path)
    for name in ("meeting.wav", "meeting.m4a", "a.wav", "b.mp3"):  # content says what they are
        toy_house.write_wav(tmp_path / name, SAMPLES)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, house):
    """In order, in one namespace, as a reader would."""
    found = list(blocks(page, lambda words: words[:2] == ["python", "run"]))
    if not found:
        pytest.skip(f"no runnable block in {page.name}")
    namespace: dict[str, object] = {"__name__": "example"}
    for line, text in found:
        needed = re.findall(
            r"^\s*(?:import|from) (reactivex|matplotlib|pandas|rich|torch|websockets)", text, re.MULTILINE
        )
        if any(importlib.util.find_spec(module) is None for module in needed):
            continue
        code = compile("\n" * (line - 1) + text, str(page), "exec")
        exec(code, namespace)


def command_lines(page):
    """Every `diarist ...` of the blocks that are no python."""
    for line, text in blocks(page, lambda words: not words or words[0] in ("console", "sh", "bash", "shell")):
        joined = text.replace("\\\n", " ")
        for number, row in enumerate(joined.split("\n")):
            for part in re.split(r"\s(?:\||&&)\s", row):
                if re.match(r"(\$ )?diarist [a-z]", part) and " ..." not in part:
                    yield line + number, part.removeprefix("$ ")


COMMANDS = [pytest.param(command, id=f"{page.name}:{line}") for page in PAGES for line, command in command_lines(page)]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_are_of_commands_and_options_that_exist(command):
    words = shlex.split(re.sub(r"\s[<>]\s.*", "", command), comments=True)
    try:
        cli._parse(words[1:])
    except SystemExit:
        pytest.fail(f"not understood: {command}")


def run_example(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


def test_every_example_is_tested_and_listed():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    tested = set(re.findall(r'run_example\(monkeypatch, "(\w+\.py)"', Path(__file__).read_text()))
    assert scripts == tested == set(re.findall(r"`(\w+\.py)`", (ROOT / "examples" / "README.md").read_text()))


def test_a_microphone(house, monkeypatch, capsys):
    pytest.importorskip("rich")
    run_example(monkeypatch, "live_microphone.py")
    assert "speaker0: " in capsys.readouterr().out
    assert formats.read(house / "microphone.rttm")[0].num_speakers == 2


def test_an_embedding_of_ones_own(house, monkeypatch, capsys):
    run_example(monkeypatch, "own_embedding.py", "meeting.wav")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5 and all("speaker" in line for line in lines)


def test_overlap_aware_embeddings(house, monkeypatch, capsys):
    run_example(monkeypatch, "overlap_aware_embeddings.py")
    lines = capsys.readouterr().out.splitlines()
    assert set(lines) == {"(3, 80)"} and len(lines) == -(-(len(SAMPLES) - 80_000) // 8000) + 1


def test_observables(house, monkeypatch, capsys):
    pytest.importorskip("reactivex")
    run_example(monkeypatch, "observable.py", "meeting.wav")
    out = capsys.readouterr().out
    assert "(3, 80)" in out and "{'speaker0': " in out


def test_a_minimal_server(house, monkeypatch, capsys):
    client = pytest.importorskip("websockets.sync.client")
    from diarist.audio.sources import WebSocketServerSource

    replies = []

    def call(port):
        with client.connect(f"ws://localhost:{port}") as connection:
            for start in range(0, len(SAMPLES), 8000):
                connection.send((SAMPLES[start : start + 8000] * 32_767).astype("<i2").tobytes())
            replies.append(connection.recv(timeout=60))

    opened = WebSocketServerSource.__init__

    def open_and_call(self, host, port):
        opened(self, "127.0.0.1", 0)
        threading.Thread(target=call, args=(self.port,), daemon=True).start()

    monkeypatch.setattr(WebSocketServerSource, "__init__", open_and_call)
    run_example(monkeypatch, "websocket_server.py", 7007)
    assert replies[0].startswith("SPEAKER websocket 1 ") and "listening on" in capsys.readouterr().out
