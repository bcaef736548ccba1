"""The table of engines."""

from __future__ import annotations

import inspect

import pytest

from diarist.core.config import walk
from diarist.engines import DEFAULT, ENGINES, engine
from diarist.errors import ConfigError, UsageError
from diarist.pipelines.offline import Diarizer

FACE = list(inspect.signature(Diarizer.__call__).parameters)


def test_an_unknown_engine_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'clustering'"):
        engine("clustring")


def test_the_default_is_clustering():
    assert DEFAULT == "clustering"


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_what_the_table_says(name):
    one = engine(name)
    assert one.name == name
    assert one.default in one.presets
    for preset in one.presets:
        assert isinstance(one.resolve(preset, None, None), one.config)
        assert one.presets[preset].name == preset
        assert one.presets[preset].summary
    with pytest.raises(ConfigError, match="unknown key"):
        one.resolve(one.default, None, {"no.such": 1})
    with pytest.raises(UsageError, match="unknown preset"):
        one.resolve("no-such-preset", None, None)
    assert all(isinstance(weights, str) for weights in one.weights(one.resolve(one.default, None, None)))


@pytest.mark.parametrize("name", ["clustering", "nemo-style"])
def test_build_takes_a_whole_configuration_or_changes(name):
    one = engine(name)
    path = next(path for path, value, _ in walk(one.config()) if path.endswith("precision"))
    built = one.build(config={path: "float32"})
    assert built.preset == one.default
    assert dict((p, v) for p, v, _ in walk(built.config))[path] == "float32"
    assert one.build(config=built.config).config == built.config
    assert list(inspect.signature(type(built).__call__).parameters)[: len(FACE)] == FACE
