"""`diarist transcribe AUDIO`: who said what, by a recogniser that is installed beside diarist."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from diarist.cli.flags import given
from diarist.cli.transcripts import (
    add_assignment,
    add_diarization,
    add_output,
    assigned,
    check,
    deliver,
    diarized,
    named,
)
from diarist.core.config import replace_from
from diarist.errors import InputError
from diarist.pipelines.config import RuntimeConfig

if TYPE_CHECKING:
    from diarist.core.types import Diarization, Transcript, Utterance, Waveform
    from diarist.words.asr import AsrConfig

HELP = "who said what, in a recording (needs faster-whisper or whisperx)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist.words.asr import ENGINES, AsrConfig

    parser.usage = "%(prog)s AUDIO [options]"
    parser.add_argument("audio", metavar="AUDIO", type=Path, help="a recording; - is standard input")
    group = parser.add_argument_group("words")
    names = ", ".join(ENGINES)
    group.add_argument("--asr", choices=sorted(ENGINES), help=f"the recogniser; default the first installed of {names}")
    default = AsrConfig()
    group.add_argument(
        "--asr-model",
        default=default.model,
        metavar="MODEL",
        help=f"its model, a name or a folder; default {default.model}",
    )
    group.add_argument("--asr-device", default=default.device, metavar="DEVICE", help="auto, cpu or cuda; default auto")
    group.add_argument(
        "--compute-type", default=default.compute_type, metavar="TYPE", help="its numbers: int8, float16, float32, ..."
    )
    group.add_argument("--language", metavar="CODE", help="what is spoken (en, de, ...); default: it is detected")
    group.add_argument("--whole", action="store_true", help="recognise what sounds like silence, too (faster-whisper)")
    group.add_argument("--turns", type=Path, metavar="RTTM", help="who spoke when; default: the recording is diarized")
    add_assignment(parser)
    add_output(parser)
    add_diarization(parser)


def run(args: argparse.Namespace) -> int:
    """Load, diarize, recognise, write; 0 where all is well. Raises `DiaristError`."""
    from diarist.audio.decode import load
    from diarist.audio.files import unique_uris
    from diarist.core.types import Transcript
    from diarist.words.asr import load_recogniser

    check(args)
    recogniser = load_recogniser(_config(args), args.asr)  # what is missing is told before the work begins
    sound = load(args.audio, uri=unique_uris([args.audio])[0])
    turns = _turns(args, sound)
    live = _live(args)
    utterances: list[Utterance] = []
    for utterance in recogniser.utterances(sound.samples):
        utterances.append(utterance)
        if live is not None:
            _show(Transcript((utterance,), sound.uri, recogniser.language), turns, args, live)
    answer = assigned(Transcript(tuple(utterances), sound.uri, recogniser.language), turns, args)
    if live is not sys.stdout:
        deliver([answer], args)
    return 0


def _config(args: argparse.Namespace) -> AsrConfig:
    from diarist.words.asr import AsrConfig

    runtime = replace_from(RuntimeConfig(), given(args, RuntimeConfig()))
    return AsrConfig(
        model=args.asr_model,
        device=args.asr_device,
        compute_type=args.compute_type,
        language=args.language,
        num_threads=runtime.num_threads,
        offline=runtime.offline,
        skip_silence=not args.whole,
    )


def _turns(args: argparse.Namespace, sound: Waveform) -> Diarization:
    from diarist import formats

    if args.turns is None:
        return diarized(sound, args)
    found = formats.read(args.turns)
    named = [recording for recording in found if recording.uri == sound.uri]
    if not named and len(found) > 1:
        raise InputError(f"'{args.turns}' has the turns of {len(found)} recordings, none of them named '{sound.uri}'")
    return (named or found)[0]


def _live(args: argparse.Namespace) -> TextIO | None:
    """Where words are shown as they are heard: where they belong, if what is shown need not change any more, else on a
    terminal."""
    if args.out is None and args.format in (None, ["txt"]) and not args.sentences:
        return sys.stdout
    return sys.stderr if sys.stderr.isatty() and not args.quiet else None


def _show(heard: Transcript, turns: Diarization, args: argparse.Namespace, live: TextIO) -> None:
    from diarist.words.formats import dumps

    live.write(dumps(named(heard, turns, args), "txt"))
    live.flush()
