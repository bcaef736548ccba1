"""What a person sees on a terminal: the turns, and a line for each speaker."""

from __future__ import annotations

from diarist.cli.progress import clock
from diarist.core.types import Diarization

LANE = 24  # characters of the little timeline
WORK = ("segmentation", "embedding", "pooling")  # what goes on while a recording is listened to


def render(result: Diarization) -> str:
    """Turns as a table, then talk time, share and number of turns of each speaker."""
    if not result.turns:
        return f"{result.uri}: nobody speaks{_length(result)}\n"
    lines = [
        f"{result.uri}: {counted(result.num_speakers, 'speaker')}, {counted(len(result), 'turn')}{_length(result)}",
        "",
    ]
    width = max(len(name) for name in (*result.labels, "overlap"))
    time = max(len(stamp(turn.end)) for turn in result)  # characters
    lines.append(f"{'start':>{time}}  {'end':>{time}}  {'seconds':>7}  {'speaker':<{width}}  confidence")
    for turn in result:
        lines.append(
            f"{stamp(turn.start):>{time}}  {stamp(turn.end):>{time}}  {turn.duration:7.2f}  {turn.speaker:<{width}}  "
            f"{turn.confidence:10.2f}"
        )
    lines.append("")
    total = sum(result.talk_time().values())
    end = result.duration or max(turn.end for turn in result)
    for name, seconds in result.talk_time().items():
        turns = sum(turn.speaker == name for turn in result)
        lines.append(
            f"{name:<{width}}  {_lane(result, name, end)}  {clock(seconds):>{time}}  {seconds / total:4.0%}  "
            f"{counted(turns, 'turn')}"
        )
    overlap = sum(stop - start for start, stop in result.overlaps())
    if overlap:
        lines.append(f"{'overlap':<{width}}  {'':{LANE}}  {clock(overlap):>{time}}")
    return "\n".join(lines) + "\n"


def render_timings(result: Diarization) -> str:
    """How long each stage took, what its work added up to on all threads, and the whole."""
    timings = dict(result.extra.get("timings", {}))
    stages = [name for name in timings if name not in WORK]
    whole = sum(timings[name] for name in stages)
    speed = f", {(result.duration or 0.0) / whole:.0f} x real time" if whole else ""
    lines = [f"{result.uri}: {whole:.3f} s{speed}"]
    for name in stages:
        lines.append(f"  {name:<16}{timings[name]:9.3f} s")
        if name == "listening":
            lines += [f"    {work:<14}{timings[work]:9.3f} s on all threads" for work in WORK if work in timings]
    return "\n".join(lines) + "\n"


def stamp(seconds: float) -> str:
    """`0:07.25`, `1:02:03.50`."""
    whole = int(seconds)
    hundredths = round((seconds - whole) * 100)
    if hundredths == 100:
        whole, hundredths = whole + 1, 0
    return f"{clock(whole)}.{hundredths:02d}"


def _lane(result: Diarization, name: str, end: float) -> str:
    """Where in the recording a speaker talks, a character a stretch."""
    heard = [0.0] * LANE
    for turn in result:
        if turn.speaker == name:
            first, last = int(turn.start / end * LANE), min(LANE - 1, int(turn.end / end * LANE))
            for cell in range(min(first, LANE - 1), last + 1):
                low, high = cell * end / LANE, (cell + 1) * end / LANE
                heard[cell] += max(0.0, min(turn.end, high) - max(turn.start, low))
    return "".join(" .:|#"[min(4, int(seconds / (end / LANE) * 4 + 0.999))] for seconds in heard)


def _length(result: Diarization) -> str:
    return f" in {clock(result.duration)}" if result.duration else ""


def counted(number: int, thing: str, several: str | None = None) -> str:
    """`1 voice`, `2 voices`; `several` where the plural is no `s` more."""
    return f"{number} {thing if number == 1 else several or thing + 's'}"
