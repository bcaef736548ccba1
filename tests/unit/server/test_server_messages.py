"""Each message as the protocol has it."""

import base64
import json

import numpy as np
import pytest

from diarist.core.types import Diarization, Turn, Update
from diarist.server import messages
from diarist.server.messages import CLOSE_CODES, FIRST, LATER, Ack, End, Hello, Refusal, Resume, parse


def refused(text, known=FIRST):
    with pytest.raises(Refusal) as error:
        parse(text if isinstance(text, str) else json.dumps(text), known, first=known is FIRST)
    assert "\n" not in str(error.value)
    return error.value.code, str(error.value)


def test_a_hello_has_defaults_and_says_how_large_a_sample_is():
    hello = parse('{"type": "hello", "version": 1}', FIRST, first=True)
    assert hello == Hello() and (hello.sample_rate, hello.frame_size, hello.changes) == (16_000, 2, {})
    hello = parse(json.dumps({"type": "hello", "version": 1, "encoding": "f32", "channels": 3}), FIRST, first=True)
    assert hello.frame_size == 12


def test_a_hello_says_what_of_the_configuration_it_wants():
    wanted = {"latency": "max", "tau_active": 0.4, "max_speakers": 3}
    hello = parse(json.dumps({"type": "hello", "version": 1, **wanted}), FIRST, first=True)
    assert hello.changes == wanted


def test_resume_end_and_ack():
    values = {"id": "a", "secret": "b", "updates": 7}
    assert parse(json.dumps({"type": "resume", "version": 1, **values}), FIRST, first=True) == Resume(**values)
    assert parse('{"type": "end"}', LATER, first=False) == End()
    assert parse('{"type": "ack", "updates": 3}', LATER, first=False) == Ack(3)


@pytest.mark.parametrize("version", [None, 0, 2, "1", [1]])
def test_another_version_is_refused(version):
    code, message = refused({"type": "hello", "version": version})
    assert code == "unsupported_version" and "'version' must be 1" in message


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"sample_rate": 7999}, "sample_rate"),
        ({"sample_rate": 192_001}, "sample_rate"),
        ({"sample_rate": 16000.5}, "sample_rate"),
        ({"encoding": "mp3"}, "encoding"),
        ({"channels": 0}, "channels"),
        ({"channels": 17}, "channels"),
        ({"output": "xml"}, "output"),
        ({"kind": "song"}, "kind"),
        ({"uri": ""}, "uri"),
        ({"uri": " "}, "uri"),
        ({"uri": "a\tb"}, "uri"),
        ({"uri": "x" * 201}, "uri"),
        ({"uri": 7}, "uri"),
        ({"token": 7}, "token"),
        ({"sampel_rate": 8000}, "did you mean 'sample_rate'"),
        ({"segmentation": "/etc/passwd"}, "unknown key"),
    ],
)
def test_a_hello_that_cannot_be_is_refused(values, word):
    code, message = refused({"type": "hello", "version": 1, **values})
    assert code == "bad_hello" and word in message


@pytest.mark.parametrize(
    "text", ["", "hello", "{", '{"type": "hello", "version": 1, "latency": Infinity}', "[" * 50_000]
)
def test_what_is_no_json_is_refused(text):
    code, message = refused(text)
    assert code == "bad_json" and len(message) < 200


@pytest.mark.parametrize(
    "text", ["[]", "1", "null", '"hello"', "{}", '{"type": 1}', '{"type": "helo"}', '{"type": "end"}']
)
def test_what_is_no_message_is_refused(text):
    assert refused(text)[0] == "bad_hello"
    assert refused(text.replace("end", "hello"), LATER)[0] == "bad_message"


def test_every_refusal_has_a_close_code_that_a_socket_takes():
    for code in CLOSE_CODES:
        assert Refusal(code, "why").close_code in {1000, 1003, 1007, 1009, 1011, 1012, 1013} | set(range(4000, 5000))


def test_an_update_is_rounded_and_has_the_session_at_the_end():
    numpy_turn = Turn(np.float32(0.1), np.float64(1 / 3), "speaker0", np.float32(0.98765))
    said = Update((numpy_turn,), (), 1.0, 0.5, {"speaker1": "speaker0"}, Diarization((numpy_turn,), "me"))
    message = json.loads(messages.update("me", 3, said))
    assert message["final"] == [{"start": 0.1, "end": 0.333333, "speaker": "speaker0", "confidence": 0.9876}]
    assert (message["type"], message["seq"], message["renamed"]) == ("update", 3, {"speaker1": "speaker0"})
    assert message["session"]["uri"] == "me" and message["session"]["turns"] == message["final"]


def test_lines_of_rttm_tell_who_was_renamed():
    said = Update((Turn(0.5, 1.0, "speaker0"),), (), 1.0, 1.0, {"speaker1": "speaker0"})
    assert messages.rttm("a b", said) == (
        ";; renamed speaker1 speaker0\nSPEAKER a_b 1 0.500 0.500 <NA> <NA> speaker0 <NA> <NA>\n"
    )
    assert messages.rttm("a", Update((), (), 1.0)) == ""


def test_diarts_base64():
    samples = np.arange(5, dtype="<f4")
    assert messages.from_base64(base64.b64encode(samples.tobytes()).decode()) == samples.tobytes()
    for text in ("é", "AAA", "A"):
        with pytest.raises(Refusal, match="neither a hello nor"):
            messages.from_base64(text)
