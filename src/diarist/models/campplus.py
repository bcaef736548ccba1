"""CAM++ on ONNX Runtime, from the tensors of its checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from diarist.core.protocols import EmbeddingModel
from diarist.core.types import Float32
from diarist.models.checks import check_features, check_finite
from diarist.models.nets import campplus, campplus_int8
from diarist.models.nets.whole import HEAD, MAPS
from diarist.models.onnx import OnnxEmbedding, Open, OpenGraph, Session, session
from diarist.models.pooling import StatisticsPooling


class CamPlusPlus(StatisticsPooling):
    """CAM++ from the tensors of its checkpoint: see `nets/campplus.py`.

    In eight bits it is three times faster; embeddings keep a cosine of .99 to those of float32.
    """

    spec = campplus.SPEC

    def __init__(
        self,
        tensors: campplus.Tensors,
        *,
        int8: bool = False,
        segment: int = campplus.SEGMENT,
        open: OpenGraph = session,
    ) -> None:
        if int8:
            graph = campplus_int8.frames_graph(tensors, campplus_int8.ranges(), segment)
        else:
            graph = campplus.frames_graph(tensors, segment)
        self._made_of, self._multiple = (tensors, int8, open), segment * campplus.STRIDE
        self._session = open(graph)
        self._head = campplus.Head.of(tensors)

    def resized(self, num_fbank: int) -> CamPlusPlus:
        """The same network for streams, in stretches of so many features: an even number, two seconds at most."""
        tensors, int8, open = self._made_of
        segment = min(num_fbank // campplus.STRIDE, campplus.SEGMENT)
        return CamPlusPlus(tensors, int8=int8, segment=segment, open=open)

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        maps = self.frames(np.zeros((1, self._multiple, self.spec.num_mels), dtype=np.float32))
        check_finite(self.pool(maps, np.ones((1, 1, maps.shape[1]), dtype=np.float32)))

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)` to `(batch, ceil(num_fbank / 2), 512)`.

        Features should have their mean removed. Stretches are filled with zeros, that is the mean, to a multiple of
        two seconds: stretches of ten seconds need none.
        """
        check_features(fbank, self.spec)
        batch, num_fbank, _ = fbank.shape
        num_maps = -(-num_fbank // campplus.STRIDE)
        maps = np.empty((batch, num_maps, campplus.CHANNELS), dtype=np.float32)
        if num_maps:
            padded = np.zeros((1, -(-num_fbank // self._multiple) * self._multiple, 80), dtype=np.float32)
            for row in range(batch):
                padded[0, :num_fbank] = fbank[row]
                maps[row] = self._session.run(["maps"], {"fbank": padded})[0][0, :num_maps]
        return maps


class OnnxCamPlusPlus(StatisticsPooling):
    """CAM++ from an ONNX file of `diarist convert`, which gives its maps too, so that it is heard and pooled as the
    checkpoint is: the same answers at the same precision."""

    def __init__(self, plain: OnnxEmbedding, loaded: Session) -> None:
        self._session = loaded
        self.spec = replace(
            plain.spec, min_frames=campplus.SPEC.min_frames, map_stride=campplus.STRIDE, whole=campplus.SPEC.whole
        )
        silence = np.zeros((1, campplus.MULTIPLE, self.spec.num_mels), dtype=np.float32)
        weight, bias = self._run(list(HEAD), silence)
        self._head = campplus.Head(np.asfortranarray(weight), bias)  # in the order of a checkpoint's: sums are the same

    def frames(self, fbank: Float32) -> Float32:
        """`(batch, num_fbank, 80)` to `(batch, ceil(num_fbank / 2), 512)`, as `CamPlusPlus.frames`."""
        check_features(fbank, self.spec)
        batch, num_fbank, _ = fbank.shape
        maps = np.empty((batch, -(-num_fbank // campplus.STRIDE), campplus.CHANNELS), dtype=np.float32)
        if num_fbank:
            for row in range(batch):
                maps[row] = self._run([MAPS], fbank[row : row + 1])[0][0]
        return maps

    def _run(self, names: list[str], fbank: Float32) -> list[Float32]:
        everywhere = np.ones((1, 1, fbank.shape[1]), dtype=np.float32)  # of the embedding, which nobody takes here
        feed = {"feats": np.ascontiguousarray(fbank, dtype=np.float32), "weights": everywhere}
        return self._session.run(names, feed)


def onnx_embedding(path: Path, open: Open = session) -> EmbeddingModel:
    """The network of an ONNX file, with its maps where it gives them. Raises as `OnnxEmbedding`."""
    loaded = open(path)
    plain = OnnxEmbedding(path, lambda _: loaded)
    given = {output.name for output in loaded.get_outputs()}
    return OnnxCamPlusPlus(plain, loaded) if {MAPS, *HEAD} <= given else plain
