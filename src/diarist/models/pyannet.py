"""Networks of pyannote's architecture (segmentation-3.0, segmentation, ...) on ONNX Runtime from their tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from diarist.core.protocols import SegmentationSpec
from diarist.core.types import Float32
from diarist.models.checks import check_chunks, check_finite
from diarist.models.nets import pyannet
from diarist.models.onnx import OpenGraph, session

_SHARED = 8  # chunks that go through the filters together
_BLOCK = 1000  # pooled values worked on at a time
_TOGETHER = 4  # chunks that go through the LSTM together: its weights are read once for all of them


class PyanNet:
    """Segmentation network; see `nets/pyannet.py`. Without a `spec`, what `spec_of` makes of the tensors holds.

    A batch whose rows are a sliding view of one recording (`numpy.lib.stride_tricks.sliding_window_view(samples,
    160_000)[::step]`, the step a multiple of 30 samples) is recognised by its strides, and what the chunks share is
    computed once: the same numbers, sooner.

    In float32 what a chunk gives does not depend on the other rows. With `int8`, the LSTM lays its states on a grid
    that four chunks share: rows 0-3, 4-7, ... of a batch; the same batch always gives the same bytes. Once `resized()`
    for streams, each row has its own there, so that no stream depends on another. What `open` makes is given `at_once`
    such groups: ONNX Runtime one, since it knows no groups.
    """

    hop, reach = pyannet.HOP, pyannet.REACH  # value `i` of `pools()` is of samples `[i * hop, i * hop + reach)`

    def __init__(
        self,
        tensors: pyannet.Tensors,
        *,
        int8: bool = False,
        spec: SegmentationSpec | None = None,
        together: int = _TOGETHER,
        at_once: int = 1,
        open: OpenGraph = session,
    ) -> None:
        self.spec = spec or pyannet.spec_of(tensors)
        powerset = self.spec.max_simultaneous is not None
        self._num_pooled = pyannet.num_pooled(self.spec.chunk)
        self._filters = open(pyannet.filters_graph(tensors))
        self._features = open(pyannet.features_graph(tensors, self._num_pooled, int8=int8))
        self._scores = open(pyannet.scores_graph(tensors, int8=int8, powerset=powerset, group=together))
        self._weight, self._bias = pyannet.scaling(tensors)
        filters = pyannet.sinc_filters(tensors)
        self._sums = filters[: len(filters) // 2].sum(axis=1, dtype=np.float64).astype(np.float32)  # of the even ones
        self._num_classes = len(tensors["classifier.bias"])
        self._made_of, self._together, self._at_once = (tensors, int8, open), together, at_once

    def __call__(self, batch: Float32, pools: Iterable[Float32] | None = None) -> Float32:
        """`(batch, num_samples)` to scores `(batch, num_frames, num_classes)`: 160000 samples to 589 frames.

        `pools` of each row, `(1, 120, num_pooled)`, where they are known already. Raises `UsageError` for another
        shape.
        """
        check_chunks(batch, self.spec)
        batch = np.asarray(batch, dtype=np.float32)
        scores = np.empty((len(batch), self.spec.num_frames, self._num_classes), dtype=np.float32)
        pooled = iter(self._pools(batch) if pools is None else pools)
        num = self._together * self._at_once
        for first in range(0, len(batch), num):
            rows = batch[first : first + num]
            features = [self._chunk(row, next(pooled)) for row in rows]
            if self._at_once > 1:  # whole groups: that a row is there again does not change their grid
                features += features[-1:] * (-len(rows) % self._together)
            found = self._scores.run(["scores"], {"features": np.concatenate(features, axis=1)})[0]
            scores[first : first + num] = found[: len(rows)]
        return scores

    def resized(self, chunk: int) -> PyanNet:
        """The same network for streams, in chunks of another number of samples than it was trained on."""
        tensors, int8, open = self._made_of
        spec = dataclasses.replace(self.spec, chunk=chunk, num_frames=pyannet.FRAMES.count_inside(chunk))
        together = 1 if int8 else _TOGETHER
        at_once = self._at_once * self._together // together if self._at_once > 1 else 1
        return PyanNet(tensors, int8=int8, spec=spec, together=together, at_once=at_once, open=open)

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        check_finite(self(np.zeros((1, self.spec.chunk), dtype=np.float32)))

    def _pools(self, batch: Float32) -> Iterator[Float32]:
        """Filtered and pooled sound of each row, `(1, 120, num_pooled)`."""
        step, within = batch.strides[0] // batch.itemsize, batch.strides[1] // batch.itemsize
        if len(batch) == 1 or within != 1 or step % pyannet.HOP or not 0 < step < self.spec.chunk:
            for row in batch:
                yield self.pools(row)
            return
        hop = step // pyannet.HOP
        for first in range(0, len(batch), _SHARED):
            rows = batch[first : first + _SHARED]
            stretch = as_strided(rows, ((len(rows) - 1) * step + self.spec.chunk,), (rows.itemsize,), writeable=False)
            shared = self.pools(stretch)
            for start in range(0, len(rows) * hop, hop):
                yield shared[:, :, start : start + self._num_pooled]

    def pools(self, samples: Float32) -> Float32:
        """Sound `(num_samples,)` to `(1, 120, num_pooled)`, in blocks that fit into the processor's cache."""
        num = pyannet.num_pooled(len(samples))
        parts = []
        for first in range(0, num, _BLOCK):
            last = min(first + _BLOCK, num) - 1
            block = samples[first * pyannet.HOP : last * pyannet.HOP + pyannet.REACH]
            feed = {"samples": np.ascontiguousarray(block)[None, None]}
            parts.append(self._filters.run(["pooled"], feed)[0])
        return np.concatenate(parts, axis=2)

    def _chunk(self, row: Float32, pooled: Float32) -> Float32:
        """Features of one chunk, `(num_frames, 1, 60)`."""
        scale = np.float32(self._weight) / np.sqrt(row.var() + np.float32(1e-5))
        delta = (np.float32(self._bias) / scale - row.mean()) * self._sums
        feed = {"pooled": np.ascontiguousarray(pooled), "delta": delta[None, :, None], "scale": scale.reshape(1, 1, 1)}
        features: Float32 = self._features.run(["features"], feed)[0]
        return features
