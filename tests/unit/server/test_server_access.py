"""Who may come in."""

import pytest

from diarist.errors import UsageError
from diarist.server.access import Access


def test_without_a_token_everybody_may():
    assert Access().may(None) and Access().may("anything", "Bearer anything") and not Access().asks


@pytest.mark.parametrize(
    ("token", "header", "may"),
    [
        ("right", None, True),
        (None, "Bearer right", True),
        (None, "bearer  right ", True),
        ("wrong", "Bearer right", True),
        ("wrong", None, False),
        ("right ", None, False),
        ("", "", False),
        (None, None, False),
        (None, "right", False),
        (None, "Basic right", False),
        ("\ud800", None, False),
    ],
)
def test_with_one_only_who_has_it(token, header, may):
    assert Access("right").may(token, header) is may


@pytest.mark.parametrize("token", ["", "a b", "a\n", "é"])
def test_a_token_that_no_header_could_carry_is_refused(token):
    with pytest.raises(UsageError, match="a token is"):
        Access(token)


@pytest.mark.parametrize(
    ("origins", "origin", "admitted"),
    [
        ((), None, True),
        ((), "http://here:7007", True),
        ((), "https://HERE:7007", True),
        ((), "http://here", False),
        ((), "null", False),
        (("https://a.example",), "https://a.example", True),
        (("https://a.example/",), "https://A.example", True),
        (("https://a.example",), "http://a.example", False),
        (("https://a.example",), "https://a.example.evil.example", False),
        (("https://a.example",), "http://here:7007", False),
        (("https://a.example", "*"), "https://evil.example", True),
    ],
)
def test_origins(origins, origin, admitted):
    assert Access(None, origins).admits(origin, "here:7007") is admitted


@pytest.mark.parametrize("origin", ["a.example", "ftp://a", "https://", "https://a/b", "https://a?b"])
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(UsageError, match="an origin is like"):
        Access(None, [origin])
