from __future__ import annotations

import pytest

from diarist.core.config import from_dict, walk
from diarist.errors import ConfigError
from diarist.pix2seq.config import Config, DecodeConfig, ModelConfig, PromptConfig


def test_a_typo_is_an_error_that_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'model\.max_secs'; did you mean 'max_seconds'\?"):
        from_dict(Config, {"model": {"max_secs": 15}})


def test_nanodrz_s_silent_keys_are_errors() -> None:
    for key in ("scramble_labels", "interrupt_sec_mean"):
        with pytest.raises(ConfigError, match=key):
            from_dict(Config, {"data": {key: 1}})


def test_a_front_end_that_is_none() -> None:
    with pytest.raises(ConfigError, match="frontend"):
        from_dict(ModelConfig, {"frontend": "wav2vec"})


@pytest.mark.parametrize("kind", [Config, PromptConfig, DecodeConfig])
def test_every_value_says_what_it_is(kind: type) -> None:
    leaves = list(walk(kind()))
    assert leaves
    for name, _, metadata in leaves:
        assert metadata.get("help"), name
