"""The networks as MLX modules, and a small command: what users of the MLX port of segmentation-3.0 know.

    from diarist.mlx import load_pyannote_model
    model = load_pyannote_model("models/segmentation_mlx/weights.npz")
    logits = model(mx.array(waveform))  # (1, num_frames, 7): log-probabilities of the classes in each frame

    python -m diarist.mlx audio.wav --model models/segmentation_mlx/weights.npz --output results.rttm

Files of that port are read as they are, and so is everything that `diarist convert` writes. Unlike there, the command
knows speakers over the whole recording, and classes of two speakers are two turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from diarist.errors import DiaristError, UsageError, WeightsError

if TYPE_CHECKING:
    from diarist.core.types import Diarization
    from diarist.models.nets.mlx.pyannet import PyanNet
    from diarist.models.nets.mlx.resnet import ResNet34

USUAL = "models/segmentation_mlx/weights.npz"  # where the port keeps its weights
_LEAST, _MOST = 16_000, 960_000  # samples of a chunk


def load_pyannote_model(weights_path: str | Path = "segmentation-3.0") -> PyanNet:
    """A segmentation network as an MLX module: sound `(batch, num_samples)` or `(batch, 1, num_samples)` at 16 kHz to
    log-probabilities `(batch, num_frames, num_classes)` (probabilities, for a network whose classes are speakers).

    `weights_path`: npz, safetensors or a PyTorch checkpoint, a folder of one, a catalogue name or hub id. Raises
    `WeightsError` for weights that are not PyanNet's, `ExtraError` without MLX.
    """
    _check()
    from diarist.models.nets.mlx.pyannet import PyanNet

    found = _opened(weights_path, "pyannet")
    powerset = found.spec.max_simultaneous is not None
    return cast("PyanNet", _like(found, lambda: PyanNet.like(found.tensors, powerset=powerset)))


def load_resnet34_embedding(weights_path: str | Path) -> ResNet34:
    """WeSpeaker's ResNet34 as an MLX module: features `(batch, num_fbank, 80)`, their mean removed, to embeddings
    `(batch, 256)`. Raises as `load_pyannote_model` does."""
    _check()
    from diarist.models.nets.mlx.resnet import ResNet34

    found = _opened(weights_path, "resnet34")
    return cast("ResNet34", _like(found, lambda: ResNet34.like(found.tensors)))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m diarist.mlx AUDIO`: diarize a recording with MLX and write RTTM beside it. Returns the exit code."""
    try:
        return _run(_parser().parse_args(arguments))
    except DiaristError as error:
        print(f"diarist: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code


def _check() -> None:
    from diarist.models import mlx

    mlx.check()


def _opened(weights_path: str | Path, architecture: str) -> Any:
    from diarist.models.checkpoint import NAMES
    from diarist.models.export import open_source

    found = open_source(str(weights_path))
    if found.architecture != architecture:
        wanted = NAMES[architecture]  # type: ignore[index]
        raise WeightsError(f"'{weights_path}' is a checkpoint of {found.name}, not of {wanted}")
    return found


def _like(found: Any, build: Any) -> Any:
    """What `build` makes of a checkpoint; tensors that do not fit are told as `WeightsError`."""
    try:
        return build()
    except (KeyError, ValueError) as error:
        reason = f"no tensor {error}" if isinstance(error, KeyError) else str(error)
        raise WeightsError(f"'{found.path}' is no checkpoint of {found.name} ({reason})") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m diarist.mlx", description="Who spoke when, on MLX.")
    parser.add_argument("audio", help="a recording")
    parser.add_argument("--output", "-o", type=Path, help="the RTTM file to write (the recording's name with .rttm)")
    parser.add_argument("--model", help=f"weights of the segmentation ({USUAL}, or else segmentation-3.0)")
    parser.add_argument("--min-duration", type=float, default=0.5, metavar="SECONDS", help="of a turn (0.5)")
    parser.add_argument("--chunk-size", type=int, default=160_000, metavar="SAMPLES", help="of a chunk (160000: 10 s)")
    parser.add_argument("--num-speakers", type=int, metavar="N", help="exactly so many")
    parser.add_argument(
        "--backend", default="mlx", choices=("mlx", "onnx", "torch"), help="what runs the networks (mlx)"
    )
    return parser


def _run(args: argparse.Namespace) -> int:
    from diarist import formats
    from diarist.models.fused import FusedSegmentation
    from diarist.models.load import load_segmentation
    from diarist.models.vad import load_vad
    from diarist.pipelines.offline import Diarizer

    if not _LEAST <= args.chunk_size <= _MOST:
        raise UsageError(f"--chunk-size {args.chunk_size}: chunks have {_LEAST} to {_MOST} samples")
    if not Path(args.audio).is_file():
        raise UsageError(f"there is no recording at '{args.audio}'")
    model = args.model or (USUAL if Path(USUAL).is_file() else "segmentation-3.0")
    segmentation: Any = load_segmentation(model, backend=args.backend)
    if args.chunk_size != segmentation.spec.chunk:
        segmentation = segmentation.resized(args.chunk_size)
    changes = {"turns.min_duration_on": args.min_duration, "segmentation.model": str(model)}
    diarizer = Diarizer(config=changes, backend=args.backend, segmentation=segmentation)
    chosen = diarizer.config.segmentation
    step = min(chosen.step, segmentation.spec.chunk / segmentation.spec.sample_rate / 2)
    if chosen.vad != "none":
        vad = load_vad(chosen.vad)
        segmentation = FusedSegmentation(segmentation, vad, weight=chosen.vad_weight, bias=chosen.vad_bias)
    config = dataclasses.replace(diarizer.config, segmentation=dataclasses.replace(chosen, step=step))
    diarizer = Diarizer(config=config, backend=args.backend, segmentation=segmentation)
    result = diarizer(args.audio, num_speakers=args.num_speakers)
    output = args.output or Path(args.audio).with_suffix(".rttm")
    formats.write(result, output, "rttm")
    print(_summary(result, output))
    return 0


def _summary(result: Diarization, output: Path) -> str:
    """How long each speaker talks, in seconds and of the recording, in how many turns."""
    duration = result.duration or 0.0
    lines = [f"{result.uri}: {duration:.1f} s, {len(result.turns)} turns"]
    for speaker in sorted({turn.speaker for turn in result.turns}):
        own = [turn.end - turn.start for turn in result.turns if turn.speaker == speaker]
        share = 100 * sum(own) / duration if duration else 0.0
        lines.append(f"  {speaker}: {sum(own):6.1f} s ({share:5.1f} %) in {len(own)} turns")
    return "\n".join([*lines, f"wrote {output}"])


if __name__ == "__main__":
    raise SystemExit(main())
