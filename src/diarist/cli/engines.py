"""The engines of `diarist run`: what each is built from, and which recordings it is to hear."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.cli.flags import given, type_of
from diarist.core.config import walk
from diarist.errors import InputError, UsageError
from diarist.pipelines import nemo_presets, presets
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from diarist.pipelines.nemo_presets import NemoStyleConfig

if TYPE_CHECKING:
    from diarist.formats.manifest import Line, Spans
    from diarist.pipelines.nemo_style import NemoStyleDiarizer
    from diarist.pipelines.offline import Diarizer

ENGINES = ("clustering", "nemo-style")
"""The methods, the default one first."""

ORACLE = "oracle"
SPEECH_FILES = (".rttm", ".uem", ".lab", ".json", ".jsonl", ".csv", ".txt", ".vtt", ".textgrid")
"""What may say where there is speech, in place of a model."""


@dataclass(frozen=True)
class Job:
    """A recording, its name, and what is known of it: further arguments of the engine's call."""

    path: Path
    uri: str
    known: Mapping[str, Any] = field(default_factory=dict)


def add_engines(parser: argparse.ArgumentParser) -> None:
    """`--engine`, `--preset` and `--preset-file`."""
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="the method: changes the answer")
    names = "; ".join(f"{p.name}: {p.summary}" for p in presets.PRESETS.values())
    others = "; ".join(f"{p.name}: {p.summary}" for p in nemo_presets.PRESETS.values())
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help=f"{names}. Default {presets.DEFAULT}. Of nemo-style: {others}. Default {nemo_presets.DEFAULT}",
    )
    parser.add_argument("--preset-file", metavar="FILE", help="a TOML or JSON file of values on top of the preset")
    parser.add_argument(
        "--show-config", action="store_true", help="print what the preset and the options come to, as TOML, and end"
    )


def add_nemo_style(parser: argparse.ArgumentParser) -> None:
    """What `--engine nemo-style` takes beside the models that it shares with the default engine."""
    group = parser.add_argument_group("nemo-style (defaults are those of general; a preset may change them)")
    group.add_argument(
        "--vad",
        metavar="MODEL|FILE",
        help="who says where there is speech: silero, segmentation, marblenet, an ONNX file; or a file of stretches "
        f"({', '.join(SPEECH_FILES)}); or '{ORACLE}': the RTTM that the manifest names, or beside the recording",
    )
    group.add_argument("--manifest", metavar="FILE", help="NeMo's list of recordings: a JSON object a line")
    group.add_argument(
        "--accept-licence",
        action="store_true",
        help="use weights whose package does not state a licence (marblenet): you have cleared it",
    )
    shared = {name for name, _, _ in walk(PipelineConfig())}
    for name, default, metadata in walk(NemoStyleConfig()):
        if name in shared:
            continue
        switch = isinstance(default, bool)
        kind: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction if default else "store_true"}
            if switch
            else {"type": type_of(default), "metavar": name.rsplit(".", 1)[-1].upper()}
        )
        said = ",".join(map(str, default)) if isinstance(default, tuple) else default
        text = metadata["help"] if switch or default is None else f"{metadata['help']}; default {said}"
        flag = "--" + name.replace(".", "-").replace("_", "-")
        group.add_argument(flag, dest=f"config:{name}", default=argparse.SUPPRESS, help=text, **kind)


def diarizer_of(args: argparse.Namespace) -> Diarizer | NemoStyleDiarizer:
    """The engine that the arguments ask for. Raises `UsageError` where they belong to another one."""
    from diarist.models.vad import ACCEPT
    from diarist.pipelines.nemo_style import NemoStyleDiarizer
    from diarist.pipelines.offline import Diarizer

    if args.accept_licence:
        os.environ[ACCEPT] = ",".join(filter(None, [os.environ.get(ACCEPT), "marblenet-vad"]))
    runtime = given(args, RuntimeConfig())
    ours, theirs = given(args, PipelineConfig()), given(args, NemoStyleConfig())
    if args.engine == "clustering":
        if args.vad is not None and not (args.vad == ORACLE or _says_speech(args.vad)):
            ours["segmentation.vad"], args.vad = "none" if args.vad == "segmentation" else args.vad, None
        _refuse(args, [*_flags(theirs.keys() - ours.keys()), *_given(args, "vad", "manifest")], "nemo-style")
        config = presets.resolve(args.preset or presets.DEFAULT, args.preset_file, ours)
        return Diarizer(args.preset or presets.DEFAULT, config=config, **runtime)
    _refuse(args, [*_flags(ours.keys() - theirs.keys()), *_given(args, "channels_are_speakers")], "clustering")
    if args.vad is not None and args.vad != ORACLE and not _says_speech(args.vad):
        theirs["vad.model"] = args.vad
    preset = args.preset or nemo_presets.DEFAULT
    return NemoStyleDiarizer(preset, config=nemo_presets.resolve(preset, args.preset_file, theirs), **runtime)


def weights_of(config: PipelineConfig | NemoStyleConfig) -> list[str]:
    """Names of what a configuration runs, those of the catalogue among them."""
    from diarist.models.vad import NAMES

    vad = config.vad.model if isinstance(config, NemoStyleConfig) else config.segmentation.vad
    hears = not isinstance(config, NemoStyleConfig) or config.segmentation.overlap
    return [*([config.segmentation.model] if hears else []), NAMES.get(vad, vad), config.embedding.model]


def jobs_of(args: argparse.Namespace, config: PipelineConfig | NemoStyleConfig) -> list[Job]:
    """The recordings to hear, with what `config` wants to know of them.

    Raises `InputError` for files that are not there or do not say what is asked of them."""
    from diarist.audio.files import expand, unique_uris

    if args.manifest is not None:
        if args.audio:
            raise UsageError("--manifest names the recordings: leave out AUDIO")
        from diarist.formats import manifest

        lines = manifest.read(args.manifest)
        oracle = isinstance(config, NemoStyleConfig) and config.clustering.oracle_num_speakers
        jobs = [Job(line.audio, line.uri, _known(line, args, oracle)) for line in lines]
    else:
        files = expand(args.audio)
        jobs = [Job(path, uri) for path, uri in zip(files, unique_uris(files), strict=True)]
        if args.engine == "nemo-style" and args.vad == ORACLE:
            jobs = [
                Job(j.path, j.uri, {"speech": _speech_of(j, j.path.with_suffix(".rttm"), alone=True)}) for j in jobs
            ]
    if args.engine == "nemo-style" and args.vad not in (None, ORACLE) and _says_speech(args.vad):
        alone = len(jobs) == 1
        jobs = [Job(j.path, j.uri, {**j.known, "speech": _speech_of(j, Path(args.vad), alone=alone)}) for j in jobs]
    return jobs


def _known(line: Line, args: argparse.Namespace, oracle: bool) -> dict[str, Any]:
    """What a line of a manifest says of a recording."""
    known: dict[str, Any] = {"offset": line.offset, "duration": line.duration}
    job = Job(line.audio, line.uri)
    if oracle and args.num_speakers is None:
        if line.num_speakers is None:
            raise InputError(f"the manifest says no 'num_speakers' of '{line.uri}', which oracle_num_speakers asks for")
        known["num_speakers"] = line.num_speakers
    if args.vad == ORACLE:
        if line.rttm is None:
            raise InputError(f"the manifest names no 'rttm_filepath' for '{line.uri}', which --vad {ORACLE} asks for")
        known["speech"] = _speech_of(job, line.rttm, alone=True)
    if line.uem is not None:
        known["regions"] = _speech_of(job, line.uem, alone=True)
    return known


def _speech_of(job: Job, path: Path, *, alone: bool) -> Sequence[tuple[float, float]]:
    """The stretches that a file gives for a recording; where both are the only ones, names may differ."""
    from diarist.formats.manifest import read_speech

    spans: Spans = read_speech(path)
    for name in (job.uri, job.path.stem):
        if name in spans:
            return spans[name]
    if alone and len(spans) == 1:
        return next(iter(spans.values()))
    raise InputError(f"'{path}' says nothing of '{job.uri}': it speaks of {', '.join(list(spans)[:5]) or 'nothing'}")


def _says_speech(name: str) -> bool:
    return Path(name).suffix.lower() in SPEECH_FILES


def _flags(names: Iterable[str]) -> list[str]:
    return ["--" + name.replace(".", "-").replace("_", "-") for name in sorted(names)]


def _given(args: argparse.Namespace, *names: str) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) not in (None, False)]


def _refuse(args: argparse.Namespace, flags: list[str], engine: str) -> None:
    """Raise `UsageError` where flags of another engine were given."""
    if flags:
        raise UsageError(f"{flags[0]} belongs to --engine {engine}, not to {args.engine}")
