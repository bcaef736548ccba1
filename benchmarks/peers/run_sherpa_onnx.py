"""sherpa-onnx 2.0.1 as its Python example runs it, with segmentation-3.0 and CAM++ zh-en.

The defaults of its configuration classes: threshold 0.5 with an unknown number of speakers, speech of at least 0.3 s
and pauses of at least 0.5 s. `--option weights=DIR` names the folder that `export_weights.py` filled;
`--option threshold=X` is for a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from contract import Diarize, Turn, run


def load(threads: int, options: Mapping[str, str]) -> Diarize:
    """The offline diarization of sherpa-onnx with both models loaded."""
    import sherpa_onnx
    import soundfile

    weights = Path(options["weights"])
    segmentation = sherpa_onnx.OfflineSpeakerSegmentationModelConfig(
        pyannote=sherpa_onnx.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(weights / "segmentation.onnx")),
        num_threads=threads,
    )
    embedding = sherpa_onnx.SpeakerEmbeddingExtractorConfig(
        model=str(weights / "campplus-sherpa.onnx"), num_threads=threads
    )
    config = sherpa_onnx.OfflineSpeakerDiarizationConfig(
        segmentation=segmentation,
        embedding=embedding,
        clustering=sherpa_onnx.FastClusteringConfig(num_clusters=-1, threshold=float(options.get("threshold", 0.5))),
    )
    if not config.validate():
        raise SystemExit(f"sherpa-onnx refuses its configuration: {config}")
    diarizer = sherpa_onnx.OfflineSpeakerDiarization(config)

    def diarize(path: Path) -> Iterator[Turn]:
        samples, sample_rate = soundfile.read(path, dtype="float32")
        if sample_rate != diarizer.sample_rate:
            raise SystemExit(f"{path}: {sample_rate} Hz, sherpa-onnx wants {diarizer.sample_rate}")
        for segment in diarizer.process(samples).sort_by_start_time():
            yield segment.start, segment.end, f"SPEAKER_{segment.speaker:02d}"

    return diarize


if __name__ == "__main__":
    run(load, ["sherpa-onnx", "soundfile", "numpy"])
