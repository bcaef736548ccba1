"""What the commands that name the speakers of words share: their flags, whose a word is, where the answer goes."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diarist.cli.flags import add_bounds, add_config, given
from diarist.errors import DiaristError, UsageError
from diarist.pipelines import presets
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.words.strict import RULES

if TYPE_CHECKING:
    from diarist.audio.decode import AudioSource
    from diarist.core.types import Diarization, Transcript

STRICT = {"whisperx": RULES[0], **{f"whisperx-{rules}": rules for rules in RULES}}
"""What may be written behind `--strict`."""


def add_assignment(parser: argparse.ArgumentParser) -> None:
    """How words get their speakers."""
    group = parser.add_argument_group("words to speakers")
    group.add_argument(
        "--sentences", action="store_true", help="keep sentences whole: each goes to who says most of it (punctuation)"
    )
    group.add_argument(
        "--max-change",
        type=float,
        metavar="SECONDS",
        help="with --sentences: a longer piece of somebody else stays; 1 is safer where full stops are missing",
    )
    group.add_argument(
        "--exclusive", action="store_true", help="where voices overlap only the surer one (then the longer) counts"
    )
    group.add_argument(
        "--max-gap",
        type=float,
        metavar="SECONDS",
        help="a word further than this from every turn is nobody's; default: it goes to the nearest, however far",
    )
    group.add_argument(
        "--strict",
        choices=sorted(STRICT),
        metavar="RULES",
        help=f"exactly as others do it, faults and all: {', '.join(STRICT)}",
    )
    group.add_argument("--fill-nearest", action="store_true", help="with --strict: WhisperX's fill_nearest=True")


def add_diarization(parser: argparse.ArgumentParser) -> None:
    """How a recording is diarized."""
    group = parser.add_argument_group("turns of a recording (see `diarist run`)")
    group.add_argument("--preset", default=presets.DEFAULT, metavar="NAME", help=f"default {presets.DEFAULT}")
    group.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    add_bounds(group)
    add_config(parser, "speed", RuntimeConfig())


def add_output(parser: argparse.ArgumentParser) -> None:
    """Where the transcript goes, and how it is written."""
    from diarist.words import formats

    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        action="append",
        choices=sorted(formats.FORMATS),
        metavar="FORMAT",
        help=f"{', '.join(sorted(formats.FORMATS))}; may be given several times with --out; default txt",
    )
    group.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="a file, in the format of its suffix unless --format is given, or a folder for a file each",
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar, no warnings")


def check(args: argparse.Namespace) -> None:
    """What cannot be is told before the work begins. Raises `UsageError`."""
    if args.strict and (args.sentences or args.max_gap is not None):
        raise UsageError("--strict does as WhisperX does, which has no --sentences and no --max-gap")
    if args.fill_nearest and not args.strict:
        raise UsageError(
            "--fill-nearest goes with --strict; words go to the nearest turn anyway, --max-gap limits that"
        )
    for flag, value in (("--max-gap", args.max_gap), ("--max-change", args.max_change)):
        if value is not None and not value >= 0:
            raise UsageError(f"{flag} must be 0 or more seconds, not {value:g}")
    if args.max_change is not None and not args.sentences:
        raise UsageError("--max-change goes with --sentences")
    if args.out is None and len(args.format or ()) > 1:
        raise UsageError("several formats need a folder to go to: add --out DIR")


def assigned(transcript: Transcript, turns: Diarization, args: argparse.Namespace) -> Transcript:
    """As `named`; warns of words that nobody says."""
    answer = named(transcript, turns, args)
    if not args.quiet:
        _warn(answer, turns)
    return answer


def named(transcript: Transcript, turns: Diarization, args: argparse.Namespace) -> Transcript:
    """The transcript with its speakers, as the flags of `add_assignment` say."""
    from diarist.words.transcript import assign, assign_strictly

    if args.strict:
        rules, fill = STRICT[args.strict], args.fill_nearest
        return assign_strictly(transcript, turns, rules, fill_nearest=fill, exclusive=args.exclusive)
    return assign(
        transcript,
        turns,
        nearest=math.inf if args.max_gap is None else args.max_gap,
        sentences=args.sentences,
        max_change=math.inf if args.max_change is None else args.max_change,
        exclusive=args.exclusive or None,
    )


def diarized(audio: AudioSource, args: argparse.Namespace) -> Diarization:
    """The turns of a recording, with a progress bar. Raises `DiaristError`."""
    from diarist.cli.progress import ProgressBar
    from diarist.pipelines.offline import Diarizer

    config = presets.resolve(args.preset, args.preset_file, given(args, PipelineConfig()))
    diarizer = Diarizer(args.preset, config=config, **given(args, RuntimeConfig()))
    bounds = {name: getattr(args, name) for name in ("num_speakers", "min_speakers", "max_speakers")}
    with ProgressBar() as bar:
        result = diarizer(audio, hooks=() if args.quiet else (bar,), **bounds)
    if not args.quiet:
        for warning in result.warnings:
            print(f"diarist: warning: {result.uri}: {warning}", file=sys.stderr)
    return result


def deliver(transcripts: list[Transcript], args: argparse.Namespace) -> None:
    """Write the transcripts where they were asked for. Raises `DiaristError`."""
    from diarist.words import formats

    chosen: list[str] = args.format or []
    if args.out is None:
        sys.stdout.write("\n".join(formats.dumps(transcript, (chosen or ["txt"])[0]) for transcript in transcripts))
        sys.stdout.flush()
        return
    if args.out.is_dir() or len(chosen) > 1 or len(transcripts) > 1 or not args.out.suffix:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiaristError(f"cannot make the folder '{args.out}': {error.strerror}") from error
        paths: list[tuple[Transcript, Path, str | None]] = [
            (transcript, formats.output_path(args.out, transcript.uri, format), format)
            for transcript in transcripts
            for format in chosen or ["txt"]
        ]
    else:
        paths = [(transcripts[0], args.out, chosen[0] if chosen else None)]
    for transcript, path, chosen_format in paths:
        formats.write(transcript, path, chosen_format)
        if sys.stderr.isatty() and not args.quiet:
            print(f"wrote {path}", file=sys.stderr)


def _warn(transcript: Transcript, turns: Diarization) -> None:
    words = transcript.words or transcript.utterances
    start = f"diarist: warning: {transcript.uri}:"
    nobodys = sum(word.speaker is None for word in words)
    if nobodys:
        reason = "" if len(turns) else ": there are no turns"
        print(f"{start} {nobodys} of {len(words)} words have no speaker{reason}", file=sys.stderr)
    last = max((turn.end for turn in turns), default=math.inf)
    late = sum(word.start is not None and word.start > last for word in words)
    if late > len(words) / 2:
        print(f"{start} most words come after the last turn: do the turns belong to them?", file=sys.stderr)
