"""An end-to-end model live: what is settled on the way is what a recording's decoding says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from diarist.errors import UsageError
from diarist.models.toy import ToyEmbedding, ToyEndToEnd
from diarist.pipelines.endtoend import EndToEndDiarizer
from diarist.pipelines.endtoend_live import LiveEndToEnd
from diarist.pipelines.streaming import join
from toy_house import RATE, recording

DECODINGS = {
    "plain": {},
    "pauses": {"turns.min_duration_off": 0.4},
    "everything": {
        "turns.min_duration_off": 0.3,
        "turns.min_duration_on": 0.9,
        "turns.pad_onset": 0.1,
        "turns.pad_offset": 0.05,
    },
    "short first": {
        "turns.min_duration_off": 0.3,
        "turns.min_duration_on": 0.9,
        "turns.filter_speech_first": True,
        "turns.pad_onset": -0.04,
    },
}


def live(config=None, **options):
    return LiveEndToEnd(config=config or {}, **{"model": ToyEndToEnd(), "embedding": ToyEmbedding(), **options})


@pytest.fixture(scope="module")
def samples():
    return recording(25, 3, seed=1)[0]


def listen(stream, samples, size=8_000):
    updates = [stream.push(samples[at : at + size]) for at in range(0, len(samples), size)]
    return [*updates, stream.finish()]


def rounded(turns):
    return [(round(t.start, 3), round(t.end, 3), t.speaker) for t in sorted(turns)]


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("size", [1_000, 8_000, 50_000])
def test_what_is_settled_is_the_session(samples, decoding, size):
    config = DECODINGS[decoding]
    updates = listen(live(config).start(), samples, size)
    session = updates[-1].session
    assert rounded(join(t for u in updates for t in u.final)) == rounded(session.turns)
    whole = EndToEndDiarizer(config=config, model=ToyEndToEnd(), embedding=ToyEmbedding())(samples, sample_rate=RATE)
    assert [turn[:2] for turn in rounded(session.turns)] == [turn[:2] for turn in rounded(whole.turns)]


def test_settled_only_grows_and_is_never_late(samples):
    config = DECODINGS["everything"]
    one = live(config)
    updates = listen(one.start(), samples, 4_000)
    settled = [update.settled for update in updates]
    assert settled == sorted(settled) and settled[-1] == pytest.approx(len(samples) / RATE)
    assert all(update.until - update.settled <= one.latency + 0.26 for update in updates)
    for before, update in itertools.pairwise(updates):
        assert all(before.settled - 1e-6 <= t.start < t.end <= update.settled + 1e-6 for t in update.final)
        assert update.tentative == ()


def test_speakers_have_voices_and_the_same_names(samples):
    updates = listen(live().start("talk"), samples)
    session = updates[-1].session
    assert session.uri == "talk"
    assert set(session.labels) == {t.speaker for u in updates for t in u.final} == {"speaker0", "speaker1", "speaker2"}
    assert all(session.speakers[name].embedding.shape == (80,) for name in session.labels)
    assert all(0.9 < turn.confidence <= 1 for turn in session.turns)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.37, 0.8])
def test_a_restored_stream_goes_on(samples, share):
    config = DECODINGS["everything"]
    wanted = listen(live(config).start("x"), samples)
    half = int(share * len(samples)) // 8_000 * 8_000
    stream = live(config).start("x")
    before = [stream.push(samples[at : at + 8_000]) for at in range(0, half, 8_000)]
    again = live(config).restore(stream.state())
    after = listen(again, samples[half:])
    assert rounded(t for u in (*before, *after) for t in u.final) == rounded(t for u in wanted for t in u.final)
    session, other = after[-1].session, wanted[-1].session
    assert session.turns == other.turns and again.uri == "x"
    for name in session.labels:
        np.testing.assert_array_equal(session.speakers[name].embedding, other.speakers[name].embedding)


def test_restoring_with_another_configuration(samples):
    state = live().start().state()
    with pytest.raises(UsageError, match="another configuration"):
        live({"turns.onset": 0.7}).restore(state)
    with pytest.raises(UsageError, match="not the state of a stream"):
        live().restore(b"nonsense")


def test_a_snapshot_changes_nothing(samples):
    wanted = listen(live().start(), samples)
    stream = live().start()
    half = len(samples) // 16_000 * 8_000
    before = [stream.push(samples[at : at + 8_000]) for at in range(0, half, 8_000)]
    shot = stream.snapshot()
    after = listen(stream, samples[half:])
    assert shot.duration == pytest.approx(half / RATE)
    assert rounded(shot.turns)[:3] == rounded(wanted[-1].session.turns)[:3]
    assert rounded(t for u in (*before, *after) for t in u.final) == rounded(t for u in wanted for t in u.final)


def test_streams_do_not_meet(samples):
    one = live()
    first, second = one.start(), one.start()
    found = []
    for at in range(0, len(samples), 8_000):
        found.append(first.push(samples[at : at + 8_000]))
        second.push(samples[::-1][at : at + 8_000].copy())
    found.append(first.finish())
    assert rounded(found[-1].session.turns) == rounded(listen(one.start(), samples)[-1].session.turns)


def test_what_a_stream_refuses(samples):
    stream = live().start("x")
    for bad in (np.zeros((2, 10), np.float32), np.zeros(10, np.int16), np.full(10, np.nan, np.float32)):
        with pytest.raises(UsageError):
            stream.push(bad)
    assert stream.push(samples[:0]).until == 0
    stream.finish()
    for again in (stream.finish, stream.state, lambda: stream.push(samples[:10])):
        with pytest.raises(UsageError, match="finished"):
            again()


def test_models_that_do_not_stream():
    with pytest.raises(UsageError, match="one memory"):
        live({"network.window": 600.0})
    with pytest.raises(UsageError, match="whole recordings only"):
        live(model=ToyEndToEnd(longest=600.0)).start()


def test_nothing_at_all():
    update = live().start().finish()
    assert update.final == () and update.session.num_speakers == 0


def test_nemotron_live_goes_on_from_bytes(tmp_path_factory, samples):
    pytest.importorskip("transformers.models.nemotron3_diarization")
    import nemotron_house
    from diarist.models.nemotron import load

    folder = nemotron_house.saved(tmp_path_factory.mktemp("nemotron") / "tiny")
    model = load(folder, latency=0.64, device="cpu")
    one = live({"turns.min_duration_off": 0.2}, model=model)
    half = 240_000
    stream = one.start()
    before = stream.push(samples[:half])
    again = one.restore(stream.state())
    wanted, found = listen(stream, samples[half:400_000]), listen(again, samples[half:400_000])
    assert before.final and wanted[-1].session.turns == found[-1].session.turns
