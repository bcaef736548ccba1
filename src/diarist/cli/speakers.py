"""`diarist speakers`: the people whose voices are known, kept on this machine in one file, and nowhere else.

Data goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from diarist import formats
from diarist.cli import speakers_enrol, speakers_link
from diarist.cli.intermixed import IntermixedParser
from diarist.cli.table import counted
from diarist.errors import FormatError, UsageError
from diarist.formats.writing import write_aside
from diarist.speakers import portable
from diarist.speakers.gallery import Gallery, different_models

HELP = "known voices: enrol, list, forget, carry, and find the same voice across recordings"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=IntermixedParser)
    speakers_enrol.configure(_action(actions, "enrol", "keep somebody's voice, from recordings or from a result"))
    speakers_enrol.configure_confirm(_action(actions, "confirm", "enrol voices of a result under the names proposed"))
    listing = _action(actions, "list", "who is enrolled")
    listing.add_argument("--json", action="store_true", help="as JSON, with each voice's recording, seconds and date")
    forget = _action(actions, "forget", "delete people and every trace of them from the gallery")
    forget.add_argument("names", nargs="+", metavar="NAME", help="as enrolled")
    export = _action(actions, "export", "write the whole gallery to a JSON file")
    export.add_argument("file", metavar="FILE", help="- is standard output")
    importing = _action(actions, "import", "add the people of an exported file; those known get its voices too")
    importing.add_argument("file", type=Path, metavar="FILE", help="what 'export' wrote")
    speakers_link.configure(_action(actions, "link", "find the same voices across recordings"))


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says; 0 where all went well, 1 where some recordings failed. Raises `DiaristError`."""
    actions = {
        "enrol": speakers_enrol.enrol,
        "confirm": speakers_enrol.confirm,
        "list": _list,
        "forget": _forget,
        "export": _export,
        "import": _import,
        "link": speakers_link.link_recordings,
    }
    return actions[args.action](args)


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=summary, description=summary, allow_abbrev=False)
    if name != "link":
        action.add_argument(
            "--gallery",
            type=Path,
            metavar="FILE",
            help="the gallery; default $DIARIST_GALLERY or gallery.sqlite in the user's data folder",
        )
    return action


def _list(args: argparse.Namespace) -> int:
    gallery = Gallery(args.gallery)
    people = gallery.people()
    if args.json:
        listed = [
            {
                "name": person.name,
                "seconds": round(person.seconds, 3),
                "voices": [
                    {
                        "source": v.source,
                        "seconds": round(v.seconds, 3),
                        "quality": round(v.quality, 4),
                        "enrolled": date,
                    }
                    for v, date in zip(person.voices, person.enrolled, strict=True)
                ],
            }
            for person in people
        ]
        document = {"gallery": str(gallery.path), "model": gallery.model, "people": listed}
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    if not people:
        print(f"nobody is enrolled in {gallery.path}", file=sys.stderr)
        return 0
    width = max(len("name"), *(len(person.name) for person in people))
    print(f"{'name':<{width}}  recordings  seconds  last enrolled")
    for person in people:
        print(f"{person.name:<{width}}  {len(person.voices):>10}  {person.seconds:7.0f}  {max(person.enrolled)[:10]}")
    print(f"{gallery.path}: voices of {gallery.model}", file=sys.stderr)
    return 0


def _forget(args: argparse.Namespace) -> int:
    gallery = Gallery(args.gallery)
    gallery.forget(args.names)
    print(
        f"forgotten: {', '.join(args.names)}; copies of the gallery, exported files and results are yours to delete",
        file=sys.stderr,
    )
    return 0


def _export(args: argparse.Namespace) -> int:
    people = Gallery(args.gallery).people()
    text = portable.dumps(people)
    if args.file == "-":
        sys.stdout.write(text)
        return 0
    with write_aside(args.file) as aside:
        if not aside.exists():  # a pipe or a device is written as it is
            aside.touch(mode=0o600)  # nobody else may read it, not even while it is written
        aside.write_bytes(text.encode("utf-8", "replace"))
    print(f"{counted(len(people), 'person', 'people')} written to {args.file}", file=sys.stderr)
    return 0


def _import(args: argparse.Namespace) -> int:
    gallery = Gallery(args.gallery)
    people = portable.loads(formats.read_text(args.file), str(args.file))
    if not people:
        raise FormatError(f"'{args.file}' holds nobody: there is nothing to import")
    model = people[0].voices[0].model
    if gallery.exists() and gallery.model not in (None, model):
        raise UsageError(different_models(gallery.path, str(gallery.model), model))
    added = gallery.add_people(people)
    known = sum(len(person.voices) for person in people) - added
    told = f", {known} known already" if known else ""
    print(f"{counted(len(people), 'person', 'people')}, {counted(added, 'new voice')}{told}", file=sys.stderr)
    return 0
