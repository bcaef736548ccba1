"""What moves between the rooms."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diarist.core.time import SAMPLE_RATE, Axis
from diarist.errors import ExtraError, UsageError

if TYPE_CHECKING:
    import pandas
    from pyannote.core import Annotation

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Waveform:
    """Mono sound: `samples` `(num_samples,)` float32, nominally in [-1, 1]."""

    samples: Float32
    sample_rate: int = SAMPLE_RATE
    uri: str = "audio"

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class Segmentation:
    """Who could be talking, locally: `activity` `(num_chunks, num_frames, num_local)` in [0, 1].

    Local speakers mean nothing outside their chunk. `chunks` places chunks in the recording, `frames` places the
    frames of a chunk inside it (and, aggregated, in the recording).
    """

    activity: NDArray[Any]
    chunks: Axis
    frames: Axis


@dataclass(frozen=True)
class Track:
    """Who is talking, globally: `scores` `(num_frames, num_speakers)`, frame `i` at `frames.span(i)`."""

    scores: Float32
    frames: Axis


@dataclass(frozen=True, order=True)
class Turn:
    """One speaker talking from `start` to `end`, in seconds; `confidence` in [0, 1]."""

    start: float
    end: float
    speaker: str = ""
    confidence: float = field(default=1.0, compare=False)

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class Match:
    """A person whom a voice may be, and how probable that is, in [0, 1]."""

    name: str
    probability: float


@dataclass(frozen=True)
class Speaker:
    """One voice of a recording: its label and, where an engine makes one, its `embedding` `(dimension,)`.

    `matches`: whom of a gallery the voice may be, the most probable first. The voice has been named where its label is
    one of them; it stays without a name where that would be in doubt.
    """

    label: str
    embedding: Float32 | None = field(default=None, compare=False, repr=False)
    matches: tuple[Match, ...] = field(default=(), compare=False)

    @property
    def match(self) -> Match | None:
        """The person that the voice has been named after, and how probable that is."""
        return next((match for match in self.matches if match.name == self.label), None)

    @property
    def margin(self) -> float | None:
        """How much more probable the name is than the next person's; None without a name."""
        named = self.match
        if named is None:
            return None
        return named.probability - max((m.probability for m in self.matches if m is not named), default=0.0)


@dataclass(frozen=True)
class SpeakerBounds:
    """At least `least` and at most `most` speakers; the exact count is the same number twice."""

    least: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        if self.least < 1:
            raise UsageError(f"the least number of speakers must be 1 or more, not {self.least}")
        if self.most is not None and self.most < self.least:
            raise UsageError(f"at most {self.most} speakers but at least {self.least}: swap or drop one of them")

    @classmethod
    def of(cls, num: int | None = None, least: int | None = None, most: int | None = None) -> SpeakerBounds:
        """From the three numbers that people give; `num` wins and must lie within the others.

        Raises `UsageError` for what is no whole number, and for bounds that nothing can keep.
        """
        num, least, most = (_whole(value) for value in (num, least, most))
        if num is None:
            return cls(1 if least is None else least, most)
        if num < 1:
            raise UsageError(f"the number of speakers must be 1 or more, not {num}")
        if (least is not None and num < least) or (most is not None and num > most):
            raise UsageError(f"{num} speakers asked for, but the bounds given are {least or 1} to {most or 'any'}")
        return cls(num, num)

    @property
    def exact(self) -> int | None:
        """The count where it is known."""
        return self.least if self.least == self.most else None

    def clip(self, count: int) -> int:
        """The nearest count inside the bounds."""
        count = max(count, self.least)
        return count if self.most is None else min(count, self.most)


def _whole(value: Any) -> int | None:
    """A number of speakers; 3.0 will do (tables have no whole numbers beside gaps), `True` and "3" will not."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if value is not None and not (is_number and value == value // 1):
        raise UsageError(f"a number of speakers must be a whole number, not {value!r}")
    return None if value is None else int(value)


@dataclass(frozen=True)
class Diarization:
    """Who spoke when in one recording: turns in order of start, and what is known of each speaker.

    `warnings` says in words where the answer differs from what was asked (fewer speakers than demanded, say);
    `extra` carries provenance such as the configuration's fingerprint.
    """

    turns: tuple[Turn, ...] = ()
    uri: str = "audio"
    speakers: Mapping[str, Speaker] = field(default_factory=dict)
    duration: float | None = None
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", tuple(sorted(self.turns)))
        known = dict(self.speakers)
        for turn in self.turns:
            known.setdefault(turn.speaker, Speaker(turn.speaker))
        object.__setattr__(self, "speakers", known)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def labels(self) -> list[str]:
        """Speakers that have a turn, in order of first appearance."""
        return list(dict.fromkeys(turn.speaker for turn in self.turns))

    @property
    def num_speakers(self) -> int:
        """How many speakers have a turn."""
        return len(self.labels)

    def talk_time(self) -> dict[str, float]:
        """Seconds that each speaker talks, in order of first appearance."""
        total: dict[str, float] = {}
        for turn in self.turns:
            total[turn.speaker] = total.get(turn.speaker, 0.0) + turn.duration
        return total

    def rename(self, names: Mapping[str, str]) -> Diarization:
        """The same turns under other names; labels that are not in `names` stay."""
        turns = tuple(replace(turn, speaker=names.get(turn.speaker, turn.speaker)) for turn in self.turns)
        speakers = {names.get(k, k): replace(v, label=names.get(k, k)) for k, v in self.speakers.items()}
        return replace(self, turns=turns, speakers=speakers)

    def crop(self, start: float, end: float) -> Diarization:
        """What lies within `[start, end)`, at its own time; turns are cut at the edges."""
        cut = (replace(t, start=max(t.start, start), end=min(t.end, end)) for t in self.turns)
        return replace(self, turns=tuple(t for t in cut if t.end > t.start))

    def exclusive(self) -> Diarization:
        """At most one speaker at a time: where turns overlap, the more confident one stays, then the longer one."""
        return replace(self, turns=tuple(_exclusive(self.turns)))

    def overlaps(self) -> list[tuple[float, float]]:
        """Stretches where two or more speakers talk at once, in seconds, as long as they can be."""
        edges = sorted((time, step, t.speaker) for t in self.turns for time, step in ((t.start, 1), (t.end, -1)))
        talking: Counter[str] = Counter()
        spans: list[tuple[float, float]] = []
        since: float | None = None
        for time, group in itertools.groupby(edges, key=lambda edge: edge[0]):
            for _, step, speaker in group:
                talking[speaker] += step
                if talking[speaker] == 0:
                    del talking[speaker]
            if len(talking) > 1 and since is None:
                since = time
            elif len(talking) < 2 and since is not None:
                spans.append((since, time))
                since = None
        return spans

    def to_rttm(self) -> str:
        """NIST RTTM, one line a turn, times to the millisecond; white space in names becomes `_`."""
        uri = _one_word(self.uri)
        return "".join(
            f"SPEAKER {uri} 1 {t.start:.3f} {t.duration:.3f} <NA> <NA> {_one_word(t.speaker)} <NA> <NA>\n"
            for t in self.turns
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """A pandas frame with the columns `start, end, speaker, confidence`.

        Raises `ExtraError` without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise ExtraError("pandas", "pandas", "Diarization.to_dataframe()") from error
        rows = [(t.start, t.end, t.speaker, t.confidence) for t in self.turns]
        return pandas.DataFrame(rows, columns=["start", "end", "speaker", "confidence"])

    def to_annotation(self) -> Annotation:
        """A `pyannote.core.Annotation`. Raises `ExtraError` without pyannote.core."""
        try:
            from pyannote.core import Annotation, Segment
        except ImportError as error:
            raise ExtraError("pyannote.core", "pyannote", "Diarization.to_annotation()") from error
        annotation = Annotation(uri=self.uri)
        for index, turn in enumerate(self.turns):
            annotation[Segment(turn.start, turn.end), index] = turn.speaker
        return annotation


def _one_word(name: str) -> str:
    """A name that survives a format whose fields are parted by white space, and in which `<NA>` is nobody."""
    word = "_".join(name.split()) or "_"
    return "NA" if word == "<NA>" else word


def _exclusive(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Cut overlapping turns so that one speaker is left at any time."""
    turns = sorted(t for t in turns if t.end > t.start)
    cuts = sorted({t.start for t in turns} | {t.end for t in turns})
    open_turns: list[Turn] = []
    following = 0
    held: Turn | None = None  # the piece being grown
    source: Turn | None = None  # the turn that it comes from
    for start, end in itertools.pairwise(cuts):
        open_turns = [t for t in open_turns if t.end > start]
        while following < len(turns) and turns[following].start <= start:
            open_turns.append(turns[following])
            following += 1
        best = max(open_turns, key=lambda t: (t.confidence, t.duration, -t.start, t.speaker), default=None)
        if held is not None and best is source and best is not None:
            held = replace(held, end=end)
            continue
        if held is not None:
            yield held
        source, held = best, None if best is None else replace(best, start=start, end=end)
    if held is not None:
        yield held


@dataclass(frozen=True)
class Update:
    """What a stream says when more of it has been heard; times are in seconds from its first sample.

    `final`: what has become settled since the update before, up to `settled`; it is never taken back. A turn that goes
    on is cut there, and its rest comes with later updates. `tentative`: the best answer from `settled` to `until`, the
    end of what has been heard; each update replaces it. `renamed`: speakers found since to be somebody known already,
    gone name to kept name; from here on only the kept one is used (an update of several steps at once may have turns in
    `final` that were said before, under the gone one). `session`: with the last update, all of the stream clustered
    anew, as the offline pipeline would have it.
    """

    final: tuple[Turn, ...]
    tentative: tuple[Turn, ...]
    until: float
    settled: float = 0.0
    renamed: Mapping[str, str] = field(default_factory=dict)
    session: Diarization | None = None


@dataclass(frozen=True)
class Word:
    """A transcribed word: its text as written, with its punctuation and without blanks around it.

    `start` and `end` in seconds are None where the aligner found none. `score` in [0, 1] is the recogniser's belief in
    the text, `confidence` in [0, 1] ours in the `speaker`; None where nobody said.
    """

    text: str
    start: float | None = None
    end: float | None = None
    speaker: str | None = None
    confidence: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class Utterance:
    """A stretch of a transcript that belongs together (Whisper's and SegLST's segment): its text and, where they are
    known, its words in the order in which they are written. Everything but the text may be unknown."""

    text: str
    start: float | None = None
    end: float | None = None
    speaker: str | None = None
    confidence: float | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording: utterances as they came, with their language if known."""

    utterances: tuple[Utterance, ...] = ()
    uri: str = "audio"
    language: str | None = None

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all utterances; an utterance without words of its own gives none."""
        return tuple(word for utterance in self.utterances for word in utterance.words)

    @property
    def speakers(self) -> list[str]:
        """Everybody who is named, in order of appearance."""
        names = (name for u in self.utterances for name in (*(word.speaker for word in u.words), u.speaker))
        return list(dict.fromkeys(name for name in names if name is not None))
