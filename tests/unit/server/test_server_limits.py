"""Limits that make sense."""

import pytest

from diarist.core.config import from_dict
from diarist.errors import ConfigError
from diarist.server.limits import Limits


def test_a_warning_comes_before_the_cut():
    with pytest.raises(ConfigError, match=r"'warn_buffered' \(30\) must be less than 'max_buffered' \(10\)"):
        Limits(max_buffered=10.0)
    with pytest.raises(ConfigError, match="'warn_unread'"):
        Limits(warn_unread=30.0)


@pytest.mark.parametrize("values", [{"max_sessions": 0}, {"idle": 0.0}, {"grace": -1.0}, {"max_message": 10}])
def test_what_cannot_be(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        from_dict(Limits, values)


def test_eight_hours_fit():
    assert Limits().max_length > 8 * 3600
