"""NME-SC, scales, sub-segments and speech stretches, number by number against nemo_toolkit 3.0.0's own code."""

from __future__ import annotations

import nemo_source
import numpy as np
import pytest

from diarist.core.types import SpeakerBounds
from diarist.pipelines.nemo_presets import PRESETS
from diarist.stages import multiscale, nme_sc, speech
from diarist.stages.torch_random import TorchRandom

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.weights, pytest.mark.filterwarnings("ignore:.*torch:Warning")]


@pytest.fixture(scope="module")
def put():
    patch = pytest.MonkeyPatch()
    yield patch.setitem
    patch.undo()


@pytest.fixture(scope="module")
def clustering(put):
    return nemo_source.module(nemo_source.fetched("offline_clustering", put))


@pytest.fixture(scope="module")
def vad(put):
    names = (
        "binarization",
        "merge_overlap_segment",
        "filtering",
        "filter_short_segments",
        "get_gap_segments",
        "remove_segments",
        "generate_overlap_vad_seq_per_tensor",
    )
    return nemo_source.functions(nemo_source.fetched("vad_utils", put), *names)


@pytest.fixture(scope="module")
def speakers(put):
    names = ("get_subsegments_scriptable", "get_contiguous_stamps", "merge_stamps")
    return nemo_source.functions(nemo_source.fetched("speaker_utils", put), *names)


def session(seed, num_speakers, seconds, preset, noise):
    """Embeddings and times of every scale, of a session with turns of random voices."""
    rng = np.random.default_rng(seed)
    scales = PRESETS[preset].config.speaker_embeddings
    spans, owners, time = [], [], 0.0
    while time < seconds:
        start = time + rng.uniform(0.2, 1.5)
        time = start + rng.uniform(0.4, 6)
        spans.append((round(start, 3), round(time, 3)))
        owners.append(int(rng.integers(num_speakers)))
    stretches, owners = np.array(spans), np.array(owners)
    voices = rng.normal(size=(num_speakers, 192))
    embeddings, times = [], []
    for window, shift in zip(scales.window_length_in_sec, scales.shift_length_in_sec, strict=True):
        cut = multiscale.subsegments(stretches, window, shift)
        owner = owners[np.searchsorted(stretches[:, 0], cut[:, 0] + 1e-9) - 1]
        embeddings.append((voices[owner] + noise * rng.normal(size=(len(cut), 192))).astype(np.float32))
        times.append(cut)
    return embeddings, times, scales.multiscale_weights


def theirs(clustering, embeddings, times, weights, chosen, oracle=-1, vote=False):
    return clustering.SpeakerClustering(maj_vote_spk_count=vote).forward_infer(
        torch.tensor(np.concatenate(embeddings)),
        torch.tensor(np.concatenate(times)).float(),
        torch.tensor([len(part) for part in times]),
        torch.tensor([weights]),
        oracle_num_speakers=oracle,
        max_num_speakers=chosen.max_num_speakers,
        max_rp_threshold=chosen.max_rp_threshold,
        enhanced_count_thres=chosen.enhanced_count_thres,
        sparse_search_volume=chosen.sparse_search_volume,
    )


CASES = [
    (seed, 1 + seed % 6, seconds, preset, noise)
    for seed, (seconds, preset, noise) in enumerate(
        (seconds, preset, noise)
        for seconds in (4, 20, 60, 150)
        for preset in ("general", "meeting", "telephonic")
        for noise in (0.5, 4.0)
    )
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_labels_are_equal(clustering, case):
    embeddings, times, weights = session(*case)
    chosen = PRESETS[case[3]].config.clustering
    fused = multiscale.fused_similarity(embeddings, times, weights)
    if len(fused) > 1:
        expected = clustering.getMultiScaleCosAffinityMatrix(
            torch.tensor([weights]), [torch.tensor(e) for e in embeddings], [torch.tensor(t).float() for t in times]
        )
        if np.isfinite(expected.numpy()).all():  # a longer scale of two like windows has no range to be scaled to
            np.testing.assert_allclose(fused, expected.numpy(), atol=2e-5)
    mine = nme_sc.NmeSc(sparse_search_volume=chosen.sparse_search_volume)
    labels = mine(fused, embeddings[-1], SpeakerBounds())
    np.testing.assert_array_equal(labels, theirs(clustering, embeddings, times, weights, chosen).numpy())


@pytest.mark.parametrize("vote", [False, True])
@pytest.mark.parametrize("oracle", [2, 4])
def test_options_are_equal(clustering, oracle, vote):
    embeddings, times, weights = session(7, 4, 90, "telephonic", 1.0)
    chosen = PRESETS["telephonic"].config.clustering
    mine = nme_sc.NmeSc(maj_vote_spk_count=vote)
    fused = multiscale.fused_similarity(embeddings, times, weights)
    labels = mine(fused, embeddings[-1], SpeakerBounds.of(oracle))
    expected = theirs(clustering, embeddings, times, weights, chosen, oracle=oracle).numpy()
    if oracle == 4:
        np.testing.assert_array_equal(labels, expected)
    else:  # four voices cut in two parts: which eigenvectors of four equal ones come first is the solver's choice
        assert len(np.unique(labels)) == len(np.unique(expected)) == 2
    free = mine(fused, embeddings[-1], SpeakerBounds())
    np.testing.assert_array_equal(free, theirs(clustering, embeddings, times, weights, chosen, vote=vote).numpy())


@pytest.mark.parametrize("num_speakers", [1, 2, 3, 5])
@pytest.mark.parametrize("num", [7, 20, 60])
def test_counts_with_anchors_are_equal(clustering, num_speakers, num):
    rng = np.random.default_rng(num)
    rows = (rng.normal(size=(num_speakers, 192))[rng.integers(0, num_speakers, num)] * 2).astype(np.float32)
    rows += rng.normal(size=rows.shape).astype(np.float32)
    assert nme_sc.count_with_anchors(rows) == int(clustering.getEnhancedSpeakerCount(torch.tensor(rows)))


@pytest.mark.parametrize("num", [2, 7, 8, 30, 119, 120, 512, 1023])
@pytest.mark.parametrize(("share", "steps"), [(0.25, 10), (0.25, 30), (0.15, 10), (0.25, 0)])
def test_values_of_p_are_equal(clustering, num, share, steps):
    search = clustering.NMESC(
        torch.zeros(num, num),
        max_rp_threshold=share,
        sparse_search_volume=max(steps, 1),
        fixed_thres=-1.0 if steps else share,
    )
    np.testing.assert_array_equal(nme_sc.candidates(num, share, steps), search.getPvalueList().numpy())


@pytest.mark.parametrize("seed", [0, 1, 4])
@pytest.mark.parametrize("columns", [16, 33, 192])
def test_chance_is_torchs(seed, columns):
    torch.manual_seed(seed)
    expected = [torch.randn(1, columns), torch.randn(10, columns), torch.rand(30), torch.randint(0, 77, (1,))]
    random = TorchRandom(seed)
    np.testing.assert_allclose(random.normal(1, columns), expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(random.normal(10, columns), expected[1].numpy(), atol=1e-5)
    np.testing.assert_array_equal(random.uniform(30), expected[2].numpy())
    assert random.integer(77) == int(expected[3])


@pytest.mark.parametrize("preset", ["general", "meeting", "telephonic"])
@pytest.mark.parametrize("speech_first", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_stretches_of_speech_are_equal(vad, preset, speech_first, seed):
    rng = np.random.default_rng(seed)
    chosen = PRESETS[preset].config.vad
    level = np.repeat(rng.random(80), rng.integers(1, 40, 80))
    probabilities = np.clip(level + rng.normal(0, 0.1, len(level)), 0, 1).astype(np.float32)
    frame = chosen.shift_length_in_sec
    names = ("onset", "offset", "pad_onset", "pad_offset", "min_duration_on", "min_duration_off")
    values = {name: getattr(chosen, name) for name in names}
    values["min_duration_off"] += 0.003  # theirs are float32: a gap of just so many frames falls on either side
    values["min_duration_on"] += 0.003
    said = {**values, "frame_length_in_sec": frame, "filter_speech_first": float(speech_first)}
    expected = vad.filtering(vad.binarization(torch.tensor(probabilities), said), said).numpy()
    expected = np.sort(expected.reshape(-1, 2), axis=0) + np.array([0, 0.01])
    found = speech.stretches(probabilities, frame, **values, filter_speech_first=speech_first)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("method", ["median", "mean"])
@pytest.mark.parametrize(("window", "shift", "overlap"), [(0.15, 0.01, 0.5), (0.63, 0.08, 0.5), (0.63, 0.01, 0.875)])
def test_smoothing_is_equal(vad, method, window, shift, overlap):
    frame = np.random.default_rng(0).random(300).astype(np.float32)
    said = {"overlap": overlap, "window_length_in_sec": window, "shift_length_in_sec": shift, "frame_len": 0.01}
    expected = vad.generate_overlap_vad_seq_per_tensor(torch.tensor(frame), said, method).numpy()
    found = speech.smooth(frame, window=window, shift=shift, overlap=overlap, method=method)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("duration", [0.06, 0.3, 0.5, 1.5, 1.9, 2.4, 7.123, 30.0])
@pytest.mark.parametrize(("window", "shift"), [(1.5, 0.75), (0.5, 0.25), (3.0, 1.5), (1.9, 0.95)])
def test_subsegments_are_equal(speakers, duration, window, shift):
    expected = speakers.get_subsegments_scriptable(12.05, window, shift, duration)
    expected = [(start, start + length) for start, length in expected if length > 0.05]
    found = multiscale.subsegments(np.array([[12.05, 12.05 + duration]]), window, shift)
    np.testing.assert_allclose(found, np.reshape(expected, (-1, 2)), atol=1e-9)


def test_joined_stretches_are_equal(speakers):
    rng = np.random.default_rng(3)
    cut = multiscale.subsegments(np.array([[0.5, 9.3], [10.0, 10.4], [11.0, 23.7]]), 0.5, 0.25)
    labels = np.repeat(rng.integers(0, 3, len(cut)), 3)[: len(cut)]
    lines = [f"{start} {end} speaker_{label}" for (start, end), label in zip(cut.tolist(), labels, strict=True)]
    expected = speakers.merge_stamps(speakers.get_contiguous_stamps(lines))
    assert [f"{start} {end} speaker_{label}" for start, end, label in multiscale.joined(cut, labels)] == expected
