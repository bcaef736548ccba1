"""WeSpeaker's ResNet34 on ONNX Runtime, from the tensors of its checkpoint."""

from __future__ import annotations

import numpy as np

from diarist.core.types import Float32
from diarist.models.native import NativeResNet34
from diarist.models.nets import resnet
from diarist.models.onnx import OpenGraph, session


class ResNet34(NativeResNet34):
    """WeSpeaker's ResNet34 in float32: see `nets/resnet.py`. Rows of a batch run one by one."""

    def __init__(self, tensors: resnet.Tensors, open: OpenGraph = session) -> None:
        self._session = open(resnet.frames_graph(tensors))
        super().__init__(tensors, self._maps)

    def _maps(self, fbank: Float32) -> Float32:
        return np.concatenate([self._session.run(["maps"], {"fbank": row[None]})[0] for row in fbank])
