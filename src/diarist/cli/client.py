"""`diarist client SOURCE`: has a server diarize a stream, and shows what it says."""

from __future__ import annotations

import argparse
import ssl
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.flags import number_or_word
from diarist.cli.live_flags import KINDS
from diarist.cli.serve import TOKEN_VARIABLE, token_of
from diarist.cli.stream import FORMATS
from diarist.errors import DiaristError, UsageError

if TYPE_CHECKING:
    from diarist.core.protocols import Sink
    from diarist.core.types import Update

HELP = "have a server diarize a recording or a live source"
CHOICES = ("preset", "latency", "tau_active", "rho_update", "delta_new", "max_speakers")
_DECLARED = ("-",)  # sources whose sample rate the command line says


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s SOURCE [--host HOST] [--port PORT] [options]"
    parser.add_argument("source", metavar="SOURCE", help="a recording, microphone, microphone:2, -, or a URL")
    parser.add_argument("--host", default="127.0.0.1", help="of the server. Default 127.0.0.1")
    parser.add_argument("--port", type=int, default=7007, help="of the server. Default 7007")
    parser.add_argument("--step", type=float, default=0.5, metavar="SECONDS", help="sound in a message. Default 0.5")
    parser.add_argument(
        "-sr",
        "--sample-rate",
        type=int,
        default=16_000,
        metavar="HZ",
        help="samples per second that are sent, or that plain samples from - have. Default 16000",
    )
    parser.add_argument("--encoding", default="s16le", metavar="NAME", help="of plain samples from -. Default s16le")
    parser.add_argument("--num-channels", type=int, default=1, metavar="N", help="of plain samples from -. Default 1")
    parser.add_argument(
        "-o",
        "--output-file",
        type=Path,
        metavar="FILE",
        help="write RTTM while the stream runs, and at its end all of it clustered anew; .jsonl for every update",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="on standard output: console (lines; the default on a terminal), rttm (each turn once it is settled; the "
        "default elsewhere), jsonl (every update)",
    )
    parser.add_argument("--real-time", action="store_true", help="send a recording as fast as it was spoken")
    parser.add_argument("--uri", help="name of the stream in the answer; default: the source's")
    parser.add_argument(
        "--patience", type=float, default=60.0, metavar="SECONDS", help="to open a lost line. Default 60"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors on standard error")
    access = parser.add_argument_group("coming in")
    access.add_argument("--token", help="that the server asks for; others see it in the list of processes")
    access.add_argument("--token-file", type=Path, metavar="FILE", help=f"read it from a file (or ${TOKEN_VARIABLE})")
    access.add_argument("--tls", action="store_true", help="the server speaks TLS (wss)")
    access.add_argument("--tls-ca", type=Path, metavar="FILE", help="trust this certificate (PEM); implies --tls")
    access.add_argument("--insecure", action="store_true", help="trust any certificate; implies --tls")
    answer = parser.add_argument_group("the answer, as far as the server lets us choose")
    answer.add_argument("--preset", metavar="NAME", help="a live preset")
    answer.add_argument(
        "--pipeline", choices=KINDS, metavar="NAME", help="diarization: who speaks; speech: whether somebody does"
    )
    answer.add_argument(
        "--latency", type=number_or_word, metavar="SECONDS", help="from a sound to its final answer; min or max"
    )
    answer.add_argument("--tau-active", type=float, metavar="T", help="who is likelier than this talks")
    answer.add_argument("--rho-update", type=float, metavar="T", help="share of a look that moves a centre")
    answer.add_argument("--delta-new", type=float, metavar="T", help="distance from which a voice is new")
    answer.add_argument("--max-speakers", type=int, metavar="N", help="at most so many")


def run(args: argparse.Namespace) -> int:
    """Send the source, print what is said as it comes: 0, or 128 and the number of the signal that ended the source.

    Raises `DiaristError`.
    """
    from diarist.audio.sources import open_source
    from diarist.audio.sources.blocks import resample
    from diarist.audio.sources.opening import SourceOptions
    from diarist.cli.stopping import Stopper
    from diarist.core.time import SAMPLE_RATE
    from diarist.pipelines.flow import close_all
    from diarist.server.client import LiveClient

    pace = 1.0 if args.real_time else None
    raw = SourceOptions(args.sample_rate, args.encoding, args.num_channels, pace, args.step)
    source = open_source(args.source, raw)
    rate = SAMPLE_RATE if args.source in _DECLARED else args.sample_rate
    uri = args.uri or source.uri
    client = LiveClient(
        _url(args),
        uri=uri,
        sample_rate=rate,
        token=token_of(args),
        tls=_tls(args),
        options=_options(args),
        patience=args.patience,
        warned=lambda message: _note(args, message),
    )
    sinks = _sinks(args, uri)
    try:
        with Stopper(client.stop) as stopper:
            blocks = resample(iter(source), SAMPLE_RATE, rate)
            client.run(blocks, lambda update: _write(update, sinks), live=source.live or args.real_time)
    finally:
        source.close()
        close_all(sinks)
    for warning in (*source.warnings, *(client.answer.warnings if client.answer else ())):
        _note(args, f"warning: {uri}: {warning}")
    return stopper.exit_code


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """What the hello asks for."""
    options = {name: value for name in CHOICES if (value := getattr(args, name)) is not None}
    return options if args.pipeline is None else {**options, "kind": KINDS[args.pipeline]}


def _sinks(args: argparse.Namespace, uri: str) -> list[Sink]:
    """Standard output and, where one is wanted, the file."""
    from diarist.audio.sinks import ConsoleLines, JsonLines, RttmLines, RttmWriter

    sinks: list[Sink] = []
    path: Path | None = args.output_file
    if path is not None:
        sinks.append(JsonLines(uri, path) if path.suffix.lower() == ".jsonl" else RttmWriter(uri, path))
    format = args.format or ("console" if sys.stdout.isatty() else "rttm")
    if format == "console":
        sinks.append(ConsoleLines(sys.stdout))
    else:
        sinks.append(RttmLines(uri, sys.stdout) if format == "rttm" else JsonLines(uri, sys.stdout))
    return sinks


def _write(update: Update, sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        sink.write(update)


def _note(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(f"diarist: {text}", file=sys.stderr)


def _url(args: argparse.Namespace) -> str:
    if not 0 < args.port < 65536:
        raise UsageError(f"a port is a number from 1 to 65535, not {args.port}")
    scheme = "wss" if args.tls or args.tls_ca or args.insecure else "ws"
    host = args.host.strip("[]")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{args.port}/v1/stream"


def _tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    if args.insecure:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    if args.tls_ca is not None:
        try:
            return ssl.create_default_context(cafile=args.tls_ca)
        except OSError as error:  # ssl.SSLError is one
            raise DiaristError(f"cannot use the certificate '{args.tls_ca}': {error.strerror or error}") from error
    return ssl.create_default_context() if args.tls else None
