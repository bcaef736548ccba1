"""Recognisers: the real faster-whisper on a model that is made here, where it is installed, and stand-ins elsewhere."""

import importlib
import sys
import types

import numpy as np
import pytest

from diarist.core.types import Utterance, Word
from diarist.errors import ExtraError, MissingError, UsageError, WeightsError
from diarist.words import asr
from diarist.words.asr import AsrConfig, load_recogniser

RATE = 16_000


def noise(seconds=4):
    return np.random.default_rng(0).normal(0, 0.1, RATE * seconds).astype(np.float32)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A model that always says the same, for the real engine."""
    pytest.importorskip("faster_whisper")
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    return importlib.import_module("tiny_whisper").make(tmp_path / "tiny")


def test_real_faster_whisper(tiny):
    recogniser = load_recogniser(AsrConfig(str(tiny), device="cpu", offline=True, num_threads=1, skip_silence=False))
    found = list(recogniser.utterances(noise()))
    assert [u.text for u in found] == ["Hello there.", "How are you?"]
    assert [w.text for u in found for w in u.words] == ["Hello", "there.", "How", "are", "you?"]
    times = [time for u in found for w in u.words for time in (w.start, w.end)]
    assert times == sorted(times)
    assert all(0.0 <= w.score <= 1.0 for u in found for w in u.words)
    assert (recogniser.name, recogniser.language) == ("faster-whisper", "en")
    silent = load_recogniser(AsrConfig(str(tiny), device="cpu", offline=True, num_threads=1))
    assert list(silent.utterances(np.zeros(RATE, np.float32))) == []


def test_real_faster_whisper_without_its_weights(tmp_path):
    pytest.importorskip("faster_whisper")
    (tmp_path / "empty").mkdir()
    for model in (str(tmp_path / "empty"), "no-such-size", "tiny"):
        with pytest.raises(WeightsError, match=f"faster-whisper cannot load '{model}'") as caught:
            load_recogniser(AsrConfig(model, device="cpu", offline=True))
        assert "\n" not in str(caught.value)


class Model:
    """`faster_whisper.WhisperModel`, as far as it is used."""

    def __init__(self, model, **options):
        if model == "bad":
            raise RuntimeError("Unable to open file 'model.bin'\nin model 'bad'")
        self.options = options

    def transcribe(self, samples, language=None, word_timestamps=False, vad_filter=False):
        if language == "xx":
            raise ValueError("'xx' is not a valid language code")
        assert word_timestamps and vad_filter
        word = types.SimpleNamespace(word=" Hi.", start=np.float64(0.5), end=np.float64(1.0), probability=0.5)
        blank = types.SimpleNamespace(word=" ", start=1.0, end=1.0, probability=0.5)
        segments = [
            types.SimpleNamespace(text=" Hi.", start=0.5, end=1.0, words=[word, blank]),
            types.SimpleNamespace(text=" ", start=1.0, end=1.0, words=None),
            types.SimpleNamespace(text=" So", start=2.0, end=3.0, words=None),
        ]
        return iter(segments), types.SimpleNamespace(language=language or "de")


@pytest.fixture
def installed(monkeypatch):
    """Which engines are there: none but those put in."""

    def install(name, **content):
        module = types.ModuleType(name)
        module.__dict__.update(content)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
        there.append(name)

    there: list[str] = []
    monkeypatch.setattr(asr.importlib.util, "find_spec", lambda name: object() if name in there else None)
    return install


def test_nothing_installed(installed):
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[transcribe\]'"):
        load_recogniser()
    with pytest.raises(MissingError, match="pip install whisperx"):
        load_recogniser(engine="whisperx")
    with pytest.raises(UsageError, match="unknown recogniser 'vosk'"):
        load_recogniser(engine="vosk")


def test_an_installation_that_is_broken(installed):
    def model(*_, **__):
        raise ModuleNotFoundError("No module named 'ctranslate2'")

    installed("faster_whisper", WhisperModel=model)
    with pytest.raises(MissingError, match="is installed, but cannot be imported: No module named 'ctranslate2'"):
        load_recogniser()


def test_faster_whisper(installed):
    installed("faster_whisper", WhisperModel=Model)
    recogniser = load_recogniser(AsrConfig(num_threads=2, offline=True))
    assert recogniser.language is None
    assert list(recogniser.utterances(noise(1))) == [
        Utterance("Hi.", 0.5, 1.0, words=(Word("Hi.", 0.5, 1.0, score=0.5),)),
        Utterance("So", 2.0, 3.0),
    ]
    assert recogniser.language == "de"
    with pytest.raises(WeightsError, match=r"cannot load 'bad': Unable to open file 'model.bin' in model 'bad'"):
        load_recogniser(AsrConfig("bad"))
    with pytest.raises(UsageError, match="'xx' is not a valid language"):
        next(load_recogniser(AsrConfig(language="xx")).utterances(noise(1)))


@pytest.mark.parametrize("language", ["en", "tlh"])
def test_whisperx(installed, language):
    calls = []

    def load_model(arch, device, **options):
        calls.append((arch, device, options))
        result = {"segments": [{"start": 0.0, "end": 1.0, "text": " Hi."}], "language": language}
        return types.SimpleNamespace(transcribe=lambda samples, batch_size: result)

    def load_align_model(language_code, device):
        if language_code == "tlh":
            raise ValueError("No default align-model for language: tlh")
        return "aligner", {}

    def align(segments, aligner, about, samples, device):
        words = [{"word": "Hi.", "start": 0.1, "end": 0.9, "score": 0.8}]
        return {"segments": [{**segments[0], "words": words}], "word_segments": words}

    installed("whisperx", load_model=load_model, load_align_model=load_align_model, align=align)
    installed("torch", cuda=types.SimpleNamespace(is_available=lambda: False))
    recogniser = load_recogniser(AsrConfig("tiny", num_threads=3))
    words = (Word("Hi.", 0.1, 0.9, score=0.8),) if language == "en" else ()
    assert list(recogniser.utterances(noise(1))) == [Utterance("Hi.", 0.0, 1.0, words=words)]
    assert recogniser.language == language
    options = {"compute_type": "int8", "language": None, "local_files_only": False, "threads": 3}
    assert calls == [("tiny", "cpu", options)]
