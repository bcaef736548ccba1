"""`diarist speakers link`: the same voices across recordings, under common labels.

Each recording is diarized and put aside on the disk; only its speakers' mean voices stay in memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from diarist import formats
from diarist.cli.flags import add_config, given
from diarist.cli.naming import Namer, add_gallery, namer_of, scorer_of, sort_out, tell_warnings
from diarist.cli.speakers_enrol import add_diarizer, diarizer_of
from diarist.cli.table import counted
from diarist.core.config import replace_from
from diarist.errors import DiaristError, InputError
from diarist.formats.writing import write_text
from diarist.models.identity import embedding_identity
from diarist.speakers.config import LinkingConfig

if TYPE_CHECKING:
    from diarist.core.types import Diarization
    from diarist.pipelines.offline import Diarizer
    from diarist.speakers.linking import Links
    from diarist.speakers.voices import Voice

SCHEMA = "diarist-links/1"
REPORT = "links.report.json"


@dataclass
class Folder:
    """What was heard: recordings put aside, and the voices without a name; row i of all lists is one voice."""

    aside: Path
    files: list[str] = field(default_factory=list)
    uris: list[str] = field(default_factory=list)
    recordings: list[int] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    failed: int = 0
    named: int = 0

    def result(self, recording: int) -> Diarization:
        """A recording as it was put aside."""
        (found,) = formats.read(self.aside / f"{recording}.json")
        return found


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `link`."""
    parser.usage = "%(prog)s FOLDER [FOLDER ...] [options]"
    parser.add_argument(
        "audio", nargs="*", metavar="FOLDER", help="recordings or folders of them, or JSON results of 'diarist run'"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"write each recording under common labels, and {REPORT}"
    )
    parser.add_argument(
        "--format",
        action="append",
        choices=sorted(formats.FORMATS),
        metavar="FORMAT",
        help="of the files in DIR (default rttm); may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of a table")
    add_gallery(parser, proposals=False)
    add_config(parser, "how sure a link must be", LinkingConfig())
    add_diarizer(parser)


def link_recordings(args: argparse.Namespace) -> int:
    """Diarize, link, tell; 1 where some recordings failed."""
    from diarist.audio.files import expand, unique_uris
    from diarist.speakers.linking import link

    sort_out(args)
    how = replace_from(LinkingConfig(), given(args, LinkingConfig())).link
    diarizer = diarizer_of(args)
    model = embedding_identity(diarizer.config.embedding.model, diarizer.config.embedding.precision)
    namer, scorer = namer_of(args, diarizer.config), scorer_of(args, model)
    files = [file for file in expand(args.audio) if file.name != REPORT]  # linked/*.json has one, too
    _make_folder(args.out)
    with TemporaryDirectory(prefix="diarist-link-") as aside:
        folder = Folder(Path(aside))
        for path, uri in zip(files, unique_uris(files), strict=True):
            _hear(folder, path, uri, diarizer, namer, model)
        if not folder.files:
            raise InputError("none of the recordings could be read")
        links = link(folder.voices, np.array(folder.recordings, np.int64), scorer, how)
        names = _names(links, len(folder.voices))
        report = _report(folder, links, names)
        if args.out is not None:
            _write(folder, names, report, args)
    print(
        json.dumps(report, indent=2, ensure_ascii=False) if args.json else _table(report), end="\n" if args.json else ""
    )
    return 1 if folder.failed else 0


def _hear(folder: Folder, path: Path, uri: str, diarizer: Diarizer, namer: Namer | None, model: str) -> None:
    """Put one recording aside; one that cannot be read is told of and left out."""
    from diarist.speakers.voices import voices_in

    try:
        for result in _results(path, uri, diarizer):
            found = voices_in(result)
            if others := {voice.model for voice in found.values()} - {model}:
                raise InputError(
                    f"the voices of '{path}' were made by {others.pop()}, not by {model}: diarize it again"
                )
            result = replace(result, uri=_free_name(folder, result.uri, uri))
            result = result if namer is None else namer(result)
            number = len(folder.files)
            formats.write(result, folder.aside / f"{number}.json")
            folder.files.append(str(path))
            folder.uris.append(result.uri)
            for label, voice in voices_in(result).items():
                if result.speakers[label].match is not None:
                    folder.named += 1
                else:
                    folder.recordings.append(number)
                    folder.labels.append(label)
                    folder.voices.append(voice)
    except InputError as error:
        folder.failed += 1
        print(f"diarist: error: {' '.join(str(error).split())}", file=sys.stderr)


def _free_name(folder: Folder, own: str, of_file: str) -> str:
    """What a recording is called: two results may say the same of themselves, and must not be written to one file."""
    numbered = (f"{of_file}_{number}" for number in count(2))
    return next(name for name in chain((own, of_file), numbered) if name not in folder.uris)


def _results(path: Path, uri: str, diarizer: Diarizer) -> Iterator[Diarization]:
    from diarist.cli.progress import ProgressBar

    if path.suffix.lower() == ".json":
        yield from formats.read(path)
        return
    with ProgressBar() as bar:
        result = diarizer(path, uri=uri, hooks=(bar,))
    tell_warnings(result)
    yield result


def _names(links: Links, num_voices: int) -> list[str]:
    """A label for each voice: `VOICE_000`, the same for the same person."""
    width = max(3, len(str(num_voices)))
    return [f"VOICE_{label:0{width}d}" for label in links.labels.tolist()]


def _report(folder: Folder, links: Links, names: list[str]) -> dict[str, Any]:
    voices: dict[str, list[dict[str, Any]]] = {}
    for row, name in enumerate(names):
        number = folder.recordings[row]
        voices.setdefault(name, []).append(
            {
                "uri": folder.uris[number],
                "file": folder.files[number],
                "speaker": folder.labels[row],
                "seconds": round(folder.voices[row].seconds, 3),
                "probability": round(float(links.probability[row]), 4),
            }
        )
    listed = [{"label": name, "recordings": found} for name, found in voices.items()]
    listed.sort(key=lambda voice: (-len(voice["recordings"]), voice["label"]))
    return {
        "schema": SCHEMA,
        "num_recordings": len(folder.files),
        "num_failed": folder.failed,
        "num_named": folder.named,
        "voices": listed,
    }


def _table(report: dict[str, Any]) -> str:
    several = [voice for voice in report["voices"] if len(voice["recordings"]) > 1]
    alone = len(report["voices"]) - len(several)
    recordings = counted(report["num_recordings"], "recording")
    voices = counted(len(several), "voice")
    known = f"; {report['num_named']} more known by name" if report["num_named"] else ""
    lines = [f"{recordings}: {voices} in several of them, {alone} in one only{known}"]
    for voice in several:
        lines += ["", f"{voice['label']}: {sum(found['seconds'] for found in voice['recordings']):.0f} s"]
        lines += [
            f"  {found['uri']}  {found['speaker']}  {found['seconds']:.0f} s  p = {found['probability']:.2f}"
            for found in voice["recordings"]
        ]
    return "\n".join(lines) + "\n"


def _write(folder: Folder, names: list[str], report: dict[str, Any], args: argparse.Namespace) -> None:
    """Every recording under the common labels, and the report."""
    common: dict[int, dict[str, str]] = {}
    for row, name in enumerate(names):
        common.setdefault(folder.recordings[row], {})[folder.labels[row]] = name
    for number, uri in enumerate(folder.uris):
        result = folder.result(number).rename(common.get(number, {}))
        for format in args.format or ["rttm"]:
            formats.write(result, formats.output_path(args.out, uri, format), format)
    write_text(args.out / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(f"wrote {counted(len(folder.uris), 'recording')} and {REPORT} to {args.out}", file=sys.stderr)


def _make_folder(path: Path | None) -> None:
    if path is not None:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiaristError(f"cannot make the folder '{path}': {error.strerror}") from error
