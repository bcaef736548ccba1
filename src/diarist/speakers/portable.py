"""A gallery as a text file that can be carried to another machine: JSON, everything in it, nothing else.

{"schema": "diarist-gallery/1", "model": "campplus-zh-en int8", "people": [
  {"name": "Anna", "voices": [
    {"embedding": [...], "seconds": 31.5, "quality": 0.94, "source": "monday", "enrolled": "2026-11-20T10:00:00+00:00"}
  ]}
]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from diarist.errors import DiaristError, FormatError
from diarist.speakers.gallery import Person
from diarist.speakers.voices import Voice, checked_name

SCHEMA = "diarist-gallery/1"


def dumps(people: Sequence[Person]) -> str:
    """The whole of a gallery, a line for each person."""
    models = sorted({voice.model for person in people for voice in person.voices})
    assert len(models) <= 1  # a gallery has one
    lines = ",\n".join("    " + json.dumps(_person(person), ensure_ascii=False) for person in people)
    head = f'"schema": {json.dumps(SCHEMA)},\n  "model": {json.dumps(models[0] if models else None)}'
    return f'{{\n  {head},\n  "people": [\n{lines}\n  ]\n}}\n' if people else f'{{\n  {head},\n  "people": []\n}}\n'


def loads(text: str, name: str) -> list[Person]:
    """The people in a text that `dumps` made; `name` stands in messages. Raises `FormatError` for anything else."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"'{name}' is not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise FormatError(f"'{name}' is no exported gallery: its schema is not {SCHEMA!r}")
    people, model = document.get("people"), document.get("model")
    if not isinstance(people, list) or not (isinstance(model, str) or (model is None and not people)):
        raise FormatError(f"'{name}' lacks a 'model' or a list of 'people'")
    return [_read_person(item, str(model), f"'{name}': people[{index}]") for index, item in enumerate(people)]


def _person(person: Person) -> dict[str, Any]:
    voices = [
        {
            "embedding": [float(str(value)) for value in voice.embedding],  # the fewest digits that give it again
            "seconds": voice.seconds,
            "quality": voice.quality,
            "source": voice.source,
            "enrolled": date,
        }
        for voice, date in zip(person.voices, person.enrolled, strict=True)
    ]
    return {"name": person.name, "voices": voices}


def _read_person(item: Any, model: str, where: str) -> Person:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not isinstance(item.get("voices"), list):
        raise FormatError(f"{where} lacks a 'name' or a list of 'voices'")
    try:
        checked_name(item["name"])
    except DiaristError as error:
        raise FormatError(f"{where}: {error}") from error
    read = [_read_voice(one, model, f"{where}.voices[{index}]") for index, one in enumerate(item["voices"])]
    if not read:
        raise FormatError(f"{where} has no voice")
    return Person(item["name"], tuple(voice for voice, _ in read), tuple(date for _, date in read))


def _read_voice(item: Any, model: str, where: str) -> tuple[Voice, str]:
    if not isinstance(item, dict):
        raise FormatError(f"{where} is no table of values")
    vector = item.get("embedding")
    if not isinstance(vector, list) or not vector or not all(_is_number(value) for value in vector):
        raise FormatError(f"{where} lacks an 'embedding', a list of numbers")
    seconds: Any = item.get("seconds")
    quality: Any = item.get("quality", 1.0)
    source, enrolled = item.get("source", ""), item.get("enrolled", "")
    if not (_is_number(seconds) and _is_number(quality) and isinstance(source, str) and isinstance(enrolled, str)):
        raise FormatError(f"{where} must have numbers for 'seconds' and 'quality', texts for 'source' and 'enrolled'")
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which a voice refuses
            embedding = np.array(vector, np.float64).astype(np.float32)
        return Voice(embedding, float(seconds), model, float(quality), source), enrolled
    except (DiaristError, OverflowError, ValueError) as error:
        raise FormatError(f"{where}: {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
