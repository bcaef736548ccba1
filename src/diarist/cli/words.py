"""`diarist words TRANSCRIPT`: whose words are whose; or a transcript in another format."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diarist.cli.transcripts import add_assignment, add_diarization, add_output, assigned, check, deliver, diarized
from diarist.errors import AudioError, FormatError, InputError, UsageError

if TYPE_CHECKING:
    from diarist.core.types import Diarization, Transcript

HELP = "give the words of a transcript their speakers, or write it in another format"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist.words import formats

    parser.usage = "%(prog)s TRANSCRIPT [--turns RTTM|AUDIO] [options]"
    known = sorted((*formats.FORMATS, *formats.ALIASES))
    parser.add_argument("transcript", metavar="TRANSCRIPT", help="a transcript with times; - is standard input")
    parser.add_argument(
        "--turns",
        metavar="RTTM|AUDIO",
        type=Path,
        help="who spoke when (RTTM or any other readable format), or the recording, which is diarized; "
        "without it speakers stay as they are",
    )
    parser.add_argument(
        "--from", dest="source", choices=known, metavar="FORMAT", help=f"what it is: {', '.join(known)}; default: look"
    )
    add_assignment(parser)
    add_output(parser)
    add_diarization(parser)


def run(args: argparse.Namespace) -> int:
    """Read, assign, write; 0 where all is well. Raises `DiaristError`."""
    check(args)
    if args.transcript == "-" and str(args.turns) == "-":
        raise UsageError("the transcript and the turns cannot both come from standard input")
    transcripts = _read(args)
    if args.turns is not None:
        turns = _turns(args)
        transcripts = [assigned(transcript, _of(transcript, turns, transcripts), args) for transcript in transcripts]
    elif args.strict or args.sentences or args.exclusive or args.max_gap is not None:
        raise UsageError("whose the words are is asked for without turns: add --turns RTTM|AUDIO")
    deliver(transcripts, args)
    return 0


def _read(args: argparse.Namespace) -> list[Transcript]:
    from diarist.words import formats

    if args.transcript != "-":
        return formats.read(args.transcript, args.source)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"standard input is not a text in UTF-8 (byte {error.start})") from error
    return formats.loads(text, args.source, name="stdin")


def _turns(args: argparse.Namespace) -> Sequence[Diarization]:
    """Of a file of turns or, where it is none, of a recording."""
    from diarist import formats
    from diarist.audio.files import EXTENSIONS
    from diarist.audio.opening import STDIN

    path: Path = args.turns
    if path.suffix.lower() in EXTENSIONS or str(path) == STDIN:
        return [diarized(path, args)]
    try:
        return formats.read(path)
    except FormatError as no_turns:
        try:
            return [diarized(path, args)]
        except AudioError:
            raise no_turns from None


def _of(transcript: Transcript, turns: Sequence[Diarization], transcripts: Sequence[Transcript]) -> Diarization:
    """The turns of one transcript: by name where there are several of either."""
    if len(turns) == len(transcripts) == 1:
        return turns[0]
    found = next((recording for recording in turns if recording.uri == transcript.uri), None)
    if found is None:
        names = ", ".join(recording.uri for recording in turns[:5])
        raise InputError(f"no turns for the transcript '{transcript.uri}': there are turns for {names}")
    return found
