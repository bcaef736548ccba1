"""`diarist speakers enrol` and `confirm`: a voice becomes a person's because somebody says so."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diarist import formats
from diarist.cli.flags import add_config, given
from diarist.cli.naming import add_scorer, scorer_of, tell_warnings
from diarist.core.types import Diarization
from diarist.errors import InputError, UsageError
from diarist.pipelines import presets
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.speakers.gallery import Gallery
from diarist.speakers.voices import checked_name

if TYPE_CHECKING:
    from diarist.pipelines.offline import Diarizer
    from diarist.speakers.enrol import Enrolment


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `enrol`."""
    parser.usage = "%(prog)s NAME AUDIO [AUDIO ...] [options], or %(prog)s NAME --from RESULT.json --speaker LABEL"
    parser.add_argument("name", metavar="NAME", help="whose voice it is")
    parser.add_argument("audio", nargs="*", metavar="AUDIO", help="recordings of this person, or folders of them")
    parser.add_argument(
        "--from", dest="result", type=Path, metavar="RESULT", help="a voice of this JSON of 'diarist run' instead"
    )
    parser.add_argument("--speaker", metavar="LABEL", help="who of the recording it is, where several people speak")
    parser.add_argument("--start", type=float, metavar="S", help="listen from this second on")
    parser.add_argument("--end", type=float, metavar="S", help="listen to this second")
    parser.add_argument("--alone", action="store_true", help="nobody else speaks: look for one speaker only")
    parser.add_argument("--force", action="store_true", help="even if it sounds like somebody else")
    add_scorer(parser)
    add_diarizer(parser)


def configure_confirm(parser: argparse.ArgumentParser) -> None:
    """Arguments of `confirm`."""
    parser.add_argument("result", type=Path, metavar="RESULT", help="JSON that 'diarist run --gallery --propose' wrote")
    parser.add_argument(
        "labels", nargs="*", metavar="LABEL[=NAME]", help="who is who; without NAME, the most probable one proposed"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result with the names confirmed, by suffix")
    parser.add_argument("--force", action="store_true", help="even if it sounds like somebody else")
    add_scorer(parser)


def add_diarizer(parser: argparse.ArgumentParser) -> None:
    """What there is to choose of the engine that listens."""
    parser.add_argument("--preset", default=presets.DEFAULT, metavar="NAME", help=f"default {presets.DEFAULT}")
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    add_config(parser, "speed", RuntimeConfig())
    add_config(parser, "the answer (defaults are those of balanced)", PipelineConfig())


def diarizer_of(args: argparse.Namespace) -> Diarizer:
    """The engine asked for."""
    from diarist.pipelines.offline import Diarizer

    config = presets.resolve(args.preset, args.preset_file, given(args, PipelineConfig()))
    return Diarizer(args.preset, config=config, **given(args, RuntimeConfig()))


def enrol(args: argparse.Namespace) -> int:
    """Enrol one voice a recording; 1 where a recording gave none."""
    name, gallery = checked_name(args.name), Gallery(args.gallery)
    if (args.result is None) == (not args.audio):
        raise UsageError("give recordings to enrol from, or a result: --from RESULT.json --speaker LABEL")
    if args.result is not None and args.speaker is None:
        raise UsageError("--from takes one voice of a result: say which with --speaker LABEL")
    failed = 0
    for found in _heard(args):
        if isinstance(found, InputError):
            failed += 1
            print(f"diarist: error: {' '.join(str(found).split())}", file=sys.stderr)
        else:
            _keep(gallery, name, found, args)
    return 1 if failed else 0


def confirm(args: argparse.Namespace) -> int:
    """Enrol voices of a result under the names that a person confirms."""
    from diarist.speakers.enrol import voice_to_enrol

    result, gallery = _one_result(args.result), Gallery(args.gallery)
    chosen = dict(_pairs(result, args.labels) if args.labels else _asked(result))
    names = [name.casefold() for name in chosen.values()]
    if len(set(names)) < len(names):
        raise UsageError("two voices of one recording cannot be one person: confirm one of them")
    for label, name in chosen.items():
        _keep(gallery, name, voice_to_enrol(result, label), args)
    if args.out is not None:
        formats.write(result.rename(chosen), args.out)
    return 0


def _heard(args: argparse.Namespace) -> Iterator[Enrolment | InputError]:
    """What each recording gives; where several were given, one that gives nothing does not stop the others."""
    from diarist.audio.files import expand, unique_uris
    from diarist.speakers.enrol import voice_to_enrol

    if args.result is not None:
        yield voice_to_enrol(_one_result(args.result), args.speaker)
        return
    files, diarizer = expand(args.audio), diarizer_of(args)
    for path, uri in zip(files, unique_uris(files), strict=True):
        try:
            result = _diarized(diarizer, path, uri, args)
            tell_warnings(result)
            yield voice_to_enrol(result, args.speaker)
        except InputError as error:
            if len(files) == 1:
                raise
            yield error


def _diarized(diarizer: Diarizer, path: Path, uri: str, args: argparse.Namespace) -> Diarization:
    """A recording, or the stretch of it that is asked for, at its own time."""
    from diarist.audio.decode import load
    from diarist.cli.progress import ProgressBar

    most = 1 if args.alone else None
    with ProgressBar() as bar:
        if args.start is None and args.end is None:
            return diarizer(path, uri=uri, num_speakers=most, hooks=(bar,))
        sound = load(path, uri=uri)
        start, end = args.start or 0.0, float("inf") if args.end is None else args.end
        if not 0 <= start < end:
            raise UsageError(f"--start {start:g} must not be negative and lie before --end {end:g}")
        if start >= sound.duration:
            raise InputError(f"'{uri}' lasts {sound.duration:.1f} s: nothing is to be heard from {start:g} s on")
        rate = sound.sample_rate
        cut = sound.samples[round(start * rate) : round(min(end, sound.duration) * rate)]
        return diarizer(cut, sample_rate=rate, uri=uri, num_speakers=most, hooks=(bar,))


def _keep(gallery: Gallery, name: str, found: Enrolment, args: argparse.Namespace) -> None:
    """Put a voice into the gallery, unless it seems to be somebody else's."""
    from diarist.speakers.enrol import doubts

    people = gallery.people() if gallery.exists() else []
    same_model = [person for person in people if person.voices[0].model == found.voice.model]
    objection, warnings = None, found.warnings
    if same_model:
        objection, more = doubts(name, found.voice, same_model, scorer_of(args, found.voice.model))
        warnings += more
    for warning in warnings:
        print(f"diarist: warning: {warning}", file=sys.stderr)
    if objection is not None and not args.force:
        raise InputError(f"{objection}: if it is the same person all the same, add --force")
    added = gallery.add(name, [found.voice])
    what = f"{found.voice.source} ({found.label}, {found.voice.seconds:.0f} s)"
    print(f"{name}: {what}{'' if added else ' was there already'}")


def _one_result(path: Path) -> Diarization:
    results = formats.loads(formats.read_text(path), "json", name=str(path))
    if len(results) != 1:
        raise InputError(f"'{path}' holds {len(results)} recordings: give the JSON of one")
    return results[0]


def _pairs(result: Diarization, labels: list[str]) -> Iterator[tuple[str, str]]:
    """Labels and names from the command line."""
    for text in labels:
        label, given_name, name = text.partition("=")
        if label not in result.speakers:
            raise UsageError(f"there is no speaker '{label}' in '{result.uri}': it has {', '.join(result.speakers)}")
        matches = result.speakers[label].matches
        if not given_name and not matches:
            raise UsageError(f"nobody was proposed for {label} in '{result.uri}': write {label}=NAME")
        yield label, checked_name(name if given_name else matches[0].name)


def _asked(result: Diarization) -> Iterator[tuple[str, str]]:
    """Labels and names that a person agrees to, one question each."""
    if not sys.stdin.isatty():
        raise UsageError("say who is who (LABEL or LABEL=NAME), or run this on a terminal to be asked")
    for label in result.labels:
        speaker = result.speakers[label]
        if speaker.matches and speaker.match is None:
            best = speaker.matches[0]
            print(
                f"{label}: is it {best.name} (p = {best.probability:.2f})? [y/N] ", end="", file=sys.stderr, flush=True
            )
            if sys.stdin.readline().strip().casefold() in ("y", "yes"):
                yield label, best.name
