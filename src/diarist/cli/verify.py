"""`diarist verify AUDIO --backend A --against B`: two runs compared stage by stage, and the first that differs named.

What is being compared goes to standard output as a table, or as JSON; the exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.flags import add_config, given
from diarist.errors import UsageError
from diarist.pipelines import presets
from diarist.pipelines.config import PRECISIONS, PipelineConfig, RuntimeConfig

if TYPE_CHECKING:
    from diarist.evaluation.stagewise import Report
    from diarist.pipelines.offline import Diarizer
    from diarist.pipelines.record import Run

HELP = "compare two backends, or a backend and a stored run, stage by stage"
MINUTES = 30.0
EMBEDDED = ("fbank", "masks", "windows", "local_masks", "local_embeddings", "embeddings")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    from diarist.models.load import BACKENDS

    parser.usage = "%(prog)s AUDIO|DIR [--against BACKEND|DIR] [--record DIR] [options]"
    parser.add_argument("audio", metavar="AUDIO", help="a recording; or a stored run, to be compared with another one")
    parser.add_argument(
        "--against",
        metavar="BACKEND|DIR",
        help=f"the reference: {', '.join(BACKENDS)}, or a folder that --record wrote, that holds pyannote's arrays of "
        "community-1 (segmentations.npz, ...) or what the C++ port dumped (cpp_*.txt, py_*.txt)",
    )
    parser.add_argument("--against-device", metavar="DEVICE", help="where the reference runs; default as --device")
    parser.add_argument("--against-precision", choices=PRECISIONS, help="arithmetic of both networks of the reference")
    parser.add_argument("--precision", choices=PRECISIONS, help="arithmetic of both networks that are judged")
    parser.add_argument("--record", type=Path, metavar="DIR", help="keep every stage's arrays in a folder")
    parser.add_argument(
        "--minutes",
        type=float,
        default=MINUTES,
        metavar="N",
        help=f"of a longer recording only the first N are compared; 0 for all of it; default {MINUTES:g}",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no remarks")
    for kind, text in (("num", "exactly"), ("min", "at least"), ("max", "at most")):
        parser.add_argument(f"--{kind}-speakers", type=int, metavar="N", help=f"{text} so many speakers")
    parser.add_argument("--preset", metavar="NAME", help=f"default {presets.DEFAULT}, or what the stored run had")
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    add_config(parser, "what is judged", RuntimeConfig())
    add_config(parser, "the answer (defaults are those of balanced; a preset may change them)", PipelineConfig())


def run(args: argparse.Namespace) -> int:
    """Compare, or only record; 1 where something differs. Raises `DiaristError`."""
    if Path(args.audio).is_dir():
        return _stored(args)
    if args.against is None and args.record is None:
        raise UsageError("say what to compare with (--against torch), or where to keep the run (--record DIR)")
    if args.minutes < 0:
        raise UsageError(f"--minutes must be 0 or more, not {args.minutes:g}")
    reference = _reference(args)
    ours = _diarizer(args, reference)
    if args.against is None:
        return _record(args, ours)
    return _compare(args, ours, reference)


def _compare(args: argparse.Namespace, ours: Diarizer, reference: Run | None) -> int:
    from diarist.core.types import SpeakerBounds
    from diarist.evaluation import runs
    from diarist.evaluation.stagewise import verify

    theirs: Run | Diarizer = reference if reference is not None else _against(args, ours)
    ours, missing = _here(ours, reference)
    from diarist.cli.progress import ProgressBar

    with ProgressBar() as bar:
        report, own = verify(
            args.audio,
            ours,
            theirs,
            bounds=SpeakerBounds.of(args.num_speakers, args.min_speakers, args.max_speakers),
            longest=args.minutes * 60 or None,
            missing=missing,
            hooks=() if args.quiet else (_Limit(args), bar),
        )
    if args.record is not None:
        runs.save(own, args.record)
    return _tell(args, report)


def _record(args: argparse.Namespace, ours: Diarizer) -> int:
    from diarist.cli.progress import ProgressBar
    from diarist.core.types import SpeakerBounds
    from diarist.evaluation import runs
    from diarist.pipelines.record import STAGES, record

    bounds = SpeakerBounds.of(args.num_speakers, args.min_speakers, args.max_speakers)
    with ProgressBar() as bar:
        hooks = () if args.quiet else (_Limit(args), bar)
        own = record(ours, args.audio, bounds=bounds, longest=args.minutes * 60 or None, hooks=hooks)
    runs.save(own, args.record)
    shapes = {name: list(own.arrays[name].shape) for name in STAGES if name in own.arrays}
    if args.json:
        print(json.dumps({"run": str(args.record), "arrays": shapes}))
    else:
        print(f"{args.record}: {own.facts['uri']}, {own.facts['backend']}, preset {own.facts['preset']}")
        print("\n".join(f"  {name:<17} {_shape(shape)}" for name, shape in shapes.items()))
    return 0


def _stored(args: argparse.Namespace) -> int:
    """Two runs that are stored, as they are; or both sides that the C++ port dumped into one folder."""
    from diarist.evaluation import runs
    from diarist.evaluation.blame import compare_stored
    from diarist.evaluation.stagewise import compare

    if args.against is None and runs.sides(args.audio) != list(runs.SIDES):
        raise UsageError(f"'{args.audio}' is a folder: name the run to compare it with (--against DIR)")
    if args.record is not None:
        raise UsageError("--record keeps what a recording gives: name a recording, not a folder")
    own = runs.load(args.audio)
    other = runs.load(args.against or args.audio, runs.SIDES[1])
    dumped = "side" in own.facts
    if dumped != ("side" in other.facts):
        raise UsageError(f"'{args.audio}' and '{args.against}' are runs of different programs, with different stages")
    report = compare(own, other, None, runs.DUMPS) if dumped else compare_stored(own, other)
    return _tell(args, report)


class _Limit:
    """A hook that says so where only the beginning of a recording is compared."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args, self._told = args, False

    def __call__(self, event: Any) -> None:
        if self._told or event.kind != "progress" or not self._args.minutes:
            return
        if event.done >= self._args.minutes * 60:
            self._told = True
            _say(self._args, f"only the first {self._args.minutes:g} minutes are compared: --minutes 0 for all")


def _reference(args: argparse.Namespace) -> Run | None:
    """The stored run to compare with, where a folder is named."""
    from diarist.evaluation import runs
    from diarist.models.load import BACKENDS

    if args.against is None or (args.against in BACKENDS and not Path(args.against).is_dir()):
        return None
    if args.against not in BACKENDS and not Path(args.against).exists():
        raise UsageError(f"'{args.against}' is neither a backend ({', '.join(BACKENDS)}) nor a folder")
    found = runs.load(args.against)
    if "side" in found.facts:
        raise UsageError(f"'{args.against}' holds stages of another program: compare its sides with one another")
    if args.against_device or args.against_precision:
        raise UsageError("--against-device and --against-precision are of a backend: a stored run has its own")
    return found


def _diarizer(args: argparse.Namespace, reference: Run | None) -> Diarizer:
    """What is judged, by default as the stored run was configured."""
    from diarist.core.config import replace_from
    from diarist.pipelines.offline import Diarizer

    changes, runtime = given(args, PipelineConfig()), given(args, RuntimeConfig())
    if args.precision is not None:
        changes = {**_precisions(args.precision), **changes}
    facts: Mapping[str, Any] = {} if reference is None else reference.facts
    name = args.preset or facts.get("preset", presets.DEFAULT)
    if args.preset is None and args.preset_file is None and facts:
        base = replace_from(presets.preset(name).config, facts.get("config", facts.get("changes", {})))
        return Diarizer(name, config=replace_from(base, changes), **runtime)
    config = presets.resolve(name, args.preset_file, changes)
    return Diarizer(name, config=config, **runtime)


def _against(args: argparse.Namespace, ours: Diarizer) -> Diarizer:
    from diarist.core.config import replace_from
    from diarist.pipelines.offline import Diarizer

    changes = {"backend": args.against, "device": args.against_device or ours.runtime.device}
    if args.against != ours.runtime.backend and args.against_device is None:
        changes["device"] = "auto"
    precision = {} if args.against_precision is None else _precisions(args.against_precision)
    config = replace_from(ours.config, precision)
    return Diarizer(ours.preset, config=config, runtime=replace_from(ours.runtime, changes))


def _here(ours: Diarizer, reference: Run | None) -> tuple[Diarizer, dict[str, str]]:
    """The diarizer, without its embedding network where that is not at hand but the stored run has its embeddings."""
    from diarist.errors import WeightsError
    from diarist.pipelines.offline import Diarizer
    from diarist.pipelines.record import NoEmbedding

    if reference is None or "embeddings" not in reference.arrays:
        return ours, {}
    try:
        ours.loaded()
    except WeightsError as error:
        dimension = int(reference.arrays["embeddings"].shape[1])
        without = Diarizer(ours.preset, config=ours.config, runtime=ours.runtime, embedding=NoEmbedding(dimension))
        without.loaded()
        reason = f"not made here: {str(error).split(':')[0]}"
        return without, dict.fromkeys(EMBEDDED, reason)
    return ours, {}


def _precisions(name: str) -> dict[str, str]:
    return {"segmentation.precision": name, "embedding.precision": name}


def _tell(args: argparse.Namespace, report: Report) -> int:
    """Print the report; the exit code."""
    if args.json:
        stages = [{**asdict(stage), "shape": list(stage.shape)} for stage in report.stages]
        told = {"ok": report.ok, "first": report.first, "drifted": report.drifted, "der": report.der, "stages": stages}
        print(json.dumps(_plain(told)))
    else:
        from diarist.cli.verify_table import render

        sys.stdout.write(render(report))
    return 0 if report.ok else 1


def _plain(value: Any) -> Any:
    """What JSON can hold: no infinity."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and value in (float("inf"), float("-inf")) else value


def _shape(shape: Any) -> str:
    return " x ".join(map(str, shape))


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(f"diarist: {text}", file=sys.stderr)
