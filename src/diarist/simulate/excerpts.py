"""Stretches of speech cut out of recordings at pauses.

The activity that the references of simulated conversations rest on is defined here, in `activity()`: an energy
threshold on frames of 10 ms, nothing else, so that anybody can compute it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32, Float64, Int64, Waveform
from diarist.errors import AudioError
from diarist.simulate.reading import SECTION, duration_of, num_sections, read_section
from diarist.simulate.sources import Speech

FRAME = 160
"""Samples in a frame: 10 ms at 16 kHz. Everything that a reference says lies on this grid."""

PAUSE = 20
"""Frames that are left of a pause at most: less than any `bridge`, so that an excerpt has no silence to show."""

MARGIN = 3
"""Frames of a recording's own quiet that stay around an excerpt, faded."""

LEVEL = -26.0
"""Speech level that every recording is brought to: RMS of its active frames, in dB."""

Bool = NDArray[np.bool_]


def frame_levels(samples: Float32) -> Float64:
    """Level of each whole frame of 10 ms, in dB (0 for an RMS of 1, at least -120). Shape `(num_frames,)`."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    levels: Float64 = 10 * np.log10(np.maximum(np.mean(frames**2, axis=1), 1e-12))
    return levels


def loud(levels: Float64) -> Bool:
    """Which frames are loud enough to be speech. Shape `(num_frames,)`.

    The threshold is 10 dB over the floor (5th percentile of all frames), but at least 20 and at most 30 dB under the
    speech level (95th percentile). Where the speech level is under -70 dB there is no speech.
    """
    floor, speech = np.percentile(levels, [5, 95]) if len(levels) else (0.0, -120.0)
    threshold = np.inf if speech < -70 else np.clip(floor + 10, speech - 30, speech - 20)
    return np.asarray(levels > threshold)


def activity(levels: Float64) -> Bool:
    """Which frames hold speech. Shape `(num_frames,)`.

    Those that are `loud`; then holes of up to 3 frames (stop closures) are filled, and then bursts of up to 5 frames
    (clicks) removed.
    """
    return _without_short(_without_short(loud(levels), False, 3), True, 5)


def runs(active: Bool) -> Int64:
    """First and past-the-last frame of each stretch of True. Shape `(num_runs, 2)`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    return edges.reshape(-1, 2)


def _without_short(active: Bool, value: bool, longest: int) -> Bool:
    """Flip stretches of `value` of at most `longest` frames (holes at the edges stay)."""
    result: Bool = active.copy()
    for start, end in runs(active == value):
        if end - start <= longest and (value or (start > 0 and end < len(active))):
            result[start:end] = not value
    return result


@dataclass(frozen=True)
class Excerpt:
    """Speech cut out for one turn: active in its first and its last frame.

    `samples` `(num_frames * 160,)` is preceded by `before` and followed by `after` samples of the recording's own
    quiet, faded, which the reference does not count. `speaking` `(num_frames,)` is where it may be cut. `sources` names
    the files and the second each is entered at; `again` says whether any of it was said before.
    """

    samples: Float32
    before: Float32
    after: Float32
    speaking: Bool
    sources: tuple[tuple[str, float], ...]
    again: bool

    @property
    def num_frames(self) -> int:
        """Length of the active stretch, in frames."""
        return len(self.speaking)

    def head(self, num_frames: int) -> Excerpt:
        """Its beginning, of at most so many frames: it too ends in speech."""
        if num_frames >= self.num_frames:
            return self
        num_frames = int(np.flatnonzero(self.speaking[:num_frames])[-1]) + 1
        samples = self.samples[: num_frames * FRAME].copy()
        samples[-FRAME // 2 :] *= _ramp(FRAME // 2)[::-1]
        return replace(self, samples=samples, after=self.after[:0], speaking=self.speaking[:num_frames])

    def silent(self) -> Excerpt:
        """The same without its sound, which needs no memory."""
        nothing = np.zeros(0, np.float32)
        return replace(self, samples=nothing, before=nothing, after=nothing)


@dataclass(frozen=True)
class Stretch:
    """Speech with its long pauses taken out, frame by frame.

    `frames` `(n, 160)`; `levels` `(n,)` in dB (-inf in holes that activity was filled into); `active` `(n,)`; `index`
    `(n,)` is the frame in the file, `file` `(n,)` which file (counted on when the files are gone through again).
    """

    frames: Float32
    levels: Float64
    active: Bool
    index: Int64
    file: Int64

    def __len__(self) -> int:
        return len(self.active)

    @property
    def speaking(self) -> Bool:
        """Frames that an excerpt may begin or end with: active and no hole."""
        return self.active & np.isfinite(self.levels)

    def after(self, start: int) -> Stretch:
        """What begins at frame `start`."""
        return Stretch(
            self.frames[start:], self.levels[start:], self.active[start:], self.index[start:], self.file[start:]
        )

    def then(self, other: Stretch) -> Stretch:
        """One after the other."""
        return Stretch(
            np.concatenate((self.frames, other.frames)),
            np.concatenate((self.levels, other.levels)),
            np.concatenate((self.active, other.active)),
            np.concatenate((self.index, other.index)),
            np.concatenate((self.file, other.file)),
        )


class Tape:
    """Everything that one speaker says, one file after another in a random order, with pauses shortened.

    Files are brought to one speech level. With `reuse` the tape starts again, in another order, when all is used up;
    without, `take()` then returns None. The same seed gives the same tape. `warnings` names the files that were left
    out, `passes` counts how often the tape was begun.
    """

    def __init__(self, speech: Speech, seed: np.random.SeedSequence, *, reuse: bool = True) -> None:
        self.speech = speech
        self.reuse = reuse
        self.warnings: list[str] = []
        self._seed = seed
        self._previewing = False
        self._without: set[tuple[int, int]] = set()
        self._kept: dict[tuple[int, int], Stretch] = {}
        self._rewind()

    def _rewind(self) -> None:
        self.passes = 0
        self._rng = np.random.default_rng(self._seed)
        self._queue: Iterator[tuple[int, int]] = iter(())
        self._found = False
        self._ahead: Stretch | None = None

    def preview(self, length: int) -> Float32:
        """The samples of about the first `length` frames, less where there is less to say; takes nothing."""
        reuse, self.reuse, self._previewing = self.reuse, False, True
        excerpt = self.take(length)
        self.reuse, self._previewing = reuse, False
        self._rewind()
        return np.zeros(0, np.float32) if excerpt is None else excerpt.samples

    def take(self, length: int) -> Excerpt | None:
        """Cut the next excerpt of about `length` frames; None where the speaker has nothing (more) to say.

        Of the ends of speech within a quarter of the length (at least 10 frames) the nearest to `length` is taken;
        where there is none, the quietest frame within a tenth; and in the middle of a pause, the nearest end of speech.
        """
        need = length + max(length // 4, 10) + 10
        while self._ahead is None or len(self._ahead) < need:
            more = self._load()
            if more is None:
                break
            self._ahead = more if self._ahead is None else self._ahead.then(more)
        if self._ahead is None or not self._ahead.speaking.any():
            self._ahead = None
            return None
        start = int(np.argmax(self._ahead.speaking))
        end = _cut(self._ahead, start, length)
        excerpt = self._excerpt(self._ahead, start, end)
        self._ahead = self._ahead.after(end)
        return excerpt

    def _load(self) -> Stretch | None:
        """The next section that holds speech."""
        for _ in range(2):
            for item, section in self._queue:
                stretch = self._read(item, section)
                if stretch is not None:
                    self._found = True
                    return stretch
            if self.passes and not (self.reuse and self._found):
                return None
            self._queue = iter(self._shuffled())
            self.passes += 1
        return None

    def _shuffled(self) -> list[tuple[int, int]]:
        """Every section that may hold speech, as `(file, section)`."""
        sections: list[tuple[int, int]] = []
        for item in self._rng.permutation(len(self.speech.utterances)).tolist():
            try:
                num = num_sections(duration_of(self.speech.utterances[item]))
            except AudioError:
                num = 1  # told when it is read
            sections += [(item, k) for k in self._rng.permutation(num).tolist()]
        return sections

    def _read(self, item: int, section: int) -> Stretch | None:
        """A section; what the preview read is given once more, so that it is not decoded twice."""
        stretch = self._kept.pop((item, section), None) or self._compacted(item, section)
        if self._previewing and stretch is not None:
            self._kept[item, section] = replace(stretch)
        if stretch is not None:
            index = stretch.index + round(section * SECTION * SAMPLE_RATE / FRAME)
            file = np.full(len(stretch), item + (self.passes - 1) * len(self.speech.utterances))
            stretch = replace(stretch, index=index, file=file)
        return stretch

    def _compacted(self, item: int, section: int) -> Stretch | None:
        if (item, section) in self._without:
            return None
        try:
            stretch = compact(read_section(self.speech.utterances[item], section))
            problem = f"no speech found in '{self._name(item)}'" if stretch is None else ""
        except AudioError as error:
            stretch, problem = None, str(error)
        if stretch is None:
            self._without.add((item, section))
            self.warnings.append(problem)
        return stretch

    def _name(self, item: int) -> str:
        utterance = self.speech.utterances[item % len(self.speech.utterances)]
        return utterance.uri if isinstance(utterance, Waveform) else str(utterance)

    def _excerpt(self, stretch: Stretch, start: int, end: int) -> Excerpt:
        before, body, after = _pieces(stretch, start, end)
        entered = np.flatnonzero(np.diff(stretch.file[start:end], prepend=-1))
        sources = tuple(
            (self._name(int(stretch.file[start + i])), float(stretch.index[start + i]) * FRAME / SAMPLE_RATE)
            for i in entered
        )
        again = bool(stretch.file[end - 1] >= len(self.speech.utterances))
        return Excerpt(body, before, after, stretch.speaking[start:end].copy(), sources, again)


def compact(samples: Float32) -> Stretch | None:
    """A recording without its long pauses, at one speech level; None where it holds no speech.

    Of a pause longer than `PAUSE` frames, half of it stays at either end; `MARGIN` frames stay around the whole.
    """
    samples = samples[: len(samples) // FRAME * FRAME]
    if len(samples):
        samples = samples - np.mean(samples, dtype=np.float64).astype(np.float32)
    levels = frame_levels(samples)
    active = activity(levels)
    if not active.any():
        return None
    power = float(np.mean(10 ** (levels[active] / 10)))
    levels[active & ~loud(levels)] = -np.inf
    keep = active.copy()
    first, last = np.flatnonzero(active)[[0, -1]]
    for start, end in runs(~active):
        edge = start <= first or end > last
        kept = MARGIN if edge else PAUSE // 2
        keep[start : min(start + kept, end)] |= start > first
        keep[max(end - kept, start) : end] |= end <= last
    index = np.flatnonzero(keep)
    frames = samples.reshape(-1, FRAME)[index] * np.float32(10 ** (LEVEL / 20) / np.sqrt(power))
    _smooth_joins(frames, index)
    return Stretch(frames, levels[index], active[index], index, np.zeros(len(index), np.int64))


def _smooth_joins(frames: Float32, index: Int64) -> None:
    """Fade out and in, over half a frame each, where frames that were not neighbours meet, and at both ends."""
    ramp = _ramp(FRAME // 2)
    joins = np.flatnonzero(np.diff(index) > 1)
    frames[np.append(joins, -1), FRAME // 2 :] *= ramp[::-1]
    frames[np.append(joins + 1, 0), : FRAME // 2] *= ramp


def _ramp(length: int) -> Float32:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)


def _cut(stretch: Stretch, start: int, length: int) -> int:
    """Past-the-last frame of an excerpt of about `length` frames from `start`; the last frame is active."""
    active = stretch.active
    last = int(np.flatnonzero(stretch.speaking)[-1]) + 1
    ends = np.flatnonzero(stretch.speaking & ~np.append(active[1:], False)) + 1
    wanted = start + length
    near = ends[(np.abs(ends - wanted) <= max(length // 4, 10)) & (ends >= start + 3)]
    if len(near):
        return int(near[np.argmin(np.abs(near - wanted))])
    slack = max(length // 10, 3)
    around = np.arange(max(wanted - slack, start + 3), min(wanted + slack, last - 1) + 1)
    around = around[stretch.speaking[around - 1]] if len(around) else around
    if len(around):
        return int(around[np.argmin(stretch.levels[around - 1])])
    return int(ends[np.argmin(np.abs(ends - max(wanted, start + 3)))])


def _pieces(stretch: Stretch, start: int, end: int) -> tuple[Float32, Float32, Float32]:
    """Quiet before, the excerpt, quiet after; faded where there is quiet, and over half a frame where there is none."""
    active = stretch.active
    before, after = start, end
    while before > max(start - MARGIN, 0) and not active[before - 1]:
        before -= 1
    while after < min(end + MARGIN, len(active)) and not active[after]:
        after += 1
    lead, body, tail = (
        stretch.frames[a:b].reshape(-1).copy() for a, b in ((before, start), (start, end), (end, after))
    )
    ramp = _ramp(FRAME // 2)
    if len(lead):
        lead *= _ramp(len(lead))
    else:
        body[: len(ramp)] *= ramp
    if len(tail):
        tail *= _ramp(len(tail))[::-1]
    else:
        body[-len(ramp) :] *= ramp[::-1]
    return lead, body, tail
