"""`diarist score` from files to exit."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path

import pytest

from diarist.cli import score
from diarist.errors import DiaristError, InputError, UsageError

DIART = Path(__file__).parents[3].parent / "shared/data/reference/diart"


def rttm(*turns):
    return "".join(
        f"SPEAKER {uri} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for uri, start, end, speaker in turns
    )


@pytest.fixture
def files(tmp_path):
    """Two recordings: `good` is right, `poor` has 10 s of 20 s confused."""
    reference = rttm(("good", 0, 10, "ann"), ("poor", 0, 10, "ann"), ("poor", 10, 20, "bob"))
    (tmp_path / "ref.rttm").write_text(reference)
    (tmp_path / "hyp.rttm").write_text(rttm(("good", 0, 10, "x"), ("poor", 0, 20, "x")))
    return tmp_path


def run(*arguments):
    parser = argparse.ArgumentParser()
    score.configure(parser)
    return score.run(parser.parse_args([str(a) for a in arguments]))


def test_table(files, capsys):
    assert run(files / "ref.rttm", files / "hyp.rttm", "--by", "speakers", "--reference-kind", "manual") == 0
    out, err = capsys.readouterr()
    assert "collar 0 s; overlapped speech scored; no UEM (all scored); reference: manual" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["poor", "50.00", "0.00", "0.00", "50.00", "75.00", "20.0", "0.0", "2", "1"] in lines
    assert ["pooled", "33.33", "0.00", "0.00", "33.33", "50.00", "30.0", "0.0", "2", "50.0", "0.50"] in lines
    assert ["mean", "25.00", "0.00", "0.00", "25.00", "37.50"] in lines
    assert any(line[:2] == ["2", "speakers"] for line in lines)
    assert err == ""


def test_json(files, capsys):
    run(files / "ref.rttm", files / "hyp.rttm", "--json", "--collar", "1")
    values = json.loads(capsys.readouterr().out)
    assert values["files"]["poor"]["total"] == 18.0
    assert values["convention"]["collar"] == 1.0


def test_csv_to_a_file_keeps_the_table(files, capsys):
    run(files / "ref.rttm", files / "hyp.rttm", "--csv", files / "out.csv")
    assert "pooled" in capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO((files / "out.csv").read_text())))
    assert float(rows[1]["der"]) == 0.5


def test_csv_to_the_terminal(files, capsys):
    run(files / "ref.rttm", files / "hyp.rttm", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0]["name"] == "good"


def test_uem_and_overlap(files, capsys):
    (files / "some.uem").write_text("poor 1 0.000 12.000\n")
    run(files / "ref.rttm", files / "hyp.rttm", "--uem", files / "some.uem", "--skip-overlap", "--json")
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert values["pooled"]["confusion"] == 2.0
    assert values["convention"]["uem"] == "some.uem" and values["convention"]["skip_overlap"] is True
    assert "warning: not in the UEM, so not scored: 'good'" in err


def test_missing_and_extra_recordings_are_named(files, capsys):
    (files / "hyp.rttm").write_text(rttm(("good", 0, 10, "x"), ("more", 0, 20, "x")))
    run(files / "ref.rttm", files / "hyp.rttm", "--json")
    out, err = capsys.readouterr()
    assert json.loads(out)["files"]["poor"]["miss"] == 20.0
    assert "warning: no hypothesis for 'poor'" in err
    assert "warning: no reference for 'more': ignored" in err


def test_folders(files, capsys):
    for side, text in (("r", "ref.rttm"), ("h", "hyp.rttm")):
        (files / side).mkdir()
        for line in (files / text).read_text().splitlines(keepends=True):
            with (files / side / f"{line.split()[1]}.rttm").open("a") as file:
                file.write(line)
    run(files / "r", files / "h", "--json")
    assert json.loads(capsys.readouterr().out)["pooled"]["confusion"] == 10.0


def test_plots(files, capsys):
    pytest.importorskip("matplotlib")
    run(files / "ref.rttm", files / "hyp.rttm", "--plot-dir", files / "pictures" / "all")
    assert sorted(p.name for p in (files / "pictures" / "all").iterdir()) == ["good.png", "poor.png"]
    (files / "one.uem").write_text("poor 1 0 20\n")
    run(files / "ref.rttm", files / "hyp.rttm", "--uem", files / "one.uem", "--plot", files / "one.svg")
    assert "UEM one.uem" in (files / "one.svg").read_text()
    with pytest.raises(UsageError, match="here are 2: give --plot-dir"):
        run(files / "ref.rttm", files / "hyp.rttm", "--plot", files / "two.png")


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["ref.rttm", "gone.rttm"], InputError, "gone.rttm"),
        (["ref.rttm", "hyp.rttm", "--uem", "gone.uem"], InputError, "gone.uem"),
        (["ref.rttm", "hyp.rttm", "--uem", "else.uem"], InputError, "nothing to score"),
        (["ref.rttm", "hyp.rttm", "--collar", "-1"], UsageError, "collar"),
        (["ref.rttm", "hyp.rttm", "--collar", "nan"], UsageError, "collar"),
        (["ref.rttm", "hyp.rttm", "--json", "--csv", "-"], UsageError, "both print"),
        (["ref.rttm", "hyp.rttm", "--csv", "no/where.csv"], DiaristError, "where.csv"),
        (["ref.rttm", "hyp.rttm", "--plot-dir", "ref.rttm"], InputError, "cannot make the folder"),
        (["ref.rttm", "bad.rttm"], DiaristError, "bad.rttm"),
    ],
)
def test_what_cannot_be_is_one_line(files, monkeypatch, arguments, kind, says):
    monkeypatch.chdir(files)
    (files / "else.uem").write_text("other 1 0 20\n")
    (files / "bad.rttm").write_text("SPEAKER good 1 zero 10 <NA> <NA> x <NA> <NA>\n")
    with pytest.raises(kind, match=says) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not DIART.is_dir(), reason=f"no {DIART}: diart's published output is kept apart")
def test_a_published_figure_from_the_files(capsys):
    run(DIART / "voxconverse_test_v0.0.2.rttm", DIART / "online_0.5s/VoxConverse.rttm", "--json")
    values = json.loads(capsys.readouterr().out)
    assert values["pooled"]["der"] == pytest.approx(0.222, abs=0.001)
    assert len(values["files"]) == 232
