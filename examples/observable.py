"""Overlap-aware embeddings and turns as observables: `observable.py RECORDING`. Needs the extra `rx`."""

import sys

import reactivex.operators as ops

import diarist.pipelines.observable as dops
from diarist.audio.sources import FileSource
from diarist.pipelines.blocks import OverlapAwareSpeakerEmbedding, SpeakerSegmentation
from diarist.pipelines.streaming import LiveDiarizer

segmentation = SpeakerSegmentation()
embedding = OverlapAwareSpeakerEmbedding()

dops.from_source(FileSource(sys.argv[1])).pipe(
    dops.regularize_audio_stream(segmentation.sample_rate),  # 5 s every 0.5 s
    ops.map(lambda window: (window, segmentation(window))),
    ops.starmap(embedding),
).subscribe(on_next=lambda voices: print(voices.shape))

source = FileSource(sys.argv[1])
dops.from_source(source).pipe(
    dops.updates(LiveDiarizer().start(source.uri)),
    ops.filter(lambda update: bool(update.final)),
    dops.accumulate_output(source.uri),
).subscribe(on_next=lambda answer: print(answer.talk_time()))
