"""Every error is a line and an exit code; a usage error names what is near."""

import errno
import io
import sys
from types import SimpleNamespace

import pytest

from diarist.cli import main as module
from diarist.cli.main import COMMANDS, main
from diarist.errors import (
    AudioError,
    Cancelled,
    ConfigError,
    DiaristError,
    ExtraError,
    InputError,
    ModelFileError,
    UsageError,
    WeightsError,
)


def failing(monkeypatch, error):
    """`diarist run` ends in that error."""

    def run(args):
        raise error

    fake = SimpleNamespace(HELP="fails", configure=lambda parser: None, run=run)
    monkeypatch.setattr(module.importlib, "import_module", lambda name: fake)
    return main(["run"])


@pytest.mark.parametrize(
    "error, code",
    [
        (InputError("x"), 1),
        (AudioError("x"), 1),
        (DiaristError("x"), 1),
        (UsageError("x"), 2),
        (ConfigError("x"), 2),
        (WeightsError("x"), 3),
        (ModelFileError("x"), 1),
        (ExtraError("matplotlib", "plot", "a plot"), 3),
        (Cancelled("x"), 130),
        (OSError(errno.ENOSPC, "No space left on device", "a.rttm"), 1),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(monkeypatch, capsys, error, code):
    assert failing(monkeypatch, error) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("diarist: error: ")
    if isinstance(error, OSError) and not isinstance(error, DiaristError):
        assert err == "diarist: error: No space left on device 'a.rttm'\n"


def test_a_message_of_several_lines_becomes_one(monkeypatch, capsys):
    failing(monkeypatch, InputError("first\n  second\tthird"))
    assert capsys.readouterr().err == "diarist: error: first second third\n"


def test_an_interrupt_is_told_and_130(monkeypatch, capsys):
    assert failing(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "diarist: interrupted\n"


def test_a_bug_is_not_hidden(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        failing(monkeypatch, ZeroDivisionError())


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["run"], ["run", "x.wav", "--nonsense"]])
def test_a_call_that_cannot_be_is_usage(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    err = capsys.readouterr().err
    assert caught.value.code == 2 and "error: " in err and len(err.splitlines()) <= 3


def test_flags_are_not_guessed_from_their_beginning(capsys):
    """`--num 2` may mean something else tomorrow."""
    with pytest.raises(SystemExit):
        main(["run", "x.wav", "--num", "2"])


def test_version_and_help(capsys):
    for words in (["--version"], ["--help"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("diarist 0.") and all(f"\n    {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    out = capsys.readouterr().out
    assert caught.value.code == 0 and out.startswith(f"usage: diarist {command}") and "exit codes" in out


def test_a_name_that_the_output_cannot_carry_is_no_traceback(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    fake = SimpleNamespace(HELP="", configure=lambda parser: None, run=lambda args: print("ré\udce9\U0001f600") or 0)
    monkeypatch.setattr(module.importlib, "import_module", lambda name: fake)
    assert main(["run"]) == 0
    sys.stdout.flush()
    assert written.getvalue() == rb"r\xe9\udce9\U0001f600" + b"\n"
