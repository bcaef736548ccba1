"""The written protocol and the code say the same."""

import dataclasses
import json

import pytest

from diarist.core.types import Diarization, Turn, Update
from diarist.server import messages
from diarist.server.limits import HIGHEST_RATE, LOWEST_RATE, MOST_CHANNELS
from diarist.server.messages import CLOSE_CODES, FIRST, LATER, VERSION
from server_house import PROTOCOL, check, check_lines

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")

DOCUMENT = yaml.safe_load(PROTOCOL.read_text(encoding="utf-8"))
MESSAGES = DOCUMENT["components"]["messages"]


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere():
    found = set(references(DOCUMENT))
    assert len(found) > 20
    for reference in found:
        node = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_schemas_are_schemas_and_examples_follow_them():
    for message in MESSAGES.values():
        jsonschema.Draft202012Validator.check_schema(message["payload"])
        for example in message.get("examples", ()):
            check(example["payload"])


@pytest.mark.parametrize("name", [*FIRST, *LATER])
def test_what_a_client_may_say_is_what_is_read(name):
    fields = {field.name: field for field in dataclasses.fields({**FIRST, **LATER}[name])}
    schema = MESSAGES[name]["payload"]["properties"]
    assert set(schema) - {"type"} == set(fields)
    for key, field in fields.items():
        if field.default not in (None, "") and key != "version" and key not in MESSAGES[name]["payload"]["required"]:
            assert schema[key]["default"] == field.default
        for word in ("low", "high"):
            if word in field.metadata:
                assert schema[key][{"low": "minimum", "high": "maximum"}[word]] == field.metadata[word]
        if "choices" in field.metadata:
            assert schema[key]["enum"] == list(field.metadata["choices"])


def test_numbers_and_codes_agree():
    hello = MESSAGES["hello"]["payload"]["properties"]
    assert hello["version"] == {"const": VERSION}
    assert (hello["sample_rate"]["minimum"], hello["sample_rate"]["maximum"]) == (LOWEST_RATE, HIGHEST_RATE)
    assert hello["channels"]["maximum"] == MOST_CHANNELS
    assert DOCUMENT["info"]["version"].partition(".")[0] == str(VERSION)
    assert set(MESSAGES["error"]["payload"]["properties"]["code"]["enum"]) == set(CLOSE_CODES)
    table = {}
    for line in DOCUMENT["info"]["description"].splitlines():
        if line.startswith("| ") and line.split("|")[1].strip().isdigit():
            code, words = line.split("|")[1:3]
            for part in words.split(";"):
                table |= {word.strip(): int(code) for word in part.partition(":")[0].split(",")}
    assert table.pop("none") == 1000
    assert table == CLOSE_CODES


def test_what_the_server_says_follows_the_schemas():
    turn = Turn(0.5, 1.25, "speaker 0", 0.75)
    check(json.loads(messages.update("me", 1, Update((turn,), (), 2.0, 1.5, {"a": "b"}, Diarization((turn,))))))
    check(json.loads(messages.update("me", 1, Update((), (turn,), 2.0))))
    check(json.loads(messages.session_rttm(2, Diarization((turn,)))))
    check_lines(messages.rttm("a b", Update((turn, turn), (), 2.0, 1.5, {"a": "b"})))
    with pytest.raises(jsonschema.ValidationError):
        check({"type": "update", "seq": 0})
