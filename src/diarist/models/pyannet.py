"""segmentation-3.0, and networks fine-tuned from it, on ONNX Runtime from the tensors of a checkpoint."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from diarist.core.protocols import SegmentationSpec
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Float32
from diarist.errors import WeightsError
from diarist.models.checks import check_chunks
from diarist.models.nets import pyannet
from diarist.models.onnx import powerset_of, session

CHUNK = 10 * SAMPLE_RATE
_SHARED = 16  # chunks that go through the filters together
_TOGETHER = 4  # chunks that go through the LSTM together: its weights are read once for all of them


class PyanNet:
    """Powerset segmentation network; see `nets/pyannet.py`.

    A batch whose rows are a sliding view of one recording (`numpy.lib.stride_tricks.sliding_window_view(samples,
    160_000)[::step]`, the step a multiple of 30 samples) is recognised by its strides, and what the chunks share is
    computed once: the same numbers, sooner.

    In float32 what a chunk gives does not depend on the other rows. With `int8`, the LSTM lays its states on a grid
    that four chunks share: rows 0-3, 4-7, ... of a batch; the same batch always gives the same bytes.
    """

    def __init__(self, tensors: pyannet.Tensors, *, int8: bool = False) -> None:
        num_classes = len(tensors["classifier.bias"])
        speakers = powerset_of(num_classes)
        if speakers is None:
            raise WeightsError(f"a segmentation checkpoint of {num_classes} classes: not a powerset of 2 at once")
        self._front = session(pyannet.front_graph(tensors).serialize())
        self._num_pooled = pyannet.num_pooled(CHUNK)
        self._back = session(pyannet.back_graph(tensors, self._num_pooled, int8=int8).serialize())
        self._weight, self._bias = pyannet.scaling(tensors)
        filters = pyannet.sinc_filters(tensors)
        self._sums = filters[: len(filters) // 2].sum(axis=1, dtype=np.float64).astype(np.float32)  # of the even ones
        self._num_classes = num_classes
        self.spec = SegmentationSpec(CHUNK, pyannet.FRAMES.count_inside(CHUNK), pyannet.FRAMES, *speakers)

    def __call__(self, batch: Float32) -> Float32:
        """`(batch, 160000)` to log-probabilities `(batch, 589, num_classes)`. Raises `UsageError` for another shape."""
        check_chunks(batch, self.spec)
        batch = np.asarray(batch, dtype=np.float32)
        scores = np.empty((len(batch), self.spec.num_frames, self._num_classes), dtype=np.float32)
        for first in range(0, len(batch), _SHARED):
            rows = batch[first : first + _SHARED]
            filtered = self._filter(rows)
            for low in range(0, len(rows), _TOGETHER):
                feeds = self._chunks(rows[low : low + _TOGETHER], filtered[low : low + _TOGETHER])
                scores[first + low : first + low + _TOGETHER] = self._back.run(["scores"], feeds)[0]
        return scores

    def try_out(self) -> None:
        """Run on silence; raises whatever is wrong."""
        self(np.zeros((1, CHUNK), dtype=np.float32))

    def _filter(self, rows: Float32) -> list[list[Float32]]:
        """`high`, `low`, `odd` `(40, num_pooled)` of each row."""
        step, within = rows.strides[0] // rows.itemsize, rows.strides[1] // rows.itemsize
        if len(rows) == 1 or within != 1 or step % pyannet.HOP or not 0 < step < CHUNK:
            return [self._pooled(row) for row in rows]
        shared = self._pooled(as_strided(rows, ((len(rows) - 1) * step + CHUNK,), (rows.itemsize,), writeable=False))
        starts = range(0, len(rows) * (step // pyannet.HOP), step // pyannet.HOP)
        return [[values[:, start : start + self._num_pooled] for values in shared] for start in starts]

    def _pooled(self, samples: Float32) -> list[Float32]:
        found = self._front.run(["high", "low", "odd"], {"samples": np.ascontiguousarray(samples)[None, None]})
        return [values[0] for values in found]

    def _chunks(self, rows: Float32, filtered: list[list[Float32]]) -> dict[str, Float32]:
        """What the second half of the network is fed."""
        scale = self._weight / np.sqrt(np.array([row.var() for row in rows], dtype=np.float32) + np.float32(1e-5))
        shift = self._bias / scale - np.array([row.mean() for row in rows], dtype=np.float32)
        high, low, odd = (np.stack(values) for values in zip(*filtered, strict=True))
        delta = (shift[:, None] * self._sums)[:, :, None]
        return {"high": high, "low": low, "odd": odd, "delta": delta, "scale": scale[:, None, None]}
