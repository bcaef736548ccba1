"""What may be tuned, and between which bounds."""

from __future__ import annotations

import pytest

from diarist.core.config import replace_from, to_dict, walk
from diarist.errors import ConfigError, UsageError
from diarist.evaluation.tune_space import Parameter, changed, parameters, starting
from diarist.pipelines.config import METHODS, PipelineConfig

BASE = PipelineConfig()
TURNS = ["turns.onset", "turns.offset", "turns.overlap_onset", "turns.min_duration_on", "turns.min_duration_off"]


def names(base, *arguments):
    return [parameter.name for parameter in parameters(base, *arguments)[0]]


def base(**changes):
    return replace_from(BASE, {name.replace("__", "."): value for name, value in changes.items()})


def test_default_is_what_the_method_uses():
    vbx = [f"clustering.{name}" for name in ("threshold", "min_cluster_size", "Fa", "Fb")]
    assert names(BASE) == vbx + TURNS
    assert names(base(clustering__method="agglomerative")) == vbx[:2] + TURNS
    assert names(base(clustering__method="nme-sc")) == ["clustering.max_ties", *TURNS]
    assert names(base(turns__count="mean")) == vbx + TURNS[-2:]
    assert names(base(embedding__model="my-own.onnx")) == TURNS  # its clustering is not the one configured


@pytest.mark.parametrize("method", METHODS)
def test_ranges_of_the_fields_are_taken(method):
    fields = {name: (value, metadata) for name, value, metadata in walk(BASE)}
    for parameter in parameters(base(clustering__method=method))[0]:
        value, metadata = fields[parameter.name]
        assert (parameter.low, parameter.high) == metadata["tune"]
        assert parameter.kind == type(value).__name__


def test_names_short_and_long():
    assert names(BASE, ["Fb", "turns.onset"]) == ["clustering.Fb", "turns.onset"]
    with pytest.raises(ConfigError, match=r"could be segmentation.model or embedding.model"):
        names(BASE, ["model"])
    with pytest.raises(ConfigError, match=r"unknown parameter 'treshold'; did you mean 'threshold'"):
        names(BASE, ["treshold"])


def test_ranges_add_and_narrow():
    assert names(BASE, ["threshold"], {"loop": "0.5:0.99"}) == ["clustering.threshold", "clustering.loop"]
    found, remarks = parameters(BASE, ["Fb"], {"Fb": "5:20:log"})
    assert found == [Parameter("clustering.Fb", "float", 5.0, 20.0, log=True)] and not remarks
    assert parameters(BASE, None, {"min_cluster_size": "2:4"})[0][1] == Parameter(
        "clustering.min_cluster_size", "int", 2, 4
    )
    assert parameters(BASE, ["step"], {"segmentation.step": "2.5,5"})[0][0].choices == (2.5, 5.0)
    found, _ = parameters(BASE, ["method"], {"method": "nme-sc,vbx-windows"})
    assert found[0].choices == ("nme-sc", "vbx-windows")


def test_a_range_is_widened_to_the_value_at_the_start():
    found, remarks = parameters(BASE, ["Fb"], {"Fb": "12:20"})
    assert (found[0].low, found[0].high) == (BASE.clustering.Fb, 20.0)
    assert "widened" in remarks[0]
    found, remarks = parameters(BASE, ["method"], {"method": "nme-sc,agglomerative"})
    assert found[0].choices == ("vbx-windows", "nme-sc", "agglomerative") and remarks
    with pytest.raises(UsageError, match="no log range can hold"):
        parameters(BASE, None, {"min_duration_on": "0.1:1:log"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Fb", "5:", "is no range"),
        ("Fb", "a:b", "is no range"),
        ("Fb", "5:6:7", "is no range"),
        ("Fb", "20:5", "LOW must be below HIGH"),
        ("Fb", "0:5:log", "above 0"),
        ("Fb", "-5:5", "must be >= 0"),
        ("threshold", "0.1:9", "must be between"),
        ("Fb", "a,b", "cannot be 'a'"),
        ("Fb", ",", "is no range"),
        ("method", "a:b", "is no range"),
        ("method", "vbx,magic", "cannot be 'magic'"),
        ("segmentation.step", "1:5", "give a few values"),
        ("nothing", "1:5", "unknown parameter"),
    ],
)
def test_bad_ranges(name, text, message):
    with pytest.raises(UsageError, match=message):
        parameters(BASE, None, {name: text})


def test_a_field_without_a_range_asks_for_one():
    with pytest.raises(UsageError, match=r"no range of its own: add --range clustering.loop=LOW:HIGH"):
        parameters(BASE, ["loop"])


def test_what_is_not_tuned_stays():
    start = base(segmentation__step=5.0, embedding__hop=0.3, turns__onset=0.61234567)
    chosen, _ = parameters(start, ["Fb", "onset"])
    assert starting(start, chosen) == {"clustering.Fb": 11.0, "turns.onset": 0.61234567}
    after = changed(start, {"clustering.Fb": 7.0, "turns.onset": 0.4})
    expected = to_dict(start)
    expected["clustering"]["Fb"], expected["turns"]["onset"] = 7.0, 0.4
    assert to_dict(after) == expected


def test_values_have_four_digits_and_stay_inside():
    parameter = Parameter("x", "float", 0.123456, 0.98765432)
    assert parameter.value(0.55555555) == 0.5556
    assert parameter.value(0.1234561) == 0.1235
    assert parameter.value(0.98765432) == 0.98765432
