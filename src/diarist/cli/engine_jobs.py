"""Which recordings an engine is to hear, and what is known of each: files, folders, NeMo's manifest."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.errors import InputError, UsageError
from diarist.pipelines.nemo_presets import NemoStyleConfig

if TYPE_CHECKING:
    from diarist.formats.manifest import Line, Spans

ORACLE = "oracle"
SPEECH_FILES = (".rttm", ".uem", ".lab", ".json", ".jsonl", ".csv", ".txt", ".vtt", ".textgrid")
"""What may say where there is speech, in place of a model."""


@dataclass(frozen=True)
class Job:
    """A recording, its name, and what is known of it: further arguments of the engine's call."""

    path: Path
    uri: str
    known: Mapping[str, Any] = field(default_factory=dict)


def jobs_of(args: argparse.Namespace, config: Any) -> list[Job]:
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
        if isinstance(config, NemoStyleConfig) and args.vad == ORACLE:
            jobs = [
                Job(j.path, j.uri, {"speech": _speech_of(j, j.path.with_suffix(".rttm"), alone=True)}) for j in jobs
            ]
    if isinstance(config, NemoStyleConfig) and args.vad not in (None, ORACLE) and says_speech(args.vad):
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


def says_speech(name: str) -> bool:
    """Whether that names a file that may say where there is speech."""
    return Path(name).suffix.lower() in SPEECH_FILES
