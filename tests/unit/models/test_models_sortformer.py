"""Sortformer behind the port of end-to-end models, frame by frame beside NeMo's own forward."""

from __future__ import annotations

import numpy as np
import pytest

from diarist.errors import ExtraError, UsageError, WeightsError
from diarist.models import nemo, sortformer
from diarist.models.endtoend import FAMILIES, load_endtoend, parts
from diarist.models.toy import conversation


def test_modes_are_those_of_the_cards():
    assert sortformer.LATENCIES == (0.32, 1.04, 10.0, 30.4) == FAMILIES["sortformer"].latencies
    assert parts("sortformer")[1] == "nvidia/diar_streaming_sortformer_4spk-v2"
    assert parts("sortformer:v2.1")[1] == "nvidia/diar_streaming_sortformer_4spk-v2.1"
    assert parts("sortformer:v1")[1] == "nvidia/diar_sortformer_4spk-v1"
    assert parts("sortformer:./mine.nemo")[1] == "./mine.nemo"


@pytest.mark.skipif(nemo.installed(), reason="NeMo is installed")
def test_without_nemo_the_pip_line_is_said():
    with pytest.raises(ExtraError, match=r"pip install 'diarist\[nemo\]'"):
        load_endtoend("sortformer", latency=1.04)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("nemo.collections.asr")
    house = pytest.importorskip("nemo_house")
    folder = tmp_path_factory.mktemp("sortformer")
    names = ("sortformer", "streaming-sortformer", "titanet")
    return {name: house.build(name, folder / f"{name}.nemo") for name in names}


@pytest.fixture(scope="module")
def samples():
    turns = [(0.2, 3, "a"), (2.5, 6, "b"), (6.3, 9, "c"), (9.2, 11, "a"), (12, 30, "b"), (31, 40, "c")]
    return conversation(turns, 41.507)


def heard(model, samples, cut):
    state, found = model.start(), []
    for first in range(0, len(samples), cut):
        state, scores = model(state, samples[first : first + cut])
        found.append(scores)
    return np.concatenate([*found, model.finish(state)])


def theirs(model, samples):
    import torch

    with torch.inference_mode():
        sound, length = torch.from_numpy(samples)[None], torch.tensor([len(samples)])
        return model._network.forward(audio_signal=sound, audio_signal_length=length)[0].numpy()


@pytest.mark.parametrize("latency", sortformer.LATENCIES)
@pytest.mark.parametrize("num", [170, 2000, 80_077, None])
def test_streams_are_as_nemo_hears_a_whole_recording(files, samples, latency, num, capsys):
    model = load_endtoend(f"sortformer:{files['streaming-sortformer']}", latency=latency, device="cpu")
    sound = samples[:num]
    found = heard(model, sound, 1777)
    np.testing.assert_allclose(found, theirs(model, sound), atol=1e-5)
    np.testing.assert_array_equal(found, heard(model, sound, len(sound)))
    assert model.spec.latency == pytest.approx(latency, abs=0.01)
    assert abs(len(found) * 1280 - len(sound)) <= 2 * 1280


def test_a_frame_comes_within_the_latency(files, samples):
    model = sortformer.load(files["streaming-sortformer"], latency=1.04, device="cpu")
    state, num = model.start(), 0
    for first in range(0, 160_000, 800):
        state, scores = model(state, samples[first : first + 800])
        num += len(scores)
        assert num * 1280 >= first + 800 - (model.spec.latency * 16000 + 800)
        assert len(state.waiting) < 2 * model.spec.latency * 16000


def test_a_whole_recording(files, samples):
    model = sortformer.load(files["sortformer"], device="cpu")
    assert (model.spec.latency, model.spec.num_speakers) == (None, 4)
    np.testing.assert_allclose(heard(model, samples, 9999), theirs(model, samples), atol=1e-5)
    assert heard(model, samples[:100], 100).shape == (0, 4)


def test_what_is_refused(files):
    with pytest.raises(UsageError, match=r"has no latency of 5 s: it has 0\.32, 1\.04, 10, 30\.4"):
        sortformer.load("x.nemo", latency=5.0)
    with pytest.raises(WeightsError, match="is a speaker model, not an end-to-end diarizer"):
        sortformer.load(files["titanet"], device="cpu")
