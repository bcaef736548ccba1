"""NIST UEM (un-partitioned evaluation map): `uri channel start end`, the stretches that are scored."""

from __future__ import annotations

from collections.abc import Iterable

from diarist.formats.fields import NO_NAME, lines

Region = tuple[str, float, float]
"""A recording's uri, and the start and end of a stretch in seconds."""


def dumps(regions: Iterable[Region]) -> str:
    """One line a stretch, to the millisecond; white space in names becomes `_`."""
    return "".join(f"{'_'.join(uri.split()) or '_'} 1 {start:.3f} {end:.3f}\n" for uri, start, end in regions)


def loads(text: str, *, name: str = NO_NAME) -> list[Region]:
    """The stretches in the order of the file; those of no length are dropped.

    Raises `FormatError` with `name:line`.
    """
    regions: list[Region] = []
    for place, line in lines(text, name):
        fields = line.split()
        if len(fields) < 4:
            raise place.error(f"a UEM line has 4 fields (uri, channel, start, end), not {len(fields)}")
        start, end = place.number(fields[2], "start"), place.number(fields[3], "end")
        if end < start:
            raise place.error(f"the stretch ends at {end:g} s, before its start at {start:g} s")
        if end > start:
            regions.append((fields[0], start, end))
    return regions
