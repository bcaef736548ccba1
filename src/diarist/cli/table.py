"""What a person sees on a terminal: the turns, and a line for each speaker."""

from __future__ import annotations

from diarist.cli.progress import clock
from diarist.core.types import Diarization

LANE = 24  # characters of the little timeline


def render(result: Diarization) -> str:
    """Turns as a table, then talk time, share and number of turns of each speaker."""
    if not result.turns:
        return f"{result.uri}: nobody speaks{_length(result)}\n"
    lines = [
        f"{result.uri}: {_count(result.num_speakers, 'speaker')}, {_count(len(result), 'turn')}{_length(result)}",
        "",
    ]
    width = max(len(name) for name in result.labels)
    lines.append(f"{'start':>9}  {'end':>9}  {'seconds':>7}  {'speaker':<{width}}  confidence")
    for turn in result:
        lines.append(
            f"{stamp(turn.start):>9}  {stamp(turn.end):>9}  {turn.duration:7.2f}  {turn.speaker:<{width}}  "
            f"{turn.confidence:10.2f}"
        )
    lines.append("")
    total = sum(result.talk_time().values())
    end = result.duration or max(turn.end for turn in result)
    for name, seconds in result.talk_time().items():
        turns = sum(turn.speaker == name for turn in result)
        lines.append(
            f"{name:<{width}}  {_lane(result, name, end)}  {clock(seconds):>7}  {seconds / total:4.0%}  "
            f"{_count(turns, 'turn')}"
        )
    overlap = sum(stop - start for start, stop in result.overlaps())
    if overlap:
        lines.append(f"{'two at once':<{width}}  {'':{LANE}}  {clock(overlap):>7}")
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


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
