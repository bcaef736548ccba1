"""`diarist client SOURCE`: has a server diarize a stream, and shows what it says."""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.serve import TOKEN_VARIABLE, token_of
from diarist.core.types import Diarization, Update
from diarist.errors import DiaristError, UsageError
from diarist.pipelines.live_config import KINDS

if TYPE_CHECKING:
    from diarist.server.client import LiveClient

HELP = "have a server diarize a recording or a live source"
FORMATS = ("rttm", "json")
CHOICES = ("preset", "kind", "latency", "tau_active", "rho_update", "delta_new", "max_speakers")


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
    parser.add_argument("-o", "--output-file", type=Path, metavar="FILE", help="write the answer to a file at the end")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="of the answer. Default rttm")
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
    answer.add_argument("--kind", choices=KINDS, help="who speaks when, or only when somebody does")
    answer.add_argument("--latency", metavar="SECONDS", help="from a sound to its final answer; min or max")
    answer.add_argument("--tau-active", type=float, metavar="T", help="who is likelier than this talks")
    answer.add_argument("--rho-update", type=float, metavar="T", help="share of a look that moves a centre")
    answer.add_argument("--delta-new", type=float, metavar="T", help="distance from which a voice is new")
    answer.add_argument("--max-speakers", type=int, metavar="N", help="at most so many")


def run(args: argparse.Namespace) -> int:
    """Send the source, print finals as they come, write the answer at the end. Raises `DiaristError`."""
    from diarist.audio.sources import open_source
    from diarist.audio.sources.blocks import resample
    from diarist.audio.sources.opening import SourceOptions
    from diarist.core.time import SAMPLE_RATE
    from diarist.server.client import LiveClient

    pace = 1.0 if args.real_time else None
    source = open_source(args.source, SourceOptions(sample_rate=args.sample_rate, pace=pace, block=args.step))
    rate = SAMPLE_RATE if args.source == "-" else args.sample_rate
    blocks: Iterable[Any] = resample(iter(source), SAMPLE_RATE, rate)
    uri = args.uri or source.uri
    client = LiveClient(
        _url(args),
        uri=uri,
        sample_rate=rate,
        token=token_of(args),
        tls=_tls(args),
        options={name: value for name in CHOICES if (value := getattr(args, name)) is not None},
        patience=args.patience,
        warned=lambda message: None if args.quiet else print(f"diarist: {message}", file=sys.stderr),
    )
    shown = _Shown(uri, args)
    try:
        with _interruptible(client):
            client.run(blocks, shown, live=source.live or args.real_time)
    finally:
        source.close()
        shown.end(client.answer)
    return 0


class _Shown:
    """Prints what is final as it comes, and keeps it for the file."""

    def __init__(self, uri: str, args: argparse.Namespace) -> None:
        self._uri, self._format, self._file = uri, args.format, args.output_file
        self._final: list[Any] = []
        self._seq = 0

    def __call__(self, update: Update) -> None:
        from diarist.server import messages

        self._final += update.final
        self._seq += 1
        text = messages.update(self._seq, update) + "\n" if self._format == "json" else messages.rttm(self._uri, update)
        sys.stdout.write(text)
        sys.stdout.flush()

    def end(self, answer: Diarization | None) -> None:
        """Write the file: the session clustered anew or, if it broke off, what was final."""
        from diarist import formats
        from diarist.pipelines.streaming import join

        if self._file is None or (answer is None and not self._final):
            return
        answer = answer or Diarization(join(self._final), self._uri)
        formats.write(answer, self._file, self._format)


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


@contextmanager
def _interruptible(client: LiveClient) -> Any:
    """The first Ctrl-C ends the source, and the answer still comes; the second ends us."""

    def interrupted(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        client.stop()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
