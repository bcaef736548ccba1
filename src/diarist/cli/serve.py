"""`diarist serve`: live diarization for many clients over web sockets, and of whole recordings that are posted.

The protocol: `docs/guide/server.md`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.engine_flags import add_answers, diarizer_of
from diarist.cli.flags import add_config, flag_of, given
from diarist.cli.live_flags import KINDS, add_config_flags, add_pipeline, config_of, runtime_of
from diarist.core.config import replace_from, walk
from diarist.engines import DEFAULT, ENGINES, engine
from diarist.errors import DiaristError, ExtraError, UsageError
from diarist.models.backends import missing
from diarist.pipelines.live_config import LiveConfig
from diarist.server.limits import Limits

if TYPE_CHECKING:
    from diarist.pipelines.method import Method
    from diarist.server.hub import Hub

HELP = "diarization for many clients: live over web sockets, of whole recordings over HTTP"
TOKEN_VARIABLE = "DIARIST_TOKEN"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s [--host HOST] [--port PORT] [options]"
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all. Default 127.0.0.1")
    parser.add_argument("--port", type=int, default=7007, help="port; 0 for a free one. Default 7007")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write the RTTM of each session into DIR")
    add_pipeline(parser)
    posted = parser.add_argument_group("whole recordings, posted to /v1/recordings")
    posted.add_argument(
        "--engine",
        metavar="NAME",
        default=DEFAULT,
        help=f"who hears them: {', '.join(ENGINES)}. Another than {DEFAULT} takes no live streams",
    )
    posted.add_argument("--engine-preset", metavar="NAME", help="its preset, as of 'diarist run'")
    posted.add_argument("--engine-preset-file", metavar="FILE", help="a TOML or JSON file of values on top of that")
    parser.add_argument("--fixed", action="store_true", help="clients may not choose preset, kind, latency, thresholds")
    access = parser.add_argument_group("who may come in")
    access.add_argument("--token", help="clients must show this token; others see it in the list of processes")
    access.add_argument("--token-file", type=Path, metavar="FILE", help=f"read it from a file (or ${TOKEN_VARIABLE})")
    access.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain (PEM): serve wss and https")
    access.add_argument("--tls-key", type=Path, metavar="FILE", help="its key (PEM), unless it is in the same file")
    access.add_argument(
        "--origins",
        nargs="+",
        default=[],
        metavar="URL",
        help="web pages that may connect, * for all; default: our own",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    add_config(parser, "limits of a client (seconds, bytes)", Limits())
    add_config_flags(parser)
    add_answers(parser, known=[name for name, _, _ in walk(LiveConfig())])


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then give every session its answer. Raises `DiaristError`."""
    from diarist.server.access import Access
    from diarist.server.extra import require
    from diarist.server.serving import Server, check_tls, listen

    require()
    logging.basicConfig(format="diarist: %(levelname)s: %(message)s", level=logging.WARNING)
    access = Access(token_of(args), args.origins)
    check_tls(args.tls_cert, args.tls_key)
    if not 0 <= args.port <= 65535:
        raise UsageError(f"a port is a number from 0 to 65535, not {args.port}")
    hub = _hub(args)
    server = Server(hub, access, certificate=args.tls_cert, key=args.tls_key, drain=hub.limits.drain)
    listening = listen(args.host, args.port)
    scheme = "ws" if args.tls_cert is None else "wss"
    host, port = listening[0].getsockname()[:2]
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/v1/stream"

    def started() -> None:
        if not args.quiet:
            print(f"diarist: listening on {address}", file=sys.stderr, flush=True)

    server.run(listening, started)
    return 0


def token_of(args: argparse.Namespace) -> str | None:
    """The token of the command line, a file, or the environment. Raises `UsageError`, `DiaristError`."""
    if args.token is not None and args.token_file is not None:
        raise UsageError("--token and --token-file: give one of them")
    if args.token_file is not None:
        try:
            return str(args.token_file.read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:
            raise DiaristError(f"cannot read the token from '{args.token_file}': {error}") from error
    token = args.token if args.token is not None else os.environ.get(TOKEN_VARIABLE)
    return token or None


def _hub(args: argparse.Namespace) -> Hub:
    """Models loaded, the folder made."""
    from diarist.pipelines.workers import threads_of
    from diarist.server.engines import Engines
    from diarist.server.hub import Hub
    from diarist.server.metrics import Metrics
    from diarist.server.recordings import Recordings

    metrics = Metrics()
    limits = replace_from(Limits(), given(args, Limits()))
    runtime, config = runtime_of(args), config_of(args)
    recordings = Recordings(_method(args), args.engine, limits)
    if args.output is not None:
        try:
            args.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiaristError(f"cannot make the folder '{args.output}': {error.strerror}") from error
    engines = Engines(config, kind=KINDS[args.pipeline], runtime=runtime, fixed=args.fixed)
    if args.engine == DEFAULT:  # the live pipeline; others hear whole recordings only
        engines.load()
    threads = threads_of(runtime.num_threads)
    return Hub(engines, limits, metrics, num_workers=threads, output=args.output, recordings=recordings)


def _method(args: argparse.Namespace) -> Method[Any]:
    """What hears recordings that are posted; its models are loaded when the first one comes. Raises `UsageError`, and
    `ExtraError` where its package is missing."""
    asked = argparse.Namespace(
        **{**vars(args), "preset": args.engine_preset, "preset_file": args.engine_preset_file},
        **{"vad": None, "manifest": None, "accept_licence": False, "channels_are_speakers": False},
    )
    chosen = engine(args.engine)
    if chosen.name != DEFAULT:
        of_both = {name for one in ENGINES.values() for name, _, _ in walk(one.config())}
        for name in sorted(given(args, LiveConfig()).keys() - of_both):
            raise UsageError(f"{flag_of(name)} is of the live pipeline: leave out --engine")
    made = diarizer_of(asked)
    absent = missing(chosen.extra)
    if absent and not str(getattr(getattr(made.config, "network", None), "model", "")).endswith(".onnx"):
        raise ExtraError(absent[0], str(chosen.extra), f"the engine '{chosen.name}'")
    return made
