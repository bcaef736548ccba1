"""`diarist run AUDIO...`: who spoke when.

Data, and only data, goes to standard output: a table on a terminal, RTTM into a pipe, or what `--format` names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diarist.cli.engine_flags import add_answers, add_engines, add_speech, diarizer_of
from diarist.cli.engine_jobs import Job, jobs_of
from diarist.cli.flags import add_bounds, add_config
from diarist.cli.naming import add_gallery, namer_of, render_names, sort_out, tell_warnings
from diarist.core.config import dump_toml, to_dict
from diarist.engines import engine
from diarist.errors import DiaristError, InputError, UsageError
from diarist.pipelines.config import RuntimeConfig

if TYPE_CHECKING:
    from diarist.cli.progress import ProgressBar
    from diarist.core.events import Event, Hook
    from diarist.core.types import Diarization
    from diarist.pipelines.method import Method
    from diarist.pipelines.offline import Diarizer

HELP = "who spoke when, in recordings"
CAN_FOLLOW = ("rttm", "json", "csv")  # formats in which several recordings can stand in one stream


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist import formats

    parser.usage = "%(prog)s AUDIO [AUDIO ...] [options]"  # the whole list would bury the message of a usage error
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help="recordings or folders of them; - is standard input")
    add_engines(parser)
    speakers = parser.add_argument_group("speakers")
    add_bounds(speakers)
    speakers.add_argument(
        "--channels-are-speakers", action="store_true", help="each channel of the recording is one speaker"
    )
    add_gallery(parser)
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
    add_answers(parser)
    add_speech(parser)


def run(args: argparse.Namespace) -> int:
    """Diarize every recording; 1 where any of several failed. Raises `DiaristError`."""
    if args.show_config:
        sys.stdout.write(dump_toml(to_dict(diarizer_of(args).config)))
        return 0
    if args.manifest is None:
        sort_out(args)
    diarizer = diarizer_of(args)
    jobs = jobs_of(args, diarizer.config)
    name = namer_of(args, diarizer.config)
    _check_output(args, len(jobs))
    failed = delivered = 0
    for job in jobs:
        try:
            result = _diarize(diarizer, job, args)
            result = result if name is None else name(result)
        except InputError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            print(f"diarist: error: {' '.join(str(error).split())}", file=sys.stderr)
            continue
        _tell(result, args)
        _deliver(result, args, first=not delivered, several=len(jobs) > 1)
        delivered += 1
    if failed:
        print(f"diarist: {failed} of {len(jobs)} recordings failed", file=sys.stderr)
    return 1 if failed else 0


def _check_output(args: argparse.Namespace, num_files: int) -> None:
    """What cannot be written as asked is told before the work begins, and the folder is made."""
    chosen = args.format or []
    if args.out is None and len(chosen) > 1:
        raise UsageError("several formats need a folder to go to: add --out DIR")
    if args.out is None and num_files > 1 and not set(chosen) <= set(CAN_FOLLOW):
        raise UsageError(
            f"{num_files} recordings in the format {chosen[0]} need a folder to go to: add --out DIR "
            f"({', '.join(CAN_FOLLOW)} can follow each other)"
        )
    if args.plot is not None:
        from diarist.formats.plot import check

        check(args.plot)
    if args.out is not None:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiaristError(f"cannot make the folder '{args.out}': {error.strerror}") from error


def _diarize(diarizer: Method[Any], job: Job, args: argparse.Namespace) -> Diarization:
    from diarist.cli.progress import ProgressBar

    bounds = {name: getattr(args, name) for name in ("num_speakers", "min_speakers", "max_speakers")}
    with ProgressBar() as bar:
        hooks = () if args.quiet else (_fetching(diarizer, engine(args.engine).weights, bar), bar)
        if args.channels_are_speakers:
            if args.gallery is not None:
                raise UsageError("--channels-are-speakers compares no voices: leave out --gallery")
            if any(value is not None for value in bounds.values()):
                raise UsageError("--channels-are-speakers takes the number of speakers from the channels")
            result = cast("Diarizer", diarizer).by_channel(job.path, uri=job.uri, hooks=hooks)
        else:
            result = diarizer(job.path, uri=job.uri, hooks=hooks, **{**bounds, **job.known})
    return result.exclusive() if args.exclusive else result


def _fetching(diarizer: Method[Any], weights: Callable[[Any], Sequence[str]], bar: ProgressBar) -> Hook:
    """A hook that fetches weights, at first use, where it can be seen."""
    from diarist.models import fetch
    from diarist.models.catalog import CATALOG

    def hook(event: Event) -> None:
        if bar.enabled and (event.stage, event.kind) == ("models", "start"):
            for name in weights(diarizer.config):
                if name in CATALOG:
                    fetch.fetch(name, offline=diarizer.runtime.offline, progress=bar.fetching)

    return hook


def _tell(result: Diarization, args: argparse.Namespace) -> None:
    """Warnings and timings, on standard error."""
    if not args.quiet:
        tell_warnings(result)
    if args.propose and (args.format or args.out or not sys.stdout.isatty()):  # a table shows them below
        sys.stderr.write("".join(f"{result.uri}: {line}\n" for line in render_names(result, propose=True).splitlines()))
    if args.timings:
        from diarist.cli.table import render_timings

        sys.stderr.write(render_timings(result))


def _deliver(result: Diarization, args: argparse.Namespace, *, first: bool, several: bool) -> None:
    """Write the answer where it was asked for."""
    from diarist import formats
    from diarist.cli.table import render

    chosen: list[str] = args.format or []
    if args.plot is not None:
        from diarist.formats.plot import plot

        picture = args.plot.with_stem(f"{args.plot.stem}-{result.uri}") if several else args.plot
        plot(result, picture)
        _wrote(picture, args)
    if args.out is not None:
        for name in chosen or ["rttm"]:
            path = formats.output_path(args.out, result.uri, name)
            formats.write(result, path, name)
            _wrote(path, args)
        return
    if chosen or not sys.stdout.isatty():
        text = formats.dumps(result, chosen[0] if chosen else "rttm")
        text = text if first or chosen != ["csv"] else text.partition("\n")[2]  # the head of a table comes once
    else:
        text = ("" if first else "\n") + render(result) + render_names(result, propose=args.propose)
    sys.stdout.write(text)
    sys.stdout.flush()


def _wrote(path: Path, args: argparse.Namespace) -> None:
    """Say to a person where the answer is."""
    if sys.stderr.isatty() and not args.quiet:
        print(f"wrote {path}", file=sys.stderr)
