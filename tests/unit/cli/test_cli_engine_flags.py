"""`diarist run --engine nemo-style`, on toy voices."""

from __future__ import annotations

import json
import os

import pytest

from diarist import formats
from diarist.cli.main import main
from diarist.engines import engine
from diarist.models import vad
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.models.vad import SegmentationVad
from diarist.pipelines import nemo_style
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.nemo_presets import resolve
from toy_house import furnish, write_wav

TURNS = [(0.5, 4.0, "a"), (5.0, 9.0, "b"), (10.0, 13.0, "a")]


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    furnish(monkeypatch.setattr)
    monkeypatch.setattr(nemo_style, "load_segmentation", lambda *_, **__: ToySegmentation())
    monkeypatch.setattr(nemo_style, "load_embedding", lambda *_, **__: ToyEmbedding())
    monkeypatch.setattr(nemo_style, "load_vad", lambda *_, **__: SegmentationVad(ToySegmentation()))
    monkeypatch.setenv(vad.ACCEPT, "")
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "talk.wav", conversation(TURNS, 14.0))
    lines = [f"SPEAKER talk 1 {s} {e - s} <NA> <NA> {who} <NA> <NA>\n" for s, e, who in TURNS]
    (tmp_path / "talk.rttm").write_text("".join(lines))


def run(capsys, *words):
    code = main(["run", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def nemo(capsys, *words):
    code, out, err = run(capsys, "--engine", "nemo-style", "--clustering-enhanced-count-thres", "0", *words)
    assert (code, err) == (0, ""), err
    (found,) = formats.loads(out, "rttm")
    return found


@pytest.mark.parametrize("preset", ["general", "meeting", "telephonic"])
def test_presets(capsys, preset):
    found = nemo(capsys, "talk.wav", "--preset", preset, "--num-speakers", 2)
    for start, end, who in TURNS:
        (turn,) = (t for t in found if t.start < (start + end) / 2 < t.end)
        assert turn.speaker == {"a": "SPEAKER_00", "b": "SPEAKER_01"}[who]


def test_speech_from_files(capsys, tmp_path):
    expected = [(0.5, 4.0), (5.0, 9.0), (10.0, 13.0)]
    (tmp_path / "talk.uem").write_text("talk 1 0.5 4.0\ntalk 1 5.0 9.0\ntalk 1 10.0 13.0\n")
    for how in ("talk.rttm", "oracle", "talk.uem"):
        found = nemo(capsys, "talk.wav", "--vad", how)
        assert [(t.start, t.end) for t in found] == expected
        assert found.num_speakers == 2


def test_a_manifest_is_one_rttm_a_line(capsys, tmp_path):
    lines = [
        {"audio_filepath": "talk.wav", "num_speakers": 2, "rttm_filepath": "talk.rttm", "offset": 0, "duration": None},
        {"audio_filepath": "talk.wav", "uniq_id": "part", "num_speakers": 1, "offset": 5, "duration": 3},
    ]
    (tmp_path / "m.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, err = run(
        capsys, *"--engine nemo-style --manifest m.json --clustering-oracle-num-speakers --out found --quiet".split()
    )
    assert (code, out, err) == (0, "", "")
    assert sorted(file.name for file in (tmp_path / "found").iterdir()) == ["part.rttm", "talk.rttm"]
    (whole,), (part,) = (formats.read(tmp_path / "found" / f"{name}.rttm") for name in ("talk", "part"))
    assert (whole.num_speakers, part.num_speakers) == (2, 1)
    assert all(5.0 <= turn.start < turn.end <= 8.0 for turn in part)
    code, _, err = run(capsys, *"--engine nemo-style --manifest m.json --vad oracle".split())
    assert (code, "no 'rttm_filepath' for 'part'" in err) == (1, True)
    (tmp_path / "known.toml").write_text("clustering.oracle_num_speakers = true\n")
    words = "--engine nemo-style --manifest m.json --preset-file known.toml --out again --quiet"
    assert run(capsys, *words.split())[0] == 0
    assert (tmp_path / "again" / "talk.rttm").read_text() == (tmp_path / "found" / "talk.rttm").read_text()
    (tmp_path / "m.json").write_text('{"audio_filepath": "talk.wav"}\n')
    code, _, err = run(capsys, *"--engine nemo-style --manifest m.json --clustering-oracle-num-speakers".split())
    assert (code, "no 'num_speakers' of 'talk'" in err) == (1, True)
    code, _, err = run(capsys, "talk.wav", *"--engine nemo-style --clustering-oracle-num-speakers".split())
    assert (code, "give num_speakers" in err) == (2, True)


def test_the_stretches_of_a_uem_in_a_manifest(capsys, tmp_path):
    (tmp_path / "talk.uem").write_text("talk 1 0 4.5\n")
    (tmp_path / "m.json").write_text('{"audio_filepath": "talk.wav", "uem_filepath": "talk.uem"}\n')
    assert max(turn.end for turn in nemo(capsys, "--manifest", "m.json")) <= 4.5


def test_flags_change_the_preset(capsys, monkeypatch):
    asked = []
    original = nemo_style.NemoStyleDiarizer.__init__

    def noted(self, *words, **options):
        original(self, *words, **options)
        asked.append(self)

    monkeypatch.setattr(nemo_style.NemoStyleDiarizer, "__init__", noted)
    words = "--preset meeting --vad segmentation --vad-onset 0.4 --no-vad-filter-speech-first --segmentation-overlap "
    words += "--speaker-embeddings-window-length-in-sec 2,1 --embedding-model mine.onnx --num-threads 1"
    nemo(capsys, "talk.wav", *words.split())
    (engine,) = asked
    config = engine.config
    assert (config.vad.model, config.vad.onset, config.vad.filter_speech_first) == ("segmentation", 0.4, False)
    assert config.speaker_embeddings.shift_length_in_sec == (1.0, 0.5)
    assert (config.segmentation.overlap, config.embedding.model) == (True, "mine.onnx")
    assert (engine.preset, engine.runtime.num_threads) == ("meeting", 1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--engine nemo-style --preset balanced", 2, "unknown preset 'balanced' of nemo-style; known: general"),
        ("--engine nemo-style --clustering-threshold 0.4", 2, "--clustering-threshold belongs to --engine clustering"),
        ("--engine nemo-style --channels-are-speakers", 2, "--channels-are-speakers belongs to --engine clustering"),
        ("--vad-onset 0.4", 2, "--vad-onset belongs to --engine nemo-style or nemo, not to clustering"),
        ("--vad talk.rttm", 2, "--vad belongs to --engine nemo-style or nemo, not to clustering"),
        ("--manifest m.json", 2, "--manifest belongs to --engine nemo-style"),
        ("--engine nemo-style --manifest m.json", 2, "leave out AUDIO"),
        ("--engine nemo-style --vad none.rttm", 1, "no such file: 'none.rttm'"),
        ("--engine nemo-style --speaker-embeddings-window-length-in-sec 1,2", 2, "from the longest to the shortest"),
    ],
)
def test_what_does_not_go_together(capsys, words, code, message):
    found, out, err = run(capsys, "talk.wav", *words.split())
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_file_of_other_recordings(capsys, tmp_path):
    two = "SPEAKER x 1 0 1 <NA> <NA> a <NA> <NA>\nSPEAKER y 1 0 1 <NA> <NA> a <NA> <NA>\n"
    (tmp_path / "two.rttm").write_text(two)
    code, _, err = run(capsys, *"talk.wav --engine nemo-style --vad two.rttm".split())
    assert (code, "'two.rttm' says nothing of 'talk': it speaks of x, y" in err) == (1, True)
    (tmp_path / "one.rttm").write_text(two.splitlines()[0])
    assert max(t.end for t in nemo(capsys, "talk.wav", "--vad", "one.rttm")) == 1.0


def test_an_accepted_licence_holds_for_the_process(capsys):
    run(capsys, *"talk.wav --engine nemo-style --accept-licence".split())
    assert vad.accepted() == {"marblenet-vad"}
    assert os.environ[vad.ACCEPT] == "marblenet-vad"


def test_weights_that_are_fetched():
    assert engine("nemo-style").weights(resolve("general")) == ["silero-vad", "campplus-zh-en"]
    assert "segmentation-3.0" in engine("nemo-style").weights(
        resolve("general", changes={"segmentation.overlap": True})
    )
    assert {"segmentation-3.0", "campplus-zh-en"} <= set(engine("clustering").weights(PipelineConfig()))


@pytest.mark.parametrize("words", ["--engine nemo-style --preset meeting --vad-onset 0.7", "--preset fast"])
def test_what_is_shown_can_be_given_back(capsys, tmp_path, words):
    code, shown, err = run(capsys, *words.split(), "--show-config")
    assert (code, err) == (0, "")
    assert ("onset = 0.7" in shown) == ("nemo" in words)
    (tmp_path / "own.toml").write_text(shown)
    engine = words.split("--preset")[0].split()
    assert run(capsys, *engine, "--preset-file", "own.toml", "--show-config") == (0, shown, "")


def test_the_default_engine_hears_a_voice_activity_model_too(capsys):
    assert 'vad = "marblenet"' in run(capsys, "--vad", "marblenet", "--show-config")[1]
    assert 'vad = "none"' in run(capsys, "--vad", "segmentation", "--show-config")[1]
