"""Blocks used alone: overlap-aware embeddings of what a microphone hears.

`python examples/overlap_aware_embeddings.py [SECONDS]`. Needs the extra `mic`.
"""

import sys
import threading

from diarist.audio.sources import MicrophoneSource
from diarist.pipelines.blocks import OverlapAwareSpeakerEmbedding, SpeakerSegmentation, rolling

segmentation = SpeakerSegmentation()
embedding = OverlapAwareSpeakerEmbedding()
microphone = MicrophoneSource()
if len(sys.argv) > 1:
    threading.Timer(float(sys.argv[1]), microphone.close).start()

for window in rolling(microphone, segmentation.sample_rate):  # 5 s every 0.5 s
    print(embedding(window, segmentation(window)).shape)
