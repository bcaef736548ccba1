"""Flags come from the configuration, all of them, and say what it says."""

import argparse
import contextlib
import io

import pytest

from diarist.cli.flags import add_config, given
from diarist.core.config import replace_from, walk
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.nemo_presets import NemoStyleConfig


def parser(config=None, **options):
    made = argparse.ArgumentParser(allow_abbrev=False)
    add_config(made, "values", config or PipelineConfig(), **options)
    return made


def test_every_leaf_has_a_flag_with_its_help_and_default():
    text = " ".join(parser().format_help().split())
    for name, default, metadata in walk(PipelineConfig()):
        assert "--" + name.replace(".", "-").replace("_", "-") in text
        assert " ".join(metadata["help"].split()) in text.replace("- ", "-") or metadata["help"][:20] in text
        assert default is None or isinstance(default, bool) or f"default {default}" in text


def test_what_is_not_given_is_not_there():
    assert given(parser().parse_args([]), PipelineConfig()) == {}


def test_what_is_given_has_its_type_and_its_dotted_name():
    words = "--turns-onset 0.6 --clustering-min-cluster-size 5 --embedding-rows chunks --clustering-Fa 1".split()
    values = given(parser().parse_args(words), PipelineConfig())
    assert values == {
        "turns.onset": 0.6,
        "clustering.min_cluster_size": 5,
        "embedding.rows": "chunks",
        "clustering.Fa": 1.0,
    }
    assert isinstance(values["clustering.Fa"], float)
    assert replace_from(PipelineConfig(), values).turns.onset == 0.6


def test_a_switch_sets_true_and_the_prefix_can_go():
    made = parser(RuntimeConfig(), prefix=False)
    assert given(made.parse_args(["--offline", "--num-threads", "3"]), RuntimeConfig()) == {
        "offline": True,
        "num_threads": 3,
    }
    assert given(made.parse_args([]), RuntimeConfig()) == {}


@pytest.mark.parametrize("words", [["--turns-onset", "high"], ["--clustering-min-cluster-size", "1.5"], ["--turns"]])
def test_what_cannot_be_is_a_usage_error(words):
    with pytest.raises(SystemExit) as caught, contextlib.redirect_stderr(io.StringIO()):
        parser().parse_args(words)
    assert caught.value.code == 2


def test_lists_are_parted_by_commas_and_what_is_on_can_be_turned_off():
    made = parser(NemoStyleConfig())
    words = ["--speaker-embeddings-window-length-in-sec", "1.5,1,0.5", "--no-vad-filter-speech-first"]
    assert given(made.parse_args(words), NemoStyleConfig()) == {
        "speaker_embeddings.window_length_in_sec": [1.5, 1.0, 0.5],
        "vad.filter_speech_first": False,
    }
