"""`diarist convert SOURCE --to onnx|torch|mlx --dtype fp32|fp16|int8 --output DIR`: a network in another file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diarist.errors import UsageError

HELP = "write a network as ONNX, or as tensors for torch or MLX, and check that it gives the same answers"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; those of the MLX port's converters are taken too."""
    from diarist.models.export import DTYPES, TARGETS

    parser.add_argument("source", nargs="?", metavar="SOURCE", help="a catalogue name, hub id, checkpoint or folder")
    parser.add_argument("--repo-id", "--pytorch-path", dest="repo_id", metavar="SOURCE", help="SOURCE, for mlx")
    parser.add_argument("--to", choices=TARGETS, help="what is to run it (onnx; mlx with --repo-id)")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="fp32", metavar="DTYPE", help="fp32, fp16, bf16 or int8 (fp32)"
    )
    parser.add_argument("--output", "--mlx-path", "-o", type=Path, metavar="DIR", help="a folder, or the file itself")
    parser.add_argument(
        "--model-type",
        choices=("segmentation", "embedding", "full"),
        default="",
        help="which of a pipeline's networks; full: both, each in a folder of its own",
    )
    parser.add_argument("--licence", "--license", metavar="NAME", help="of the weights, where nothing else says it")
    parser.add_argument("--show", action="store_true", help="say what SOURCE is, and write nothing")
    parser.add_argument("--offline", action="store_true", help="never open a socket")


def run(args: argparse.Namespace) -> int:
    """Convert, and print the path of each file written. Raises `DiaristError`."""
    if (args.source is None) == (args.repo_id is None):
        raise UsageError("one SOURCE is needed: a catalogue name, hub id, checkpoint or folder")
    source = args.source or args.repo_id
    if args.show:
        return _show(source, args)
    if args.output is None:
        raise UsageError("say where to: --output DIR")
    from diarist.models.export import convert

    full = args.model_type == "full"
    for kind in ("segmentation", "embedding") if full else (args.model_type,):
        done = convert(
            source,
            to=args.to or ("mlx" if args.repo_id else "onnx"),
            dtype=args.dtype,
            output=args.output / kind if full else args.output,
            kind=kind,
            licence=args.licence,
            offline=args.offline,
        )
        print(done.path)
        facts, difference = done.facts, done.difference
        print(
            f"{facts['architecture']} {facts['kind']}, {facts['dtype']}, {done.num_bytes / 1e6:.1f} MB, "
            f"licence {facts['licence']}\nagainst its source in float32, run by {done.checked}: "
            f"largest difference {difference.largest:.2g}, smallest cosine {difference.cosine:.6f}",
            file=sys.stderr,
        )
    return 0


def _show(source: str, args: argparse.Namespace) -> int:
    """What a file says of itself and what its tensors show, a line each."""
    from diarist.models.export import described

    for name, value in described(source, kind=args.model_type, offline=args.offline).items():
        print(f"{name} = {value}")
    return 0
