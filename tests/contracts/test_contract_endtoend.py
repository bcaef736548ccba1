"""What every `EndToEndModel` owes its callers."""

from __future__ import annotations

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from diarist.errors import UsageError
from diarist.models.toy import ToyEndToEnd, conversation

ADAPTERS = ("toy", "nemotron", "nemotron-whole", "nemotron-onnx", "sortformer", "streaming-sortformer")
CLOSE = 1e-5


@pytest.fixture(scope="session")
def nemotron_folder(tmp_path_factory):
    pytest.importorskip("transformers.models.nemotron3_diarization")
    import nemotron_house

    return nemotron_house.saved(tmp_path_factory.mktemp("nemotron") / "tiny")


@pytest.fixture(scope="session")
def nemotron_file(nemotron_folder):
    pytest.importorskip("onnx")
    from diarist.models.nemotron_export import export_onnx

    return export_onnx(nemotron_folder, nemotron_folder.parent / "tiny.onnx")


@pytest.fixture(scope="session", params=ADAPTERS)
def model(request):
    if request.param == "toy":
        return ToyEndToEnd()
    if "sortformer" in request.param:
        pytest.importorskip("nemo.collections.asr")
        import nemo_house
        from diarist.models import sortformer

        file = request.getfixturevalue("tmp_path_factory").mktemp("sortformer") / f"{request.param}.nemo"
        return sortformer.load(nemo_house.build(request.param, file), latency=1.04, device="cpu")
    from diarist.models.nemotron import load

    if request.param == "nemotron-onnx":
        return load(request.getfixturevalue("nemotron_file"), latency=1.04)
    latency = 2.0 if request.param.endswith("whole") else 0.32
    return load(request.getfixturevalue("nemotron_folder"), latency=latency, device="cpu")


@pytest.fixture(scope="module")
def samples():
    return conversation([(0.2, 3, "a"), (2.5, 6, "b"), (6.3, 9, "c"), (9.2, 11, "a")], 11.507)


def heard(model, samples, cut=None):
    """All frames of a recording that comes in blocks of `cut` samples."""
    state, found = model.start(), []
    for first in range(0, len(samples), cut or max(1, len(samples))):
        state, scores = model(state, samples[first : first + (cut or len(samples))])
        found.append(scores)
    return np.concatenate([*found, model.finish(state)])


@pytest.fixture(scope="module")
def scores(model, samples):
    return heard(model, samples)


def test_spec_fits_itself(model):
    spec = model.spec
    assert spec.num_speakers >= 1
    assert spec.sample_rate == spec.frames.sample_rate
    assert spec.latency is None or spec.latency >= spec.frames.step / spec.sample_rate
    assert spec.longest is None or spec.longest > 1


def test_probabilities_cover_the_recording(model, samples, scores):
    assert scores.dtype == np.float32
    assert scores.shape[1] == model.spec.num_speakers
    assert abs(len(scores) * model.spec.frames.step - len(samples)) <= 2 * model.spec.frames.step
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1


@pytest.mark.parametrize("cut", [160, 1237, 16_000, 70_001])
def test_cuts_do_not_matter(model, samples, scores, cut):
    np.testing.assert_allclose(heard(model, samples, cut), scores, atol=CLOSE, rtol=0)


def test_deterministic(model, samples, scores):
    np.testing.assert_array_equal(heard(model, samples), scores)


def test_frames_come_within_the_latency(model, samples):
    if model.spec.latency is None:
        pytest.skip("all frames come at the end")
    spec, state, known = model.spec, model.start(), 0
    for first in range(0, len(samples), 800):
        state, found = model(state, samples[first : first + 800])
        known += len(found)
        late = min(first + 800, len(samples)) - spec.latency * spec.sample_rate
        assert spec.frames.first(known) + spec.frames.size // 2 >= late - spec.frames.size


def test_state_is_a_value(model, samples):
    half = len(samples) // 2
    before, _ = model(model.start(), samples[:half])
    frozen = pickle.dumps(before)
    one, first = model(before, samples[half:])
    other, second = model(before, samples[half:])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(model.finish(one), model.finish(other))
    np.testing.assert_array_equal(model.finish(one), model.finish(one))
    assert pickle.dumps(before) == frozen


def test_state_is_plain_data(model, samples):
    state, _ = model(model.start(), samples[:50_000])
    assert dataclasses.is_dataclass(state)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(state, dataclasses.fields(state)[0].name, None)
    plain = (np.ndarray, int, float, bool, str, tuple, type(None))
    assert all(isinstance(getattr(state, field.name), plain) for field in dataclasses.fields(state))


def test_pickled_state_goes_on(model, samples, scores):
    state, first = model(model.start(), samples[:90_000])
    state, second = model(pickle.loads(pickle.dumps(state)), samples[90_000:])
    np.testing.assert_array_equal(np.concatenate([first, second, model.finish(state)]), scores)


def test_streams_do_not_meet(model, samples, scores):
    other = samples[::-1].copy()
    one, two, found = model.start(), model.start(), []
    for first in range(0, len(samples), 20_000):
        one, said = model(one, samples[first : first + 20_000])
        two, _ = model(two, other[first : first + 20_000])
        found.append(said)
    np.testing.assert_allclose(np.concatenate([*found, model.finish(one)]), scores, atol=CLOSE, rtol=0)


def test_threads_agree(model, samples, scores):
    with ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: heard(model, samples, 30_000), range(3)):
            np.testing.assert_allclose(found, scores, atol=CLOSE, rtol=0)


def test_silence_is_finite(model):
    found = heard(model, np.zeros(40_000, np.float32))
    assert np.isfinite(found).all() and len(found)


@pytest.mark.parametrize("num_samples", [0, 1, 159, 160, 161, 400, 1500])
def test_too_short_is_no_error(model, num_samples):
    found = heard(model, np.full(num_samples, 0.1, np.float32))
    assert abs(len(found) * model.spec.frames.step - num_samples) <= 2 * model.spec.frames.step
    assert found.dtype == np.float32 and found.shape[1] == model.spec.num_speakers


def test_samples_are_not_changed(model, samples):
    mine = samples[:60_000].copy()
    mine.setflags(write=False)
    heard(model, mine, 7_000)
    np.testing.assert_array_equal(mine, samples[:60_000])


def test_doubles_are_taken(model, samples, scores):
    np.testing.assert_allclose(heard(model, samples.astype(np.float64)), scores, atol=CLOSE, rtol=0)


@pytest.mark.parametrize(
    "bad",
    [
        np.array([0.0, np.nan], np.float32),
        np.array([0.0, -np.inf], np.float32),
        np.zeros((2, 100), np.float32),
        np.zeros(100, np.int16),
    ],
    ids=["nan", "infinite", "two-channels", "integers"],
)
def test_refuses_what_is_no_sound(model, bad):
    with pytest.raises(UsageError):
        model(model.start(), bad)


def test_memory_is_bounded(model, samples):
    if model.spec.latency is None:
        pytest.skip("holds its samples")

    def size(state):
        return sum(np.asarray(getattr(state, f.name)).nbytes for f in dataclasses.fields(state))

    state, sizes = model.start(), []
    for _ in range(4):
        state, _ = model(state, samples)
        sizes.append(size(state))
    assert sizes[3] <= sizes[1] * 1.5 + 4 * 16_000 * (model.spec.latency + 1)
