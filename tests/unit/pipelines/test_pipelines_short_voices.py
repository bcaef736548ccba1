"""Short voices lie where they should, each is pooled once, and bytes keep their directions."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist.core.config import replace_from
from diarist.core.events import Emitter
from diarist.core.time import Axis
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.config import PipelineConfig
from diarist.pipelines.frontend import Listener
from diarist.pipelines.short_voices import HOP, LEAST, LENGTHS, Places, in_bytes, network_of
from diarist.stages.embed import at_maps, unit_rows
from toy_house import RATE, recording

CONFIG = replace_from(PipelineConfig(), {"segmentation.vad": "none"})
MAPS = Axis(560, 320)


def listen(samples, config=CONFIG):
    with ThreadPoolExecutor(2) as pool:
        listener = Listener(ToySegmentation(), ToyEmbedding(), config, pool, Emitter())
        return listener([samples]), listener.maps


def test_they_are_those_of_the_whole_recording():
    samples, _ = recording(40, 3)  # two sections
    evidence, maps = listen(samples)
    num_maps = len(samples) // 320
    with ThreadPoolExecutor(1) as pool:  # one section that is long enough
        listener = Listener(ToySegmentation(), ToyEmbedding(), CONFIG, pool, Emitter())
        blocks = [listener.trunk(samples[at : at + 160_000 + 240], 1000) for at in range(0, len(samples), 160_000)]
    whole = np.concatenate(blocks)[:num_maps]
    talks = at_maps(evidence.count, evidence.frames, maps, 0, len(whole)) >= 1
    directions, places = evidence.short.directions, evidence.short.places
    assert places.step / RATE == HOP and len(directions) == pytest.approx(len(samples) / RATE / HOP, abs=2)
    assert directions.shape[1:] == (len(LENGTHS), ToyEmbedding().spec.dimension)
    assert directions.dtype == np.int8 and 50 < directions.any(axis=2).sum() < directions[..., 0].size
    for place, voices in enumerate(directions[:-3]):
        middle = round(places.middle(place) * RATE / 320)
        for length, voice in zip(LENGTHS, voices, strict=True):
            size = round(length * RATE / 320)
            heard = np.arange(max(0, middle - size // 2), middle - size // 2 + size)
            heard = heard[talks[heard]]
            assert voice.any() == (len(heard) >= LEAST * RATE / 320)
            if voice.any():
                weights = np.isin(np.arange(len(whole)), heard).astype(np.float32)
                expected = unit_rows(ToyEmbedding().pool(whole[None], weights[None, None])[0])[0]
                assert expected @ voice / np.linalg.norm(voice.astype(float)) > 0.9998


@pytest.mark.parametrize("steps", [[3000, 6000, 6789], [6789], [40, 700, 6789, 6789]])
def test_every_place_is_handed_out_once_and_the_cuts_change_nothing(steps):
    places = Places(MAPS)
    parts = [places.take(known, last=place == len(steps) - 1) for place, known in enumerate(steps)]
    whole = Places(MAPS).take(steps[-1], last=True)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert all((part <= known).all() for part, known in zip(parts, steps, strict=True))
    assert len(whole) == steps[-1] * 320 // round(HOP * RATE) and (whole[:, :, 0] < whole[:, :, 1]).all()
    middles = whole[5:-5].mean(axis=2) * 320 / RATE
    np.testing.assert_allclose(middles, np.tile(places.axis.middles(len(whole))[5:-5, None], 2), atol=0.011)


def test_bytes_keep_the_direction():
    voices = np.random.default_rng(0).normal(size=(50, 192)).astype(np.float32)
    kept = in_bytes(voices).astype(np.float32)
    cosines = (unit_rows(kept) * unit_rows(voices)).sum(axis=1)
    assert cosines.min() > 0.9998 and np.abs(kept).max(axis=1).tolist() == [127] * 50


def test_what_is_not_known_is_zero():
    voices = np.array([[1.0, -2.0], [np.nan, np.nan], [0.0, 0.0]], np.float32)
    assert in_bytes(voices).tolist() == [[64, -127], [0, 0], [0, 0]]
    assert in_bytes(voices[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"turns.second_pass": False},
        {"clustering.method": "agglomerative"},
        {"clustering.calibration": "permissive"},
        {"embedding.rows": "chunks"},
        {"embedding.model": "somebody-elses"},
    ],
)
def test_they_are_kept_only_for_a_second_pass(changes):
    assert network_of(CONFIG) is not None
    assert network_of(replace_from(CONFIG, changes)) is None


def test_without_a_second_pass_none_are_kept_and_the_rest_is_the_same():
    samples, _ = recording(10, 2)
    with_them, _ = listen(samples)
    without, _ = listen(samples, replace_from(CONFIG, {"turns.second_pass": False}))
    assert without.short is None and with_them.short is not None
    np.testing.assert_array_equal(without.embeddings, with_them.embeddings)
    np.testing.assert_array_equal(without.local, with_them.local)


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.1])
def test_a_recording_may_be_shorter_than_any(seconds):
    evidence, _ = listen(recording(4, 1)[0][: int(seconds * RATE)])
    assert len(evidence.short.directions) == int(seconds / HOP + 1e-9)
