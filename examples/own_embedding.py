"""An embedding network of your own in the live pipeline: `python examples/own_embedding.py RECORDING`.

The network here is a few lines of arithmetic, so that the example runs as it is: what each mel band of the
sound is like on average, and how much it moves.
"""

import sys

import numpy as np

from diarist.audio.sources import FileSource
from diarist.models import custom
from diarist.pipelines.flow import updates
from diarist.pipelines.streaming import LiveDiarizer


class MyEmbeddingModel:
    """`(batch, num_frames, 80)` log mel energies and weights `(batch, num_frames)` to `(batch, 160)`."""

    def __call__(self, features, weights):
        share = (weights / weights.sum(axis=1, keepdims=True))[:, :, None]
        mean = (share * features).sum(axis=1)
        spread = np.sqrt((share * (features - mean[:, None]) ** 2).sum(axis=1))
        return np.concatenate([mean, spread**3], axis=1)


live = LiveDiarizer(embedding=custom.embedding(MyEmbeddingModel(), takes="features"))
source = FileSource(sys.argv[1])
for update in updates(source, live.start(source.uri)):
    for turn in update.final:
        print(f"{turn.start:7.2f} {turn.end:7.2f} {turn.speaker}")
