"""`diarist COMMAND ...`: finds the command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from diarist import __version__
from diarist.errors import Cancelled, DiaristError

COMMANDS = {
    "run": "diarist.cli.run",
    "stream": "diarist.cli.stream",
    "score": "diarist.cli.score",
    "benchmark": "diarist.cli.benchmark",
    "tune": "diarist.cli.tune",
    "simulate": "diarist.cli.simulate",
    "train": "diarist.cli.train",
    "speakers": "diarist.cli.speakers",
    "models": "diarist.cli.models",
    "convert": "diarist.cli.convert",
    "verify": "diarist.cli.verify",
    "engines": "diarist.cli.engines",
    "words": "diarist.cli.words",
    "score-words": "diarist.cli.score_words",
    "transcribe": "diarist.cli.transcribe",
    "serve": "diarist.cli.serve",
    "client": "diarist.cli.client",
}
"""Command to module; a module has `HELP`, `configure(parser)` and `run(args) -> exit code`."""

EPILOG = """exit codes: 0 done, 1 the input's fault, 2 the call's fault, 3 something missing (weights, an extra)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 done, 1 the input's fault, 2 usage, 3 something missing."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that its encoding lacks is no reason to fail
    try:
        module, args = _parse(arguments)
        return int(module.run(args))
    except DiaristError as error:
        print(f"diarist: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("diarist: interrupted", file=sys.stderr)
        return Cancelled.exit_code
    except BrokenPipeError:
        # whoever read our output has gone: nothing to say, and nowhere to say it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        place = f" '{error.filename}'" if error.filename else ""
        print(f"diarist: error: {error.strerror or error}{place}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str]) -> tuple[ModuleType, argparse.Namespace]:
    """The command's module, imported only if it is the one asked for, and its arguments."""
    parser = argparse.ArgumentParser(
        prog="diarist", description="Who spoke when, in any recording.", epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"diarist {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    listing = wanted is None and "--version" not in arguments  # only the list of commands needs them all
    module: ModuleType | None = None
    for name, path in COMMANDS.items():
        if name != wanted and not listing:
            commands.add_parser(name, add_help=False)
            continue
        found = importlib.import_module(path)
        command = commands.add_parser(name, help=found.HELP, description=found.HELP, epilog=EPILOG, allow_abbrev=False)
        if name == wanted:
            found.configure(command)
            module = found
    args = parser.parse_args(arguments)
    assert module is not None  # a command is required, and the parser knows no other
    return module, args


if __name__ == "__main__":
    raise SystemExit(main())
