"""Two stored runs, of which nothing can be run again: which of their stages is the one that differs.

What follows a network is exact, so that an answer of its that moved by a rounding shows in the stage after it only.
Such a stage is not the one to look at where the network's answers say the same as it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from diarist.evaluation.stagewise import FLOAT32, Report, Stage, compare, passes
from diarist.pipelines.record import Run

_SPREAD = 8.0  # times the root of what a cosine lacks to one: how far it can move a distance, of centred rows too
_CARRIED = "within its tolerance, but what follows differs by it"


def compare_stored(own: Run, other: Run) -> Report:
    """A run against another one, both as they are: networks are held to float32, whatever they were run in, and have
    the blame for a stage that only repeats what they say."""
    report = compare(own, other, None, FLOAT32)
    for name, explains in _EXPLAINED.items():
        network = next((s for s in report.stages if s.name == name), None)
        if report.first is None or network is None or network.drift is None or not explains(report, own, other):
            continue
        moved = replace(network, ok=False, note=_CARRIED)
        return replace(report, stages=tuple(moved if s is network else s for s in report.stages))
    return report


def _by_classes(report: Report, own: Run, other: Run) -> bool:
    """Whether what is binarized differs only in frames whose best class does."""
    if report.first != "binarized":
        return False
    (ours, theirs), scores = ([run.arrays[name] for run in (own, other)] for name in ("binarized", "segmentation"))
    if ours.shape != theirs.shape or scores[0].shape != scores[1].shape or ours.shape[:2] != scores[0].shape[:2]:
        return False
    differs = (ours != theirs).any(axis=-1)
    moved = scores[0].argmax(axis=-1) != scores[1].argmax(axis=-1)
    return not bool((differs & ~moved).any())


def _by_voices(report: Report, own: Run, other: Run) -> bool:
    """Whether distances differ by no more than the voices' angles let them."""
    stages: Mapping[str, Stage] = {stage.name: stage for stage in report.stages}
    voices, distances = stages["embeddings"].drift, stages.get("distances")
    if report.first != "distances" or voices is None or voices.agreement is None or distances is None:
        return False
    wider = replace(distances.tolerance, largest=1e-6 + _SPREAD * float(np.sqrt(max(0.0, 1 - voices.agreement))))
    return bool(voices.largest) and distances.drift is not None and passes(distances.drift, wider)


_EXPLAINED: Mapping[str, Callable[[Report, Run, Run], bool]] = {"segmentation": _by_classes, "embeddings": _by_voices}
