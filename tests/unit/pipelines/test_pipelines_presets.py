"""Presets and configurations: named, frozen, changed one key at a time, and every legal value runs."""

import dataclasses
import json

import pytest

from diarist.core.config import dump_toml, fingerprint, to_dict, walk
from diarist.errors import ConfigError, UsageError
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.presets import DECODING, DEFAULT, PRESETS, preset, resolve
from toy_house import CONFIG, RATE, diarizer, recording

LEAVES = {name: (value, metadata) for name, value, metadata in walk(PipelineConfig())}


def test_presets_are_named_cited_and_frozen():
    assert DEFAULT in PRESETS
    for name, one in PRESETS.items():
        assert one.name == name and one.summary and one.source
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.config.turns.onset = 0.1
        with pytest.raises(TypeError):
            PRESETS[name] = one
    assert len({fingerprint(one.config) for one in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize("name", ["pyannote-3.1-style", "community-1"])
def test_published_recipes_hear_what_they_heard(name):
    segmentation = preset(name).config.segmentation
    assert (segmentation.vad, segmentation.tail, segmentation.step) == ("none", "padded", 1.0)


def test_the_second_opinion_on_speech_is_left_out_where_its_cost_counts():
    assert {name for name, one in PRESETS.items() if one.config.segmentation.vad == "silero"} == {
        "balanced",
        "accurate",
    }


def test_the_default_preset_is_the_defaults():
    """So that the defaults that `--help` shows are those that run."""
    assert preset(DEFAULT).config == PipelineConfig() == resolve()


@pytest.mark.parametrize("name, near", [("blanced", "balanced"), ("Fast", "fast"), ("acurate", "accurate")])
def test_an_unknown_preset_names_the_nearest(name, near):
    with pytest.raises(UsageError, match=f"unknown preset '{name}'; did you mean '{near}'"):
        preset(name)
    with pytest.raises(UsageError, match="known: fast, balanced"):
        preset("xyz")


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_a_file_changes_a_preset_and_single_values_change_the_file(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    values = {"preset": "fast", "turns": {"onset": 0.6, "offset": 0.4}, "clustering": {"min_cluster_size": 5}}
    path.write_text(json.dumps(values) if suffix == ".json" else dump_toml(values))
    config = resolve("accurate", path, {"turns.offset": 0.3})
    assert config.segmentation == preset("fast").config.segmentation
    assert (config.turns.onset, config.turns.offset, config.clustering.min_cluster_size) == (0.6, 0.3, 5)


def test_a_decoding_stands_for_values_that_others_change(tmp_path):
    assert (
        set(DECODING) == set(LEAVES["decoding"][1]["choices"]) and resolve(changes={"decoding": "neutral"}) == resolve()
    )
    words, turns = (resolve(changes={"decoding": name}) for name in ("words", "turns"))
    assert (words.decoding, words.turns.onset, words.turns.min_duration_off) == ("words", 0.7, 0.0)
    assert (turns.decoding, turns.turns.onset, turns.turns.min_duration_off) == ("turns", 0.5, 1.0)
    assert words.segmentation == turns.segmentation == resolve().segmentation
    beside = resolve(changes={"turns.onset": 0.6, "decoding": "words"})  # in whatever order
    assert (beside.turns.onset, beside.turns.offset) == (0.6, 0.7)
    path = tmp_path / "mine.toml"
    path.write_text("decoding = 'turns'\n[turns]\nmin_duration_off = 0.4")
    assert resolve("fast", path).turns.min_duration_off == 0.4
    assert resolve("fast", path, {"decoding": "words"}).turns.min_duration_off == 0.0
    path.write_text(dump_toml(to_dict(beside)))
    assert resolve(file=path) == beside
    with pytest.raises(ConfigError, match="'decoding' cannot be 'word'; did you mean 'words'"):
        resolve(changes={"decoding": "word"})


def test_a_whole_configuration_survives_a_file(tmp_path):
    for one in PRESETS.values():
        (tmp_path / "a.toml").write_text(dump_toml(to_dict(one.config)))
        assert resolve("fast", tmp_path / "a.toml") == one.config


@pytest.mark.parametrize(
    "text, said",
    [
        ("[turns]\nonsett = 0.5", r"unknown key 'turns\.onsett'; did you mean 'onset'\?"),
        ("[tuns]\nonset = 0.5", r"unknown key 'tuns'; did you mean 'turns'\?"),
        ("[turns]\nonset = 1.5", r"'turns\.onset' must be between 0\.0 and 1\.0, not 1\.5"),
        ("[turns]\nonset = 'high'", r"'turns\.onset' must be of type float, not 'high'"),
        ("[clustering]\nmethod = 'vbx-window'", r"'clustering\.method' cannot be .*; did you mean 'vbx-windows'\?"),
        ("turns = 3", r"'turns' must be a table"),
        ("preset = 3", r"'preset' in '.*' must be a name, not 3"),
        ("preset = 'best'", r"unknown preset 'best'"),
        ("onset", r"is not valid toml"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_in_a_line(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        resolve(file=path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there():
    with pytest.raises(ConfigError, match=r"cannot read 'none\.toml': No such file"):
        resolve(file="none.toml")


def test_every_option_is_explained_and_its_default_legal():
    for config in (PipelineConfig(), RuntimeConfig()):
        for name, value, metadata in walk(config):
            assert len(metadata["help"]) > 10, name
            low, high = metadata.get("low", value), metadata.get("high", value)
            assert metadata.get("choices") is None or value in metadata["choices"]
            if isinstance(value, (int, float)):
                assert low <= value <= high, name
                if "tune" in metadata:
                    assert low <= metadata["tune"][0] < metadata["tune"][1] <= max(high, metadata["tune"][1])


@pytest.mark.parametrize("name", [n for n, (v, m) in LEAVES.items() if "low" in m and not n.startswith("clustering.F")])
def test_the_ends_of_every_range_run(name):
    """Nonsense may come out, a traceback may not."""
    _, metadata = LEAVES[name]
    samples = recording(8, 2)[0]
    for end in ("low", "high"):
        value = metadata.get(end)
        if value is None or (name == "segmentation.step" and value > 10):
            continue
        result = diarizer(config={**CONFIG, name: value})(samples, sample_rate=RATE)
        assert result.duration == pytest.approx(len(samples) / RATE)


@pytest.mark.parametrize("count", ["probability", "mean"])
def test_both_ways_to_count(count):
    samples, reference = recording(20, 2)
    result = diarizer(config={**CONFIG, "turns.count": count})(samples, sample_rate=RATE)
    assert result.num_speakers == 2 and abs(sum(result.talk_time().values()) - sum(reference.talk_time().values())) < 3


def test_the_presets_of_pyannote_are_its_published_values():
    style, community = preset("pyannote-3.1-style").config, preset("community-1").config
    for one in (style, community):
        assert one.segmentation.step == 1.0 and one.embedding.rows == "chunks"
        assert (one.turns.count, one.turns.edges, one.turns.min_duration_off) == ("mean", "middle", 0.0)
    chosen = style.clustering
    assert (chosen.method, chosen.linkage, chosen.min_cluster_size) == ("agglomerative", "centroid", 12)
    assert chosen.threshold == 0.7045654963945799 and style.embedding.model == PipelineConfig().embedding.model
    chosen = community.clustering
    assert (chosen.method, chosen.threshold, chosen.Fa, chosen.Fb, chosen.plda) == ("vbx", 0.6, 0.07, 0.8, None)
