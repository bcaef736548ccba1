"""`diarist run AUDIO...`: who spoke when.

Data, and only data, goes to standard output: a table on a terminal, RTTM into a pipe, or what `--format` names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diarist.cli.flags import add_config, given
from diarist.errors import DiaristError, InputError, UsageError
from diarist.pipelines import presets
from diarist.pipelines.config import PipelineConfig, RuntimeConfig

if TYPE_CHECKING:
    from diarist.core.types import Diarization
    from diarist.pipelines.offline import Diarizer

HELP = "who spoke when, in recordings"
ENGINES = ("clustering",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist import formats

    parser.usage = "%(prog)s AUDIO [AUDIO ...] [options]"  # the whole list would bury the message of a usage error
    parser.add_argument("audio", nargs="+", metavar="AUDIO", help="recordings or folders of them; - is standard input")
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="the method: changes the answer")
    names = "; ".join(f"{p.name}: {p.summary}" for p in presets.PRESETS.values())
    parser.add_argument("--preset", default=presets.DEFAULT, metavar="NAME", help=f"{names}. Default {presets.DEFAULT}")
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    speakers = parser.add_argument_group("speakers")
    speakers.add_argument("--num-speakers", type=int, metavar="N", help="exactly so many")
    speakers.add_argument("--min-speakers", type=int, metavar="N", help="at least so many")
    speakers.add_argument("--max-speakers", type=int, metavar="N", help="at most so many")
    speakers.add_argument(
        "--channels-are-speakers", action="store_true", help="each channel of the recording is one speaker"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        action="append",
        choices=sorted(formats.FORMATS),
        metavar="FORMAT",
        help=f"{', '.join(sorted(formats.FORMATS))}; may be given several times with --out",
    )
    output.add_argument("--out", type=Path, metavar="DIR", help="write one file a recording and format into DIR")
    output.add_argument("--exclusive", action="store_true", help="at most one speaker at a time")
    output.add_argument("--plot", type=Path, metavar="FILE", help="draw the timeline (.png or .svg)")
    output.add_argument("--timings", action="store_true", help="say on standard error how long each stage took")
    output.add_argument("--quiet", action="store_true", help="no progress bar, no warnings")
    add_config(parser, "speed", RuntimeConfig())
    add_config(parser, "the answer (defaults are those of balanced; a preset may change them)", PipelineConfig())


def run(args: argparse.Namespace) -> int:
    """Diarize every recording; 1 where any of several failed. Raises `DiaristError`."""
    from diarist.audio.files import expand, unique_uris
    from diarist.pipelines.offline import Diarizer

    chosen: list[str] = args.format or []
    if len(chosen) > 1 and args.out is None:
        raise UsageError("several formats need a folder to go to: add --out DIR")
    config = presets.resolve(args.preset, args.preset_file, given(args, PipelineConfig()))
    diarizer = Diarizer(args.preset, config=config, **given(args, RuntimeConfig()))
    files = expand(args.audio)
    _make_folder(args.out)
    failed = 0
    for path, uri in zip(files, unique_uris(files), strict=True):
        try:
            result = _diarize(diarizer, path, uri, args)
        except InputError as error:
            if len(files) == 1:
                raise
            failed += 1
            print(f"diarist: error: {' '.join(str(error).split())}", file=sys.stderr)
            continue
        _deliver(result, chosen, args, several=len(files) > 1)
    if failed:
        print(f"diarist: {failed} of {len(files)} recordings failed", file=sys.stderr)
    return 1 if failed else 0


def _diarize(diarizer: Diarizer, path: Path, uri: str, args: argparse.Namespace) -> Diarization:
    from diarist.cli.progress import ProgressBar

    bounds = {name: getattr(args, name) for name in ("num_speakers", "min_speakers", "max_speakers")}
    with ProgressBar() as bar:
        hooks = () if args.quiet else (bar,)
        if args.channels_are_speakers:
            if any(value is not None for value in bounds.values()):
                raise UsageError("--channels-are-speakers takes the number of speakers from the channels")
            result = diarizer.by_channel(path, uri=uri, hooks=hooks)
        else:
            result = diarizer(path, uri=uri, hooks=hooks, **bounds)
    return result.exclusive() if args.exclusive else result


def _deliver(result: Diarization, chosen: Sequence[str], args: argparse.Namespace, *, several: bool) -> None:
    """Write the answer where it was asked for."""
    from diarist import formats
    from diarist.cli.table import render

    if not args.quiet:
        for warning in result.warnings:
            print(f"diarist: warning: {result.uri}: {warning}", file=sys.stderr)
    if args.timings:
        for stage, seconds in result.extra["timings"].items():
            print(f"{result.uri}  {stage:<14} {seconds:8.3f} s", file=sys.stderr)
    if args.plot is not None:
        from diarist.formats.plot import plot

        plot(result, args.plot.with_stem(f"{args.plot.stem}-{result.uri}") if several else args.plot)
    if args.out is not None:
        for name in chosen or ["rttm"]:
            formats.write(result, formats.output_path(args.out, result.uri, name), name)
    elif chosen or not sys.stdout.isatty():
        sys.stdout.write(formats.dumps(result, chosen[0] if chosen else "rttm"))
    else:
        sys.stdout.write(render(result))
    sys.stdout.flush()


def _make_folder(path: Path | None) -> None:
    """The folder that answers go to, before the work begins."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiaristError(f"cannot make the folder '{path}': {error.strerror}") from error
