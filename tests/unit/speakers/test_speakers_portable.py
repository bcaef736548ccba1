"""A gallery as text: the round trip is exact, and what is no gallery is refused with its place."""

import json

import numpy as np
import pytest

from diarist.errors import FormatError
from diarist.speakers import portable
from diarist.speakers.gallery import Gallery, Person
from diarist.speakers.voices import Voice


def people(num=3):
    rng = np.random.default_rng(0)
    return [
        Person(
            f"Pérson {i}",
            tuple(
                Voice(rng.standard_normal(32).astype("f4"), 3.7 * (j + 1), "m int8", 0.75, f"r{j}") for j in range(2)
            ),
            ("2026-11-20T10:00:00+00:00", "2026-11-21T10:00:00+00:00"),
        )
        for i in range(num)
    ]


def test_from_gallery_to_gallery(tmp_path):
    one, other = Gallery(tmp_path / "one"), Gallery(tmp_path / "other")
    one.add_people(people())
    text = portable.dumps(one.people())
    assert other.add_people(portable.loads(text, "x.json")) == 6
    assert portable.dumps(other.people()) == text
    assert other.add_people(portable.loads(text, "x.json")) == 0
    for a, b in zip(one.people(), other.people(), strict=True):
        assert (a.name, a.enrolled) == (b.name, b.enrolled)
        assert [v.embedding.tobytes() for v in a.voices] == [v.embedding.tobytes() for v in b.voices]


def test_an_empty_one():
    assert portable.loads(portable.dumps([]), "x") == []


CHANGES = {
    "schema": lambda d: d.update(schema="diarist/1"),
    "model": lambda d: d.update(model=3),
    "people": lambda d: d.update(people={}),
    "person": lambda d: d["people"].insert(1, "Bo"),
    "name": lambda d: d["people"][1].update(name=5),
    "no name": lambda d: d["people"][1].update(name=" "),
    "anonymous": lambda d: d["people"][1].update(name="SPEAKER_03"),
    "no voice": lambda d: d["people"][1].update(voices=[]),
    "voice": lambda d: d["people"][1]["voices"].append(None),
    "embedding": lambda d: d["people"][1]["voices"][1].update(embedding=[]),
    "text": lambda d: d["people"][1]["voices"][1].update(embedding=["a"]),
    "nan": lambda d: d["people"][1]["voices"][1].update(embedding=[float("nan")] * 32),
    "huge": lambda d: d["people"][1]["voices"][1].update(embedding=[1e300] * 32),
    "integer": lambda d: d["people"][1]["voices"][1].update(embedding=[10**400] * 32),
    "zero": lambda d: d["people"][1]["voices"][1].update(embedding=[0] * 32),
    "seconds": lambda d: d["people"][1]["voices"][1].pop("seconds"),
    "negative": lambda d: d["people"][1]["voices"][1].update(seconds=-1),
    "quality": lambda d: d["people"][1]["voices"][1].update(quality="good"),
    "source": lambda d: d["people"][1]["voices"][1].update(source=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_gallery(change):
    document = json.loads(portable.dumps(people()))
    CHANGES[change](document)
    with pytest.raises(FormatError, match=r"x\.json") as caught:
        portable.loads(json.dumps(document), "x.json")
    assert len(str(caught.value).splitlines()) == 1
    if change not in ("schema", "model", "people"):
        assert "people[1]" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_what_is_no_json(text):
    with pytest.raises(FormatError):
        portable.loads(text, "x.json")
