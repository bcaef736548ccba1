"""What commands that name voices share: the gallery they are asked for, the scorer, and what a person sees of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.audio.files import EXTENSIONS
from diarist.cli.flags import add_config, given
from diarist.core.config import replace_from
from diarist.errors import UsageError
from diarist.models.identity import embedding_identity
from diarist.speakers.config import GalleryConfig
from diarist.speakers.gallery import Gallery, different_models

if TYPE_CHECKING:
    from diarist.core.types import Diarization, Speaker
    from diarist.speakers.scoring import Scorer

Namer = Callable[["Diarization"], "Diarization"]


def add_gallery(parser: argparse.ArgumentParser, *, proposals: bool = True) -> None:
    """`--gallery` and what goes with it."""
    parser.set_defaults(refuse=parser.error, propose=False)
    group = parser.add_argument_group("names (opt-in; 'diarist speakers enrol' makes a gallery)")
    group.add_argument(
        "--gallery",
        nargs="?",
        const="",
        metavar="FILE",
        help="name the voices that are enrolled in this gallery; default $DIARIST_GALLERY or the user's data folder",
    )
    if proposals:
        group.add_argument(
            "--propose",
            action="store_true",
            help="also tell whom voices without a name may be, for a person to confirm",
        )
    add_scorer(group)
    add_config(parser, "how sure a name must be", GalleryConfig())


def add_scorer(group: argparse._ActionsContainer) -> None:
    """`--scorer`, for voices of another model than the default one."""
    group.add_argument(
        "--scorer", metavar="FILE", type=Path, help="how voices are compared (npz of tools/fit_naming.py)"
    )


def sort_out(args: argparse.Namespace) -> None:
    """`--gallery meeting.wav` is a gallery and a recording: an optional value takes what stands next to it."""
    if args.gallery and (Path(args.gallery).suffix.lower() in EXTENSIONS or Path(args.gallery).is_dir()):
        args.audio, args.gallery = [args.gallery, *args.audio], ""
    if not args.audio:
        args.refuse("the following arguments are required: AUDIO")


def namer_of(args: argparse.Namespace, config: Any) -> Namer | None:
    """What names the voices of results, where that was asked for; whatever stands against it is told now.

    Raises `MissingError` without a gallery, `UsageError` where it holds voices of another model than these will be.
    """
    from diarist.speakers.naming import name_speakers

    if args.gallery is None:
        if args.propose:
            raise UsageError("--propose takes proposals from a gallery: add --gallery")
        return None
    if getattr(config, "embedding", None) is None:
        raise UsageError(f"--engine {args.engine} compares no voices: leave out --gallery")
    gallery = Gallery(args.gallery or None)
    people = gallery.people()
    model = embedding_identity(config.embedding.model, config.embedding.precision)
    if gallery.model not in (None, model):
        raise UsageError(different_models(gallery.path, str(gallery.model), model))
    if not people:
        print(f"diarist: warning: nobody is enrolled in '{gallery.path}': no voice can be named", file=sys.stderr)
        return lambda result: result
    scorer = scorer_of(args, model)
    how = replace_from(GalleryConfig(), given(args, GalleryConfig())).gallery
    return lambda result: name_speakers(result, people, scorer, how)


def scorer_of(args: argparse.Namespace, model: str) -> Scorer:
    """The scorer given, or the one that ships for a model."""
    from diarist.speakers.scoring import Scorer, scorer_for

    return scorer_for(model) if args.scorer is None else Scorer.load(args.scorer)


def tell_warnings(result: Diarization) -> None:
    """What was odd about a recording, on standard error."""
    for warning in result.warnings:
        print(f"diarist: warning: {result.uri}: {warning}", file=sys.stderr)


def render_names(result: Diarization, *, propose: bool) -> str:
    """A line for each voice that has a name and, with `propose`, for each that may have one."""
    lines = []
    for label in result.labels:
        speaker = result.speakers[label]
        if speaker.match is not None:
            sure = f"p = {speaker.match.probability:.2f}, margin {speaker.margin:.2f}"
            lines.append(f"{label}: {sure}{_next(speaker)}")
        elif propose and speaker.matches:
            may_be = ", ".join(f"{match.name} (p = {match.probability:.2f})" for match in speaker.matches)
            lines.append(f"{label}: may be {may_be}")
    return "".join(f"{line}\n" for line in lines)


def _next(speaker: Speaker) -> str:
    others = [match for match in speaker.matches if match is not speaker.match]
    return f", next {others[0].name} (p = {others[0].probability:.2f})" if others else ""
