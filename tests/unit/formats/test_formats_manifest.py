from __future__ import annotations

import json
from pathlib import Path

import pytest

from diarist.errors import FormatError, InputError
from diarist.formats import manifest

LINE = (
    '{"audio_filepath": "talks/a.wav", "offset": 1.5, "duration": 20, "label": "infer", "text": "-", '
    '"num_speakers": 2, "rttm_filepath": "a.rttm", "uem_filepath": null, "ctm_filepath": null}'
)


def test_names_that_no_system_takes():
    (line,) = manifest.loads(json.dumps({"audio_filepath": "a" * 5000 + ".wav", "rttm_filepath": "b" * 5000}))
    assert line.audio.name == "a" * 5000 + ".wav"


def test_what_a_line_says(tmp_path):
    (tmp_path / "a.rttm").touch()
    (found,) = manifest.loads(LINE, folder=tmp_path)
    assert found == manifest.Line(
        audio=tmp_path / "talks/a.wav", uri="a", offset=1.5, duration=20.0, num_speakers=2, rttm=tmp_path / "a.rttm"
    )


def test_nothing_but_a_recording_is_needed():
    first, second = manifest.loads('{"audio_filepath": "/x/a.wav"}\n\n{"audio_filepath": "b.wav", "uniq_id": "B"}\r\n')
    assert first == manifest.Line(Path("/x/a.wav"), "a")
    assert (second.uri, second.duration, second.num_speakers) == ("B", None, None)


def test_a_path_that_is_there_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").touch()
    assert manifest.loads('{"audio_filepath": "a.wav"}', folder="/elsewhere")[0].audio == Path("a.wav")
    assert manifest.loads('{"audio_filepath": "b.wav"}', folder="/elsewhere")[0].audio == Path("/elsewhere/b.wav")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.json names no recording"),
        ("[1]", "m.json:1: a line of a manifest is a JSON object"),
        ('\n{"a": ', "m.json:2: not a JSON object"),
        ("{}", "'audio_filepath' must name a recording"),
        ('{"audio_filepath": 3}', "'audio_filepath' must name a recording"),
        ('{"audio_filepath": "a.wav", "offset": -1}', "'offset' must be seconds, 0 or more, not -1"),
        ('{"audio_filepath": "a.wav", "duration": "9"}', "'duration' must be seconds, 0 or more, not '9'"),
        ('{"audio_filepath": "a.wav", "duration": NaN}', "'duration' must be seconds"),
        ('{"audio_filepath": "a.wav", "num_speakers": 1.5}', "'num_speakers' must be a whole number"),
        ('{"audio_filepath": "a.wav", "rttm_filepath": 1}', "'rttm_filepath' must be a path"),
        ('{"audio_filepath": "x/a.wav"}\n{"audio_filepath": "y/a.wav"}', "m.json:2: two recordings are called 'a'"),
    ],
)
def test_what_is_no_manifest(text, message):
    with pytest.raises(FormatError, match=message):
        manifest.loads(text, name="m.json")


def test_speech_from_files_of_every_kind(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return manifest.read_speech(tmp_path / name)

    rttm = "SPEAKER a 1 1.0 2.0 <NA> <NA> A <NA> <NA>\nSPEAKER b 1 0.5 1.0 <NA> <NA> B <NA> <NA>\n"
    assert write("x.rttm", rttm) == {"a": [(1.0, 3.0)], "b": [(0.5, 1.5)]}
    assert write("x.uem", "a 1 0.0 4.0\na 1 5.0 6.0\n") == {"a": [(0.0, 4.0), (5.0, 6.0)]}
    assert write("x.lab", "1.0 2.0 speech\n") == {"x": [(1.0, 2.0)]}
    lines = (
        '{"audio_filepath": "q/a.wav", "offset": 1, "duration": 2, "label": "UNK", "uniq_id": "a"}\n'
        '{"audio_filepath": "q/a.wav", "offset": 5, "duration": 0.5, "label": "UNK", "uniq_id": "a"}\n'
    )
    assert write("x.json", lines) == {"a": [(1.0, 3.0), (5.0, 5.5)]}
    with pytest.raises(FormatError, match="needs its 'duration'"):
        write("y.json", '{"audio_filepath": "a.wav"}')
    with pytest.raises(InputError, match="no such file"):
        manifest.read_speech(tmp_path / "none.rttm")
