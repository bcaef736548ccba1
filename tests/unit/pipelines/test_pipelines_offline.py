"""Who spoke when, on toy voices: the numbers, the same answer every time, and odd recordings."""

import dataclasses
import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import diarist
from diarist.core.time import Axis
from diarist.core.types import Diarization
from diarist.errors import AudioError, Cancelled, ConfigError, UsageError
from diarist.evaluation.score import score
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines import frontend, offline
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.offline import Diarizer
from toy_house import CONFIG, RATE, diarizer, recording, talk, write_wav


def checked(result, seconds=None):
    """What holds of every answer."""
    assert isinstance(result, Diarization)
    assert list(result.turns) == sorted(result.turns)
    assert all(0 <= t.start < t.end <= result.duration + 1e-9 for t in result.turns)
    assert all(0 <= t.confidence <= 1 for t in result.turns)
    assert result.labels == [f"SPEAKER_{i:02d}" for i in range(result.num_speakers)] == list(result.speakers)
    assert all(np.isfinite(s.embedding).all() for s in result.speakers.values() if s.embedding is not None)
    if seconds is not None:
        assert result.duration == pytest.approx(seconds)
    return result


def same(one, other):
    """Bit for bit, embeddings too."""
    assert one.turns == other.turns and [t.confidence for t in one] == [t.confidence for t in other]
    assert (one.warnings, one.uri, one.duration) == (other.warnings, other.uri, other.duration)
    assert one.extra["fingerprint"] == other.extra["fingerprint"]
    for label, speaker in one.speakers.items():
        assert speaker.embedding.tobytes() == other.speakers[label].embedding.tobytes()


@pytest.mark.parametrize(
    "rows, method, num_speakers",
    [("windows", "agglomerative", num) for num in (1, 2, 3, 5, 8)]
    + [("windows", "nme-sc", num) for num in (2, 3, 5, 8)]
    + [("chunks", "agglomerative", num) for num in (1, 2, 5)],
)
def test_toy_conversations_come_out_right(rows, method, num_speakers):
    samples, reference = recording(60, num_speakers, seed=num_speakers)
    config = {**CONFIG, "embedding.rows": rows, "clustering.method": method}
    result = checked(diarizer(config=config)(samples, sample_rate=RATE), len(samples) / RATE)
    errors = score(reference, result)
    assert result.num_speakers == num_speakers
    assert errors.der < 0.06 and errors.miss_rate < 0.01  # the rest is 20 ms at each edge, on both sides
    overlap = sum(end - start for start, end in reference.overlaps())
    found = sum(end - start for start, end in result.overlaps())
    assert found == pytest.approx(overlap, abs=0.05 * 60) and (found > 0) is (overlap > 0)
    assert all(t.confidence > 0.4 for t in result if t.duration > 1)


@pytest.mark.parametrize("preset", ["fast", "balanced", "accurate"])
def test_every_preset_runs(preset):
    samples, reference = recording(20, 2)
    result = checked(diarizer(preset=preset)(samples, sample_rate=RATE))
    assert score(reference, result).der < 0.05 and result.extra["preset"] == preset


def test_a_speaker_has_the_voice_that_the_model_gives_it():
    samples, _ = recording(40, 3)
    result = diarizer()(samples, sample_rate=RATE)
    voices = np.array([speaker.embedding for speaker in result.speakers.values()])
    np.testing.assert_allclose(np.linalg.norm(voices, axis=1), 1, atol=1e-5)
    assert voices.dtype == np.float32
    assert (voices @ voices.T - np.eye(3)).max() < 0.5


@pytest.mark.parametrize("asked", [1, 2, 3, 4, 6])
def test_as_many_speakers_as_asked_for(asked):
    samples, _ = recording(60, 3)
    result = checked(diarizer()(samples, sample_rate=RATE, num_speakers=asked))
    assert result.num_speakers == asked or any("found, exactly" in w for w in result.warnings)
    assert checked(diarizer()(samples, sample_rate=RATE, max_speakers=2)).num_speakers == 2
    assert checked(diarizer()(samples, sample_rate=RATE, min_speakers=2)).num_speakers == 3


def test_a_recording_that_cannot_give_so_many_says_so():
    samples = conversation([(0.5, 1.4, "a")], 3.0)
    result = checked(diarizer()(samples, sample_rate=RATE, num_speakers=4))
    assert result.num_speakers == 1
    assert result.warnings == ("1 speaker found, exactly 4 asked for: the recording gives no others",)


@pytest.mark.parametrize(
    "bounds", [{"num_speakers": 0}, {"min_speakers": 0}, {"min_speakers": 3, "max_speakers": 2}, {"max_speakers": -1}]
)
def test_impossible_bounds_are_refused_before_anything_is_read(bounds):
    with pytest.raises(UsageError):
        diarizer()("no-such-file.wav", **bounds)


@pytest.fixture(scope="module")
def hour():
    """A conversation of two and a half minutes: three sections."""
    return recording(60, 3, seed=4)[0]


def test_the_same_bytes_whatever_the_threads_and_however_often(hour):
    first = diarizer(num_threads=1)
    answer = checked(first(hour, sample_rate=RATE))
    same(answer, first(hour, sample_rate=RATE))
    for threads in (2, 4):
        same(answer, diarizer(num_threads=threads)(hour, sample_rate=RATE))


def test_the_same_bytes_from_four_threads_at_once(hour):
    shared = diarizer(num_threads=2)
    recordings = [hour, hour[: 70 * RATE], hour, hour[5000:]]
    alone = [diarizer()(samples, sample_rate=RATE) for samples in recordings]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda samples: shared(samples, sample_rate=RATE), recordings))
    for one, other in zip(alone, together, strict=True):
        same(one, other)


@pytest.mark.parametrize("block", [1_000, 33_333, 160_000, 10_000_000])
def test_the_same_bytes_whatever_the_blocks(hour, block, monkeypatch):
    answer = diarizer()(hour, sample_rate=RATE)
    original = offline.AudioReader.blocks
    monkeypatch.setattr(offline.AudioReader, "blocks", lambda self: original(self, block))
    same(answer, diarizer()(hour, sample_rate=RATE))


def test_a_file_an_array_and_bytes_are_the_same_recording(tmp_path):
    samples = recording(10, 2)[0]
    path = write_wav(tmp_path / "a meeting.wav", samples)
    rounded = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
    one = diarizer()(path)
    assert one.uri == "a meeting"
    for other in (diarizer()(rounded, sample_rate=RATE), diarizer()(path.read_bytes())):
        assert other.turns == one.turns
    with path.open("rb") as file:
        assert diarizer()(file).turns == one.turns and not file.closed
    assert diarizer()(path, uri="x").uri == "x"


def test_the_sample_rate_does_not_matter(tmp_path):
    import soxr

    samples, reference = recording(20, 2)
    for rate in (8_000, 44_100):
        result = checked(diarizer()(soxr.resample(samples, RATE, rate), sample_rate=rate), len(samples) / RATE)
        assert score(reference, result).der < 0.06


SECTION = frontend.SECTION * RATE


SHORT = (1, 100, 269, 270, 400, 639, 640, 720, 991, 8_000, 159_999, 160_000, 160_001)
AROUND_A_SECTION = (-1, 0, 1, 239, 300, 160_000, 160_001)


@pytest.mark.parametrize("num_samples", [*SHORT, *(SECTION + more for more in AROUND_A_SECTION), 130 * RATE])
@pytest.mark.parametrize("kind", ["voices", "noise"])
def test_recordings_of_any_length(num_samples, kind):
    if kind == "voices":
        samples = conversation([(0.0, 200.0, "a")], num_samples / RATE)[:num_samples]
    else:
        samples = np.random.default_rng(0).normal(0, 0.2, num_samples)
    result = checked(diarizer()(samples, sample_rate=RATE), num_samples / RATE)
    if kind == "voices" and num_samples >= 16_000:
        assert result.num_speakers == 1
        assert sum(t.duration for t in result) == pytest.approx(result.duration, rel=0.02)


@pytest.mark.parametrize("num_samples", [0, 5, RATE, 130 * RATE])
def test_silence_is_a_valid_answer(num_samples):
    result = checked(diarizer()(np.zeros(num_samples), sample_rate=RATE, num_speakers=2), num_samples / RATE)
    assert result.turns == () and result.speakers == {}


@pytest.mark.parametrize("kind", ["dc", "clipped", "square", "nan", "inf", "huge", "tiny"])
def test_odd_sound_gives_an_answer(kind):
    samples, reference = recording(8, 2)
    spoken = {
        "dc": samples + 0.5,
        "clipped": np.clip(samples * 30, -1, 1),
        "square": np.sign(samples),
        "nan": np.where(np.arange(len(samples)) % 5000 < 40, np.nan, samples),
        "inf": np.where(np.arange(len(samples)) == 999, np.inf, samples),
        "huge": samples * 3e4,
        "tiny": samples * 1e-7,
    }[kind]
    result = checked(diarizer()(spoken, sample_rate=RATE), len(samples) / RATE)
    assert any("NaN" in w or "full scale" in w for w in result.warnings) is (kind in ("nan", "inf", "huge"))
    if kind in ("dc", "inf"):
        assert score(reference, result).der < 0.06


def test_constant_sound_has_no_voice():
    result = checked(diarizer()(np.full(20 * RATE, 0.7), sample_rate=RATE))
    assert result.num_speakers <= 1


def test_speech_too_short_for_a_voice_is_still_speech():
    """Nobody talks alone for half a second: all that can be said is that somebody talks."""
    turns = [(i, i + 0.3, "a") for i in range(1, 20)]
    result = checked(diarizer()(conversation(turns, 22.0), sample_rate=RATE))
    assert len(result) == 19 and result.num_speakers == 1
    assert any("told from others" in warning for warning in result.warnings)


def test_a_voice_model_of_ones_own_meets_a_fitting_clustering(hour):
    """The PLDA that ships is for one model; another's vectors have another length."""
    default = diarist.Diarizer(segmentation=ToySegmentation(), embedding=ToyEmbedding())
    with pytest.raises(ConfigError, match=r"192.*80.*embedding\.model"):
        default(hour, sample_rate=RATE)
    named = diarizer(config={"embedding.model": "toy"})
    result = checked(named(hour, sample_rate=RATE))
    assert result.num_speakers == 3 and "no PLDA ships for the embedding model 'toy'" in result.warnings[0]


def test_events_begin_and_end_and_progress_only_grows(hour):
    events = []
    result = diarizer(hooks=[events.append])(hour, sample_rate=RATE, uri="call", hooks=[events.append])
    events = events[::2]  # both hooks hear all
    assert {e.uri for e in events} == {"call"}
    stages = [(e.stage, e.kind) for e in events if e.kind in ("start", "end")]
    names = ["models", "listening", "clustering", "decoding"]
    assert stages == [(name, kind) for name in names for kind in ("start", "end")]
    progress = [e for e in events if e.kind == "progress"]
    done = [e.done for e in progress]
    assert done == sorted(done) and len(done) == 3 and done[-1] == pytest.approx(result.duration)
    assert all(e.total == pytest.approx(result.duration) for e in progress)
    timings = result.extra["timings"]
    assert set(names) <= set(timings) and all(seconds >= 0 for seconds in timings.values())


def test_hooks_see_the_arrays(hour):
    seen = {}
    hook = lambda event: seen.setdefault(event.stage, event.arrays) if event.kind == "array" else None  # noqa: E731
    result = diarizer()(hour, sample_rate=RATE, hooks=[hook])
    heard, clusters = seen["listening"], seen["clustering"]
    assert len(heard["speech"]) == len(heard["count"]) and heard["embeddings"].shape[1] == 80
    assert len(heard["times"]) == len(heard["embeddings"]) == len(clusters["labels"]) == len(clusters["certainty"])
    assert clusters["voices"].shape == (result.num_speakers, 80)


def test_a_model_of_another_sample_rate_is_refused():
    class Telephone(ToySegmentation):
        spec = dataclasses.replace(ToySegmentation.spec, sample_rate=8000)

    with pytest.raises(UsageError, match="takes 8000 Hz: only models of 16000 Hz"):
        diarizer(segmentation=Telephone())(np.zeros(100), sample_rate=8000)


def test_a_forked_process_has_threads_of_its_own():
    """Those of its parent are not there any more: waiting for them would never end."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    code = (
        "import os, sys, warnings; warnings.simplefilter('ignore'); sys.path.insert(0, sys.argv[1])\n"
        "from toy_house import *\n"
        "tool, samples = diarizer(num_threads=2), recording(6, 2)[0]\n"
        "answer = tool(samples, sample_rate=RATE).turns\n"
        "child = os.fork()\n"
        "if child == 0: os._exit(0 if tool(samples, sample_rate=RATE).turns == answer else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    )
    tests = str(Path(__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code, tests], timeout=120).returncode == 0


class Counting(ToySegmentation):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def __call__(self, batch):
        self.calls += 1
        time.sleep(0.005)
        return super().__call__(batch)


@pytest.mark.parametrize("stage", ["models", "listening", "clustering", "decoding"])
def test_a_hook_cancels_and_nothing_keeps_running(hour, stage):
    model = Counting()
    tool = diarizer(segmentation=model, num_threads=1)
    with pytest.raises(Cancelled, match=f"cancelled in stage '{stage}'"):
        tool(hour, sample_rate=RATE, hooks=[lambda event: False if event.stage == stage else None])
    time.sleep(0.05)
    calls = model.calls
    time.sleep(0.1)
    assert model.calls == calls
    assert checked(tool(hour, sample_rate=RATE)).num_speakers == 3  # and it can be used again


def test_cancelling_half_way_stops_soon(hour):
    model = Counting()
    long = np.concatenate([hour] * 3)
    batches_of_all = 12  # 24 chunks a minute, 16 at a time, 7.5 minutes: 15 batches

    def stop(event):
        return not (event.kind == "progress" and event.done > 60)

    with pytest.raises(Cancelled):
        diarizer(segmentation=model, num_threads=1)(long, sample_rate=RATE, hooks=[stop])
    assert model.calls < batches_of_all


def test_a_hook_that_returns_something_falsy_does_not_cancel():
    samples = recording(3, 1)[0]
    for said in (None, 0, "", []):
        diarizer()(samples, sample_rate=RATE, hooks=[lambda event, said=said: said])


def test_a_run_leaves_no_threads_behind():
    before = threading.active_count()
    samples = recording(3, 1)[0]
    for _ in range(3):
        diarizer(num_threads=3)(samples, sample_rate=RATE)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_the_fingerprint_follows_the_answer_not_the_speed():
    one = diarizer()
    assert one.fingerprint == diarizer(num_threads=3, offline=True).fingerprint
    assert one.fingerprint != diarizer(config={**CONFIG, "turns.onset": 0.6}).fingerprint
    assert diarizer(config=PipelineConfig()).fingerprint != one.fingerprint


def test_a_wrong_key_is_told_when_the_diarizer_is_made():
    with pytest.raises(ConfigError, match=r"unknown key 'clustering\.treshold'; did you mean 'threshold'"):
        diarizer(config={"clustering.treshold": 0.5})
    with pytest.raises(ConfigError, match=r"unknown key 'num_thread'; did you mean 'num_threads'"):
        diarizer(num_thread=2)
    with pytest.raises(UsageError, match="unknown preset 'balancd'; did you mean 'balanced'"):
        diarist.Diarizer("balancd")


def test_diarize_is_the_same_in_one_call(hour):
    result = diarist.diarize(
        hour, sample_rate=RATE, uri="x", segmentation=ToySegmentation(), embedding=ToyEmbedding(), config=CONFIG
    )
    same(result, diarizer()(hour, sample_rate=RATE, uri="x"))


def test_a_file_that_is_no_sound_is_an_audio_error(tmp_path):
    (tmp_path / "a.wav").write_text("hello")
    with pytest.raises(AudioError, match=r"a\.wav"):
        diarizer()(tmp_path / "a.wav")


def test_exclusive_turns_never_overlap():
    samples, reference = recording(40, 2)
    result = diarizer()(samples, sample_rate=RATE)
    assert result.overlaps() and not result.exclusive().overlaps()
    assert score(reference, result.exclusive(), skip_overlap=True).der < 0.05


def test_turns_shorter_than_asked_for_go_and_pauses_close():
    turns = talk(30, 2, overlap=0.0)
    samples = conversation(turns)
    whole = diarizer()(samples, sample_rate=RATE)
    coarse = diarizer(config={**CONFIG, "turns.min_duration_off": 0.8, "turns.min_duration_on": 1.0})
    merged = checked(coarse(samples, sample_rate=RATE))
    assert len(merged) < len(whole) and min(t.duration for t in merged) >= 1.0
    own = [t for t in merged if t.speaker == "SPEAKER_00"]
    assert all(b.start - a.end > 0.79 for a, b in itertools.pairwise(own))


class DeafVad:
    """Never hears speech."""

    frames = Axis(160, 160)

    def __call__(self, samples):
        return np.zeros(-(-len(samples) // 160), np.float32)


def test_a_second_opinion_on_speech_is_heard_by_name_and_not_by_a_model_that_is_handed_in(monkeypatch):
    asked = []
    monkeypatch.setattr(offline, "load_segmentation", lambda *_, **__: ToySegmentation())
    monkeypatch.setattr(offline, "load_vad", lambda name, **k: asked.append((name, k)) or DeafVad())
    samples, _ = recording(8, 2)

    def answer(**changes):
        config = {**CONFIG, **{f"segmentation.{name}": value for name, value in changes.items()}}
        return Diarizer(embedding=ToyEmbedding(), config=config, offline=True)(samples, sample_rate=RATE)

    plain = answer(vad="none")
    assert plain.turns and not asked
    assert answer(vad="mine.onnx", vad_weight=0.0, vad_bias=0.0).turns == plain.turns
    assert asked == [("mine.onnx", {"device": "auto", "offline": True})]
    assert answer(vad="silero", vad_weight=1.0, vad_bias=0.0).turns == ()
    given = diarizer(config={**CONFIG, "segmentation.vad": "silero"})
    assert given(samples, sample_rate=RATE).turns == plain.turns and len(asked) == 2
