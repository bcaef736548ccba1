from __future__ import annotations

import copy
import inspect
import pickle
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

from diarist import whisperx
from diarist.core.types import Diarization, Speaker, Turn
from diarist.errors import ExtraError, UsageError
from diarist.models import nemo
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.models.vad import SegmentationVad
from diarist.pipelines import nemo_own_presets, nemo_style
from diarist.pipelines.nemo_style import NemoStyleDiarizer
from diarist.pipelines.offline import Diarizer
from diarist.pipelines.voices import voices_of
from diarist.whisperx import COLUMNS, DiarizationPipeline, Segment
from toy_house import RATE, furnish, recording, write_wav

pandas = pytest.importorskip("pandas")

# The complete example of the README of WhisperX's NeMo branch, but for the two names that come from here.
EXAMPLE = """
import whisperx
from diarist.whisperx import DiarizationPipeline, assign_word_speakers

# Load audio
audio = whisperx.load_audio("audio.wav")

# 1. Transcribe
model = whisperx.load_model("large-v2", device="cuda")
result = model.transcribe(audio)

# 2. Align
align_model, metadata = whisperx.load_align_model(language_code="en", device="cuda")
result = whisperx.align(result["segments"], align_model, metadata, audio, device="cuda")

# 3. Diarize with NeMo
diarize_model = DiarizationPipeline(device="cuda")
diarize_segments = diarize_model(audio)

# 4. Assign speakers
result = assign_word_speakers(diarize_segments, result)

# Print results
for segment in result["segments"]:
    print(f"[{segment['start']:.2f}s - {segment['end']:.2f}s] {segment.get('speaker', 'UNKNOWN')}: {segment['text']}")
"""


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    furnish(monkeypatch.setattr)
    monkeypatch.setattr(nemo_style, "load_segmentation", lambda *_, **__: ToySegmentation())
    monkeypatch.setattr(nemo_style, "load_embedding", lambda *_, **__: ToyEmbedding())
    monkeypatch.setattr(nemo_style, "load_vad", lambda *_, **__: SegmentationVad(ToySegmentation()))
    monkeypatch.setattr(whisperx, "_has", lambda device: False)
    monkeypatch.setenv("DIARIST_CACHE", "/nowhere")


@pytest.fixture
def meeting():
    return conversation([Turn(0.5, 4.0, "a"), Turn(4.5, 8.0, "b"), Turn(8.5, 12.0, "a")], 12.5)


def test_both_signatures():
    names = "model_name use_auth_token device vad_model speaker_model window_length_in_sec shift_length_in_sec".split()
    defaults = [None, None, "cpu", "vad_multilingual_marblenet", "titanet_large", 1.5, 0.75]
    parameters = inspect.signature(DiarizationPipeline).parameters
    positional = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in positional] == names
    assert [p.default for p in positional] == defaults
    assert {p.name for p in parameters.values()} - set(names) == {"token", "cache_dir"}
    call = list(inspect.signature(DiarizationPipeline.__call__).parameters.values())[1:]
    assert [p.name for p in call[1:]] == [
        "num_speakers",
        "min_speakers",
        "max_speakers",
        "return_embeddings",
        "progress_callback",
    ]
    assert [p.default for p in call[1:]] == [None, None, None, False, None]


def test_whisperxs_order_of_arguments(tmp_path, meeting):
    import os

    with pytest.warns(UserWarning, match="stands for diarist's default engine"):
        pipeline = DiarizationPipeline("pyannote/speaker-diarization-community-1", "token", "cpu", tmp_path)
    assert isinstance(pipeline.model, Diarizer)
    assert os.environ["DIARIST_CACHE"] == str(tmp_path)
    DiarizationPipeline(None, None, "cpu", str(tmp_path / "new"))
    assert os.environ["DIARIST_CACHE"] == str(tmp_path / "new")
    DiarizationPipeline(token="x", device="cpu", cache_dir=str(tmp_path))
    assert os.environ["DIARIST_CACHE"] == str(tmp_path)


def test_the_complete_example_runs(monkeypatch, capsys, meeting):
    stand_in = types.ModuleType("whisperx")
    words = [{"word": "one", "start": 1.0, "end": 1.5, "score": 0.9}, {"word": "two", "start": 5.0, "end": 5.5}]
    segments = [
        {"start": 1.0, "end": 3.0, "text": "one", "words": words[:1]},
        {"start": 5.0, "end": 7.0, "text": "two", "words": words[1:]},
    ]
    stand_in.load_audio = lambda path: meeting
    stand_in.load_model = lambda name, device: types.SimpleNamespace(transcribe=lambda audio: {"segments": segments})
    stand_in.load_align_model = lambda language_code, device: (None, {})
    stand_in.align = lambda segments, *_, device: {"segments": segments, "word_segments": words}
    monkeypatch.setitem(sys.modules, "whisperx", stand_in)
    with pytest.warns(UserWarning, match="no device 'cuda'"):
        exec(EXAMPLE, {})
    assert capsys.readouterr().out == "[1.00s - 3.00s] SPEAKER_00: one\n[5.00s - 7.00s] SPEAKER_01: two\n"
    assert "speaker" not in segments[0]


def test_the_table(meeting):
    frame = DiarizationPipeline()(meeting)
    assert list(frame.columns) == COLUMNS
    assert list(frame.label) == list("ABCDEFGHI"[: len(frame)])
    assert list(frame.start) == sorted(frame.start)
    said = frame[frame.end - frame.start > 0.1]  # a toy voice begins with a click, which may be anybody's
    assert list(said.speaker) == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]
    np.testing.assert_allclose(said.start, [0.5, 4.5, 8.5], atol=0.1)
    np.testing.assert_allclose(said.end, [4.0, 8.0, 12.0], atol=0.1)
    first = frame.segment[0]
    assert isinstance(first, Segment)
    assert (first.start, first.end) == (frame.start[0], frame.end[0])
    assert str(Segment(1.0, 2.5)) == "[1.000 --> 2.500]"
    assert Segment(1.0, 2.5).duration == 1.5


def test_letters_go_on_after_z():
    assert [whisperx._letters(i) for i in (0, 25, 26, 27, 51, 52, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AB",
        "AZ",
        "BA",
        "ZZ",
        "AAA",
    ]


def test_a_path_and_arrays_give_the_same(tmp_path, meeting):
    pipeline = DiarizationPipeline()
    integers = np.rint(meeting * 32768).astype(np.int16)
    path = write_wav(tmp_path / "meeting.wav", integers)
    expected = pipeline(str(path)).drop(columns="segment")
    assert len(expected) >= 3
    for audio in (path, integers, integers / 32768, np.stack([integers] * 2), np.stack([integers] * 2, axis=1)):
        pandas.testing.assert_frame_equal(pipeline(audio).drop(columns="segment"), expected)
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(integers.astype(np.float32) / 32768)
    pandas.testing.assert_frame_equal(pipeline(tensor[None]).drop(columns="segment"), expected)


def test_what_is_no_audio():
    with pytest.raises(UsageError, match="a path, or samples at 16000 Hz, not int"):
        DiarizationPipeline()(3)
    with pytest.raises(UsageError, match="samples of int64 have no known scale"):
        DiarizationPipeline()(np.ones(RATE, np.int64))


@pytest.mark.parametrize(
    "windows", [{}, {"window_length_in_sec": [1.5, 1, 0.5], "shift_length_in_sec": [0.75, 0.5, 0.25]}]
)
def test_bounds_and_embeddings(windows):
    samples, _ = recording(30, 4, seed=3)
    pipeline = DiarizationPipeline(**windows)
    for bounds in ({"num_speakers": 3}, {"min_speakers": 5}, {"max_speakers": 2}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame, voices = pipeline(samples, return_embeddings=True, **bounds)
        count = frame.speaker.nunique()
        assert {"num_speakers": count == 3, "min_speakers": count >= 5, "max_speakers": count <= 2}[next(iter(bounds))]
        assert set(voices) == set(frame.speaker)
        assert {len(voice) for voice in voices.values()} == {80}
        assert all(type(value) is float and np.isfinite(value) for voice in voices.values() for value in voice)
    with pytest.raises(UsageError, match="at most 2 speakers but at least 3"):
        pipeline(samples, min_speakers=3, max_speakers=2)


@pytest.mark.parametrize("audio", [np.zeros(RATE, np.float32), np.zeros(0, np.float32), np.zeros(100, np.int16)])
def test_silence_is_an_empty_table(audio):
    frame, voices = DiarizationPipeline()(audio, return_embeddings=True)
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 0
    assert voices == {}


def test_a_speaker_without_a_voice_is_given_one(meeting):
    turns = (Turn(0.6, 0.65, "SPEAKER_00"), Turn(5.0, 7.0, "SPEAKER_01"))
    known = {"SPEAKER_00": Speaker("SPEAKER_00"), "SPEAKER_01": Speaker("SPEAKER_01", np.full(80, np.nan, np.float32))}
    found = voices_of(Diarization(turns, speakers=known), meeting, RATE, ToyEmbedding)
    first, second = found["SPEAKER_00"], found["SPEAKER_01"]
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(second) == pytest.approx(1, abs=1e-5)
    assert first @ second < 0.5
    short = Diarization((Turn(0, 0.01, "S"),))
    np.testing.assert_array_equal(voices_of(short, np.zeros(160, np.float32), RATE, ToyEmbedding)["S"], np.zeros(80))


def test_progress_rises_to_a_hundred(meeting):
    for pipeline in (DiarizationPipeline(), DiarizationPipeline("meeting")):
        told: list[float] = []
        pipeline(np.tile(meeting, 12), progress_callback=told.append)
        assert told == sorted(set(told))
        assert told[-1] == 100.0
        assert len(told) > 2


def test_defaults_spelt_out_are_defaults(monkeypatch):
    monkeypatch.setattr(nemo, "installed", lambda: False)
    pipeline = DiarizationPipeline(
        device="cpu",
        vad_model="vad_multilingual_marblenet",
        speaker_model="titanet_large",
        window_length_in_sec=1.5,
        shift_length_in_sec=0.75,
    )
    assert isinstance(pipeline.model, Diarizer)
    assert isinstance(DiarizationPipeline(vad_model=None, speaker_model=None).model, Diarizer)


def test_windows_ask_for_nemo_style():
    model = DiarizationPipeline(window_length_in_sec=[1.5, 1.0, 0.5], shift_length_in_sec=[0.75, 0.5, 0.25]).model
    assert isinstance(model, NemoStyleDiarizer)
    scales = model.config.speaker_embeddings
    assert scales.window_length_in_sec == (1.5, 1.0, 0.5)
    assert scales.multiscale_weights == (1.0, 1.0, 1.0)
    assert (model.config.vad.onset, model.config.vad.offset) == (0.5, 0.1)
    for windows in ([1.5, 1.0, 0.5], np.array([1.5, 1.0, 0.5])):  # no shifts: half a window each
        assert DiarizationPipeline(window_length_in_sec=windows).model.config == model.config
    single = DiarizationPipeline(window_length_in_sec=1, shift_length_in_sec=0.5).model.config
    assert single.speaker_embeddings.window_length_in_sec == (1.0,)


@pytest.mark.parametrize(
    ("window", "shift", "message"),
    [
        ([0.5, 1.0, 1.5], [0.25, 0.5, 0.75], "from the longest to the shortest"),
        (0.5, 0.75, "a window of 0.5 s with a shift of 0.75 s"),
        ([1.5, 1.0], [0.5], "2 windows, 1 shifts"),
        ([1.5, 1.0], [0.7, 0.5, 0.2], "2 windows, 3 shifts"),
        ("1.5", 0.75, "must be a number or a list of numbers"),
        ([], [], "0 windows"),
    ],
)
def test_windows_that_cannot_be(window, shift, message):
    with pytest.raises(UsageError, match=message):
        DiarizationPipeline(window_length_in_sec=window, shift_length_in_sec=shift)


def test_models_of_nvidia_stand_for_ours_without_nemo(monkeypatch):
    monkeypatch.setattr(nemo, "installed", lambda: False)
    with pytest.warns(UserWarning, match="'vad_telephony_marblenet' is run by NeMo, which is not installed: 'silero'"):
        DiarizationPipeline(vad_model="vad_telephony_marblenet")
    with pytest.warns(UserWarning, match="'ecapa_tdnn' is run by NeMo, which is not installed: 'campplus-zh-en' runs"):
        DiarizationPipeline(speaker_model="ecapa_tdnn")
    assert DiarizationPipeline(speaker_model=Path("mine.nemo")).model.config.embedding.model == "mine.nemo"


def test_models_of_nvidia_that_are_said_are_nemos(monkeypatch):
    monkeypatch.setattr(nemo, "installed", lambda: True)
    config = DiarizationPipeline(vad_model="vad_multilingual_marblenet", speaker_model="titanet_large").model.config
    assert (config.vad.model, config.embedding.model) == ("vad_multilingual_marblenet", "titanet_large")
    assert (config.vad.onset, config.vad.offset) == (0.5, 0.3)  # set for MarbleNet
    small = DiarizationPipeline(speaker_model="titanet_small").model.config
    assert (small.vad.model, small.embedding.model) == ("silero", "titanet_small")
    assert isinstance(DiarizationPipeline().model, Diarizer)
    assert isinstance(pickle.loads(pickle.dumps(DiarizationPipeline())).model, Diarizer)


def test_the_model_name_nemo():
    pipeline = DiarizationPipeline("nemo")
    assert pipeline.model.config == nemo_own_presets.PRESETS["general"].config
    assert DiarizationPipeline("nemo", vad_model="silero").model.config.vad.model == "silero"


def test_models_of_ours_and_presets():
    model = DiarizationPipeline(vad_model="segmentation", speaker_model="mine.onnx").model
    assert (model.config.vad.model, model.config.embedding.model) == ("segmentation", "mine.onnx")
    assert DiarizationPipeline("accurate").model.preset == "accurate"
    meeting = DiarizationPipeline("nemo-meeting", vad_model="segmentation").model
    assert (meeting.preset, meeting.config.vad.onset, meeting.config.vad.model) == ("meeting", 0.9, "segmentation")
    with pytest.raises(UsageError, match="unknown model_name 'balancd'; did you mean 'balanced'"):
        DiarizationPipeline("balancd")
    with pytest.raises(UsageError, match="has no models and windows to choose"):
        DiarizationPipeline("fast", window_length_in_sec=1.0, shift_length_in_sec=0.5)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_there_is_used(monkeypatch, device):
    monkeypatch.setattr(whisperx, "_has", lambda name: name == device)
    runtime = DiarizationPipeline(device=device).model.runtime
    assert (runtime.backend, runtime.device) == ("torch", device)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", 3])
def test_what_is_no_device(device):
    with pytest.raises(UsageError, match="device must be"):
        DiarizationPipeline(device=device)


def test_what_is_no_path():
    with pytest.raises(UsageError, match="vad_model must be a name or a path, not 3"):
        DiarizationPipeline(None, None, "cpu", 3)
    with pytest.raises(UsageError, match="cache_dir must be a name or a path, not 3"):
        DiarizationPipeline(cache_dir=3)


@pytest.mark.parametrize("options", [{}, {"window_length_in_sec": [1.5, 1.0], "vad_model": "segmentation"}])
def test_it_travels_to_other_processes_and_is_copied(meeting, options):
    pipeline = DiarizationPipeline(use_auth_token="secret", **options)
    expected = pipeline(meeting)
    for other in (pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)):
        assert other.model.config == pipeline.model.config
        pandas.testing.assert_frame_equal(other(meeting), expected)
    assert b"secret" not in pickle.dumps(pipeline)


@pytest.mark.parametrize("options", [{}, {"window_length_in_sec": [1.5, 1.0]}])
def test_counts_that_are_none(meeting, options):
    pipeline = DiarizationPipeline(**options)
    for bounds in ({"num_speakers": "2"}, {"min_speakers": 1.5}, {"max_speakers": True}):
        with pytest.raises(UsageError, match="must be a whole number"):
            pipeline(meeting, **bounds)


def test_pandas_is_an_extra(monkeypatch, meeting):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExtraError, match=r"diarist\[pandas\]"):
        DiarizationPipeline()(meeting)
