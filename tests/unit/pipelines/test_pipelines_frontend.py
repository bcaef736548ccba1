"""What is heard section by section is what one look at the whole recording gives."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist.core.config import replace_from
from diarist.core.events import Emitter
from diarist.errors import ConfigError
from diarist.models.toy import VOICES, ToyEmbedding, ToySegmentation
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Listener
from diarist.stages import segment
from diarist.stages.embed import pool_local
from diarist.stages.fbank import fbank, remove_mean
from toy_house import CONFIG, RATE, recording

PIPELINE = replace_from(PipelineConfig(), CONFIG)
SPEC = ToySegmentation.spec


def listen(blocks, config=PIPELINE, segmentation=None, embedding=None, hooks=(), threads=2):
    with ThreadPoolExecutor(threads) as pool:
        listener = Listener(
            segmentation or ToySegmentation(), embedding or ToyEmbedding(), config, pool, Emitter(hooks)
        )
        return listener(blocks)


def changed(**values):
    return replace_from(PIPELINE, {name.replace("__", "."): value for name, value in values.items()})


def whole_maps(samples):
    """The maps of every ten seconds, by themselves."""
    parts = []
    for start in range(0, len(samples), 160_000):
        features = fbank(samples[start : start + 160_000 + 240])[:1000]
        parts.append(ToyEmbedding().frames(remove_mean(features)[None])[0][: len(features) // 2])
    return np.concatenate(parts)


@pytest.mark.parametrize("tail", ["inside", "padded"])
@pytest.mark.parametrize("step, seconds", [(2.5, 150), (1.0, 75.3), (10.0, 130), (2.5, 7), (2.5, 121.3), (7.5, 61)])
def test_evidence_is_what_the_whole_recording_gives_at_once(step, seconds, tail):
    samples = recording(60, 3)[0][: int(seconds * RATE)]
    evidence = listen(np.array_split(samples, 7), changed(segmentation__step=step, segmentation__tail=tail))
    chunks = segment.axis(SPEC, step)
    num_chunks = chunks.count_covering(len(samples))
    starts = [chunks.first(chunk) for chunk in range(num_chunks)]
    if tail == "inside" and seconds > 10:
        starts[-1] = min(starts[-1], (-(-(len(samples) - 495) // 270) - 589) * 270)
    whole = np.concatenate([samples, np.zeros(160_000, np.float32)])
    heard = segment.read(ToySegmentation()(np.stack([whole[start : start + 160_000] for start in starts])), SPEC)
    assert (evidence.local == heard.bits).all() and evidence.chunks == chunks and evidence.frames == SPEC.frames
    total = np.zeros((3, 10_000))
    for chunk in range(num_chunks):
        assert evidence.first_frame(chunk) == starts[chunk] // 270
        span = slice(starts[chunk] // 270, starts[chunk] // 270 + SPEC.num_frames)
        total[:, span] += [heard.speech[chunk], heard.overlap[chunk], np.ones(SPEC.num_frames)]
    num_frames = len(evidence.speech)
    assert evidence.frames.middle(num_frames - 1) < seconds <= evidence.frames.middle(num_frames) + 1e-9
    speech, overlap = total[:2, :num_frames] / total[2, :num_frames]
    np.testing.assert_allclose(evidence.speech, speech, atol=1e-6)
    np.testing.assert_array_equal(evidence.count, (speech > 0.5) * (1 + (overlap > 0.5)))
    assert evidence.duration == pytest.approx(seconds)


@pytest.mark.parametrize("rows", ["windows", "chunks"])
def test_voices_are_those_of_the_whole_map(rows):
    samples, _ = recording(60, 3)
    evidence = listen([samples], changed(embedding__rows=rows))
    maps = whole_maps(samples)
    assert len(evidence.voices) > 10
    for chunk, voices in evidence.voices.items():
        first = evidence.first_frame(chunk) * 270
        inside = maps[first // 320 : first // 320 + 500]
        middles = (np.arange(len(inside)) + first // 320) * 320 + 280  # of the maps, in samples
        nearest = np.clip(np.rint((middles - first - 495.5) / 270), 0, SPEC.num_frames - 1).astype(int)
        expected = pool_local(ToyEmbedding(), inside, evidence.active(chunk)[nearest], least=12)
        np.testing.assert_allclose(voices, expected, atol=1e-5)
    if rows == "chunks":
        talks = {
            (chunk, local): evidence.active(chunk)[:, local].sum() * 270 / RATE
            for chunk, voices in evidence.voices.items()
            for local in np.flatnonzero(~np.isnan(voices).any(axis=1))
        }
        assert [tuple(owner) for owner in evidence.owners] == [k for k, seconds in talks.items() if seconds >= 0.5]
        assert len(talks) > len(evidence.owners) == len(evidence.embeddings)
        assert all((evidence.embeddings[i] == evidence.voices[c][k]).all() for i, (c, k) in enumerate(evidence.owners))
        assert len(evidence.voices) == sum(bool(evidence.active(c).any()) for c in range(len(evidence.local)))
    else:
        overlapped = [
            c
            for c in range(len(evidence.local))
            if (evidence.count[evidence.first_frame(c) :][: SPEC.num_frames] >= 2).any()
        ]
        assert list(evidence.voices) == overlapped


def test_windows_lie_where_one_speaker_talks_and_cover_it():
    samples, _ = recording(60, 3)
    evidence = listen([samples])
    assert (np.diff(evidence.times) > 0).all() and (evidence.owners == -1).all()
    np.testing.assert_allclose(np.linalg.norm(evidence.embeddings, axis=1), 1, atol=1e-5)
    middles = evidence.frames.middles(len(evidence.count))
    single = evidence.count == 1
    for time in evidence.times:
        assert single[np.abs(middles - time).argmin()]
    runs = np.flatnonzero(np.diff(np.r_[0, single, 0].astype(int))).reshape(-1, 2) * 270 / RATE
    for first, last in runs[runs[:, 1] - runs[:, 0] > 0.6]:
        inside = evidence.times[(evidence.times > first - 0.1) & (evidence.times < last + 0.1)]
        gaps = np.diff(np.r_[first - 0.75, inside, last + 0.75])  # a window reaches 0.75 s around its middle
        assert len(inside) and gaps.max() <= 1.6


def test_nothing_is_embedded_where_nobody_talks():
    class Counting(ToyEmbedding):
        calls = 0

        def frames(self, fbank):
            Counting.calls += 1
            return super().frames(fbank)

    samples = np.random.default_rng(0).normal(0, 1e-3, 100 * RATE).astype(np.float32)
    assert len(listen([samples], embedding=Counting()).embeddings) == 0 and Counting.calls == 0
    spoken = recording(3, 1)[0][: 4 * RATE]
    samples[45 * RATE :][: len(spoken)] = spoken
    evidence = listen([samples], embedding=Counting())
    assert Counting.calls == 1 and len(evidence.embeddings) > 0
    assert ((evidence.times > 45) & (evidence.times < 49)).all()


def test_a_bit_for_each_local_speaker():
    """A model of one independent class a speaker goes the same way."""

    class Independent(ToySegmentation):
        def __init__(self):
            super().__init__()
            self.spec = type(SPEC)(SPEC.chunk, SPEC.num_frames, SPEC.frames, 3, None)

        def __call__(self, batch):
            from diarist.stages.powerset import probabilities

            return probabilities(super().__call__(batch), 3, 2)

    samples = recording(20, 2)[0]
    one, other = listen([samples]), listen([samples], segmentation=Independent())
    assert (one.local == other.local).all() and (one.count == other.count).all()
    np.testing.assert_allclose(one.embeddings, other.embeddings, atol=1e-6)


def test_a_step_longer_than_a_chunk_is_refused():
    with pytest.raises(ConfigError, match="at most 10"):
        listen([np.zeros(100, np.float32)], changed(segmentation__step=12.0))


class Cheap(ToySegmentation):
    """Somebody talks where it is loud."""

    def __call__(self, batch):
        loud = np.abs(batch[:, : 589 * 270]).reshape(len(batch), 589, 270).max(axis=2) > 0.05
        scores = np.full((len(batch), 589, 7), -9.0, np.float32)
        np.put_along_axis(scores, loud[..., None].astype(int), -0.01, axis=2)
        return scores


def blocks_of(minutes):
    """A long recording that never exists as a whole: a hum, a voice every five seconds, in blocks of ten seconds."""
    times = np.arange(10 * RATE) / RATE
    for minute in range(minutes * 6):
        hum = 0.1 * np.sin(2 * np.pi * VOICES[minute % 4] * times) * (times % 5 < 4)
        yield hum.astype(np.float32)


def memory_of(minutes):
    """Bytes that the evidence keeps, and the most that was held while it was made."""
    tracemalloc.start()
    try:
        evidence = listen(blocks_of(minutes), segmentation=Cheap())
        assert evidence.duration == minutes * 60
        return tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def test_memory_grows_with_the_answer_not_with_the_sound():
    (kept, peak), (kept_more, peak_more) = memory_of(3), memory_of(12)
    sound = 9 * 60 * RATE * 4  # bytes of what came in addition: 35 MB
    assert kept_more - kept < sound / 20
    assert peak_more - peak < sound / 2  # threads that happen to work at once move it by ten megabytes


def test_an_error_in_a_model_comes_through_and_leaves_nothing_running():
    gate = threading.Event()

    class Broken(ToySegmentation):
        calls = 0

        def __call__(self, batch):
            Broken.calls += 1
            if Broken.calls == 1:
                raise ZeroDivisionError("broken on purpose")
            gate.wait(10)
            return super().__call__(batch)

    with ThreadPoolExecutor(1) as pool:
        listener = Listener(Broken(), ToyEmbedding(), PIPELINE, pool, Emitter())
        with pytest.raises(ZeroDivisionError, match="on purpose"):
            listener(blocks_of(10))
        gate.set()
        pool.submit(gate.is_set).result()  # whatever was still waiting comes before
        assert Broken.calls <= 2  # one may have begun already
