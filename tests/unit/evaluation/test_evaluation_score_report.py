"""Reports: conventions, sums, breakdowns, and the three ways they are written."""

from __future__ import annotations

import csv
import io
import json

import pytest

from diarist.core.types import Diarization, Turn
from diarist.errors import UsageError
from diarist.evaluation.report import Convention, Report, score_files
from diarist.evaluation.score import Errors, score


def said(uri, *turns):
    return Diarization(tuple(Turn(start, end, speaker) for start, end, speaker in turns), uri)


RIGHT = said("right", (0, 10, "ann"), (10, 20, "bob"))
LONG = said("long", (0, 60, "ann"), (30, 60, "bob"), (60, 70, "cem"))
PAIRS = [(RIGHT, RIGHT), (LONG, said("long", (0, 70, "x")))]


def test_pooled_is_the_sum_and_mean_is_the_mean():
    report = score_files(PAIRS)
    assert report.pooled == score(*PAIRS[0]) + score(*PAIRS[1])
    assert report.files["long"].der == 0.4  # 30 missed and 10 confused of 100
    assert report.pooled.der == pytest.approx(40 / 120)
    assert report.mean()["der"] == pytest.approx(0.2)


def test_the_mean_leaves_out_recordings_with_nothing_to_score():
    silent = (said("silent"), said("silent", (0, 1, "x")))
    assert score_files([*PAIRS, silent]).mean() == score_files(PAIRS).mean()
    assert score_files([*PAIRS, silent]).pooled.false_alarm == 1.0


def test_reports_of_parts_add_up():
    whole = score_files(PAIRS)
    parts = score_files(PAIRS[:1]) + score_files(PAIRS[1:])
    assert parts == whole
    assert parts.to_json() == whole.to_json()
    with pytest.raises(UsageError, match="'long' is in both"):
        whole + parts
    with pytest.raises(UsageError, match="two conventions"):
        score_files(PAIRS[:1]) + score_files(PAIRS[1:], Convention(collar=0.5))


def test_the_convention_is_applied_and_said():
    convention = Convention(collar=2.0, skip_overlap=True, uem="all.uem", reference_kind="manual")
    report = score_files(PAIRS, convention, uem={"right": [(0, 20)], "long": [(0, 65)]})
    assert report.files["right"].total == 16.0  # 1 s off each end, 2 s at 10
    assert report.files["long"].total == 28.0 + 4.0
    for text in (report.to_text(), report.to_json(), report.to_csv()):
        assert all(word in text for word in ("2.0" if "," in text[:200] else "2", "all.uem", "manual"))
    assert "collar 2 s (1 s each side of a reference boundary); overlapped speech left out" in report.to_text()
    assert json.loads(report.to_json())["convention"]["collar"] == 2.0


def test_recordings_that_the_uem_does_not_name_are_not_scored():
    report = score_files(PAIRS, Convention(uem="x.uem"), uem={"right": [(0, 5)]})
    assert list(report.files) == ["right"]
    assert report.warnings == ("not in the UEM, so not scored: 'long'",)


def test_a_reference_that_doubles_a_speaker_is_reported():
    report = score_files([(said("odd", (0, 10, "ann"), (4, 6, "ann")), said("odd", (0, 10, "x")))])
    assert report.pooled.der == 0
    assert "'odd' (2.00 s): they count once" in report.warnings[0]


def test_breakdowns():
    report = score_files([*PAIRS, (said("none"), said("none", (0, 1, "x")))])
    by_speakers, by_overlap = report.groups("speakers"), report.groups("overlap")
    assert list(by_speakers) == ["no speaker", "2 speakers", "3 speakers"]
    assert by_speakers["3 speakers"] == report.files["long"]
    assert list(by_overlap) == ["no overlap", "overlap 20 % and more"]
    for groups in (by_speakers, by_overlap):
        assert sum(groups.values(), Errors()) == report.pooled


@pytest.mark.parametrize(
    ("speakers", "overlap", "expected"),
    [
        (1, 0.0, ("1 speaker", "no overlap")),
        (5, 4.9, ("5 speakers", "overlap under 5 %")),
        (6, 5.0, ("6-9 speakers", "overlap 5-10 %")),
        (9, 10.0, ("6-9 speakers", "overlap 10-20 %")),
        (30, 20.0, ("10+ speakers", "overlap 20 % and more")),
    ],
)
def test_edges_of_the_groups(speakers, overlap, expected):
    report = Report(Convention(), {"a": Errors(files=1, ref_speakers=speakers, speech=100.0, overlap=overlap)})
    assert (*report.groups("speakers"), *report.groups("overlap")) == expected


def test_text_fits_a_hundred_columns():
    name = "a-recording-with-quite-a-long-name-that-goes-on-and-on-" * 2
    pairs = [*PAIRS, (said(name, (0, 90_000, "ann")), said(name, (0, 90_000, "x"), (0, 900_000, "y")))]
    text = score_files(pairs).to_text(("speakers", "overlap"))
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "a-recording-wit" in text and "~" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["right", *["0.00"] * 5, "20.0", "0.0", "2", "2"] in lines
    assert ["long", "40.00", "30.00", "0.00", "10.00", "71.43", "100.0", "42.9", "3", "1"] in lines
    assert any(line[:2] == ["3", "recordings"] for line in lines)


def test_a_long_convention_is_wrapped():
    convention = Convention(0.5, True, "a-name-of-a-uem.uem", "made by hand by three people, and agreed on by two")
    text = score_files(PAIRS, convention).to_text()
    assert max(len(line) for line in text.splitlines()) <= 100
    assert " ".join(text.split("\n\n")[0].split()) == f"convention: {convention}"


def test_csv_has_a_row_for_each_recording_and_sum():
    rows = list(csv.DictReader(io.StringIO(score_files(PAIRS, Convention(0.5, reference_kind="a, b")).to_csv())))
    assert [(row["row"], row["name"]) for row in rows] == [
        ("file", "long"),
        ("file", "right"),
        ("pooled", "pooled"),
        ("mean", "mean"),
        ("speakers", "2 speakers"),
        ("speakers", "3 speakers"),
        ("overlap", "no overlap"),
        ("overlap", "overlap 20 % and more"),
    ]
    assert {(row["collar"], row["skip_overlap"], row["uem"], row["reference_kind"]) for row in rows} == {
        ("0.5", "False", "", "a, b")
    }


def test_json_holds_everything_as_fractions():
    values = json.loads(score_files(PAIRS, warnings=["something"]).to_json())
    assert values["files"]["long"]["der"] == 0.4
    assert values["pooled"]["der"] == 0.333333
    assert values["mean"]["der"] == 0.2
    assert set(values["by_speakers"]) == {"2 speakers", "3 speakers"}
    assert set(values["by_overlap"]) == {"no overlap", "overlap 20 % and more"}
    assert values["convention"]["averaging"].keys() == {"pooled", "mean"}
    assert values["warnings"] == ["something"]


def test_nothing_scored_is_still_a_report():
    report = score_files([])
    assert report.pooled == Errors()
    assert report.mean()["der"] == 0
    assert "0 recordings" in report.to_text(("speakers",))
