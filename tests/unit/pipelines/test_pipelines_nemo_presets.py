from __future__ import annotations

import pytest

from diarist.errors import ConfigError, UsageError
from diarist.pipelines import nemo_presets
from diarist.pipelines.nemo_presets import PRESETS, NemoStyleConfig, as_nemo, resolve, scales

# `parameters` of vad, speaker_embeddings and clustering in NeMo's diar_infer_{general,meeting,telephonic}.yaml.
CLUSTERING = {
    "oracle_num_speakers": False,
    "max_num_speakers": 8,
    "enhanced_count_thres": 80,
    "max_rp_threshold": 0.25,
    "sparse_search_volume": 30,
    "maj_vote_spk_count": False,
}
PUBLISHED = {
    "general": (
        {
            "window_length_in_sec": 0.63,
            "shift_length_in_sec": 0.08,
            "smoothing": False,
            "overlap": 0.5,
            "onset": 0.5,
            "offset": 0.3,
            "pad_onset": 0.2,
            "pad_offset": 0.2,
            "min_duration_on": 0.5,
            "min_duration_off": 0.5,
            "filter_speech_first": True,
        },
        {
            "window_length_in_sec": [1.9, 1.2, 0.5],
            "shift_length_in_sec": [0.95, 0.6, 0.25],
            "multiscale_weights": [1, 1, 1],
        },
        {**CLUSTERING, "sparse_search_volume": 10},
    ),
    "meeting": (
        {
            "window_length_in_sec": 0.63,
            "shift_length_in_sec": 0.01,
            "smoothing": False,
            "overlap": 0.5,
            "onset": 0.9,
            "offset": 0.5,
            "pad_onset": 0,
            "pad_offset": 0,
            "min_duration_on": 0,
            "min_duration_off": 0.6,
            "filter_speech_first": True,
        },
        {
            "window_length_in_sec": [3.0, 2.5, 2.0, 1.5, 1.0, 0.5],
            "shift_length_in_sec": [1.5, 1.25, 1.0, 0.75, 0.5, 0.25],
            "multiscale_weights": [1, 1, 1, 1, 1, 1],
        },
        CLUSTERING,
    ),
    "telephonic": (
        {
            "window_length_in_sec": 0.15,
            "shift_length_in_sec": 0.01,
            "smoothing": "median",
            "overlap": 0.5,
            "onset": 0.1,
            "offset": 0.1,
            "pad_onset": 0.1,
            "pad_offset": 0,
            "min_duration_on": 0,
            "min_duration_off": 0.2,
            "filter_speech_first": True,
        },
        {
            "window_length_in_sec": [1.5, 1.25, 1.0, 0.75, 0.5],
            "shift_length_in_sec": [0.75, 0.625, 0.5, 0.375, 0.25],
            "multiscale_weights": [1, 1, 1, 1, 1],
        },
        CLUSTERING,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_are_the_published_ones(name):
    dumped = as_nemo(PRESETS[name].config)["diarizer"]
    parts = ("vad", "speaker_embeddings", "clustering")
    for part, expected in zip(parts, PUBLISHED[name], strict=True):
        assert dumped[part]["parameters"] == expected
    assert set(dumped) == set(parts)


def test_there_are_no_others():
    assert list(PRESETS) == list(PUBLISHED)
    assert PRESETS["general"].config == NemoStyleConfig()
    with pytest.raises(UsageError, match="unknown preset 'meting' of nemo-style; did you mean 'meeting'"):
        resolve("meting")


def test_a_file_changes_a_preset_and_values_change_both(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('preset = "meeting"\n[vad]\nonset = 0.4\nmodel = "segmentation"\n')
    config = resolve("general", file, {"vad.offset": 0.2})
    assert (config.vad.onset, config.vad.offset, config.vad.model) == (0.4, 0.2, "segmentation")
    assert len(config.speaker_embeddings.window_length_in_sec) == 6
    with pytest.raises(ConfigError, match=r"unknown key 'vad\.onsett'; did you mean 'onset'"):
        resolve(changes={"vad.onsett": 1.0})


@pytest.mark.parametrize(
    "changes",
    [
        {"speaker_embeddings.window_length_in_sec": [2.0, 1.0]},
        {"speaker_embeddings": {"window_length_in_sec": [2.0, 1.0], "shift_length_in_sec": [1.0, 0.5]}},
    ],
)
def test_windows_alone_weigh_the_same_and_begin_each_half_a_window(changes):
    found = resolve("meeting", changes=changes).speaker_embeddings
    assert (found.shift_length_in_sec, found.multiscale_weights) == ((1.0, 0.5), (1.0, 1.0))


@pytest.mark.parametrize(
    ("window", "shift", "weights", "message"),
    [
        ([0.5, 1.0], [0.5, 0.25], [1, 1], "from the longest to the shortest, not 0.5, 1"),
        ([1.0, 0.5], [0.25, 0.5], [1, 1], "from the longest to the shortest"),
        ([1.0], [1.0], [1], "a window of 1 s with a shift of 1 s"),
        ([1.0], [0.0], [1], "a window of 1 s with a shift of 0 s"),
        ([0.05], [0.02], [1], "windows last 0.1 to 60 s"),
        ([1.0, 0.5], [0.5, 0.25], [0, 0], "not all 0"),
        ([1.0, 0.5], [0.5, 0.25], [1, -1], "must be 0 or more"),
        ([1.0, 0.5], [0.5, 0.25], [1], "2 windows, 2 shifts and 1 weights"),
    ],
)
def test_scales_that_cannot_be(window, shift, weights, message):
    with pytest.raises(ConfigError, match=message):
        resolve(changes={"speaker_embeddings": scales(window, shift, weights)})


def test_every_option_has_help():
    from diarist.core.config import walk

    for name, _, metadata in walk(nemo_presets.NemoStyleConfig()):
        assert metadata["help"], name


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_no_share_of_the_rows(share):
    with pytest.raises(ConfigError, match=r"fixed_thres' must be between 0\.0 and 1\.0"):
        resolve(changes={"clustering.fixed_thres": share})
    assert resolve(changes={"clustering.fixed_thres": 0.1}).clustering.fixed_thres == 0.1
    assert resolve(changes={"clustering.fixed_thres": None}).clustering.fixed_thres is None
