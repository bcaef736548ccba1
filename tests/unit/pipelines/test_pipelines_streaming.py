"""Streams of toy voices: the answer depends on the sound alone, not on blocks, neighbours, restarts or the clock."""

import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Diarization, Turn
from diarist.errors import ConfigError, UsageError
from diarist.evaluation.score import score
from diarist.models.toy import ToyEmbedding, ToySegmentation, conversation
from diarist.pipelines import live_revise
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_presets import LIVE_PRESETS, resolve_live
from diarist.pipelines.streaming import LiveDiarizer, join

sys.path.insert(0, str(Path(__file__).parents[2]))
from toy_house import diarizer, recording

RATE = 16_000
SAMPLES, REFERENCE = recording(8, 3, seed=1)
CONFIG = {"latency": 2.0, "recluster": 6.0}


def live(**changes):
    kind = changes.pop("kind", "diarization")
    return LiveDiarizer(
        segmentation=ToySegmentation(), embedding=ToyEmbedding(), config={**CONFIG, **changes}, kind=kind
    )


LIVE = live()


def listen(stream, samples, sizes, restart=()):
    """All updates of a stream fed in blocks of these sizes, restored after the blocks named."""
    updates, first, number = [], 0, 0
    while first < len(samples):
        size = sizes[number % len(sizes)]
        updates.append(stream.push(samples[first : first + size]))
        first, number = first + size, number + 1
        if number in restart:
            stream = LIVE.restore(stream.state())
    return [*updates, stream.finish()]


def answer(updates):
    """What does not depend on how the sound came: turns, renamings, and the session."""
    renamed = {}
    for update in updates:
        renamed |= update.renamed
    return tuple(turn for update in updates for turn in update.final), renamed, updates[-1].session


STEP_BY_STEP = listen(LIVE.start(), SAMPLES, [8000])
USUAL = answer(STEP_BY_STEP)


@pytest.mark.parametrize("sizes", [[len(SAMPLES)], [1, 7999, 8001], [160_000], [3333, 12_345], [8000, 1, 1, 1]])
def test_any_block_size_gives_the_same_answer(sizes):
    assert answer(listen(LIVE.start(), SAMPLES, sizes)) == USUAL


@settings(max_examples=4, deadline=None)
@given(st.lists(st.integers(1, 90_000), min_size=1, max_size=6))
def test_any_blocks_give_the_same_answer(sizes):
    if sum(sizes) / len(sizes) > 500:
        assert answer(listen(LIVE.start(), SAMPLES, sizes)) == USUAL


def test_one_sample_at_a_time():
    short = SAMPLES[: 3 * RATE]
    assert answer(listen(LIVE.start(), short, [1])) == answer(listen(LIVE.start(), short, [len(short)]))


@pytest.mark.parametrize("restart", [(1,), (3, 4, 9), (40,), tuple(range(1, 40, 3))])
def test_a_stream_goes_on_from_its_state_bit_for_bit(restart):
    """Before the first step, before the buffer is full, while a revision runs, and again and again."""
    assert answer(listen(LIVE.start(), SAMPLES, [3333, 12_345], restart)) == USUAL


def test_the_state_of_a_restored_stream_is_the_same_bytes():
    stream = LIVE.start("meeting")
    stream.push(SAMPLES[: 15 * RATE + 77])
    state = stream.state()
    again = LIVE.restore(state)
    assert again.uri == "meeting" and again.state() == state
    assert stream.push(SAMPLES[15 * RATE + 77 :]) == again.push(SAMPLES[15 * RATE + 77 :])


def test_a_state_is_refused_by_another_configuration_or_model_and_garbage_by_all():
    state = LIVE.start().state()
    for other in (
        live(delta_new=0.7),
        live(kind="speech"),
        LiveDiarizer(config=CONFIG, segmentation=ToySegmentation()),
    ):
        other._embedding = other._embedding or ToyEmbedding() if other.kind == "diarization" else None
        if other.config == LIVE.config and other.kind == LIVE.kind:
            continue
        with pytest.raises(UsageError, match="another configuration"):
            other.restore(state)
    for garbage in (b"", b"PK\x03\x04nonsense", state[:-50], b"\x80\x04." * 9):
        with pytest.raises(UsageError, match="not the state of a stream"):
            LIVE.restore(garbage)


def test_a_state_of_another_version_is_refused(monkeypatch):
    state = LIVE.start().state()
    monkeypatch.setattr("diarist.pipelines.live_state.VERSION", 99)
    with pytest.raises(UsageError, match="version 1"):
        LIVE.restore(state)


def test_streams_in_one_pass_answer_as_alone():
    sounds = [SAMPLES, SAMPLES[5000:], recording(6, 2, seed=5)[0], SAMPLES[: 2 * RATE]]
    alone = [answer(listen(LIVE.start(), sound, [len(sound)])) for sound in sounds]
    streams = [LIVE.start() for _ in sounds]
    final, renamed = [()] * 4, [{} for _ in sounds]
    for stream, sound in zip(streams, sounds, strict=True):
        stream.feed(sound)
    while any(stream.waiting for stream in streams):
        for index, update in enumerate(LIVE.advance(streams)):
            if update is not None:
                final[index] += update.final
                renamed[index] |= update.renamed
    assert LIVE.advance(streams) == [None] * 4 and LIVE.advance([]) == []
    for index, stream in enumerate(streams):
        last = stream.finish()
        assert (final[index] + last.final, renamed[index] | last.renamed, last.session) == alone[index]


def test_streams_in_threads_answer_as_alone():
    def one(seed):
        sound = recording(5, 2, seed=seed)[0]
        return answer(listen(LIVE.start(), sound, [4000 + seed]))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, [1, 2, 3, 4])) == [one(seed) for seed in (1, 2, 3, 4)]


def test_advance_refuses_a_stream_twice_or_of_another():
    stream = LIVE.start()
    with pytest.raises(UsageError, match="given twice"):
        LIVE.advance([stream, stream])
    with pytest.raises(UsageError, match="another LiveDiarizer"):
        LIVE.advance([stream, live().start()])


def test_a_slow_revision_changes_nothing(monkeypatch):
    real = live_revise.cluster_rows

    def slow(*arguments):
        time.sleep(0.3)
        return real(*arguments)

    monkeypatch.setattr(live_revise, "cluster_rows", slow)
    assert answer(listen(LIVE.start(), SAMPLES, [16_000])) == USUAL


def test_updates_go_forward_and_meet():
    settled = 0.0
    for number, update in enumerate(STEP_BY_STEP[:-1], start=1):
        heard = min(number * 8000, len(SAMPLES) // 8000 * 8000) / RATE
        assert update.until == heard
        assert update.settled == max(0.0, heard - 1.5)  # a latency of 2 s, the newest step of which is being settled
        assert all(settled <= turn.start < turn.end <= update.settled for turn in update.final)
        assert all(update.settled <= turn.start < turn.end <= heard for turn in update.tentative)
        settled = update.settled
    last = STEP_BY_STEP[-1]
    assert last.tentative == () and last.settled == last.until == len(SAMPLES) / RATE
    for speaker in {turn.speaker for turn in USUAL[0]}:
        own = [turn for turn in USUAL[0] if turn.speaker == speaker]
        assert all(one.end <= other.start for one, other in itertools.pairwise(own))


@pytest.mark.parametrize("latency", ["min", 0.5, 1, 2.5, 5, "max"])
def test_the_latency_asked_for_is_kept(latency):
    stream = live(latency=latency).start()
    updates = [stream.push(SAMPLES[k * 8000 : (k + 1) * 8000]) for k in range(16)]
    seconds = {"min": 0.5, "max": 5}.get(latency, latency)
    assert [update.settled for update in updates] == [max(0, (k + 1) * 0.5 - seconds + 0.5) for k in range(16)]
    assert bool(updates[-1].tentative) == (seconds > 0.5)


def test_latency_is_a_whole_number_of_steps():
    windows = {0.5: 1, 0.7: 1, 0.75: 2, 1.2: 2, 4.9: 10, 5.0: 10}
    assert {latency: LiveConfig(latency=latency).num_windows for latency in windows} == windows
    assert LiveConfig(step=0.7, duration=5.0, latency=5.0).num_windows == 7
    for wrong in (0.4, 5.1, 0, -1, float("inf"), "soon"):
        with pytest.raises(ConfigError, match="'latency' must be"):
            LiveConfig(latency=wrong)
    with pytest.raises(ConfigError, match="'step' must be at most"):
        LiveConfig(duration=1.0, step=2.0)


def test_somebody_is_named_before_five_seconds_are_heard():
    sound = conversation([(0.1, 4.0, "a")], 4.0)
    stream = live(latency="min", least_new=0.1).start()
    updates = [stream.push(sound[k * 8000 : (k + 1) * 8000]) for k in range(3)]
    turns = [turn for update in updates for turn in update.final]
    assert {turn.speaker for turn in turns} == {"speaker0"} and turns[0].start < 0.5


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.5, 1.3, 4.99, 5.01])
def test_the_tail_of_a_short_stream_is_not_lost(seconds):
    sound = conversation([(0.0, seconds, "a")], seconds)
    last = listen(LIVE.start(), sound, [5000])[-1]
    assert last.until == last.settled == last.session.duration == len(sound) / RATE
    if seconds >= 0.3:
        final = join(answer(listen(LIVE.start(), sound, [5000]))[0])
        assert final[-1].end == pytest.approx(seconds, abs=1e-5)
        assert [turn.end for turn in last.session][-1] == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize("sound", [np.zeros(0, np.float32), np.zeros(7 * RATE, np.float32)])
def test_nothing_and_silence_are_nobody(sound):
    stream = LIVE.start("quiet")
    assert stream.push(sound).final == ()
    last = stream.finish()
    assert last.final == last.tentative == () and len(last.session) == 0
    assert last.session.uri == "quiet" and last.session.duration == len(sound) / RATE


def test_no_more_speakers_are_found_in_a_session_than_may_be():
    samples = recording(10, 5, seed=2)[0]
    few = live(max_speakers=2)
    assert len(few.diarize(samples, sample_rate=RATE).labels) == 2
    assert len(live().diarize(samples, sample_rate=RATE).labels) > 2


def test_the_window_of_a_preset_gives_way_to_what_is_asked_for():
    assert resolve_live("fast").window == 3.0
    assert resolve_live("fast", changes={"duration": 2.0}).window == 2.0
    assert resolve_live("fast", changes={"step": 4.0}).window == 4.0


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (np.zeros(4, np.int16), "divide 16-bit ones by 32768"),
        (np.zeros((4, 2), np.float32), r"shape \(num_samples,\), not \(4, 2\)"),
        (np.float32(0.5), "num_samples"),
        (np.array([0.0, np.nan], np.float32), "NaN"),
        (np.array([0.0, np.inf], np.float32), "infinity"),
        (np.array([0.0, 1e30], np.float32), r"reach 1e\+30, which is no sound"),
        (np.array([1e300]), "no sound"),
        ([[0.1, 0.2], [0.3]], "one array"),
        (np.array(["a"]), "floats"),
        (None, "num_samples"),
    ],
)
def test_blocks_that_are_no_sound_are_refused_and_leave_no_trace(block, words):
    stream = LIVE.start()
    stream.push(SAMPLES[:9000])
    state = stream.state()
    with pytest.raises(UsageError, match=words):
        stream.push(block)
    assert stream.state() == state


def test_float64_and_lists_of_floats_are_taken_and_blocks_are_copied():
    block = SAMPLES[:8000].astype(np.float64)
    one, other = LIVE.start(), LIVE.start()
    one.feed(block)
    block[:] = 0
    other.feed(SAMPLES[:8000].tolist())
    assert one.state() == other.state()


def test_a_finished_stream_takes_nothing():
    stream = LIVE.start("over")
    stream.finish()
    for call in (lambda: stream.push(SAMPLES[:10]), stream.finish, stream.state):
        with pytest.raises(UsageError, match="'over' is finished"):
            call()


def test_the_session_is_the_offline_answer():
    found = USUAL[2]
    assert score(diarizer()(SAMPLES, sample_rate=RATE), found).der < 0.02
    assert score(REFERENCE, found).der < 0.12
    assert found.labels and all(label.startswith("speaker") for label in found.labels)


def test_the_session_uses_the_names_of_the_stream():
    final, renamed, session = USUAL
    kept = Diarization(tuple(Turn(t.start, t.end, renamed.get(t.speaker, t.speaker)) for t in join(final)))
    together = {(a.speaker, b.speaker): 0.0 for a in kept for b in session}
    for a in kept:
        for b in session:
            together[a.speaker, b.speaker] += max(0.0, min(a.end, b.end) - max(a.start, b.start))
    for label in session.labels:
        assert max(kept.labels, key=lambda other: together[other, label]) == label


def test_a_snapshot_is_the_session_so_far_and_leaves_no_trace():
    stream = LIVE.start()
    assert len(stream.snapshot()) == 0
    stream.push(SAMPLES[: 13 * RATE])
    state = stream.state()
    snapshot = stream.snapshot()
    assert stream.state() == state
    assert snapshot == stream.finish().session and snapshot.duration == 13.0 and len(snapshot) > 2


def test_speakers_who_are_one_are_renamed_and_stay_so():
    """A threshold so low that every look is somebody new: the revision finds out who is who."""
    split = live(delta_new=0.02, rho_update=0.0, latency="min", max_speakers=100)
    updates = listen(split.start(), np.tile(SAMPLES, 4), [8000])
    final, renamed, session = answer(updates)
    named = {turn.speaker for turn in final}
    assert len(named) > 5 and renamed and len(session.labels) == len(REFERENCE.labels)
    gone = {}
    for update in updates:
        spoken = {turn.speaker for turn in (*update.final, *update.tentative)}
        gone |= update.renamed
        assert not spoken & set(gone), "a name that has gone is not used again"
    assert not set(gone) & set(session.labels)


def test_speakers_are_not_renamed_without_revisions():
    quiet = live(delta_new=0.02, rho_update=0.0, recluster=0)
    assert answer(listen(quiet.start(), SAMPLES, [8000]))[1] == {}


def test_at_most_so_many_speakers():
    updates = listen(live(max_speakers=1, recluster=0).start(), SAMPLES, [16_000])
    assert {turn.speaker for update in updates for turn in update.final} == {"speaker0"}


def test_speech_only():
    updates = listen(live(kind="speech").start(), SAMPLES, [12_000])
    final, renamed, session = answer(updates)
    assert {turn.speaker for turn in final} == set(session.labels) == {"speech"} and renamed == {}
    speech = Diarization(tuple(Turn(t.start, t.end, "speech") for t in REFERENCE))
    assert score(speech, Diarization(join(final))).der < 0.1
    assert score(speech, session).der < 0.1


def test_a_model_of_a_fixed_length_hears_more_than_the_duration():
    class Fixed:
        def __init__(self):
            self._model = ToySegmentation()
            self.spec = self._model.spec

        def __call__(self, batch):
            return self._model(batch)

    fixed = LiveDiarizer(segmentation=Fixed(), embedding=ToyEmbedding(), config=CONFIG)
    final, _, _ = answer(listen(fixed.start(), SAMPLES, [8000]))
    assert score(Diarization(join(USUAL[0])), Diarization(join(final))).der < 0.1
    with pytest.raises(ConfigError, match="at most 10 s"):
        LiveDiarizer(segmentation=Fixed(), embedding=ToyEmbedding(), config={"duration": 12.0}).start()


def test_memory_does_not_grow_but_for_the_answer():
    sound = np.tile(SAMPLES, 1 + 90 * RATE // len(SAMPLES))
    stream = live(rows=100).start()
    sizes = []
    for half in range(3):
        stream.push(sound[half * 30 * RATE : (half + 1) * 30 * RATE])
        sizes.append(len(stream.state()))
    assert sizes[2] - sizes[1] < 30 * 4000  # half a minute of compact frames, windows and overlaps


def test_a_recording_through_a_stream():
    found = LIVE.diarize(SAMPLES, sample_rate=RATE, uri="meeting")
    assert found.uri == "meeting" and found.turns == USUAL[2].turns


def test_presets():
    assert set(LIVE_PRESETS) == {"fast", "balanced", "dihard3", "ami", "voxconverse", "dihard2-1s", "dihard2-5s"}
    published = {
        "dihard3": (0.555, 0.422, 1.517, None),
        "ami": (0.507, 0.006, 1.057, None),
        "voxconverse": (0.576, 0.915, 0.648, None),
        "dihard2-1s": (0.619, 0.326, 0.997, 1.0),
        "dihard2-5s": (0.555, 0.422, 1.517, 5.0),
    }
    for name, values in published.items():
        config = LIVE_PRESETS[name].config
        assert (config.tau_active, config.rho_update, config.delta_new, config.latency) == values
    with pytest.raises(UsageError, match="did you mean 'dihard3'"):
        resolve_live("dihard")
    with pytest.raises(ConfigError, match="did you mean 'tau_active'"):
        resolve_live(changes={"tau_activ": 0.5})
    with pytest.raises(UsageError, match="diarization or speech"):
        LiveDiarizer(kind="words")


def test_a_preset_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "ami"\nlatency = "max"\nsegmentation.precision = "float32"\n')
    config = resolve_live(file=path, changes={"rho_update": 0.1})
    assert (config.delta_new, config.latency, config.rho_update) == (1.057, "max", 0.1)
    assert config.segmentation.precision == "float32" and config.latency_seconds == 5.0


def test_join():
    turns = [Turn(0, 1, "a", 0.5), Turn(1, 3, "a", 0.8), Turn(1.02, 2, "b"), Turn(3.2, 4, "a"), Turn(2.04, 2.5, "b")]
    assert join(turns) == (Turn(0, 3, "a"), Turn(1.02, 2.5, "b"), Turn(3.2, 4, "a"))
    assert join(turns)[0].confidence == 0.7
    assert join(turns, gap=0.2)[0] == Turn(0, 4, "a") and join([]) == ()
