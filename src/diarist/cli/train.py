"""`diarist train CONFIG`: a Pix2Seq model of one's own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarist.core.config import dump_toml, from_dict, nearest, read_file, replace_from, to_dict
from diarist.errors import ExtraError, UsageError

if TYPE_CHECKING:
    from diarist.pix2seq.config import Config
    from diarist.pix2seq.model import Pix2Seq
    from diarist.pix2seq.train import Judge
    from diarist.simulate.sources import Speech

HELP = "train a network that writes turns as tokens (Pix2Seq)"
FOLDERS = {"speech": "data.speech", "noise": "data.noise", "rttm": "data.rttm", "judge_rttm": "train.judged_rttm"}
DEV = {
    "model.layers": 2,
    "model.d_model": 64,
    "model.heads": 2,
    "data.first": 2,
    "data.most": 4,
    "data.recent": 0,
    "data.conversation": [30.0, 40.0],
    "train.steps": 20,
    "train.batch": 4,
    "train.accumulate": 1,
    "train.warmup": 5,
    "train.log_every": 5,
    "train.evaluate_every": 10,
    "train.checkpoint_every": 10,
    "train.judged": 2,
}
"""What --dev changes: a minute of training that goes through everything once."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    names = ", ".join(shipped())
    parser.add_argument("config", metavar="CONFIG", help=f"a TOML file, or one that ships: {names}")
    parser.add_argument("--output", "-o", metavar="DIR", type=Path, help="where to write (default: runs/CONFIG)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument(
        "--steps", metavar="N", type=int, help="stop after N updates in all; train.steps stays the plan"
    )
    parser.add_argument("--keep", metavar="N", type=int, help="checkpoints to keep (train.keep)")
    parser.add_argument(
        "--set",
        dest="changes",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a value of the configuration, by its dotted name: train.lr=3e-4, data.speakers=[2,3]; may be repeated",
    )
    for name, what in (
        ("speech", "folder of single speakers' speech"),
        ("noise", "folder of noise"),
        ("rttm", "folder of real recordings with RTTM, mixed in"),
        ("judge-rttm", "folder of real recordings with RTTM, decoded at each evaluation"),
    ):
        told = f"{what} ({FOLDERS[name.replace('-', '_')]}); may be repeated"
        parser.add_argument(f"--{name}", metavar="DIR", action="append", default=[], help=told)
    parser.add_argument("--dev", action="store_true", help="a tiny run of a minute that goes through everything once")
    parser.add_argument(
        "--prepare", metavar="N", type=int, help="only make the first N conversations, to be trained on later"
    )
    parser.add_argument("--from", dest="start", metavar="FILE", help="weights to start from: a model.safetensors")
    parser.add_argument("--show-config", action="store_true", help="print the configuration as TOML and end")


def run(args: argparse.Namespace) -> int:
    """Train; 0 where all is well. Raises what `diarist.pix2seq.train.train` does, and `ConfigError` for a typo."""
    config = config_of(args)
    if args.show_config:
        print(dump_toml(to_dict(config)), end="")
        return 0
    _needs_torch()
    output = args.output or Path("runs") / Path(args.config).stem
    if args.prepare is not None:
        return _prepare(config, output, args.prepare)
    from diarist.pix2seq.train import train

    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts
    judge: Judge | None = _judge(config) if first else None
    last = train(config, output, resume=args.resume, until=args.steps, judge=judge, tell=_tell, start=_path(args.start))
    if first:
        print(last)
        _draw(output)
    return 0


def config_of(args: argparse.Namespace) -> Config:
    """The file, then --dev, then the folders, then --set. Raises `ConfigError` or `UsageError`."""
    from diarist.pix2seq.config import Config

    config = from_dict(Config, read_file(_find(args.config)))
    if args.dev:
        config = replace_from(config, DEV)
    folders = {key: list(getattr(args, name)) for name, key in FOLDERS.items() if getattr(args, name)}
    changes: dict[str, Any] = {**folders, **dict(map(_change, args.changes))}
    if args.keep is not None:
        changes["train.keep"] = args.keep
    return replace_from(config, changes)


def shipped() -> list[str]:
    """Names of the configurations that ship."""
    found = resources.files("diarist.pix2seq").joinpath("configs").iterdir()
    return sorted(Path(file.name).stem for file in found if file.name.endswith(".toml"))


def _find(name: str) -> Path:
    """A file that is there, or a configuration by its name (with or without `configs/` and a suffix)."""
    path = Path(name)
    if path.is_file():
        return path
    if path.stem in shipped() and (path.parent == Path() or path.parent.name == "configs"):
        with resources.as_file(resources.files("diarist.pix2seq") / "configs" / f"{path.stem}.toml") as file:
            return file
    raise UsageError(f"'{name}' is neither a file nor a configuration{nearest(name, shipped())}")


def _change(text: str) -> tuple[str, Any]:
    """`key=value`, the value as JSON has it; what JSON does not know is text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes KEY=VALUE, not '{text}'")
    try:
        return key.strip(), json.loads(value)
    except ValueError:
        return key.strip(), value


def _needs_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ExtraError("torch", "train", "diarist train") from error


def _judge(config: Config) -> Judge | None:
    """Held-out conversations of the speakers that training leaves out, and real recordings.

    What they need is looked for now, so that what is missing is told before anything is learned; they are made and
    heard, which takes minutes, when they are first judged.
    """
    from diarist.evaluation.free_running import SETS
    from diarist.pix2seq.data import find_recordings, speakers_of
    from diarist.simulate.sources import find_noise

    train, fold = config.train, config.train.judged_fold or config.data.without_fold
    if not train.evaluate_every:
        return None
    noise, held_out = find_noise(config.data.noise), []
    if train.judged and fold and config.data.speech:
        held_out = speakers_of(replace(config.data, fold=fold, without_fold=""))
    sets = {name: number for name, number in SETS.items() if number[1] <= len(held_out)}
    if held_out and len(sets) < len(SETS):
        few = f"only {len(held_out)} speakers are held out ({fold})"
        print(f"diarist: warning: {few}: none are judged for {', '.join(SETS.keys() - sets.keys())}", file=sys.stderr)
    if not sets and not find_recordings(train.judged_rttm):
        return None
    return Later(lambda: _held_out(config, held_out, sets, noise))


class Later:
    """A judge that is made at its first judgement."""

    def __init__(self, made: Callable[[], Judge]) -> None:
        self._made = cache(made)

    def __call__(self, model: Pix2Seq) -> Mapping[str, float]:
        """The figures of `model`."""
        return self._made()(model)


def _held_out(
    config: Config, speakers: Sequence[Speech], sets: Mapping[str, tuple[int, int]], noise: Sequence[Path]
) -> Judge:
    from diarist.evaluation.free_running import Judge, recorded, simulated
    from diarist.pix2seq.frontends import front_end

    front, seconds = front_end(config.model.frontend, around=config.model.around), config.model.max_seconds
    made = {}
    if sets:
        print(f"held-out conversations of {len(speakers)} speakers are made", file=sys.stderr)
        made = simulated(front, speakers, config.train.judged, seconds, noise=noise, numbers=sets)
    return Judge(made | recorded(front, config.train.judged_rttm, seconds))


def _prepare(config: Config, output: Path, number: int) -> int:
    from diarist.pix2seq.data import Examples
    from diarist.pix2seq.frontends import front_end

    cache = Path(config.data.cache) if config.data.cache else output / "cache"
    examples = Examples(
        config.data,
        config.model,
        front_end(config.model.frontend, around=config.model.around),
        cache,
        config.train.seed,
    )
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun says
    for index in range(rank, number, size):
        examples.prepare(index)
        if rank == 0 and (index // size % 10 == 0 or index + size >= number):
            print(f"{min(index + size, number)}/{number} conversations", file=sys.stderr)
    return 0


def _tell(row: Mapping[str, Any]) -> None:
    """A line of the log on stderr."""
    if "loss" in row:
        print(
            f"update {row['update']}: loss {row['loss']:.4f} (tokens {row['tokens']:.4f}, activity "
            f"{row['activity']:.4f}), {row['hours']:.2f} h heard, {row['speed']:.0f} x real time",
            file=sys.stderr,
        )
        return
    ders = ", ".join(f"{k.removesuffix('/der')} {100 * v:.1f} %" for k, v in row.items() if k.endswith("/der"))
    print(f"update {row['update']}: DER {ders}", file=sys.stderr)


def _draw(output: Path) -> None:
    """The curves, where matplotlib is installed."""
    from diarist.pix2seq.curves import draw, read_log

    try:
        draw(read_log(output / "log.jsonl"), output / "curves.png", title=output.name)
    except ExtraError as error:
        print(f"diarist: no curves: {error}", file=sys.stderr)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
