"""Who is compared with whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarist.core.types import Diarization, Turn
from diarist.errors import FormatError, InputError
from diarist.evaluation.pairing import Recording, pair, read_recordings

LINE = "SPEAKER {} 1 0.0 2.0 <NA> <NA> ann <NA> <NA>\n"


def recording(uri, file="all.rttm", alone=False):
    return Recording(Diarization((Turn(0, 1, "ann"),), uri), Path(file), alone)


def names(pairs):
    return [(reference.uri, hypothesis.uri, len(hypothesis)) for reference, hypothesis in pairs]


def test_by_uri_with_what_is_missing_and_what_is_too_much():
    references = [recording(uri) for uri in "cab"]
    hypotheses = [recording(uri) for uri in "bxa"]
    pairs, warnings = pair(references, hypotheses)
    assert names(pairs) == [("a", "a", 1), ("b", "b", 1), ("c", "c", 0)]
    assert warnings == ["no hypothesis for 'c': all of their speech counts as missed", "no reference for 'x': ignored"]


def test_one_of_each_is_a_pair():
    pairs, warnings = pair([recording("call")], [recording("audio")])
    assert names(pairs) == [("call", "audio", 1)]
    assert warnings == ["hypothesis 'audio' is taken for reference 'call'"]


def test_by_file_where_every_file_calls_its_recording_the_same():
    references = [recording("one"), recording("two")]
    hypotheses = [recording("waveform", "h/two.rttm", True), recording("waveform", "h/one.rttm", True)]
    pairs, warnings = pair(references, hypotheses)
    assert names(pairs) == [("one", "waveform", 1), ("two", "waveform", 1)]
    assert [h for _, h in pairs] == [hypotheses[1].diarization, hypotheses[0].diarization]
    assert warnings == []


def test_by_file_where_uris_differ():
    references = [recording("x1", "r/one.rttm", True), recording("x2", "r/two.rttm", True)]
    hypotheses = [recording("y1", "h/one.json", True), recording("two", "h/other.json", True)]
    pairs, warnings = pair(references, hypotheses)
    assert names(pairs) == [("x1", "y1", 1), ("x2", "two", 1)]
    assert len(warnings) == 2


def test_the_same_recording_twice():
    with pytest.raises(FormatError, match=r"'a' is in both 'x.rttm' and 'y.rttm'"):
        pair([recording("a", "x.rttm"), recording("a", "y.rttm")], [recording("a")])


def test_nothing_in_common_is_an_error():
    with pytest.raises(InputError, match="'x', 'y', is in the reference: 'a', 'b'"):
        pair([recording("a"), recording("b")], [recording("x"), recording("y")])


def test_folders_are_read_through_and_formats_do_not_double(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.rttm").write_text(LINE.format("b"))
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "deep" / "a.rttm").write_text(LINE.format("a1") + LINE.format("a2"))
    (tmp_path / "silent.rttm").write_text("")
    (tmp_path / ".hidden.rttm").write_text("not a line")
    (tmp_path / "b.flac").write_bytes(b"")
    found = read_recordings(tmp_path)
    assert [(r.uri, r.alone, len(r.diarization)) for r in found] == [
        ("b", True, 1),
        ("a1", False, 1),
        ("a2", False, 1),
        ("silent", True, 0),
    ]


def test_a_folder_without_turns(tmp_path):
    (tmp_path / "b.flac").write_bytes(b"")
    with pytest.raises(InputError, match="no turns in the folder"):
        read_recordings(tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"gone\.rttm"):
        read_recordings(tmp_path / "gone.rttm")
