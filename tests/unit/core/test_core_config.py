"""Configurations: plain values in, plain values out, and errors that name the key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.config import (
    dump_toml,
    fingerprint,
    from_dict,
    nearest,
    option,
    read_file,
    replace_from,
    to_dict,
    tomllib,
    walk,
)
from diarist.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Inner:
    threshold: float = option(0.5, "how near", low=0.0, high=1.0, tune=(0.1, 0.9))
    method: str = option("fast", "how", choices=("fast", "slow"))


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    number: int | None = option(None, "how many", low=1)
    sizes: tuple[int, ...] = (1, 2)
    flag: bool = False
    metric: Literal["cosine", "dot"] = "cosine"


def test_there_and_back() -> None:
    config = Outer(Inner(0.25, "slow"), 3, (4, 5), True, "dot")
    plain = {
        "inner": {"threshold": 0.25, "method": "slow"},
        "number": 3,
        "sizes": [4, 5],
        "flag": True,
        "metric": "dot",
    }
    assert to_dict(config) == plain
    assert from_dict(Outer, plain) == config
    assert from_dict(Outer, {}) == Outer()
    assert from_dict(Outer, tomllib.loads(dump_toml(plain))) == config


def test_dotted_and_nested_keys_mix() -> None:
    for values in (
        {"inner.threshold": 0.1, "inner.method": "slow"},
        {"inner": {"threshold": 0.1}, "inner.method": "slow"},
        {"inner.threshold": 0.1, "inner": {"method": "slow"}},
    ):
        assert from_dict(Outer, values).inner == Inner(0.1, "slow")


def test_only_what_is_given_changes() -> None:
    base = Outer(Inner(0.25), 3)
    assert replace_from(base, {"inner.method": "slow"}) == Outer(Inner(0.25, "slow"), 3)
    assert replace_from(base, {"number": None}).number is None
    assert replace_from(base, {"inner.threshold": 1}).inner.threshold == 1.0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"inner.treshold": 1}, "unknown key 'inner.treshold'; did you mean 'threshold'?"),
        ({"zzz": 1}, "unknown key 'zzz'; known: inner, number, sizes, flag, metric"),
        ({"inner": 5}, "'inner' must be a table"),
        ({"inner": {"threshold": 2}}, "'inner.threshold' must be between 0.0 and 1.0, not 2"),
        ({"inner.threshold": "much"}, "'inner.threshold' must be of type float, not 'much'"),
        ({"inner.threshold": True}, "must be of type float"),
        ({"inner.threshold": float("nan")}, "cannot be NaN"),
        ({"inner.method": "fats"}, "cannot be 'fats'; did you mean 'fast'?"),
        ({"number": 0}, "'number' must be >= 1, not 0"),
        ({"number": 1.5}, "'number' cannot be 1.5"),
        ({"number": True}, "'number' cannot be True"),
        ({"number.x": 1}, "'number' cannot be {'x': 1}"),
        ({"sizes": 3}, "'sizes' must be a list"),
        ({"sizes": ["a"]}, "'sizes' must be of type int"),
        ({"flag": 1}, "'flag' must be of type bool"),
        ({"metric": "euclidean"}, "'metric' cannot be 'euclidean'"),
        ({"inner": 5, "inner.threshold": 1}, "'inner' is given both"),
        ({"inner.threshold": 1, "inner": 5}, "'inner' is given both"),
        ([1], "must be a table"),
    ],
)
def test_what_cannot_be(values: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(Outer, values)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_walk_names_every_leaf() -> None:
    leaves = {name: (value, metadata) for name, value, metadata in walk(Outer())}
    assert list(leaves) == ["inner.threshold", "inner.method", "number", "sizes", "flag", "metric"]
    assert leaves["inner.threshold"][1]["tune"] == (0.1, 0.9)
    assert "log" in leaves["inner.threshold"][1]


def test_fingerprint_changes_with_any_value() -> None:
    prints = [fingerprint(Outer()), fingerprint(Outer(number=1)), fingerprint(Outer(Inner(0.4))), fingerprint({"a": 1})]
    prints += [fingerprint(Outer(), {"model": "x"}), fingerprint({"a": 1.5})]
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 16 for p in prints)
    assert fingerprint(Outer()) == fingerprint(to_dict(Outer()))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


leaf = st.one_of(
    st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.booleans(), st.text(st.characters(codec="utf-8"))
)
tables = st.recursive(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.one_of(leaf, st.lists(leaf, max_size=3))),
    lambda inner: st.dictionaries(st.text("ab.", min_size=1, max_size=3), st.one_of(leaf, inner), max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(tables)
def test_toml_round_trip(table: dict[str, Any]) -> None:
    assert tomllib.loads(dump_toml(table)) == table


def test_toml_leaves_none_out() -> None:
    assert tomllib.loads(dump_toml({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


class TestFiles:
    def test_toml_and_json(self, tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text("flag = true\n[inner]\nthreshold = 0.1\n")
        (tmp_path / "a.json").write_text('{"flag": true, "inner": {"threshold": 0.1}}')
        assert read_file(tmp_path / "a.toml") == read_file(str(tmp_path / "a.json"))

    @pytest.mark.parametrize(
        ("name", "content", "says"),
        [
            ("a.toml", b"flag = ", "is not valid toml"),
            ("a.json", b"{", "is not valid json"),
            ("a.toml", b"\xff", "is not valid toml"),
            ("a.json", b"[1]", "must hold a table"),
            ("a", b"= 1", "is not valid toml"),
        ],
    )
    def test_broken(self, tmp_path: Path, name: str, content: bytes, says: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_file(tmp_path / name)
        assert says in str(caught.value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
            read_file(tmp_path / "gone.toml")


def test_nearest() -> None:
    assert nearest("jsn", ["json", "csv"]) == "; did you mean 'json'?"
    assert nearest("qqq", ["json", "csv"]) == "; known: json, csv"
