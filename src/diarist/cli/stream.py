"""`diarist stream SOURCE`: who is speaking, while they speak.

Standard output carries the answer: lanes on a terminal, RTTM lines into a pipe, or what `--format` names. Ctrl-C ends
the stream, not the answer: what was heard is finished and written.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from diarist.cli.live_flags import add_config_flags, add_pipeline
from diarist.cli.stream_engine import add_engine, latency_of, live_of, weights_of
from diarist.errors import DiaristError, ExtraError, UsageError

if TYPE_CHECKING:
    from diarist.audio.sinks import Accumulator
    from diarist.audio.sources import BlockSource
    from diarist.core.protocols import Sink
    from diarist.pipelines.endtoend_live import LiveEndToEnd
    from diarist.pipelines.streaming import LiveDiarizer

HELP = "who is speaking, live: from a microphone, a file, a pipe, a web socket or a URL"
FORMATS = ("console", "rttm", "jsonl")
SUFFIXES = {".rttm": "rttm", ".jsonl": "jsonl"}
_SOURCES = (
    "a file; microphone, microphone:2 or microphone:NAME; - (samples or a container from standard input); "
    "ws://HOST:PORT (a web socket to call) or listen://HOST:PORT (one to be called on); any URL that FFmpeg opens"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = "%(prog)s SOURCE [options]"
    parser.add_argument("source", metavar="SOURCE", help=_SOURCES)
    add_pipeline(parser)
    sound = parser.add_argument_group("sound")
    sound.add_argument(
        "--real-time", action="store_true", help="a file as fast as it was spoken, not as fast as it can"
    )
    sound.add_argument("--pace", type=float, metavar="TIMES", help="a file so many times as fast as it was spoken")
    sound.add_argument(
        "--sample-rate", type=int, default=16_000, metavar="HZ", help="of samples that do not say (-, web sockets)"
    )
    sound.add_argument(
        "--encoding", default="s16le", metavar="NAME", help="of such samples: s16le (default), f32le, s32le, u8, ..."
    )
    sound.add_argument("--num-channels", type=int, default=1, metavar="N", help="of such samples, interleaved")
    _configure_output(parser)
    add_config_flags(parser)
    add_engine(parser)


def _configure_output(parser: argparse.ArgumentParser) -> None:
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        choices=FORMATS,
        help="on standard output: console (lanes; the default on a terminal), rttm (lines as they are settled; the "
        "default elsewhere), jsonl (every update)",
    )
    output.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="write RTTM into this folder, or to this file (.rttm or .jsonl), while the stream runs; without it, what "
        "a microphone hears while it is shown on a terminal goes to the home folder, as with diart",
    )
    output.add_argument(
        "--final",
        choices=("session", "live"),
        help="what an RTTM holds once the stream has ended: session, all of it clustered anew (the default for "
        "--output), or live, as it was said (the default on standard output)",
    )
    output.add_argument(
        "--plot",
        nargs="?",
        const="",
        metavar="FILE",
        help="a picture that follows: a window, or a .png or .svg file that is drawn anew every second",
    )
    output.add_argument("--no-plot", action="store_true", help="neither lanes nor picture: a line a turn")
    output.add_argument("--uri", metavar="NAME", help="what the stream is called; default: after its source")
    output.add_argument("--quiet", action="store_true", help="no notes and warnings on standard error")


def run(args: argparse.Namespace) -> int:
    """Stream until the source ends or somebody stops it: 0, or 128 and the signal's number. Raises `DiaristError`."""
    from diarist.audio.sinks import Accumulator
    from diarist.audio.sources import ReadAhead
    from diarist.cli.stopping import Guarded, Stopper
    from diarist.pipelines.flow import drain, updates

    live = live_of(args)
    source = _source(args)
    ahead, kept = ReadAhead(source), Accumulator(source.uri)
    path: Path | None = None
    try:
        _fetch(live)
        stream = live.start(source.uri)
        path = _output(args, source)
        with Stopper(ahead.stop) as stopper:
            sinks = [Guarded(sink, ahead.stop) for sink in _sinks(args, source, live, path)]
            _announce(args, source)
            drain(updates(ahead, stream), kept, *sinks)
    finally:
        source.close()
        _tell(args, source, kept, path)
    for sink in sinks:
        if sink.error is not None:
            raise sink.error
    return stopper.exit_code


def _source(args: argparse.Namespace) -> BlockSource:
    from diarist.audio.sources.opening import SourceOptions, open_source

    if args.real_time and args.pace is not None:
        raise UsageError("--real-time is --pace 1: give one of them")
    pace = 1.0 if args.real_time else args.pace
    source = open_source(args.source, SourceOptions(args.sample_rate, args.encoding, args.num_channels, pace))
    source.uri = args.uri or source.uri
    return source


def _fetch(live: LiveDiarizer | LiveEndToEnd) -> None:
    """Fetch weights, at first use, where it can be seen."""
    from diarist.cli.progress import ProgressBar
    from diarist.models import fetch
    from diarist.models.catalog import CATALOG

    with ProgressBar() as bar:
        for name in weights_of(live):
            if bar.enabled and name in CATALOG:
                fetch.fetch(name, offline=live.runtime.offline, progress=bar.fetching)


def _sinks(
    args: argparse.Namespace, source: BlockSource, live: LiveDiarizer | LiveEndToEnd, path: Path | None
) -> list[Sink]:
    """Where the answer goes. Those that are open are closed where a later one cannot be opened."""
    from diarist.pipelines.flow import close_all

    sinks: list[Sink] = []
    try:
        if path is not None:
            sinks.append(_file_sink(args, source.uri, path))
        if args.plot is not None and not args.no_plot:
            from diarist.audio.sinks import LivePlot

            sinks.append(LivePlot(source.uri, args.plot or None))
        sinks.append(_shown(args, source, live))
    except BaseException:
        close_all(sinks)
        raise
    return sinks


def _format(args: argparse.Namespace) -> str:
    chosen: str = args.format or ("console" if sys.stdout.isatty() else "rttm")
    return chosen


def _shown(args: argparse.Namespace, source: BlockSource, live: LiveDiarizer | LiveEndToEnd) -> Sink:
    """The sink of standard output."""
    from diarist.audio.sinks import ConsoleLanes, ConsoleLines, JsonLines, RttmLines

    format = _format(args)
    if format == "jsonl":
        return JsonLines(source.uri, sys.stdout)
    if format == "rttm":
        return RttmLines(source.uri, sys.stdout, final=args.final or "live")
    if not args.no_plot and sys.stdout.isatty():
        note = f"latency {latency_of(live):g} s"
        try:
            return ConsoleLanes(source.uri, sys.stdout, live=source.live or bool(args.real_time), note=note)
        except ExtraError as error:
            _note(args, str(error))
    return ConsoleLines(sys.stdout)


def _output(args: argparse.Namespace, source: BlockSource) -> Path | None:
    """The file to write, its folder made; None where none is wanted."""
    from diarist.formats.writing import safe_name

    path: Path | None = args.output
    if path is None:
        heard_once = args.source.startswith("microphone") and _format(args) == "console"
        return Path.home() / f"{safe_name(source.uri)}-{time.strftime('%Y%m%d-%H%M%S')}.rttm" if heard_once else None
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        path = path / f"{safe_name(source.uri)}.rttm"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiaristError(f"cannot make the folder '{path.parent}': {error.strerror}") from error
    return path


def _file_sink(args: argparse.Namespace, uri: str, path: Path) -> Sink:
    from diarist.audio.sinks import JsonLines, RttmWriter

    if SUFFIXES[path.suffix.lower()] == "jsonl":
        return JsonLines(uri, path)
    return RttmWriter(uri, path, final=args.final or "session")


def _announce(args: argparse.Namespace, source: BlockSource) -> None:
    """Where sound is expected from, for who has to speak or call."""
    if hasattr(source, "port"):
        _note(args, f"listening on ws://{source.host}:{source.port}")  # type: ignore[attr-defined]
    elif hasattr(source, "device_name"):
        _note(args, f"listening to '{source.device_name}'; Ctrl-C ends it")


def _tell(args: argparse.Namespace, source: BlockSource, kept: Accumulator, path: Path | None) -> None:
    """Warnings, the table of the session for a person, and where the answer is."""
    session = kept.diarization
    for warning in (*source.warnings, *session.warnings):
        _note(args, f"warning: {source.uri}: {warning}")
    if not kept.until:
        return
    if _format(args) == "console" and sys.stdout.isatty() and not args.no_plot:
        from diarist.cli.table import render

        sys.stdout.write(render(session))
        sys.stdout.flush()
    if path is not None and sys.stderr.isatty():
        _note(args, f"wrote {path}", prefix="")


def _note(args: argparse.Namespace, text: str, prefix: str = "diarist: ") -> None:
    if not args.quiet:
        print(f"{prefix}{text}", file=sys.stderr)
