"""The examples of the guide do what it says."""

import json
import re
import shlex
from pathlib import Path

import pytest

from diarist.cli.main import main

GUIDE = Path(__file__).parents[3] / "docs/guide/words.md"
WORDS = [
    ("Where", 0.1, 0.9),
    ("is", 0.9, 1.5),
    ("it?", 1.9, 2.3),
    ("Here", 2.4, 2.9),
    ("it", 2.9, 3.1),
    ("is.", 3.1, 3.5),
]
RTTM = "SPEAKER talk 1 0.0 2.0 <NA> <NA> Ann <NA> <NA>\nSPEAKER talk 1 2.0 3.0 <NA> <NA> Bob <NA> <NA>\n"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [{"word": text, "start": start, "end": end} for text, start, end in WORDS]
    segment = {"start": 0.1, "end": 3.5, "text": "Where is it? Here it is.", "words": words}
    (tmp_path / "talk.json").write_text(json.dumps({"segments": [segment], "language": "en"}))
    (tmp_path / "talk.rttm").write_text(RTTM)


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", blocks("console"))
def test_commands_print_what_stands_there(block, capsys):
    if "score-words" in block:
        pytest.importorskip("meeteval")
    for call in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = call.partition("\n")
        assert main(shlex.split(command)[1:]) == 0
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize("block", blocks("python"))
def test_python_runs(block, capsys, tmp_path):
    exec(compile(block, str(GUIDE), "exec"), {})
    out = capsys.readouterr().out
    assert "Ann" in out
    assert "srt" not in block or "[Bob]: Here it is." in (tmp_path / "talk.srt").read_text()
