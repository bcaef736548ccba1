"""`diarist models`: what weights there are, where they are, and whether they are whole."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from diarist.errors import WeightsError
from diarist.models import cache, catalog
from diarist.models.catalog import Entry
from diarist.models.fetch import Progress, fetch

HELP = "list, fetch, locate and verify model weights"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what the catalogue knows, and what is in the cache")
    listing.add_argument("--json", action="store_true", help="as JSON, with hashes, licences and paths")
    pull = actions.add_parser("pull", help="fetch weights into the cache (by default those of the default engine)")
    path = actions.add_parser("path", help="print where a file is, after fetching it where need be")
    verify = actions.add_parser("verify", help="read what is in the cache and compare its hashes")
    for action in (pull, verify):
        action.add_argument("names", nargs="*", metavar="NAME", help="names of the catalogue")
    path.add_argument("names", nargs=1, metavar="NAME", help="a name of the catalogue")
    for action in (listing, pull, path, verify):
        action.add_argument("--offline", action="store_true", help="never open a socket")


def run(args: argparse.Namespace) -> int:
    """Do what `args.action` says; 0 where all is well. Raises `UsageError` or `WeightsError`."""
    actions: dict[str, Callable[[argparse.Namespace], None]] = {
        "list": _list,
        "pull": _pull,
        "path": _path,
        "verify": _verify,
    }
    actions[args.action](args)
    return 0


def _list(args: argparse.Namespace) -> None:
    rows = [_row(entry) for entry in catalog.CATALOG.values()]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    heads = ("name", "kind", "size", "state", "licence", "from")
    table = [heads]
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] > 1e5 else f"{row['bytes']} B"
        table.append(
            (row["name"], row["kind"], size, row["state"], row["licence"], f"{row['package']}=={row['version']}")
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(heads))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _row(entry: Entry) -> dict[str, Any]:
    path = cache.path_of(entry)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "package": entry.package,
        "version": entry.version,
        "member": entry.member,
        "bytes": entry.num_bytes,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "origin": entry.origin,
        "default": not entry.opt_in,
        "state": cache.state_of(entry, path),
        "path": str(path),
    }


def _pull(args: argparse.Namespace) -> None:
    entries = [catalog.get(name) for name in args.names] or catalog.defaults()
    for entry in entries:
        path = fetch(entry.name, offline=args.offline, progress=_progress())
        print(f"{entry.name}: {path}", file=sys.stderr)


def _path(args: argparse.Namespace) -> None:
    print(fetch(args.names[0], offline=args.offline, progress=_progress()))


def _verify(args: argparse.Namespace) -> None:
    """Hash every file; those never fetched are a fault only where they are named."""
    entries = [catalog.get(name) for name in args.names] or list(catalog.CATALOG.values())
    states = {entry.name: cache.state_of(entry, cache.path_of(entry), thorough=True) for entry in entries}
    for name, state in states.items():
        if state != "missing" or args.names:
            print(f"{name}: {'ok' if state == 'cached' else state}")
    wrong = [name for name, state in states.items() if state == "corrupt" or (state == "missing" and args.names)]
    if wrong:
        raise WeightsError(f"not as they should be: {', '.join(wrong)}; run 'diarist models pull {' '.join(wrong)}'")


def _progress() -> Progress | None:
    """A line on a terminal that says how far a file has come; nothing elsewhere."""
    if not sys.stderr.isatty():
        return None

    def show(name: str, done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r{name}: {done / 1e6:.1f} of {total / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)

    return show
