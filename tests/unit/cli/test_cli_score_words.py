"""`diarist score-words`: from files to exit."""

import json

import pytest

from diarist.cli.main import main

pytest.importorskip("meeteval")
REFERENCE = "a 1 Ann 0 2 hello there my friend\na 1 Bob 2 3 fine\nb 1 Ann 0 1 yes\n"
HYPOTHESIS = "a 1 x 0 1.5 hello there my\na 1 y 1.5 3 friend fine\nb 1 x 0 1 yes\n"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ref.stm").write_text(REFERENCE)
    (tmp_path / "hyp.stm").write_text(HYPOTHESIS)
    return tmp_path


def run(capsys, *words):
    code = main(["score-words", *words])
    return code, *capsys.readouterr()


def test_table(capsys):
    code, out, err = run(capsys, "ref.stm", "hyp.stm")
    rows = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert rows[1] == ["a", "5", "20.00", "40.00", "0", "1", "1", "40.00"]
    assert rows[2] == ["b", "1", "0.00", "0.00", "0", "0", "0", "0.00"]
    assert rows[3] == ["all", "6", "16.67", "33.33", "0", "1", "1", "33.33"]


def test_json(capsys):
    document = json.loads(run(capsys, "ref.stm", "hyp.stm", "--json")[1])
    assert document["recordings"]["a"]["wder"] == 0.2
    assert document["all"]["cpwer"] == {"rate": 1 / 3, "length": 6, "substitutions": 0, "deletions": 1, "insertions": 1}
    assert document["collar"] == 5.0


def test_one_recording_each_need_not_have_the_same_name(capsys, tmp_path):
    (tmp_path / "one.stm").write_text("meeting 1 Ann 0 1 yes\n")
    (tmp_path / "two.txt").write_text("[x]: Yes!\n")
    code, out, err = run(capsys, "one.stm", "two.txt")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["meeting", "1", "0.00", "0.00", "0", "0", "0", "no", "times"]
    assert run(capsys, "one.stm", "two.txt", "--exact", "--json")[1].count('"substitutions": 1') == 2


def test_missing_recordings(capsys, tmp_path):
    (tmp_path / "part.stm").write_text(HYPOTHESIS.replace("b 1", "c 1"))
    code, out, err = run(capsys, "ref.stm", "part.stm")
    assert code == 0
    assert "warning: 'b' is not in the hypothesis" in err and "warning: 'c' is not in the reference" in err
    assert out.splitlines()[2].split() == ["b", "1", "-", "100.00", "0", "1", "0", "100.00"]
    (tmp_path / "other.stm").write_text("x 1 A 0 1 yes\ny 1 A 0 1 yes\n")
    code, out, err = run(capsys, "ref.stm", "other.stm")
    assert (code, out) == (1, "") and "no recording is in both" in err


def test_what_is_wrong(capsys):
    assert run(capsys, "ref.stm", "none.stm")[0] == 1
    code, _, err = run(capsys, "ref.stm", "hyp.stm", "--collar", "inf")
    assert code == 2 and err.count("\n") == 1
